"""Comparing an engine with its twin, call by call and state by state."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from engine_worlds import Call

from pyledger.types import u128_array


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
    first = native.failed_ids_sealed
    assert np.array_equal(native.failed_ids(first), twin.failed_ids(first))
    ids = u128_array([*twin.tables.pendings, *list(twin.tables.transfers)[:5], 1 << 77])
    assert same(native.lookup_pendings(ids), twin.lookup_pendings(ids))
    assert same(native.lookup_transfers(ids), twin.lookup_transfers(ids))
    assert native.totals() == twin.totals()
    assert native.height == height
    assert native.check_invariants() is None
    slots = native.slots_touched()
    assert np.array_equal(slots, twin.slots_touched())
    assert np.array_equal(native.records_at(slots), twin.accounts()[slots])
    payloads = twin.payloads_at(slots)
    assert np.array_equal(native.payloads_at(slots), payloads)
    assert np.array_equal(native.payloads_at(slots, out=np.empty_like(payloads)), payloads)
    assert same(native.standings_at(slots), twin.standings_at(slots))


def count_codes(counts: dict[str, Counter[int]], call: Call, result: Any) -> None:
    uncounted = ("expire", "register_keys", "set_height", "revoke_key", "check_attester", "check_governor")
    if isinstance(result, str) or call.method in uncounted:
        return
    codes = result[0] if isinstance(result, tuple) else result
    kind = "transfers" if "transfers" in call.method else "accounts" if "accounts" in call.method else "authority"
    counts[kind].update(codes.tolist())
