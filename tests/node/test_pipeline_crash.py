"""A process that submits is killed, or its disk fills up: what was acknowledged is there, and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ledgers import accounts, genesis, members, transfers

import pyledger as pl

SUBMITTER = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {support!r})
from ledgers import members, transfers
import pyledger as pl

limit = int(sys.argv[2])
if limit:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
ledger = pl.Ledger.open(sys.argv[1], keys=members(1), limits=pl.Limits(submissions_waiting_max=8))
print("ready", flush=True)
number = 1000
try:
    while number < 60_000:
        rows = [(number + place, 1, 2, 1) for place in range(20)]
        answer = ledger.submit(transfers(*rows))
        answer.add_done_callback(
            lambda done, first=number: done.exception() or print(first, flush=True)
        )
        number += 20
except pl.StorageError:
    print("stopped", flush=True)
ledger.close()
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "ledger"
    with pl.Ledger.create(path, genesis(members(1)), keys=members(1)) as ledger:
        assert not ledger.create_accounts(accounts([1, 2])).any()
    return path


def submitter(folder, limit=0):
    support = str(Path(__file__).parents[1] / "support")
    command = [sys.executable, "-c", SUBMITTER.format(support=support), str(folder), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)


def check(folder, acknowledged):
    """Every acknowledged batch is there whole and nothing that was not submitted, each once."""
    with pl.Ledger.open(folder, keys=members(1)) as ledger:
        posted = np.concatenate(
            [np.empty(0, np.uint64)]
            + [ledger.block(height).body.transfers["id"]["lo"] for height in range(1, ledger.height + 1)]
        )
        assert posted.tolist() == list(range(1000, 1000 + len(posted))), "in order, without a gap, no batch in part"
        assert len(posted) % 20 == 0
        assert set(acknowledged) <= set(range(1000, 1000 + len(posted), 20))
        assert ledger.balance(2).credits_posted == len(posted)
        assert ledger.audit().ok
        assert ledger.post(transfers((10, 1, 2, 1))).results.tolist() == [0]


def acknowledged_in(lines):
    return [int(line) for line in lines if line.strip().isdigit()]


@pytest.mark.parametrize("acknowledged_before", [1, 40])
def test_a_killed_process_loses_nothing_acknowledged(folder, acknowledged_before):
    with submitter(folder) as process:
        lines = [process.stdout.readline() for _ in range(1 + acknowledged_before)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout
    assert len(acknowledged_in(lines)) >= acknowledged_before
    check(folder, acknowledged_in(lines))


def test_a_full_disk_stops_the_ledger_and_loses_nothing_acknowledged(folder):
    size = max(path.stat().st_size for path in (folder / "journal").glob("*.blocks"))
    with submitter(folder, limit=size + 300_000) as process:
        lines = list(process.stdout)
    assert process.returncode == 0
    assert "stopped\n" in lines
    assert acknowledged_in(lines)
    check(folder, acknowledged_in(lines))
