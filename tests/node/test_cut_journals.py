"""Journals that lost blocks: where something is left that needs them nothing opens; elsewhere an audit can be told."""

import re
import shutil
import time

import pytest
from ledgers import accounts, genesis, members, transfers

import pyledger as pl
from pyledger.ledger.journal import Journal
from pyledger.node.keeping import Keeping
from pyledger.reference.journal import PAGE

TINY = Keeping(window=4, segment=3, snapshot_every=1 << 40)
R = pl.CreateTransferResult


def post_one_by_one(ledger, count):
    """Blocks of one transfer each."""
    first = ledger.height * 100
    for number in range(count):
        assert not ledger.post(transfers((first + number + 1, 1, 2, 5))).results.any()


@pytest.fixture
def small_segments(monkeypatch):
    """Journal files of a few blocks."""
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "segment_size", 4 * PAGE)


def make(path, blocks=12, keeping=TINY):
    """A closed ledger; gives its tip."""
    keys = members(1)
    with pl.Ledger.create(path, genesis(keys), keys=keys, keeping=keeping) as ledger:
        assert not ledger.create_accounts(accounts([1, 2])).any()
        post_one_by_one(ledger, blocks)
        return ledger.tip


def make_with_snapshot(path):
    """The same with snapshots, and no segment; gives the height of the newest one."""
    keys = members(1)
    with pl.Ledger.create(path, genesis(keys), keys=keys, keeping=Keeping(snapshot_every=9)) as ledger:
        assert not ledger.create_accounts(accounts([1, 2])).any()
        post_one_by_one(ledger, 9)
        for _ in range(1000):
            if any((path / "snapshots").glob("*.snapshot")):
                break
            time.sleep(0.01)
        post_one_by_one(ledger, 3)
    height = max(int(file.stem) for file in (path / "snapshots").iterdir())
    assert height > 7
    return height


def journal_files(path):
    return sorted((path / "journal").glob("*.blocks"))


def cut_to(path, height):
    """Leave the first blocks, as if nothing had ever followed; gives the file in which they end."""
    journal = Journal(path / "journal", pl.Ledger.read_genesis(path).hash, read_only=True)
    file, offset = journal.place(height + 1)
    journal.close()
    with file.open("r+b") as opened:
        opened.truncate(offset - 128)
    for later in journal_files(path):
        if later.name > file.name:
            later.unlink()
    return file


def contents(path):
    return {file: file.read_bytes() for folder in ("journal", "segments") for file in (path / folder).iterdir()}


def require_refused(path, *patterns):
    """Neither opened nor audited, each time with a message that has all of this; no file loses a byte."""
    before = contents(path)
    for call in (
        lambda: pl.Ledger.open(path, keys=members(1), keeping=TINY),
        lambda: pl.Ledger.open(path, read_only=True),
        lambda: pl.Ledger.audit_folder(path),
    ):
        with pytest.raises(pl.StorageError) as caught:
            call()
        for pattern in patterns:
            assert re.search(pattern, str(caught.value)), caught.value
        after = contents(path)
        assert after.keys() == before.keys()
        assert all(after[file].startswith(data) for file, data in before.items())


def test_half_a_journal_is_refused_where_a_snapshot_needs_more(tmp_path):
    known = make_with_snapshot(tmp_path)
    file = cut_to(tmp_path, 6)
    found = r"found whole ones up to 6; refusing"
    require_refused(tmp_path, re.escape(f"{file}, offset"), f"blocks up to {known} .*{known:012d}.snapshot", found)


def test_a_journal_cut_within_a_block_is_refused_where_a_snapshot_needs_more(tmp_path):
    known = make_with_snapshot(tmp_path)
    file = cut_to(tmp_path, 7)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 100)
    require_refused(tmp_path, re.escape(str(file)), f"blocks up to {known} ", "whole ones up to 6")


def test_a_journal_without_any_block_is_refused_where_a_snapshot_needs_some(tmp_path):
    known = make_with_snapshot(tmp_path)
    for file in journal_files(tmp_path):
        file.unlink()
    require_refused(tmp_path, re.escape(str(tmp_path / "journal")), f"blocks up to {known} ", "whole ones up to 0")


def test_the_last_segment_gone_is_refused_where_a_snapshot_needs_it(tmp_path, small_segments):
    known = make_with_snapshot(tmp_path)
    before, *gone = (file for file in journal_files(tmp_path) if int(file.stem) > known - 6)
    assert int(gone[0].stem) <= known
    for file in gone:
        file.unlink()
    end = int(gone[0].stem) - 1
    require_refused(tmp_path, re.escape(str(before)), f"blocks up to {known} ", f"up to {end}; refusing")


def test_a_middle_segment_gone_is_refused_by_what_follows(tmp_path, small_segments):
    make(tmp_path)
    first, second, third, *_ = journal_files(tmp_path)
    second.unlink()
    wanted = f"continues with block {int(second.stem)}, found one of block {int(third.stem)}"
    require_refused(tmp_path, re.escape(str(third)), wanted)
    first.unlink()
    require_refused(tmp_path, re.escape(str(third)), f"continues with block 1, found one of block {int(third.stem)}")


@pytest.mark.parametrize("cut", [slice(1, None), slice(0, -1), slice(0, -7), slice(0, 5)])
def test_a_segment_that_lost_a_part_of_its_name_is_named(tmp_path, small_segments, cut):
    make(tmp_path)
    last = journal_files(tmp_path)[-1]
    misnamed = last.rename(last.with_name(last.name[cut]))
    require_refused(tmp_path, re.escape(str(misnamed)), f"height {int(last.stem)} on", f"Name it {last.name}")
    misnamed.rename(last)
    assert pl.Ledger.audit_folder(tmp_path).ok


def test_other_files_among_the_segments_are_no_matter(tmp_path):
    make(tmp_path)
    (tmp_path / "journal" / "notes.txt").write_text("kept here by somebody")
    (tmp_path / "journal" / "old").mkdir()
    assert pl.Ledger.audit_folder(tmp_path).ok


def test_a_journal_of_fewer_transfers_than_are_sealed_is_refused(tmp_path):
    """Without a snapshot: segments alone show that there was more."""
    make(tmp_path)
    segments = sorted((tmp_path / "segments").iterdir())
    sealed = sum(int(file.stem.split("-")[1], 16) for file in segments)
    assert sealed >= 6
    file = cut_to(tmp_path, sealed)  # the first block has the accounts
    require_refused(
        tmp_path,
        re.escape(str(file)),
        f"ends with block {sealed}, which makes {sealed - 1} transfers",
        re.escape(f"{segments[-1]} is about the first {sealed}"),
    )


def test_as_many_transfers_as_are_sealed_are_enough(tmp_path):
    make(tmp_path)
    sealed = sum(int(file.stem.split("-")[1], 16) for file in (tmp_path / "segments").iterdir())
    cut_to(tmp_path, sealed + 1)
    assert pl.Ledger.audit_folder(tmp_path).blocks == sealed + 1
    with pl.Ledger.open(tmp_path, keys=members(1), keeping=TINY) as ledger:
        assert ledger.height == sealed + 1


def test_a_segment_whose_head_is_damaged_says_nothing(tmp_path):
    make(tmp_path)
    for file in (tmp_path / "segments").iterdir():
        file.write_bytes(bytes(100))
    cut_to(tmp_path, 3)
    with pl.Ledger.open(tmp_path, keys=members(1), keeping=TINY) as ledger:
        assert ledger.height == 3


# What nothing in the folder shows ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A ledger without snapshots and segments, and what people hold of it."""
    path, keys = tmp_path_factory.mktemp("held") / "ledger", members(1)
    with pl.Ledger.create(path, genesis(keys), keys=keys) as ledger:
        assert not ledger.create_accounts(accounts([1, 2])).any()
        post_one_by_one(ledger, 10)
        header = ledger.header(9)
        transfer = int.from_bytes(ledger.block(9).body.transfers["id"][0].tobytes(), "little")
        proofs = {
            "receipt": ledger.prove(transfer),
            "history": ledger.prove_history(3, 9),
            "header": header.to_bytes(),
            "place": (9, header.hash),
            "height": (9, None),
            "balance": ledger.prove_balance(1),
        }
    return path, proofs


@pytest.fixture
def copy(held, tmp_path):
    shutil.copytree(held[0], tmp_path / "ledger")
    return tmp_path / "ledger"


KINDS = ["receipt", "history", "header", "place", "height", "balance"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_somebody_holds_shows_that_a_journal_was_cut(held, copy, kind):
    assert pl.Ledger.audit_folder(copy, reach=[held[1][kind]]).ok
    cut_to(copy, 5)
    assert pl.Ledger.audit_folder(copy).ok  # nothing here can tell
    report = pl.Ledger.audit_folder(copy, reach=[held[1][kind]])
    assert (report.ok, report.blocks, report.block, report.field) == (False, 5, 6, "height")
    assert f"end with block 5, hash {report.tip.hex()}" in report.difference
    assert re.search(r"expected block (9|11|12)", report.difference)
    with pl.Ledger.open(copy, read_only=True) as ledger:
        assert ledger.audit(reach=[held[1][kind]]) == report


def test_a_ledger_that_went_on_in_another_way_is_not_the_one_that_was_proven(held, copy):
    """Cut, then written to again: as long as before, and nothing in the folder contradicts it."""
    cut_to(copy, 5)
    with pl.Ledger.open(copy, keys=members(1)) as ledger:
        for number in range(900, 910):
            assert not ledger.post(transfers((number, 2, 1, 1))).results.any()
    assert pl.Ledger.audit_folder(copy, reach=[held[1]["height"]]).ok
    for kind in ("receipt", "history", "header", "place", "balance"):
        report = pl.Ledger.audit_folder(copy, reach=[held[1]["height"], held[1][kind]])
        assert (report.ok, report.field) == (False, "hash")
        assert report.block >= 9


def test_what_is_held_must_be_right_and_of_this_chain(held, copy, tmp_path):
    receipt = held[1]["receipt"]
    with pytest.raises(pl.ProofError):
        pl.Ledger.audit_folder(copy, reach=[receipt[:-1]])
    forged = bytearray(receipt)
    forged[20] ^= 1
    with pytest.raises(pl.ProofError):
        pl.Ledger.audit_folder(copy, reach=[bytes(forged)])
    keys = members(1, b"other")
    with pl.Ledger.create(tmp_path / "other", genesis(keys), keys=keys) as other:
        assert not other.create_accounts(accounts([1])).any()
        with pytest.raises(pl.ProofError):
            other.audit(reach=[receipt])
        with pytest.raises(pl.InputError, match="the header is of chain"):
            other.audit(reach=[held[1]["header"]])
    for wrong, expected in (((0, None), "expected a height from 1"), ((3, b"short"), "expected 32 bytes, got 5 bytes")):
        with pytest.raises(pl.InputError, match=expected):
            pl.Ledger.audit_folder(copy, reach=[wrong])
