"""The journal: what was acknowledged is there, what was torn is cut, what is corrupt is named."""

import random
import subprocess
import sys
import threading

import pytest

from pyledger.errors import StateError, StorageError
from pyledger.ledger.journal import Journal
from pyledger.reference import journal as reference

GENESIS = bytes(range(32))
PAYLOADS = [b"one", b"", bytes(5000), b"four" * 1024]
PAGE = 4096
FRAMES = [1, 1, 2, 2]  # pages of each payload's frame


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


def crash_after(folder, groups, room=1 << 20, **options):
    """What a writer leaves that is gone without closing: `groups` are lists of payloads that were synced together."""
    reference.write(folder, GENESIS, groups, closed=False, salt=bytes(range(16)), **options)
    with segments(folder)[-1].open("r+b") as file:
        file.truncate(max(room, file.seek(0, 2)))


def flip(path, place, bit=0):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_what_was_appended_is_there_after_reopening(tmp_path):
    fill(tmp_path)
    assert contents(tmp_path) == PAYLOADS
    fill(tmp_path, [b"five"])
    assert contents(tmp_path) == [*PAYLOADS, b"five"]


def test_blocks_given_in_parts_are_joined_and_durable_when_waited_for(tmp_path):
    journal = Journal(tmp_path, GENESIS)
    for height in range(1, 101):
        journal.submit(height, [b"%d" % height, bytearray(height), memoryview(b"end")])
    assert journal.submitted_height == 100
    journal.wait(100)
    assert journal.height == journal.durable_height == 100
    expected = [b"%d" % height + bytes(height) + b"end" for height in range(1, 101)]
    assert [payload for _, payload in journal.payloads()] == expected
    journal.close()
    assert contents(tmp_path) == expected


def test_closing_makes_everything_submitted_durable(tmp_path):
    journal = Journal(tmp_path, GENESIS)
    for height in range(1, 51):
        journal.submit(height, [b"x" * 100 * height])
    journal.close()
    assert contents(tmp_path) == [b"x" * 100 * height for height in range(1, 51)]


def test_a_small_queue_holds_submitters_back_and_loses_nothing(tmp_path):
    journal = Journal(tmp_path, GENESIS, queue_size=1)
    for height in range(1, 30):
        journal.submit(height, [b"y" * 9000])
        assert journal.durable_height >= height - 2
    journal.close()
    assert contents(tmp_path) == [b"y" * 9000] * 29


def test_threads_may_wait_and_read_while_another_submits(tmp_path):
    journal = Journal(tmp_path, GENESIS)
    wrong = []

    def follow():
        for height in range(1, 301):
            while journal.submitted_height < height:
                pass
            journal.wait(height)
            if journal.read(height) != b"%d" % height * 50:
                wrong.append(height)

    followers = [threading.Thread(target=follow) for _ in range(3)]
    for follower in followers:
        follower.start()
    for height in range(1, 301):
        journal.submit(height, [b"%d" % height] * 50)
    for follower in followers:
        follower.join()
    journal.close()
    assert wrong == []


def test_segments_roll_and_chain(tmp_path):
    fill(tmp_path, segment_size=1)
    assert [path.name for path in segments(tmp_path)] == [f"{height:012d}.blocks" for height in (1, 2, 3, 4)]
    assert contents(tmp_path) == PAYLOADS


def test_a_group_that_spans_segments_is_split(tmp_path):
    journal = Journal(tmp_path, GENESIS, segment_size=5 * PAGE)
    for height, payload in enumerate(PAYLOADS * 6, 1):
        journal.submit(height, [payload])
    journal.close()
    assert len(segments(tmp_path)) > 6
    assert contents(tmp_path, segment_size=5 * PAGE) == PAYLOADS * 6


def test_a_closed_journal_holds_no_room_that_it_does_not_use(tmp_path):
    fill(tmp_path)
    assert segments(tmp_path)[0].stat().st_size == (1 + sum(FRAMES) + 1) * PAGE


def test_heights_are_taken_in_order_only(tmp_path):
    journal = Journal(tmp_path, GENESIS)
    with pytest.raises(StateError, match="expected height 1, got 2"):
        journal.append(2, b"")
    with pytest.raises(StateError, match="expected a height up to 0, got 1"):
        journal.wait(1)
    with pytest.raises(StateError, match=r"expected a height in \[1, 0\], got 1"):
        journal.read(1)
    journal.close()


def test_a_reader_and_a_closed_journal_take_nothing(tmp_path):
    fill(tmp_path)
    reader = Journal(tmp_path, GENESIS, read_only=True)
    with pytest.raises(StateError, match="read-only"):
        reader.append(5, b"")
    reader.close()
    journal = Journal(tmp_path, GENESIS)
    journal.close()
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.append(5, b"")


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    fill(tmp_path)
    writer = Journal(tmp_path, GENESIS)
    with pytest.raises(StorageError, match="another process"):
        Journal(tmp_path, GENESIS)
    reader = Journal(tmp_path, GENESIS, read_only=True)
    assert reader.height == 4
    writer.append(5, b"five")
    assert contents(tmp_path, read_only=True) == [*PAYLOADS, b"five"]
    assert reader.height == 4
    assert reader.refresh() == 5
    assert reader.read(5) == b"five"
    reader.close()
    writer.close()


def test_a_reader_follows_over_segments(tmp_path):
    writer = Journal(tmp_path, GENESIS, segment_size=1)
    reader = Journal(tmp_path, GENESIS, read_only=True)
    for height in range(1, 20):
        writer.append(height, b"%d" % height)
        assert reader.refresh() == height
        assert reader.read(height) == b"%d" % height
    reader.close()
    writer.close()


def test_a_journal_of_another_genesis_gives_no_block(tmp_path):
    fill(tmp_path, PAYLOADS[:1])
    journal_bytes = segments(tmp_path)[0].read_bytes()
    with pytest.raises(StorageError, match="blocks of another ledger"):
        Journal(tmp_path, bytes(32))
    assert segments(tmp_path)[0].read_bytes() == journal_bytes


def test_a_journal_of_version_1_is_refused_by_name(tmp_path):
    (tmp_path / "000000000001.blocks").write_bytes(b"PLBLOCK\0\1\0" + bytes(4086))
    with pytest.raises(StorageError, match="version 1 of the format, which was never released; expected version 2"):
        Journal(tmp_path, GENESIS)


def test_a_tail_torn_at_any_byte_is_cut_to_whole_blocks(tmp_path):
    crash_after(tmp_path, [PAYLOADS])
    path = segments(tmp_path)[0]
    whole = path.read_bytes()[: (1 + sum(FRAMES)) * PAGE]
    last = len(whole) - 2 * PAGE
    for size in [last, last + 1, last + 127, last + 128, last + 4096, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert contents(tmp_path, read_only=True) == PAYLOADS[:3]
        assert path.read_bytes() == whole[:size]
        assert contents(tmp_path) == PAYLOADS[:3]
        assert path.stat().st_size == last + PAGE  # with the mark that nothing follows


def test_a_group_torn_in_its_middle_is_cut_there(tmp_path):
    """The blocks of a group reach the disk in any order; a whole one behind a hole was not acknowledged either."""
    crash_after(tmp_path, [PAYLOADS[:2], [b"a" * 3000, b"b" * 3000, b"c" * 3000]])
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[4 * PAGE : 5 * PAGE] = bytes(PAGE)  # the second of the group
    path.write_bytes(data)
    assert contents(tmp_path) == [*PAYLOADS[:2], b"a" * 3000]
    fill(tmp_path, [b"B"])
    assert contents(tmp_path) == [*PAYLOADS[:2], b"a" * 3000, b"B"]


def test_a_bad_block_that_a_later_one_says_was_synced_is_corruption(tmp_path):
    """The same hole, but a later group was begun after its sync: an acknowledged block is gone."""
    crash_after(tmp_path, [PAYLOADS[:2], [b"a" * 3000, b"b" * 3000, b"c" * 3000], [b"d"]])
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[4 * PAGE : 5 * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    expected = rf"offset {4 * PAGE}: block 4 is corrupt but good data follows at .*offset {6 * PAGE}; refusing"
    for read_only in (True, False):
        with pytest.raises(StorageError, match=expected):
            Journal(tmp_path, GENESIS, read_only=read_only)
    assert path.read_bytes() == data


def test_nothing_is_cut_below_a_height_that_is_known(tmp_path):
    crash_after(tmp_path, [PAYLOADS[:2], PAYLOADS[2:]])
    path = segments(tmp_path)[0]
    flip(path, 6 * PAGE)
    data = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(StorageError, match="up to 4 are known to exist, found whole ones up to 3"):
            Journal(tmp_path, GENESIS, known_height=4, read_only=read_only)
    assert path.read_bytes() == data
    assert contents(tmp_path, known_height=3) == PAYLOADS[:3]


def test_a_flipped_bit_in_a_closed_journal_is_named_and_nothing_is_cut(tmp_path):
    fill(tmp_path)
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    draw = random.Random(1)
    for _ in range(300):
        place = draw.randrange(len(whole) - PAGE)
        path.write_bytes(whole)
        flip(path, place, draw.randrange(8))
        with pytest.raises(StorageError, match=r"block \d is corrupt but good data follows at .*offset|the header of"):
            Journal(tmp_path, GENESIS)
        assert path.stat().st_size == len(whole)


def test_a_flipped_bit_in_the_close_mark_loses_no_block(tmp_path):
    fill(tmp_path)
    path = segments(tmp_path)[0]
    for place in (0, 17, 127, 128, PAGE - 1):
        flip(path, path.stat().st_size - PAGE + place)
        reader = Journal(tmp_path, GENESIS, read_only=True)
        assert reader.torn_bytes == PAGE
        reader.close()
        assert contents(tmp_path) == PAYLOADS


def test_a_lost_segment_is_corruption(tmp_path):
    fill(tmp_path, segment_size=1)
    segments(tmp_path)[1].unlink()
    with pytest.raises(StorageError, match="corrupt"):
        Journal(tmp_path, GENESIS)


def test_a_lost_page_of_an_earlier_segment_is_corruption(tmp_path):
    fill(tmp_path, segment_size=1)
    path = segments(tmp_path)[2]
    path.write_bytes(path.read_bytes()[:-PAGE])
    with pytest.raises(StorageError, match=r"block 3 is corrupt but good data follows at .*000000000004"):
        Journal(tmp_path, GENESIS)


def test_a_segment_that_was_never_begun_is_begun_again(tmp_path):
    """A crash between making the file and writing its header, over any bytes of the header."""
    fill(tmp_path, segment_size=1)
    left, sealed = tmp_path / "000000000005.blocks", segments(tmp_path)[3]
    whole = sealed.read_bytes()[:-PAGE]  # a segment is sealed without a mark
    for data in (b"", bytes(PAGE), bytes(1 << 20), b"PLSEGMNT\2", b"junk" * 1024):
        sealed.write_bytes(whole)
        left.write_bytes(data)
        assert contents(tmp_path, read_only=True) == PAYLOADS
        assert left.read_bytes() == data
        assert contents(tmp_path) == PAYLOADS
        assert not left.exists()


def test_a_segment_without_its_header_is_corrupt_if_it_holds_anything(tmp_path):
    fill(tmp_path)
    path = segments(tmp_path)[0]
    path.write_bytes(bytes(PAGE) + path.read_bytes()[PAGE:])
    with pytest.raises(StorageError, match="header of a segment is corrupt"):
        Journal(tmp_path, GENESIS)


def test_bytes_of_a_payload_that_look_like_a_frame_are_not_taken_for_one(tmp_path):
    """A torn block whose payload holds a frame, even one of this very journal, is still only torn."""
    (tmp_path / "other").mkdir()
    fill(tmp_path / "other")
    frames = segments(tmp_path / "other")[0].read_bytes()
    (tmp_path / "own").mkdir()
    crash_after(tmp_path / "own", [[b"one"], [bytes(PAGE - 128) + frames]])
    path = segments(tmp_path / "own")[0]
    flip(path, 2 * PAGE)
    assert contents(tmp_path / "own") == [b"one"]


def test_a_corrupt_block_is_not_served_to_a_reader_that_is_open(tmp_path):
    fill(tmp_path)
    journal = Journal(tmp_path, GENESIS, read_only=True)
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(StorageError, match=f"offset {PAGE}: block 1 is corrupt"):
        journal.read(1)
    journal.close()


def test_older_payloads_may_be_left_to_be_checked_when_they_are_read(tmp_path):
    fill(tmp_path)
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(StorageError, match="block 1 is corrupt"):
        Journal(tmp_path, GENESIS)
    journal = Journal(tmp_path, GENESIS, verify_from=3)
    assert journal.read(2) == b""
    with pytest.raises(StorageError, match="block 1 is corrupt"):
        journal.read(1)
    journal.close()


def test_blocks_that_no_mark_shows_to_be_durable_are_checked_however_old(tmp_path):
    crash_after(tmp_path, [PAYLOADS])
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    assert contents(tmp_path, verify_from=5) == []


def test_after_a_failed_write_nothing_more_is_taken_and_earlier_blocks_stay(tmp_path):
    """A limit on the size of files stands in for a full disk, and breaks a write in the middle of a block."""
    fill(tmp_path)
    script = (
        "import resource, sys; from pathlib import Path; from pyledger.errors import StorageError\n"
        "from pyledger.ledger.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), bytes(range(32)))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "for text, call in (('could not write block 5: File too large', lambda: journal.append(5, bytes(50000))),\n"
        "             ('opened again', lambda: journal.append(5, b'five')),\n"
        "             ('opened again', lambda: journal.submit(5, [b'five'])),\n"
        "             ('closed', lambda: journal.close() or journal.append(5, b'five'))):\n"
        "    try: call()\n"
        "    except StorageError as error: assert text in str(error), error\n"
        "    else: raise SystemExit(text)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script, tmp_path], check=True, timeout=60)
    assert contents(tmp_path) == PAYLOADS
    fill(tmp_path, [b"five"])
    assert contents(tmp_path) == [*PAYLOADS, b"five"]


@pytest.mark.parametrize("threads", [1, 2, 0])
def test_any_number_of_threads_finds_the_same_journal(tmp_path, threads):
    draw = random.Random(threads)
    payloads = [draw.randbytes(draw.choice([0, 1, 4095, 4096, 70_000, 3_000_000])) for _ in range(40)]
    fill(tmp_path, payloads, segment_size=1 << 23)
    assert contents(tmp_path, threads=threads) == payloads
    flip(segments(tmp_path)[0], 1 << 22)
    with pytest.raises(StorageError, match=r"block \d+ is corrupt"):
        Journal(tmp_path, GENESIS, threads=threads)


def test_a_failure_that_nobody_waited_for_is_told_on_closing(tmp_path):
    script = (
        "import resource, sys; from pathlib import Path; from pyledger.errors import StorageError\n"
        "from pyledger.ledger.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), bytes(range(32)))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "journal.submit(1, [bytes(50000)])\n"
        "try: journal.close()\n"
        "except StorageError as error: assert 'could not write block 1' in str(error), error\n"
        "else: raise SystemExit('closed as if nothing had been lost')\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script, tmp_path], check=True, timeout=60)
    assert contents(tmp_path) == []
