"""Netting against plain Python: exact, whole or not at all, the same for any order, batching and thread count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyledger.clearing.netting import I128, Netting, net
from pyledger.errors import InputError
from pyledger.reference import netting as twin
from pyledger.types import TRANSFER, U128, u128_array, u128_int, u128_ints

PARTICIPANTS = 5
OBLIGATIONS = st.lists(
    st.tuples(
        st.integers(0, PARTICIPANTS - 1),
        st.integers(0, PARTICIPANTS - 1),
        st.sampled_from([0, 1, 392, 840, 978, 0xFFFFFFFF]),
        st.one_of(st.integers(0, 1000), st.integers(0, 2**64 - 1), st.integers(0, 2**120)),
    ),
    max_size=40,
)


def columns(obligations):
    payer, payee, ledger, amount = zip(*obligations, strict=True) if obligations else ((), (), (), ())
    return *(np.array(c, np.uint32) for c in (payer, payee, ledger)), u128_array(amount)


def position_table(positions):
    return {
        (int(ledger), institution): value
        for slot, ledger in enumerate(positions.ledgers)
        for institution, value in enumerate(positions.of_ledger(slot))
        if value
    }


def bilateral_table(bilateral):
    return {
        (int(ledger), payer, payee): u128_int(bilateral.owed[slot, payer, payee])
        for slot, ledger in enumerate(bilateral.ledgers)
        for payer, payee in np.ndindex(bilateral.owed.shape[1:])
        if u128_int(bilateral.owed[slot, payer, payee])
    }


def nonzero(table):
    return {key: value for key, value in table.items() if value}


def random_columns(rows, seed=1, participants=20):
    rng = np.random.default_rng(seed)
    payer, payee = rng.integers(0, participants, (2, rows), np.uint32)
    ledger = rng.choice(np.array([392, 840, 978, 752], np.uint32), rows)
    return payer, payee, ledger, rng.integers(0, 2**64, rows, np.uint64)


@given(OBLIGATIONS)
def test_positions_and_pairs_equal_the_plain_twin(obligations):
    netting = Netting(PARTICIPANTS)
    netting.add(*columns(obligations))
    assert position_table(netting.positions()) == nonzero(twin.positions(obligations))
    assert bilateral_table(netting.bilateral()) == nonzero(twin.bilateral(obligations))


@given(OBLIGATIONS, st.randoms(), st.integers(0, 40))
def test_order_batches_and_merging_do_not_change_positions(obligations, random, cut):
    whole = net(*columns(obligations), PARTICIPANTS)
    shuffled = random.sample(obligations, len(obligations))
    first, second = Netting(PARTICIPANTS), Netting(PARTICIPANTS)
    first.add(*columns(shuffled[:cut]))
    second.add(*columns(shuffled[cut:]))
    second.merge(first)
    parts = second.positions()
    assert np.array_equal(whole.ledgers, parts.ledgers)
    assert np.array_equal(whole.position, parts.position)
    assert np.array_equal(whole.paid, parts.paid)
    assert np.array_equal(whole.received, parts.received)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_thread_count_does_not_change_positions(threads):
    rows = random_columns(800_000)
    one, many = Netting(20), Netting(20)
    one.add(*rows, threads=1)
    many.add(*rows, threads=threads)
    assert np.array_equal(one.positions().position, many.positions().position)
    assert np.array_equal(one.bilateral().owed, many.bilateral().owed)


def test_positions_sum_to_zero_and_are_received_less_paid():
    positions = net(*random_columns(10_000))
    for slot in range(len(positions.ledgers)):
        of_ledger = positions.of_ledger(slot)
        assert sum(of_ledger) == 0
        assert any(of_ledger)
        paid, received = u128_ints(positions.paid[slot]), u128_ints(positions.received[slot])
        assert of_ledger == [r - p for r, p in zip(received, paid, strict=True)]


def test_ledgers_come_out_ascending_and_a_ledger_without_obligations_is_zero():
    netting = Netting(2)
    for ledger in (978, 5, 840):
        netting.add(*columns([(0, 1, ledger, ledger)]))
    positions = netting.positions()
    assert positions.ledgers.tolist() == [5, 840, 978]
    assert [positions.of(ledger, 1) for ledger in (5, 840, 978, 7)] == [5, 840, 978, 0]
    assert netting.bilateral().ledgers.tolist() == [5, 840, 978]
    assert netting.bilateral().net(978, 0, 1) == 978
    assert netting.bilateral().net(978, 1, 0) == -978
    assert netting.bilateral().net(7, 1, 0) == 0


def test_ledgers_that_share_a_place_in_the_table_stay_apart():
    rng = np.random.default_rng(3)
    ledgers = np.unique(rng.integers(0, 2**32, 1024, np.uint32))
    ones = np.ones(len(ledgers), np.uint32)
    netting = Netting(2)
    netting.add(ones * 0, ones, ledgers, np.arange(len(ledgers), dtype=np.uint64))
    positions = netting.positions()
    assert np.array_equal(positions.ledgers, ledgers)
    assert positions.position[:, 1]["lo"].tolist() == list(range(len(ledgers)))


def test_columns_of_records_are_taken_as_they_stand():
    transfers = np.zeros(3, TRANSFER)
    transfers["user_data_32"], transfers["code"], transfers["ledger"] = [0, 1, 2], 7, 978
    transfers["amount"] = u128_array([5, 2**100, 7])
    payee = np.array([1, 2, 0], np.uint32)
    positions = net(transfers["user_data_32"], payee, transfers["ledger"], transfers["amount"])
    assert positions.of_ledger(0) == [7 - 5, 5 - 2**100, 2**100 - 7]


def test_empty_netting_has_no_ledgers():
    positions = net(*columns([]))
    assert positions.ledgers.shape == (0,)
    assert positions.position.shape == (0, 1)
    assert positions.position.dtype == I128


@pytest.mark.parametrize(
    ("bad", "field", "row"),
    [
        ((PARTICIPANTS, 0, 978, 1), "payer", 3),
        ((0, PARTICIPANTS, 978, 1), "payee", 3),
        ((0, 0xFFFFFFFF, 978, 1), "payee", 3),
        ((0, 1, 978, 2**127), "amount", 3),
        ((0, 1, 978, 2**128 - 1), "amount", 3),
        ((0, 1, 978, 2**127 - 3), "amount", 3),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_added(bad, field, row):
    netting = Netting(PARTICIPANTS)
    netting.add(*columns([(0, 1, 840, 10)]))
    before = netting.bilateral().owed
    with pytest.raises(InputError) as caught:
        netting.add(*columns([(0, 1, 978, 1), (1, 2, 978, 1), bad, (PARTICIPANTS, 9, 1, 1)]))
    assert (caught.value.field, caught.value.row) == (field, row)
    assert netting.positions().ledgers.tolist() == [840]
    assert np.array_equal(netting.bilateral().owed, before)
    netting.add(*columns([(0, 1, 978, 2**127 - 11)]))
    assert netting.positions().of(978, 1) == 2**127 - 11


def test_the_sum_of_all_amounts_is_bounded_over_batches_and_merges():
    first, second = Netting(2), Netting(2)
    for netting, ledger in ((first, 1), (second, 2)):
        netting.add(*columns([(0, 1, ledger, 2**126)]))
    with pytest.raises(InputError, match="reaches 2\\*\\*127"):
        first.merge(second)
    with pytest.raises(InputError, match="row 1, field 'amount'"):
        first.add(*columns([(1, 0, 2, 2**126)]))
    assert first.positions().ledgers.tolist() == [1]
    first.add(*columns([(1, 0, 2, 2**126 - 1)]))


def test_too_many_ledgers_are_refused_before_memory_is_taken():
    ledgers = np.arange(1025, dtype=np.uint32)
    payer = np.zeros(1025, np.uint32)
    with pytest.raises(InputError, match="row 1025, field 'ledger': expected at most 1024 ledgers"):
        net(payer, payer, ledgers, np.ones(1025, np.uint64))
    small = Netting(8, memory_max_bytes=2 * 16 * 64)
    with pytest.raises(InputError, match="row 3, field 'ledger': expected at most 2 ledgers"):
        small.add(payer, payer, ledgers, np.ones(1025, np.uint64))
    with pytest.raises(InputError, match="participants"):
        Netting(100_000)
    with pytest.raises(InputError, match="participants"):
        Netting(0)


@pytest.mark.parametrize(
    ("index", "column", "message"),
    [
        (0, np.zeros(2, np.int64), "payer: expected"),
        (1, np.zeros(3, np.uint32), "payee: expected"),
        (2, np.zeros((2, 1), np.uint32), "ledger: expected"),
        (3, np.zeros(2, np.int64), "amount: expected"),
        (3, np.zeros(2, np.float64), "amount: expected"),
    ],
)
def test_columns_of_another_type_or_length_are_refused(index, column, message):
    rows = list(columns([(0, 1, 978, 1), (1, 0, 978, 1)]))
    rows[index] = column
    with pytest.raises(InputError, match=message):
        Netting(2).add(*rows)


def test_merging_needs_as_many_participants():
    with pytest.raises(InputError, match="expected 2, got 3"):
        Netting(2).merge(Netting(3))


def test_arrow_tables_hold_exact_decimals():
    pytest.importorskip("pyarrow", reason="positions are given out as Arrow tables")
    netting = Netting(2)
    netting.add(*columns([(0, 1, 978, 10**37), (1, 0, 978, 3)]))
    assert netting.positions().to_arrow().to_pylist() == [
        {"ledger": 978, "institution": 0, "paid": 10**37, "received": 3, "position": 3 - 10**37},
        {"ledger": 978, "institution": 1, "paid": 3, "received": 10**37, "position": 10**37 - 3},
    ]
    assert netting.bilateral().to_arrow().to_pylist() == [
        {"ledger": 978, "payer": 0, "payee": 1, "owed": 10**37},
        {"ledger": 978, "payer": 1, "payee": 0, "owed": 3},
    ]
    netting.add(*columns([(0, 1, 978, 10**38)]))
    with pytest.raises(InputError, match="at most 38 digits"):
        netting.bilateral().to_arrow()


def test_u128_amounts_need_both_words():
    positions = net(*columns([(0, 1, 978, 2**64), (1, 0, 978, 1)]))
    assert positions.position.dtype == I128
    assert positions.paid.dtype == U128
    assert positions.of_ledger(0) == [1 - 2**64, 2**64 - 1]
