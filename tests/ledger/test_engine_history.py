"""Histories and balances of the past against the twin, which adds everything up from the beginning."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_twins import outcome, same
from engine_worlds import World
from sealed_engine import SealedEngine

from pyledger import _core
from pyledger.reference import history as twin_history
from pyledger.reference.engine import records_of
from pyledger.types import TRANSFER, TransferFlags, u128_array, u128_ints

WORLDS = 60
CALLS = 50
FOREVER = (1 << 64) - 1


def event_times(world: World) -> list[int]:
    times = [transfer.timestamp for transfer in world.twin.tables.transfers.values()]
    times += [expiry.time_ns for expiry in world.twin.expired]
    return times


def some_times(world: World) -> list[int]:
    times = world.random.sample(event_times(world), 3) if len(event_times(world)) > 3 else []
    return [0, world.now, FOREVER, *times, *(time - 1 for time in times)]


def require_same_balances(native: Any, world: World, counts: Counter[str]) -> None:
    accounts = list(world.twin.tables.accounts)
    for time in some_times(world):
        expected = [twin_history.balances_at_time(world.twin, account, time) for account in accounts]
        assert rows(native.balances_at_time(u128_array(accounts), time)) == expected
        counts["past"] += any(any(row) for row in expected)
    for _ in range(4):
        end = world.random.randrange(len(world.twin.tables.transfers) + 2)
        height = world.random.randrange(world.twin.height + 2)
        if not in_step(world, end, height):
            continue
        counts["heights"] += 1
        expected = [twin_history.balances_at(world.twin, account, end, height) for account in accounts]
        assert rows(native.balances_at(u128_array(accounts), end, height)) == expected


def in_step(world: World, end: int, height: int) -> bool:
    """Whether `end` transfers and the expiries up to `height` are what there was at some time."""
    times = [transfer.timestamp for transfer in world.twin.tables.transfers.values()]
    late = [expiry.time_ns for expiry in world.twin.expired if expiry.height > height]
    early = [expiry.time_ns for expiry in world.twin.expired if expiry.height <= height]
    imported = [bool(t.flags & TransferFlags.IMPORTED) for t in world.twin.tables.transfers.values()]
    if any(imported):
        return False
    before, after = times[:end], times[end:]
    return max(before, default=0) < min(late, default=FOREVER) and max(early, default=0) <= min(after, default=FOREVER)


def rows(balances: Any) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.array(u128_ints(balances.reshape(-1)), object).reshape(-1, 4)]


def require_same_histories(native: Any, world: World, counts: Counter[str]) -> None:
    for account in world.twin.tables.accounts:
        times = some_times(world)
        first, last = sorted(world.random.sample(times, 2)) if world.chance(0.7) else (0, FOREVER)
        expected = records_of(twin_history.history(world.twin, account, first, last), TRANSFER)
        limit = world.random.choice([1, 2, 3, 1000])
        records, positions = walk(native, account, first, last, limit)
        assert np.array_equal(records, expected)
        everything = records_of(world.twin.tables.transfers.values(), TRANSFER)
        assert np.array_equal(everything[positions], expected)
        counts["entries"] += len(expected)


def require_same_statements(native: Any, world: World, counts: Counter[str]) -> None:
    accounts = list(world.twin.tables.accounts)
    for account in world.random.sample(accounts, min(len(accounts), 8)):
        first, last = sorted(world.random.sample(some_times(world), 2)) if world.chance(0.6) else (0, FOREVER)
        limit = world.random.choice([0, 1, 5, 10_000])
        expected = twin_history.statement(world.twin, account, first, last, limit)
        records, numbers, times, heights, released, after = native.statement(u128_array([account]), first, last, limit)
        assert np.array_equal(records, records_of([entry.transfer for entry in expected], TRANSFER))
        assert numbers.tolist() == [entry.number for entry in expected]
        assert times.tolist() == [entry.time_ns for entry in expected]
        assert heights.tolist() == [entry.height for entry in expected]
        assert u128_ints(released) == [entry.released for entry in expected]
        assert rows(after) == [entry.after for entry in expected]
        counts["statements"] += len(expected)
        counts["expiries in statements"] += sum(entry.height > 0 for entry in expected)


def require_same_resolutions(native: Any, world: World, counts: Counter[str]) -> None:
    transfers = world.twin.tables.transfers
    ids = [*world.random.sample(list(transfers), min(len(transfers), 12)), *list(world.twin.tables.pendings)[-12:]]
    resolvers, heights = native.resolutions(u128_array(ids))
    expected = [twin_history.resolution(world.twin, number) for number in ids]
    assert list(zip(u128_ints(resolvers), heights.tolist(), strict=True)) == expected
    counts["resolved"] += sum(resolver > 0 for resolver, _ in expected)
    positions = native.transfer_positions(u128_array([*transfers, 1 << 99])).tolist()
    assert positions == [*range(len(transfers)), FOREVER]
    low, high = sorted(world.random.sample(range(world.twin.height + 2), 2))
    pending, times, at = native.expiries(low, high)
    expired = [expiry for expiry in world.twin.expired if low <= expiry.height <= high]
    assert u128_ints(pending["id"]) == [expiry.pending_id for expiry in expired]
    assert (times.tolist(), at.tolist()) == ([e.time_ns for e in expired], [e.height for e in expired])


def walk(native: Any, account: int, first: int, last: int, limit: int) -> tuple[Any, Any]:
    """The whole history in pages."""
    records, positions, below = [], [], 0
    while True:
        page, places, below = native.history(u128_array([account]), first, last, below, limit)
        assert len(page) <= limit
        records.append(page)
        positions.append(places)
        if below == 0:
            return np.concatenate(records), np.concatenate(positions)


@pytest.mark.parametrize("sealed", [False, True])
def test_every_past_balance_and_history_equals_the_sum_from_the_beginning(sealed: bool, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(WORLDS):
        world = World(seed)
        native: Any = SealedEngine(tmp_path / str(seed), seed % 9, 1 + seed % 4, seed) if sealed else _core.Engine()
        calls = world.first_calls()
        for number in range(CALLS):
            call = calls.pop(0) if calls else world.draw()
            assert same(outcome(call, world.twin), outcome(call, native))
            if number % 10 == 9:
                require_same_balances(native, world, counts)
                require_same_histories(native, world, counts)
                require_same_statements(native, world, counts)
                require_same_resolutions(native, world, counts)
        counts["expired"] += len(world.twin.expired)
        assert native.check_invariants() is None
    assert counts["past"] > 500
    assert counts["heights"] > 100
    assert counts["entries"] > 2000
    assert counts["expired"] > 100
    assert counts["statements"] > 1000
    assert counts["expiries in statements"] > 20
    assert counts["resolved"] > 100


def test_a_history_is_asked_of_an_account_that_exists_and_an_event_of_its_own() -> None:
    world = World(3)
    native = _core.Engine()
    calls = world.first_calls()
    while len(world.twin.tables.transfers) < 20:
        call = calls.pop(0) if calls else world.draw()
        assert same(outcome(call, world.twin), outcome(call, native))
    with pytest.raises(ValueError, match="no such account"):
        native.history(u128_array([999_999]), 0, FOREVER, 0, 10)
    with pytest.raises(ValueError, match="no such account"):
        native.balances_at_time(u128_array([999_999]), 0)
    transfer = next(iter(world.twin.tables.transfers.values()))
    others = [a for a in world.twin.tables.accounts if a not in (transfer.debit_account_id, transfer.credit_account_id)]
    with pytest.raises(ValueError, match="no event of this account"):
        native.history(u128_array(others[:1]), 0, FOREVER, 1, 10)
    with pytest.raises(ValueError, match="no such event"):
        native.history(u128_array(others[:1]), 0, FOREVER, 1 << 39, 10)
    with pytest.raises(ValueError, match="limit"):
        native.history(u128_array(others[:1]), 0, FOREVER, 0, 0)
