"""Who may do what, through blocks: rights as they are used, and attacks that fail for their reason without trace."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ledgers import key_batch, key_rows
from rights_kit import (
    ACCOUNT_A1,
    ACCOUNT_A2,
    ACCOUNT_B1,
    BANK_A,
    BANK_B,
    HOLDER_A1,
    HOLDER_A2,
    HOLDER_B1,
    NOTARY,
    PENDING,
    POST,
    VOID,
    Banks,
    code,
    fingerprint,
    secret,
)

import pyledger as pl
from pyledger.ledger.authority import Authority
from pyledger.ledger.batches import KeyBatch, TransferBatch
from pyledger.ledger.commands import KIND_CONTROLLERS, KIND_MANDATE, KIND_OWNERS, KIND_REVOCATIONS

A, R = pl.AuthorityResult, pl.CreateTransferResult
ALL = pl.KeyRole.HOLDER | pl.KeyRole.ATTESTER | pl.KeyRole.GOVERNOR


@pytest.fixture
def banks():
    banks = Banks()
    yield banks
    assert fingerprint(banks.replay()) == fingerprint(banks.book), "the blocks give the same state again"


@pytest.fixture
def unchanged(banks):
    """For attacks: the state afterwards is that before."""
    before = banks.fingerprint()
    yield banks
    assert banks.fingerprint() == before


# Keys ----------------------------------------------------------------------------------------------------------------


def attack_with_key(banks, key, institution, proof):
    banks.run(KeyBatch(key_rows([key]), np.frombuffer(proof, np.uint8).reshape(1, 64), banks.held(institution)))


@pytest.mark.parametrize(
    ("chain", "institution", "roles"),
    [("test", BANK_A, 1), ("other", BANK_B, 1), ("test", BANK_B, 2), ("test", BANK_B, 3)],
)
def test_a_bank_can_not_register_a_key_whose_holder_agreed_to_something_else(unchanged, chain, institution, roles):
    """Squatting: the customer's key of another bank (or chain, or role) as one's own."""
    victim = secret("victim")
    chain_id = unchanged.chain_id if chain == "test" else Banks("other").chain_id
    proof = pl.signing.prove_possession([victim], chain_id, institution, roles).tobytes()
    with pytest.raises(pl.SignatureError, match=r"row 1.*proof of possession for BANKBBXX"):
        attack_with_key(unchanged, victim, BANK_B, proof)


@pytest.mark.parametrize("proof", [bytes(64), secret("thief").sign(b"mine")], ids=["none", "of another key"])
def test_a_key_is_registered_with_its_own_proof_only(unchanged, proof):
    with pytest.raises(pl.SignatureError, match="proof of possession"):
        attack_with_key(unchanged, secret("victim"), BANK_B, proof)


def test_a_refused_squatter_leaves_the_key_to_its_bank(banks):
    victim = secret("victim")
    with pytest.raises(pl.SignatureError):
        attack_with_key(banks, victim, BANK_B, bytes(64))
    assert banks.register([victim], BANK_A).tolist() == [6]


def test_a_key_counts_from_its_first_height(banks):
    first = banks.book.height + 3
    (late,) = banks.register([secret("late")], BANK_A, valid_from=first).tolist()
    assert banks.change_owner(ACCOUNT_A2, late) == A.KEY_NOT_VALID_AT_HEIGHT
    assert banks.book.height + 1 == first
    assert banks.change_owner(ACCOUNT_A2, late) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A2, ACCOUNT_B1, 5), late) == R.CREATED


def test_a_revoked_key_counts_before_the_height_and_never_from_it_on(banks):
    end = banks.book.height + 3
    assert banks.revoke(HOLDER_A1, end) == A.OK
    assert banks.book.height + 1 == end - 1
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A1) == R.CREATED
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A1) == R.KEY_NOT_VALID_AT_HEIGHT
    banks.pass_blocks()
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A1) == R.KEY_NOT_VALID_AT_HEIGHT
    assert banks.mandate(ACCOUNT_A1, HOLDER_B1, 5, 99, HOLDER_A1) == A.KEY_NOT_VALID_AT_HEIGHT
    assert banks.rotate(ACCOUNT_A1, HOLDER_A2, HOLDER_A1) == A.KEY_NOT_VALID_AT_HEIGHT


def test_a_revocation_whose_height_has_passed_holds_at_once(banks):
    banks.pass_blocks(3)
    assert banks.revoke(HOLDER_A1, 2) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A1) == R.KEY_NOT_VALID_AT_HEIGHT


def test_a_bank_revokes_keys_of_its_own_only(banks):
    assert banks.change_refused(KIND_REVOCATIONS, (HOLDER_B1, 0), BANK_A) == A.REGISTRAR_OF_OTHER_INSTITUTION
    assert banks.change_refused(KIND_REVOCATIONS, (99, 0), BANK_A) == A.KEY_UNKNOWN
    assert banks.change_refused(KIND_REVOCATIONS, (BANK_A, 0), BANK_A) == A.LAST_ATTESTATION_KEY


def test_an_attester_alone_does_not_move_money_and_a_holder_alone_does_not_attest(banks):
    (attester,) = banks.register([secret("clerk")], BANK_A, roles=int(pl.KeyRole.ATTESTER)).tolist()
    assert banks.change_owner(ACCOUNT_A2, attester) == A.OK
    before = banks.fingerprint()
    assert banks.post(banks.payment(ACCOUNT_A2, ACCOUNT_B1, 5), attester) == R.SIGNER_LACKS_ROLE
    payment = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5)
    assert banks.post_attested(payment, BANK_A, attest=banks.held(BANK_A, HOLDER_A1)) == R.SIGNER_LACKS_ROLE
    with pytest.raises(pl.AuthorisationError, match="key 2 does not attest for it: signer_lacks_role"):
        banks.revoke(HOLDER_A2, attest=banks.held(BANK_A, HOLDER_A1))
    assert banks.fingerprint() == before
    payment = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5)
    assert banks.post_attested(payment, BANK_A, attest=banks.held(BANK_A, attester)) == R.CREATED


# Attestations --------------------------------------------------------------------------------------------------------


def rotated(banks, until):
    """Bank A attests with a new key; the old one counts until a height."""
    (new,) = banks.register([secret("new attester")], BANK_A, roles=int(ALL)).tolist()
    assert banks.revoke(BANK_A, until, attest=banks.held(BANK_A, new)) == A.OK
    return new


def test_an_attestation_key_hands_over_to_the_next(banks):
    until = banks.book.height + 4
    new = rotated(banks, until)
    assert banks.book.height + 1 == until - 1
    assert banks.post_attested(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), BANK_A) == R.CREATED
    assert banks.post_attested(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), BANK_A) == R.KEY_NOT_VALID_AT_HEIGHT
    for index in range(2):
        with pytest.raises(pl.AuthorisationError, match="key 0 does not attest for it: key_not_valid_at_height"):
            banks.register([secret(f"back door {index}")], BANK_A)
    payment = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5)
    assert banks.post_attested(payment, BANK_A, attest=banks.held(BANK_A, new)) == R.CREATED


def test_the_new_key_may_attest_in_the_block_that_registers_it(banks):
    new = secret("new attester")
    index = banks.book.keys_count
    banks.secrets.append(new)
    registration = key_batch([new], banks.chain_id, BANK_A, banks.held(BANK_A), roles=int(ALL))
    revocation = banks.change(KIND_REVOCATIONS, [(BANK_A, 0)], BANK_A, banks.held(BANK_A, index))
    payment = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5)
    batch = TransferBatch(payment)
    signed = TransferBatch(payment, attest=banks.attest(batch, BANK_A, key=index))
    assert code(banks.run(registration, revocation, signed)) == R.CREATED


CHANGES = {
    "revocation": (KIND_REVOCATIONS, [(HOLDER_A2, 0)]),
    "owner": (KIND_OWNERS, [(ACCOUNT_A1, HOLDER_A2)]),
    "controller": (KIND_CONTROLLERS, [(77, HOLDER_A2)]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_attested_by_the_institution_for_this_chain_kind_and_sequence(unchanged, name):
    kind, rows = CHANGES[name]
    other_chain = Banks("other").chain_id
    change = unchanged.change(kind, rows, BANK_A)
    other = KIND_OWNERS if kind != KIND_OWNERS else KIND_CONTROLLERS
    other_kind = unchanged.change(other, [(ACCOUNT_A1, HOLDER_A2)], BANK_A)
    attacks = {
        "expected sequence 1, got 2": unchanged.attest(change, BANK_A, sequence=2),
        "attestation_signer_of_other_institution": unchanged.attest(change, BANK_A, key=BANK_B),
        "key 99 does not attest for it: signer_unknown": unchanged.attest(change, BANK_A, signer=99),
        "signer_lacks_role": unchanged.attest(change, BANK_A, key=HOLDER_A1),
    }
    for message, attest in attacks.items():
        with pytest.raises(pl.AuthorisationError, match=message):
            unchanged.run(unchanged.change(kind, rows, BANK_A, attest))
    for attest in (
        unchanged.attest(change, BANK_A, chain_id=other_chain),
        unchanged.attest(other_kind, BANK_A),
        unchanged.attest(change, BANK_A, key=BANK_B, signer=BANK_A),
        unchanged.attest(change, BANK_A, key=HOLDER_A1, signer=BANK_A),
    ):
        with pytest.raises(pl.AuthorisationError, match="signature is not valid for this batch"):
            unchanged.run(unchanged.change(kind, rows, BANK_A, attest))


def test_a_change_counts_once(banks):
    change = banks.change(KIND_OWNERS, [(ACCOUNT_A1, HOLDER_A2)], BANK_A)
    attest = banks.attest(change, BANK_A)
    again = banks.change(KIND_OWNERS, [(ACCOUNT_A1, HOLDER_A2)], BANK_A, attest)
    assert banks.run(again).tolist() == [A.OK]
    assert banks.rotate(ACCOUNT_A1, HOLDER_A1, HOLDER_A2) == A.OK
    before = banks.fingerprint()
    with pytest.raises(pl.AuthorisationError, match="expected sequence 2, got 1"):
        banks.run(again)
    assert banks.fingerprint() == before


def test_refused_rows_stay_out_of_the_block_and_the_attestation_still_holds(banks):
    rows = [(ACCOUNT_A1, HOLDER_A2), (ACCOUNT_B1, HOLDER_A2), (99, HOLDER_A2), (ACCOUNT_A2, HOLDER_A1)]
    results = banks.run(banks.change(KIND_OWNERS, rows, BANK_A)).tolist()
    assert results == [A.OK, A.REGISTRAR_OF_OTHER_INSTITUTION, A.ACCOUNT_NOT_FOUND, A.OK]
    (command,) = banks.blocks[-1].body.commands
    assert len(command.rows) == 2 * 20
    assert command.refused_positions == (1, 2)
    assert fingerprint(banks.replay()) == banks.fingerprint()


# Owners --------------------------------------------------------------------------------------------------------------


def test_an_owner_hands_his_account_to_a_new_key_and_the_old_one_is_nothing(banks):
    (new,) = banks.register([secret("holder a1 next")], BANK_A).tolist()
    assert banks.rotate(ACCOUNT_A1, new, HOLDER_A1) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A1) == R.SIGNER_NOT_AUTHORISED
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), new) == R.CREATED
    assert banks.rotate(ACCOUNT_A1, HOLDER_A1, HOLDER_A1) == A.SIGNER_NOT_AUTHORISED


def test_a_bank_gives_an_account_that_it_keeps_to_another_of_its_keys(banks):
    assert banks.change_owner(ACCOUNT_A1, HOLDER_A2) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A2) == R.CREATED


def test_nobody_else_changes_an_owner(unchanged):
    assert unchanged.rotate(ACCOUNT_A1, HOLDER_A2, HOLDER_A2) == A.SIGNER_NOT_AUTHORISED
    assert unchanged.rotate(ACCOUNT_A1, HOLDER_A2, HOLDER_B1) == A.SIGNER_NOT_AUTHORISED
    assert unchanged.rotate(ACCOUNT_A1, HOLDER_A2, HOLDER_A1, by=HOLDER_A2) == A.SIGNATURE_INVALID
    assert unchanged.rotate(ACCOUNT_A1, HOLDER_B1, HOLDER_A1) == A.OWNER_OF_OTHER_INSTITUTION
    assert unchanged.rotate(77, HOLDER_A2, HOLDER_A1) == A.ACCOUNT_NOT_FOUND
    assert unchanged.rotate(ACCOUNT_A1, HOLDER_A2, HOLDER_A1, chain_id=Banks("other").chain_id) == A.SIGNATURE_INVALID


def test_a_bank_changes_owners_of_its_own_accounts_to_its_own_keys_only(banks):
    assert banks.change_refused(KIND_OWNERS, (ACCOUNT_B1, HOLDER_A2), BANK_A) == A.REGISTRAR_OF_OTHER_INSTITUTION
    assert banks.change_refused(KIND_OWNERS, (ACCOUNT_A1, HOLDER_B1), BANK_A) == A.OWNER_OF_OTHER_INSTITUTION
    assert banks.change_refused(KIND_OWNERS, (ACCOUNT_A1, 99), BANK_A) == A.OWNER_UNKNOWN


def test_a_new_owner_ends_the_mandates(banks):
    assert banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, 99, HOLDER_A1) == A.OK
    assert banks.rotate(ACCOUNT_A1, HOLDER_A2, HOLDER_A1) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_B1) == R.SIGNER_NOT_AUTHORISED


# Mandates ------------------------------------------------------------------------------------------------------------


def test_a_mandate_lasts_for_its_amount_and_until_its_height(banks):
    end = banks.book.height + 5
    assert banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, end, HOLDER_A1) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 60), HOLDER_B1) == R.CREATED
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 41), HOLDER_B1) == R.MANDATE_EXCEEDED
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 30), HOLDER_B1) == R.CREATED
    assert banks.post(banks.payment(ACCOUNT_A2, ACCOUNT_B1, 1), HOLDER_B1) == R.SIGNER_NOT_AUTHORISED
    banks.pass_blocks(end - 1 - banks.book.height)
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 10), HOLDER_B1) == R.MANDATE_EXPIRED


def test_a_mandate_counts_in_the_block_before_its_end(banks):
    end = banks.book.height + 3
    assert banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, end, HOLDER_A1) == A.OK
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 1), HOLDER_B1) == R.CREATED
    assert banks.book.height == end - 1
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 1), HOLDER_B1) == R.MANDATE_EXPIRED


def test_only_the_owner_gives_a_mandate(unchanged):
    terms = (ACCOUNT_A1, HOLDER_B1, 100, 99)
    assert unchanged.mandate(*terms, HOLDER_B1) == A.SIGNER_NOT_AUTHORISED
    assert unchanged.mandate(*terms, BANK_A) == A.SIGNER_NOT_AUTHORISED
    assert unchanged.mandate(*terms, HOLDER_A1, by=HOLDER_B1) == A.SIGNATURE_INVALID
    assert unchanged.mandate(*terms, HOLDER_A1, chain_id=Banks("other").chain_id) == A.SIGNATURE_INVALID
    with pytest.raises(pl.AuthorisationError, match="expected sequence 1, got 2"):
        unchanged.mandate(*terms, HOLDER_A1, sequence=2)
    with pytest.raises(pl.AuthorisationError, match="expected sequence 1, got 0"):
        unchanged.mandate(*terms, HOLDER_A1, sequence=0)


@pytest.mark.parametrize(
    "change", [{"account_id": ACCOUNT_A2}, {"subject": NOTARY}, {"amount": 101}, {"until_height": 100}, {"subject": 99}]
)
def test_a_mandate_is_what_its_owner_signed(unchanged, change):
    order = unchanged.order(KIND_MANDATE, ACCOUNT_A1, HOLDER_B1, HOLDER_A1, amount=100, until_height=99)
    assert unchanged.run(dataclasses.replace(order, **change)).tolist() == [A.SIGNATURE_INVALID]


def test_swapped_signatures_of_two_orders_are_nothing(unchanged):
    first = unchanged.order(KIND_MANDATE, ACCOUNT_A1, HOLDER_B1, HOLDER_A1, amount=100, until_height=99)
    second = unchanged.order(KIND_MANDATE, ACCOUNT_A2, HOLDER_B1, HOLDER_A2, amount=100, until_height=99)
    for order, other in ((first, second), (second, first)):
        by = dataclasses.replace(order.by, signature=other.by.signature)
        assert unchanged.run(dataclasses.replace(order, by=by)).tolist() == [A.SIGNATURE_INVALID]


def test_an_ended_mandate_does_not_come_back(banks):
    """The signed order that gave it, sent again after the owner ended it."""
    given = banks.order(KIND_MANDATE, ACCOUNT_A1, HOLDER_B1, HOLDER_A1, amount=100, until_height=99)
    assert banks.run(given).tolist() == [A.OK]
    assert banks.mandate(ACCOUNT_A1, HOLDER_B1, 0, 0, HOLDER_A1) == A.OK
    before = banks.fingerprint()
    with pytest.raises(pl.AuthorisationError, match="expected sequence 3, got 1: an order counts once"):
        banks.run(given)
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 1), HOLDER_B1) == R.SIGNER_NOT_AUTHORISED
    assert banks.fingerprint() == before


def test_a_holder_without_the_role_can_not_use_his_mandate(banks):
    (clerk,) = banks.register([secret("clerk")], BANK_B, roles=int(pl.KeyRole.ATTESTER)).tolist()
    assert banks.mandate(ACCOUNT_A1, clerk, 100, 99, HOLDER_A1) == A.OK
    before = banks.fingerprint()
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 1), clerk) == R.SIGNER_LACKS_ROLE
    assert banks.fingerprint() == before


def test_an_attestation_of_the_holders_bank_does_not_use_his_mandate(banks):
    assert banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, 99, HOLDER_A1) == A.OK
    assert banks.post_attested(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 1), BANK_B) == R.ATTESTATION_FOREIGN_ACCOUNT


# Controllers ---------------------------------------------------------------------------------------------------------


def pledged(banks, controller=NOTARY):
    """A pending transfer from ACCOUNT_A1 to ACCOUNT_B1 under a controller; its id."""
    pledge = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING)
    assert banks.post(pledge, HOLDER_A1, controller=controller) == R.CREATED
    return banks.last_id


@pytest.mark.parametrize("flag", [POST, VOID])
def test_a_pledge_is_released_by_its_controller_only(banks, flag):
    pledge = pledged(banks)
    before = banks.fingerprint()
    for signer in (HOLDER_A1, HOLDER_B1, HOLDER_A2, BANK_A, BANK_B):
        assert banks.post(banks.resolution(pledge, flag), signer) == R.SIGNER_NOT_AUTHORISED
    assert banks.fingerprint() == before
    assert banks.post_attested(banks.resolution(pledge, flag), BANK_A) == R.ATTESTATION_FOREIGN_ACCOUNT
    assert banks.post(banks.resolution(pledge, flag), NOTARY) == R.CREATED


def test_the_controllers_bank_stands_for_him_in_its_batches(banks):
    pledge = pledged(banks)
    assert banks.post_attested(banks.resolution(pledge, VOID), BANK_B) == R.CREATED


@pytest.mark.parametrize(
    ("given", "signed"),
    [(None, NOTARY), (HOLDER_B1, NOTARY), (NOTARY, None), (HOLDER_A1, NOTARY)],
    ids=["stripped", "swapped", "added", "the pledger's"],
)
def test_the_signature_covers_the_controller(unchanged, given, signed):
    pledge = unchanged.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING)
    batch = unchanged.signed(pledge, HOLDER_A1, controller=given, signed_controller=signed)
    assert code(unchanged.run(batch)) == R.SIGNATURE_INVALID


@pytest.mark.parametrize(("given", "signed"), [(None, NOTARY), (HOLDER_B1, NOTARY), (NOTARY, None)])
def test_the_attestation_covers_the_controller(unchanged, given, signed):
    pledge = unchanged.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING)
    columns = [None if key is None else np.array([key], np.uint32) for key in (given, signed)]
    attest = unchanged.attest(TransferBatch(pledge, controllers=columns[1]), BANK_A)
    batch = TransferBatch(pledge, attest=attest, controllers=columns[0])
    assert code(unchanged.run(batch)) == R.ATTESTATION_INVALID


def test_a_linked_chain_binds_the_controllers_of_all_its_members(banks):
    there, back = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING), banks.payment(ACCOUNT_B1, ACCOUNT_A1, 7)
    exchange = np.concatenate([there, back])
    exchange["flags"][0] |= int(pl.TransferFlags.LINKED)
    controllers = np.array([NOTARY, pl.NO_KEY], np.uint32)
    names = [banks.secrets[NOTARY].public_key, None]
    keys = [banks.secrets[HOLDER_A1], banks.secrets[HOLDER_B1]]
    signatures = pl.signing.sign_transfers(keys, banks.chain_id, exchange, names)
    signers = np.array([HOLDER_A1, HOLDER_B1], np.uint32)
    before = banks.fingerprint()
    for swapped in (None, np.array([HOLDER_A2, pl.NO_KEY], np.uint32), np.array([pl.NO_KEY, NOTARY], np.uint32)):
        results = banks.run(TransferBatch(exchange, signers, signatures, controllers=swapped)).tolist()
        assert R.SIGNATURE_INVALID in results
        assert set(results) <= {R.SIGNATURE_INVALID, R.LINKED_EVENT_FAILED}
    assert banks.fingerprint() == before
    assert not banks.run(TransferBatch(exchange, signers, signatures, controllers=controllers)).any()
    assert banks.blocks[-1].body.controllers.tolist() == [(0, NOTARY)]


def test_a_controller_is_a_valid_key_of_a_pending_transfer(banks):
    banks.revoke(HOLDER_A2)
    before = banks.fingerprint()
    pledge = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING)
    assert banks.post(pledge, HOLDER_A1, controller=HOLDER_A2) == R.CONTROLLER_NOT_VALID
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 7), HOLDER_A1, controller=NOTARY) == (
        R.CONTROLLER_RESERVED_FOR_PENDING_TRANSFER
    )
    signatures = pl.signing.sign_transfers([banks.secrets[HOLDER_A1]], banks.chain_id, pledge, [bytes(32)])
    unknown = TransferBatch(pledge, np.array([HOLDER_A1], np.uint32), signatures, controllers=np.array([99], np.uint32))
    assert code(banks.run(unknown)) == R.CONTROLLER_NOT_VALID
    assert banks.fingerprint() == before


def test_asking_again_with_another_controller_is_told(banks):
    pledge = banks.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING)
    assert banks.post(pledge, HOLDER_A1, controller=NOTARY) == R.CREATED
    assert banks.post(pledge, HOLDER_A1, controller=NOTARY) == R.EXISTS
    assert banks.post(pledge, HOLDER_A1) == R.EXISTS_WITH_DIFFERENT_CONTROLLER


def test_a_controllers_bank_replaces_him_by_another_of_its_keys(banks):
    pledge = pledged(banks)
    assert banks.change_refused(KIND_CONTROLLERS, (pledge, HOLDER_A2), BANK_A) == A.REGISTRAR_OF_OTHER_INSTITUTION
    assert banks.change_refused(KIND_CONTROLLERS, (pledge, HOLDER_A1), BANK_B) == A.CONTROLLER_NOT_VALID
    assert banks.change_refused(KIND_CONTROLLERS, (77, HOLDER_B1), BANK_B) == A.PENDING_TRANSFER_NOT_LIVE
    assert banks.change_controller(pledge, HOLDER_B1, BANK_B) == A.OK
    assert banks.post(banks.resolution(pledge, POST), NOTARY) == R.SIGNER_NOT_AUTHORISED
    assert banks.post(banks.resolution(pledge, POST), HOLDER_B1) == R.CREATED


def test_a_pending_transfer_without_controller_has_none_to_replace(banks):
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING), HOLDER_A1) == R.CREATED
    assert banks.change_controller(banks.last_id, HOLDER_A2, BANK_A) == A.PENDING_TRANSFER_HAS_NO_CONTROLLER


# Snapshots ------------------------------------------------------------------------------------------------------------


def test_keys_and_counts_go_on_from_what_a_snapshot_keeps(banks):
    banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, 99, HOLDER_A1)
    banks.revoke(HOLDER_A2)
    kept = banks.book.authority.dump()
    banks.book.authority = Authority.load(banks.genesis, kept)
    assert {name: column.tolist() for name, column in banks.book.authority.dump().items()} == {
        name: column.tolist() for name, column in kept.items()
    }
    with pytest.raises(pl.AuthorisationError, match="expected sequence 2, got 1"):
        banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, 99, HOLDER_A1, sequence=1)
    with pytest.raises(pl.InputError, match="registered already"):
        banks.register([secret("holder a1")], BANK_A)
    assert banks.post(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 60), HOLDER_B1) == R.CREATED
    assert banks.revoke(HOLDER_A1) == A.OK


# The order inside a block --------------------------------------------------------------------------------------------


def test_changes_of_authority_stand_before_the_transfers(banks):
    book = banks.book
    book.begin(book.next_time_ns)
    book.execute(book.prepare(banks.signed(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), HOLDER_A1)))
    late = banks.order(KIND_MANDATE, ACCOUNT_A1, HOLDER_B1, HOLDER_A1, amount=100, until_height=99)
    assert not book.has_room(late)
    with pytest.raises(pl.StateError, match="before the transfers"):
        book.execute(book.prepare(late))
    block = book.finish(epoch=1, round=book.height + 1, validators_hash=bytes(32))
    book.commit(block)
    banks.blocks.append(block)


def test_what_was_prepared_before_a_key_came_is_checked_again(banks):
    """Signer, controller and holder registered in the same block, after the others had been hashed and checked."""
    book, late = banks.book, secret("late")
    index = book.keys_count
    banks.secrets.append(late)
    registration = key_batch([late], banks.chain_id, BANK_A, banks.held(BANK_A))
    mandate = banks.order(KIND_MANDATE, ACCOUNT_A1, index, HOLDER_A1, amount=100, until_height=99)
    pledge = banks.signed(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 70, PENDING), HOLDER_A1, controller=index)
    by_mandate = banks.signed(banks.payment(ACCOUNT_A1, ACCOUNT_B1, 5), index)
    prepared = [book.prepare(submission) for submission in (registration, mandate, pledge, by_mandate)]
    book.begin(book.next_time_ns)
    results = [book.execute(item).tolist() for item in prepared]
    assert results == [[index], [A.OK], [R.CREATED], [R.CREATED]]
    block = book.finish(epoch=1, round=book.height + 1, validators_hash=bytes(32))
    book.commit(block)
    banks.blocks.append(block)
