"""What shows that a ledger once held more than its journal does now.

A journal that ends early looks like one that never went on, so something else must tell. In the ledger's own folder,
snapshots and segments of sealed transfers do: each is made only of blocks that were durable before, so its name alone
says how much there must be. Outside, everyone does who keeps a proof of the ledger, or has noted a height and its block
hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyledger.crypto.arguments import require_bytes, require_integer, require_tuple
from pyledger.errors import InputError, ProofError, StorageError
from pyledger.ledger.audit import Reach
from pyledger.ledger.blocks import Header
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.proofs import BALANCE_MAGIC, HISTORY_MAGIC
from pyledger.node.certified import read_header
from pyledger.node.folder import JOURNAL_FOLDER, SEGMENTS_FOLDER, SNAPSHOTS_FOLDER
from pyledger.node.keeping import snapshot_height
from pyledger.node.membership import trust_json
from pyledger.node.verification import verify_balance, verify_history, verify_receipt
from pyledger.verifier import Trust

__all__ = ["Held", "Traces", "open_journal", "reach_of", "require_transfers"]

Held = bytes | tuple[int, bytes | None] | Reach
"""What somebody holds of a ledger: a proof or a header, height and block hash, or what they say."""

_SEGMENT_NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{8})\.segment")
_SEGMENT_HEAD: Final = 32  # bytes: magic, version, level, first, count (docs/store-format.md)


@dataclass(frozen=True, slots=True)
class Traces:
    """What the snapshots and segments in a ledger's folder show to have existed.

    Parameters
    ----------
    height : int
        Blocks up to it were durable; 0 if there is no snapshot.
    transfers : int
        So many transfers had taken effect; 0 if there is no segment.
    snapshot, segment : str
        Files that say so.
    """

    height: int
    transfers: int
    snapshot: str
    segment: str

    @classmethod
    def of(cls, path: Path) -> Traces:
        """Look at names only, so this must come before the journal is opened: a writer may go on meanwhile."""
        height = snapshot_height(path)
        transfers, segment = max(_segments(path / SEGMENTS_FOLDER), default=(0, ""))
        return cls(height, transfers, str(path / SNAPSHOTS_FOLDER / f"{height:012d}.snapshot"), segment)


def open_journal(path: Path, genesis_hash: bytes, traces: Traces, *, read_only: bool, whole: bool) -> Journal:
    """Open a ledger's journal, which must reach what a snapshot shows.

    Parameters
    ----------
    path : Path
        Folder of the ledger.
    genesis_hash : bytes
    traces : Traces
    read_only : bool
    whole : bool
        Check the payloads of all blocks, also of those up to the newest snapshot.

    Raises
    ------
    StorageError
        If the journal ends before; nothing was cut then. And whatever opening a journal raises.
    """
    return Journal(
        path / JOURNAL_FOLDER,
        genesis_hash,
        read_only=read_only,
        known_height=traces.height,
        known_by=traces.snapshot if traces.height else "",
        verify_from=1 if whole else traces.height + 1,
    )


def require_transfers(journal: Journal, traces: Traces, height: int = 0, transfers: int = 0) -> None:
    """Refuse a journal whose blocks hold fewer transfers than a segment shows.

    Parameters
    ----------
    journal : Journal
    traces : Traces
    height, transfers : int, optional
        Transfers up to the block at a height, where the caller knows them; later blocks are counted.

    Raises
    ------
    StorageError
    """
    for later in range(height + 1, journal.height + 1):
        if transfers >= traces.transfers:
            return
        transfers += read_header(journal, later).transfers_count
    if transfers < traces.transfers:
        end = f"the journal ends with block {journal.height}, which makes {transfers} transfers"
        raise StorageError(
            f"{_last_file(journal)}: {end}, but {traces.segment} is about the first {traces.transfers}: later "
            "blocks are missing; refusing to open. Restore the journal from a copy"
        )


def reach_of(held: bytes | tuple[int, bytes | None], genesis: Genesis, shown_by: str = "") -> Reach:
    """How far a ledger must reach according to what somebody holds.

    Parameters
    ----------
    held : bytes or tuple of (height, block hash or None)
        A receipt, balance proof or consistency proof that begins with the validators of the genesis, the bytes of a
        header, or what was written down.
    genesis : Genesis
    shown_by : str, optional
        Its name, for messages.

    Raises
    ------
    ProofError
        If a proof does not hold for this chain.
    InputError
        If a header or a height can't be of this chain.
    """
    if isinstance(held, tuple):
        height, block_hash = _noted(held)
    elif not isinstance(held, bytes):
        raise InputError(f"reach: expected bytes, a tuple of height and block hash, or Reach, got {held!r}")
    elif len(held) == Header.SIZE:
        height, block_hash = _place_in_header(held, genesis)
    else:
        height, block_hash = _place_in_proof(held, genesis, shown_by)
    if height < 1 or (block_hash is not None and len(block_hash) != 32):
        raise InputError(f"{shown_by or 'reach'}: expected a height from 1 and a block hash of 32 bytes")
    return Reach(height, block_hash, shown_by)


def _noted(held: tuple[int, bytes | None]) -> tuple[int, bytes | None]:
    require_tuple("reach", held, (2,), "height and block hash")
    height, block_hash = held
    require_integer("reach: height", height)
    if block_hash is not None:
        require_bytes("reach: block hash", block_hash, 32)
    return height, block_hash


def _place_in_header(data: bytes, genesis: Genesis) -> tuple[int, bytes]:
    header = Header.from_bytes(data)
    if header.chain_id != genesis.chain_id:
        raise InputError(f"the header is of chain {header.chain_id.hex()}, expected {genesis.chain_id.hex()}")
    return header.height, header.hash


def _place_in_proof(proof: bytes, genesis: Genesis, shown_by: str) -> tuple[int, bytes]:
    trust = Trust.from_json(trust_json(genesis))
    verify = {BALANCE_MAGIC: verify_balance, HISTORY_MAGIC: verify_history}.get(proof[:8], verify_receipt)
    try:
        proven = verify(proof, trust)
    except ProofError as error:
        raise ProofError(f"{shown_by}: {error}" if shown_by else str(error)) from error
    return proven.height, proven.block_hash


def _segments(folder: Path) -> Iterator[tuple[int, str]]:
    """Where each segment ends, and its file, if the file's head says the same as its name."""
    for path in sorted(folder.glob("*.segment")):
        if not (name := _SEGMENT_NAME.fullmatch(path.name)):
            continue
        try:
            with path.open("rb") as file:
                head = file.read(_SEGMENT_HEAD)
        except OSError:
            continue  # merged meanwhile into another one
        first, count = (int(number, 16) for number in name.groups())
        if head[:8] == b"PLSTORE\0" and head[16:32] == first.to_bytes(8, "little") + count.to_bytes(8, "little"):
            yield first + count, str(path)


def _last_file(journal: Journal) -> Path:
    return journal.place(journal.height)[0] if journal.height else journal.folder
