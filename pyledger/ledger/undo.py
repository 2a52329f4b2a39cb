"""Taking blocks back: what a book must remember of the time before a block, and how it becomes that again.

The posting engine logs the old values of what a block changes. The rest is put back from little: rows of the state tree
are read from the engine again; the tree, the key registry or the history log are built anew where the block had added
to them, as they only grow. So taking back a block of transfers costs about what it had changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto import merkle
from pyledger.crypto.state_tree import StateTree
from pyledger.ledger.blocks import ACCOUNT_ENTRY
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
    keys_count, accounts_count : int
    sequences : Counter
        Of the institutions' batches of keys and accounts.
    office : Office
        Who voted.
    slots : list of NDArray[uint32]
        Accounts that the state tree has taken over since.
    """

    height: int
    tip: bytes
    next_time_ns: int
    keys_count: int
    accounts_count: int
    failed_ids_count: int
    sequences: Counter[tuple[int, int]]
    office: Office
    slots: list[NDArray[np.uint32]] = field(default_factory=list)

    def put_back(self, book: Book) -> None:
        """Make the book's parts beside the engine, which has taken its block back, what they were."""
        if book.keys_count > self.keys_count:
            book.authority.truncate(self.keys_count)
        book.authority.sequences = self.sequences
        book.authority.office = self.office
        if book.history.size > self.height:
            book.history = _shortened(book.history, self.height)
        self._put_back_state(book)
        book.height = book.posted_height = self.height
        book.tip, book.next_time_ns = self.tip, self.next_time_ns

    def _put_back_state(self, book: Book) -> None:
        if book.state.size > self.accounts_count + 1:  # slot 0 is the head of the tree's list
            book.state = _state_of(book.engine, self.accounts_count)
            return
        for slots in self.slots:
            book.state.update(slots + np.uint32(1), book.engine.payloads_at(slots))


def _shortened(log: merkle.Log, size: int) -> merkle.Log:
    shorter = merkle.Log()
    if size:
        shorter.extend(log.nodes(0, 0, size))
    return shorter


def _state_of(engine: _core.Engine, accounts_count: int) -> StateTree:
    """The state tree of all accounts, in the order of their creation."""
    state = StateTree(ACCOUNT_ENTRY.itemsize)
    rows = engine.payloads_at(np.arange(accounts_count, dtype=np.uint32))
    state.insert(np.ascontiguousarray(rows.view(ACCOUNT_ENTRY)["record"]["id"].reshape(-1)), rows)
    return state
