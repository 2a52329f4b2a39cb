"""The vote store: nothing promised is forgotten, whatever instant the machine stops at."""

import os
import subprocess
import sys

import pytest

from pyledger.consensus.application import VoteRecord
from pyledger.consensus.messages import Certificate, VoteStatement
from pyledger.consensus.vote_store import VoteStore
from pyledger.errors import InputError, StateError, StorageError

CHAIN, KEY = b"c" * 16, b"k" * 96


def certificate(round, signers=b"\x07"):
    hashes = [bytes([number]) * 32 for number in range(4)]
    return Certificate(VoteStatement(CHAIN, 0, round, round, *hashes), signers, b"s" * 48)


def record(round, **fields):
    return VoteRecord(**{"epoch": 0, "voted": round, "block_hash": b"b" * 32, "lock": certificate(round - 1), **fields})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes"


def test_what_was_saved_is_there_when_opened_again(path):
    with VoteStore.create(path, CHAIN, KEY) as store:
        assert store.load() == VoteRecord()
        for round in range(1, 6):
            store.save(record(round))
    for round in range(6, 8):
        with VoteStore(path, CHAIN, KEY) as store:
            assert store.load() == record(round - 1)
            store.save(record(round))


def test_a_validator_does_not_start_without_its_store(path):
    with pytest.raises(StorageError, match="must not go on without it"):
        VoteStore(path, CHAIN, KEY)


def test_a_store_is_never_made_anew(path):
    with VoteStore.create(path, CHAIN, KEY) as store:
        store.save(record(3))
    with pytest.raises(StateError, match="already"):
        VoteStore.create(path, CHAIN, KEY)
    with VoteStore(path, CHAIN, KEY) as store:
        assert store.load() == record(3)
    assert [entry.name for entry in path.parent.iterdir()] == ["votes"]


def test_a_creation_cut_short_may_be_begun_again(path):
    path.with_name(".votes.new").write_bytes(b"half")
    VoteStore.create(path, CHAIN, KEY).close()


@pytest.mark.parametrize(("chain", "key"), [(b"d" * 16, KEY), (CHAIN, b"l" * 96)])
def test_the_store_of_another_chain_or_key_is_refused(path, chain, key):
    VoteStore.create(path, CHAIN, KEY).close()
    with pytest.raises(StateError, match="another chain or key"):
        VoteStore(path, chain, key)


def test_only_one_process_votes_with_a_key(path):
    code = (
        "import sys; from pyledger.consensus.vote_store import VoteStore\n"
        "from pyledger.errors import StateError\n"
        "try: VoteStore(sys.argv[1], b'c' * 16, b'k' * 96)\n"
        "except StateError as error: print(error)\n"
    )
    with VoteStore.create(path, CHAIN, KEY), pytest.raises(StateError, match="another process"):
        VoteStore(path, CHAIN, KEY)
    with VoteStore(path, CHAIN, KEY):
        said = subprocess.check_output([sys.executable, "-P", "-c", code, str(path)], text=True)
        assert "another process votes with this key" in said


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (record(4, timed_out=3, proposed=2, lock=certificate(4)), "takes back"),
        (record(5, timed_out=3, proposed=2, block_hash=b"c" * 32), "a second vote in epoch 0, round 5"),
        (record(5, timed_out=1, proposed=2), "takes back"),
        (record(5, timed_out=3, proposed=1), "takes back"),
        (record(5, timed_out=3, proposed=2, lock=None), "takes back"),
        (record(5, timed_out=3, proposed=2, lock=certificate(3)), "takes back"),
    ],
    ids=["vote", "second vote", "giving up", "proposal", "lock lost", "lock lowered"],
)
def test_no_record_takes_back_a_promise(path, later, says):
    with VoteStore.create(path, CHAIN, KEY) as store:
        kept = record(5, timed_out=3, proposed=2)
        store.save(kept)
        with pytest.raises(StateError, match=says):
            store.save(later)
        assert store.load() == kept
        store.save(VoteRecord(epoch=1))
        with pytest.raises(StateError, match="takes back"):
            store.save(record(9))


def test_every_torn_write_leaves_the_record_before_or_the_new_one(path):
    """All prefixes of sectors, then of bytes, of the write that a crash cut short."""
    with VoteStore.create(path, CHAIN, KEY) as store:
        store.save(record(1))
        store.save(record(2))
        before = path.read_bytes()
        store.save(record(3))
        after = path.read_bytes()
    changed = [place for place in range(len(before)) if before[place] != after[place]]
    assert changed
    for cut in [*range(0, len(before), 512), *changed]:
        path.write_bytes(after[:cut] + before[cut:])
        with VoteStore(path, CHAIN, KEY) as store:
            assert store.load() in (record(2), record(3))
            store.save(record(4))
            assert store.load() == record(4)


def test_sectors_of_a_torn_write_may_land_in_any_order(path):
    with VoteStore.create(path, CHAIN, KEY) as store:
        store.save(record(1))
        before = path.read_bytes()
        store.save(record(2))
        after = path.read_bytes()
    sectors = [at for at in range(0, len(before), 512) if before[at : at + 512] != after[at : at + 512]]
    for choice in range(2 ** len(sectors)):
        mixed = bytearray(before)
        for number, at in enumerate(sectors):
            if choice >> number & 1:
                mixed[at : at + 512] = after[at : at + 512]
        path.write_bytes(mixed)
        with VoteStore(path, CHAIN, KEY) as store:
            assert store.load() in (record(1), record(2))


def test_a_bad_sector_does_not_bring_an_old_record_back(path):
    with VoteStore.create(path, CHAIN, KEY) as store:
        for round in range(1, 4):
            store.save(record(round))
    content = bytearray(path.read_bytes())
    content[8192 + 60] ^= 1  # record 3 is in slot 1; its first copy goes bad
    path.write_bytes(content)
    with VoteStore(path, CHAIN, KEY) as store:
        assert store.load() == record(3)


@pytest.mark.parametrize("size", [0, 100, 12287, 12289])
def test_a_file_of_another_size_is_refused(path, size):
    VoteStore.create(path, CHAIN, KEY).close()
    path.write_bytes(path.read_bytes().ljust(12289, b"\0")[:size])
    with pytest.raises(StorageError, match="not a vote store"):
        VoteStore(path, CHAIN, KEY)


def test_a_store_without_a_whole_record_is_refused(path):
    VoteStore.create(path, CHAIN, KEY).close()
    path.write_bytes(path.read_bytes()[:4096] + bytes(8192))
    with pytest.raises(StorageError, match="no record in it is whole"):
        VoteStore(path, CHAIN, KEY)


def test_a_record_is_flushed_before_save_returns(path, monkeypatch):
    calls = []
    for name in ("pwrite", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, real=real: calls.append(name) or real(*given))
    with VoteStore.create(path, CHAIN, KEY) as store:
        store.save(record(1))
    assert calls == ["pwrite", "fdatasync"]


def test_creation_flushes_the_file_and_then_its_folder(path, monkeypatch):
    calls = []
    real_fsync, real_link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(os.readlink(f"/proc/self/fd/{fd}")) or real_fsync(fd))
    monkeypatch.setattr(os, "link", lambda *names: calls.append("link") or real_link(*names))
    VoteStore.create(path, CHAIN, KEY).close()
    assert calls == [str(path.with_name(".votes.new")), "link", str(path.parent)]


def test_a_short_or_failed_write_is_an_error(path, monkeypatch):
    with VoteStore.create(path, CHAIN, KEY) as store:
        monkeypatch.setattr(os, "pwrite", lambda *_: 100)
        with pytest.raises(StorageError, match="100 of 4096"):
            store.save(record(1))
        monkeypatch.undo()
        with pytest.raises(StorageError, match="an earlier write failed"):
            store.save(record(1))
    with VoteStore(path, CHAIN, KEY) as store:

        def fails(_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", fails)
        with pytest.raises(StorageError, match="Input/output"):
            store.save(record(1))
        monkeypatch.undo()
        with pytest.raises(StorageError, match="an earlier write failed"):
            store.save(record(2))


def test_a_record_that_does_not_fit_is_refused(path):
    with VoteStore.create(path, CHAIN, KEY) as store, pytest.raises(InputError, match="at most"):
        store.save(record(1, lock=certificate(0, b"x" * 2000)))


def test_the_record_of_the_largest_set_fits(path):
    largest = record(1, lock=certificate(0, b"x" * 512))
    with VoteStore.create(path, CHAIN, KEY) as store:
        store.save(largest)
    with VoteStore(path, CHAIN, KEY) as store:
        assert store.load() == largest
