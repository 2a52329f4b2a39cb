"""Which waiting batches of signed transfers a block touches, and what it shows of each of their transfers.

All batches are looked up in one pass: a block may burn as many transfers as it holds while as many wait, and whoever
sends them pays for neither. What took effect is known again by record and signature, both checked by the engine. What
failed is known again by its whole chain and no less: behind the member that broke a chain nothing was looked at, so
that a record and a signature there may be anybody's, copied from a batch that is still to take effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger.ledger.batches import TransferBatch
from pyledger.ledger.blocks import Block
from pyledger.ledger.commands import (
    KIND_TRANSFERS,
    REFUSED_SIGNED,
    REFUSED_TRANSFER,
    Attestation,
    SignedRefusals,
)
from pyledger.node.existing import unstamped_bytes
from pyledger.types import NO_KEY, TRANSFER, TransferFlags

__all__ = ["signature_keys", "touched"]

_ODD: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_Mask = NDArray[np.bool_]


def touched(block: Block, batches: Sequence[TransferBatch]) -> Iterator[tuple[int, _Mask, _Mask]]:
    """Batches that share ids with a block, by place, with what took effect of them in it, and what failed for good.

    Parameters
    ----------
    block : Block
    batches : sequence of TransferBatch
        Signed ones.
    """
    ids = _short_ids([block.body.transfers["id"], *_refused_ids(block)])
    sizes = [len(batch.records) for batch in batches]
    hit = np.isin(_short_ids([batch.records["id"] for batch in batches]), ids)
    places = np.unique(np.repeat(np.arange(len(sizes)), sizes)[hit]).tolist()
    if not places:
        return
    rows, ends = _rows_of([batches[place] for place in places])
    taken, failed = _Signed(block).holds(rows), _are_among(_broken_chains(block), rows, ends)
    borders = np.cumsum([0, *(sizes[place] for place in places)]).tolist()
    for place, (low, high) in zip(places, pairwise(borders), strict=True):
        yield place, taken[low:high], failed[low:high]


def signature_keys(signatures: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Eight bytes of each signature's S."""
    return np.ascontiguousarray(signatures[:, 32:40]).view(np.uint64).reshape(-1)


def _short_ids(columns: list[NDArray[Any]]) -> NDArray[np.uint64]:
    """Eight bytes for each id: of those that differ there is nothing to compare."""
    if not columns:
        return np.empty(0, np.uint64)
    low, high = (np.concatenate([ids[half] for ids in columns]) for half in ("lo", "hi"))
    mixed: NDArray[np.uint64] = low ^ (high * _ODD)
    return mixed


def _refused_ids(block: Block) -> list[NDArray[Any]]:
    """Ids of the transfers that a block refuses: attested ones, and signed ones with their chains."""
    signed = b"".join(command.refused for command in block.body.commands if isinstance(command, SignedRefusals))
    commands = [command for command in block.body.commands if isinstance(command, Attestation)]
    attested = b"".join(command.refused for command in commands if command.kind == KIND_TRANSFERS)
    return [
        np.frombuffer(rows, dtype)["record"]["id"]
        for rows, dtype in ((signed, REFUSED_SIGNED), (attested, REFUSED_TRANSFER))
    ]


def _rows_of(batches: list[TransferBatch]) -> tuple[NDArray[Any], _Mask]:
    """The transfers of signed batches as blocks keep refused ones, without times; and where their chains end."""
    records = np.frombuffer(b"".join(batch.records.tobytes() for batch in batches), TRANSFER)
    rows = np.zeros(len(records), REFUSED_SIGNED)
    rows["record"] = records
    rows["signer"] = np.concatenate([batch.signers for batch in batches])
    rows["signature"] = np.concatenate([batch.signatures for batch in batches])
    rows["controller"] = np.concatenate(
        [np.full(len(batch.records), NO_KEY) if batch.controllers is None else batch.controllers for batch in batches]
    )
    return rows, _chain_ends(records, [len(batch.records) for batch in batches])


def _chain_ends(records: NDArray[Any], sizes: list[int]) -> _Mask:
    """Where chains end: at a record that is not linked with the next one, or with the batch."""
    ends: _Mask = records["flags"] & TransferFlags.LINKED == 0
    ends[np.cumsum(sizes) - 1] = True
    return ends


def _chains(rows: NDArray[Any], ends: _Mask) -> tuple[list[bytes], NDArray[np.intp]]:
    """Each chain as bytes, and its length; a record that stands alone is a chain of one."""
    borders = np.concatenate([[0], np.flatnonzero(ends) + 1])
    data, size = rows.tobytes(), rows.itemsize
    return [data[low:high] for low, high in pairwise((borders * size).tolist())], np.diff(borders)


def _broken_chains(block: Block) -> set[bytes]:
    """Chains of signed transfers that can never take effect, for one of each burnt its id in a block."""
    commands = [command for command in block.body.commands if isinstance(command, SignedRefusals)]
    rows = np.frombuffer(b"".join(command.refused for command in commands), REFUSED_SIGNED).copy()
    rows["timestamp"] = 0
    sizes = [len(command.refused_positions) for command in commands]
    return set(_chains(rows, _chain_ends(rows["record"], sizes))[0]) if sizes else set()


def _are_among(broken: set[bytes], rows: NDArray[Any], ends: _Mask) -> _Mask:
    if not broken:
        return np.zeros(len(rows), np.bool_)
    chains, lengths = _chains(rows, ends)
    return np.repeat(np.array([chain in broken for chain in chains]), lengths)


class _Signed:
    """Signed transfers that took effect in a block, to be looked up.

    They are found by eight bytes of the signature and then compared whole, record and signature: who copies somebody's
    signature onto a record of his own must not be told that it took effect.
    """

    def __init__(self, block: Block) -> None:
        self._records = block.body.transfers[block.body.signers != NO_KEY]
        self._signatures = block.body.signatures
        keys = signature_keys(self._signatures)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def holds(self, rows: NDArray[Any]) -> _Mask:
        """Which transfers are among them."""
        if not len(self._keys):
            return np.zeros(len(rows), np.bool_)
        places = np.searchsorted(self._keys, signature_keys(rows["signature"])).clip(max=len(self._keys) - 1)
        found = self._order[places]
        same: _Mask = (self._signatures[found] == rows["signature"]).all(axis=1)
        same &= (unstamped_bytes(self._records[found]) == unstamped_bytes(rows["record"])).all(axis=1)
        return same
