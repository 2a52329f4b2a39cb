"""The native engine against its twin over random batches; each result code must come up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from engine_twins import count_codes, outcome, require_same_state, same
from engine_worlds import World

from pyledger import _core
from pyledger.types import AuthorityResult, CreateAccountResult, CreateTransferResult

WORLDS = 150
CALLS = 60
FLOOR = 5


def run_world(seed: int, counts: dict[str, Counter[int]]) -> None:
    world = World(seed)
    native = _core.Engine()
    calls = world.first_calls()
    for number in range(CALLS):
        call = calls.pop(0) if calls else world.draw()
        expected = outcome(call, world.twin)
        got = outcome(call, native)
        assert same(expected, got), f"seed {seed}, call {number}: {call}\nexpected {expected}\ngot      {got}"
        count_codes(counts, call, got)
        if number % 7 == 0:
            require_same_state(native, world.twin, world.twin.height)
        if number % 20 == 19:
            native = _core.Engine.load(native.dump())
    require_same_state(native, world.twin, world.twin.height)


@pytest.fixture(scope="module")
def code_counts() -> dict[str, Counter[int]]:
    counts: dict[str, Counter[int]] = {"transfers": Counter(), "accounts": Counter(), "authority": Counter()}
    for seed in range(WORLDS):
        run_world(seed, counts)
    return counts


@pytest.mark.parametrize(
    ("kind", "codes"),
    [("transfers", CreateTransferResult), ("accounts", CreateAccountResult), ("authority", AuthorityResult)],
)
def test_every_result_code_comes_up_and_equals_the_twins(
    code_counts: dict[str, Counter[int]], kind: str, codes: Any
) -> None:
    counts = code_counts[kind]
    rare = {code.name: counts[code] for code in codes if counts[code] < FLOOR}
    assert not rare, f"drawn fewer than {FLOOR} times: {rare}"
    assert set(counts) <= {int(code) for code in codes}
    assert counts[0] * 10 > sum(counts.values()), "too few events took effect to test anything"
