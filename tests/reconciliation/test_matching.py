"""Reconciliation finds exactly the breaks that were planted, and agrees with plain Python on anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_breaks import FIELDS, found_breaks, found_pairs, identifiers, numpy_columns, plant, random_row

from pyledger.errors import InputError
from pyledger.reconciliation.breaks import BreakKind
from pyledger.reconciliation.matching import reconcile
from pyledger.reconciliation.rules import MatchRule
from pyledger.reference.matching import reconcile as reconcile_plainly

KEY = bytes(range(16))


@given(st.lists(st.sampled_from([None, *BreakKind]), max_size=60), st.integers(0, 2**32), st.randoms())
def test_exactly_the_planted_breaks_are_found_in_any_row_order(kinds, seed, random):
    ledger, statement, agreeing, breaks = plant(np.random.default_rng(seed), kinds)
    random.shuffle(ledger)
    random.shuffle(statement)
    result = reconcile(numpy_columns(ledger), numpy_columns(statement), threads=1)
    assert found_breaks(result) == breaks
    assert [pair for pair in found_pairs(result) if pair[2] == "exact"] == agreeing


def test_all_kinds_at_once_in_a_large_book():
    rng = np.random.default_rng(7)
    kinds = rng.permutation([None] * 20_000 + list(BreakKind) * 20).tolist()
    kinds = [None if kind is None else BreakKind(kind) for kind in kinds]
    ledger, statement, agreeing, breaks = plant(rng, kinds)
    rng.shuffle(ledger)
    rng.shuffle(statement)
    result = reconcile(numpy_columns(ledger), numpy_columns(statement))
    assert found_breaks(result) == breaks
    assert result.breaks.counts() == {kind.label: 20 for kind in BreakKind}
    assert [pair for pair in found_pairs(result) if pair[2] == "exact"] == agreeing
    assert not result.pairs["suggested"].any()


def small(values, width=16):
    return st.sampled_from([bytes([value]) * width for value in values])


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "reference": small([0, 1, 2]),
            "account": small([1, 2]),
            "counterparty_account": small([1, 1, 2]),
            "counterparty_institution": st.sampled_from([0, 0, 1]),
            "amount_minor": st.sampled_from([0, 1, 2, 3, 2**63 - 1]),
            "ledger": st.sampled_from([978, 978, 840]),
            "value_date": st.sampled_from([0, 0, -1]),
            "direction": st.sampled_from([1, 1, -1]),
        }
    ),
    max_size=10,
).map(lambda rows: [{"row": number, **row} for number, row in enumerate(rows, 1)])


@settings(max_examples=1000)
@given(ROWS, ROWS)
def test_crowded_books_give_what_the_plain_twin_gives(ledger, statement):
    result = reconcile(numpy_columns(ledger), numpy_columns(statement), threads=1)
    pairs, breaks = reconcile_plainly(ledger, statement)
    assert found_pairs(result) == pairs
    assert found_breaks(result) == breaks


@given(ROWS, ROWS, st.randoms(), st.binary(min_size=16, max_size=16))
def test_order_of_rows_key_and_threads_do_not_change_the_result(ledger, statement, random, key):
    first = reconcile(numpy_columns(ledger), numpy_columns(statement), threads=1, key=KEY)
    random.shuffle(ledger)
    random.shuffle(statement)
    second = reconcile(numpy_columns(ledger), numpy_columns(statement), threads=3, key=key)
    assert np.array_equal(first.pairs, second.pairs)
    assert found_breaks(first) == found_breaks(second)
    assert first.breaks.expected == second.breaks.expected
    assert first.breaks.found == second.breaks.found
    assert first.breaks.detail == second.breaks.detail


@given(ROWS, ROWS)
def test_every_row_ends_up_in_one_place(ledger, statement):
    result = reconcile(numpy_columns(ledger), numpy_columns(statement), threads=1)
    paired = set(result.pairs["row_statement"].tolist())
    assert len(paired) == len(result.pairs)
    split_rows = result.pairs["row_ledger"][result.pairs["rule"] == MatchRule.SPLIT]
    others = result.pairs["row_ledger"][result.pairs["rule"] != MatchRule.SPLIT].tolist()
    assert len(set(others)) == len(others)
    alone = {
        kind: [
            rows[0] if rows else row
            for k, row, rows in zip(
                result.breaks.kind, result.breaks.row_ledger.tolist(), result.breaks.rows_statement, strict=True
            )
            if k == kind
        ]
        for kind in BreakKind
    }
    of_ledger = [*others, *set(split_rows.tolist()), *alone[BreakKind.MISSING_IN_STATEMENT]]
    of_statement = [*paired, *alone[BreakKind.MISSING_IN_LEDGER], *alone[BreakKind.DUPLICATE_IN_STATEMENT]]
    assert sorted(of_ledger) == [row["row"] for row in ledger]
    assert sorted(of_statement) == [row["row"] for row in statement]


def agreeing_columns(rows, seed=5):
    """Columns of many rows, a tenth of which are repeated."""
    rng = np.random.default_rng(seed)
    pick = np.where(rng.random(rows) < 0.1, rng.integers(0, rows, rows), np.arange(rows))
    return {
        "row": np.arange(1, rows + 1),
        "reference": rng.integers(0, 256, (rows, 16), np.uint8)[pick],
        "account": rng.integers(0, 256, (rows, 16), np.uint8)[pick],
        "counterparty_account": rng.integers(0, 256, (rows, 16), np.uint8)[pick],
        "counterparty_institution": rng.integers(0, 5, rows, np.uint32)[pick],
        "amount_minor": rng.integers(0, 10**6, rows)[pick],
        "ledger": rng.integers(0, 3, rows, np.uint32)[pick],
        "value_date": rng.integers(20000, 20002, rows, np.int32)[pick],
        "direction": rng.choice(np.array([1, -1], np.int8), rows)[pick],
    }


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_shuffled_repeated_rows_are_all_paired_one_to_one(threads):
    rows = 150_000
    ledger = agreeing_columns(rows)
    order = np.random.default_rng(1).permutation(rows)
    statement = {name: column[order] for name, column in ledger.items()}
    statement["row"] = np.arange(1, rows + 1)
    result = reconcile(ledger, statement, threads=threads)
    assert len(result.breaks) == 0
    assert result.pairs["row_ledger"].tolist() == list(range(1, rows + 1))
    assert sorted(result.pairs["row_statement"].tolist()) == list(range(1, rows + 1))
    for name in FIELDS:
        ours, theirs = ledger[name], statement[name][result.pairs["row_statement"] - 1]
        assert np.array_equal(ours, theirs)
    reference = reconcile(ledger, statement, threads=1)
    assert np.array_equal(result.pairs, reference.pairs)


def one_row(**changes):
    return {"row": 1, **random_row(np.random.default_rng(3)), **changes}


def rows_of(*rows):
    return [{**row, "row": number} for number, row in enumerate(rows, 1)]


def reconcile_rows(ledger, statement):
    return reconcile(numpy_columns(ledger), numpy_columns(statement), threads=1)


def test_two_candidates_are_suggested_not_guessed():
    row = one_row(amount_minor=100)
    ledger = rows_of(row)
    statement = rows_of({**row, "amount_minor": 90}, {**row, "account": b"\7" * 16})
    result = reconcile_rows(ledger, statement)
    assert found_breaks(result) == [
        ("amount_differs", 1, (1,), True),
        ("missing_in_ledger", 0, (2,), False),
    ]
    assert result.pairs["suggested"].tolist() == [True]
    assert result.breaks.detail[1] == "all fields equal but amount_minor; to be confirmed"


def test_garbled_references_of_equal_rows_are_suggested_not_guessed():
    row = one_row()
    ledger = rows_of({**row, "reference": b"A" * 16}, {**row, "reference": b"B" * 16})
    statement = rows_of({**row, "reference": b"C" * 16}, {**row, "reference": b"D" * 16})
    assert found_breaks(reconcile_rows(ledger, statement)) == [
        ("reference_differs", 1, (1,), True),
        ("reference_differs", 2, (2,), True),
    ]


def test_a_split_whose_parts_fit_another_row_is_suggested():
    row = one_row(amount_minor=100)
    other = {**row, "account": b"\7" * 16, "amount_minor": 60}
    statement = rows_of({**row, "amount_minor": 60}, {**row, "amount_minor": 40})
    assert found_breaks(reconcile_rows(rows_of(row), statement)) == [("split_in_statement", 1, (1, 2), False)]
    assert found_breaks(reconcile_rows(rows_of(row, other), statement)) == [
        ("missing_in_statement", 2, (), False),
        ("split_in_statement", 1, (1, 2), True),
    ]


def test_a_split_whose_whole_fits_another_row_is_suggested():
    row = one_row(amount_minor=100)
    parts = [{**row, "amount_minor": 60}, {**row, "amount_minor": 40}]
    statement = rows_of(*parts, {**row, "account": b"\7" * 16})
    assert found_breaks(reconcile_rows(rows_of(row), statement)) == [
        ("missing_in_ledger", 0, (3,), False),
        ("split_in_statement", 1, (1, 2), True),
    ]


def test_parts_that_two_ledger_rows_could_claim_are_no_split():
    row = one_row(amount_minor=100)
    ledger = rows_of(row, {**row, "amount_minor": 70})
    statement = rows_of(*({**row, "amount_minor": amount} for amount in (60, 40, 30)))
    assert found_breaks(reconcile_rows(ledger, statement)) == [
        ("amount_differs", 1, (1,), True),
        ("amount_differs", 2, (2,), True),
        ("missing_in_ledger", 0, (3,), False),
    ]


def test_parts_that_do_not_sum_to_the_amount_are_no_split():
    row = one_row(amount_minor=100)
    statement = rows_of({**row, "amount_minor": 60}, {**row, "amount_minor": 39})
    assert found_breaks(reconcile_rows(rows_of(row), statement)) == [
        ("amount_differs", 1, (1,), True),
        ("missing_in_ledger", 0, (2,), False),
    ]


def test_parts_whose_sum_wraps_around_are_no_split():
    row = one_row(amount_minor=2)
    parts = [{**row, "amount_minor": 2**62} for _ in range(4)]
    parts[0]["amount_minor"] += 2
    assert not any(b[0] == "split_in_statement" for b in found_breaks(reconcile_rows(rows_of(row), rows_of(*parts))))


def test_a_split_in_equal_parts_is_no_duplicate():
    row = one_row(amount_minor=100)
    statement = rows_of({**row, "amount_minor": 50}, {**row, "amount_minor": 50})
    result = reconcile_rows(rows_of(row), statement)
    assert found_breaks(result) == [("split_in_statement", 1, (1, 2), False)]
    assert (result.breaks.expected, result.breaks.found) == (["100"], ["50 + 50"])


def test_a_repeated_wrong_row_is_one_difference_and_one_duplicate():
    row = one_row(amount_minor=100)
    statement = rows_of({**row, "amount_minor": 90}, {**row, "amount_minor": 90})
    assert found_breaks(reconcile_rows(rows_of(row), statement)) == [
        ("amount_differs", 1, (1,), False),
        ("duplicate_in_statement", 0, (2,), False),
    ]


def test_a_row_twice_in_the_ledger_and_once_in_the_statement_is_missing_once():
    row = one_row()
    assert found_breaks(reconcile_rows(rows_of(row, row), rows_of(row))) == [("missing_in_statement", 2, (), False)]


def test_the_same_reference_with_two_fields_differing_is_suggested_with_both():
    row = one_row(amount_minor=100, value_date=20000)
    result = reconcile_rows(rows_of(row), rows_of({**row, "amount_minor": 90, "value_date": 20001}))
    assert found_breaks(result) == [("amount_differs", 1, (1,), True)]
    assert result.breaks.expected == ["amount_minor 100, value_date 2024-10-04"]
    assert result.breaks.found == ["amount_minor 90, value_date 2024-10-05"]


def test_empty_references_do_not_tie_rows_together():
    row = one_row(reference=bytes(16), amount_minor=100, value_date=20000)
    result = reconcile_rows(rows_of(row), rows_of({**row, "amount_minor": 90, "value_date": 20001}))
    assert [b[0] for b in found_breaks(result)] == ["missing_in_ledger", "missing_in_statement"]


@pytest.mark.parametrize(
    ("field", "value", "kind", "expected", "found"),
    [
        ("amount_minor", 101, "amount_differs", "100", "101"),
        ("ledger", 840, "currency_differs", "978", "840"),
        ("value_date", 20001, "value_date_differs", "2024-10-04", "2024-10-05"),
        ("direction", -1, "direction_reversed", "credit", "debit"),
        ("reference", b"B" * 16, "reference_differs", "41" * 16, "42" * 16),
        ("account", b"B" * 16, "account_differs", "41" * 16, "42" * 16),
        ("counterparty_account", b"B" * 16, "account_differs", "41" * 16, "42" * 16),
        ("counterparty_institution", 4, "account_differs", "3", "4"),
    ],
)
def test_each_break_shows_both_values(field, value, kind, expected, found):
    names = dict.fromkeys(("reference", "account", "counterparty_account"), b"A" * 16)
    row = one_row(**names, amount_minor=100, ledger=978, value_date=20000, direction=1, counterparty_institution=3)
    result = reconcile_rows(rows_of(row), rows_of({**row, field: value}))
    assert found_breaks(result) == [(kind, 1, (1,), False)]
    assert (result.breaks.expected, result.breaks.found) == ([expected], [found])
    assert result.breaks.detail == [f"all fields equal but {field}"]


def test_rows_of_one_side_alone_are_described():
    row = one_row(reference=b"A" * 16, account=b"B" * 16, amount_minor=100, ledger=978, value_date=20000, direction=-1)
    text = f"debit of 100 in ledger 978 on 2024-10-04, account {'42' * 16}, reference {'41' * 16}"
    result = reconcile_rows(rows_of(row), [])
    assert (result.breaks.expected, result.breaks.found) == ([text], [""])
    result = reconcile_rows([], rows_of(row))
    assert (result.breaks.expected, result.breaks.found) == ([""], [text])


def test_empty_books_agree():
    result = reconcile_rows([], [])
    assert len(result.pairs) == len(result.breaks) == 0
    assert result.summary()["breaks_total"] == 0


def test_the_summary_counts_pairs_and_breaks():
    row = one_row(amount_minor=100)
    other = random_row(np.random.default_rng(9))
    summary = reconcile_rows(rows_of(row, other), rows_of({**row, "amount_minor": 90}, other)).summary()
    assert (summary["ledger_rows"], summary["statement_rows"]) == (2, 2)
    assert {rule: n for rule, n in summary["pairs"].items() if n} == {"exact": 1, "amount": 1}
    assert {kind: n for kind, n in summary["breaks"].items() if n} == {"amount_differs": 1}
    assert (summary["breaks_total"], summary["breaks_suggested"]) == (1, 0)


def test_row_numbers_need_not_be_dense():
    row = one_row()
    ledger, statement = numpy_columns([{**row, "row": 10**12}]), numpy_columns([{**row, "row": 7}])
    assert reconcile(ledger, statement).pairs.tolist() == [(10**12, 7, 0, False)]
    assert identifiers([b"A" * 16]).shape == (1, 16)


def test_books_with_too_little_in_common_are_refused_before_they_are_explained():
    rows = [random_row(np.random.default_rng(seed)) for seed in range(4)]
    ledger, statement = numpy_columns(rows_of(*rows)), numpy_columns(rows_of(rows[0], rows[0], rows[0]))
    message = "3 of 4 ledger rows and 2 of 3 statement rows have no equal on the other side, expected at most 4"
    with pytest.raises(InputError, match=message):
        reconcile(ledger, statement, unequal_rows_max=4)
    assert len(reconcile(ledger, statement, unequal_rows_max=5).breaks) == 5
