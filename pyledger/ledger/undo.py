"""Taking blocks back: what a book must remember of the time before a block, and how it becomes that again.

The posting engine and the state tree log the old values of what a block changes. The key registry and the history log
are built anew where the block had added to them, as they only grow. So taking back a block costs about what it had
changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyledger.crypto import merkle
from pyledger.ledger.validators import Office

if TYPE_CHECKING:
    from pyledger.ledger.book import Book

__all__ = ["Mark"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A book as it was before a block.

    Parameters
    ----------
    height, tip, next_time_ns
        Of the book.
    keys_count : int
    sequences : Counter
        Of the institutions' batches of keys and accounts.
    office : Office
        Who voted.
    """

    height: int
    tip: bytes
    next_time_ns: int
    keys_count: int
    sequences: Counter[tuple[int, int]]
    office: Office

    def put_back(self, book: Book) -> None:
        """Make the book's parts beside engine and state tree, which have taken their block back, what they were."""
        if book.keys_count > self.keys_count:
            book.authority.truncate(self.keys_count)
        book.authority.sequences = self.sequences
        book.authority.office = self.office
        if book.history.size > self.height:
            book.history = _shortened(book.history, self.height)
        book.height = book.posted_height = self.height
        book.tip, book.next_time_ns = self.tip, self.next_time_ns


def _shortened(log: merkle.Log, size: int) -> merkle.Log:
    shorter = merkle.Log()
    if size:
        shorter.extend(log.nodes(0, 0, size))
    return shorter
