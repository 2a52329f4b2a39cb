"""Durable blocks: the journal, given blocks one at a time or ahead, beside plain files and SQLite.

Every contender has each block on the disk before it counts. Timed in wall time, as a sync is waiting; what a sync of
one page takes on this disk at that time stands beside each contender, because it decides every figure here. Set
PYLEDGER_BENCH_FOLDER to try another disk.
"""

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import pytest

from pyledger import _core
from pyledger.ledger.journal import Journal
from pyledger.ledger.snapshots import find_snapshot, write_snapshot

GENESIS = bytes(32)
BLOCKS = {4_000: 400, 64_000: 400, 1_000_000: 100, 8_500_000: 20}
ROUNDS = 5


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=os.environ.get("PYLEDGER_BENCH_FOLDER")) as name:
        yield Path(name)


@pytest.fixture
def sync_us():
    """Median of fdatasync after one page was written over, microseconds."""
    with tempfile.TemporaryFile(dir=os.environ.get("PYLEDGER_BENCH_FOLDER")) as file:
        times = []
        os.pwrite(file.fileno(), bytes(4096), 0)
        os.fsync(file.fileno())
        for _ in range(200):
            os.pwrite(file.fileno(), os.urandom(4096), 0)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1e6, 1)


def append(folder, blocks):
    journal = Journal(folder, GENESIS)
    for height, block in enumerate(blocks, 1):
        journal.append(height, block)
    assert journal.durable_height == len(blocks)
    journal.close()


def submit(folder, blocks):
    journal = Journal(folder, GENESIS)
    for height, block in enumerate(blocks, 1):
        journal.submit(height, [block])
    journal.wait(len(blocks))
    assert journal.durable_height == len(blocks)
    journal.close()


def plain_file(folder, blocks):
    """A growing file without any check or chain."""
    fd = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for block in blocks:
        assert os.write(fd, block) == len(block)
        os.fdatasync(fd)
    os.close(fd)


def sqlite(folder, blocks):
    connection = sqlite3.connect(folder / "blocks.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE blocks (height INTEGER PRIMARY KEY, payload BLOB)")
    for height, block in enumerate(blocks, 1):
        connection.execute("INSERT INTO blocks VALUES (?, ?)", (height, block))
    assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (len(blocks),)
    connection.close()


CONTENDERS = {
    "write + fdatasync, growing file": plain_file,
    "SQLite, WAL, FULL": sqlite,
    "pyledger append": append,
    "pyledger submit": submit,
}


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("size", BLOCKS)
def bench_durable_blocks(benchmark, folder, sync_us, size, contender):
    benchmark.group = f"durable blocks of {size:,} bytes"
    blocks = [os.urandom(size)] * BLOCKS[size]
    benchmark.extra_info.update(
        contender=f"{contender} (fdatasync {sync_us:.0f} µs)",
        items=len(blocks),
        threads=1,
        kernel=_core.sha256_row(),
        baseline=contender.startswith("write"),
    )

    def empty():
        for path in folder.iterdir():
            path.unlink()

    benchmark.pedantic(CONTENDERS[contender], (folder, blocks), setup=empty, rounds=ROUNDS, warmup_rounds=1)
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["megabytes_per_second"] = round(size * len(blocks) / seconds / 1e6)
    benchmark.extra_info["blocks_per_second"] = round(len(blocks) / seconds)


@pytest.mark.benchmark(group="reopening 800 MB, every byte checked")
@pytest.mark.parametrize("threads", [1, 0])
def bench_reopening(benchmark, folder, threads):
    blocks = [os.urandom(8_000_000)] * 100
    submit(folder, blocks)
    benchmark.extra_info.update(
        contender=f"pyledger, {threads or 'all'} threads",
        items=len(blocks),
        threads=threads,
        kernel=_core.sha256_row(),
        baseline=threads == 1,
    )

    def reopen():
        journal = Journal(folder, GENESIS, read_only=True, threads=threads)
        assert journal.height == len(blocks)
        journal.close()

    benchmark.pedantic(reopen, rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group="a snapshot of 600 MB")
@pytest.mark.parametrize("contender", ["copy of a file + fsync", "pyledger write", "pyledger find, every byte checked"])
def bench_snapshot(benchmark, folder, sync_us, contender):
    rows = os.urandom(60_000_000) * 10
    (folder / "source").write_bytes(rows)

    def copy():
        with (folder / "source").open("rb") as source, (folder / "copy").open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 23)
            os.fsync(target.fileno())

    def write():
        write_snapshot(folder, 1, {"rows": rows})

    def find():
        assert find_snapshot(folder)[0].sections["rows"].nbytes == len(rows)

    write()
    benchmark.extra_info.update(
        contender=contender if "find" in contender else f"{contender} (fdatasync {sync_us:.0f} µs)",
        items=len(rows),
        threads=0,
        kernel=_core.sha256_row(),
        baseline=contender.startswith("copy"),
    )
    run = {"copy": copy, "pyledger write": write}.get(contender.split(" of")[0], find)
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
