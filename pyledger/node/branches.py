"""The book above the last final block: blocks that may or may not become final, executed one branch at a time.

A `Book` has one state. It follows the branch that is being worked on; where another one is needed, it takes blocks back
to where the two part and executes the needed branch from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyledger.errors import StateError, StorageError
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book

__all__ = ["Branches"]


@dataclass(frozen=True, slots=True)
class _Undecided:
    block: Block
    keys_before: int


class Branches:
    """The final state, and undecided blocks on top of it.

    Parameters
    ----------
    book : Book
        After the last final block.

    Attributes
    ----------
    final_height, final_tip
        Height and hash of the last final block.
    taken_back : int
        Blocks that were taken back so far.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._undecided: dict[bytes, _Undecided] = {}
        self._standing: list[bytes] = []  # undecided blocks that the book has executed, each with a mark before it
        self.final_height, self.final_tip = self._book.height, self._book.tip
        self.taken_back = 0

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
        shared = 0
        for standing, block in zip(self._standing, path, strict=False):
            if standing != block.hash:
                break
            shared += 1
        while len(self._standing) > shared:
            self._book.roll_back()
            self._standing.pop()
            self.taken_back += 1
        for block in path[shared:]:
            self._book.mark()
            self._book.apply(block, trusted=True)
            self._standing.append(block.hash)
        return self._book

    def apply(self, block: Block) -> int:
        """Execute a block on top of its parent; returns the number of keys registered before it.

        Raises
        ------
        StateError
            If its parent is not here.
        StorageError
            If it is not what executing it gives; it has left no trace then.
        """
        known = self._undecided.get(block.hash)
        if known is not None:
            return known.keys_before
        book = self.book_on(block.header.parent)
        if block.header.height != book.height + 1:
            raise StorageError(f"block {block.header.height}: its parent is block {book.height}")
        keys_before = book.keys_count
        with self._taking_back_failures():
            book.apply(block)
        self._add(block, keys_before)
        return keys_before

    @contextmanager
    def forming(self, parent: bytes) -> Iterator[Book]:
        """The book on a block, to form its child with and give that to `add_formed`; taken back if that fails."""
        book = self.book_on(parent)
        with self._taking_back_failures():
            yield book

    def add_formed(self, block: Block, keys_before: int) -> None:
        """Take a block that the book has just formed."""
        self._book.commit(block)
        self._add(block, keys_before)

    @contextmanager
    def trying(self) -> Iterator[Book]:
        """The book, for something that is taken back in any case."""
        self._book.mark()
        try:
            yield self._book
        finally:
            self._book.roll_back()

    @contextmanager
    def resting(self) -> Iterator[Book]:
        """The book on the last final block; afterwards on the branch where it was."""
        branch, taken_back = self._standing[-1:], self.taken_back
        try:
            yield self.book_on(self.final_tip)
        finally:
            for block_hash in branch:
                self.book_on(block_hash)
            self.taken_back = taken_back

    def undecided(self, block_hash: bytes) -> Block:
        """A block that was applied and is not final."""
        return self._undecided[block_hash].block

    def find(self, block_hash: bytes) -> Block | None:
        """The same; None if it is not here."""
        found = self._undecided.get(block_hash)
        return None if found is None else found.block

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
        if self._standing[:1] != [block_hash]:
            self.book_on(block_hash)
        self._book.release()
        self._standing.pop(0)
        del self._undecided[block_hash]
        self.final_height, self.final_tip = block.header.height, block_hash
        return block

    def discard(self, block_hash: bytes) -> None:
        """Forget an undecided block."""
        if block_hash in self._standing:
            self.book_on(self._undecided[block_hash].block.header.parent)
        self._undecided.pop(block_hash, None)

    def _add(self, block: Block, keys_before: int) -> None:
        self._undecided[block.hash] = _Undecided(block, keys_before)
        self._standing.append(block.hash)

    @contextmanager
    def _taking_back_failures(self) -> Iterator[None]:
        self._book.mark()
        try:
            yield
        except BaseException:
            self._book.roll_back()
            raise

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
