"""The checks of a posting that need no tables: what an event's fields and two balances say by themselves."""

from __future__ import annotations

from typing import NamedTuple

from pyledger.reference.records import NANOSECONDS, Account, Transfer
from pyledger.types import AccountFlags, TransferFlags
from pyledger.types import CreateAccountResult as A
from pyledger.types import CreateTransferResult as R

__all__ = [
    "ACCOUNT_CODES",
    "BALANCING",
    "CLOSING",
    "LIMITS",
    "PENDING",
    "POST",
    "TIMESTAMP_MAX",
    "TRANSFER_CODES",
    "TRANSIENT",
    "U128_MAX",
    "VOID",
    "Codes",
    "OuterChecks",
    "Refused",
    "balanced_amount",
    "check_against_pending",
    "check_limits",
    "check_overflows",
    "check_resolving_fields",
    "filled_from_pending",
    "refuse_if",
]

U128_MAX = (1 << 128) - 1
TIMESTAMP_MAX = (1 << 63) - 1
TRANSIENT = {
    R.DEBIT_ACCOUNT_NOT_FOUND,
    R.CREDIT_ACCOUNT_NOT_FOUND,
    R.PENDING_TRANSFER_NOT_FOUND,
    R.EXCEEDS_CREDITS,
    R.EXCEEDS_DEBITS,
    R.DEBIT_ACCOUNT_ALREADY_CLOSED,
    R.CREDIT_ACCOUNT_ALREADY_CLOSED,
}
PENDING = TransferFlags.PENDING
POST = TransferFlags.POST_PENDING_TRANSFER
VOID = TransferFlags.VOID_PENDING_TRANSFER
BALANCING = TransferFlags.BALANCING_DEBIT | TransferFlags.BALANCING_CREDIT
CLOSING = TransferFlags.CLOSING_DEBIT | TransferFlags.CLOSING_CREDIT
LIMITS = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS


class Refused(Exception):
    """Carries the result code of an event that does not take effect."""


def refuse_if(condition: bool, code: int) -> None:
    """End the event with this result if the condition holds."""
    if condition:
        raise Refused(code)


class Codes(NamedTuple):
    """Result codes of the checks that accounts and transfers share."""

    linked_failed: int
    chain_open: int
    imported_expected: int
    imported_not_expected: int
    must_be_zero: int
    out_of_range: int
    must_not_advance: int


def _codes(enum: type[A] | type[R]) -> Codes:
    return Codes(
        enum.LINKED_EVENT_FAILED,
        enum.LINKED_EVENT_CHAIN_OPEN,
        enum.IMPORTED_EVENT_EXPECTED,
        enum.IMPORTED_EVENT_NOT_EXPECTED,
        enum.TIMESTAMP_MUST_BE_ZERO,
        enum.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE,
        enum.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE,
    )


ACCOUNT_CODES = _codes(A)


TRANSFER_CODES = _codes(R)


class OuterChecks(NamedTuple):
    """The checks on an event's place in its batch, before its content is looked at."""

    linked: list[bool]
    imported: list[bool]
    own_times: list[int]
    times: list[int]
    codes: Codes

    def check(self, index: int) -> None:
        """Refuse an event that does not fit its batch."""
        if self.imported[index] != self.imported[0]:
            raise Refused(self.codes.imported_expected if self.imported[0] else self.codes.imported_not_expected)
        time = self.own_times[index]
        if not self.imported[index]:
            refuse_if(time != 0, self.codes.must_be_zero)
            return
        refuse_if(not 1 <= time <= TIMESTAMP_MAX, self.codes.out_of_range)
        refuse_if(time >= self.times[index], self.codes.must_not_advance)


def balanced_amount(transfer: Transfer, debit: Account, credit: Account) -> int:
    """Lower the amount to what the balancing flags leave room for."""
    amount = transfer.amount
    if transfer.flags & TransferFlags.BALANCING_DEBIT:
        amount = min(amount, max(0, debit.credits_posted - debit.debits_posted - debit.debits_pending))
    if transfer.flags & TransferFlags.BALANCING_CREDIT:
        amount = min(amount, max(0, credit.debits_posted - credit.credits_posted - credit.credits_pending))
    return amount


def check_overflows(transfer: Transfer, amount: int, time: int, debit: Account, credit: Account) -> None:
    """Refuse what a 128-bit balance or a 63-bit time can't hold."""
    if transfer.flags & PENDING:
        refuse_if(amount + debit.debits_pending > U128_MAX, R.OVERFLOWS_DEBITS_PENDING)
        refuse_if(amount + credit.credits_pending > U128_MAX, R.OVERFLOWS_CREDITS_PENDING)
    refuse_if(amount + debit.debits_posted > U128_MAX, R.OVERFLOWS_DEBITS_POSTED)
    refuse_if(amount + credit.credits_posted > U128_MAX, R.OVERFLOWS_CREDITS_POSTED)
    refuse_if(amount + debit.debits_pending + debit.debits_posted > U128_MAX, R.OVERFLOWS_DEBITS)
    refuse_if(amount + credit.credits_pending + credit.credits_posted > U128_MAX, R.OVERFLOWS_CREDITS)
    refuse_if(time + transfer.timeout * NANOSECONDS > TIMESTAMP_MAX, R.OVERFLOWS_TIMEOUT)


def check_limits(amount: int, debit: Account, credit: Account) -> None:
    """Refuse what would take an account past its limit."""
    if debit.flags & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS:
        refuse_if(debit.debits_pending + debit.debits_posted + amount > debit.credits_posted, R.EXCEEDS_CREDITS)
    if credit.flags & AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS:
        refuse_if(credit.credits_pending + credit.credits_posted + amount > credit.debits_posted, R.EXCEEDS_DEBITS)


def check_resolving_fields(transfer: Transfer) -> None:
    """Refuse flags and fields that do not go with posting or voiding."""
    both = transfer.flags & (POST | VOID) == POST | VOID
    refuse_if(both or bool(transfer.flags & (PENDING | BALANCING | CLOSING)), R.FLAGS_ARE_MUTUALLY_EXCLUSIVE)
    refuse_if(transfer.pending_id == 0, R.PENDING_ID_MUST_NOT_BE_ZERO)
    refuse_if(transfer.pending_id == U128_MAX, R.PENDING_ID_MUST_NOT_BE_INT_MAX)
    refuse_if(transfer.pending_id == transfer.id, R.PENDING_ID_MUST_BE_DIFFERENT)
    refuse_if(transfer.timeout != 0, R.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER)


def filled_from_pending(transfer: Transfer, pending: Transfer) -> Transfer:
    """Return the transfer with the fields that it left open taken from the pending one."""
    open_amount = 0 if transfer.flags & VOID else U128_MAX
    return transfer._replace(
        debit_account_id=transfer.debit_account_id or pending.debit_account_id,
        credit_account_id=transfer.credit_account_id or pending.credit_account_id,
        amount=pending.amount if transfer.amount == open_amount else transfer.amount,
        user_data_128=transfer.user_data_128 or pending.user_data_128,
        user_data_64=transfer.user_data_64 or pending.user_data_64,
        user_data_32=transfer.user_data_32 or pending.user_data_32,
        ledger=transfer.ledger or pending.ledger,
        code=transfer.code or pending.code,
    )


def check_against_pending(transfer: Transfer, pending: Transfer) -> int:
    """Refuse fields that differ from the pending transfer's; the amount that takes effect."""
    filled = filled_from_pending(transfer, pending)
    refuse_if(filled.debit_account_id != pending.debit_account_id, R.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID)
    refuse_if(filled.credit_account_id != pending.credit_account_id, R.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID)
    refuse_if(filled.ledger != pending.ledger, R.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER)
    refuse_if(filled.code != pending.code, R.PENDING_TRANSFER_HAS_DIFFERENT_CODE)
    refuse_if(filled.amount > pending.amount, R.EXCEEDS_PENDING_TRANSFER_AMOUNT)
    partial_void = bool(transfer.flags & VOID) and filled.amount < pending.amount
    refuse_if(partial_void, R.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT)
    return filled.amount
