"""Posts through `pyledger.Ledger` at a set rate, killed again and again; reopened and audited each time.

    python tests/faults/soak.py [--minutes 60] [--every 30] [--rate 100000] [--batch 8190] [--folder FOLDER]

A child opens the ledger, posts batches of attested transfers at the rate and tells each height that `post` returned;
every `--every` seconds it gets SIGKILL. Then the ledger is opened read-only: each told block must be there with its
number of transfers, debits must equal credits, and `audit()` must find nothing. One line a round; ends with 1 at the
first round that finds anything.
"""

import argparse
import os
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pyledger as pl

ACCOUNTS = 10_000
BIC = "BANKAAXX"
EUR = 978
TELL = struct.Struct("<QQ")  # height, transfers that took effect


def keys() -> list[pl.InstitutionKeys]:
    """The one bank's keys, the same in every process."""
    return [pl.InstitutionKeys(BIC, pl.keys.SigningKey.from_seed(bytes(32)), pl.bls.SecretKey.from_seed(bytes(32)))]


def create(folder: Path, batch: int) -> None:
    """Make the ledger and its accounts."""
    members = tuple(key.institution() for key in keys())
    genesis = pl.Genesis("soak", 1, (pl.Currency(EUR, "EUR", 2),), members, block_transfers_max=batch)
    with pl.Ledger.create(folder, genesis, keys=keys()) as ledger:
        accounts = np.zeros(ACCOUNTS, pl.ACCOUNT)
        accounts["id"]["lo"] = np.arange(1, ACCOUNTS + 1)
        accounts["ledger"], accounts["code"] = EUR, 1
        for first in range(0, ACCOUNTS, batch):
            assert not ledger.create_accounts(accounts[first : first + batch]).any()


def transfers(first_id: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """Transfers between different accounts, ids rising from `first_id`."""
    batch = np.zeros(count, pl.TRANSFER)
    debit = draw.integers(0, ACCOUNTS, count)
    batch["id"]["lo"] = np.arange(first_id, first_id + count)
    batch["debit_account_id"]["lo"] = debit + 1
    batch["credit_account_id"]["lo"] = (debit + draw.integers(1, ACCOUNTS, count)) % ACCOUNTS + 1
    batch["amount"]["lo"] = draw.integers(1, 1000, count)
    batch["ledger"], batch["code"] = EUR, 1
    return batch


def post_until_killed(folder: Path, options: argparse.Namespace, seed: int, pipe: int) -> None:
    """The child: never returns."""
    draw = np.random.default_rng(seed)
    with pl.Ledger.open(folder, keys=keys()) as ledger:
        os.write(pipe, TELL.pack(0, 0))  # it is open
        start, posted = time.monotonic(), 0
        while True:
            receipt = ledger.post(transfers(seed << 40 | posted, options.batch, draw))
            assert not receipt.results.any()
            posted += options.batch
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


def check(folder: Path, told: list[tuple[int, int]]) -> list[str]:
    """What is wrong with what was left."""
    with pl.Ledger.open(folder, read_only=True) as ledger:
        wrong = [f"block {told[-1][0]} was told and is gone"] if told and ledger.height < told[-1][0] else []
        for height, count in told[-50:] if not wrong else []:
            there = sum(batch.num_rows for batch in ledger.transfers((height, height)))
            if there != count:
                wrong.append(f"block {height}: {count} transfers were told, {there} are there")
        report = ledger.audit()
        return wrong if report.ok else [*wrong, f"audit: {report.difference}"]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=30, help="seconds between kills")
    parser.add_argument("--rate", type=int, default=100_000, help="transfers a second")
    parser.add_argument("--batch", type=int, default=8190)
    parser.add_argument("--folder", type=Path, help="on the file system to be tried; a temporary one by default")
    options = parser.parse_args()
    end, total, seconds = time.monotonic() + 60 * options.minutes, 0, 0.0
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch) / "ledger"
        create(folder, options.batch)
        rounds = 0
        while rounds == 0 or time.monotonic() < end:
            rounds += 1
            told, opened = run_child(folder, options, rounds, options.every)
            wrong = check(folder, told)
            posted = sum(count for _, count in told)
            total, seconds = total + posted, seconds + options.every
            print(f"round {rounds}: opened in {opened:.1f} s, {posted} transfers, {posted / options.every:.0f}/s; "
                  f"{'; '.join(wrong) or 'nothing lost, audit ok'}", flush=True)  # fmt: skip
            if wrong:
                return 1
    print(f"{rounds} kills, {total} transfers, {total / seconds:.0f}/s while posting")
    return 0


if __name__ == "__main__":
    sys.exit(main())
