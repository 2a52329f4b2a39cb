"""Short versions of the commands of docs/faults.md that run on the installed library; csrc/journal has the others."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from small_disks import make_room, small_disk

from pyledger.errors import StorageError
from pyledger.ledger.journal import Journal
from pyledger.ledger.snapshots import find_snapshot, write_snapshot

FAULTS = Path(__file__).resolve().parents[1] / "faults"
GENESIS = bytes(range(32))


def run(command, *arguments):
    return subprocess.run(
        [sys.executable, "-P", FAULTS / command, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def test_a_killed_writer_leaves_every_block_and_snapshot_that_it_told(tmp_path):
    result = run("kill_journal.py", "--loops", "40", "--folder", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "lost=0, wrong=0" in result.stdout
    assert "acknowledged=0," not in result.stdout


def test_the_kill_loop_finds_a_block_that_is_gone(tmp_path):
    """The loop's own check, against a journal that lost its last block."""
    spec = importlib.util.spec_from_file_location("kill_journal", FAULTS / "kill_journal.py")
    kill_journal = sys.modules["kill_journal"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kill_journal)
    journal = Journal(tmp_path, kill_journal.GENESIS)
    for height in (1, 2):
        journal.append(height, kill_journal.block(height, 1))
    journal.close()
    for told, gone in (([(b"B", 2, 1)], False), ([(b"B", 3, 1)], True), ([(b"S", 2, 1)], True)):
        found = kill_journal.Findings()
        kill_journal.check(tmp_path, told, {}, 1, found)
        assert (found.lost > 0) == gone
    found = kill_journal.Findings()
    kill_journal.check(tmp_path, [(b"B", 2, 1)], {}, 2, found)  # another child's blocks
    assert found.wrong > 0


@pytest.mark.slow
def test_a_soaked_ledger_loses_nothing_over_kills():
    result = run("soak.py", "--minutes", "0.08", "--every", "1.5", "--batch", "500", "--rate", "5000",
                 "--accounts", "1000", "--kills", "2")  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("nothing lost") >= 2
    assert result.stdout.count("nothing lost, audit of") >= 1


def fill(journal, size):
    for height in range(1, 2000):
        journal.append(height, bytes([height % 251]) * size)


@pytest.mark.parametrize("size", [100, 5000, 300_000])
def test_a_full_disk_stops_the_journal_and_room_lets_it_go_on(tmp_path, size):
    with small_disk(tmp_path, "3m") as disk:
        journal = Journal(disk, GENESIS)
        with pytest.raises(StorageError, match=r"could not write block \d+: No space left on device"):
            fill(journal, size)
        durable = journal.height
        assert durable >= 3
        journal.close()
        with pytest.raises(StorageError, match="No space left"):
            write_snapshot(disk, durable, {"rows": bytes(3 << 20)})
        assert find_snapshot(disk) == (None, [])
        make_room(disk, "16m")
        journal = Journal(disk, GENESIS)
        assert journal.height >= durable
        for height, payload in journal.payloads():
            assert payload == bytes([height % 251]) * size
        journal.append(journal.height + 1, b"more")
        journal.close()
