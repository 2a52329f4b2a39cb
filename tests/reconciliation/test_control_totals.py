"""Control totals: the same for any order and batches, and a lost, doubled or changed transfer shows in its pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyledger.errors import InputError
from pyledger.reconciliation.control_totals import TOTAL, ControlTotals, differing_pairs
from pyledger.reference.control_totals import control_totals
from pyledger.types import u128_array, u128_int

PARTICIPANTS = 4
KEY = bytes(range(16))
TRANSFERS = st.lists(
    st.tuples(
        st.integers(0, PARTICIPANTS - 1),
        st.integers(0, PARTICIPANTS - 1),
        st.sampled_from([0, 840, 978, 0xFFFFFFFF]),
        st.integers(0, 2**100),
        st.integers(0, 2**128 - 1),
    ),
    max_size=20,
)


def columns(transfers):
    payer, payee, ledger, amount, reference = zip(*transfers, strict=True) if transfers else ((),) * 5
    indexes = (np.array(c, np.uint32) for c in (payer, payee, ledger))
    return *indexes, u128_array(amount), u128_array(reference)


def totals_of(*batches, key=KEY):
    totals = ControlTotals(PARTICIPANTS, key)
    for batch in batches:
        totals.add(*columns(batch))
    return totals


def table(totals):
    return {
        (int(t["ledger"]), int(t["payer"]), int(t["payee"])): (
            int(t["count"]),
            u128_int(t["amount"]),
            u128_int(t["hash"]),
        )
        for t in totals
    }


def cells(totals):
    return [(int(t["ledger"]), int(t["payer"]), int(t["payee"])) for t in totals]


@given(TRANSFERS, st.binary(min_size=16, max_size=16))
def test_totals_equal_the_plain_twin(transfers, key):
    totals = totals_of(transfers, key=key).totals()
    assert table(totals) == control_totals(transfers, key)
    assert cells(totals) == sorted(cells(totals))


@given(TRANSFERS, st.randoms(), st.integers(0, 20))
def test_order_batches_and_merging_do_not_change_totals(transfers, random, cut):
    shuffled = random.sample(transfers, len(transfers))
    first, second = totals_of(shuffled[:cut]), totals_of(shuffled[cut:])
    second.merge(first)
    whole = totals_of(transfers).totals()
    assert np.array_equal(second.totals(), whole)
    assert np.array_equal(totals_of(shuffled[:cut], shuffled[cut:]).totals(), whole)
    assert len(differing_pairs(second.totals(), whole)[0]) == 0


def random_transfers(rows, seed=1):
    rng = np.random.default_rng(seed)
    values = (rng.integers(0, bound, rows).tolist() for bound in (PARTICIPANTS, PARTICIPANTS, 3, 2**40, 2**62))
    return list(zip(*values, strict=True))


def test_many_rows_equal_the_plain_twin():
    transfers = random_transfers(20_000)
    assert table(totals_of(transfers).totals()) == control_totals(transfers, KEY)


@pytest.mark.parametrize("fault", ["lost", "doubled", "amount", "reference", "swapped amounts"])
def test_one_wrong_transfer_in_many_is_found_and_its_pair_named(fault):
    ours = random_transfers(20_000)
    theirs = list(ours)
    payer, payee, ledger, amount, reference = ours[777]
    if fault == "lost":
        del theirs[777]
    elif fault == "doubled":
        theirs.append(ours[777])
    elif fault == "amount":
        theirs[777] = (payer, payee, ledger, amount + 1, reference)
    elif fault == "reference":
        theirs[777] = (payer, payee, ledger, amount, reference ^ 1)
    else:
        other = next(i for i in range(778, len(ours)) if ours[i][:3] == ours[777][:3])
        theirs[777] = (payer, payee, ledger, ours[other][3], reference)
        theirs[other] = (payer, payee, ledger, amount, ours[other][4])
    mine, yours = differing_pairs(totals_of(ours).totals(), totals_of(theirs).totals())
    assert cells(mine) == cells(yours) == [(ledger, payer, payee)]
    assert mine["hash"] != yours["hash"]
    assert int(yours["count"][0]) - int(mine["count"][0]) == {"lost": -1, "doubled": 1}.get(fault, 0)
    assert (mine["amount"] == yours["amount"]).all() == (fault in ("reference", "swapped amounts"))


def test_a_pair_that_one_side_lacks_is_set_beside_zeros():
    mine, yours = differing_pairs(totals_of([(0, 1, 978, 5, 1)]).totals(), totals_of([(2, 1, 840, 6, 2)]).totals())
    assert cells(mine) == cells(yours) == [(840, 2, 1), (978, 0, 1)]
    assert mine["count"].tolist() == [0, 1]
    assert yours["count"].tolist() == [1, 0]


def test_another_key_gives_other_hashes():
    one, other = (totals_of([(0, 1, 978, 5, 1)], key=key).totals() for key in (KEY, bytes(16)))
    assert one["hash"] != other["hash"]
    assert one["amount"] == other["amount"]


@pytest.mark.parametrize(
    ("bad", "field"),
    [((PARTICIPANTS, 0, 978, 1, 1), "payer"), ((0, 0xFFFFFFFF, 978, 1, 1), "payee"), ((0, 1, 1, 2**127, 1), "amount")],
)
def test_a_wrong_row_is_refused_and_nothing_is_added(bad, field):
    totals = totals_of([(0, 1, 978, 5, 1)])
    before = totals.totals()
    with pytest.raises(InputError) as caught:
        totals.add(*columns([(1, 2, 840, 1, 1), bad]))
    assert caught.value.field == field
    assert np.array_equal(totals.totals(), before)
    totals.add(*columns([(0, 1, 978, 2**127 - 6, 1)]))


def test_sums_memory_and_parameters_are_bounded():
    first, second = (totals_of([(0, 1, 978, 2**126, 1)]) for _ in range(2))
    with pytest.raises(InputError, match="reaches 2\\*\\*127"):
        first.merge(second)
    with pytest.raises(InputError, match="same key"):
        first.merge(ControlTotals(PARTICIPANTS, bytes(16)))
    with pytest.raises(InputError, match="participants"):
        ControlTotals(0, KEY)
    with pytest.raises(InputError, match="participants"):
        ControlTotals(100_000, KEY)
    with pytest.raises(InputError, match="16 bytes"):
        ControlTotals(4, b"short")
    small = ControlTotals(PARTICIPANTS, KEY, memory_max_bytes=40 * 16)
    with pytest.raises(InputError, match="at most 1 ledgers"):
        small.add(*columns([(0, 1, 1, 1, 1), (0, 1, 2, 1, 1)]))
    with pytest.raises(InputError, match="amount"):
        small.add(*columns([(0, 1, 1, 1, 1)])[:3], np.ones(1, np.uint64), u128_array([1]))


def test_totals_out_of_order_or_repeated_are_refused():
    totals = totals_of(random_transfers(100)).totals()
    for wrong in (totals[::-1], np.repeat(totals, 2), np.zeros(3, np.uint8)):
        with pytest.raises(InputError):
            differing_pairs(totals, wrong)
    assert totals.dtype == TOTAL
