"""Audit: every block executed again from genesis, with every signature, root, certificate and invariant checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyledger.errors import LedgerError
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.ledger.genesis import Genesis

__all__ = ["Report", "audit_blocks"]


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
    """

    blocks: int
    accounts: int
    transfers: int
    signatures: int
    tip: bytes
    difference: str | None

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return self.difference is None


def audit_blocks(
    genesis: Genesis,
    blocks: Iterable[tuple[Block, bytes]],
    check_certificate: Callable[[Block, bytes], None],
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Replay blocks from genesis.

    Parameters
    ----------
    genesis : Genesis
    blocks : iterable of (Block, certificate bytes)
        In order from height 1.
    check_certificate : callable
        Raises a LedgerError unless the certificate proves the block.
    progress : callable, optional
        Called with the height after each block.
    """
    book = Book(genesis)
    accounts = transfers = signatures = 0
    difference = None
    try:
        for block, certificate in blocks:
            check_certificate(block, certificate)
            book.apply(block)
            book.check_invariants()
            accounts += block.header.accounts_count
            transfers += block.header.transfers_count
            signatures += len(block.body.signatures) + block.header.commands_count
            if progress is not None:
                progress(block.header.height)
    except LedgerError as error:
        difference = str(error)
    return Report(book.height, accounts, transfers, signatures, book.tip, difference)
