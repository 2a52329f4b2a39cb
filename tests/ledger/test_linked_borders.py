"""A linked chain ends with its batch, whoever's batch comes next: nobody opens, closes or breaks that of another."""

from itertools import product

import numpy as np
import pytest
from book_worlds import GENESIS, OWNER, World, entries, signed
from ledgers import transfers

from pyledger.ledger.batches import AccountBatch, TransferBatch
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.types import CreateTransferResult as R
from pyledger.types import TransferFlags as TF

OWNERS_KEY = 4
OPEN = [R.LINKED_EVENT_FAILED, R.LINKED_EVENT_FAILED, R.LINKED_EVENT_CHAIN_OPEN]


@pytest.fixture
def world():
    """Accounts 1 and 2 of OWNER's at the first bank, 3 of the second bank."""
    world = World()
    owned = entries([1, 2])
    owned["owner_key"] = OWNERS_KEY
    world.setup = [world.block(world.keys(OWNER)), world.block(world.attested(AccountBatch, owned))]
    world.setup.append(world.block(world.attested(AccountBatch, entries([3], 1), 1)))
    return world


def rows(first, debit, *linked):
    records = transfers(*((first + place, debit, 2 if debit != 2 else 1, 1) for place in range(len(linked))))
    records["flags"] = np.where(linked, TF.LINKED, 0)
    return records


MAKERS = {
    "signed": lambda world, first, *linked: signed(rows(first, 1, *linked), OWNERS_KEY),
    "first bank": lambda world, first, *linked: world.attested(TransferBatch, rows(first, 1, *linked)),
    "second bank": lambda world, first, *linked: world.attested(TransferBatch, rows(first, 3, *linked), 1),
}


@pytest.mark.parametrize(("before", "behind"), [pair for pair in product(MAKERS, MAKERS) if pair[0] != pair[1]])
@pytest.mark.parametrize("linked", [(False,), (True, False), (True, True, False)])
def test_a_chain_left_open_is_broken_at_the_end_of_its_batch_and_takes_nothing_with_it(world, before, behind, linked):
    left_open = MAKERS[before](world, 100, True, True, True)
    next_one = MAKERS[behind](world, 200, *linked)
    execution = world.book.propose(
        [left_open, next_one], time_ns=world.book.next_time_ns, epoch=0, round=1, validators_hash=bytes(32)
    )
    assert [results.tolist() for results in execution.results] == [OPEN, [0] * len(linked)]
    world.book.commit(execution.block)
    assert execution.block.body.transfers["id"]["lo"].tolist() == [200 + place for place in range(len(linked))]
    again = Book(GENESIS)
    for block in (*world.setup, execution.block):
        again.apply(Block.from_bytes(block.to_bytes()))
    assert again.tip == world.book.tip


def test_two_chains_side_by_side_stand_or_fall_alone(world):
    """Signed batches are one when a block is executed again: the border of theirs is where a chain has ended."""
    good, other = (MAKERS["signed"](world, first, True, False) for first in (100, 300))
    bad = transfers((200, 1, 2, 1), (201, 1, 77, 1))
    bad["flags"][0] = TF.LINKED
    batches = [good, signed(bad, OWNERS_KEY), other]
    execution = world.book.propose(
        batches, time_ns=world.book.next_time_ns, epoch=0, round=1, validators_hash=bytes(32)
    )
    failed = [R.LINKED_EVENT_FAILED, R.CREDIT_ACCOUNT_NOT_FOUND]
    assert [results.tolist() for results in execution.results] == [[0, 0], failed, [0, 0]]
    world.book.commit(execution.block)
    again = Book(GENESIS)
    for block in (*world.setup, execution.block):
        again.apply(Block.from_bytes(block.to_bytes()))
    assert again.tip == world.book.tip
