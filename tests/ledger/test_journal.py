"""The journal: what was acknowledged is there, what was torn is cut, what is corrupt is named."""

import errno
import os
import random

import pytest

from pyledger.errors import StateError, StorageError
from pyledger.ledger.journal import Journal

GENESIS = bytes(range(32))
PAYLOADS = [b"one", b"", bytes(5000), b"four" * 1024]


def fill(folder, payloads=PAYLOADS, **options):
    journal = Journal(folder, GENESIS, **options)
    for height, payload in enumerate(payloads, journal.height + 1):
        journal.append(height, payload)
    journal.close()


def contents(folder, **options):
    journal = Journal(folder, GENESIS, **options)
    try:
        return [payload for _, payload in journal.payloads()]
    finally:
        journal.close()


def segments(folder):
    return sorted(folder.glob("*.blocks"))


def test_what_was_appended_is_there_after_reopening(tmp_path):
    fill(tmp_path)
    assert contents(tmp_path) == PAYLOADS
    fill(tmp_path, [b"five"])
    assert contents(tmp_path) == [*PAYLOADS, b"five"]


def test_segments_roll_and_chain(tmp_path):
    fill(tmp_path, segment_size=1)
    assert [path.name for path in segments(tmp_path)] == [f"{height:012d}.blocks" for height in (1, 2, 3, 4)]
    assert contents(tmp_path) == PAYLOADS


def test_heights_are_taken_in_order_only(tmp_path):
    journal = Journal(tmp_path, GENESIS)
    with pytest.raises(StateError, match="expected height 1, got 2"):
        journal.append(2, b"")
    journal.close()


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    fill(tmp_path)
    writer = Journal(tmp_path, GENESIS)
    with pytest.raises(StorageError, match="another process"):
        Journal(tmp_path, GENESIS)
    assert contents(tmp_path, read_only=True) == PAYLOADS
    writer.append(5, b"five")
    assert contents(tmp_path, read_only=True) == [*PAYLOADS, b"five"]
    writer.close()


def test_a_journal_of_another_genesis_gives_no_block(tmp_path):
    fill(tmp_path, PAYLOADS[:1])
    journal_bytes = segments(tmp_path)[0].read_bytes()
    with pytest.raises(StorageError, match="found block 1 of another"):
        Journal(tmp_path, bytes(32))
    assert segments(tmp_path)[0].read_bytes() == journal_bytes


def test_a_tail_torn_at_any_byte_is_cut_to_whole_blocks(tmp_path):
    fill(tmp_path)
    whole = segments(tmp_path)[0].read_bytes()
    last = len(whole) - 8192  # the fourth frame: 128 + 4096 bytes, padded
    for size in [last, last + 1, last + 127, last + 128, last + 4096, len(whole) - 1]:
        segments(tmp_path)[0].write_bytes(whole[:size])
        assert contents(tmp_path) == PAYLOADS[:3]
        assert segments(tmp_path)[0].stat().st_size == last


def test_a_reader_leaves_a_torn_tail_to_the_writer(tmp_path):
    fill(tmp_path)
    path = segments(tmp_path)[0]
    torn = path.read_bytes()[:-1]
    path.write_bytes(torn)
    assert contents(tmp_path, read_only=True) == PAYLOADS[:3]
    assert path.read_bytes() == torn


def test_a_flipped_bit_before_a_good_block_is_named_and_nothing_is_cut(tmp_path):
    fill(tmp_path)
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    draw = random.Random(1)
    for _ in range(300):
        place = draw.randrange(len(whole) - 8192)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(StorageError, match=r"block \d is corrupt but good data follows at .*offset"):
            Journal(tmp_path, GENESIS)
        assert path.stat().st_size == len(whole)


def test_a_lost_segment_is_corruption(tmp_path):
    fill(tmp_path, segment_size=1)
    segments(tmp_path)[1].unlink()
    with pytest.raises(StorageError, match="corrupt"):
        Journal(tmp_path, GENESIS)


def test_a_corrupt_block_is_not_served_to_a_reader_that_is_open(tmp_path):
    fill(tmp_path)
    journal = Journal(tmp_path, GENESIS, read_only=True)
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(StorageError, match="block 1 is corrupt"):
        journal.read(1)
    journal.close()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_after_a_failed_write_nothing_more_is_taken_and_earlier_blocks_stay(tmp_path, monkeypatch, call):
    fill(tmp_path)
    journal = Journal(tmp_path, GENESIS)

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError, match="could not write block 5: Input/output error"):
            journal.append(5, b"five")
    with pytest.raises(StorageError, match="opened again"):
        journal.append(5, b"five")
    journal.close()
    assert contents(tmp_path)[:4] == PAYLOADS


def test_a_disk_that_fills_up_in_the_middle_of_a_block_loses_nothing(tmp_path, monkeypatch):
    fill(tmp_path)
    journal = Journal(tmp_path, GENESIS)
    room = [130]
    real = os.pwrite

    def short(fd, data, offset):
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: room[0]]
        room[0] -= len(part)
        return real(fd, part, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", short)
        with pytest.raises(StorageError, match="No space left"):
            journal.append(5, b"five")
    journal.close()
    assert contents(tmp_path) == PAYLOADS
    fill(tmp_path, [b"five"])
    assert contents(tmp_path) == [*PAYLOADS, b"five"]
