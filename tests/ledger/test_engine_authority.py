"""Nothing moves without authority: attacks on the engine, and the rights that keys, mandates and controllers give."""

from __future__ import annotations

import numpy as np
import pytest
from engine_kit import (
    ATTESTER_A,
    ATTESTER_B,
    BANK_A,
    BANK_B,
    HOLDER_A1,
    HOLDER_A2,
    HOLDER_B1,
    NOTARY,
    SECOND,
    U128_MAX,
    Banks,
)

from pyledger import _core
from pyledger.types import NO_KEY, AuthorityResult, KeyRole, TransferFlags
from pyledger.types import CreateAccountResult as A
from pyledger.types import CreateTransferResult as R

PENDING, POST, VOID = TransferFlags.PENDING, TransferFlags.POST_PENDING_TRANSFER, TransferFlags.VOID_PENDING_TRANSFER
CLOSING_DEBIT, CLOSING_CREDIT = TransferFlags.CLOSING_DEBIT, TransferFlags.CLOSING_CREDIT


@pytest.fixture
def banks() -> Banks:
    return Banks()


def refused_without_trace(banks: Banks, before: dict[str, bytes]) -> bool:
    return banks.state() == before


# Signatures


def test_owner_signature_moves_money(banks: Banks) -> None:
    assert banks.pay(1, 3, 100, signer=HOLDER_A1) == R.CREATED
    assert (banks.funds(1), banks.funds(3)) == (900, 1100)


@pytest.mark.parametrize(
    ("signer", "ok", "expected"),
    [
        (NO_KEY, True, R.SIGNATURE_MISSING),
        (77, True, R.SIGNER_UNKNOWN),
        (HOLDER_A1, False, R.SIGNATURE_INVALID),
        (HOLDER_A2, True, R.SIGNER_NOT_AUTHORISED),
        (HOLDER_B1, True, R.SIGNER_NOT_AUTHORISED),
        (ATTESTER_A, True, R.SIGNER_LACKS_ROLE),
    ],
)
def test_debit_without_the_owners_signature_changes_nothing(banks: Banks, signer: int, ok: bool, expected: R) -> None:
    before = banks.state()
    assert banks.pay(1, 3, 100, signer=signer, ok=ok) == expected
    assert refused_without_trace(banks, before)


def test_swapped_signers_are_both_refused(banks: Banks) -> None:
    before = banks.state()
    transfers = [banks.transfer(1, 3, 10), banks.transfer(3, 1, 10)]
    assert banks.post(transfers, [HOLDER_B1, HOLDER_A1]) == [R.SIGNER_NOT_AUTHORISED] * 2
    assert refused_without_trace(banks, before)


def test_posting_a_transfer_again_moves_nothing(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 100)
    assert banks.post([transfer], HOLDER_A1) == [R.CREATED]
    before = banks.state()
    assert banks.post([transfer], HOLDER_A1) == [R.EXISTS]
    assert banks.post([transfer, transfer], HOLDER_A1) == [R.EXISTS] * 2
    assert refused_without_trace(banks, before)


def test_signature_that_is_invalid_on_this_chain_is_refused_before_anything_is_read(banks: Banks) -> None:
    # A transfer signed for another chain verifies there and not here: the verifier says False.
    transfer = banks.transfer(0, 0, 0, id=0)
    assert banks.post([transfer], HOLDER_A1, ok=False) == [R.SIGNATURE_INVALID]


def test_unauthorised_attempts_do_not_burn_an_id(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 100)
    nowhere = transfer._replace(debit_account_id=404)
    assert banks.post([nowhere], NO_KEY) == [R.SIGNATURE_MISSING]
    assert banks.post([nowhere], HOLDER_A1, ok=False) == [R.SIGNATURE_INVALID]
    assert banks.post([nowhere], ATTESTER_A) == [R.SIGNER_LACKS_ROLE]
    assert banks.post([transfer._replace(credit_account_id=404)], HOLDER_B1) == [R.SIGNER_NOT_AUTHORISED]
    assert banks.post([transfer], HOLDER_A1) == [R.CREATED]


# Keys


def test_revoked_key_moves_nothing_from_its_height_on(banks: Banks) -> None:
    banks.engine.revoke_key(HOLDER_A1, 5)
    banks.engine.set_height(4)
    assert banks.pay(1, 3, 1, signer=HOLDER_A1) == R.CREATED
    banks.engine.set_height(5)
    before = banks.state()
    assert banks.pay(1, 3, 1, signer=HOLDER_A1) == R.KEY_NOT_VALID_AT_HEIGHT
    assert refused_without_trace(banks, before)


def test_revoked_key_still_learns_that_its_transfer_exists(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 100)
    assert banks.post([transfer], HOLDER_A1) == [R.CREATED]
    banks.engine.revoke_key(HOLDER_A1, 0)
    assert banks.post([transfer], HOLDER_A1) == [R.EXISTS]


def test_key_does_not_count_before_its_height(banks: Banks) -> None:
    key = banks.engine.register_keys(np.array([BANK_A], np.uint32), 3)
    assert banks.open(50, key, BANK_A) == A.KEY_NOT_VALID_AT_HEIGHT
    banks.engine.set_height(3)
    assert banks.open(50, key, BANK_A) == A.CREATED


def test_revocation_cannot_be_moved_later_or_back_in_time(banks: Banks) -> None:
    banks.engine.set_height(10)
    with pytest.raises(ValueError, match="height: expected at least the current 10, got 9"):
        banks.engine.revoke_key(HOLDER_A1, 9)
    banks.engine.revoke_key(HOLDER_A1, 12)
    banks.engine.revoke_key(HOLDER_A1, 20)
    banks.engine.set_height(12)
    assert banks.pay(1, 3, 1, signer=HOLDER_A1) == R.KEY_NOT_VALID_AT_HEIGHT


def test_height_does_not_go_back(banks: Banks) -> None:
    banks.engine.set_height(10)
    with pytest.raises(ValueError, match="got 9"):
        banks.engine.set_height(9)


def test_rotation_hands_the_accounts_to_the_new_key(banks: Banks) -> None:
    new = banks.engine.register_keys(np.array([BANK_A], np.uint32), 0)
    banks.engine.revoke_key(HOLDER_A1, 0)
    assert banks.change_owner(1, new, BANK_A) == AuthorityResult.OK
    assert banks.pay(1, 3, 1, signer=HOLDER_A1) == R.KEY_NOT_VALID_AT_HEIGHT
    assert banks.pay(1, 3, 1, signer=new) == R.CREATED


def test_another_institution_cannot_take_over_an_account(banks: Banks) -> None:
    before = banks.state()
    assert banks.change_owner(1, HOLDER_B1, BANK_B) == AuthorityResult.REGISTRAR_OF_OTHER_INSTITUTION
    assert banks.change_owner(1, HOLDER_B1, BANK_A) == AuthorityResult.OWNER_OF_OTHER_INSTITUTION
    assert banks.change_owner(1, 99, BANK_A) == AuthorityResult.OWNER_UNKNOWN
    assert banks.change_owner(404, HOLDER_A1, BANK_A) == AuthorityResult.ACCOUNT_NOT_FOUND
    assert refused_without_trace(banks, before)


def test_account_cannot_be_given_to_a_revoked_key(banks: Banks) -> None:
    banks.engine.revoke_key(HOLDER_A2, 0)
    assert banks.change_owner(1, HOLDER_A2, BANK_A) == AuthorityResult.KEY_NOT_VALID_AT_HEIGHT


def test_accounts_are_opened_by_their_own_institution_only(banks: Banks) -> None:
    before = banks.state()
    assert banks.open(60, HOLDER_A1, BANK_A, registrar=BANK_B) == A.REGISTRAR_OF_OTHER_INSTITUTION
    assert banks.open(60, HOLDER_A1, BANK_B) == A.OWNER_OF_OTHER_INSTITUTION
    assert banks.open(60, 99, BANK_A) == A.OWNER_UNKNOWN
    assert refused_without_trace(banks, before)


def test_opening_an_account_again_names_a_different_owner(banks: Banks) -> None:
    assert banks.open(1, HOLDER_A1, BANK_A) == A.EXISTS
    assert banks.open(1, HOLDER_A2, BANK_A) == A.EXISTS_WITH_DIFFERENT_OWNER
    assert banks.open(1, HOLDER_B1, BANK_B) == A.EXISTS_WITH_DIFFERENT_INSTITUTION


# Attestations


def test_attested_batch_moves_the_institutions_own_accounts(banks: Banks) -> None:
    transfers = [banks.transfer(1, 3, 10), banks.transfer(2, 1, 20)]
    assert banks.attest(transfers, BANK_A, signer=ATTESTER_A) == [R.CREATED] * 2
    assert (banks.funds(1), banks.funds(2), banks.funds(3)) == (1010, 980, 1010)


def test_attested_debit_of_a_foreign_account_changes_nothing(banks: Banks) -> None:
    assert banks.attest([banks.transfer(3, 1, 10)], BANK_A, signer=ATTESTER_A) == [R.ATTESTATION_FOREIGN_ACCOUNT]
    assert (banks.funds(1), banks.funds(3)) == (1000, 1000)


def test_replayed_attestation_changes_nothing(banks: Banks) -> None:
    transfers = [banks.transfer(1, 3, 10)]
    assert banks.attest(transfers, BANK_A, sequence=1, signer=ATTESTER_A) == [R.CREATED]
    before = banks.state()
    assert banks.attest(transfers, BANK_A, sequence=1, signer=ATTESTER_A) == [R.ATTESTATION_REPLAYED]
    fresh = [banks.transfer(1, 3, 10)]
    assert banks.attest(fresh, BANK_A, sequence=1, signer=ATTESTER_A) == [R.ATTESTATION_REPLAYED]
    assert refused_without_trace(banks, before)


def test_attestations_come_in_order_without_gaps(banks: Banks) -> None:
    before = banks.state()
    assert banks.attest([banks.transfer(1, 3, 1)], BANK_A, 2, ATTESTER_A) == [R.ATTESTATION_OUT_OF_ORDER]
    assert refused_without_trace(banks, before)
    for sequence in (1, 2, 3):
        assert banks.attest([banks.transfer(1, 3, 1)], BANK_A, sequence, ATTESTER_A) == [R.CREATED]
    assert banks.engine.attestation_sequence(BANK_A) == 4
    assert banks.engine.attestation_sequence(BANK_B) == 1


@pytest.mark.parametrize(
    ("bank", "signer", "ok", "expected"),
    [
        (BANK_A, NO_KEY, True, R.SIGNATURE_MISSING),
        (BANK_A, 88, True, R.SIGNER_UNKNOWN),
        (BANK_A, ATTESTER_B, True, R.ATTESTATION_SIGNER_OF_OTHER_INSTITUTION),
        (BANK_A, ATTESTER_A, False, R.ATTESTATION_INVALID),
        (BANK_A, HOLDER_A1, True, R.SIGNER_LACKS_ROLE),
    ],
)
def test_attestation_needs_a_valid_signature_of_the_institutions_attester(
    banks: Banks, bank: int, signer: int, ok: bool, expected: R
) -> None:
    before = banks.state()
    transfers = [banks.transfer(1, 3, 10), banks.transfer(404, 3, 10)]
    assert banks.attest(transfers, bank, signer=signer, ok=ok) == [expected] * 2
    assert banks.effects == [0, 0]
    assert refused_without_trace(banks, before)


def test_revoked_attester_attests_nothing(banks: Banks) -> None:
    banks.engine.revoke_key(ATTESTER_A, 1)
    banks.engine.set_height(1)
    before = banks.state()
    transfers = [banks.transfer(1, 3, 10)]
    assert banks.attest(transfers, BANK_A, signer=ATTESTER_A) == [R.KEY_NOT_VALID_AT_HEIGHT]
    assert refused_without_trace(banks, before)


def test_attestation_counts_though_its_transfers_are_refused(banks: Banks) -> None:
    assert banks.attest([banks.transfer(3, 1, 1)], BANK_A, 1, ATTESTER_A) == [R.ATTESTATION_FOREIGN_ACCOUNT]
    assert banks.engine.attestation_sequence(BANK_A) == 2


# Controllers of pending transfers


def pledge(banks: Banks, controller: int = HOLDER_B1, amount: int = 300) -> int:
    transfer = banks.transfer(1, 3, amount, flags=int(PENDING))
    assert banks.post([transfer], HOLDER_A1, controllers=[controller]) == [R.CREATED]
    return transfer.id


def test_pledge_is_not_released_by_the_pledger(banks: Banks) -> None:
    pending = pledge(banks)
    before = banks.state()
    assert banks.resolve(VOID, pending, HOLDER_A1) == R.SIGNER_NOT_AUTHORISED
    assert banks.resolve(POST, pending, HOLDER_A1) == R.SIGNER_NOT_AUTHORISED
    assert banks.resolve(POST, pending, HOLDER_A2) == R.SIGNER_NOT_AUTHORISED
    assert refused_without_trace(banks, before)
    assert banks.funds(1) == 700


def test_pledge_is_not_released_by_the_pledgers_institution(banks: Banks) -> None:
    pending = pledge(banks)
    void = banks.transfer(0, 0, 0, pending_id=pending, flags=int(VOID), ledger=0, code=0)
    assert banks.attest([void], BANK_A, signer=ATTESTER_A) == [R.ATTESTATION_FOREIGN_ACCOUNT]
    assert banks.funds(1) == 700


@pytest.mark.parametrize(("flag", "left"), [(POST, (700, 1300)), (VOID, (1000, 1000))])
def test_controller_posts_or_voids(banks: Banks, flag: TransferFlags, left: tuple[int, int]) -> None:
    assert banks.resolve(flag, pledge(banks), HOLDER_B1) == R.CREATED
    assert (banks.funds(1), banks.funds(3)) == left


def test_controllers_institution_may_attest_the_release(banks: Banks) -> None:
    void = banks.transfer(0, 0, 0, pending_id=pledge(banks), flags=int(VOID), ledger=0, code=0)
    assert banks.attest([void], BANK_B, signer=ATTESTER_B) == [R.CREATED]
    assert banks.funds(1) == 1000


def test_without_a_controller_the_debit_owner_decides_and_the_creditor_does_not(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 300, flags=int(PENDING))
    assert banks.post([transfer], HOLDER_A1) == [R.CREATED]
    assert banks.resolve(POST, transfer.id, HOLDER_B1) == R.SIGNER_NOT_AUTHORISED
    assert banks.resolve(POST, transfer.id, HOLDER_A1) == R.CREATED


def test_default_controller_follows_the_account_to_its_new_owner(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 300, flags=int(PENDING))
    assert banks.post([transfer], HOLDER_A1) == [R.CREATED]
    assert banks.change_owner(1, HOLDER_A2, BANK_A) == AuthorityResult.OK
    assert banks.resolve(VOID, transfer.id, HOLDER_A1) == R.SIGNER_NOT_AUTHORISED
    assert banks.resolve(VOID, transfer.id, HOLDER_A2) == R.CREATED


def test_controller_stands_beside_pending_transfers_only(banks: Banks) -> None:
    codes = banks.post([banks.transfer(1, 3, 1)], HOLDER_A1, controllers=[HOLDER_B1])
    assert codes == [R.CONTROLLER_RESERVED_FOR_PENDING_TRANSFER]


@pytest.mark.parametrize("controller", [ATTESTER_B, 66])
def test_controller_must_be_a_key_that_can_sign(banks: Banks, controller: int) -> None:
    transfer = banks.transfer(1, 3, 1, flags=int(PENDING))
    assert banks.post([transfer], HOLDER_A1, controllers=[controller]) == [R.CONTROLLER_NOT_VALID]


def test_same_pending_transfer_with_another_controller_is_a_different_one(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 300, flags=int(PENDING))
    assert banks.post([transfer], HOLDER_A1, controllers=[HOLDER_B1]) == [R.CREATED]
    assert banks.post([transfer], HOLDER_A1, controllers=[HOLDER_B1]) == [R.EXISTS]
    assert banks.post([transfer], HOLDER_A1, controllers=[HOLDER_A1]) == [R.EXISTS_WITH_DIFFERENT_CONTROLLER]
    assert banks.post([transfer], HOLDER_A1) == [R.EXISTS_WITH_DIFFERENT_CONTROLLER]


def test_controller_is_replaced_by_its_own_institution_only(banks: Banks) -> None:
    pending = pledge(banks)
    assert banks.change_controller(pending, HOLDER_A1, BANK_A) == AuthorityResult.REGISTRAR_OF_OTHER_INSTITUTION
    assert banks.change_controller(pending, HOLDER_A1, BANK_B) == AuthorityResult.CONTROLLER_NOT_VALID
    assert banks.change_controller(pending, NOTARY, BANK_B) == AuthorityResult.OK
    assert banks.resolve(VOID, pending, HOLDER_B1) == R.SIGNER_NOT_AUTHORISED
    assert banks.resolve(VOID, pending, NOTARY) == R.CREATED
    assert banks.change_controller(pending, HOLDER_B1, BANK_B) == AuthorityResult.PENDING_TRANSFER_NOT_LIVE


def test_institution_cannot_name_itself_controller_of_an_owners_pending_transfer(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 300, flags=int(PENDING))
    assert banks.post([transfer], HOLDER_A1) == [R.CREATED]
    expected = AuthorityResult.PENDING_TRANSFER_HAS_NO_CONTROLLER
    assert banks.change_controller(transfer.id, HOLDER_A2, BANK_A) == expected


# Mandates


def test_mandate_lets_its_holder_debit_up_to_its_amount(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 150, until=10, signer=HOLDER_A1) == AuthorityResult.OK
    assert banks.pay(1, 3, 100, signer=HOLDER_B1) == R.CREATED
    before = banks.state()
    assert banks.pay(1, 3, 51, signer=HOLDER_B1) == R.MANDATE_EXCEEDED
    assert refused_without_trace(banks, before)
    assert banks.pay(1, 3, 50, signer=HOLDER_B1) == R.CREATED
    assert banks.pay(1, 3, 1, signer=HOLDER_B1) == R.MANDATE_EXCEEDED
    assert banks.pay(1, 3, 0, signer=HOLDER_B1) == R.CREATED


def test_mandate_ends_at_its_height(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 150, until=10, signer=HOLDER_A1) == AuthorityResult.OK
    banks.engine.set_height(9)
    assert banks.pay(1, 3, 1, signer=HOLDER_B1) == R.CREATED
    banks.engine.set_height(10)
    assert banks.pay(1, 3, 1, signer=HOLDER_B1) == R.MANDATE_EXPIRED


def test_mandate_is_given_by_the_owner_only(banks: Banks) -> None:
    before = banks.state()
    assert banks.mandate(1, HOLDER_B1, 150, 10, signer=HOLDER_B1) == AuthorityResult.SIGNER_NOT_AUTHORISED
    assert banks.mandate(1, HOLDER_B1, 150, 10, signer=HOLDER_A1, ok=False) == AuthorityResult.SIGNATURE_INVALID
    assert banks.mandate(1, HOLDER_B1, 150, 10, signer=NO_KEY) == AuthorityResult.SIGNATURE_MISSING
    assert banks.mandate(1, 70, 150, 10, signer=HOLDER_A1) == AuthorityResult.HOLDER_UNKNOWN
    assert refused_without_trace(banks, before)


def test_mandate_of_amount_zero_ends_it(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 150, 10, signer=HOLDER_A1) == AuthorityResult.OK
    assert banks.mandate(1, HOLDER_B1, 0, 10, signer=HOLDER_A1) == AuthorityResult.OK
    assert banks.pay(1, 3, 1, signer=HOLDER_B1) == R.SIGNER_NOT_AUTHORISED


def test_new_owner_is_not_bound_by_old_mandates(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 150, 10, signer=HOLDER_A1) == AuthorityResult.OK
    assert banks.change_owner(1, HOLDER_A2, BANK_A) == AuthorityResult.OK
    assert banks.pay(1, 3, 1, signer=HOLDER_B1) == R.SIGNER_NOT_AUTHORISED


def test_broken_chain_gives_the_mandates_amount_back(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 150, 10, signer=HOLDER_A1) == AuthorityResult.OK
    chain = [banks.transfer(1, 3, 100, flags=int(TransferFlags.LINKED)), banks.transfer(1, 3, 100)]
    assert banks.post(chain, HOLDER_B1) == [R.LINKED_EVENT_FAILED, R.MANDATE_EXCEEDED]
    assert banks.pay(1, 3, 150, signer=HOLDER_B1) == R.CREATED


def test_mandate_counts_what_a_balancing_transfer_really_moves(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 1000, 10, signer=HOLDER_A1) == AuthorityResult.OK
    flags = int(TransferFlags.BALANCING_DEBIT)
    assert banks.pay(1, 3, U128_MAX, signer=HOLDER_B1, flags=flags) == R.CREATED
    assert banks.effects == [1000]


def test_voided_transfer_does_not_refill_the_mandate(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 100, 10, signer=HOLDER_A1) == AuthorityResult.OK
    pending = banks.transfer(1, 3, 100, flags=int(PENDING))
    assert banks.post([pending], HOLDER_B1) == [R.CREATED]
    assert banks.resolve(VOID, pending.id, HOLDER_B1) == R.SIGNER_NOT_AUTHORISED
    assert banks.resolve(VOID, pending.id, HOLDER_A1) == R.CREATED
    assert banks.pay(1, 3, 1, signer=HOLDER_B1) == R.MANDATE_EXCEEDED


# Closing


def test_holder_of_a_mandate_cannot_close_the_account(banks: Banks) -> None:
    assert banks.mandate(1, HOLDER_B1, 100, 10, signer=HOLDER_A1) == AuthorityResult.OK
    flags = int(PENDING | CLOSING_DEBIT)
    assert banks.pay(1, 3, 0, signer=HOLDER_B1, flags=flags) == R.CLOSING_NOT_AUTHORISED
    assert banks.pay(1, 3, 0, signer=HOLDER_A1, flags=flags) == R.CREATED


def test_payer_cannot_close_the_payees_account(banks: Banks) -> None:
    flags = int(PENDING | CLOSING_CREDIT)
    assert banks.pay(1, 3, 0, signer=HOLDER_A1, flags=flags) == R.CLOSING_NOT_AUTHORISED
    foreign = banks.transfer(1, 3, 0, flags=flags)
    assert banks.attest([foreign], BANK_A, signer=ATTESTER_A) == [R.CLOSING_NOT_AUTHORISED]
    own = banks.transfer(1, 2, 0, flags=flags)
    assert banks.attest([own], BANK_A, signer=ATTESTER_A) == [R.CREATED]
    assert banks.pay(1, 2, 1, signer=HOLDER_A1) == R.CREDIT_ACCOUNT_ALREADY_CLOSED


# Registry


def test_keys_are_registered_all_or_none() -> None:
    engine = _core.Engine()
    ends = np.array([5, 1], np.uint64)
    with pytest.raises(ValueError, match="valid_until: expected more than height 2, got 1"):
        engine.register_keys(np.array([1, 1], np.uint32), 2, valid_until=ends)
    assert engine.register_keys(np.array([1], np.uint32), 0) == 0


def test_default_role_signs_and_does_not_attest() -> None:
    assert KeyRole.HOLDER & KeyRole.ATTESTER == 0
    banks = Banks()
    key = banks.engine.register_keys(np.array([BANK_A], np.uint32), 0)
    assert banks.attest([banks.transfer(1, 3, 1)], BANK_A, signer=key) == [R.SIGNER_LACKS_ROLE]


def test_expired_pledge_returns_to_the_pledger_only(banks: Banks) -> None:
    transfer = banks.transfer(1, 3, 300, flags=int(PENDING), timeout=1)
    assert banks.post([transfer], HOLDER_A1, controllers=[HOLDER_B1]) == [R.CREATED]
    banks.tick(2 * SECOND)
    assert banks.resolve(POST, transfer.id, HOLDER_B1) == R.PENDING_TRANSFER_EXPIRED
    banks.engine.expire(banks.now, 10)
    assert (banks.funds(1), banks.funds(3)) == (1000, 1000)
