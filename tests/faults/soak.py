"""Posts through `pyledger.Ledger` at a set rate, killed again and again; reopened each time, audited at last.

    python tests/faults/soak.py [--minutes 60] [--every 30] [--rate 420000] [--accounts 1000000] [--kills 8]

A child opens the ledger, posts batches of attested transfers at the rate and tells each height that is durable; every
`--every` seconds it gets SIGKILL. Then the ledger is opened read-only: each told block must be there with its number of
transfers. After `--kills` of them `audit()` replays the whole ledger and
must find nothing, and a new ledger is begun, so that the disk need hold one only (183 bytes
a transfer). One line a round; ends with 1 at the first round that finds anything.
"""

import argparse
import collections
import os
import shutil
import signal
import struct
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np

import pyledger as pl

BIC = "BANKAAXX"
EUR = 978
IN_FLIGHT = 8  # batches that are not durable yet
TELL = struct.Struct("<QQ")  # height, transfers that took effect


def keys() -> list[pl.InstitutionKeys]:
    """The one bank's keys, the same in every process."""
    return [pl.InstitutionKeys(BIC, pl.keys.SigningKey.from_seed(bytes(32)), pl.bls.SecretKey.from_seed(bytes(32)))]


def create(folder: Path, options: argparse.Namespace) -> None:
    """Make the ledger and its accounts."""
    members = tuple(key.institution() for key in keys())
    genesis = pl.Genesis("soak", 1, (pl.Currency(EUR, "EUR", 2),), members)
    with pl.Ledger.create(folder, genesis, keys=keys()) as ledger:
        accounts = np.zeros(options.accounts, pl.ACCOUNT)
        accounts["id"]["lo"] = np.arange(1, options.accounts + 1)
        accounts["ledger"], accounts["code"] = EUR, 1
        for first in range(0, options.accounts, 1 << 14):
            assert not ledger.create_accounts(accounts[first : first + (1 << 14)]).any()


def transfers(first_id: int, options: argparse.Namespace, draw: np.random.Generator) -> np.ndarray:
    """Transfers between different accounts, ids rising from `first_id`."""
    count, accounts = options.batch, options.accounts
    batch = np.zeros(count, pl.TRANSFER)
    debit = draw.integers(0, accounts, count)
    batch["id"]["lo"] = np.arange(first_id, first_id + count)
    batch["debit_account_id"]["lo"] = debit + 1
    batch["credit_account_id"]["lo"] = (debit + draw.integers(1, accounts, count)) % accounts + 1
    batch["amount"]["lo"] = draw.integers(1, 1000, count)
    batch["ledger"], batch["code"] = EUR, 1
    return batch


def post_until_killed(folder: Path, options: argparse.Namespace, seed: int, pipe: int) -> None:
    """The child: never returns."""
    draw = np.random.default_rng(seed)
    waiting: collections.deque[Future[pl.Receipt]] = collections.deque()
    with pl.Ledger.open(folder, keys=keys()) as ledger:
        os.write(pipe, TELL.pack(0, 0))  # it is open
        start, posted = time.monotonic(), 0
        while True:
            waiting.append(ledger.submit(transfers(seed << 40 | posted, options, draw)))
            posted += options.batch
            while len(waiting) > IN_FLIGHT or (waiting and waiting[0].done()):
                receipt = waiting.popleft().result()
                assert not receipt.results.any()
                os.write(pipe, TELL.pack(receipt.height, options.batch))
            time.sleep(max(0.0, start + posted / options.rate - time.monotonic()))


def run_child(
    folder: Path, options: argparse.Namespace, seed: int, seconds: float
) -> tuple[list[tuple[int, int]], float]:
    """Start a child, kill it so long after it opened the ledger; give what it told and how long opening took."""
    reading, writing = os.pipe()
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            post_until_killed(folder, options, seed, writing)
        except BaseException as error:
            os.write(2, f"round {seed}: {error}\n".encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        told = pipe.read(TELL.size)
        opened = time.monotonic() - start
        end = time.monotonic() + seconds
        os.set_blocking(reading, False)
        while time.monotonic() < end:
            time.sleep(0.02)
            told += pipe.read() or b""
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        told += pipe.read() or b""
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise SystemExit(f"round {seed}: the child ended by itself")
    return list(TELL.iter_unpack(told[TELL.size : len(told) // TELL.size * TELL.size])), opened


def missing(folder: Path, told: list[tuple[int, int]]) -> list[str]:
    """What was told and is not there: several batches may be told of one block."""
    counts: dict[int, int] = collections.Counter()
    for height, count in told:
        counts[height] += count
    with pl.Ledger.open(folder, read_only=True) as ledger:
        if told and ledger.height < told[-1][0]:
            return [f"block {told[-1][0]} was told and is gone: the last one is {ledger.height}"]
        there = {height: ledger.header(height).transfers_count for height in counts}
        wrong = [f"block {h}: {n} transfers were told, {there[h]} are there" for h, n in counts.items() if there[h] < n]
        for height in sorted(counts)[-20:]:  # and their records can be read
            rows = sum(batch.num_rows for batch in ledger.transfers((height, height)))
            if rows != there[height]:
                wrong.append(f"block {height}: {there[height]} transfers, {rows} can be read")
        return wrong


def audited(folder: Path, transfers_told: int) -> list[str]:
    """What a whole replay finds wrong."""
    report = pl.Ledger.audit_folder(folder)
    if not report.ok:
        return [f"audit: {report.difference}"]
    with pl.Ledger.open(folder, read_only=True) as ledger:
        there = sum(ledger.header(height).transfers_count for height in range(1, ledger.height + 1))
        return [f"{transfers_told} transfers were told, {there} are there"] if there < transfers_told else []


def soak_one(folder: Path, options: argparse.Namespace, end: float, total: dict[str, float]) -> bool:
    """One ledger until it is full or the time is over; whether all of it was well."""
    create(folder, options)
    here = 0
    for kill in range(1, options.kills + 1):
        total["kills"] += 1
        told, opened = run_child(folder, options, int(total["kills"]), options.every)
        posted = sum(count for _, count in told)
        here, total["posted"] = here + posted, total["posted"] + posted
        last = kill == options.kills or time.monotonic() > end
        wrong = missing(folder, told)
        begun = time.monotonic()
        wrong = wrong or (audited(folder, here) if last else [])
        well = f"nothing lost, audit of {here} ok in {time.monotonic() - begun:.0f} s" if last else "nothing lost"
        rate = f"opened in {opened:.1f} s, {posted} transfers, {posted / options.every:.0f}/s"
        print(f"round {total['kills']:.0f}: {rate}; {'; '.join(wrong) or well}", flush=True)
        if wrong or last:
            return not wrong
    return True


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=30, help="seconds between kills")
    parser.add_argument("--rate", type=int, default=420_000, help="transfers a second")
    parser.add_argument("--batch", type=int, default=8190)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=8, help="of one ledger, before it is audited and a new one begun")
    parser.add_argument("--folder", type=Path, help="on the file system to be tried; a temporary one by default")
    options = parser.parse_args()
    end, total = time.monotonic() + 60 * options.minutes, {"kills": 0.0, "posted": 0.0}
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch) / "ledger"
        while total["kills"] == 0 or time.monotonic() < end:
            if not soak_one(folder, options, end, total):
                return 1
            shutil.rmtree(folder)
    seconds = total["kills"] * options.every
    print(
        f"{total['kills']:.0f} kills, {total['posted']:.0f} transfers, {total['posted'] / seconds:.0f}/s while posting"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
