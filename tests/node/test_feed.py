"""The change feed: every block once and in order, to writers and readers alike, and only what is durable."""

import itertools
import subprocess
import sys
import threading

import pytest
from ledgers import accounts, genesis, members, transfers
from traffic import Clock, Traffic

import pyledger as pl
from pyledger.ledger import journal as journals

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ledgers import members, transfers
import pyledger as pl
with pl.Ledger.open(sys.argv[2], keys=members(1)) as ledger:
    for number in range(int(sys.argv[3])):
        assert ledger.post(transfers((1000 + number, 1, 2, 1))).results.tolist() == [0]
"""


@pytest.fixture
def ledger(tmp_path):
    """A ledger of one bank with two accounts and three payments."""
    keys = members(1)
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        ledger.create_accounts(accounts([1, 2]))
        for number in range(3):
            pay(ledger, number)
        yield ledger


def pay(ledger, number):
    assert ledger.post(transfers((10 + number, 1, 2, 5))).results.tolist() == [0]


def heights(blocks):
    return [block.height for block in blocks]


def numbers(blocks):
    return [int.from_bytes(key) for block in blocks for key in block.transfers["id"].to_pylist()]


def test_each_block_comes_once_with_what_it_did(tmp_path):
    keys, clock = members(2), Clock()
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys, clock=clock) as ledger:
        traffic = Traffic(ledger, clock, 3)
        traffic.open_accounts()
        traffic.post(30)
        blocks = list(ledger.tail(wait=0))
        assert heights(blocks) == list(range(1, ledger.height + 1))
        assert [block.header for block in blocks] == [ledger.header(height) for height in heights(blocks)]
        assert sum(block.accounts.num_rows for block in blocks) == ledger.accounts().num_rows
        assert sum(block.transfers.num_rows for block in blocks) == ledger.transfers().read_all().num_rows
        expired = [number for block in blocks for number in block.expired["pending_id"].to_pylist()]
        assert len(expired) > 3
        assert all(ledger.transfer(int.from_bytes(number)).status.name == "EXPIRED" for number in expired)


def test_a_consumer_goes_on_at_the_height_after_its_last(ledger):
    seen = []
    for _ in range(3):
        for block in ledger.tail((seen[-1] if seen else 0) + 1, wait=0):
            seen.append(block.height)
            if block.height % 2 == 0:
                break
        pay(ledger, 100 + len(seen))
    assert seen == list(range(1, seen[-1] + 1))
    assert len(seen) >= 4


def test_it_waits_for_blocks_in_the_process_that_writes(ledger):
    blocks = []
    follower = threading.Thread(target=lambda: blocks.extend(itertools.islice(ledger.tail(2), 8)))
    follower.start()
    for number in range(5):
        pay(ledger, 50 + number)
    follower.join(timeout=60)
    assert not follower.is_alive()
    assert heights(blocks) == list(range(2, 10))
    assert numbers(blocks) == [10, 11, 12, 60, 61, 62, 63, 64]


def test_a_reader_beside_the_writer_follows_it(ledger, tmp_path):
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
        blocks = reader.tail(from_height=3)
        assert heights([next(blocks), next(blocks)]) == [3, 4]
        pay(ledger, 50)
        assert numbers([next(blocks)]) == [60]
        assert reader.balance(2) == ledger.balance(2)
        assert reader.balance(2, height=4).credits_posted == 15
        assert reader.transfer(60).height == 5
        assert reader.tip == ledger.tip
        assert heights(reader.tail(5, wait=0)) == [5]


def test_a_reader_follows_another_process_to_its_end(ledger, tmp_path):
    """Small blocks by another process: each comes once, whatever the reader's look falls between."""
    ledger.close()
    support = next(entry for entry in sys.path if entry.endswith("support"))
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
        command = [sys.executable, "-P", "-c", WRITER, support, str(tmp_path / "ledger"), "40"]
        with subprocess.Popen(command) as writer:
            blocks = list(itertools.islice(reader.tail(5, wait=60), 40))
        assert writer.returncode == 0
        assert heights(blocks) == list(range(5, 45))
        assert numbers(blocks) == list(range(1000, 1040))


def test_a_block_is_shown_by_its_writer_only_when_it_is_durable(ledger, monkeypatch):
    gate, wait = threading.Event(), ledger._journal.wait

    def wait_behind_the_gate(height):
        assert gate.wait(60)
        wait(height)

    monkeypatch.setattr(ledger._journal, "wait", wait_behind_the_gate)
    answer = ledger.submit(transfers((70, 1, 2, 5)))
    blocks = ledger.tail(5, wait=0.3)
    assert heights(blocks) == []
    assert not answer.done()
    gate.set()
    assert answer.result().height == 5
    assert heights(ledger.tail(5, wait=0)) == [5]


def test_a_block_is_shown_by_a_reader_only_once_it_is_synced(ledger, tmp_path, monkeypatch):
    synced = []

    def sync(descriptor):
        if len(synced) >= 2:
            raise OSError(5, "Input/output error")
        synced.append(descriptor)

    monkeypatch.setattr(journals, "_sync", sync)
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
        assert (reader.height, len(synced)) == (4, 1)
        assert heights(reader.tail(5, wait=0)) == []
        assert len(synced) == 1, "there was nothing new to sync"
        pay(ledger, 50)
        assert heights(reader.tail(5, wait=0)) == [5]
        pay(ledger, 51)
        with pytest.raises(pl.StorageError, match="cannot be synced: Input/output error"):
            list(reader.tail(6, wait=0))
        assert reader.height == 5


def test_a_block_that_is_not_certified_is_not_shown(ledger, tmp_path, monkeypatch):
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
        pay(ledger, 50)
        real = reader._journal.read

        def forged(height):
            payload = bytearray(real(height))
            payload[100] ^= 1
            return bytes(payload)

        monkeypatch.setattr(reader._journal, "read", forged)
        with pytest.raises(pl.LedgerError):
            list(reader.tail(5, wait=0))
        with pytest.raises(pl.StateError, match="open the ledger again"):
            reader.balance(1)


def test_heights_count_from_one(ledger):
    with pytest.raises(pl.InputError, match="from_height: expected at least 1, got 0"):
        ledger.tail(0)
    assert list(ledger.tail(99, wait=0)) == []


@pytest.mark.parametrize("wait", [-1, float("nan")])
def test_a_feed_waits_for_no_other_time_than_one_from_zero_on(ledger, wait):
    with pytest.raises(pl.InputError, match="wait: expected seconds from 0 on, got"):
        ledger.tail(1, wait=wait)
