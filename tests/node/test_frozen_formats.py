"""What was written before is read today, and today's encoders write the same bytes: no format changes in silence."""

import json
import shutil

import msgspec
import numpy as np
import pytest
from frozen_ledger import ATTESTING_LATER, OWNED, OWNED_LATER, VECTORS, make, make_votes, vote_record, wire
from ledgers import members, transfers

import pyledger as pl
from pyledger.consensus import messages as m
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.vote_store import VoteStore
from pyledger.ledger.commands import Attestation, Change, Order, RegisterKeys, SignedRefusals, decode_commands
from pyledger.ledger.journal import Journal
from pyledger.node.certified import decode_payload
from pyledger.node.keeping import resume_book

BLOCKS = json.loads((VECTORS / "blocks.json").read_text())
WIRE = {name: bytes.fromhex(data) for name, data in json.loads((VECTORS / "wire.json").read_text()).items()}
TOTALS = {
    1: (80, 305 + (1 << 100), 0, 1000),
    2: (0, 0, 80, 311),
    5: (0, 0, 0, 1 << 100),
    9: (0, 1006, 0, 0),
    4: (0, 0, 0, 0),
}
"""Debits pending and posted, credits pending and posted of each account."""
STATEMENTS = (m.VoteStatement, m.TimeoutStatement, m.ProposalStatement, m.BatchStatement)
MESSAGES = [name for name in WIRE if name.endswith(" message")]


@pytest.fixture
def then(tmp_path):
    """The files as they were written then: the ledger's folder, proofs, a vote store."""
    shutil.unpack_archive(VECTORS / "ledger.zip", tmp_path / "then")
    return tmp_path / "then"


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    """The same ledger made today, and its proofs."""
    folder = tmp_path_factory.mktemp("now") / "ledger"
    return folder, make(folder)


def proofs_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix and path.is_file()}


def payloads(folder):
    genesis = pl.Genesis.from_bytes((folder / "genesis").read_bytes())
    journal = Journal(folder / "journal", genesis.hash, read_only=True)
    try:
        return [journal.read(height) for height in range(1, journal.height + 1)]
    finally:
        journal.close()


def test_a_folder_of_then_opens_with_its_blocks_and_balances(then):
    with pl.Ledger.open(then / "ledger", read_only=True) as ledger:
        headers = [ledger.header(height) for height in range(1, ledger.height + 1)]
        assert [{"hash": one.hash.hex(), "state_root": one.state_root.hex()} for one in headers] == BLOCKS
        for number, totals in TOTALS.items():
            assert ledger.balance(number) == pl.Balance(*totals)
        statuses = {number: ledger.transfer(number).status.name for number in (20, 30, 32, 33)}
        assert statuses == {20: "NONE", 30: "POSTED", 32: "PENDING", 33: "EXPIRED"}
        for refused in (21, 24, 41):
            with pytest.raises(pl.InputError, match="did not take effect"):
                ledger.transfer(refused)


def test_a_folder_of_then_passes_the_audit(then):
    report = pl.Ledger.audit_folder(then / "ledger", reach=list(proofs_of(then).values()))
    assert report.ok, report
    assert report.blocks == len(BLOCKS)


def test_a_snapshot_of_then_is_a_start_today(then):
    genesis = pl.Genesis.from_bytes((then / "ledger" / "genesis").read_bytes())
    journal = Journal(then / "ledger" / "journal", genesis.hash, read_only=True)
    try:
        book, headers = resume_book(genesis, then / "ledger", journal)
    finally:
        journal.close()
    (snapshot,) = (then / "ledger" / "snapshots").glob("*.snapshot")
    assert len(headers) == int(snapshot.stem) > 0
    assert book.engine.transfer_count > 4


def test_a_folder_of_then_is_gone_on_with(then):
    first, second = members(2)
    keys = [pl.InstitutionKeys(first.bic, ATTESTING_LATER, first.validator), second]
    with pl.Ledger.open(then / "ledger", keys=keys, clock=lambda: 2 * 10**18) as ledger:
        assert ledger.post(transfers((50, 9, 2, 7)), institution="BANKAAXX").results.tolist() == [0]
        record = transfers((51, 1, 2, 8))
        signature = pl.signing.sign_transfers([OWNED_LATER], ledger.genesis.chain_id, record)
        index = ledger.find_key(OWNED_LATER.public_key)
        posted = ledger.post(record, signers=np.array([index], np.uint32), signatures=signature)
        assert posted.results.tolist() == [0]
        assert ledger.balance(2).credits_posted == TOTALS[2][3] + 15
        assert ledger.audit().ok


def test_proofs_of_then_hold(then):
    trust = pl.Trust.from_json((then / "ledger" / "trust.json").read_bytes())
    receipts = {int(name.split(".")[0]): data for name, data in proofs_of(then).items() if name.endswith("receipt")}
    posted = {number: pl.verify_receipt(receipt, trust).posted_amount for number, receipt in receipts.items()}
    assert posted == {20: 1000, 22: 250, 23: 1 << 100, 31: 45, 40: 3, 42: 4}
    assert pl.verify_receipt(receipts[22], trust).public_key == OWNED.public_key
    assert pl.verify_receipt(receipts[42], trust).public_key == OWNED_LATER.public_key
    held = pl.verify_balance((then / "1.balance").read_bytes(), trust)
    assert (held.debits_pending, held.debits_posted, held.credits_pending, held.credits_posted) == TOTALS[1]
    assert type(pl.verify_balance((then / "77.balance").read_bytes(), trust)).__name__ == "VerifiedAbsence"
    assert pl.verify_history((then / "2-9.consistency").read_bytes(), trust)


def test_blocks_genesis_and_trust_are_written_as_then(then, now):
    folder, _ = now
    for name in ("genesis", "trust.json"):
        assert (folder / name).read_bytes() == (then / "ledger" / name).read_bytes()
    assert payloads(folder) == payloads(then / "ledger")


def test_proofs_are_written_as_then(then, now):
    assert now[1] == proofs_of(then)
    with pl.Ledger.open(then / "ledger", read_only=True) as ledger:
        for name, proof in proofs_of(then).items():
            number, kind = name.split(".")
            if kind != "consistency":
                prove = ledger.prove if kind == "receipt" else ledger.prove_balance
                assert prove(int(number)) == proof
        assert ledger.prove_history(2, 9) == (then / "2-9.consistency").read_bytes()


def test_the_folder_has_every_command_that_one_process_writes(then):
    commands = [command for data in payloads(then / "ledger") for command in decode_payload(data)[0].body.commands]
    assert {type(command) for command in commands} == {RegisterKeys, Attestation, Change, Order, SignedRefusals}


def test_votes_of_then_are_known_and_written_as_then(then, tmp_path):
    make_votes(tmp_path / "votes")
    assert (tmp_path / "votes").read_bytes() == (then / "votes").read_bytes()
    with VoteStore(then / "votes", bytes(range(16)), b"k" * 96) as store:
        assert store.load() == vote_record()


def test_what_validators_sign_and_send_is_written_as_then():
    assert wire() == WIRE


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_of_then_are_read(name):
    assert m.encode(m.decode(WIRE[name])) == WIRE[name]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_of_then_are_read(statement):
    data = WIRE[f"{statement.NAME} statement"]
    assert statement.from_bytes(data).to_bytes() == data


def test_a_command_of_then_that_changes_validators_is_read():
    data = b"\x91" + WIRE["validators command"]  # an array of one
    assert msgspec.msgpack.encode(decode_commands(data)) == data


def test_evidence_of_then_is_read():
    assert Evidence.from_bytes(WIRE["evidence"]).to_bytes() == WIRE["evidence"]
