"""What a batch touched goes straight into the state tree, and gives the same root as payloads that were copied."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from engine_twins import outcome
from engine_worlds import World

from pyledger import _core
from pyledger.crypto.state_tree import StateTree
from pyledger.ledger.blocks import ACCOUNT_ENTRY
from pyledger.reference import state_tree as reference
from pyledger.types import ACCOUNT, TRANSFER, KeyRole, u128_ints

WORLDS = 25
CALLS = 60
BANK = 1
MANY = 9_000  # more than one thread takes


class TwinTree(reference.StateTree):
    """The twin, called as the native tree is."""

    def update(self, slots: Any, payloads: Any, threads: int = 1) -> None:
        assert threads > 0
        super().update(slots.tolist(), [row.tobytes() for row in payloads])


class Trees:
    """A world's engine and its twin, each with a state tree behind it."""

    def __init__(self, seed: int) -> None:
        self.world, self.engine = World(seed), _core.Engine()
        self.tree = StateTree(ACCOUNT_ENTRY.itemsize, key_in_payload=True)
        self.twin_tree = TwinTree(ACCOUNT_ENTRY.itemsize)
        for call in self.world.first_calls():
            self.call(call)

    def call(self, call: Any) -> None:
        outcome(call, self.world.twin), outcome(call, self.engine)

    def take(self, threads: int) -> int:
        """New accounts get leaves first; gives the number of those touched."""
        twin = self.world.twin
        new = np.arange(self.tree.size - 1, len(twin.tables.accounts), dtype=np.uint32)
        ids, payloads = twin.accounts()["id"][new], twin.payloads_at(new)
        self.tree.insert(np.ascontiguousarray(ids), np.ascontiguousarray(payloads))
        self.twin_tree.insert(u128_ints(ids), [row.tobytes() for row in payloads])
        taken = twin.take_touched_into(self.twin_tree, 1)
        assert self.engine.take_touched_into(self.tree.native, threads) == taken
        assert self.tree.root() == self.twin_tree.root()
        return taken


def test_touched_accounts_give_the_root_of_the_twin() -> None:
    taken = 0
    for seed in range(WORLDS):
        trees = Trees(seed)
        for _ in range(CALLS):
            trees.call(trees.world.draw())
            if trees.world.random.random() < 0.3:
                taken += trees.take(trees.world.random.randrange(3))
        taken += trees.take(1)
        assert trees.engine.slots_touched().tolist() == []
    assert taken > 1000


def test_a_block_taken_back_takes_the_leaves_back() -> None:
    taken = 0
    for seed in range(WORLDS):
        trees = Trees(seed)
        for _ in range(8):
            trees.call(trees.world.draw())
        trees.take(1)
        before, twins = trees.tree.root(), copy.deepcopy((trees.world.twin, trees.twin_tree))
        trees.engine.begin_block(), trees.tree.begin_block()
        for _ in range(8):
            trees.call(trees.world.draw())
            taken += trees.take(2)
        trees.engine.roll_back_block(), trees.tree.roll_back_block()
        trees.world.twin, trees.twin_tree = twins
        assert trees.tree.root() == before
        trees.call(trees.world.draw())
        trees.take(1)
    assert taken > 200


def bank_with(count: int) -> _core.Engine:
    engine = _core.Engine()
    engine.register_keys(np.array([BANK], np.uint32), 0, np.array([KeyRole.HOLDER | KeyRole.ATTESTER], np.uint32))
    accounts = np.zeros(count, ACCOUNT)
    accounts["id"]["lo"] = np.random.default_rng(5).permutation(count) + 1
    accounts["ledger"] = accounts["code"] = 1
    owners, banks = np.zeros(count, np.uint32), np.full(count, BANK, np.uint32)
    assert not engine.create_accounts(accounts, owners, banks, 1, BANK).any()
    return engine


def tree_of(engine: _core.Engine) -> StateTree:
    tree = StateTree(ACCOUNT_ENTRY.itemsize, key_in_payload=True)
    slots = engine.slots_touched()
    tree.insert(np.ascontiguousarray(engine.accounts()["id"]), engine.payloads_at(slots))
    tree.root()
    return tree


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_touched_accounts_give_one_root_for_any_threads(threads: int) -> None:
    engine = bank_with(MANY)
    tree, copied = tree_of(engine), StateTree(ACCOUNT_ENTRY.itemsize, key_in_payload=True)
    records = np.zeros(MANY, TRANSFER)
    records["id"]["lo"], records["debit_account_id"]["lo"] = np.arange(1, MANY + 1), np.arange(1, MANY + 1)
    records["credit_account_id"]["lo"] = np.arange(1, MANY + 1) % MANY + 1
    records["amount"]["lo"], records["ledger"], records["code"] = np.arange(1, MANY + 1), 1, 1
    assert not engine.create_transfers(records, np.zeros(MANY, np.uint32), np.ones(MANY, np.bool_), MANY + 1)[0].any()
    assert engine.take_touched_into(tree.native, threads) == MANY
    everything = np.arange(MANY, dtype=np.uint32)
    copied.insert(np.ascontiguousarray(engine.accounts()["id"]), engine.payloads_at(everything))
    assert tree.root() == copied.root()


def test_tree_of_other_accounts_is_refused_and_nothing_changes() -> None:
    engine, other = bank_with(3), StateTree(64)
    tree = tree_of(bank_with(2))
    before = tree.root()
    with pytest.raises(ValueError, match="tree: expected 3 accounts of 136 bytes each, got 2 of 136"):
        engine.take_touched_into(tree.native, 1)
    with pytest.raises(ValueError, match="expected 3 accounts of 136 bytes each, got 0 of 64"):
        engine.take_touched_into(other.native, 1)
    assert tree.root() == before
    assert engine.slots_touched().tolist() == [0, 1, 2]


def test_tree_whose_slots_are_of_other_keys_is_an_error() -> None:
    engine, tree = bank_with(2), StateTree(ACCOUNT_ENTRY.itemsize, key_in_payload=True)
    rows = engine.payloads_at(np.array([1, 0], np.uint32))
    tree.insert(np.ascontiguousarray(engine.accounts()["id"][::-1]), rows)
    with pytest.raises(RuntimeError, match="tree: slot 1 is of another account"):
        engine.take_touched_into(tree.native, 1)
