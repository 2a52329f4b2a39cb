"""A block that is taken back leaves nothing: the book goes on as one that never saw it."""

import random
from collections import Counter

import numpy as np
import pytest
from book_worlds import GENESIS, OWNER, World, entries, key_of, signed
from ledgers import transfers

from pyledger.errors import LedgerError, StorageError
from pyledger.ledger.batches import AccountBatch, KeyBatch, TransferBatch
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book

WORLDS = 25
BLOCKS = 12


class RandomWorld(World):
    """Draws batches of every kind that fit the state, some of which are refused in part."""

    def __init__(self, seed):
        super().__init__()
        self.random = random.Random(seed)
        self.accounts = 0
        self.transfers = 0
        self.chain = [self.block(self.keys(OWNER))]

    def draw_block(self, counts):
        """A block of a few batches."""
        batches = [self.draw(counts) for _ in range(self.random.randrange(3))]
        rank = {KeyBatch: 0, AccountBatch: 1, TransferBatch: 2}
        kinds = {type(batch): batch for batch in batches}  # one of each: sequences are taken from the same state
        return self.block(*sorted(kinds.values(), key=lambda batch: rank[type(batch)]))

    def draw(self, counts):
        kind = self.random.choice(["keys", "accounts", "attested", "attested", "signed", "signed"])
        if self.accounts < 4:
            kind = "accounts"
        counts[kind] += 1
        if kind == "keys":
            return self.keys(key_of(self.book.keys_count + self.random.randrange(1 << 30)))
        if kind == "accounts":
            first, self.accounts = self.accounts + 1, self.accounts + 4
            rows = entries(range(first, first + 4))
            rows["owner_key"][2:] = len(GENESIS.institutions)
            return self.attested(AccountBatch, rows)
        rows = transfers(*(self.draw_transfer() for _ in range(self.random.randrange(1, 6))))
        return self.attested(TransferBatch, rows) if kind == "attested" else signed(rows)

    def draw_transfer(self):
        self.transfers += 1
        number = self.transfers if self.random.random() < 0.9 else max(1, self.transfers - 3)
        debit, credit = self.random.sample(range(1, self.accounts + 2), 2)
        return number, debit, credit, self.random.randrange(1, 100)


def same(book, other):
    """Whether two books are in the same state, in all that a block or an answer can show."""
    assert (book.height, book.tip, book.next_time_ns) == (other.height, other.tip, other.next_time_ns)
    assert book.state.root() == other.state.root()
    assert book.history.root() == other.history.root()
    assert book.keys_count == other.keys_count
    assert book.authority.public_keys.tolist() == other.authority.public_keys.tolist()
    assert book.authority.sequences == other.authority.sequences
    assert book.engine.failed_ids(0).tolist() == other.engine.failed_ids(0).tolist()
    book.check_invariants()


def replayed(blocks):
    book = Book(GENESIS)
    for block in blocks:
        book.apply(block)
    return book


def test_books_that_take_blocks_back_stay_like_books_that_never_saw_them():
    counts = Counter()
    for seed in range(WORLDS):
        world, marks = RandomWorld(seed), []
        chain = world.chain
        for _ in range(BLOCKS):
            marks.append((len(chain), world.accounts))
            world.book.mark()
            chain.append(world.draw_block(counts))
            while marks and world.random.random() < 0.35:
                length, world.accounts = marks.pop()
                world.book.roll_back()
                counts["taken back"] += len(chain) - length
                del chain[length:]
                same(world.book, replayed(chain))
            if marks and world.random.random() < 0.2:
                world.book.release()
                marks.pop(0)
        same(world.book, replayed(chain))
    assert counts["taken back"] > WORLDS
    assert min(counts[kind] for kind in ("keys", "accounts", "attested", "signed")) > WORLDS


def test_what_was_executed_of_an_unfinished_block_is_taken_back():
    world = World()
    chain = [world.block(world.attested(AccountBatch, entries([1, 2])))]
    world.book.mark()
    world.book.begin(world.book.next_time_ns)
    world.book.execute(world.book.prepare(world.attested(TransferBatch, transfers((1, 1, 2, 5), (2, 1, 99, 5)))))
    assert world.book.dirty
    world.book.roll_back()
    assert not world.book.dirty
    same(world.book, replayed(chain))


@pytest.mark.parametrize("field", ["state_root", "transfers_root", "accounts_root"])
def test_a_block_that_turns_out_wrong_is_taken_back(field):
    from dataclasses import replace

    world = World()
    chain = [world.block(world.attested(AccountBatch, entries([1, 2])))]
    batches = [world.attested(AccountBatch, entries([3])), world.attested(TransferBatch, transfers((1, 1, 2, 5)))]
    right = world.block(*batches)
    book = replayed(chain)
    book.mark()
    with pytest.raises(StorageError):
        book.apply(Block(replace(right.header, **{field: bytes(32)}), right.body))
    book.roll_back()
    same(book, replayed(chain))
    book.apply(right)
    same(book, world.book)


def test_a_key_that_was_taken_back_signs_nothing_and_can_be_registered_again():
    world = World()
    owned = entries([1, 2])
    world.block(world.attested(AccountBatch, owned))
    world.book.mark()
    world.block(world.keys(key_of(7)))
    world.book.roll_back()
    assert world.book.keys_count == len(GENESIS.institutions)
    batch = signed(transfers((1, 1, 2, 5)), signers=len(GENESIS.institutions))
    assert not np.any(world.book.prepare(batch).valid)
    assert world.block(world.keys(key_of(7))).header.commands_count == 1


def test_without_a_mark_nothing_can_be_taken_back():
    world = World()
    world.block(world.attested(AccountBatch, entries([1, 2])))
    with pytest.raises((LedgerError, ValueError)):
        world.book.roll_back()
