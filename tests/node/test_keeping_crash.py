"""A process is killed while it takes a snapshot, at each dangerous instant: the next one opens with everything."""

import logging

import pytest
from dying import run_until_killed
from ledgers import accounts, genesis, members, transfers

import pyledger as pl

TINY = pl.Keeping(window=4, segment=3, snapshot_every=20)

WRITER = """
import sys
from dying import hook_snapshots
from ledgers import members, transfers
import pyledger as pl
from pyledger.node.keeping import SealedTransfers

folder, instant, skip = sys.argv[1:]
die_at = hook_snapshots(instant, skip)

def remove(sealed, *snapshots, made=SealedTransfers.remove_unused):
    made(sealed, *snapshots)
    die_at("segments are removed")

SealedTransfers.remove_unused = remove
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
    (end,) = map(int, run_until_killed(WRITER, folder, instant, skip))
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
