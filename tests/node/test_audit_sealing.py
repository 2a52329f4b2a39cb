"""An audit that puts old transfers on disk finds what one in memory finds; its own disk is not the ledger's fault."""

import tempfile
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from ledgers import accounts, genesis, members, payload_of, transfers
from traffic import SECOND, Clock

import pyledger as pl
from pyledger.ledger.journal import Journal
from pyledger.ledger.store import SealedTransfers
from pyledger.node.auditing import audit_journal
from pyledger.node.certified import decode_payload
from pyledger.types import TransferFlags as TF

BLOCKS = 12


@pytest.fixture(scope="module")
def ledger_folder(tmp_path_factory):
    """A ledger whose pending transfers are posted, voided and expired long after they were sealed."""
    folder, keys, clock = tmp_path_factory.mktemp("sealing") / "ledger", members(1), Clock()
    with pl.Ledger.create(folder, genesis(keys), keys=keys, clock=clock) as ledger:
        assert not ledger.create_accounts(accounts([1, 2, 3])).any()
        for number in range(BLOCKS):
            first = 100 * (number + 1)
            moves = transfers((first, 1, 2, 50), (first + 1, 2, 3, 5), (first + 2, 3, 1, 7), (first + 3, 1, 3, 9))
            moves["flags"] = [0, TF.PENDING, TF.PENDING, TF.PENDING]
            moves["timeout"] = [0, 0, 0, 3]
            assert not ledger.post(moves).results.any()
            clock.now_ns += SECOND
        for number in range(BLOCKS):
            first = 100 * (number + 1)
            ends = transfers((first + 10, 0, 0, 4), (first + 11, 0, 0, 0))
            ends["flags"] = [TF.POST_PENDING_TRANSFER, TF.VOID_PENDING_TRANSFER]
            ends["pending_id"], ends["ledger"], ends["code"] = pl.u128_array([first + 1, first + 2]), 0, 0
            assert not ledger.post(ends).results.any()
    return folder


def journal_of(folder):
    chain = pl.Ledger.read_genesis(folder)
    return chain, closing(Journal(folder / "journal", chain.hash, read_only=True))


def audited(folder, **sizes):
    chain, journal = journal_of(folder)
    with journal as opened:
        return audit_journal(chain, opened, None, (), **sizes)


def changed(folder, to, height, edit):
    """A copy of the journal in which the block at a height is another one."""
    chain, journal = journal_of(folder)
    (to / "journal").mkdir(parents=True)
    (to / "genesis").write_bytes((folder / "genesis").read_bytes())
    with journal as source, closing(Journal(to / "journal", chain.hash)) as target:
        for place, payload in source.payloads():
            block, certificate = decode_payload(payload)
            if place == height:
                edit(block)
            target.append(place, payload_of(block, certificate))
    return to


def flip_amount(block):
    transfers_column = block.body.transfers.copy()
    transfers_column["amount"]["lo"][0] ^= 1
    object.__setattr__(block.body, "transfers", transfers_column)


@pytest.mark.parametrize(("window", "segment"), [(0, 1), (2, 3), (7, 5)])
def test_an_audit_that_seals_finds_a_good_ledger_good(ledger_folder, window, segment):
    in_memory = audited(ledger_folder)
    assert in_memory.ok
    assert in_memory.transfers == 6 * BLOCKS
    assert audited(ledger_folder, window=window, segment=segment) == in_memory


@pytest.mark.parametrize("height", [2, 2 + BLOCKS // 2, 2 + BLOCKS, 1 + 2 * BLOCKS])
def test_an_audit_that_seals_names_what_one_in_memory_names(ledger_folder, tmp_path, height):
    folder = changed(ledger_folder, tmp_path / "changed", height, flip_amount)
    in_memory = audited(folder)
    assert (in_memory.block, in_memory.ok) == (height, False)
    assert audited(folder, window=2, segment=3) == in_memory


def test_no_room_for_an_audit_s_segments_is_no_difference(ledger_folder, monkeypatch):
    def full(*_):
        raise pl.StorageError("no room")

    monkeypatch.setattr(SealedTransfers, "seal", full)
    with pytest.raises(pl.StorageError, match="no room"):
        audited(ledger_folder)


def test_no_temporary_folder_is_an_error_that_says_so(ledger_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(pl.StorageError, match="temporary folder for the audit"):
        audited(ledger_folder)


def test_an_audit_leaves_nothing_in_the_temporary_folder(ledger_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert audited(ledger_folder, window=0, segment=1).ok
    assert not list(tmp_path.iterdir())


def test_an_audit_scans_its_state_when_the_ledger_has_doubled_and_at_the_end(ledger_folder, monkeypatch):
    scans = []
    scan = pl.ledger.book.Book.check_invariants
    monkeypatch.setattr(
        pl.ledger.book.Book, "check_invariants", lambda book: scans.append(book.records_count) or scan(book)
    )
    assert audited(ledger_folder, window=2, segment=3).ok
    assert scans[-1] == 3 + 6 * BLOCKS
    assert all(later >= 2 * earlier for earlier, later in pairwise(scans[:-1]))
    assert np.diff(scans).min() >= 0


@pytest.mark.parametrize(("window", "segment"), [(0, 1), (2, 3), (7, 5)])
def test_an_audit_keeps_its_window_in_memory_and_seals_the_rest(ledger_folder, monkeypatch, window, segment):
    sealed = []
    monkeypatch.setattr(
        pl.ledger.book.Book, "check_invariants", lambda book: sealed.append(int(book.engine.sealed_count))
    )
    assert audited(ledger_folder, window=window, segment=segment).ok
    assert window <= 6 * BLOCKS - sealed[-1] < window + segment
