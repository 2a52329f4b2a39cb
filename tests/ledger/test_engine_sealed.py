"""The engine with sealed transfers against its twin, which keeps everything: nobody may notice where a record lies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_twins import count_codes, outcome, require_same_state, same
from engine_worlds import World
from sealed_engine import SealedEngine

from pyledger.types import AuthorityResult, CreateTransferResult

WORLDS = 120
CALLS = 60
FLOOR = 5
AUTHORITY_OF_TRANSFERS = {AuthorityResult.PENDING_TRANSFER_NOT_LIVE, AuthorityResult.CONTROLLER_NOT_VALID}


def run_sealed_world(seed: int, folder: Path, counts: dict[str, Counter[int]]) -> int:
    world = World(seed)
    native = SealedEngine(folder, window=seed % 9, run=1 + seed % 4, seed=seed)
    calls = world.first_calls()
    for number in range(CALLS):
        call = calls.pop(0) if calls else world.draw()
        expected = outcome(call, world.twin)
        got = outcome(call, native)
        assert same(expected, got), f"seed {seed}, call {number}: {call}\nexpected {expected}\ngot      {got}"
        count_codes(counts, call, got)
        if number % 10 == 0:
            require_same_state(native, world.twin, world.twin.height)
    require_same_state(native, world.twin, world.twin.height)
    return int(native.sealed_count)


@pytest.fixture(scope="module")
def code_counts(tmp_path_factory: Any) -> dict[str, Counter[int]]:
    counts: dict[str, Counter[int]] = {"transfers": Counter(), "accounts": Counter(), "authority": Counter()}
    sealed = [run_sealed_world(seed, tmp_path_factory.mktemp("store"), counts) for seed in range(WORLDS)]
    assert sum(count > 20 for count in sealed) > WORLDS // 2, "too few worlds sealed anything"
    return counts


def test_every_transfer_result_equals_the_twins_while_old_transfers_are_sealed(
    code_counts: dict[str, Counter[int]],
) -> None:
    counts = code_counts["transfers"]
    rare = {code.name: counts[code] for code in CreateTransferResult if counts[code] < FLOOR}
    assert not rare, f"drawn fewer than {FLOOR} times: {rare}"
    assert all(code_counts["authority"][code] >= FLOOR for code in AUTHORITY_OF_TRANSFERS)
