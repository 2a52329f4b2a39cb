"""Posting in memory on one core: batches of 8,190 simple transfers at 1e4 and 1e6 accounts, uniform and Zipf.

Contenders: ours, attested (one attestation a batch) and signed (a key a transfer, signatures checked before); SQLite
in memory, which inserts the same transfers and moves the same balances by two set-based updates. Every batch's results
are checked. Compare by the minimum of process CPU time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyledger import _core
from pyledger.types import ACCOUNT, TRANSFER, U128, AccountFlags, KeyRole

BATCH = 8190
ROUNDS = 60
FUNDS = 1 << 40
BANK = 1


def account_records(count: int) -> Any:
    rng = np.random.default_rng(7)
    accounts = np.zeros(count, ACCOUNT)
    accounts["id"]["lo"] = rng.permutation(count).astype(np.uint64) * np.uint64(0x9E37_79B9) + np.uint64(1)
    accounts["ledger"] = accounts["code"] = 1
    limited = np.arange(count) % 4 == 3
    accounts["flags"] = np.where(limited, AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS, AccountFlags.HISTORY)
    return accounts


def places(rng: np.random.Generator, count: int, skew: str) -> Any:
    if skew == "uniform":
        return rng.integers(0, count, BATCH)
    return (rng.zipf(1.2, BATCH) - 1) % count


def transfer_batches(ids: Any, skew: str) -> list[Any]:
    rng = np.random.default_rng(8)
    batches = []
    for _ in range(ROUNDS):
        records = np.zeros(BATCH, TRANSFER)
        records["id"]["lo"], records["id"]["hi"] = rng.integers(1, 1 << 63, (2, BATCH))
        debit, credit = places(rng, len(ids), skew), places(rng, len(ids), skew)
        records["debit_account_id"] = ids[debit]
        records["credit_account_id"] = ids[np.where(credit == debit, (credit + 1) % len(ids), credit)]
        records["amount"]["lo"] = rng.integers(1, 1000, BATCH)
        records["ledger"] = records["code"] = 1
        batches.append(records)
    return batches


class Ours:
    """The native engine, memory provided beforehand as a server does at its start."""

    def __init__(self, accounts: Any, attested: bool) -> None:
        self.engine = _core.Engine()
        self.attested = attested
        roles = np.array([KeyRole.HOLDER | KeyRole.ATTESTER], np.uint32)
        self.engine.register_keys(np.array([BANK], np.uint32), 0, roles)
        count = len(accounts)
        self.engine.prepare(count, count + ROUNDS * BATCH)
        owners, banks = np.zeros(count, np.uint32), np.full(count, BANK, np.uint32)
        assert not self.engine.create_accounts(accounts, owners, banks, 1, BANK).any()
        self.signers, self.valid = np.zeros(BATCH, np.uint32), np.ones(BATCH, np.bool_)
        self.now = count + 1
        self.fund(accounts["id"])

    def fund(self, ids: Any) -> None:
        records = np.zeros(len(ids) - 1, TRANSFER)
        records["id"]["lo"] = np.arange(1, len(ids))
        records["debit_account_id"], records["credit_account_id"] = ids[0], ids[1:]
        records["amount"]["lo"] = FUNDS
        records["ledger"] = records["code"] = 1
        valid = np.ones(len(records), np.bool_)
        codes, _ = self.engine.create_transfers(records, np.zeros(len(records), np.uint32), valid, self.now)
        assert not codes.any()
        self.now += len(ids)

    def post(self, records: Any) -> Any:
        self.now += BATCH
        if self.attested:
            sequence = self.engine.attestation_sequence(BANK)
            return self.engine.create_transfers_attested(records, BANK, sequence, True, self.now, signer=0)[0]
        return self.engine.create_transfers(records, self.signers, self.valid, self.now)[0]

    def credits(self) -> int:
        return self.engine.totals()[1][3]


class Sqlite:
    """SQLite in memory: transfers by primary key, balances by two updates a batch; no authority, no result codes."""

    def __init__(self, accounts: Any) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.executescript(
            "create table account (id integer primary key, debits integer, credits integer) without rowid;"
            "create table transfer (id blob primary key, debit integer, credit integer, amount integer) without rowid;"
            "create temp table batch (id blob, debit integer, credit integer, amount integer);"
        )
        rows = ((identity, 0, FUNDS) for identity in accounts["id"]["lo"].tolist())
        self.database.executemany("insert into account values (?, ?, ?)", rows)

    def post(self, records: Any) -> Any:
        ids = np.ascontiguousarray(records["id"]).view("V16").tolist()
        columns = (records["debit_account_id"]["lo"], records["credit_account_id"]["lo"], records["amount"]["lo"])
        rows = zip(ids, *(column.tolist() for column in columns), strict=True)
        database = self.database
        database.execute("begin")
        database.execute("delete from batch")
        database.executemany("insert into batch values (?, ?, ?, ?)", rows)
        database.execute("insert into transfer select * from batch")
        for side, column in (("debit", "debits"), ("credit", "credits")):
            database.execute(
                f"update account set {column} = {column} + moved from "
                f"(select {side} as place, sum(amount) as moved from batch group by {side}) where id = place"
            )
        database.execute("commit")
        return np.zeros(len(records), np.uint32)

    def credits(self) -> int:
        (credits,) = self.database.execute("select sum(credits) from account").fetchone()
        return int(credits) - FUNDS  # the first account funds the others in ours


CONTENDERS: dict[str, Callable[[Any], Any]] = {
    "ours, attested": lambda accounts: Ours(accounts, attested=True),
    "ours, signed": lambda accounts: Ours(accounts, attested=False),
    "sqlite :memory:": Sqlite,
}


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("skew", ["uniform", "zipf"])
@pytest.mark.parametrize("accounts_count", [10_000, 1_000_000])
@pytest.mark.benchmark(timer=time.process_time)
def test_posting(benchmark: Any, accounts_count: int, skew: str, contender: str) -> None:
    accounts = account_records(accounts_count)
    book = CONTENDERS[contender](accounts)
    batches = transfer_batches(np.ascontiguousarray(accounts["id"], U128), skew)
    before = book.credits()
    moved = sum(int(records["amount"]["lo"].sum()) for records in batches)
    waiting = iter(batches)
    codes: list[Any] = []
    benchmark.group = f"posting in memory, {accounts_count:.0e} accounts, {skew}"
    benchmark.extra_info.update(contender=contender, items=BATCH, threads=1, kernel="scalar")
    benchmark.pedantic(lambda: codes.append(book.post(next(waiting))), rounds=ROUNDS, iterations=1)
    assert not any(code.any() for code in codes)
    assert book.credits() - before == moved
