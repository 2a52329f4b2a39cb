"""Multilateral netting of 10 million obligations: 200 institutions (Zipf), 10 ledgers, log-normal amounts; exact sums.

Peers sum 64-bit integers and don't check; ours checks every index and sums in 128 bits, for every pair too.
"""

import time

import numpy as np
import pytest

from pyledger.clearing.netting import Netting

ROWS, INSTITUTIONS, LEDGERS = 10_000_000, 200, 10


@pytest.fixture(scope="module")
def obligations():
    rng = np.random.default_rng(1)
    weight = 1 / np.arange(1, INSTITUTIONS + 1) ** 0.8
    payer, payee = rng.choice(INSTITUTIONS, (2, ROWS), p=weight / weight.sum()).astype(np.uint32)
    amount = np.exp(rng.normal(9.5, 2.2, ROWS)).astype(np.uint64) + 1
    return payer, payee, rng.integers(0, LEDGERS, ROWS, np.uint32), amount


@pytest.fixture(scope="module")
def expected(obligations):
    return net_numpy(obligations)


def net_ours(obligations, threads=1):
    netting = Netting(INSTITUTIONS)
    netting.add(*obligations, threads=threads)
    positions = netting.positions()
    return [positions.of_ledger(slot) for slot in range(LEDGERS)]


def net_numpy(obligations):
    payer, payee, ledger, amount = obligations
    positions = np.zeros((LEDGERS, INSTITUTIONS), np.int64)
    np.add.at(positions, (ledger, payee), amount.astype(np.int64))
    np.subtract.at(positions, (ledger, payer), amount.astype(np.int64))
    return positions


def net_polars(obligations):
    pl = pytest.importorskip("polars")
    payer, payee, ledger, amount = obligations
    signed = pl.Series(amount).cast(pl.Int64)
    frame = pl.DataFrame({"payer": payer, "payee": payee, "ledger": ledger, "amount": signed}).lazy()
    paid = frame.select("ledger", pl.col("payer").alias("who"), -pl.col("amount"))
    received = frame.select("ledger", pl.col("payee").alias("who"), "amount")
    sums = pl.concat([paid, received]).group_by("ledger", "who").agg(pl.col("amount").sum()).collect()
    return _positions(*(sums[name].to_numpy() for name in ("ledger", "who", "amount")))


def net_duckdb(obligations):
    duckdb = pytest.importorskip("duckdb")
    pa = pytest.importorskip("pyarrow")
    table = pa.table(dict(zip(("payer", "payee", "ledger", "amount"), obligations, strict=True)))
    connection = duckdb.connect()
    connection.register("obligations", table)
    sums = connection.execute(
        "select ledger, who, sum(amount)::bigint amount from (select ledger, payer who, -amount::bigint amount from "
        "obligations union all select ledger, payee, amount::bigint from obligations) group by all"
    ).fetchnumpy()
    return _positions(sums["ledger"], sums["who"], sums["amount"])


def _positions(ledger, who, amount):
    positions = np.zeros((LEDGERS, INSTITUTIONS), np.int64)
    positions[ledger, who] = amount
    return positions


CONTENDERS = {
    "pyledger": (net_ours, 1),
    "pyledger, 2 threads": (lambda obligations: net_ours(obligations, 2), 2),
    "numpy add.at": (net_numpy, 1),
    "polars group_by": (net_polars, 0),
    "duckdb group by": (net_duckdb, 0),
}


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.benchmark(group="netting, 10 M obligations", timer=time.process_time)
def bench_netting(benchmark, obligations, expected, name):
    contender, threads = CONTENDERS[name]
    benchmark.extra_info.update(contender=name, items=ROWS, threads=threads, kernel="", baseline=name == "numpy add.at")
    positions = benchmark.pedantic(contender, (obligations,), rounds=5, warmup_rounds=1)
    assert np.array_equal(positions, expected)
