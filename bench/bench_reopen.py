"""Opening a ledger again after its process was killed, and what a look-up by id and a transfer on disk cost then.

    PYLEDGER_BENCH_BOOKS=1e7,2e7 python -m pytest bench/bench_reopen.py --benchmark-json=FILE

For each size (default 1e7 and 2e7, which need 4 GB of disk) a process makes a ledger of 1e6 accounts, posts attested
batches of 8,190 until so many transfers are durable, goes on posting and is killed with SIGKILL. Another process opens
it: the newest snapshot, taken at the default interval, and the blocks behind it. extra_info has the seconds of
`Ledger.open`, those of executing blocks again and how many transfers that were, look-ups of one id through the Python
API (p50 and p99 in µs; recent, sealed and absent ids), bytes on disk a transfer and the memory of the process. Files
are in the system's cache unless PYLEDGER_BENCH_COLD is set, which drops it (as root).
PYLEDGER_BENCH_FOLDER says where the ledgers are made and stay; one that is there already is used again.

What is executed again depends on when the process died, and `Keeping.snapshot_every` bounds it; the rest grows with
the book. So from the second size on, `growth` says what the rest took at both sizes, what it would take at 1e8
transfers in a straight line, and how much more it is for as many transfers behind the snapshot as may be.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

BOOKS = sorted({int(float(text)) for text in os.environ.get("PYLEDGER_BENCH_BOOKS", "1e7,2e7").split(",")})
ACCOUNTS = 1_000_000
BATCH = 8190
LOOKUPS = 20_000
SEED = 5
FAR = 100_000_000
measured: list[dict[str, Any]] = []


def batches(accounts: Any, count: int) -> Any:
    """Payments between random accounts; ids are random, the same at every call."""
    import pyledger as pl

    draw = np.random.default_rng(SEED)
    for _ in range(count):
        records = np.zeros(BATCH, pl.TRANSFER)
        records["id"]["lo"], records["id"]["hi"] = draw.integers(1, 1 << 63, (2, BATCH))
        places = draw.integers(0, len(accounts), (2, BATCH))
        places[1] = np.where(places[0] == places[1], (places[1] + 1) % len(accounts), places[1])
        records["debit_account_id"], records["credit_account_id"] = accounts["id"][places]
        records["amount"]["lo"] = draw.integers(1, 1000, BATCH)
        records["ledger"] = records["code"] = 1
        yield records


def make_accounts() -> Any:
    import pyledger as pl

    records = np.zeros(ACCOUNTS, pl.ACCOUNT)
    records["id"]["lo"] = np.random.default_rng(SEED).permutation(ACCOUNTS).astype(np.uint64) * np.uint64(7919) + 1
    records["ledger"] = records["code"] = 1
    return records


def member() -> Any:
    import pyledger as pl

    return pl.InstitutionKeys(
        "BANKAAXX", pl.keys.SigningKey.from_seed(b"attest".ljust(32)), pl.bls.SecretKey.from_seed(b"vote".ljust(32))
    )


def build(folder: Path, transfers: int) -> None:
    """Make a ledger of so many durable transfers, then die while more are under way."""
    import pyledger as pl

    keys, accounts = member(), make_accounts()
    genesis = pl.Genesis(
        name="bench", time_ns=1, institutions=(keys.institution(),), currencies=(pl.Currency(1, "EUR", 2),)
    )
    ledger = pl.Ledger.create(folder, genesis, keys=[keys])
    for first in range(0, ACCOUNTS, 1 << 16):
        assert not ledger.create_accounts(accounts[first : first + (1 << 16)]).any()
    wanted = -(-transfers // BATCH)
    answers = []
    for records in batches(accounts, wanted + 4):
        answers.append(ledger.submit(records))
        if len(answers) > 64:
            assert not answers.pop(0).result().results.any()
    for answer in answers[:-4]:
        assert not answer.result().results.any()
    os.kill(os.getpid(), signal.SIGKILL)


def percentiles(took: list[int]) -> list[float]:
    return [round(float(value) / 1e3, 1) for value in np.percentile(took, [50, 99])]


def lookups(ledger: Any, ids: Any, found: bool) -> list[float]:
    """Median and 99th percentile of one look-up, in µs."""
    import pyledger as pl

    numbers, took = pl.u128_ints(ids), []
    for number in numbers[:2000] + numbers:
        started = time.perf_counter_ns()
        place = ledger.transfer(number) if found else ledger._queries.place(number)
        took.append(time.perf_counter_ns() - started)
        assert (place is not None) == found
    return percentiles(took[2000:])


def timed_execution() -> list[float]:
    """Seconds that opening a ledger will spend in the blocks behind the snapshot."""
    from pyledger.node import embedded

    execute, took = embedded.execute_tail, [0.0]

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        headers = execute(*arguments)
        took[0] = time.perf_counter() - started
        return headers

    embedded.execute_tail = timed
    return took


def growth(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What opening takes without the blocks behind the snapshot, at two sizes and in a straight line at `FAR`."""
    from pyledger.node.keeping import Keeping

    if not before["snapshots_mib"]:
        return "unknown: the smaller book has no snapshot yet"
    sizes = [report["transfers"] / 1e6 for report in (before, now)]
    rests = [report["seconds"] - report["seconds_executing_again"] for report in (before, now)]
    each = (rests[1] - rests[0]) / (sizes[1] - sizes[0])
    far = rests[1] + each * (FAR / 1e6 - sizes[1])
    again, behind = (before[name] + now[name] for name in ("seconds_executing_again", "transfers_behind_snapshot"))
    behind_max = Keeping().snapshot_every
    return (
        f"without blocks behind the snapshot {rests[0]:.2f} s at {sizes[0]:.1f}e6 transfers, {rests[1]:.2f} s at"
        f" {sizes[1]:.1f}e6: {each:.3f} s each 1e6; extrapolated to {FAR:.0e}: {far:.1f} s, and up to"
        f" {again / max(behind, 1) * behind_max:.1f} s more for {behind_max:,} transfers behind it"
    )


def opened(folder: Path, transfers: int) -> dict[str, Any]:
    """What a process that opens the ledger measures."""
    import pyledger as pl

    again = timed_execution()
    started = time.perf_counter()
    ledger = pl.Ledger.open(folder, keys=[member()])
    seconds = time.perf_counter() - started
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    snapshot = max((int(file.stem) for file in (folder / "snapshots").glob("*.snapshot")), default=0)
    count = sum(ledger.header(height).transfers_count for height in range(1, ledger.height + 1))
    behind = sum(ledger.header(height).transfers_count for height in range(snapshot + 1, ledger.height + 1))
    assert count >= transfers, "nothing acknowledged is lost"
    segments = sum(file.stat().st_size for file in (folder / "segments").iterdir())
    first = next(batches(make_accounts(), 1))["id"]
    last = ledger.block(max(h for h in range(1, ledger.height + 1) if ledger.header(h).transfers_count))
    draw = np.random.default_rng(1)
    absent = np.zeros(LOOKUPS, pl.U128)
    absent["lo"], absent["hi"] = draw.integers(1, 1 << 63, (2, LOOKUPS))
    report = {
        "seconds": seconds,
        "seconds_executing_again": again[0],
        "transfers": count,
        "transfers_behind_snapshot": behind,
        "memory_mib": memory >> 20,
        "journal_bytes_per_transfer": round(ledger.size_bytes / count, 1),
        "segment_bytes_per_transfer": round(segments / count, 1),
        "snapshots_mib": sum(file.stat().st_size for file in (folder / "snapshots").iterdir()) >> 20,
        "lookup_us_p50_p99": {
            "recent": lookups(ledger, last.body.transfers["id"][:LOOKUPS], True),
            "sealed": lookups(ledger, first, True),
            "absent": lookups(ledger, absent, False),
        },
    }
    ledger.close()
    return report


def in_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=False, cwd="/"
    )


def killed_ledger(tmp_path: Path, transfers: int) -> Path:
    """Folder of a ledger whose process was killed, to be opened once; a copy, if those that are made stay."""
    home = os.environ.get("PYLEDGER_BENCH_FOLDER")
    made = Path(home or tmp_path) / f"ledger-{transfers}"
    if not made.exists():
        assert in_process("build", str(made), str(transfers)).returncode == -signal.SIGKILL
    if home is None:
        return made
    folder = made.with_name("opened")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    return folder


@pytest.mark.parametrize("transfers", BOOKS)
def bench_opening_after_a_kill(benchmark: Any, tmp_path: Path, transfers: int) -> None:
    folder = killed_ledger(tmp_path, transfers)
    os.sync()
    if os.environ.get("PYLEDGER_BENCH_COLD"):
        Path("/proc/sys/vm/drop_caches").write_text("3")
    report: dict[str, Any] = {}

    def reopen() -> None:
        process = in_process("open", str(folder), str(transfers))
        assert process.returncode == 0
        report.update(json.loads(process.stdout))

    benchmark.group = f"opening after a kill, {ACCOUNTS:.0e} accounts"
    benchmark.pedantic(reopen, rounds=1)
    if measured:
        benchmark.extra_info["growth"] = growth(measured[-1], report)
    measured.append(dict(report))
    seconds = report.pop("seconds")
    name = f"ours, {transfers:.0e} transfers: {seconds:.2f} s"
    benchmark.extra_info.update(contender=name, items=transfers, threads=os.cpu_count(), kernel="")
    benchmark.extra_info.update(open_seconds=round(seconds, 3), **report)
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(opened(Path(sys.argv[2]), int(sys.argv[3]))))
