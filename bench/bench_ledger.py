"""Durable posting, end to end: batches of 8,190 simple transfers, ids and both accounts' history indexed.

    python -m pytest bench/bench_ledger.py --benchmark-json=FILE && python bench/report.py FILE

Contenders: ours, attested (one attestation a batch) and signed (each transfer by one of 32 keys), with all roots and
the validator's certificate, through the Python API; SQLite; PostgreSQL; TigerBeetle where PYLEDGER_TIGERBEETLE names
its binary; ours posting alone in memory, one core. Each starts with the same accounts, a quarter of them limited
(debits must not exceed credits); before the clock starts, the limited ones get funds by ordinary transfers. They are
debited like the others, so that limits are checked and hold. All contenders take batches of one seeded stream from its
beginning: ours, attested, PYLEDGER_BENCH_BATCHES of them (default 1,200), TigerBeetle half, the others a tenth. What
each posted and the sum of its balances are checked. Wall time, since the work is in several threads and processes; the
time of one fdatasync stands beside each contender. PYLEDGER_BENCH_ACCOUNTS (default "1e4,1e6", also "1e6,1e7") says how
many accounts; a table of ours compares them with 1e6. Latency is measured at PYLEDGER_BENCH_RATE transfers a second and
in a closed loop: a batch at a time, the next when the one before is durable.
"""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from bench_engine import Ours as InMemory
from ledger_peers import LEDGER, Ours, OursSigned, Postgres, Sqlite, TigerBeetle, sync_microseconds

import pyledger as pl

BATCH = 8190
ACCOUNTS = [int(float(text)) for text in os.environ.get("PYLEDGER_BENCH_ACCOUNTS", "1e4,1e6").split(",")]
BATCHES = int(os.environ.get("PYLEDGER_BENCH_BATCHES", "1200"))
PACED_RATE = int(os.environ.get("PYLEDGER_BENCH_RATE", "300000"))
SEED = 11
FUNDS = 1 << 40  # of a limited account: more than a run can debit

DURABLE = {
    "ours, attested": (Ours, BATCHES),
    "ours, signed": (OursSigned, BATCHES // 10),
    "postgresql": (Postgres, BATCHES // 10),
    "sqlite, wal, full": (Sqlite, BATCHES // 10),
    "tigerbeetle": (TigerBeetle, BATCHES // 2),
}


def make_accounts(count):
    """Accounts with scattered ids; every fourth may not be overdrawn, and all history is kept."""
    records = np.zeros(count, pl.ACCOUNT)
    records["id"]["lo"] = np.random.default_rng(SEED).permutation(count).astype(np.uint64) * np.uint64(7919) + 1
    limited = np.arange(count) % 4 == 3
    records["flags"] = np.where(limited, pl.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS, 0)
    records["ledger"], records["code"] = LEDGER, 1
    return records


def make_batches(accounts, count, skew):
    """Transfers that all take effect; limited accounts are debited as often as others."""
    draw = np.random.default_rng(SEED + 1)
    total = len(accounts)

    def places():
        drawn = draw.integers(0, total, BATCH) if skew == "uniform" else (draw.zipf(1.2, BATCH) - 1) % total
        return drawn.astype(np.int64)

    for _ in range(count):
        debit, credit = places(), places()
        credit = np.where(credit == debit, (credit + 1) % total, credit)
        records = np.zeros(BATCH, pl.TRANSFER)
        records["id"]["lo"], records["id"]["hi"] = draw.integers(1, 1 << 63, (2, BATCH))
        records["debit_account_id"], records["credit_account_id"] = accounts["id"][debit], accounts["id"][credit]
        records["amount"]["lo"] = draw.integers(1, 1000, BATCH)
        records["ledger"], records["code"] = LEDGER, 1
        yield records


def funding_batches(accounts):
    """Transfers from the first account to each limited one."""
    limited = accounts["id"][accounts["flags"] == pl.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS]
    for start in range(0, len(limited), BATCH):
        funded = limited[start : start + BATCH]
        records = np.zeros(len(funded), pl.TRANSFER)
        records["id"]["lo"] = np.arange(start + 1, start + 1 + len(funded))  # the others have a high half, too
        records["debit_account_id"], records["credit_account_id"] = accounts["id"][0], funded
        records["amount"]["lo"] = FUNDS
        records["ledger"], records["code"] = LEDGER, 1
        yield records


def fund(book, accounts):
    """Fund the limited accounts of a book that was opened; the sum of what they got."""
    funding = list(funding_batches(accounts))
    book.prepare(funding)
    count = sum(map(len, funding))
    assert book.post_all(funding) == count > 0
    return count * FUNDS


def over_accounts(contender, accounts_count, skew):
    """Place of a measurement in the table that compares numbers of accounts."""
    return {
        "group": f"durable posting, {contender}, by number of accounts, {skew}",
        "contender": f"{accounts_count:.0e} accounts",
        "baseline": accounts_count == 1_000_000,
        "against": f"{1_000_000:.0e} accounts",
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.mark.parametrize("skew", ["uniform", "zipf"])
@pytest.mark.parametrize("contender", DURABLE)
@pytest.mark.parametrize("accounts_count", ACCOUNTS)
def bench_durable_posting(benchmark, folder, accounts_count, contender, skew):
    make, count = DURABLE[contender]
    accounts = make_accounts(accounts_count)
    batches = list(make_batches(accounts, max(count, 1), skew))
    book = make(folder, accounts)
    try:
        funds = fund(book, accounts)
        book.prepare(batches)
        benchmark.group = f"durable posting, {accounts_count:.0e} accounts, {skew}"
        items = BATCH * len(batches)
        name = f"{contender} (fdatasync {sync_microseconds(folder):.0f} µs)"
        info = {"contender": name, "items": items, "threads": os.cpu_count(), "kernel": ""}
        benchmark.extra_info.update(info, baseline=contender == "postgresql", against="postgresql")
        if isinstance(book, Ours):
            benchmark.extra_info["also"] = over_accounts(contender, accounts_count, skew)
        posted = benchmark.pedantic(book.post_all, (batches,), rounds=1)
        assert posted == items
        assert book.credits() == funds + sum(int(records["amount"]["lo"].sum()) for records in batches)
        if isinstance(book, Ours):
            benchmark.extra_info["bytes_per_transfer_indexes_included"] = book.bytes_per_transfer()
    finally:
        book.close()


class Latencies:
    """Seconds from `submit` until a batch was durable, for each batch of a book."""

    def __init__(self, book) -> None:
        self.book = book
        self.seconds: list[float] = []
        self.finished = threading.Semaphore(0)

    def submit(self, records) -> None:
        started = time.perf_counter()

        def note(answer):
            self.seconds.append(time.perf_counter() - started)
            assert not answer.result().results.any()
            self.finished.release()

        self.book.ledger.submit(records).add_done_callback(note)

    def wait(self) -> None:
        assert self.finished.acquire(timeout=60)

    def paced(self, batches) -> None:
        """Each batch at its time, whether the one before is durable or not."""
        begun = time.perf_counter()
        for place, records in enumerate(batches):
            time.sleep(max(0.0, begun + place * BATCH / PACED_RATE - time.perf_counter()))
            self.submit(records)
        for _ in batches:
            self.wait()

    def closed_loop(self, batches) -> None:
        """Each batch when the one before is durable."""
        for records in batches:
            self.submit(records)
            self.wait()


@pytest.mark.parametrize("load", [f"at {PACED_RATE:,}/s", "closed loop"])
def bench_batch_latency(benchmark, folder, load):
    """A batch from `submit` until it is durable, at a rate that leaves room, and one after the other."""
    accounts = make_accounts(ACCOUNTS[-1])
    batches = list(make_batches(accounts, BATCHES, "uniform"))
    book = Ours(folder, accounts)
    latencies = Latencies(book)
    post_all = latencies.closed_loop if load == "closed loop" else latencies.paced
    benchmark.group = f"latency of a batch of 8,190, {ACCOUNTS[-1]:.0e} accounts"
    try:
        fund(book, accounts)
        benchmark.pedantic(post_all, (batches,), rounds=1)
    finally:
        book.close()
    assert len(latencies.seconds) == len(batches)
    p50, p99 = np.percentile(np.array(latencies.seconds) * 1e3, [50, 99])
    name = f"ours, attested, {load}: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    benchmark.extra_info.update(contender=name, items=BATCH * len(batches), threads=os.cpu_count(), kernel="")


@pytest.mark.parametrize("accounts_count", ACCOUNTS)
@pytest.mark.benchmark(timer=time.process_time)
def bench_posting_in_memory(benchmark, accounts_count):
    """The posting engine alone, without hashes or journal: one core."""
    accounts = make_accounts(accounts_count)
    accounts["ledger"] = 1
    book = InMemory(accounts, attested=True)  # which funds them
    batches = list(make_batches(accounts, 60, "uniform"))
    for records in batches:
        records["ledger"] = 1
    before, waiting = book.credits(), iter(batches)
    benchmark.group = f"posting in memory, {accounts_count:.0e} accounts, uniform"
    benchmark.extra_info.update(contender="ours, attested", items=BATCH, threads=1, kernel="")
    codes = []
    benchmark.pedantic(lambda: codes.append(book.post(next(waiting))), rounds=60, iterations=1)
    assert not any(code.any() for code in codes)
    assert book.credits() - before == sum(int(records["amount"]["lo"].sum()) for records in batches)
