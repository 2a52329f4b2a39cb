"""Reconciliation of two books of a million rows, shuffled, a thousandth repeated, a thousandth changed.

Ours pairs equal rows one to one and classifies the rest; peers join exactly on all fields, settle repeated rows one to
one, and stop there. Tables are in memory on both sides.
"""

import time

import numpy as np
import pytest

from pyledger.reconciliation.control_totals import ControlTotals
from pyledger.reconciliation.matching import reconcile
from pyledger.types import U128

pa = pytest.importorskip("pyarrow")

ROWS = 1_000_000
FIELDS = ["reference", "account", "counterparty_account", "counterparty_institution", "amount_minor", "ledger"]
FIELDS += ["value_date", "direction"]


def book():
    rng = np.random.default_rng(1)
    accounts = rng.integers(0, 256, (20_000, 16), np.uint8)
    rows = np.arange(ROWS)
    repeated = rng.choice(ROWS, ROWS // 1000, replace=False)
    rows[repeated] = rng.integers(0, ROWS, len(repeated))
    columns = {
        "reference": rng.integers(0, 256, (ROWS, 16), np.uint8),
        "account": accounts[rng.integers(0, len(accounts), ROWS)],
        "counterparty_account": accounts[rng.integers(0, len(accounts), ROWS)],
        "counterparty_institution": rng.integers(0, 20, ROWS, np.uint32),
        "amount_minor": np.exp(rng.normal(9.5, 2.2, ROWS)).astype(np.int64) + 1,
        "ledger": rng.choice(np.array([392, 840, 978], np.uint32), ROWS),
        "value_date": np.full(ROWS, 20_000, np.int32),
        "direction": rng.choice(np.array([-1, 1], np.int8), ROWS),
    }
    return {name: column[rows] for name, column in columns.items()}


def arrow_table(columns):
    arrays = {
        name: pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), ROWS, [None, pa.py_buffer(column)])
        if column.ndim == 2
        else pa.array(column)
        for name, column in columns.items()
    }
    return pa.table({"row": np.arange(1, ROWS + 1), **arrays})


@pytest.fixture(scope="module")
def books():
    ledger = book()
    rng = np.random.default_rng(2)
    order = rng.permutation(ROWS)
    statement = {name: np.ascontiguousarray(column[order]) for name, column in ledger.items()}
    statement["amount_minor"][rng.choice(ROWS, ROWS // 1000, replace=False)] += 1
    return arrow_table(ledger), arrow_table(statement)


@pytest.fixture(scope="module")
def pairs_expected(books):
    return match_ours(*books, threads=1)


def match_ours(ledger, statement, threads):
    result = reconcile(ledger, statement, threads=threads)
    return int((result.pairs["rule"] == 0).sum())


def match_polars(ledger, statement):
    pl = pytest.importorskip("polars")
    sides = [pl.from_arrow(table).lazy() for table in (ledger, statement)]
    joined = sides[0].join(sides[1], on=FIELDS).select("row", "row_right").collect()
    return one_to_one(joined["row"].to_numpy(), joined["row_right"].to_numpy())


def match_duckdb(ledger, statement):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.register("ledger_rows", ledger)
    connection.register("statement_rows", statement)
    query = f"select a.row a, b.row b from ledger_rows a join statement_rows b using ({', '.join(FIELDS)})"
    joined = connection.execute(query).fetchnumpy()
    return one_to_one(joined["a"], joined["b"])


def one_to_one(ours, theirs):
    """Number of one-to-one pairs in a join where rows equal to several others stand once for each."""
    several = (np.bincount(ours)[ours] > 1) | (np.bincount(theirs)[theirs] > 1)
    alone = len(ours) - int(several.sum())
    ours, theirs = ours[several], theirs[several]
    first = np.full(ours.max(initial=0) + 1, ROWS + 1)
    np.minimum.at(first, ours, theirs)
    group = first[ours]
    sizes = [np.bincount(np.unique(np.stack([group, side]), axis=1)[0], minlength=ROWS + 2) for side in (ours, theirs)]
    return alone + int(np.minimum(*sizes).sum())


CONTENDERS = {
    "pyledger": (lambda *books: match_ours(*books, threads=1), 1),
    "pyledger, 2 threads": (lambda *books: match_ours(*books, threads=2), 2),
    "polars exact join": (match_polars, 0),
    "duckdb exact join": (match_duckdb, 0),
}


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.benchmark(group="reconciliation, 1 M x 1 M rows", timer=time.process_time)
def bench_matching(benchmark, books, pairs_expected, name):
    contender, threads = CONTENDERS[name]
    benchmark.extra_info.update(contender=name, items=ROWS, threads=threads, kernel="")
    benchmark.extra_info.update(baseline=name == "polars exact join", against="polars exact join")
    pairs = benchmark.pedantic(contender, books, rounds=3, warmup_rounds=1)
    assert pairs == pairs_expected
    assert ROWS * 0.99 < pairs < ROWS


@pytest.mark.benchmark(group="control totals, 1 M transfers", timer=time.process_time)
def bench_control_totals(benchmark):
    rng = np.random.default_rng(3)
    payer, payee = rng.integers(0, 200, (2, ROWS), np.uint32)
    ledger = rng.choice(np.array([392, 840, 978], np.uint32), ROWS)
    amount, reference = np.zeros(ROWS, U128), np.zeros(ROWS, U128)
    amount["lo"], reference["lo"] = rng.integers(1, 2**40, ROWS, np.uint64), rng.permutation(ROWS)

    def total():
        totals = ControlTotals(200, bytes(16))
        totals.add(payer, payee, ledger, amount, reference)
        return totals.totals()

    benchmark.extra_info.update(contender="pyledger", items=ROWS, threads=1, kernel="")
    totals = benchmark.pedantic(total, rounds=3, warmup_rounds=1)
    assert totals["count"].sum() == ROWS
    assert totals["amount"]["lo"].sum() == amount["lo"].sum()
