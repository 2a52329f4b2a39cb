"""The book above the last final block: blocks that may or may not become final, executed one branch at a time.

A `Book` has one state. It follows the branch that is being worked on; where another one is needed, it is brought back
to the last final block and the needed branch is executed on top. Bringing it back means executing the final blocks of
the journal again, which is right and slow; it happens when a leader was given up after its block was executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyledger.errors import StateError, StorageError
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.ledger.genesis import Genesis

__all__ = ["Branches"]


@dataclass(frozen=True, slots=True)
class _Undecided:
    block: Block
    keys_before: int


class Branches:
    """The final state, and undecided blocks on top of it.

    Parameters
    ----------
    genesis : Genesis
    final_blocks : callable
        Gives the final blocks, from height 1 on.
    """

    def __init__(self, genesis: Genesis, final_blocks: Callable[[], Iterable[Block]]) -> None:
        self._genesis = genesis
        self._final_blocks = final_blocks
        self._undecided: dict[bytes, _Undecided] = {}
        self.rebuilds = -1
        self._book = self._final_book()
        self.final_height, self.final_tip = self._book.height, self._book.tip

    def __contains__(self, block_hash: bytes) -> bool:
        """Whether this block is the last final one, or undecided."""
        return block_hash == self.final_tip or block_hash in self._undecided

    @property
    def book(self) -> Book:
        """The book, on whatever branch it stands."""
        return self._book

    def book_on(self, block_hash: bytes) -> Book:
        """The book in the state after a block that was applied and not discarded, or the last final one.

        Raises
        ------
        StateError
            If there is no such block.
        """
        path = self._path(block_hash)
        places = [self.final_tip, *(block.hash for block in path)]
        if self._book.dirty or self._book.tip not in places:
            self._book = self._final_book()
        for block in path[places.index(self._book.tip) :]:
            self._book.apply(block, trusted=True)
        return self._book

    def apply(self, block: Block) -> int:
        """Execute a block on top of its parent; returns the number of keys registered before it.

        Raises
        ------
        StateError
            If its parent is not here.
        StorageError
            If it is not what executing it gives.
        """
        known = self._undecided.get(block.hash)
        if known is not None:
            return known.keys_before
        book = self.book_on(block.header.parent)
        if block.header.height != book.height + 1:
            raise StorageError(f"block {block.header.height}: its parent is block {book.height}")
        keys_before = book.keys_count
        book.apply(block)
        self._undecided[block.hash] = _Undecided(block, keys_before)
        return keys_before

    def add_formed(self, block: Block, keys_before: int) -> None:
        """Take a block that the book has just formed."""
        self._book.commit(block)
        self._undecided[block.hash] = _Undecided(block, keys_before)

    def undecided(self, block_hash: bytes) -> Block:
        """A block that was applied and is not final."""
        return self._undecided[block_hash].block

    def is_empty(self, block_hash: bytes) -> bool:
        """Whether nothing takes effect in an undecided block."""
        header = self._undecided[block_hash].block.header
        return not (header.accounts_count or header.transfers_count or header.commands_count)

    def ancestors(self, block_hash: bytes) -> list[bytes]:
        """Hashes of the undecided blocks up to and with this one, the newest first."""
        return [block.hash for block in reversed(self._path(block_hash))]

    def finalise(self, block_hash: bytes) -> Block:
        """Take an undecided child of the last final block as final."""
        block = self._undecided[block_hash].block
        if block.header.parent != self.final_tip:
            raise StateError(f"block {block.header.height}: its parent is not final")
        del self._undecided[block_hash]
        self.final_height, self.final_tip = block.header.height, block_hash
        return block

    def discard(self, block_hash: bytes) -> None:
        """Forget an undecided block."""
        self._undecided.pop(block_hash, None)

    def _path(self, block_hash: bytes) -> list[Block]:
        """Undecided blocks from the child of the last final block up to this one."""
        path: list[Block] = []
        while block_hash != self.final_tip:
            found = self._undecided.get(block_hash)
            if found is None:
                raise StateError(f"block {block_hash.hex()[:16]}: not known, or not above the last final block")
            path.append(found.block)
            block_hash = found.block.header.parent
        return path[::-1]

    def _final_book(self) -> Book:
        self.rebuilds += 1
        book = Book(self._genesis)
        for block in self._final_blocks():
            book.apply(block, trusted=True)
        return book
