"""Look-ups, histories and balances of the past against sums over the blocks and against replays."""

import numpy as np
import pytest
from ledgers import accounts, genesis, members, transfers
from traffic import ACCOUNTS, BANKS, SECOND, U128_MAX, Clock, Traffic, balance_of, events_of, kinds

import pyledger as pl
from pyledger.ledger.book import Book
from pyledger.types import PendingStatus
from pyledger.types import TransferFlags as TF

SEEDS = range(6)  # odd ones seal and take snapshots all the time


def make(folder, seed, batches=40):
    keys, clock = members(2), Clock()
    keeping = pl.Keeping(window=8, segment=5, snapshot_every=60) if seed % 2 else pl.Keeping()
    ledger = pl.Ledger.create(folder, genesis(keys), keys=keys, clock=clock, keeping=keeping)
    traffic = Traffic(ledger, clock, seed)
    traffic.open_accounts()
    traffic.post(batches)
    return ledger


def blocks_of(ledger):
    return [ledger.block(height) for height in range(1, ledger.height + 1)]


@pytest.fixture(scope="module", params=SEEDS)
def world(request, tmp_path_factory):
    """A busy ledger, reopened read-only, with the events of its blocks."""
    folder = tmp_path_factory.mktemp("world") / "ledger"
    make(folder, request.param).close()
    with pl.Ledger.open(folder, read_only=True) as ledger:
        yield ledger, events_of(blocks_of(ledger))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A ledger of one bank: a pending transfer posted in part, one voided, one expired, one live, and a payment."""
    keys, clock = members(1), Clock()
    with pl.Ledger.create(tmp_path_factory.mktemp("small") / "ledger", genesis(keys), keys=keys, clock=clock) as ledger:
        ledger.create_accounts(accounts([1, 2]))
        reserve = transfers(*((number, 1, 2, 50) for number in (10, 11, 12, 13)), flags=TF.PENDING)
        reserve["timeout"] = [0, 0, 2, 0]
        ledger.post(reserve)
        resolve = transfers((20, 0, 0, 30), (21, 0, 0, 0))
        resolve["flags"] = [TF.POST_PENDING_TRANSFER, TF.VOID_PENDING_TRANSFER]
        resolve["pending_id"] = pl.u128_array([10, 11])
        resolve["ledger"] = resolve["code"] = 0
        assert ledger.post(resolve).results.tolist() == [0, 0]
        clock.now_ns += 3 * SECOND
        ledger.post(transfers((30, 2, 1, 7)))
        yield ledger


def ids(column):
    return [None if key is None else int.from_bytes(key) for key in column.to_pylist()]


def numbers(column):
    return [None if value is None else int(value) for value in column.to_pylist()]


def times(column):
    return column.cast("int64").to_pylist()


def test_the_worlds_have_every_kind_of_entry(tmp_path):
    counts = sum((kinds(events_of(blocks_of(make(tmp_path / str(seed), seed)))) for seed in SEEDS), start=kinds([]))
    assert {kind: count for kind, count in counts.items() if count < 40} == {}
    assert set(counts) == {"posted", "pending", "post", "void", "expired"}


def test_a_balance_at_a_height_is_that_of_a_replay_to_it(world):
    ledger, events = world
    book = Book(ledger.genesis)
    for block in blocks_of(ledger):
        book.apply(block, trusted=True)
        height = block.header.height
        for account in ACCOUNTS:
            record, found = book.engine.lookup_accounts(pl.u128_array([account]))
            if not found[0]:
                with pytest.raises(pl.InputError, match=f"at height {height}"):
                    ledger.balance(account, height=height)
                continue
            names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
            replayed = pl.Balance(*(pl.u128_int(record[0][name]) for name in names))
            assert ledger.balance(account, height=height) == replayed
            assert balance_of(account, [event for event in events if event.height <= height]) == replayed


def test_a_balance_at_a_time_counts_what_has_happened_up_to_it(world):
    ledger, events = world
    moments = [event.time_ns for event in events[::7]]
    for account in ACCOUNTS:
        for moment in [*moments, *(moment - 1 for moment in moments), 1 << 64]:
            expected = balance_of(account, [event for event in events if event.time_ns <= moment])
            assert ledger.balance(account, time_ns=moment) == expected
        assert ledger.balance(account) == balance_of(account, events)


def test_a_history_has_each_entry_newest_first_with_the_balances_after_it(world):
    ledger, events = world
    for account in ACCOUNTS:
        mine = [place for place, event in enumerate(events) if account in (event.debit, event.credit)][::-1]
        table = ledger.history(account)
        assert ids(table["id"]) == [events[place].id for place in mine]
        assert table["kind"].to_pylist() == [events[place].kind for place in mine]
        assert table["height"].to_pylist() == [events[place].height for place in mine]
        assert table["index"].to_pylist() == [events[place].index for place in mine]
        assert times(table["timestamp"]) == [events[place].time_ns for place in mine]
        assert numbers(table["posted_amount"]) == [events[place].posted for place in mine]
        change = np.subtract(numbers(table["reserved_amount"]), numbers(table["released_amount"]))
        assert change.tolist() == [events[place].pending for place in mine]
        other = [events[place].credit if events[place].debit == account else events[place].debit for place in mine]
        assert ids(table["counterpart"]) == other
        columns = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        after = [pl.Balance(*row) for row in zip(*(numbers(table[name]) for name in columns), strict=True)]
        assert after == [balance_of(account, events[: place + 1]) for place in mine]


def test_a_history_is_cut_by_time_and_by_count(world):
    ledger, _ = world
    for account in (1, 6, 12):
        whole = ledger.history(account)
        stamps = times(whole["timestamp"])
        for first, last in ((stamps[-1], stamps[0]), (stamps[-3] + 1, stamps[2]), (stamps[0] + 1, None), (None, 5)):
            low, high = first or 0, (1 << 64) - 1 if last is None else last
            rows = [row for row, stamp in enumerate(stamps) if low <= stamp <= high]
            part = ledger.history(account, first_time_ns=first, last_time_ns=last)
            assert part.equals(whole.take(np.array(rows, int)))
        assert ledger.history(account, limit=3).equals(whole.slice(0, 3))
        assert ledger.history(account, limit=0).num_rows == 0


def test_a_transfer_is_found_by_its_id_as_its_block_holds_it(world):
    ledger, events = world
    resolved_by = {}
    expired = {event.id: event.height for event in events if event.kind == "expired"}
    for event in events:
        if event.kind in ("post", "void"):
            record = ledger.block(event.height).body.transfers[event.index]
            resolved_by[pl.u128_int(record["pending_id"])] = event
    for event in (event for event in events if event.kind != "expired"):
        state = ledger.transfer(event.id)
        assert (state.height, state.index) == (event.height, event.index)
        assert state.record == ledger.block(event.height).body.transfers[event.index]
        assert (state.debit_account_id, state.credit_account_id) == (event.debit, event.credit)
        assert state.amount == (event.posted if event.kind in ("post", "posted") else abs(event.pending))
        assert (state.resolved_by is None) == (event.id not in resolved_by)
        assert state.expired_height == expired.get(event.id)
        if event.kind == "pending":
            by = resolved_by.get(event.id)
            wanted = PendingStatus.EXPIRED if event.id in expired else PendingStatus.PENDING
            if by is not None:
                wanted = PendingStatus.POSTED if by.kind == "post" else PendingStatus.VOIDED
                assert state.resolved_by == by.id
            assert state.status == wanted
        else:
            assert state.status == PendingStatus.NONE


def test_many_ids_give_a_row_each_in_their_order(world):
    ledger, events = world
    wanted = [event.id for event in events if event.kind != "expired"][::5]
    wanted = [*wanted[::-1], 5, wanted[0], U128_MAX]
    table = ledger.transfers_by_id(wanted)
    assert ids(table["id"]) == wanted
    assert ids(ledger.transfers_by_id(pl.u128_array(wanted))["id"]) == wanted
    for row, number in enumerate(wanted):
        cells = {name: table[name][row].as_py() for name in ("height", "index", "status", "expired_height")}
        if number in (5, U128_MAX):
            assert set(cells.values()) == {None}
            continue
        state = ledger.transfer(number)
        expected = {"height": state.height, "index": state.index, "status": state.status.name}
        assert cells == expected | {"expired_height": state.expired_height}
        resolver = table["resolved_by"][row].as_py()
        assert (None if resolver is None else int.from_bytes(resolver)) == state.resolved_by


def test_no_id_gives_no_row(small):
    assert small.transfers_by_id([]).num_rows == 0


def test_transfers_are_filtered_by_height_ledger_code_institution_and_time(world):
    ledger, events = world
    moved = [event for event in events if event.kind != "expired"]

    def found(**filters):
        return ids(ledger.transfers(**filters).read_all()["id"])

    def expected(keep):
        return [event.id for event in moved if keep(event)]

    middle, end = ledger.height // 2, moved[-5].time_ns
    assert found() == expected(lambda event: True)
    assert found(heights=(middle, middle + 3)) == expected(lambda event: middle <= event.height <= middle + 3)
    assert found(ledger=392) == expected(lambda event: event.debit > 10)
    assert found(ledger=392, code=2) == []
    assert found(code=1) == found()
    for bank, name in enumerate(BANKS):
        mine = expected(lambda event, bank=bank: bank != event.debit % 2 or bank != event.credit % 2)
        assert found(institution=name) == mine
    assert found(first_time_ns=moved[9].time_ns, last_time_ns=end) == [
        event.id for event in moved if moved[9].time_ns <= event.time_ns <= end
    ]
    assert found(heights=(middle, ledger.height), institution=BANKS[0], ledger=978, last_time_ns=end) == expected(
        lambda e: e.height >= middle and e.debit <= 10 and (e.debit % 2 or e.credit % 2) and e.time_ns <= end
    )


def test_columns_of_transfers_say_who_moved_what(small):
    table = small.transfers().read_all()
    assert ids(table["debit_account_id"]) == [1, 1, 1, 1, 1, 1, 2]
    assert numbers(table["posted_amount"]) == [0, 0, 0, 0, 30, 0, 7]
    assert numbers(table["reserved_amount"]) == [50, 50, 50, 50, 0, 0, 0]
    assert numbers(table["released_amount"]) == [0, 0, 0, 0, 50, 50, 0]
    assert ids(table["pending_id"]) == [None] * 4 + [10, 11, None]
    assert set(table["ledger"].to_pylist()) == {978}
    assert set(table["debit_institution"].to_pylist()) == {0}
    assert table["index"].to_pylist() == [0, 1, 2, 3, 0, 1, 0]


def test_every_pending_transfer_says_what_became_of_it(small):
    states = [small.transfer(number) for number in (10, 11, 12, 13, 30)]
    assert [state.status.name for state in states] == ["POSTED", "VOIDED", "EXPIRED", "PENDING", "NONE"]
    assert [state.resolved_by for state in states] == [20, 21, None, None, None]
    assert [state.expired_height for state in states] == [None, None, 4, None, None]
    assert small.history(1)["kind"].to_pylist()[:2] == ["posted", "expired"]
    assert small.balance(1, height=3) == pl.Balance(100, 30, 0, 0)
    assert small.balance(1, height=4) == pl.Balance(50, 30, 0, 7)


def test_an_amount_that_means_all_there_is_is_null_in_arrow(tmp_path):
    ledger = make(tmp_path / "ledger", 1)
    with ledger:
        table = ledger.transfers().read_all()
        unlimited = [pl.u128_int(r["amount"]) == U128_MAX for block in blocks_of(ledger) for r in block.body.transfers]
        assert any(unlimited)
        assert [amount is None for amount in table["amount"].to_pylist()] == unlimited


def test_what_is_not_there_is_refused_by_name(small):
    with pytest.raises(pl.InputError, match="transfer 99: did not take effect"):
        small.transfer(99)
    with pytest.raises(pl.InputError, match="account 99: not in this ledger"):
        small.history(99)
    with pytest.raises(pl.InputError, match="account 1: not in this ledger at height 0"):
        small.balance(1, height=0)
    with pytest.raises(pl.InputError, match="account 1: not in this ledger at time 5"):
        small.balance(1, time_ns=5)
    with pytest.raises(pl.InputError, match="expected 0 to 4, got 5"):
        small.balance(1, height=5)
    with pytest.raises(pl.InputError, match="got both"):
        small.balance(1, height=1, time_ns=1)
    with pytest.raises(pl.InputError, match="expected 1 to 4, got 0"):
        small.transfers((0, 2))
    for last in (2, 99):
        with pytest.raises(pl.InputError, match=f"expected 3 to 4, got {last}"):
            small.transfers((3, last))
    with pytest.raises(pl.InputError, match="BANKZZXX"):
        small.transfers(institution="BANKZZXX")
    with pytest.raises(pl.InputError, match="limit"):
        small.history(1, limit=-1)
    with pytest.raises(pl.InputError, match="nanoseconds"):
        small.history(1, first_time_ns=-1)
