"""The book above the last final block: any branch can be stood on, a wrong block leaves no trace."""

from dataclasses import replace

import pytest
from ledgers import accounts, genesis, members

from pyledger.errors import StateError, StorageError
from pyledger.ledger.batches import AccountBatch, HeldKey
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block
from pyledger.ledger.book import Book
from pyledger.node.branches import Branches

KEYS = members(1)
GENESIS = genesis(KEYS)


def opening(ids):
    import numpy as np

    entries = np.zeros(len(ids), ACCOUNT_ENTRY)
    entries["record"] = accounts(ids)
    return AccountBatch(entries, HeldKey(0, KEYS[0].attestation.sign))


def block_on(ancestors, ids, round):
    """A block that opens accounts, formed by another book on top of blocks."""
    book = Book(GENESIS)
    for block in ancestors:
        book.apply(block)
    execution = book.propose(
        [opening(ids)] if ids else [],
        time_ns=book.next_time_ns,
        epoch=0,
        round=round,
        validators_hash=bytes(32),
        keep_empty=True,
    )
    return execution.block


@pytest.fixture
def branches():
    return Branches(Book(GENESIS))


def test_blocks_stand_on_each_other_without_taking_any_back(branches):
    first = block_on([], [1], 1)
    second = block_on([first], [2], 2)
    branches.apply(first)
    branches.apply(second)
    branches.finalise(first.hash)
    assert (branches.final_height, branches.book.height, branches.taken_back) == (1, 2, 0)
    assert branches.ancestors(second.hash) == [second.hash]


def test_another_branch_is_executed_from_where_they_part(branches):
    root = block_on([], [1], 1)
    left, right = block_on([root], [2], 2), block_on([root], [3], 3)
    branches.apply(root)
    branches.finalise(root.hash)
    branches.apply(left)
    branches.apply(right)
    assert branches.taken_back == 1
    assert branches.book.tip == right.hash
    assert branches.book_on(left.hash).tip == left.hash
    assert branches.book_on(left.hash).state.root() == left.header.state_root


def test_an_abandoned_branch_leaves_no_trace(branches):
    left, right = block_on([], [2], 1), block_on([], [3], 2)
    branches.apply(left)
    branches.discard(left.hash)
    branches.apply(right)
    branches.finalise(right.hash)
    assert branches.book.state.root() == right.header.state_root
    with pytest.raises(StateError):
        branches.book_on(left.hash)


@pytest.mark.parametrize("field", ["state_root", "accounts_root", "history_root", "outcomes_root"])
def test_a_block_with_a_wrong_root_is_refused_and_the_right_one_taken(branches, field):
    right = block_on([], [1], 1)
    wrong = Block(replace(right.header, **{field: bytes(32)}), right.body)
    with pytest.raises(StorageError):
        branches.apply(wrong)
    assert wrong.hash not in branches
    branches.apply(right)
    assert branches.book.tip == right.hash


def test_a_block_of_a_wrong_height_or_an_unknown_parent_is_refused(branches):
    right = block_on([], [1], 1)
    with pytest.raises(StorageError, match="its parent is block 0"):
        branches.apply(Block(replace(right.header, height=7), right.body))
    with pytest.raises(StateError):
        branches.apply(Block(replace(right.header, parent=bytes(32)), right.body))


def test_only_a_child_of_the_last_final_block_becomes_final(branches):
    first = block_on([], [1], 1)
    second = block_on([first], [2], 2)
    branches.apply(first)
    branches.apply(second)
    with pytest.raises(StateError, match="parent is not final"):
        branches.finalise(second.hash)
