"""The contenders of bench_ledger.py: each opens accounts, takes batches of transfers in order, and sums up its book.

`prepare` is what is done before the clock starts, `post_all` gives the number of transfers that took effect. All of
them are durable when a batch is answered, keep ids and both account columns indexed, refuse a transfer whose accounts
are not there, and keep limited accounts from being overdrawn. Beyond that only ours proves and signs.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from servers import PostgresServer, free_port

import pyledger as pl
from pyledger.ledger.blocks import transfer_leaf_hashes, transfer_messages
from pyledger.ledger.store import SEGMENT_DEFAULT
from pyledger.node.folder import SEGMENTS_FOLDER

LEDGER = 978
ACCOUNT_CHUNK = 65_536
ROWS = "id uuid, debit uuid, credit uuid, amount bigint, ledger int, code int, moment bigint"


def sync_microseconds(folder: Path) -> float:
    """Median time of a write of 4 KiB and its fdatasync."""
    path, times = folder / "probe", []
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    for place in range(200):
        started = time.perf_counter()
        os.pwrite(fd, bytes(4096), 4096 * place)
        os.fdatasync(fd)
        times.append(time.perf_counter() - started)
    os.close(fd)
    path.unlink()
    return float(np.median(times)) * 1e6


class Ours:
    """A ledger of one institution; `submit` as fast as it takes them."""

    def __init__(self, folder: Path, accounts) -> None:
        self.accounts = accounts
        self.segments = folder / "ledger" / SEGMENTS_FOLDER
        self.keys = pl.InstitutionKeys.generate("BANKAAXX")
        currencies = (pl.Currency(LEDGER, "EUR", 2),)
        genesis = pl.Genesis("bench", 1, currencies, (self.keys.institution(),))
        self.ledger = pl.Ledger.create(folder / "ledger", genesis, keys=[self.keys])
        self.owners = self.make_owners(len(accounts))
        for start in range(0, len(accounts), ACCOUNT_CHUNK):
            part = slice(start, start + ACCOUNT_CHUNK)
            owners = None if self.owners is None else self.owners[part]
            assert not self.ledger.create_accounts(accounts[part], owners=owners).any()
        self.opened_bytes = self.ledger.size_bytes

    def make_owners(self, _count):
        """Key index of each account's owner; the institution itself by default."""

    def prepare(self, _batches) -> None:
        """An attestation is signed by the ledger, as it takes the batch."""

    def submit(self, _place, records):
        """A future."""
        return self.ledger.submit(records)

    def post_all(self, batches) -> int:
        answers = [self.submit(place, records) for place, records in enumerate(batches)]
        return sum(int((answer.result().results == 0).sum()) for answer in answers)

    def credits(self) -> int:
        import pyarrow.compute as pc

        return int(pc.sum(self.ledger.accounts()["credits_posted"]).as_py())

    def bytes_per_transfer(self) -> float:
        """Blocks since the accounts were there, and the segments: the index of ids and that of both histories.

        All transfers are sealed first. The two snapshots, whose size is that of the accounts, are not in.
        """
        self.ledger._keeper.close()  # what it seals is done; the rest is sealed here
        engine = self.ledger._book.engine
        while waiting := engine.transfer_count - engine.sealed_count:
            assert engine.seal(0, min(waiting, SEGMENT_DEFAULT))
            while engine.tidy_store():
                pass
        segments = sum((self.segments / name).stat().st_size for name in engine.segment_files())
        return (self.ledger.size_bytes - self.opened_bytes + segments) / engine.transfer_count

    def close(self) -> None:
        self.ledger.close()


class OursSigned(Ours):
    """Every transfer signed by the owner of the debited account; 32 keys own all accounts."""

    def make_owners(self, count):
        self.customers = [pl.keys.SigningKey.from_seed(bytes([place]) * 32) for place in range(32)]
        rows = np.frombuffer(b"".join(key.public_key for key in self.customers), np.uint8).reshape(-1, 32)
        proofs = pl.signing.prove_possession(self.customers, self.ledger.genesis.chain_id, 0)
        self.first = int(self.ledger.register_keys(rows, proofs)[0])
        return np.arange(count, dtype=np.uint32) % 32 + np.uint32(self.first)

    def prepare(self, batches) -> None:
        order = np.argsort(self.accounts["id"]["lo"])
        ids = self.accounts["id"]["lo"][order]
        self.signed = []
        for records in batches:
            signers = self.owners[order[np.searchsorted(ids, records["debit_account_id"]["lo"])]]
            messages = transfer_messages(records, transfer_leaf_hashes(self.ledger.genesis.chain_id, records))
            pairs = zip(signers.tolist(), messages, strict=True)
            signatures = b"".join(self.customers[index - self.first].sign(row.tobytes()) for index, row in pairs)
            self.signed.append((signers, np.frombuffer(signatures, np.uint8).reshape(-1, 64)))

    def submit(self, place, records):
        signers, signatures = self.signed[place]
        return self.ledger.submit(records, signers=signers, signatures=signatures)


class Postgres:
    """PostgreSQL, its defaults (fsync on) and more memory: COPY, one insert and two updates a batch."""

    def __init__(self, _folder: Path, accounts) -> None:
        psycopg = pytest.importorskip("psycopg")
        if not PostgresServer.available:
            pytest.skip(PostgresServer.missing)
        self.server = PostgresServer()
        self.server.start()
        self.connection = psycopg.connect(self.server.conninfo, autocommit=True)
        for setting in ("shared_buffers = '1GB'", "max_wal_size = '8GB'"):
            self.connection.execute(f"alter system set {setting}")
        self.connection.close()
        self.server.kill()
        self.server.start()
        self.connection = psycopg.connect(self.server.conninfo, autocommit=True)
        self.create(accounts)

    def create(self, accounts) -> None:
        execute = self.connection.execute
        execute(
            "create table account (id uuid primary key, ledger int not null, code int not null, limited bool not null,"
            " debits bigint not null, credits bigint not null, check (not limited or debits <= credits))"
        )
        rows = zip(uuids(accounts["id"]), (accounts["flags"] & 2 != 0).tolist(), strict=True)
        self.copy("account (id, ledger, code, limited, debits, credits)", ((i, LEDGER, 1, f, 0, 0) for i, f in rows))
        execute(
            f"create table transfer ({ROWS}, primary key (id), check (amount > 0), check (debit <> credit),"
            " foreign key (debit) references account, foreign key (credit) references account)"
        )
        execute("create index on transfer (debit, moment)")
        execute("create index on transfer (credit, moment)")
        execute(f"create temp table batch ({ROWS})")

    def copy(self, target, rows) -> None:
        with self.connection.cursor().copy(f"copy {target} from stdin") as copy:
            for row in rows:
                copy.write_row(row)

    def prepare(self, _batches) -> None:
        for command in ("vacuum analyze account", "vacuum analyze transfer", "checkpoint"):
            self.connection.execute(command)

    def post(self, records) -> int:
        with self.connection.transaction():
            self.connection.execute("truncate batch")
            self.copy("batch", transfer_rows(records, uuids))
            taken = self.connection.execute("insert into transfer select * from batch on conflict do nothing").rowcount
            for side, column in (("credit", "credits"), ("debit", "debits")):
                self.connection.execute(
                    f"update account set {column} = {column} + moved from (select {side} as place, sum(amount) as moved"
                    f" from batch group by {side}) as sums where id = place"
                )
        return taken

    def post_all(self, batches) -> int:
        return sum(self.post(records) for records in batches)

    def credits(self) -> int:
        (total,) = self.connection.execute("select sum(credits) from account").fetchone()
        return int(total)

    def close(self) -> None:
        self.connection.close()
        self.server.close()


class Sqlite:
    """SQLite, WAL, synchronous FULL: one insert and two updates a batch."""

    def __init__(self, folder: Path, accounts) -> None:
        self.database = sqlite3.connect(folder / "ledger.db", isolation_level=None)
        for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on", "cache_size = -1000000"):
            self.database.execute(f"pragma {pragma}")
        self.database.executescript(
            "create table account (id blob primary key, ledger int, code int, limited int, debits int, credits int,"
            " check (not limited or debits <= credits)) without rowid;"
            "create table transfer (id blob primary key, debit blob references account, credit blob references account,"
            " amount int check (amount > 0), ledger int, code int, moment int, check (debit <> credit)) without rowid;"
            "create index by_debit on transfer (debit, moment); create index by_credit on transfer (credit, moment);"
            "create temp table batch (id, debit, credit, amount, ledger, code, moment)"
        )
        rows = zip(blobs(accounts["id"]), (accounts["flags"] & 2 != 0).tolist(), strict=True)
        self.database.execute("begin")
        self.database.executemany("insert into account values (?, 978, 1, ?, 0, 0)", rows)
        self.database.execute("commit")

    def prepare(self, _batches) -> None:
        self.database.execute("pragma wal_checkpoint(truncate)")

    def post(self, records) -> int:
        execute = self.database.execute
        execute("begin immediate")
        execute("delete from batch")
        rows = transfer_rows(records, blobs)
        self.database.executemany("insert into batch values (?, ?, ?, ?, ?, ?, ?)", rows)
        taken = execute("insert or ignore into transfer select * from batch").rowcount
        for side, column in (("credit", "credits"), ("debit", "debits")):
            execute(
                f"update account set {column} = {column} + moved from (select {side} as place, sum(amount) as moved"
                f" from batch group by {side}) where id = place"
            )
        execute("commit")
        return taken

    def post_all(self, batches) -> int:
        return sum(self.post(records) for records in batches)

    def credits(self) -> int:
        (total,) = self.database.execute("select sum(credits) from account").fetchone()
        return int(total)

    def close(self) -> None:
        self.database.close()


class TigerBeetle:
    """One replica of the binary that PYLEDGER_TIGERBEETLE names, through its Python client, requests in flight.

    Clients of 0.16 and 0.17 are understood (`effects_count`). A request takes 8,189 events, by the README of those
    from 0.16.70 on, so the stream of transfers is cut anew at that.
    """

    IN_FLIGHT = 4
    EVENTS_MAX = 8189

    def __init__(self, folder: Path, accounts) -> None:
        binary = os.environ.get("PYLEDGER_TIGERBEETLE")
        if not binary:
            pytest.skip("PYLEDGER_TIGERBEETLE does not name a binary")
        self.tb = pytest.importorskip("tigerbeetle")
        self.process = self.client = None
        try:
            self.start([shutil.which(binary) or binary], folder / "0_0.tigerbeetle")
            self.create(accounts)
        except BaseException:
            self.close()
            raise

    def start(self, command, file: Path) -> None:
        port = free_port()
        options = ["--cluster=0", "--replica=0", "--replica-count=1"]
        subprocess.run([*command, "format", *options, str(file)], check=True)
        self.process = subprocess.Popen([*command, "start", f"--addresses=127.0.0.1:{port}", str(file)])
        self.client = self.tb.ClientSync(cluster_id=0, replica_addresses=str(port))

    def create(self, accounts) -> None:
        self.accounts = pl.u128_ints(accounts["id"])
        records = [
            self.tb.Account(id=number, ledger=LEDGER, code=1, flags=self.tb.AccountFlags(flag))
            for number, flag in zip(self.accounts, accounts["flags"].tolist(), strict=True)
        ]
        for request in self.requests(records):
            assert effects_count(self.tb, len(request), self.client.create_accounts(request)) == len(request)

    def requests(self, events):
        """The events, as many at a time as a request takes."""
        return [events[start : start + self.EVENTS_MAX] for start in range(0, len(events), self.EVENTS_MAX)]

    def prepare(self, batches) -> None:
        self.transfers = self.requests([record for records in batches for record in self.records(records)])

    def records(self, records):
        columns = [pl.u128_ints(records[name]) for name in ("id", "debit_account_id", "credit_account_id", "amount")]
        return [
            self.tb.Transfer(
                id=number, debit_account_id=debit, credit_account_id=credit, amount=amount, ledger=LEDGER, code=1
            )
            for number, debit, credit, amount in zip(*columns, strict=True)
        ]

    def post_all(self, _batches) -> int:
        with ThreadPoolExecutor(self.IN_FLIGHT) as pool:
            answers = list(pool.map(self.client.create_transfers, self.transfers))
        pairs = zip(self.transfers, answers, strict=True)
        return sum(effects_count(self.tb, len(request), results) for request, results in pairs)

    def credits(self) -> int:
        parts = map(self.client.lookup_accounts, self.requests(self.accounts))
        return sum(account.credits_posted for part in parts for account in part)

    def close(self) -> None:
        try:
            if self.client is not None:
                self.client.close()
        finally:
            if self.process is not None:
                self.process.terminate()
                self.process.wait()


def effects_count(tb, sent, results) -> int:
    """How many of the events of a request took effect.

    TigerBeetle's client answers each event with a status since 0.17, before only those that took no effect. `tb` is the
    client's module.
    """
    if not hasattr(tb, "CreateTransferStatus"):
        return sent - len(results)
    assert len(results) == sent
    created = (tb.CreateAccountStatus.CREATED, tb.CreateTransferStatus.CREATED)
    return sum(result.status in created for result in results)


def blobs(ids):
    """Ids as 16 bytes, big-endian."""
    return [number.to_bytes(16, "big") for number in pl.u128_ints(ids)]


def uuids(ids):
    """Ids as PostgreSQL's uuid, in hexadecimal."""
    return [number.hex() for number in blobs(ids)]


def transfer_rows(records, encode):
    """Rows of a batch, with the time of the client."""
    columns = [encode(np.ascontiguousarray(records[name])) for name in ("id", "debit_account_id", "credit_account_id")]
    now = time.time_ns()
    for place, row in enumerate(zip(*columns, records["amount"]["lo"].tolist(), strict=True)):
        yield (*row, LEDGER, 1, now + place)
