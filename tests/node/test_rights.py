"""`pl.Ledger` over changing rights: keys rotate while it runs, proofs hold after it, balances are proven offline."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from ledgers import accounts, genesis, key_rows, members, register, transfers

import pyledger as pl
from pyledger import verifier

A, R = pl.AuthorityResult, pl.CreateTransferResult
PENDING, VOID = pl.TransferFlags.PENDING, pl.TransferFlags.VOID_PENDING_TRANSFER


def secret(name):
    return pl.keys.SigningKey.from_seed(name.encode().ljust(32, b"\0"))


HOLDER_A1, HOLDER_B1, NEXT = secret("holder a1"), secret("holder b1"), secret("next")


@pytest.fixture
def keys():
    return members(2)


@pytest.fixture
def ledger(tmp_path, keys):
    """HOLDER_A1 (index 2) owns account 1 at one bank, HOLDER_B1 (3) account 2 at another; 9 is the first bank's own."""
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        for number, (key, bank) in enumerate(zip((HOLDER_A1, HOLDER_B1), keys, strict=True), 1):
            owner = register(ledger, [key], bank.bic)
            assert not ledger.create_accounts(accounts([number]), owners=owner, institution=bank.bic).any()
        assert not ledger.create_accounts(accounts([9]), institution="BANKAAXX").any()
        yield ledger


def trust_of(ledger, **options):
    return pl.Trust.read(ledger.path / "trust.json", **options)


def post_signed(ledger, records, index, key, controller=None):
    names = None if controller is None else [ledger.public_key(controller)] * len(records)
    signatures = pl.signing.sign_transfers([key] * len(records), ledger.genesis.chain_id, records, names)
    given = None if controller is None else np.full(len(records), controller, np.uint32)
    signers = np.full(len(records), index, np.uint32)
    return ledger.post(records, signers=signers, signatures=signatures, controllers=given).results.tolist()


def mandate(ledger, amount, until_height, sequence):
    args = (ledger.genesis.chain_id, sequence, 1, HOLDER_B1.public_key, amount, until_height)
    return (2, sequence, pl.signing.sign_mandate(HOLDER_A1, *args))


def test_a_mandate_is_given_used_and_ended(ledger):
    order = mandate(ledger, 100, 50, ledger.next_order(2))
    assert ledger.set_mandate(1, 3, 100, 50, order=order) == A.OK
    assert post_signed(ledger, transfers((20, 1, 2, 60)), 3, HOLDER_B1) == [R.CREATED]
    assert ledger.set_mandate(1, 3, 0, 0, order=mandate(ledger, 0, 0, ledger.next_order(2))) == A.OK
    assert post_signed(ledger, transfers((21, 1, 2, 1)), 3, HOLDER_B1) == [R.SIGNER_NOT_AUTHORISED]
    with pytest.raises(pl.AuthorisationError, match="an order counts once"):
        ledger.set_mandate(1, 3, 100, 50, order=order)
    assert ledger.audit().ok


def test_an_institution_orders_with_its_held_key(ledger):
    assert ledger.set_mandate(9, 3, 100, 50, institution="BANKAAXX") == A.OK
    assert post_signed(ledger, transfers((20, 9, 2, 60)), 3, HOLDER_B1) == [R.CREATED]
    assert ledger.rotate_owner(9, 2, institution="BANKAAXX") == A.OK
    assert ledger.set_mandate(9, 3, 100, 50, institution="BANKAAXX") == A.SIGNER_NOT_AUTHORISED
    assert ledger.audit().ok


def test_an_owner_rotates_his_key(ledger):
    (new,) = register(ledger, [NEXT], "BANKAAXX").tolist()
    signature = pl.signing.sign_rotation(HOLDER_A1, ledger.genesis.chain_id, 1, 1, NEXT.public_key)
    assert ledger.rotate_owner(1, new, order=(2, 1, signature)) == A.OK
    assert post_signed(ledger, transfers((20, 1, 2, 5)), 2, HOLDER_A1) == [R.SIGNER_NOT_AUTHORISED]
    assert post_signed(ledger, transfers((20, 1, 2, 5)), new, NEXT) == [R.CREATED]
    assert pl.verify_receipt(ledger.prove(20), trust_of(ledger)).public_key == NEXT.public_key


def test_a_bank_replaces_owners_controllers_and_keys_of_its_own(ledger):
    (new,) = register(ledger, [NEXT], "BANKBBXX").tolist()
    assert post_signed(ledger, transfers((20, 1, 2, 5), flags=PENDING), 2, HOLDER_A1, controller=3) == [R.CREATED]
    one = pl.u128_array([20])
    changed = ledger.change_controllers(one, np.array([new], np.uint32), institution="BANKBBXX")
    assert changed.tolist() == [A.OK]
    moved = ledger.change_owners(pl.u128_array([2, 1]), np.array([new, new], np.uint32), institution="BANKBBXX")
    assert moved.tolist() == [A.OK, A.REGISTRAR_OF_OTHER_INSTITUTION]
    assert ledger.revoke_keys(np.array([3, 2], np.uint32), institution="BANKBBXX").tolist() == [
        A.OK,
        A.REGISTRAR_OF_OTHER_INSTITUTION,
    ]
    void = pl.make_transfers(id=[21], pending_id=20, flags=int(VOID))
    assert post_signed(ledger, void, 3, HOLDER_B1) == [R.KEY_NOT_VALID_AT_HEIGHT]
    assert post_signed(ledger, void, new, NEXT) == [R.CREATED]
    assert ledger.audit().ok


def test_a_receipt_names_the_controller_whom_the_signer_named(ledger):
    assert post_signed(ledger, transfers((20, 1, 2, 5), flags=PENDING), 2, HOLDER_A1, controller=3) == [R.CREATED]
    receipt, trust = ledger.prove(20), trust_of(ledger)
    assert pl.verify_receipt(receipt, trust).controller == HOLDER_B1.public_key
    named = b"\1" + HOLDER_B1.public_key
    assert receipt.count(named) == 1
    for forged in (receipt.replace(named, b"\0"), receipt.replace(named, b"\1" + NEXT.public_key)):
        with pytest.raises(pl.ProofError):
            pl.verify_receipt(forged, trust)
    assert post_signed(ledger, transfers((22, 1, 2, 5)), 2, HOLDER_A1) == [R.CREATED]
    assert pl.verify_receipt(ledger.prove(22), trust).controller is None


# Attestation keys that change ----------------------------------------------------------------------------------------


def test_an_institution_rotates_its_attestation_key_and_receipts_stay_right(ledger, keys):
    """Each receipt names the key that stood at its height, and verifies offline."""
    old = keys[0].attestation
    assert ledger.post(transfers((20, 1, 2, 5)), institution="BANKAAXX").results.tolist() == [R.CREATED]
    assert ledger.rotate_attestation_key(NEXT, institution="BANKAAXX") == 4
    assert ledger.post(transfers((21, 1, 2, 5), (22, 2, 1, 5)), institution="BANKAAXX").results.tolist() == [
        R.CREATED,
        R.ATTESTATION_FOREIGN_ACCOUNT,
    ]
    for trust in (trust_of(ledger), trust_of(ledger, independent=True)):
        before, after = (pl.verify_receipt(ledger.prove(number), trust) for number in (20, 21))
        assert (before.public_key, after.public_key) == (old.public_key, NEXT.public_key)
        assert (before.attested_by, after.attested_by) == (0, 0)
    assert ledger.create_accounts(accounts([10]), institution="BANKAAXX").tolist() == [0]
    assert ledger.accounts()["owner_key"].to_pylist()[-1] == 4
    assert ledger.audit().ok


def test_a_ledger_opens_with_the_new_attestation_key(ledger, keys):
    ledger.rotate_attestation_key(NEXT, institution="BANKAAXX", until_height=100)
    ledger.close()
    first, second = keys
    rotated = pl.InstitutionKeys(first.bic, NEXT, first.validator)
    with pl.Ledger.open(ledger.path, keys=[rotated, second]) as again:
        assert again.post(transfers((20, 1, 2, 5)), institution="BANKAAXX").results.tolist() == [R.CREATED]
        assert again.block(again.height).body.commands[0].signer == 4
    with pl.Ledger.open(ledger.path, keys=keys) as again:
        assert again.post(transfers((21, 1, 2, 5)), institution="BANKAAXX").results.tolist() == [R.CREATED]
    stranger = pl.InstitutionKeys(first.bic, HOLDER_B1, first.validator)
    with pytest.raises(pl.AuthorisationError, match="not registered to attest"):
        pl.Ledger.open(ledger.path, keys=[stranger, second])


def test_a_batch_signed_elsewhere_names_its_key(ledger):
    from pyledger.ledger.commands import KIND_TRANSFERS

    ledger.rotate_attestation_key(NEXT, institution="BANKAAXX")
    records = transfers((20, 1, 2, 5))
    chain_id = ledger.genesis.chain_id
    sequence = ledger.next_sequence(KIND_TRANSFERS, "BANKAAXX")
    hashes = pl.signing.transfer_leaf_hashes(chain_id, records)
    signature = pl.signing.sign_batch(NEXT, KIND_TRANSFERS, chain_id, 0, sequence, hashes)

    def post(*key):
        return ledger.post(records, institution="BANKAAXX", attestation=(sequence, signature, *key)).results.tolist()

    assert post() == [R.ATTESTATION_INVALID]
    assert post(3) == [R.ATTESTATION_SIGNER_OF_OTHER_INSTITUTION]
    assert post(ledger.find_key(NEXT.public_key)) == [R.CREATED]


# Balance proofs ------------------------------------------------------------------------------------------------------


def test_a_balance_is_proven_offline(ledger):
    post_signed(ledger, transfers((20, 1, 2, 5), (21, 1, 2, 70)), 2, HOLDER_A1)
    post_signed(ledger, transfers((22, 1, 2, 30), flags=PENDING), 2, HOLDER_A1)
    height = ledger.height
    proof = ledger.prove_balance(1)
    for trust in (trust_of(ledger), trust_of(ledger, independent=True)):
        balance = pl.verify_balance(proof, trust)
        assert isinstance(balance, pl.VerifiedBalance)
        totals = (balance.debits_pending, balance.debits_posted, balance.credits_pending, balance.credits_posted)
        assert totals == (30, 75, 0, 0)
        assert pl.Balance(*totals) == ledger.balance(1)
        assert (balance.owner_key, balance.institution, balance.ledger) == (2, 0, 978)
        assert (balance.height, balance.block_hash) == (height, ledger.header(height).hash)


def test_absence_of_an_account_is_proven_offline(ledger):
    for number in (3, 8, 10, (1 << 128) - 2):
        absence = pl.verify_balance(ledger.prove_balance(number), trust_of(ledger))
        assert isinstance(absence, pl.VerifiedAbsence)
        assert absence.account_id == number


def test_a_balance_proof_seals_only_what_is_not_final(ledger, keys):
    height = ledger.height
    ledger.prove_balance(1)
    assert ledger.height == height + 1
    assert pl.verify_balance(ledger.prove_balance(2), trust_of(ledger)).height == height
    assert ledger.height == height + 1, "the state of the block before is the same, and final"
    ledger.close()
    with pl.Ledger.open(ledger.path, read_only=True) as reader:
        assert pl.verify_balance(reader.prove_balance(2), trust_of(reader)).height == height
    with pl.Ledger.open(ledger.path, keys=keys) as again:
        post_signed(again, transfers((20, 1, 2, 5)), 2, HOLDER_A1)
    with pl.Ledger.open(ledger.path, read_only=True) as reader, pytest.raises(pl.StateError, match="read-only"):
        reader.prove_balance(2)


@pytest.mark.parametrize("account", [0, (1 << 128) - 1, 1 << 128, -1])
def test_an_id_that_no_account_can_have_is_refused(ledger, account):
    with pytest.raises(pl.InputError, match="account_id"):
        ledger.prove_balance(account)


def test_an_empty_ledger_has_no_balance_to_prove(tmp_path, keys):
    empty = pl.Ledger.create(tmp_path / "empty", genesis(keys), keys=keys)
    with empty, pytest.raises(pl.StateError, match="no block yet"):
        empty.prove_balance(1)


def test_a_balance_proof_is_about_its_account_and_state_only(ledger):
    trust = trust_of(ledger)
    old = ledger.prove_balance(1)
    post_signed(ledger, transfers((20, 1, 2, 5)), 2, HOLDER_A1)
    new = ledger.prove_balance(1)
    header_at = 32 + 4 + int.from_bytes(old[32:36], "little")
    assert pl.verify_balance(new[:16] + new[16:], trust).debits_posted == 5
    for forged, reason in (
        (old[:header_at] + new[header_at:], "does not lead"),
        (new[:16] + (2).to_bytes(16, "little") + new[32:], "expected key 2"),
        (new[:-1], "ends at byte"),
        (new + b"\0", "1 bytes too many"),
        (b"PLRECPT\0" + new[8:], "expected a pyledger balance proof"),
        (new[:8] + b"\1" + new[9:], "version 2"),
        (new[:10] + b"\1" + new[11:], "version 2"),
        (b"", "ends at byte 0"),
    ):
        with pytest.raises(pl.ProofError, match=reason):
            pl.verify_balance(forged, trust)
    with pytest.raises(pl.ProofError):
        pl.verify_balance(new, trust_of(_other_chain(ledger)))


def _other_chain(ledger):
    path = ledger.path.parent / "other"
    with pl.Ledger.create(path, genesis(members(2, b"else")), keys=members(2, b"else")) as other:
        return other


def test_every_changed_byte_of_a_balance_proof_is_noticed(ledger):
    """All bytes of the account and its path, and a sample of those behind."""
    trust, proof = trust_of(ledger), ledger.prove_balance(1)
    places = [*range(400), *range(400, len(proof), 13)]
    for place in places:
        changed = bytearray(proof)
        changed[place] ^= 1 << place % 8
        with pytest.raises(pl.ProofError):
            pl.verify_balance(bytes(changed), trust)


@pytest.mark.parametrize("place", ["as installed", "a link to it", "a copy"])
def test_the_verifiers_file_alone_reads_balance_proofs(ledger, tmp_path, place):
    there, absent = tmp_path / "there", tmp_path / "absent"
    there.write_bytes(ledger.prove_balance(1))
    absent.write_bytes(ledger.prove_balance(77))
    script = Path(verifier.__file__) if place == "as installed" else tmp_path / "check.py"
    if place == "a link to it":
        script.symlink_to(verifier.__file__)
    elif place == "a copy":
        shutil.copy(verifier.__file__, script)
    command = [sys.executable, str(script), "--trust", str(ledger.path / "trust.json"), str(there), str(absent)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "debits_posted: 0" in result.stdout
    assert f"{absent}: valid, there is no such account" in result.stdout


def test_submitted_keys_are_answered_with_their_indexes_once_durable(ledger, keys):
    holders = [secret("submitted 1"), secret("submitted 2")]
    proofs = pl.signing.prove_possession(holders, ledger.genesis.chain_id, 0, int(pl.KeyRole.HOLDER))
    height = ledger.height
    answer = ledger.submit_keys(key_rows(holders), proofs, institution="BANKAAXX")
    assert isinstance(answer, Future)
    receipt = answer.result(60)
    assert receipt.results.tolist() == [4, 5]  # behind two banks and their two customers
    assert receipt.height == ledger.height == height + 1
    assert receipt.header == ledger.header(receipt.height)
    assert post_signed(ledger, transfers((20, 9, 2, 1)), 4, holders[0]) == [R.SIGNER_NOT_AUTHORISED]
    assert not ledger.create_accounts(accounts([30]), owners=receipt.results[:1], institution="BANKAAXX").any()
    assert post_signed(ledger, transfers((21, 30, 2, 1)), 4, holders[0]) == [R.CREATED]
    with pytest.raises(pl.SignatureError, match="row 1: the key's proof of possession"):
        ledger.submit_keys(key_rows([NEXT]), proofs[:1], institution="BANKAAXX").result(60)
