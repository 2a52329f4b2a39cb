"""A ledger's folder opened again: the newest snapshot that is usable, and the blocks behind it executed and checked.

One way for `pyledger.Ledger` and for a node. What a snapshot is believed for: docs/decisions/018.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyledger.errors import ProofError, StorageError
from pyledger.ledger.blocks import Header
from pyledger.ledger.book import Book
from pyledger.ledger.journal import Journal
from pyledger.ledger.validators import Office
from pyledger.node.certified import Evidence, columns_of, decode_evidence, payload_parts, verify_certificates
from pyledger.node.keeping import Keeper

__all__ = ["execute_tail"]


def execute_tail(book: Book, journal: Journal, keeper: Keeper | None) -> list[Header]:
    """Execute the blocks behind the book's and check that each is certified, all certificates in one equation.

    Parameters
    ----------
    book : Book
    journal : Journal
    keeper : Keeper or None
        A writer's; told of the blocks, so that transfers are sealed on the way.

    Returns
    -------
    list of Header
        Of these blocks.

    Raises
    ------
    StorageError
        If a block is damaged, does not give what it says, or is not certified.
    """
    last = journal.settled_height() if journal.read_only else journal.height
    headers: list[Header] = []

    def executed() -> Iterator[tuple[Header, Evidence, Office]]:
        for _, payload in journal.payloads(book.height + 1, last):
            block, evidence = decode_evidence(payload)
            book.apply(block, trusted=True)
            headers.append(block.header)
            if keeper is not None:
                keeper.tell(block.header, columns_of(payload_parts(block, *evidence), block))
                keeper.seal()
            yield block.header, evidence, book.authority.office

    try:
        verify_certificates(executed())
    except ProofError as error:
        raise StorageError(f"{journal.folder.parent}: a block is not certified: {error}") from error
    return headers
