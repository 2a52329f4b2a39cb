"""A journal audited in bounded memory: old transfers are sealed on the way, in a folder that goes afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pyledger.errors import StorageError
from pyledger.ledger.audit import Reach, Report, audit_blocks
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.store import SEGMENT_DEFAULT, WINDOW_DEFAULT, SealedTransfers
from pyledger.node.certified import Evidence, check_certified, columns_of, decode_evidence, payload_parts
from pyledger.node.keeping import tell_block
from pyledger.node.traces import Held, reach_of

__all__ = ["audit_journal"]


def audit_journal(
    genesis: Genesis,
    journal: Journal,
    progress: Callable[[int], None] | None,
    reach: Sequence[Held],
    *,
    window: int = WINDOW_DEFAULT,
    segment: int = SEGMENT_DEFAULT,
) -> Report:
    """Execute every block again, from genesis.

    Parameters
    ----------
    genesis : Genesis
    journal : Journal
    progress : callable or None
        Called with the height after each block.
    reach : sequence
        What the blocks must reach.
    window, segment : int, optional
        Transfers that stay in memory, and that are sealed at once. Segments take 18 bytes a transfer in the system's
        temporary folder, for a while twice as much.

    Raises
    ------
    StorageError
        If there is no temporary folder, or no room in it.
    ProofError, InputError
        If what is held is not of this chain.
    """
    known = [held if isinstance(held, Reach) else reach_of(held, genesis) for held in reach]
    book = Book(genesis)
    with _scratch_folder() as scratch:
        sealed = SealedTransfers(book.engine, Path(scratch), window=window, segment=segment)

        def settle(block: Block, evidence: Evidence) -> None:
            height = block.header.height
            tell_block(sealed, journal, height, columns_of(payload_parts(block, *evidence), block))
            sealed.seal()
            if progress is not None:
                progress(height)

        report = audit_blocks(book, _blocks_of(journal), check_certified, settle, known)
    if report.ok and journal.torn_bytes:
        rest = f"{journal.torn_bytes} bytes behind block {report.blocks} are not a whole block: "
        return replace(report, difference=rest + "a torn write that the next writer cuts, or damage")
    return report


def _scratch_folder() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="pyledger-audit-")
    except OSError as error:
        raise StorageError(f"no temporary folder for the audit (TMPDIR names one): {error}") from error


def _blocks_of(journal: Journal) -> Iterator[tuple[Block, Evidence]]:
    for _, payload in journal.payloads():
        yield decode_evidence(payload)
