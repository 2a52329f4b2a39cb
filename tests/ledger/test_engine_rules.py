"""Rules of double entry that the native engine keeps, one test a rule."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from engine_kit import BANK_A, HOLDER_A1, HOLDER_A2, HOLDER_B1, NOTARY, SECOND, U128_MAX, Banks
from engine_worlds import World
from hypothesis import given, settings
from hypothesis import strategies as st

from pyledger import _core
from pyledger.ledger.burnt import burning_rows
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, U128, AccountFlags, PendingStatus, TransferFlags, u128_array
from pyledger.types import CreateAccountResult as A
from pyledger.types import CreateTransferResult as R

PENDING, LINKED, IMPORTED = int(TransferFlags.PENDING), int(TransferFlags.LINKED), int(TransferFlags.IMPORTED)
POST, VOID = TransferFlags.POST_PENDING_TRANSFER, TransferFlags.VOID_PENDING_TRANSFER
BALANCING_DEBIT, BALANCING_CREDIT = int(TransferFlags.BALANCING_DEBIT), int(TransferFlags.BALANCING_CREDIT)


@pytest.fixture
def banks() -> Banks:
    return Banks()


@pytest.fixture
def empty() -> Banks:
    return Banks(funds=0)


def kept(banks: Banks, but: tuple[str, ...] = ("failed_ids",)) -> dict[str, bytes]:
    return {name: column for name, column in banks.state().items() if name not in but}


# Properties over random batches


def without_failed_ids(engine: Any) -> dict[str, bytes]:
    return {name: column.tobytes() for name, column in engine.dump().items() if name != "failed_ids"}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_refused_transfers_and_broken_chains_change_nothing(seed: int) -> None:
    world = World(seed)
    native = _core.Engine()
    calls = world.first_calls()
    for number in range(25):
        call = calls.pop(0) if calls else world.draw()
        if call.method == "create_transfers" and number % 2:
            records = call.arguments[0]
            records["flags"] |= LINKED
            records["flags"][-1] &= ~np.uint16(LINKED)
        before = without_failed_ids(native)
        result = call.on(native)
        call.on(world.twin)
        totals = native.totals().values()
        assert all(pending == cp and posted == cr for pending, posted, cp, cr in totals)
        if call.method.startswith("create_transfers"):
            codes, effects = result
            assert not effects["lo"][codes != 0].any()
            if (codes != 0).all() and call.method == "create_transfers":
                assert without_failed_ids(native) == before
    assert native.check_invariants() is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 32), at=st.integers(1, 20))
def test_loaded_engine_behaves_as_the_dumped_one(seed: int, at: int) -> None:
    world = World(seed)
    kept_engine, loaded = _core.Engine(), _core.Engine()
    calls = world.first_calls()
    for number in range(25):
        if number == at:
            loaded = _core.Engine.load(loaded.dump())
        call = calls.pop(0) if calls else world.draw()
        results = [call.on(engine) for engine in (kept_engine, loaded, world.twin)]
        assert repr(results[0]) == repr(results[1])
    assert np.array_equal(kept_engine.slots_touched(), loaded.slots_touched())
    states = kept_engine.dump(), loaded.dump()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_replay_of_what_took_effect_or_burnt_its_id_gives_the_same_state(seed: int) -> None:
    world = World(seed)
    first, replayed = _core.Engine(), _core.Engine()
    calls = world.first_calls()
    for _ in range(25):
        call = calls.pop(0) if calls else world.draw()
        result = call.on(first)
        call.on(world.twin)
        if call.method == "create_transfers":
            taken = result[0] == 0
            kept = taken | burning_rows(call.arguments[0], result[0])
            records, signers, ok, start = call.arguments
            controllers = call.keywords.get("controllers", np.full(len(records), NO_KEY, np.uint32))
            times = np.arange(start, start + len(records), dtype=np.uint64)
            codes, effects = replayed.create_transfers(
                records[kept], signers[kept], ok[kept], start, controllers[kept], times[kept]
            )
            assert np.array_equal(codes, result[0][kept])
            assert np.array_equal(effects, result[1][kept])
        else:
            call.on(replayed)
    names = set(first.dump())
    assert all(np.array_equal(first.dump()[name], replayed.dump()[name]) for name in names)


# Two phases


def test_posting_less_than_pending_returns_the_rest(banks: Banks) -> None:
    pending = banks.transfer(1, 3, 300, flags=PENDING)
    assert banks.post([pending], HOLDER_A1) == [R.CREATED]
    assert banks.balances(1)[0] == 300
    assert banks.resolve(POST, pending.id, HOLDER_A1, amount=120) == R.CREATED
    assert banks.effects == [120]
    assert (banks.funds(1), banks.funds(3)) == (880, 1120)
    assert banks.balances(1)[0] == banks.balances(3)[2] == 0


def test_pending_transfer_resolves_once(banks: Banks) -> None:
    pending = banks.transfer(1, 3, 300, flags=PENDING)
    assert banks.post([pending], HOLDER_A1) == [R.CREATED]
    assert banks.resolve(VOID, pending.id, HOLDER_A1) == R.CREATED
    assert banks.resolve(POST, pending.id, HOLDER_A1) == R.PENDING_TRANSFER_ALREADY_VOIDED
    assert banks.resolve(VOID, pending.id, HOLDER_A1) == R.PENDING_TRANSFER_ALREADY_VOIDED
    assert banks.funds(1) == 1000


def test_expiry_goes_by_time_then_by_creation_and_stops_at_the_limit(banks: Banks) -> None:
    timeouts = (3, 1, 2, 1)
    transfers = [banks.transfer(1, 3, 10 + t, flags=PENDING, timeout=t) for t in timeouts]
    assert banks.post(transfers, HOLDER_A1) == [R.CREATED] * 4
    by_time = [transfers[i].id for i in (1, 3, 2, 0)]
    start = banks.now
    assert len(banks.engine.expire(start + SECOND - 1, 10)[0]) == 0
    ids, amounts = banks.engine.expire(start + 4 * SECOND, 3)
    assert ids["lo"].tolist() == by_time[:3]
    assert amounts["lo"].tolist() == [11, 11, 12]
    assert banks.balances(1)[0] == 13
    ids, _ = banks.engine.expire(start + 4 * SECOND, 3)
    assert ids["lo"].tolist() == by_time[3:]
    assert banks.funds(1) == 1000
    statuses, _ = banks.engine.lookup_pendings(u128_array(t.id for t in transfers))
    assert statuses.tolist() == [PendingStatus.EXPIRED] * 4


def test_rolled_back_pending_transfer_does_not_expire(banks: Banks) -> None:
    chain = [
        banks.transfer(1, 3, 10, flags=PENDING | LINKED, timeout=1),
        banks.transfer(1, 3, 10, code=0),
    ]
    assert banks.post(chain, HOLDER_A1) == [R.LINKED_EVENT_FAILED, R.CODE_MUST_NOT_BE_ZERO]
    assert banks.pay(1, 3, 7, signer=HOLDER_A1) == R.CREATED
    assert len(banks.engine.expire(banks.now + 10 * SECOND, 10)[0]) == 0
    assert banks.funds(1) == 993


def test_post_at_the_very_nanosecond_of_expiry_is_too_late(banks: Banks) -> None:
    pending = banks.transfer(1, 3, 10, flags=PENDING, timeout=1)
    assert banks.post([pending], HOLDER_A1) == [R.CREATED]
    created = banks.now
    banks.now = created + SECOND - 1001
    assert banks.resolve(POST, pending.id, HOLDER_A1, amount=11) == R.EXCEEDS_PENDING_TRANSFER_AMOUNT
    banks.now = created + SECOND - 1000
    assert banks.resolve(POST, pending.id, HOLDER_A1) == R.PENDING_TRANSFER_EXPIRED


# Limits and overflow


def test_limited_accounts_stay_within_their_limit(empty: Banks) -> None:
    assert empty.open(20, HOLDER_A1, BANK_A, flags=int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)) == A.CREATED
    assert empty.open(21, HOLDER_A1, BANK_A, flags=int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)) == A.CREATED
    assert empty.pay(20, 1, 1, signer=HOLDER_A1) == R.EXCEEDS_CREDITS
    assert empty.pay(1, 21, 1, signer=HOLDER_A1) == R.EXCEEDS_DEBITS
    assert empty.pay(1, 20, 5, signer=HOLDER_A1) == R.CREATED
    assert empty.pay(20, 1, 3, signer=HOLDER_A1, flags=PENDING) == R.CREATED
    assert empty.pay(20, 1, 3, signer=HOLDER_A1) == R.EXCEEDS_CREDITS
    assert empty.pay(20, 1, 2, signer=HOLDER_A1) == R.CREATED


def test_balancing_debit_moves_what_the_account_has(banks: Banks) -> None:
    assert banks.pay(1, 3, 400, signer=HOLDER_A1, flags=PENDING) == R.CREATED
    assert banks.pay(1, 2, U128_MAX, signer=HOLDER_A1, flags=BALANCING_DEBIT) == R.CREATED
    assert banks.effects == [600]
    assert banks.pay(1, 2, 5, signer=HOLDER_A1, flags=BALANCING_DEBIT) == R.CREATED
    assert banks.effects == [0]


def test_balancing_credit_moves_what_the_other_side_owes(banks: Banks) -> None:
    assert banks.pay(1, 9, 10_000, signer=HOLDER_A1, flags=BALANCING_CREDIT) == R.CREATED
    assert banks.effects == [3000]


def overflow_case(debits: int, credits: int, flags: int, amount: int, field: str) -> R:
    """Give accounts 1 and 2 a balance in one field each, then move an amount from 1 to 2."""
    banks = Banks(funds=0)
    if debits:
        assert banks.pay(1, 3, debits, signer=HOLDER_A1, flags=PENDING if field == "pending" else 0) == R.CREATED
    if credits:
        assert banks.pay(9, 2, credits, signer=NOTARY, flags=PENDING if field == "pending" else 0) == R.CREATED
    before = kept(banks)
    result = banks.pay(1, 2, amount, signer=HOLDER_A1, flags=flags)
    if result != R.CREATED:
        assert kept(banks) == before
    assert banks.engine.check_invariants() is None
    return result


@pytest.mark.parametrize(
    ("debits", "credits", "field", "flags", "expected"),
    [
        (10, 0, "pending", PENDING, R.OVERFLOWS_DEBITS_PENDING),
        (0, 10, "pending", PENDING, R.OVERFLOWS_CREDITS_PENDING),
        (10, 0, "posted", 0, R.OVERFLOWS_DEBITS_POSTED),
        (0, 10, "posted", 0, R.OVERFLOWS_CREDITS_POSTED),
        (10, 0, "pending", 0, R.OVERFLOWS_DEBITS),
        (0, 10, "pending", 0, R.OVERFLOWS_CREDITS),
    ],
)
def test_balance_never_wraps(debits: int, credits: int, field: str, flags: int, expected: R) -> None:
    used = debits or credits
    assert overflow_case(debits, credits, flags, U128_MAX - used + 1, field) == expected
    assert overflow_case(debits, credits, flags, U128_MAX - used, field) == R.CREATED


def test_totals_hold_more_than_128_bits(empty: Banks) -> None:
    for debit, credit, signer in ((1, 2, HOLDER_A1), (3, 9, HOLDER_B1)):
        assert empty.pay(debit, credit, U128_MAX, signer=signer) == R.CREATED
    assert empty.engine.totals() == {1: (0, 2 * U128_MAX, 0, 2 * U128_MAX)}
    assert empty.engine.check_invariants() is None


def test_timeout_never_passes_the_end_of_time(empty: Banks) -> None:
    empty.now = (1 << 63) - 1 - 5 * SECOND
    at = empty.now + 1000
    assert (1 << 63) - 1 - at < 5 * SECOND
    assert empty.pay(1, 3, 1, signer=HOLDER_A1, flags=PENDING, timeout=5) == R.OVERFLOWS_TIMEOUT
    assert empty.pay(1, 3, 1, signer=HOLDER_A1, flags=PENDING, timeout=4) == R.CREATED


# Ids


def test_transient_failure_burns_the_id_even_out_of_a_broken_chain(banks: Banks) -> None:
    good = banks.transfer(1, 3, 1, flags=LINKED)
    missing = banks.transfer(1, 404, 1)
    assert banks.post([good, missing], HOLDER_A1) == [R.LINKED_EVENT_FAILED, R.CREDIT_ACCOUNT_NOT_FOUND]
    assert banks.post([missing._replace(credit_account_id=3)], HOLDER_A1) == [R.ID_ALREADY_FAILED]
    assert banks.post([good._replace(flags=0)], HOLDER_A1) == [R.CREATED]
    assert banks.engine.failed_ids()["lo"].tolist() == [missing.id]


def test_failed_ids_are_told_from_a_start_on(banks: Banks) -> None:
    transfers = [banks.transfer(1, 404, 1) for _ in range(3)]
    banks.post(transfers, HOLDER_A1)
    assert banks.engine.failed_ids(1)["lo"].tolist() == [t.id for t in transfers[1:]]
    assert len(banks.engine.failed_ids(9)) == 0


def test_many_accounts_and_transfers_are_all_found_again() -> None:
    banks = Banks(funds=0)
    count = 30_000
    records = np.zeros(count, ACCOUNT)
    records["id"]["hi"] = np.arange(count) % 7
    records["id"]["lo"] = np.arange(count) + 100
    records["ledger"] = records["code"] = 1
    owners, institutions = np.full(count, HOLDER_A1, np.uint32), np.full(count, BANK_A, np.uint32)
    assert not banks.engine.create_accounts(records, owners, institutions, banks.tick(10**6), BANK_A).any()
    ids = np.ascontiguousarray(records["id"])
    found, there = banks.engine.lookup_accounts(ids)
    assert there.all()
    assert np.array_equal(found["id"], ids)
    assert np.array_equal(banks.engine.account_slots(ids), np.arange(count) + 4)
    transfers = np.zeros(count, TRANSFER)
    transfers["id"] = records["id"]
    transfers["debit_account_id"] = records["id"]
    transfers["credit_account_id"] = np.roll(records["id"], 1)
    transfers["amount"]["lo"] = 5
    transfers["ledger"] = transfers["code"] = 1
    codes, _ = banks.engine.create_transfers(transfers, owners, np.ones(count, np.bool_), banks.tick(10**6))
    assert not codes.any()
    assert np.array_equal(banks.engine.slots_touched(), np.arange(count + 4))
    assert banks.engine.lookup_transfers(ids)[1].all()
    assert banks.engine.check_invariants() is None


# Import


def test_imported_events_keep_their_times_and_stand_before_the_block(empty: Banks) -> None:
    base = empty.now
    empty.now += 10_000_000
    assert empty.pay(1, 3, 1, signer=HOLDER_A1, flags=IMPORTED, timestamp=base + 5) == R.CREATED
    assert empty.pay(1, 3, 1, signer=HOLDER_A1, flags=IMPORTED, timestamp=base + 5) == (
        R.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
    )
    assert empty.pay(1, 3, 1, signer=HOLDER_A1, flags=IMPORTED, timestamp=empty.now + 1000) == (
        R.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE
    )
    assert empty.engine.transfers()["timestamp"].tolist() == [base + 5]


def test_imported_batch_is_replayed_with_its_own_times(empty: Banks) -> None:
    base = empty.now
    records = np.zeros(2, TRANSFER)
    records["id"]["lo"] = [71, 72]
    records["debit_account_id"]["lo"], records["credit_account_id"]["lo"] = 1, 3
    records["ledger"] = records["code"] = 1
    records["flags"] = IMPORTED
    records["timestamp"] = [base + 1, base + 2]
    keys, ok = np.full(2, HOLDER_A1, np.uint32), np.ones(2, np.bool_)
    codes, _ = empty.engine.create_transfers(records, keys, ok, base + 50, timestamps=records["timestamp"].copy())
    assert not codes.any()


# Arguments


def test_input_records_are_not_modified(banks: Banks) -> None:
    records = np.zeros(1, TRANSFER)
    records["id"]["lo"], records["debit_account_id"]["lo"], records["credit_account_id"]["lo"] = 50, 1, 3
    records["amount"]["lo"], records["ledger"], records["code"], records["flags"] = 5, 1, 1, BALANCING_DEBIT
    records.setflags(write=False)
    before = records.tobytes()
    codes, _ = banks.engine.create_transfers(records, np.array([HOLDER_A1], np.uint32), np.array([True]), banks.tick())
    assert codes[0] == R.CREATED
    assert records.tobytes() == before


def test_records_may_begin_at_any_byte(banks: Banks) -> None:
    record = np.zeros(1, TRANSFER)
    record["id"]["lo"], record["debit_account_id"]["lo"], record["credit_account_id"]["lo"] = 50, 1, 3
    record["ledger"] = record["code"] = 1
    shifted = np.frombuffer(b"x" + record.tobytes(), TRANSFER, offset=1)
    codes, _ = banks.engine.create_transfers(shifted, np.array([HOLDER_A1], np.uint32), np.array([True]), banks.tick())
    assert codes[0] == R.CREATED


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"records": np.zeros(2, ACCOUNT)}, TypeError, "records: expected dtype"),
        ({"records": np.zeros(4, TRANSFER)[::2]}, ValueError, "records: expected a contiguous array"),
        ({"records": np.zeros((2, 1), TRANSFER)}, ValueError, r"records: expected shape \(n,\), got 2 dimensions"),
        ({"signers": np.zeros(3, np.uint32)}, ValueError, "signers: expected 2 rows, got 3"),
        ({"signers": np.zeros(2, np.int64)}, TypeError, "incompatible function arguments"),
        ({"signature_ok": np.zeros(1, np.bool_)}, ValueError, "signature_ok: expected 2 rows, got 1"),
        ({"controllers": np.zeros(1, np.uint32)}, ValueError, "controllers: expected 2 rows, got 1"),
        ({"first_timestamp": 0}, ValueError, "first_timestamp: expected more than"),
        ({"first_timestamp": (1 << 63) - 1}, ValueError, "less than 2"),
        ({"timestamps": np.array([9, 9], np.uint64)}, ValueError, "timestamps: expected strictly rising"),
        ({"timestamps": np.array([9], np.uint64)}, ValueError, "timestamps: expected 2 rows, got 1"),
    ],
)
def test_malformed_arguments_are_named_and_change_nothing(
    banks: Banks, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {
        "records": np.zeros(2, TRANSFER),
        "signers": np.zeros(2, np.uint32),
        "signature_ok": np.ones(2, np.bool_),
        "first_timestamp": banks.now + 1,
    }
    before = banks.state()
    with pytest.raises(error, match=message):
        banks.engine.create_transfers(**(arguments | change))
    assert banks.state() == before


def test_slot_without_an_account_is_refused(banks: Banks) -> None:
    for look_up in (banks.engine.records_at, banks.engine.payloads_at, banks.engine.standings_at):
        with pytest.raises(IndexError, match="slots: no account at 4"):
            look_up(np.array([0, 4], np.uint32))
    assert banks.engine.account_slots(u128_array([404]))[0] == NO_KEY


def test_empty_batches_are_nothing(banks: Banks) -> None:
    before = banks.state()
    assert banks.post([], HOLDER_A1) == []
    assert len(banks.engine.create_accounts(np.zeros(0, ACCOUNT), *[np.zeros(0, np.uint32)] * 2, 1, BANK_A)) == 0
    assert banks.state() == before


# Snapshots and touched slots


def test_touched_slots_are_told_once(banks: Banks) -> None:
    assert banks.engine.slots_touched().tolist() == [0, 1, 2, 3]
    assert banks.pay(1, 3, 1, signer=HOLDER_A1) == R.CREATED
    assert banks.pay(1, 2, 0, signer=HOLDER_A1) == R.CREATED
    assert banks.engine.slots_touched().tolist() == [0, 2]
    assert banks.engine.slots_touched().tolist() == []


def test_rolled_back_slots_are_not_touched(banks: Banks) -> None:
    banks.engine.slots_touched()
    chain = [banks.transfer(1, 2, 1, flags=LINKED), banks.transfer(1, 3, 1, ledger=5)]
    assert banks.post(chain, HOLDER_A1)[0] == R.LINKED_EVENT_FAILED
    assert banks.engine.slots_touched().tolist() == []


def corrupt(state: dict[str, Any], name: str, change: Any) -> dict[str, Any]:
    column = state[name].copy()
    return {**state, name: change(column)}


def doubled(column: Any) -> Any:
    return np.concatenate([column, column])


def with_owner(column: Any) -> Any:
    column[0] = 99
    return column


def reversed_order(column: Any) -> Any:
    return np.ascontiguousarray(column[::-1])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("accounts", doubled, "owners, last events and accounts differ in number"),
        ("owners", with_owner, "an account's owner is not registered"),
        ("accounts", reversed_order, "accounts are not in order"),
        ("transfers", doubled, "links and transfers differ in number"),
        ("transfers", reversed_order, "transfers are not in order"),
        ("pending_statuses", doubled, "differ in number"),
        ("pending_statuses", np.zeros_like, "an unknown pending status"),
        ("pending_controllers", lambda column: column[:0], "differ in number"),
        ("failed_ids", doubled, "a failed id occurs twice"),
        ("touched", lambda column: np.array([77], np.uint32), "a touched slot has no account"),
        ("mandate_slots", lambda column: column + np.uint32(50), "a mandate of no account"),
        ("key_roles", doubled, "key_roles: expected 6 rows, got 12"),
        ("format", lambda column: column + np.uint32(1), "format"),
        ("accounts", lambda column: column["id"], "expected dtype"),
    ],
)
def test_snapshot_that_cannot_be_one_is_refused(banks: Banks, name: str, change: Any, message: str) -> None:
    assert banks.post([banks.transfer(1, 3, 5, flags=PENDING)], HOLDER_A1) == [R.CREATED]
    assert banks.pay(1, 404, 5, signer=HOLDER_A1) == R.CREDIT_ACCOUNT_NOT_FOUND
    banks.mandate(1, HOLDER_B1, 5, 5, HOLDER_A1)
    state = banks.engine.dump()
    with pytest.raises((ValueError, TypeError), match=message):
        _core.Engine.load(corrupt(state, name, change))
    with pytest.raises(ValueError, match=f"'{name}' is missing"):
        _core.Engine.load({key: column for key, column in state.items() if key != name})
    assert _core.Engine.load(state).check_invariants() is None


def test_invariant_scan_sees_a_balance_that_no_transfer_made(banks: Banks) -> None:
    state = banks.engine.dump()
    state["accounts"]["credits_posted"]["lo"][1] += 1
    assert _core.Engine.load(state).check_invariants() == "account 2: balances differ from what its transfers make"
    assert _core.Engine.load(state).check_accounts_and_totals() == "ledger 1: debits differ from credits"


def test_invariant_scan_sees_a_broken_limit(banks: Banks) -> None:
    state = banks.engine.dump()
    state["accounts"]["flags"][3] |= int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
    assert _core.Engine.load(state).check_invariants() == "account 9: debits exceed credits"
    assert _core.Engine.load(state).check_accounts_and_totals() == "account 9: debits exceed credits"


def test_threads_share_an_engine_one_call_after_the_other() -> None:
    banks = Banks(funds=0)
    count, rounds = 500, 20
    errors: list[Exception] = []

    def work(thread: int) -> None:
        records = np.zeros(count, TRANSFER)
        records["debit_account_id"]["lo"], records["credit_account_id"]["lo"] = 1, 3
        records["amount"]["lo"], records["ledger"], records["code"] = 1, 1, 1
        for number in range(rounds):
            records["id"]["lo"] = np.arange(count) + 10_000 + (thread * rounds + number) * count
            while True:
                try:
                    codes, _ = banks.engine.create_transfers(
                        records, np.full(count, HOLDER_A1, np.uint32), np.ones(count, np.bool_), next_time()
                    )
                except ValueError:  # another thread's later time came first
                    continue
                if codes.any():
                    errors.append(AssertionError(str(codes)))
                break

    clock, lock = [10**6], threading.Lock()

    def next_time() -> int:
        with lock:
            clock[0] += count
            return clock[0]

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert banks.balances(3)[3] == 3 * rounds * count
    assert banks.engine.check_invariants() is None


def test_ids_are_u128(banks: Banks) -> None:
    high = 5 << 64
    assert banks.open(high, HOLDER_A2, BANK_A) == A.CREATED
    assert banks.pay(1, high, 1 << 70, signer=HOLDER_A1, id=high) == R.CREATED
    found, there = banks.engine.lookup_transfers(np.array([(0, 5), (5, 0)], U128))
    assert there.tolist() == [True, False]
    assert found["amount"]["hi"][0] == 1 << 6
