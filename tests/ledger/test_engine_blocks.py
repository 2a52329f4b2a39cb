"""Blocks that are taken back: nothing of them is left, in the engine's state and in all that it answers later."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_twins import outcome, require_same_state, same
from engine_worlds import World
from sealed_engine import SealedEngine

from pyledger import _core
from pyledger.reference import history as twin_history
from pyledger.types import u128_array, u128_ints

WORLDS = 60
BLOCKS = 14


class OpenBlocks:
    """A world whose calls happen in blocks, some of which are taken back, in the twin by going back to a copy."""

    def __init__(self, seed: int, native: Any) -> None:
        self.world = World(seed)
        self.native = native
        self.copies: list[Any] = []
        for call in self.world.first_calls():
            self.call(call)

    def call(self, call: Any) -> None:
        expected, got = outcome(call, self.world.twin), outcome(call, self.native)
        assert same(expected, got), f"{call}\nexpected {expected}\ngot      {got}"

    def begin(self) -> None:
        self.native.begin_block()
        self.copies.append(copy.deepcopy(self.world.twin))

    def roll_back(self) -> None:
        self.native.roll_back_block()
        self.world.twin = self.copies.pop()
        require_same_state(self.native, self.world.twin, self.world.twin.height)

    def commit(self) -> None:
        self.native.commit_block()
        self.copies.pop(0)

    def require_same_past(self) -> None:
        accounts = list(self.world.twin.tables.accounts)
        got = u128_ints(self.native.balances_at_time(u128_array(accounts), self.world.now // 2).reshape(-1))
        expected = [twin_history.balances_at_time(self.world.twin, a, self.world.now // 2) for a in accounts]
        assert got == [amount for row in expected for amount in row]


def run_world(seed: int, native: Any, counts: Counter[str]) -> None:
    blocks = OpenBlocks(seed, native)
    draw = blocks.world.random
    for _ in range(BLOCKS):
        if draw.random() < 0.3:
            native.slots_touched(), blocks.world.twin.slots_touched()
        blocks.begin()
        for _ in range(draw.randrange(6)):
            blocks.call(blocks.world.draw())
        while blocks.copies and draw.random() < 0.4:
            counts["taken back"] += len(blocks.world.twin.tables.transfers) - len(blocks.copies[-1].tables.transfers)
            counts["expiries taken back"] += len(blocks.world.twin.expired) - len(blocks.copies[-1].expired)
            blocks.roll_back()
        while blocks.copies and (len(blocks.copies) > 3 or draw.random() < 0.2):
            blocks.commit()
        assert native.open_blocks == len(blocks.copies)
        blocks.require_same_past()
    require_same_state(native, blocks.world.twin, blocks.world.twin.height)
    counts["kept"] += len(blocks.world.twin.tables.transfers)


def test_what_a_block_taken_back_did_never_happened() -> None:
    counts: Counter[str] = Counter()
    for seed in range(WORLDS):
        run_world(seed, _core.Engine(), counts)
    assert counts["taken back"] > 1000
    assert counts["expiries taken back"] > 20
    assert counts["kept"] > 1000


class SealsFinalBlocks(SealedEngine):
    """Blocks are told to the store when they are final."""

    def __init__(self, folder: Path, window: int, run: int, seed: int) -> None:
        super().__init__(folder, window, run, seed)
        self.waiting: list[list[tuple[Any, Any]]] = [[]]

    def write_block(self, records: Any, effects: Any) -> None:
        self.waiting[-1].append((records, effects))
        self.write_final()

    def begin_block(self) -> None:
        self.engine.begin_block()
        self.waiting.append([])

    def commit_block(self) -> None:
        self.engine.commit_block()
        self.waiting[0] += self.waiting.pop(1)
        self.write_final()
        self.seal_all()

    def roll_back_block(self) -> None:
        self.engine.roll_back_block()
        self.waiting.pop()

    def write_final(self) -> None:
        for records, effects in self.waiting[0]:
            super().write_block(records, effects)
        self.waiting[0].clear()


def test_blocks_are_taken_back_while_older_ones_are_sealed(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(WORLDS):
        native = SealsFinalBlocks(tmp_path / str(seed), seed % 5, 1 + seed % 4, seed)
        run_world(seed, native, counts)
        counts["sealed"] += native.sealed_count
    assert counts["taken back"] > 1000
    assert counts["sealed"] > 500


def test_blocks_are_committed_and_taken_back_only_while_one_is_open() -> None:
    engine = _core.Engine()
    for call in (engine.commit_block, engine.roll_back_block):
        with pytest.raises(ValueError, match="no block is open"):
            call()
    engine.begin_block()
    engine.register_keys(np.array([1], np.uint32), 0)
    engine.roll_back_block()
    assert len(engine.dump()["key_roles"]) == 0


def test_a_block_that_was_told_to_the_store_stays(tmp_path: Path) -> None:
    native = SealedEngine(tmp_path)
    blocks = OpenBlocks(2, native)
    blocks.begin()
    while len(blocks.world.twin.tables.transfers) < 5:
        blocks.call(blocks.world.draw())
    with pytest.raises(ValueError, match="final"):
        native.roll_back_block()
