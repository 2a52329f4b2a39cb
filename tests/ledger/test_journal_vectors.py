"""Files of every version that was ever released are read, or refused by name (tests/vectors/journal/README.md)."""

import shutil
from pathlib import Path

import pytest

from pyledger.errors import StorageError
from pyledger.ledger.journal import Journal
from pyledger.ledger.snapshots import find_snapshot
from pyledger.reference import journal as reference
from pyledger.reference import snapshots as reference_snapshots

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "journal"
GENESIS = bytes(range(32))
PAYLOADS = [b"one", b"", b"three" * 1000, b"four"]
SECTIONS = {"rows": bytes(range(256)) * 20, "empty": b"", "tail": b"end"}


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(VECTORS, tmp_path / "journal"))


def test_a_journal_of_version_2_is_read_and_continued(folder):
    assert reference.read(folder, GENESIS) == reference.Contents(PAYLOADS, closed=True, torn_bytes=0)
    journal = Journal(folder, GENESIS)
    assert [payload for _, payload in journal.payloads()] == PAYLOADS
    journal.append(5, b"five")
    journal.close()
    assert reference.read(folder, GENESIS) == reference.Contents([*PAYLOADS, b"five"], closed=True, torn_bytes=0)


def test_opening_and_closing_changes_no_byte(folder):
    Journal(folder, GENESIS).close()
    for path in VECTORS.glob("*.blocks"):
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_snapshot_of_version_1_is_read(folder):
    found, damaged = find_snapshot(folder)
    assert (found.height, found.binding, damaged) == (4, GENESIS, [])
    assert {name: view.tobytes() for name, view in found.sections.items()} == SECTIONS
    data = (folder / "000000000004.snapshot").read_bytes()
    assert reference_snapshots.from_bytes(data) == (4, GENESIS, SECTIONS)


def test_a_version_to_come_is_refused(folder):
    path = sorted(folder.glob("*.blocks"))[0]
    data = bytearray(path.read_bytes())
    data[8] = 3
    path.write_bytes(data)
    with pytest.raises(StorageError, match="the header of a segment is corrupt, or of a version"):
        Journal(folder, GENESIS)
