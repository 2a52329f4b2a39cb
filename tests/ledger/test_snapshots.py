"""Snapshots: the newest whole one is read, a damaged one is named and passed over, two are kept."""

import gc
import random
import resource
import subprocess
import sys

import numpy as np
import pytest

from pyledger.errors import StorageError
from pyledger.ledger.snapshots import SnapshotWriter, find_snapshot, write_snapshot
from pyledger.reference import snapshots as reference

BINDING = bytes(range(32))


def sections_of(height):
    draw = random.Random(height)
    sizes = [0, 1, 4095, 4096, 4097, 3 * 4096 + 5, 1_200_000]
    return {f"part-{i}.{size}": draw.randbytes(size) for i, size in enumerate(sizes)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def plain(snapshot):
    return {name: view.tobytes() for name, view in snapshot.sections.items()}


def test_a_snapshot_gives_back_every_byte_in_order(tmp_path):
    write_snapshot(tmp_path, 7, sections_of(7), binding=BINDING)
    found, damaged = find_snapshot(tmp_path)
    assert (found.height, found.binding, damaged) == (7, BINDING, [])
    assert list(plain(found).items()) == list(sections_of(7).items())


def test_views_need_no_copy_and_outlive_the_file(tmp_path):
    rows = np.arange(100_000, dtype=np.uint64)
    write_snapshot(tmp_path, 1, {"rows": rows})
    view = find_snapshot(tmp_path)[0].sections["rows"].view(np.uint64)
    (tmp_path / "000000000001.snapshot").unlink()
    gc.collect()
    assert (view == rows).all()
    assert not view.flags.writeable
    assert view.base is not None


def test_two_are_kept_and_the_newest_is_read(tmp_path):
    for height in (3, 5, 9, 11):
        write_snapshot(tmp_path, height, sections_of(height))
    assert names(tmp_path) == ["000000000009.snapshot", "000000000011.snapshot"]
    assert find_snapshot(tmp_path)[0].height == 11
    found = find_snapshot(tmp_path, height_max=10)[0]
    assert found.height == 9
    assert plain(found) == sections_of(9)
    assert find_snapshot(tmp_path, height_max=8) == (None, [])


def test_a_snapshot_of_the_same_height_is_replaced(tmp_path):
    write_snapshot(tmp_path, 1, {"a": b"old"})
    write_snapshot(tmp_path, 1, {"a": b"new"})
    assert plain(find_snapshot(tmp_path)[0]) == {"a": b"new"}
    assert names(tmp_path) == ["000000000001.snapshot"]


def test_a_damaged_one_is_named_and_the_older_one_used(tmp_path):
    write_snapshot(tmp_path, 1, sections_of(1))
    write_snapshot(tmp_path, 2, sections_of(2))
    path = tmp_path / "000000000002.snapshot"
    whole = path.read_bytes()
    draw = random.Random(1)
    places = [0, 20, 127, 128, 4095, 4096, 4097, 4096 + 7 * 128, 8191, len(whole) - 1]
    for place in places + [draw.randrange(len(whole)) for _ in range(100)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
        found, damaged = find_snapshot(tmp_path)
        assert found.height == 1
        assert len(damaged) == 1
        assert str(path) in damaged[0]
    for size in [0, 1, 4096, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert find_snapshot(tmp_path)[0].height == 1
    path.write_bytes(whole + b"\0")
    assert find_snapshot(tmp_path)[0].height == 1
    path.write_bytes(whole)
    assert find_snapshot(tmp_path)[0].height == 2


def test_a_snapshot_under_the_name_of_another_height_is_passed_over(tmp_path):
    write_snapshot(tmp_path, 1, {"a": b"1"})
    (tmp_path / "000000000001.snapshot").rename(tmp_path / "000000000002.snapshot")
    found, damaged = find_snapshot(tmp_path)
    assert found is None
    assert "is of height 1" in damaged[0]


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "é", "a" * 48])
def test_names_that_do_not_fit_are_refused(tmp_path, name):
    with pytest.raises(StorageError, match="can't name a section"):
        write_snapshot(tmp_path, 1, {name: b""})
    assert names(tmp_path) == []


PAGE = 4096


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_snapshot_written_in_pieces_is_the_one_written_whole(tmp_path):
    draw = random.Random(5)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    whole.mkdir()
    pieces.mkdir()
    sections = {"a": draw.randbytes(9 * PAGE + 17), "b": b"", "c": draw.randbytes(6 * PAGE), "d": draw.randbytes(100)}
    write_snapshot(whole, 3, sections, binding=BINDING)
    sizes = {name: len(data) for name, data in sections.items()}
    with SnapshotWriter(pieces, 3, sizes, binding=BINDING) as writer:
        left = dict(sections)
        while left:
            name = draw.choice(list(left))
            size = PAGE * draw.randrange(1, 4)
            writer.append(name, left[name][:size])
            left[name] = left[name][size:]
            if not left[name]:
                del left[name]
        writer.finish()
    (one,), (other,) = whole.iterdir(), pieces.iterdir()
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("have", "size"), [(0, 17), (0, PAGE + 1), (0, 3 * PAGE), (PAGE, PAGE + 2), (2 * PAGE, 2)])
def test_a_piece_must_be_whole_pages_or_the_end_of_its_section(tmp_path, have, size):
    with SnapshotWriter(tmp_path, 1, {"a": 2 * PAGE + 1}) as writer:
        writer.append("a", bytes(have))
        with pytest.raises(StorageError, match=f"a: expected whole pages .* got {size}$"):
            writer.append("a", bytes(size))
        writer.append("a", bytes(2 * PAGE + 1 - have))
        writer.finish()
    snapshot, damaged = find_snapshot(tmp_path)
    assert snapshot.sections["a"].tolist() == [0] * (2 * PAGE + 1)
    assert not damaged


def test_a_snapshot_that_is_not_finished_leaves_nothing(tmp_path):
    write_snapshot(tmp_path, 1, {"a": b"old"})
    before = files(tmp_path)
    with SnapshotWriter(tmp_path, 2, {"a": 3, "b": 5}) as writer:
        writer.append("a", b"new")
        with pytest.raises(StorageError, match="b: 5 bytes are missing"):
            writer.finish()
    assert files(tmp_path) == before
    with pytest.raises(StorageError, match="closed"):
        writer.append("b", bytes(5))
    snapshot, _ = find_snapshot(tmp_path)
    assert snapshot.height == 1


def test_what_a_stopped_writer_left_is_removed_by_the_next(tmp_path):
    (tmp_path / "000000000004.snapshot.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"not ours")
    assert find_snapshot(tmp_path) == (None, [])
    write_snapshot(tmp_path, 5, {})
    assert names(tmp_path) == ["000000000005.snapshot", "notes.txt"]
    assert plain(find_snapshot(tmp_path)[0]) == {}


def test_a_disk_without_room_leaves_the_older_snapshot(tmp_path):
    """A limit on the size of files stands in for a full disk."""
    write_snapshot(tmp_path, 1, {"a": b"old"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write_snapshot(tmp_path, 2, sections_of(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["000000000001.snapshot"]
    assert plain(find_snapshot(tmp_path)[0]) == {"a": b"old"}


@pytest.mark.parametrize("seed", range(10))
def test_the_twin_and_the_native_write_and_read_the_same_bytes(tmp_path, seed):
    draw = random.Random(seed)
    count = draw.choice([0, 1, 5, 33, 70])
    sections = {f"s{i}": draw.randbytes(draw.choice([0, 1, 4096, 4097, 30_000])) for i in range(count)}
    write_snapshot(tmp_path, seed, sections, binding=BINDING)
    written = (tmp_path / f"{seed:012d}.snapshot").read_bytes()
    assert written == reference.to_bytes(seed, sections, BINDING)
    assert reference.from_bytes(written) == (seed, BINDING, sections)


def test_both_refuse_the_same_damage(tmp_path):
    draw = random.Random(5)
    sections = {"a": b"x" * 5000, "b": b"", "c": b"y"}
    whole = reference.to_bytes(3, sections, BINDING)
    path = tmp_path / "000000000003.snapshot"
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with pytest.raises(StorageError):
            reference.from_bytes(bytes(data))
        assert find_snapshot(tmp_path)[0] is None


def test_a_process_that_maps_a_snapshot_survives_its_replacement(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from pyledger.ledger.snapshots import find_snapshot, write_snapshot\n"
        "folder = Path(sys.argv[1])\n"
        "write_snapshot(folder, 1, {'a': b'1' * 100_000})\n"
        "view = find_snapshot(folder)[0].sections['a']\n"
        "for height in (1, 2, 3, 4): write_snapshot(folder, height, {'a': b'2' * 10})\n"
        "assert view.tobytes() == b'1' * 100_000\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script, tmp_path], check=True, timeout=60)
