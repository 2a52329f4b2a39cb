"""The audit finds every change to what is in the journal, and names the first by block, record and field.

Each case changes one thing and writes the journal anew, all its digests right again: only the audit can see it.
"""

import shutil
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest
from ledgers import accounts, genesis, members, payload_of, register, sign, transfers
from traffic import SECOND, Clock

import pyledger as pl
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Header
from pyledger.ledger.commands import (
    REFUSED_SIGNED,
    REFUSED_TRANSFER,
    Attestation,
    RegisterKeys,
    SignedRefusals,
)
from pyledger.ledger.journal import Journal
from pyledger.node import certified
from pyledger.types import TransferFlags as TF

KEYS, ACCOUNTS, SIGNED, ATTESTED, RESOLVED, BURNING, LAST = 1, 2, 3, 4, 5, 6, 7


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """(folder, payloads) of a ledger whose blocks hold everything that a block can hold."""
    folder = tmp_path_factory.mktemp("audited") / "ledger"
    keys, clock = members(1), Clock()
    customer = pl.keys.SigningKey.from_seed(b"c" * 32)
    with pl.Ledger.create(folder, genesis(keys), keys=keys, clock=clock) as ledger:
        owner = register(ledger, [customer])
        ledger.create_accounts(accounts([1, 2, 3]), owners=np.repeat(owner, 3))
        moves = transfers((10, 1, 2, 500), (11, 2, 3, 50), (12, 3, 1, 7))
        signatures = sign(ledger.genesis.chain_id, moves, [customer] * 3)
        assert not ledger.post(moves, signers=np.repeat(owner, 3), signatures=signatures).results.any()
        mixed = transfers((20, 1, 2, 9), (21, 2, 77, 5), (22, 1, 3, 60), (23, 1, 3, 30))
        mixed["flags"] = [0, 0, TF.PENDING, TF.PENDING]
        mixed["timeout"] = [0, 0, 0, 1]
        assert np.count_nonzero(ledger.post(mixed).results) == 1
        clock.now_ns += 2 * SECOND
        resolve = transfers((30, 0, 0, 40), flags=TF.POST_PENDING_TRANSFER)
        resolve["pending_id"], resolve["ledger"], resolve["code"] = pl.u128_array([22]), 0, 0
        assert not ledger.post(np.concatenate([resolve, transfers((31, 3, 1, 10**6), flags=0)])).results.any()
        burning = transfers((40, 1, 2, 1), (41, 1, 2, 2), (42, 1, 77, 3), (43, 2, 3, 4), (44, 1, 2, 0), (45, 88, 1, 1))
        burning["flags"][1] = TF.LINKED
        signatures = sign(ledger.genesis.chain_id, burning, [customer] * 6)
        assert np.count_nonzero(ledger.post(burning, signers=np.repeat(owner, 6), signatures=signatures).results) == 3
        ledger.seal()
        payloads = [payload for _, payload in ledger._journal.payloads()]
    return folder, payloads


def audited(book, tmp_path, height, edit):
    """Report on a copy in which one block, or its certificate, was edited."""
    source, payloads = book
    shutil.copytree(source, tmp_path / "ledger", ignore=shutil.ignore_patterns("*.blocks", "lock"))
    chain = pl.Ledger.read_genesis(source)
    journal = Journal(tmp_path / "ledger" / "journal", chain.hash)
    for place, payload in enumerate(payloads, 1):
        block, certificate = certified.decode_payload(payload)
        if place == height:
            block, certificate = edit(block, certificate)
        journal.append(place, payload_of(block, certificate))
    journal.close()
    return pl.Ledger.audit_folder(tmp_path / "ledger")


def in_header(**changes):
    return lambda block, certificate: (replace(block, header=replace(block.header, **changes)), certificate)


def in_column(column, row, *names, value=None):
    """Set a field of a record; by default change one bit of it."""

    def edit(block, certificate):
        array = getattr(block.body, column).copy()
        field = array
        for name in names:
            field = field[name]
        if value is None:
            raw = bytearray(field[row].tobytes())
            raw[0] ^= 1
            field[row : row + 1] = np.frombuffer(bytes(raw), field.dtype).reshape(field[row : row + 1].shape)
        else:
            field[row] = value
        return replace(block, body=replace(block.body, **{column: array})), certificate

    return edit


def in_command(place, **changes):
    def edit(block, certificate):
        commands = list(block.body.commands)
        commands[place] = msgspec.structs.replace(commands[place], **changes)
        return replace(block, body=replace(block.body, commands=tuple(commands))), certificate

    return edit


def require(report, block, record, field):
    assert (report.ok, report.block, report.record, report.field) == (False, block, record, field), report.difference
    assert report.blocks == block - 1
    assert f"block {block}" in report.difference
    assert f"field '{field}'" in report.difference


def test_what_was_not_changed_is_found_good(book, tmp_path):
    report = audited(book, tmp_path, 0, None)
    assert report.ok, report.difference
    assert (report.blocks, report.accounts, report.transfers) == (7, 3, 11)
    kinds = {type(command) for payload in book[1] for command in certified.decode_payload(payload)[0].body.commands}
    assert kinds == {RegisterKeys, Attestation, SignedRefusals}


HEADER = {
    "chain_id": "chain_id",
    "epoch": "certificate",
    "height": "height",
    "round": "certificate",
    "time_ns": "certificate",
    "parent": "parent",
    "validators_hash": "next_validators_hash",  # which must be the same
    "next_validators_hash": "next_validators_hash",
    "accounts_count": "encoding",
    "transfers_count": "encoding",
    "commands_count": "encoding",
    "accounts_root": "accounts_root",
    "transfers_root": "transfers_root",
    "commands_root": "commands_root",
    "outcomes_root": "outcomes_root",
    "state_root": "state_root",
    "history_root": "history_root",
}


def test_every_field_of_a_header_has_its_case():
    assert list(HEADER) == [item.name for item in fields(Header)]


@pytest.mark.parametrize("name", HEADER)
def test_a_changed_field_of_a_header_is_named(book, tmp_path, name):
    header = certified.decode_payload(book[1][LAST - 1])[0].header
    value = getattr(header, name)
    changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    report = audited(book, tmp_path, LAST, in_header(**{name: changed}))
    require(report, LAST, None, HEADER[name])


def test_both_hashes_of_validators_changed_alike_are_found_by_the_certificate(book, tmp_path):
    report = audited(book, tmp_path, LAST, in_header(validators_hash=bytes(32), next_validators_hash=bytes(32)))
    require(report, LAST, None, "certificate")
    assert "'validators_hash'" in report.difference


@pytest.mark.parametrize("name", [name for name in pl.TRANSFER.names if name != "timestamp"])
def test_a_changed_field_of_a_signed_transfer_is_that_record_s_signature(book, tmp_path, name):
    report = audited(book, tmp_path, SIGNED, in_column("transfers", 1, name))
    require(report, SIGNED, "transfer 1", "signature")


@pytest.mark.parametrize("name", [name for name in pl.TRANSFER.names if name != "timestamp"])
def test_a_changed_field_of_an_attested_transfer_is_that_batch_s_attestation(book, tmp_path, name):
    report = audited(book, tmp_path, ATTESTED, in_column("transfers", 1, name))
    require(report, ATTESTED, "transfers 0 to 2", "attestation")


@pytest.mark.parametrize("name", [name for name in pl.ACCOUNT.names if name != "timestamp"])
def test_a_changed_field_of_an_account_is_that_batch_s_signature(book, tmp_path, name):
    report = audited(book, tmp_path, ACCOUNTS, in_column("accounts", 2, "record", name))
    require(report, ACCOUNTS, "accounts 0 to 2", "signature")


@pytest.mark.parametrize("name", ["owner_key", "institution"])
def test_a_changed_owner_is_that_batch_s_signature(book, tmp_path, name):
    assert name in ACCOUNT_ENTRY.names
    report = audited(book, tmp_path, ACCOUNTS, in_column("accounts", 0, name))
    require(report, ACCOUNTS, "accounts 0 to 2", "signature")


@pytest.mark.parametrize(
    ("height", "column", "names"), [(SIGNED, "transfers", ()), (ACCOUNTS, "accounts", ("record",))]
)
def test_changed_timestamps_are_found(book, tmp_path, height, column, names):
    last = len(getattr(certified.decode_payload(book[1][height - 1])[0].body, column)) - 1
    report = audited(book, tmp_path, height, in_column(column, last, *names, "timestamp", value=2 * 10**18))
    require(
        report, height, *(("transfers 0 to 2", "timestamp") if column == "transfers" else ("account 2", "timestamp"))
    )


def test_timestamps_that_do_not_rise_are_named(book, tmp_path):
    report = audited(book, tmp_path, SIGNED, in_column("transfers", 2, "timestamp", value=10**18))
    require(report, SIGNED, "transfers 0 to 2", "timestamp")


def test_a_changed_amount_posted_is_that_transfer_s(book, tmp_path):
    report = audited(book, tmp_path, RESOLVED, with_effects([41, 10**6]))
    require(report, RESOLVED, "transfer 0", "amount posted")


def with_effects(amounts):
    return lambda block, certificate: (
        replace(block, body=replace(block.body, effects=pl.u128_array(amounts))),
        certificate,
    )


def test_a_changed_signature_or_signer_is_that_transfer_s(book, tmp_path):
    report = audited(book, tmp_path / "a", SIGNED, in_column("signatures", 2))
    require(report, SIGNED, "transfer 2", "signature")
    report = audited(book, tmp_path / "b", SIGNED, in_column("signers", 0, value=0))
    require(report, SIGNED, "transfer 0", "signature")
    report = audited(book, tmp_path / "c", SIGNED, in_column("signers", 0, value=99))
    require(report, SIGNED, "transfer 0", "signer")


@pytest.mark.parametrize(
    ("change", "record", "field"),
    [
        ({"public_keys": bytes(range(32))}, "command 0 (keys)", "proofs"),
        ({"proofs": bytes(64)}, "command 0 (keys)", "proofs"),
        ({"roles": 3}, "command 0 (keys)", "proofs"),
        ({"signature": bytes(64)}, "command 0 (keys)", "signature"),
        ({"sequence": 2}, "command 0 (keys)", "sequence"),
    ],
)
def test_a_changed_registration_of_keys_is_that_command(book, tmp_path, change, record, field):
    require(audited(book, tmp_path, KEYS, in_command(0, **change)), KEYS, record, field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"signature": bytes(64)}, "attestation"),
        ({"sequence": 9}, "attestation"),
        ({"refused": bytes(REFUSED_TRANSFER.itemsize)}, "attestation"),
        ({"refused_positions": (0,)}, "attestation"),
        ({"refused_positions": (), "refused": b""}, "attestation"),
    ],
)
def test_a_changed_attestation_is_that_batch_s(book, tmp_path, change, field):
    require(audited(book, tmp_path, ATTESTED, in_command(0, **change)), ATTESTED, "transfers 0 to 2", field)


def test_a_batch_s_changed_time_is_that_of_its_first_record(book, tmp_path):
    block = certified.decode_payload(book[1][ATTESTED - 1])[0]
    later = in_command(0, time_ns=block.body.commands[0].time_ns + 1)
    require(audited(book, tmp_path, ATTESTED, later), ATTESTED, "transfer 0", "timestamp")


def in_refused(name, row=0):
    """Change one bit of a field of a record that burnt its id."""

    def edit(block, certificate):
        (command,) = block.body.commands
        rows = np.frombuffer(command.refused, REFUSED_SIGNED).copy()
        field = rows["record"][name] if name in pl.TRANSFER.names else rows[name]
        raw = bytearray(field[row].tobytes())
        raw[0] ^= 1
        field[row] = np.frombuffer(bytes(raw), field.dtype).reshape(field[row].shape)[()]
        return in_command(0, refused=rows.tobytes())(block, certificate)

    return edit


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("name", [*(name for name in pl.TRANSFER.names if name != "timestamp"), "signature"])
def test_a_changed_field_of_a_transfer_that_burnt_its_id_is_found(book, tmp_path, name, row):
    report = audited(book, tmp_path, BURNING, in_refused(name, row))
    assert (report.ok, report.block) == (False, BURNING), report.difference


@pytest.mark.parametrize("name", ["timestamp", "controller", "signer"])
def test_what_stands_beside_a_transfer_that_burnt_its_id_is_checked(book, tmp_path, name):
    report = audited(book, tmp_path, BURNING, in_refused(name, 2))
    assert (report.ok, report.block) == (False, BURNING), report.difference


@pytest.mark.parametrize(
    ("change", "record", "field"),
    [
        ({"first": 1}, None, "first"),
        ({"taken": 2}, None, "encoding"),
        ({"taken": 4}, None, "first"),
        ({"refused_positions": (0, 1, 4)}, "transfers 0 to 2", "timestamp"),
        ({"refused_positions": (2, 3, 5)}, "transfers 0 to 2", "timestamp"),
    ],
)
def test_a_changed_place_of_transfers_that_burnt_their_ids_is_found(book, tmp_path, change, record, field):
    report = audited(book, tmp_path, BURNING, in_command(0, **change))
    assert (report.block, report.record, report.field) == (BURNING, record, field), report.difference


def test_a_changed_certificate_is_named(book, tmp_path):
    for place in (0, 10, 40, 100, -1):

        def edit(block, certificate, place=place):
            changed = bytearray(certificate)
            changed[place] ^= 1
            return block, bytes(changed)

        require(audited(book, tmp_path / str(place), SIGNED, edit), SIGNED, None, "certificate")


def test_the_certificate_of_another_block_is_named_with_what_differs(book, tmp_path):
    other = certified.decode_payload(book[1][0])[1]
    report = audited(book, tmp_path, SIGNED, lambda block, certificate: (block, other))
    require(report, SIGNED, None, "certificate")
    assert "'round' is not that of the header" in report.difference


def test_a_block_that_is_missing_is_named(book, tmp_path):
    source, payloads = book
    shutil.copytree(source, tmp_path / "ledger", ignore=shutil.ignore_patterns("*.blocks", "lock"))
    journal = Journal(tmp_path / "ledger" / "journal", pl.Ledger.read_genesis(source).hash)
    for place, payload in enumerate(payloads[1:], 1):
        journal.append(place, payload)
    journal.close()
    require(pl.Ledger.audit_folder(tmp_path / "ledger"), 1, None, "height")


def test_another_genesis_does_not_open(book, tmp_path):
    shutil.copytree(book[0], tmp_path / "ledger")
    chain = pl.Ledger.read_genesis(book[0])
    (tmp_path / "ledger" / "genesis").write_bytes(msgspec.structs.replace(chain, name="other").to_bytes())
    with pytest.raises(pl.StorageError, match="genesis"):
        pl.Ledger.audit_folder(tmp_path / "ledger")
