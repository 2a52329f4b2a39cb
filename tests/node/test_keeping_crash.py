"""A process is killed while it takes a snapshot, at each dangerous instant: the next one opens with everything."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ledgers import accounts, genesis, members, transfers

import pyledger as pl

TINY = pl.Keeping(window=4, segment=3, snapshot_every=20)

WRITER = """
import os, signal, sys
sys.path.insert(0, {support!r})
from ledgers import members, transfers
import pyledger as pl
from pyledger.ledger.snapshots import SnapshotWriter
from pyledger.node import keeping

folder, instant, skip = sys.argv[1], sys.argv[2], int(sys.argv[3])

def die_at(name):
    global skip
    if name == instant:
        skip -= 1
        if skip < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def write(checkpoint, folder, *, made=keeping.BookCheckpoint.write):
    die_at("state was taken")
    made(checkpoint, folder)
    die_at("snapshot is there")

def append(writer, name, data, *, made=SnapshotWriter.append):
    made(writer, name, data)
    if name == "engine.owners":  # the events behind it are missing
        die_at("half is written")

def remove(sealed, *snapshots, made=keeping.SealedTransfers.remove_unused):
    made(sealed, *snapshots)
    die_at("segments are removed")

keeping.BookCheckpoint.write = write
SnapshotWriter.append = append
keeping.SealedTransfers.remove_unused = remove
ledger = pl.Ledger.open(folder, keys=members(1), keeping=pl.Keeping(window=4, segment=3, snapshot_every=20))
number = 1000
while True:
    assert not ledger.post(transfers(*((number + place, 1, 2, 1) for place in range(4)))).results.any()
    number += 4
    print(number, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "ledger"
    with pl.Ledger.create(path, genesis(members(1)), keys=members(1), keeping=TINY) as ledger:
        assert not ledger.create_accounts(accounts([1, 2])).any()
    return path


def run_until_killed(folder, instant, skip):
    """The first id that was not acknowledged."""
    support = str(Path(__file__).parents[1] / "support")
    command = [sys.executable, "-c", WRITER.format(support=support), str(folder), instant, str(skip)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=folder, timeout=120, check=False)
    assert process.returncode == -signal.SIGKILL
    return int(process.stdout.split()[-1])


@pytest.mark.parametrize(
    ("instant", "skip"),
    [
        ("state was taken", 0),
        ("state was taken", 3),
        ("half is written", 0),
        ("half is written", 3),
        ("snapshot is there", 0),
        ("snapshot is there", 3),
        ("segments are removed", 3),
    ],
)
def test_a_process_killed_while_it_takes_a_snapshot_loses_nothing(folder, instant, skip, caplog):
    end = run_until_killed(folder, instant, skip)
    snapshots = folder / "snapshots"
    assert len(list(snapshots.glob("*.part"))) == (instant == "half is written")
    kept = len(list(snapshots.glob("*.snapshot")))
    assert kept == min(2, skip + (instant == "snapshot is there") - (instant == "segments are removed"))
    with caplog.at_level(logging.WARNING), pl.Ledger.open(folder, keys=members(1), keeping=TINY) as ledger:
        assert not [record.message for record in caplog.records if "snapshot" in record.message]
        posted = ledger.balance(2).credits_posted
        assert posted in (end - 1000, end - 1000 + 4), "the last batch may have become durable unseen"
        assert ledger.history(1).num_rows == posted
        assert ledger.audit().ok
        assert not ledger.post(transfers((10, 1, 2, 1))).results.any()
    with pl.Ledger.open(folder, keys=members(1), keeping=TINY) as ledger:
        assert ledger.balance(2).credits_posted == posted + 1
