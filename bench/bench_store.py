"""The engine with old transfers on disk: posting beside sealing, look-ups, opening again, bytes a transfer.

Contenders of posting: everything in memory; a window of 131,072 transfers with sealing and merging done in between, and
counted. Opening again goes through a snapshot file: 1, 2 and 4 times as many transfers show what grows. Sizes are in
extra_info. Every result code is checked; what was opened must give the same look-ups.

Sizes for a small machine: PYLEDGER_BENCH_TRANSFERS (default 5e6; opening uses a quarter, a half and all of them) and
PYLEDGER_BENCH_ACCOUNTS (default 1e6; for the memory an account takes).
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_engine import BANK, BATCH, account_records

from pyledger import _core
from pyledger.crypto.state_tree import StateTree
from pyledger.ledger.snapshots import find_snapshot, write_snapshot
from pyledger.ledger.store import SNAPSHOT_DTYPES, SealedTransfers, restore_engine, take_snapshot
from pyledger.types import TRANSFER, KeyRole

TRANSFERS = int(float(os.environ.get("PYLEDGER_BENCH_TRANSFERS", "5e6")))
ACCOUNTS = int(float(os.environ.get("PYLEDGER_BENCH_ACCOUNTS", "1e6")))
LOOKUPS = 20_000
ENTRY_BYTES = 136


class Engine:
    """A native engine with accounts, and its blocks in one file."""

    def __init__(self, folder: Path, accounts_count: int, sealed: bool) -> None:
        self.folder = folder
        self.engine = _core.Engine()
        self.sealed = SealedTransfers(self.engine, folder) if sealed else None
        self.engine.register_keys(
            np.array([BANK], np.uint32), 0, np.array([KeyRole.HOLDER | KeyRole.ATTESTER], np.uint32)
        )
        self.accounts = account_records(accounts_count)
        self.accounts["flags"] = 0
        owners, banks = np.zeros(accounts_count, np.uint32), np.full(accounts_count, BANK, np.uint32)
        self.engine.prepare(accounts_count, 1 << 20)
        assert not self.engine.create_accounts(self.accounts, owners, banks, 1, BANK).any()
        self.now = accounts_count + 1
        self.random = np.random.default_rng(9)
        self.posted = 0

    def batch(self) -> Any:
        records, draw = np.zeros(BATCH, TRANSFER), self.random
        records["id"]["lo"], records["id"]["hi"] = draw.integers(1, 1 << 63, (2, BATCH))
        places = draw.integers(0, len(self.accounts), (2, BATCH))
        places[1] = np.where(places[0] == places[1], (places[1] + 1) % len(self.accounts), places[1])
        records["debit_account_id"], records["credit_account_id"] = self.accounts["id"][places]
        records["amount"]["lo"] = draw.integers(1, 1000, BATCH)
        records["ledger"] = records["code"] = 1
        return records

    def post(self, records: Any) -> Any:
        self.now += BATCH
        sequence = self.engine.attestation_sequence(BANK)
        return self.engine.create_transfers_attested(records, BANK, sequence, True, self.now, signer=0)[0]

    def keep(self, records: Any) -> None:
        """Write the batch as a block does, and tell the store."""
        if self.sealed is None:
            return
        records["timestamp"] = np.arange(self.now, self.now + BATCH)
        with (self.folder / "blocks").open("ab") as blocks:
            blocks.write(records.tobytes())
        self.sealed.add_block(self.folder / "blocks", self.posted * TRANSFER.itemsize, 0, BATCH)
        self.posted += BATCH

    def fill(self, count: int) -> None:
        for _ in range(count // BATCH):
            records = self.batch()
            assert not self.post(records).any()
            self.keep(records)
            assert self.sealed is not None
            self.sealed.seal()

    @property
    def segment_bytes(self) -> int:
        return sum((self.folder / name).stat().st_size for name in self.engine.segment_files())


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("sealed", [False, True], ids=["in memory", "sealed"])
@pytest.mark.parametrize("accounts_count", [1_000_000, 10_000_000])
@pytest.mark.benchmark(timer=time.process_time)
def test_posting(benchmark: Any, tmp_path: Path, accounts_count: int, sealed: bool) -> None:
    engine = Engine(tmp_path, accounts_count, sealed)
    rounds = max(2, TRANSFERS // BATCH // 5)
    waiting = [engine.batch() for _ in range(rounds)]
    codes = []

    def setup() -> tuple[tuple[Any], dict[str, Any]]:
        return (waiting[len(codes)],), {}

    def post(records: Any) -> None:
        codes.append(engine.post(records))
        if engine.sealed is not None:
            engine.keep(records)
            engine.sealed.seal()

    benchmark.group = f"posting, {accounts_count:.0e} accounts, blocks written and sealing included"
    contender = "ours, window and segments" if sealed else "ours, all in memory, no blocks"
    benchmark.extra_info.update(contender=contender, items=BATCH, threads=1, kernel="scalar")
    benchmark.pedantic(post, setup=setup, rounds=rounds, iterations=1)
    assert not any(code.any() for code in codes)


@pytest.mark.parametrize("part", [4, 2, 1], ids=["a quarter", "a half", "all"])
def test_opening_again(benchmark: Any, tmp_path: Path, part: int) -> None:
    """Snapshot file read, accounts indexed, segments checked, filter filled, state tree built and hashed."""
    count = TRANSFERS // part
    engine = Engine(tmp_path, 1_000_000, sealed=True)
    tree = StateTree(ENTRY_BYTES, key_in_payload=True)
    tree.insert(np.ascontiguousarray(engine.accounts["id"]), engine.engine.payloads_at(slots(engine.engine)))
    engine.fill(count)
    started = time.perf_counter()
    state = take_snapshot(engine.engine) | {"order": tree.order()}
    taken_s = time.perf_counter() - started
    write_snapshot(
        tmp_path, 1, {name: np.ascontiguousarray(array).reshape(-1).view("u1") for name, array in state.items()}
    )
    root = tree_root(engine.engine)
    sizes = {
        "segment_bytes_per_transfer": round(engine.segment_bytes / engine.posted, 2),
        "snapshot_bytes_per_account": round(sum(a.nbytes for a in state.values()) / 1e6, 1),
        "snapshot_taken_ms": round(taken_s * 1e3),
        "transfers": engine.posted,
    }
    del state, engine

    def reopen() -> tuple[Any, bytes]:
        snapshot, _ = find_snapshot(tmp_path)
        assert snapshot is not None
        arrays: dict[str, Any] = {}
        for name, (dtype, width) in SNAPSHOT_DTYPES.items():
            section = snapshot.sections[name]
            arrays[name] = section.reshape(-1, width) if width else section.view(dtype)
        restored = restore_engine(arrays, tmp_path)
        again = StateTree(ENTRY_BYTES, key_in_payload=True)
        ids = np.ascontiguousarray(arrays["accounts"]["id"])
        again.load(ids, restored.payloads_at(slots(restored)), snapshot.sections["order"].view(np.uint32))
        return restored, again.root()

    benchmark.group = "opening again, 1e6 accounts"
    benchmark.extra_info.update(
        contender=f"ours, {count:.0e} transfers", items=count, threads=0, kernel="scalar", **sizes
    )
    restored, again_root = benchmark.pedantic(reopen, rounds=3, iterations=1)
    assert again_root == root
    assert restored.transfer_count == sizes["transfers"]


def slots(engine: Any) -> Any:
    return np.arange(len(engine.accounts()), dtype=np.uint32)


def tree_root(engine: Any) -> bytes:
    tree = StateTree(ENTRY_BYTES, key_in_payload=True)
    rows = engine.payloads_at(slots(engine))
    tree.insert(np.ascontiguousarray(engine.accounts()["id"]), rows)
    return tree.root()


@pytest.mark.parametrize("place", ["recent", "sealed", "absent"])
def test_lookup_by_id(benchmark: Any, tmp_path: Path, place: str) -> None:
    """One id a call, through Python."""
    engine = Engine(tmp_path, 100_000, sealed=True)
    first = engine.batch()
    assert not engine.post(first).any()
    engine.keep(first)
    engine.fill(TRANSFERS // 2)
    last = engine.batch()
    assert not engine.post(last).any()
    wanted = {"recent": last, "sealed": first, "absent": engine.batch()}[place]["id"].copy()
    lookup, took = engine.engine.lookup_transfers, []
    for number in range(LOOKUPS):
        one = wanted[number % BATCH : number % BATCH + 1]
        started = time.perf_counter_ns()
        _, found = lookup(one)
        took.append(time.perf_counter_ns() - started)
        assert bool(found[0]) == (place != "absent")
    benchmark.group = "look-up by id"
    benchmark.extra_info.update(contender=f"ours, {place}", items=1, threads=1, kernel="scalar")
    benchmark.extra_info["p99_us"] = round(float(np.percentile(took, 99)) / 1e3, 2)
    benchmark.pedantic(lookup, args=(wanted[:1],), rounds=1000, iterations=1)


def memory_per_account(count: int) -> dict[str, int]:
    """Engine and state tree, by what the process holds before and after; what the allocator keeps free is no part."""
    accounts = account_records(count)
    owners, banks = np.zeros(count, np.uint32), np.full(count, BANK, np.uint32)
    before = resident_bytes()
    engine, tree = _core.Engine(), StateTree(ENTRY_BYTES, key_in_payload=True)
    engine.register_keys(np.array([BANK], np.uint32), 0)
    for first in range(0, count, 1 << 16):
        piece = slice(first, min(first + (1 << 16), count))
        assert not engine.create_accounts(accounts[piece], owners[piece], banks[piece], first + 1, BANK).any()
        rows = engine.payloads_at(np.arange(piece.start, piece.stop, dtype=np.uint32))
        tree.insert(np.ascontiguousarray(accounts["id"][piece]), rows)
        tree.root()
    del rows
    ctypes.CDLL(None).malloc_trim(0)
    held = resident_bytes() - before
    assert len(engine.accounts()) == tree.size - 1 == count
    return {"bytes_per_account": round(held / count), "tree_bytes_per_account": tree.memory_bytes // count}


def test_memory_per_account(benchmark: Any) -> None:
    def measure() -> dict[str, int]:
        process = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, check=True, cwd="/")
        found: dict[str, int] = json.loads(process.stdout)
        return found

    benchmark.group = "memory per account"
    found = benchmark.pedantic(measure, rounds=1, iterations=1)
    benchmark.extra_info.update(contender="ours", items=ACCOUNTS, threads=0, kernel="scalar", **found)


if __name__ == "__main__":
    print(json.dumps(memory_per_account(ACCOUNTS)))
