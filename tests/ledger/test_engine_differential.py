"""The native engine against its twin over random batches; each result code must come up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from engine_worlds import Call, World

from pyledger import _core
from pyledger.types import (
    AuthorityResult,
    CreateAccountResult,
    CreateTransferResult,
    u128_array,
)

WORLDS = 150
CALLS = 60
FLOOR = 5


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def outcome(call: Call, engine: Any) -> Any:
    try:
        return call.on(engine)
    except ValueError as error:
        return f"ValueError: {error}"


def require_same_state(native: Any, twin: Any, height: int) -> None:
    assert np.array_equal(native.accounts(), twin.accounts())
    assert np.array_equal(native.transfers(), twin.transfers())
    assert np.array_equal(native.owners(), twin.owners())
    assert np.array_equal(native.institutions(), twin.institutions())
    assert np.array_equal(native.failed_ids(), twin.failed_ids())
    ids = u128_array([*twin.tables.pendings, *list(twin.tables.transfers)[:5], 1 << 77])
    assert same(native.lookup_pendings(ids), twin.lookup_pendings(ids))
    assert same(native.lookup_transfers(ids), twin.lookup_transfers(ids))
    assert native.totals() == twin.totals()
    assert native.height == height
    assert native.check_invariants() is None
    slots = native.slots_touched()
    assert np.array_equal(slots, twin.slots_touched())
    assert np.array_equal(native.records_at(slots), twin.accounts()[slots])


def count_codes(counts: dict[str, Counter[int]], call: Call, result: Any) -> None:
    if isinstance(result, str) or call.method in ("expire", "register_keys", "set_height", "revoke_key"):
        return
    codes = result[0] if isinstance(result, tuple) else result
    kind = "transfers" if "transfers" in call.method else "accounts" if "accounts" in call.method else "authority"
    counts[kind].update(codes.tolist())


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
