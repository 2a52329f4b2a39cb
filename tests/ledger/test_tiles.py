"""Exports of a log as tiles: another reader checks every step, and nothing that was published ever changes."""

import errno
import fcntl
import itertools
import os

import pytest
import tile_reader
from cryptography.exceptions import InvalidSignature

from pyledger.crypto import merkle
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, LedgerError, ProofError, SignatureError, StorageError
from pyledger.formats import atomic
from pyledger.ledger import history, tiles

KEY = SigningKey.from_seed(b"k" * 32)
ORIGIN = "ledger.example/history"
VERIFIER = history.VerifierKey(ORIGIN, KEY.public_key)


def entry(number):
    return b"entry %d of one log" % number


def log_of(size, make=entry):
    log = merkle.Log()
    for number in range(size):
        log.append(merkle.leaf_hash(make(number)))
    return log


@pytest.fixture(scope="module")
def log():
    return log_of(70_000)


def publish(folder, log, size, key=KEY, origin=ORIGIN, make=entry, progress=None):
    return tiles.publish_log(folder, log, size, make, origin, key, progress)


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_published(folder, log, size):
    expected = (size, log.root_at(size), [entry(number) for number in range(size)])
    assert tile_reader.read_log(folder, str(VERIFIER)) == expected
    assert tiles.check_log(folder, VERIFIER) == history.Checkpoint(ORIGIN, size, log.root_at(size))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 513, 70_000])
def test_another_reader_finds_every_entry_and_tile(tmp_path, log, size):
    published = publish(tmp_path, log, size)
    assert_published(tmp_path, log, size)
    assert (published.size, published.old_size, published.root) == (size, 0, log.root_at(size))
    assert published.verifier_key == str(VERIFIER)
    assert published.files == len(files_of(tmp_path)) - 1


def test_an_export_goes_on_and_changes_no_published_file(tmp_path, log):
    old_size, before = 0, {}
    for size in [3, 3, 200, 256, 300, 511, 512, 1000, 65_535, 65_536, 66_000, 66_000]:
        published = publish(tmp_path / "log", log, size)
        assert_published(tmp_path / "log", log, size)
        after = files_of(tmp_path / "log")
        del after["checkpoint"]
        assert published.old_size == old_size
        assert published.files == len(after.keys() - before.keys())
        assert all(after[path] == content for path, content in before.items() if path in after)
        assert all(is_outgrown(path, size) for path in before.keys() - after.keys())
        old_size, before = size, after
    publish(tmp_path / "at once", log, 66_000)
    at_once = files_of(tmp_path / "at once")
    assert at_once.pop("checkpoint") == (tmp_path / "log" / "checkpoint").read_bytes()
    assert at_once.items() <= before.items()
    whole = {path for path in before if ".p/" not in path}
    assert {path: before[path] for path in whole} == {path: at_once[path] for path in at_once if ".p/" not in path}


def is_outgrown(path, size):
    """Whether a partial tile's whole one belongs to the tree of this size."""
    level, number = path.split("/")[1], int(path.split("/")[-2].removesuffix(".p"))
    return size >> (0 if level == "entries" else 8 * int(level)) >= 256 * (number + 1)


def test_partial_tiles_go_once_the_whole_one_is_there(tmp_path, log):
    publish(tmp_path, log, 250)
    assert (tmp_path / "tile/0/000.p/250").exists()
    publish(tmp_path, log, 256)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"} <= names
    assert not any(name.startswith(("tile/0/000.p", "tile/entries/000.p")) for name in names)
    publish(tmp_path, log, 300)
    publish(tmp_path, log, 400)
    assert {path.name for path in (tmp_path / "tile/0/001.p").iterdir()} == {"44", "144"}  # both were checkpoints'


def test_nothing_new_leaves_every_file_untouched(tmp_path, log):
    publish(tmp_path, log, 300)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    assert publish(tmp_path, log, 300).files == 0
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before


def test_progress_names_each_bundle_up_to_the_size(tmp_path, log):
    seen = []
    publish(tmp_path, log, 600, progress=seen.append)
    publish(tmp_path, log, 700, progress=seen.append)
    assert seen == [256, 512, 600, 700]


def test_checkpoints_of_all_exports_are_consistent(tmp_path, log):
    roots = []
    for size in (1, 77, 256, 700):
        publish(tmp_path, log, size)
        roots.append(tile_reader.read_checkpoint((tmp_path / "checkpoint").read_bytes(), str(VERIFIER)))
    for (old, old_root), (new, new_root) in itertools.combinations(roots, 2):
        merkle.verify_consistency(old, old_root, new, new_root, log.prove_consistency(old, new))


def test_a_folder_of_another_log_is_refused(tmp_path, log):
    publish(tmp_path, log, 300)
    before = files_of(tmp_path)

    def other(number):
        return entry(number) if number != 20 else b"rewritten"

    with pytest.raises(InputError, match="checkpoint: the folder holds the log of another chain"):
        publish(tmp_path, log_of(400, other), 400, make=other)
    with pytest.raises(InputError, match="checkpoint: the folder's log has 300 entries, this ledger 299 final blocks"):
        publish(tmp_path, log, 299)
    with pytest.raises(SignatureError, match=r"checkpoint: not a checkpoint of 'ledger\.example/history' by this key"):
        publish(tmp_path, log, 400, key=SigningKey.from_seed(b"o" * 32))
    with pytest.raises(SignatureError, match="by this key"):
        publish(tmp_path, log, 400, origin="elsewhere.example")
    assert files_of(tmp_path) == before


def test_a_folder_with_something_else_is_refused(tmp_path, log):
    (tmp_path / "tile").mkdir()
    with pytest.raises(InputError, match="not empty and holds no log"):
        publish(tmp_path, log, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["tile"]


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb"])
def test_an_origin_that_names_no_key_is_refused_before_anything_is_written(tmp_path, log, origin):
    with pytest.raises(InputError, match="key name"):
        publish(tmp_path / "log", log, 3, origin=origin)
    assert not (tmp_path / "log").exists()


def test_a_tile_that_is_there_with_other_content_is_never_replaced(tmp_path, log):
    publish(tmp_path, log, 10)
    (tmp_path / "tile/0/000").write_bytes(bytes(8192))
    with pytest.raises(InputError, match="tile/0/000: a tile never changes"):
        publish(tmp_path, log, 256)
    assert (tmp_path / "tile/0/000").read_bytes() == bytes(8192)
    assert_published(tmp_path, log, 10)


def test_only_one_export_writes_to_a_folder(tmp_path, log):
    publish(tmp_path, log, 10)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StorageError, match="another export is writing here"):
        publish(tmp_path, log, 20)
    os.close(descriptor)
    publish(tmp_path, log, 20)
    assert_published(tmp_path, log, 20)


PARTS = ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"]


@pytest.mark.parametrize("part", PARTS)
def test_an_altered_truncated_extended_or_missing_tile_is_refused(tmp_path, log, part):
    publish(tmp_path, log, 300)
    path = tmp_path / part
    good = path.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert_refused(tmp_path, ProofError)
    for content in (good[:-1], good[:-32], good + b"\0", good + good[-32:], b""):
        path.write_bytes(content)
        assert_refused(tmp_path, ProofError)
    path.unlink()
    assert_refused(tmp_path, StorageError)
    path.write_bytes(good)
    assert_published(tmp_path, log, 300)


def assert_refused(folder, error):
    with pytest.raises(error):
        tiles.check_log(folder, VERIFIER)
    with pytest.raises((ValueError, OSError)):
        tile_reader.read_log(folder, str(VERIFIER))


def test_an_altered_or_truncated_checkpoint_is_refused(tmp_path, log):
    publish(tmp_path, log, 300)
    path = tmp_path / "checkpoint"
    good = path.read_bytes()
    for place in range(len(good)):
        for content in (good[:place], good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]):
            path.write_bytes(content)
            with pytest.raises(LedgerError):
                tiles.check_log(tmp_path, VERIFIER)
            with pytest.raises((ValueError, InvalidSignature)):
                tile_reader.read_log(tmp_path, str(VERIFIER))
            with pytest.raises((InputError, SignatureError)):
                publish(tmp_path, log, 400)


def test_a_checkpoint_that_another_key_signed_is_refused(tmp_path, log):
    publish(tmp_path, log, 30, key=SigningKey.from_seed(b"o" * 32))
    with pytest.raises(SignatureError, match="by this key"):
        tiles.check_log(tmp_path, VERIFIER)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_at_any_file_leaves_the_old_checkpoint_and_can_go_on(tmp_path, log, monkeypatch, call):
    """Every write in turn is the first that fails: the old tree stays readable, and the next export completes."""
    for fail_at in itertools.count():
        folder = tmp_path / str(fail_at)
        publish(folder, log, 250)
        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, call, failing_once(getattr(os, call), fail_at))
            problem = failure(lambda folder=folder: publish(folder, log, 600))
        if problem is None:
            break
        assert "No space left on device" in problem
        assert tiles.check_log(folder, VERIFIER).size in (250, 600)
        assert not any(path.name.endswith(".tmp") for path in folder.rglob("*"))
        publish(folder, log, 600)
        assert_published(folder, log, 600)
    assert fail_at >= 8  # three bundles, three tiles and one above them, the checkpoint
    assert_published(folder, log, 600)


def failing_once(real, fail_at):
    calls = itertools.count()

    def call(*arguments):
        if next(calls) == fail_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    return call


def failure(action):
    """The message of the StorageError, None if there is none."""
    try:
        action()
    except StorageError as error:
        return str(error)
    return None


def test_a_first_export_that_was_stopped_is_known_by_its_key_and_goes_on(tmp_path, log):
    class Stop(BaseException):
        pass

    def stop(size):
        if size > 256:
            raise Stop

    with pytest.raises(Stop):
        publish(tmp_path, log, 600, progress=stop)
    assert tiles.check_log(tmp_path, VERIFIER).size == 0
    with pytest.raises(SignatureError):
        publish(tmp_path, log, 600, key=SigningKey.from_seed(b"o" * 32))
    publish(tmp_path, log, 600)
    assert_published(tmp_path, log, 600)
