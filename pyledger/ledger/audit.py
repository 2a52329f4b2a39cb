"""Audit: every block executed again from genesis, with every signature, root, certificate and invariant checked.

Invariants that a scan of the whole state shows are checked whenever the ledger has doubled, and at the end: after each
block it would take the square of the ledger's size. What a block does wrong is found in the block itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pyledger.errors import LedgerError
from pyledger.ledger.blocks import Block, Header
from pyledger.ledger.book import Book
from pyledger.ledger.mismatch import Mismatch
from pyledger.ledger.validators import Office

__all__ = ["Reach", "Report", "audit_blocks"]

Evidence = TypeVar("Evidence")


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the blocks must reach, because somebody knows it.

    Parameters
    ----------
    height : int
    block_hash : bytes or None
        Of the block at that height; None if only the height is known.
    shown_by : str
        Where that is known from, for messages.
    """

    height: int
    block_hash: bytes | None = None
    shown_by: str = ""

    def __str__(self) -> str:
        """Where it is known from, height and block hash."""
        source = f"{self.shown_by}: " if self.shown_by else ""
        return f"{source}block {self.height}" + (f", hash {self.block_hash.hex()}" if self.block_hash else "")


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found.

    Parameters
    ----------
    blocks, accounts, transfers, signatures : int
        What was checked, up to the first difference.
    tip : bytes
        Hash of the last good block.
    difference : str or None
        The first thing that does not hold: block, record and field; None if all does.
    block : int or None
        Height of the block with the difference.
    record : str or None
        The record in it, from 0, or the records of a batch that was attested as a whole; None where the difference is
        in the header, the certificate or the state.
    field : str or None
        The field that differs.
    """

    blocks: int
    accounts: int
    transfers: int
    signatures: int
    tip: bytes
    difference: str | None = None
    block: int | None = None
    record: str | None = None
    field: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return self.difference is None


def audit_blocks(
    book: Book,
    blocks: Iterable[tuple[Block, Evidence]],
    check_certificate: Callable[[Header, Evidence, Office], None],
    settle: Callable[[Block, Evidence], None] | None = None,
    reach: Sequence[Reach] = (),
) -> Report:
    """Replay blocks from genesis.

    A block is executed before its certificate is checked: what was changed in it is named by record and field then,
    and not just as a hash that nobody certified.

    Parameters
    ----------
    book : Book
        New; executes them.
    blocks : iterable of (Block, evidence)
        In order from height 1, each with what shows that it is certified.
    check_certificate : callable
        Given header, evidence and who is in office after the block, raises a LedgerError unless it shows that.
    settle : callable, optional
        Called with each block that is well, and its evidence.
    reach : sequence of Reach, optional
        Blocks that must be among them.

    Raises
    ------
    LedgerError
        Of `settle` alone; whatever is wrong with a block is in the report.
    """
    report = Report(0, 0, 0, 0, book.genesis.hash)
    scanned = 0  # records at the last scan
    settling = False
    try:
        for block, evidence in blocks:
            _audit_block(book, block, evidence, check_certificate)
            _require_known(block, reach)
            report = _counted(report, block)
            if book.records_count >= 2 * scanned:
                _require_invariants(book)
                scanned = book.records_count
            if settle is not None:
                settling = True
                settle(block, evidence)
                settling = False
        _require_invariants(book)
    except Mismatch as error:
        return replace(report, difference=str(error), block=error.block, record=error.record, field=error.field)
    except LedgerError as error:  # what is there is no block
        if settling:
            raise
        height = report.blocks + 1
        return replace(report, difference=f"block {height}: field 'encoding': {error}", block=height, field="encoding")
    return _reaching(report, reach)


def _require_known(block: Block, reach: Sequence[Reach]) -> None:
    for known in reach:
        if known.height == block.header.height and known.block_hash not in (None, block.hash):
            raise Mismatch(known.height, None, "hash", f"expected {known}; here it is {block.hash.hex()}")


def _reaching(report: Report, reach: Sequence[Reach]) -> Report:
    """The report, or that there are too few blocks."""
    furthest = max(reach, key=lambda known: known.height, default=None)
    if furthest is None or furthest.height <= report.blocks:
        return report
    height = report.blocks + 1
    end = f"the blocks end with block {report.blocks}, hash {report.tip.hex()}; expected {furthest}"
    return replace(report, difference=f"block {height}: field 'height': {end}", block=height, field="height")


def _audit_block(
    book: Book, block: Block, evidence: Evidence, check_certificate: Callable[[Header, Evidence, Office], None]
) -> None:
    height = book.height + 1
    if block.header.height != height:
        raise Mismatch(height, None, "height", f"expected {height}, the block says {block.header.height}")
    book.apply(block)
    try:
        check_certificate(block.header, evidence, book.authority.office)
    except LedgerError as error:
        raise Mismatch(height, None, "certificate", str(error)) from error


def _require_invariants(book: Book) -> None:
    try:
        book.check_invariants()
    except LedgerError as error:
        raise Mismatch(book.height, None, "invariants", str(error)) from error


def _counted(report: Report, block: Block) -> Report:
    header = block.header
    return Report(
        header.height,
        report.accounts + header.accounts_count,
        report.transfers + header.transfers_count,
        report.signatures + len(block.body.signatures) + header.commands_count,
        block.hash,
    )
