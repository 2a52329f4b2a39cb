"""The posting state machine in plain Python: the twin of ``pyledger._core.Engine``.

Slow and short on purpose. Records are immutable tuples and a linked chain keeps a copy of the tables to go back to, so
nothing here shares a mechanism with the native engine.

Order of the checks of one transfer; the first that fails gives the result. The numbers below 1000 and their order are
those that TigerBeetle documents (create_transfers); with valid authority everywhere the results are equal to its own.

0. whole batch, attested only: signature_missing, signer_unknown, attestation_signer_of_other_institution,
   attestation_invalid, key_not_valid_at_height, signer_lacks_role, attestation_replayed or attestation_out_of_order.
   A refused attestation changes nothing: no sequence, no timestamp, no id.
1. chain and batch: linked_event_chain_open, linked_event_failed, imported_event_*, timestamp_*.
2. signature, signed only: signature_missing, signer_unknown, signature_invalid. What nobody known signed is not read
   further.
3. id: reserved_flag, id_*, exists_* (exists_with_different_controller just before exists), id_already_failed. Before
   the key's validity, so that a client which rotated its key between sending and asking again still learns that its
   transfer exists.
4. key, signed only: key_not_valid_at_height, signer_lacks_role. Before any look-up that can mark the id as failed.
5. fields: flags, account ids, pending_id, timeout, ledger, code.
6. debit_account_not_found (or pending_transfer_not_found, pending_transfer_not_pending).
7. authority over the debit account (or over the pending transfer): signer_not_authorised, mandate_expired, or
   attestation_foreign_account; then controller_reserved_for_pending_transfer, controller_not_valid.
8. credit_account_not_found, closing_not_authorised, and the rest as documented; mandate_exceeded as soon as the amount
   is known, before the overflow checks.

A transient failure (debit or credit account or pending transfer not found, exceeds_credits, exceeds_debits, account
already closed) marks the id: it answers id_already_failed from then on, even where the chain around it was rolled back.

Event i of a batch has the timestamp first_timestamp + i, whatever became of the events before it: refused events and
rolled back chains leave gaps. A replay of what took effect gives the timestamps themselves. An imported event brings
its own timestamp, which must be before first_timestamp; that is also the time at which its batch meets timeouts, so
that a replay with the same first_timestamp comes out the same.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyledger.reference.authority import NO_END, Authority, Key, Mandate
from pyledger.reference.posting_checks import (
    ACCOUNT_CODES,
    BALANCING,
    CLOSING,
    LIMITS,
    PENDING,
    POST,
    TIMESTAMP_MAX,
    TRANSFER_CODES,
    TRANSIENT,
    U128_MAX,
    VOID,
    OuterChecks,
    Refused,
    balanced_amount,
    check_against_pending,
    check_limits,
    check_overflows,
    check_resolving_fields,
    filled_from_pending,
    refuse_if,
)
from pyledger.reference.records import (
    Account,
    Transfer,
    begins_with,
    controller_list,
    look_up,
    records_of,
    rows,
)
from pyledger.types import (
    ACCOUNT,
    NO_KEY,
    TRANSFER,
    AccountFlags,
    AuthorityResult,
    KeyRole,
    PendingStatus,
    TransferFlags,
    u128_array,
    u128_ints,
)
from pyledger.types import CreateAccountResult as A
from pyledger.types import CreateTransferResult as R

__all__ = ["Account", "Engine", "Expiry", "Transfer", "records_of"]


class Pending(NamedTuple):
    """What stands beside a pending transfer."""

    status: PendingStatus
    controller: int


class Expiry(NamedTuple):
    """A pending transfer that ended by itself: its id, the time and the height at which that took effect.

    `position` counts the transfers before it.
    """

    pending_id: int
    time_ns: int
    height: int
    position: int


class Event(NamedTuple):
    """One submitted transfer with what came beside it; attester is the institution of an attested batch."""

    transfer: Transfer
    timestamp: int
    signer: int
    signature_ok: bool
    controller: int
    attester: int | None


class Tables(NamedTuple):
    """Everything that a broken chain puts back."""

    accounts: dict[int, Account]
    owners: dict[int, int]
    transfers: dict[int, Transfer]
    pendings: dict[int, Pending]
    mandates: dict[tuple[int, int], Mandate]
    touched: set[int]

    def copy(self) -> Tables:
        """Return independent tables over the same immutable records."""
        return Tables(
            self.accounts.copy(),
            self.owners.copy(),
            self.transfers.copy(),
            self.pendings.copy(),
            self.mandates.copy(),
            self.touched.copy(),
        )


class Engine:
    """Posting state machine; the interface is that of ``pyledger._core.Engine``."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.tables = Tables({}, {}, {}, {}, {}, set())
        self.failed: dict[int, None] = {}
        self.expired: list[Expiry] = []

    # Keys

    @property
    def height(self) -> int:
        """Current block height."""
        return self.authority.height

    def register_keys(
        self,
        institutions: NDArray[np.uint32],
        height: int,
        roles: NDArray[np.uint32] | None = None,
        valid_until: NDArray[np.uint64] | None = None,
    ) -> int:
        """Register keys valid from a height on; the first new index."""
        first = len(self.authority.keys)
        all_roles = [int(KeyRole.HOLDER)] * len(institutions) if roles is None else roles.tolist()
        ends = [NO_END] * len(institutions) if valid_until is None else valid_until.tolist()
        for end in ends:
            if end <= height:
                raise ValueError(f"valid_until: expected more than height {height}, got {end}")
        for institution, role, end in zip(institutions.tolist(), all_roles, ends, strict=True):
            self.authority.register(Key(institution, role, height, end))
        return first

    def revoke_key(self, index: int, height: int) -> None:
        """End a key's validity at a height."""
        self.authority.revoke(index, height)

    def set_height(self, height: int) -> None:
        """Go to a block's height."""
        self.authority.set_height(height)

    def attestation_sequence(self, institution: int) -> int:
        """Sequence number of the institution's next attestation; the first is 1."""
        return self.authority.sequences.get(institution, 1)

    def revoke_keys(
        self, indexes: NDArray[np.uint32], heights: NDArray[np.uint64], registrar: int
    ) -> NDArray[np.uint32]:
        """End keys of the registrar's at heights, or at once where a height has passed."""
        results = np.zeros(len(indexes), np.uint32)
        for row, (index, height) in enumerate(zip(indexes.tolist(), heights.tolist(), strict=True)):
            results[row] = self.authority.check_revocation(index, registrar)
            if not results[row]:
                self.authority.revoke(index, max(height, self.height))
        return results

    def check_attester(self, institution: int, signer: int, signature_ok: bool) -> int:
        """Result for an attestation by a key, its sequence aside; 0 if the key may attest now."""
        return int(self.authority.check_role(institution, signer, signature_ok, KeyRole.ATTESTER))

    def check_governor(self, institution: int, signer: int, signature_ok: bool) -> int:
        """Result for an approval by a key; 0 if the key may govern now."""
        return int(self.authority.check_role(institution, signer, signature_ok, KeyRole.GOVERNOR))

    # Batches

    def create_accounts(
        self,
        records: NDArray[Any],
        owners: NDArray[np.uint32],
        institutions: NDArray[np.uint32],
        first_timestamp: int,
        registrar: int,
        timestamps: NDArray[np.uint64] | None = None,
    ) -> NDArray[np.uint32]:
        """Create accounts; one result a record."""
        accounts = [Account(*row) for row in rows(records)]
        times = self._event_times(
            len(accounts), first_timestamp, timestamps, begins_with(records, AccountFlags.IMPORTED)
        )
        columns = list(zip(accounts, owners.tolist(), institutions.tolist(), strict=True))

        def create(index: int) -> None:
            account, owner, institution = columns[index]
            refuse_if(institution != registrar, A.REGISTRAR_OF_OTHER_INSTITUTION)
            self._create_account(account, times[index], owner, institution)

        imported = [bool(account.flags & AccountFlags.IMPORTED) for account in accounts]
        linked = [bool(account.flags & AccountFlags.LINKED) for account in accounts]
        own_times = [account.timestamp for account in accounts]
        outer = OuterChecks(linked, imported, own_times, times, codes=ACCOUNT_CODES)
        return np.array(self._run_batch(outer, create), np.uint32)

    def create_transfers(
        self,
        records: NDArray[Any],
        signers: NDArray[np.uint32],
        signature_ok: NDArray[np.bool_],
        first_timestamp: int,
        controllers: NDArray[np.uint32] | None = None,
        timestamps: NDArray[np.uint64] | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Post signed transfers; results and the amounts that took effect."""
        times = self._event_times(
            len(records), first_timestamp, timestamps, begins_with(records, TransferFlags.IMPORTED)
        )
        events = [
            Event(Transfer(*row), time, signer, ok, controller, None)
            for row, time, signer, ok, controller in zip(
                rows(records),
                times,
                signers.tolist(),
                signature_ok.tolist(),
                controller_list(controllers, len(records)),
                strict=True,
            )
        ]
        return self._post(events)

    def create_transfers_attested(
        self,
        records: NDArray[Any],
        institution: int,
        sequence: int,
        ok: bool,
        first_timestamp: int,
        *,
        signer: int,
        controllers: NDArray[np.uint32] | None = None,
        timestamps: NDArray[np.uint64] | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Post a batch that one institution attested; results and the amounts that took effect."""
        times = self._event_times(
            len(records), first_timestamp, timestamps, begins_with(records, TransferFlags.IMPORTED)
        )
        code = self.authority.check_attestation(institution, sequence, ok, signer)
        if code != R.CREATED:
            return np.full(len(records), code, np.uint32), u128_array([0] * len(records))
        self.authority.sequences[institution] = sequence + 1
        controller_of = controller_list(controllers, len(records))
        return self._post(
            [
                Event(Transfer(*row), time, NO_KEY, False, controller, institution)
                for row, time, controller in zip(rows(records), times, controller_of, strict=True)
            ]
        )

    def _post(self, events: list[Event]) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        amounts = [0] * len(events)

        def create(index: int) -> None:
            amounts[index] = self._create_transfer(events[index])

        def failed(index: int, code: int) -> None:
            if code in TRANSIENT:
                self.failed[events[index].transfer.id] = None

        flags = [event.transfer.flags for event in events]
        outer = OuterChecks(
            [bool(flag & TransferFlags.LINKED) for flag in flags],
            [bool(flag & TransferFlags.IMPORTED) for flag in flags],
            [event.transfer.timestamp for event in events],
            [event.timestamp for event in events],
            codes=TRANSFER_CODES,
        )
        results = self._run_batch(outer, create, failed)
        effects = [amount if code == R.CREATED else 0 for amount, code in zip(amounts, results, strict=True)]
        return np.array(results, np.uint32), u128_array(effects)

    def _event_times(self, count: int, first: int, given: NDArray[np.uint64] | None, imported: bool) -> list[int]:
        if given is not None and len(given) != count:
            raise ValueError(f"timestamps: expected {count} rows, got {len(given)}")
        if imported:
            if first > TIMESTAMP_MAX:
                raise ValueError("first_timestamp: expected less than 2**63")
            return [first] * count
        times = list(range(first, first + count)) if given is None else given.tolist()
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise ValueError("timestamps: expected strictly rising values")
        if times and not (self._last_timestamp() < times[0] and times[-1] <= TIMESTAMP_MAX):
            raise ValueError(
                f"first_timestamp: expected more than {self._last_timestamp()} and, for the last event, less than 2**63"
            )
        return times

    def _last_timestamp(self) -> int:
        return max(self._last_account_timestamp(), self._last_transfer_timestamp())

    def _last_account_timestamp(self) -> int:
        return next(reversed(self.tables.accounts.values())).timestamp if self.tables.accounts else 0

    def _last_transfer_timestamp(self) -> int:
        return next(reversed(self.tables.transfers.values())).timestamp if self.tables.transfers else 0

    def _run_batch(
        self,
        outer: OuterChecks,
        create: Callable[[int], None],
        failed: Callable[[int, int], None] | None = None,
    ) -> list[int]:
        """Give each event its result; a chain of linked events takes effect as a whole or not at all."""
        results = [0] * len(outer.linked)
        saved: Tables | None = None
        chain_start, broken = -1, False
        for index, linked in enumerate(outer.linked):
            if linked and chain_start < 0:
                chain_start, broken, saved = index, False, self.tables.copy()
            try:
                last_and_linked = linked and index == len(results) - 1
                refuse_if(last_and_linked, outer.codes.chain_open)
                refuse_if(broken, outer.codes.linked_failed)
                outer.check(index)
                create(index)
            except Refused as refusal:
                results[index] = int(refusal.args[0])
                if chain_start >= 0 and not broken:
                    assert saved is not None
                    broken = True
                    self.tables = saved
                    results[chain_start:index] = [outer.codes.linked_failed] * (index - chain_start)
                if failed is not None:
                    failed(index, results[index])
            if not linked:
                chain_start, broken = -1, False
        return results

    # Accounts

    def _create_account(self, account: Account, time: int, owner: int, institution: int) -> None:
        refuse_if(account.reserved != 0, A.RESERVED_FIELD)
        refuse_if(account.flags >= 1 << 6, A.RESERVED_FLAG)
        refuse_if(account.id == 0, A.ID_MUST_NOT_BE_ZERO)
        refuse_if(account.id == U128_MAX, A.ID_MUST_NOT_BE_INT_MAX)
        if account.id in self.tables.accounts:
            self._refuse_existing_account(account, owner, institution)
        refuse_if(not self.authority.known(owner), A.OWNER_UNKNOWN)
        refuse_if(self.authority.institution(owner) != institution, A.OWNER_OF_OTHER_INSTITUTION)
        refuse_if(not self.authority.valid(owner), A.KEY_NOT_VALID_AT_HEIGHT)
        refuse_if(account.flags & LIMITS == LIMITS, A.FLAGS_ARE_MUTUALLY_EXCLUSIVE)
        refuse_if(account.debits_pending != 0, A.DEBITS_PENDING_MUST_BE_ZERO)
        refuse_if(account.debits_posted != 0, A.DEBITS_POSTED_MUST_BE_ZERO)
        refuse_if(account.credits_pending != 0, A.CREDITS_PENDING_MUST_BE_ZERO)
        refuse_if(account.credits_posted != 0, A.CREDITS_POSTED_MUST_BE_ZERO)
        refuse_if(account.ledger == 0, A.LEDGER_MUST_NOT_BE_ZERO)
        refuse_if(account.code == 0, A.CODE_MUST_NOT_BE_ZERO)
        if account.flags & AccountFlags.IMPORTED:
            taken = {transfer.timestamp for transfer in self.tables.transfers.values()}
            regressed = account.timestamp <= self._last_account_timestamp() or account.timestamp in taken
            refuse_if(regressed, A.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS)
            time = account.timestamp
        self.tables.touched.add(len(self.tables.accounts))
        self.tables.accounts[account.id] = account._replace(timestamp=time)
        self.tables.owners[account.id] = owner

    def _refuse_existing_account(self, account: Account, owner: int, institution: int) -> None:
        existing = self.tables.accounts[account.id]
        kept = self.tables.owners[account.id]
        refuse_if(account.flags != existing.flags, A.EXISTS_WITH_DIFFERENT_FLAGS)
        refuse_if(account.user_data_128 != existing.user_data_128, A.EXISTS_WITH_DIFFERENT_USER_DATA_128)
        refuse_if(account.user_data_64 != existing.user_data_64, A.EXISTS_WITH_DIFFERENT_USER_DATA_64)
        refuse_if(account.user_data_32 != existing.user_data_32, A.EXISTS_WITH_DIFFERENT_USER_DATA_32)
        refuse_if(account.ledger != existing.ledger, A.EXISTS_WITH_DIFFERENT_LEDGER)
        refuse_if(account.code != existing.code, A.EXISTS_WITH_DIFFERENT_CODE)
        refuse_if(institution != self.authority.institution(kept), A.EXISTS_WITH_DIFFERENT_INSTITUTION)
        refuse_if(owner != kept, A.EXISTS_WITH_DIFFERENT_OWNER)
        raise Refused(A.EXISTS)

    def _store_account(self, old: Account, new: Account) -> None:
        if new != old:
            self.tables.accounts[new.id] = new
            self.tables.touched.add(self._slot(new.id))

    def _slot(self, account_id: int) -> int:
        return list(self.tables.accounts).index(account_id)

    # Transfers

    def _create_transfer(self, event: Event) -> int:
        transfer = event.transfer
        if event.attester is None:
            code = self.authority.check_signature(event.signer, event.signature_ok)
            refuse_if(code != R.CREATED, code)
        refuse_if(transfer.flags >= 1 << 9, R.RESERVED_FLAG)
        refuse_if(transfer.id == 0, R.ID_MUST_NOT_BE_ZERO)
        refuse_if(transfer.id == U128_MAX, R.ID_MUST_NOT_BE_INT_MAX)
        if transfer.id in self.tables.transfers:
            self._refuse_existing_transfer(transfer, event.controller)
        refuse_if(transfer.id in self.failed, R.ID_ALREADY_FAILED)
        if event.attester is None:
            code = self.authority.check_key(event.signer)
            refuse_if(code != R.CREATED, code)
        if transfer.flags & (POST | VOID):
            return self._resolve_pending(event)
        return self._move(event)

    def _check_fields(self, transfer: Transfer) -> None:
        refuse_if(transfer.debit_account_id == 0, R.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO)
        refuse_if(transfer.debit_account_id == U128_MAX, R.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX)
        refuse_if(transfer.credit_account_id == 0, R.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO)
        refuse_if(transfer.credit_account_id == U128_MAX, R.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX)
        refuse_if(transfer.credit_account_id == transfer.debit_account_id, R.ACCOUNTS_MUST_BE_DIFFERENT)
        refuse_if(transfer.pending_id != 0, R.PENDING_ID_MUST_BE_ZERO)
        if not transfer.flags & PENDING:
            refuse_if(transfer.timeout != 0, R.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER)
            refuse_if(bool(transfer.flags & CLOSING), R.CLOSING_TRANSFER_MUST_BE_PENDING)
        refuse_if(transfer.ledger == 0, R.LEDGER_MUST_NOT_BE_ZERO)
        refuse_if(transfer.code == 0, R.CODE_MUST_NOT_BE_ZERO)

    def _move(self, event: Event) -> int:
        """Take a transfer that posts at once or reserves an amount."""
        transfer = event.transfer
        self._check_fields(transfer)
        debit = self.tables.accounts.get(transfer.debit_account_id)
        if debit is None:
            raise Refused(R.DEBIT_ACCOUNT_NOT_FOUND)
        by_mandate = self._check_debit_authority(event, debit.id)
        self._check_controller(event)
        credit = self.tables.accounts.get(transfer.credit_account_id)
        if credit is None:
            raise Refused(R.CREDIT_ACCOUNT_NOT_FOUND)
        self._check_closing_authority(event, credit.id, by_mandate)
        refuse_if(debit.ledger != credit.ledger, R.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER)
        refuse_if(transfer.ledger != debit.ledger, R.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS)
        time = event.timestamp
        if transfer.flags & TransferFlags.IMPORTED:
            time = self._imported_time(transfer)
            refuse_if(time <= debit.timestamp, R.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT)
            refuse_if(time <= credit.timestamp, R.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT)
            refuse_if(transfer.timeout != 0, R.IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO)
        refuse_if(debit.closed, R.DEBIT_ACCOUNT_ALREADY_CLOSED)
        refuse_if(credit.closed, R.CREDIT_ACCOUNT_ALREADY_CLOSED)
        amount = balanced_amount(transfer, debit, credit)
        if by_mandate:
            refuse_if(amount > self.tables.mandates[debit.id, event.signer].remaining, R.MANDATE_EXCEEDED)
        check_overflows(transfer, amount, time, debit, credit)
        check_limits(amount, debit, credit)
        if by_mandate:
            mandate = self.tables.mandates[debit.id, event.signer]
            self.tables.mandates[debit.id, event.signer] = mandate._replace(remaining=mandate.remaining - amount)
        self.tables.transfers[transfer.id] = transfer._replace(amount=amount, timestamp=time)
        if transfer.flags & PENDING:
            self.tables.pendings[transfer.id] = Pending(PendingStatus.PENDING, event.controller)
        self._apply(transfer, amount, debit, credit)
        return amount

    def _apply(self, transfer: Transfer, amount: int, debit: Account, credit: Account) -> None:
        if transfer.flags & PENDING:
            new_debit = debit._replace(debits_pending=debit.debits_pending + amount)
            new_credit = credit._replace(credits_pending=credit.credits_pending + amount)
        else:
            new_debit = debit._replace(debits_posted=debit.debits_posted + amount)
            new_credit = credit._replace(credits_posted=credit.credits_posted + amount)
        if transfer.flags & TransferFlags.CLOSING_DEBIT:
            new_debit = new_debit.with_closed(True)
        if transfer.flags & TransferFlags.CLOSING_CREDIT:
            new_credit = new_credit.with_closed(True)
        self._store_account(debit, new_debit)
        self._store_account(credit, new_credit)

    def _imported_time(self, transfer: Transfer) -> int:
        taken = {account.timestamp for account in self.tables.accounts.values()}
        regressed = transfer.timestamp <= self._last_transfer_timestamp() or transfer.timestamp in taken
        refuse_if(regressed, R.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS)
        return transfer.timestamp

    def _check_debit_authority(self, event: Event, debit_id: int) -> bool:
        """Refuse who may not debit the account; whether a mandate is what allows it."""
        owner = self.tables.owners[debit_id]
        if event.attester is not None:
            refuse_if(self.authority.institution(owner) != event.attester, R.ATTESTATION_FOREIGN_ACCOUNT)
            return False
        if event.signer == owner:
            return False
        mandate = self.tables.mandates.get((debit_id, event.signer))
        if mandate is None:
            raise Refused(R.SIGNER_NOT_AUTHORISED)
        refuse_if(self.height >= mandate.until_height, R.MANDATE_EXPIRED)
        return True

    def _check_controller(self, event: Event) -> None:
        if event.controller == NO_KEY:
            return
        refuse_if(not event.transfer.flags & PENDING, R.CONTROLLER_RESERVED_FOR_PENDING_TRANSFER)
        refuse_if(not self.authority.usable(event.controller), R.CONTROLLER_NOT_VALID)

    def _check_closing_authority(self, event: Event, credit_id: int, by_mandate: bool) -> None:
        """An account is closed by its owner only: not by a mandate's holder, not by one who pays into it."""
        if event.transfer.flags & TransferFlags.CLOSING_DEBIT:
            refuse_if(by_mandate, R.CLOSING_NOT_AUTHORISED)
        if event.transfer.flags & TransferFlags.CLOSING_CREDIT:
            owner = self.tables.owners[credit_id]
            mine = owner == event.signer
            if event.attester is not None:
                mine = self.authority.institution(owner) == event.attester
            refuse_if(not mine, R.CLOSING_NOT_AUTHORISED)

    # Two phases

    def _resolve_pending(self, event: Event) -> int:
        """Take a transfer that posts or voids a pending one."""
        transfer = event.transfer
        check_resolving_fields(transfer)
        pending = self.tables.transfers.get(transfer.pending_id)
        if pending is None:
            raise Refused(R.PENDING_TRANSFER_NOT_FOUND)
        refuse_if(not pending.flags & PENDING, R.PENDING_TRANSFER_NOT_PENDING)
        self._check_pending_authority(event, pending)
        amount = check_against_pending(transfer, pending)
        state = self.tables.pendings[pending.id]
        refuse_if(state.status == PendingStatus.POSTED, R.PENDING_TRANSFER_ALREADY_POSTED)
        refuse_if(state.status == PendingStatus.VOIDED, R.PENDING_TRANSFER_ALREADY_VOIDED)
        refuse_if(state.status == PendingStatus.EXPIRED, R.PENDING_TRANSFER_EXPIRED)
        refuse_if(pending.timeout != 0 and pending.expires_at <= event.timestamp, R.PENDING_TRANSFER_EXPIRED)
        imported = bool(transfer.flags & TransferFlags.IMPORTED)
        time = self._imported_time(transfer) if imported else event.timestamp
        if transfer.flags & POST:
            debit_closed = self.tables.accounts[pending.debit_account_id].closed
            credit_closed = self.tables.accounts[pending.credit_account_id].closed
            refuse_if(debit_closed, R.DEBIT_ACCOUNT_ALREADY_CLOSED)
            refuse_if(credit_closed, R.CREDIT_ACCOUNT_ALREADY_CLOSED)
        self.tables.transfers[transfer.id] = transfer._replace(
            debit_account_id=pending.debit_account_id,
            credit_account_id=pending.credit_account_id,
            amount=amount,
            user_data_128=transfer.user_data_128 or pending.user_data_128,
            user_data_64=transfer.user_data_64 or pending.user_data_64,
            user_data_32=transfer.user_data_32 or pending.user_data_32,
            ledger=pending.ledger,
            code=pending.code,
            timestamp=time,
        )
        posted = bool(transfer.flags & POST)
        status = PendingStatus.POSTED if posted else PendingStatus.VOIDED
        self._release(pending, status, amount if posted else 0)
        return amount

    def _check_pending_authority(self, event: Event, pending: Transfer) -> None:
        controller = self.tables.pendings[pending.id].controller
        if controller == NO_KEY:
            controller = self.tables.owners[pending.debit_account_id]
        if event.attester is not None:
            refuse_if(self.authority.institution(controller) != event.attester, R.ATTESTATION_FOREIGN_ACCOUNT)
        else:
            refuse_if(event.signer != controller, R.SIGNER_NOT_AUTHORISED)
        self._check_controller(event)

    def _release(self, pending: Transfer, status: PendingStatus, posted: int) -> None:
        """Take the reserved amount back and post a part of it."""
        self.tables.pendings[pending.id] = self.tables.pendings[pending.id]._replace(status=status)
        debit = self.tables.accounts[pending.debit_account_id]
        credit = self.tables.accounts[pending.credit_account_id]
        new_debit = debit._replace(
            debits_pending=debit.debits_pending - pending.amount, debits_posted=debit.debits_posted + posted
        )
        new_credit = credit._replace(
            credits_pending=credit.credits_pending - pending.amount, credits_posted=credit.credits_posted + posted
        )
        if status != PendingStatus.POSTED:
            if pending.flags & TransferFlags.CLOSING_DEBIT:
                new_debit = new_debit.with_closed(False)
            if pending.flags & TransferFlags.CLOSING_CREDIT:
                new_credit = new_credit.with_closed(False)
        self._store_account(debit, new_debit)
        self._store_account(credit, new_credit)

    def expire(self, now_ns: int, limit: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """End pending transfers whose time has come; ids and amounts, by (time of expiry, time of creation)."""
        due = [
            transfer
            for transfer in (self.tables.transfers[pending_id] for pending_id in self.tables.pendings)
            if self.tables.pendings[transfer.id].status == PendingStatus.PENDING
            and transfer.timeout != 0
            and transfer.expires_at <= now_ns
        ]
        due.sort(key=lambda transfer: (transfer.expires_at, transfer.timestamp))
        for transfer in due[:limit]:
            self._release(transfer, PendingStatus.EXPIRED, 0)
            self.expired.append(Expiry(transfer.id, now_ns, self.height, len(self.tables.transfers)))
        return u128_array(t.id for t in due[:limit]), u128_array(t.amount for t in due[:limit])

    def _refuse_existing_transfer(self, transfer: Transfer, controller: int) -> None:
        existing = self.tables.transfers[transfer.id]
        refuse_if(transfer.flags != existing.flags, R.EXISTS_WITH_DIFFERENT_FLAGS)
        refuse_if(transfer.pending_id != existing.pending_id, R.EXISTS_WITH_DIFFERENT_PENDING_ID)
        refuse_if(transfer.timeout != existing.timeout, R.EXISTS_WITH_DIFFERENT_TIMEOUT)
        if transfer.flags & (POST | VOID):
            transfer = filled_from_pending(transfer, self.tables.transfers[transfer.pending_id])
        refuse_if(transfer.debit_account_id != existing.debit_account_id, R.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID)
        refuse_if(transfer.credit_account_id != existing.credit_account_id, R.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID)
        if transfer.flags & BALANCING:
            refuse_if(transfer.amount < existing.amount, R.EXISTS_WITH_DIFFERENT_AMOUNT)
        else:
            refuse_if(transfer.amount != existing.amount, R.EXISTS_WITH_DIFFERENT_AMOUNT)
        refuse_if(transfer.user_data_128 != existing.user_data_128, R.EXISTS_WITH_DIFFERENT_USER_DATA_128)
        refuse_if(transfer.user_data_64 != existing.user_data_64, R.EXISTS_WITH_DIFFERENT_USER_DATA_64)
        refuse_if(transfer.user_data_32 != existing.user_data_32, R.EXISTS_WITH_DIFFERENT_USER_DATA_32)
        refuse_if(transfer.ledger != existing.ledger, R.EXISTS_WITH_DIFFERENT_LEDGER)
        refuse_if(transfer.code != existing.code, R.EXISTS_WITH_DIFFERENT_CODE)
        kept = self.tables.pendings[existing.id].controller if existing.flags & PENDING else NO_KEY
        refuse_if(controller != kept, R.EXISTS_WITH_DIFFERENT_CONTROLLER)
        raise Refused(R.EXISTS)

    # Changes of authority

    def change_owners(self, ids: NDArray[Any], new_owners: NDArray[np.uint32], registrar: int) -> NDArray[np.uint32]:
        """Give accounts of the registrar's institution to other keys of it; their mandates end."""
        pairs = zip(u128_ints(ids), new_owners.tolist(), strict=True)
        return np.array([self._change_owner(account, owner, registrar) for account, owner in pairs], np.uint32)

    def _change_owner(self, account_id: int, owner: int, registrar: int) -> int:
        if account_id not in self.tables.accounts:
            return AuthorityResult.ACCOUNT_NOT_FOUND
        if self.authority.institution(self.tables.owners[account_id]) != registrar:
            return AuthorityResult.REGISTRAR_OF_OTHER_INSTITUTION
        return self._replace_owner(account_id, owner)

    def rotate_owners(
        self,
        ids: NDArray[Any],
        new_owners: NDArray[np.uint32],
        signers: NDArray[np.uint32],
        signature_ok: NDArray[np.bool_],
    ) -> NDArray[np.uint32]:
        """Give accounts to other keys of their institution, by the signature of their owners; mandates end."""
        columns = (u128_ints(ids), new_owners.tolist(), signers.tolist(), signature_ok.tolist())
        return np.array([self._rotate_owner(*row) for row in zip(*columns, strict=True)], np.uint32)

    def _rotate_owner(self, account_id: int, owner: int, signer: int, signature_ok: bool) -> int:
        code = self.authority.check_signature(signer, signature_ok) or self.authority.check_key(signer)
        if code:
            return code
        if account_id not in self.tables.accounts:
            return AuthorityResult.ACCOUNT_NOT_FOUND
        if self.tables.owners[account_id] != signer:
            return AuthorityResult.SIGNER_NOT_AUTHORISED
        return self._replace_owner(account_id, owner)

    def _replace_owner(self, account_id: int, owner: int) -> int:
        registrar = self.authority.institution(self.tables.owners[account_id])
        if not self.authority.known(owner):
            return AuthorityResult.OWNER_UNKNOWN
        if self.authority.institution(owner) != registrar:
            return AuthorityResult.OWNER_OF_OTHER_INSTITUTION
        if not self.authority.valid(owner):
            return AuthorityResult.KEY_NOT_VALID_AT_HEIGHT
        if owner != self.tables.owners[account_id]:
            self.tables.owners[account_id] = owner
            self.tables.touched.add(self._slot(account_id))
            for key in [key for key in self.tables.mandates if key[0] == account_id]:
                del self.tables.mandates[key]
        return AuthorityResult.OK

    def change_controllers(
        self, pending_ids: NDArray[Any], controllers: NDArray[np.uint32], registrar: int
    ) -> NDArray[np.uint32]:
        """Replace controllers that are keys of the registrar's institution by other keys of it."""
        pairs = zip(u128_ints(pending_ids), controllers.tolist(), strict=True)
        return np.array([self._change_controller(pending, key, registrar) for pending, key in pairs], np.uint32)

    def _change_controller(self, pending_id: int, controller: int, registrar: int) -> int:
        pending = self.tables.pendings.get(pending_id)
        if pending is None or pending.status != PendingStatus.PENDING:
            return AuthorityResult.PENDING_TRANSFER_NOT_LIVE
        if pending.controller == NO_KEY:
            return AuthorityResult.PENDING_TRANSFER_HAS_NO_CONTROLLER
        if self.authority.institution(pending.controller) != registrar:
            return AuthorityResult.REGISTRAR_OF_OTHER_INSTITUTION
        usable = self.authority.usable(controller)
        if not usable or self.authority.institution(controller) != registrar:
            return AuthorityResult.CONTROLLER_NOT_VALID
        self.tables.pendings[pending_id] = pending._replace(controller=controller)
        return AuthorityResult.OK

    def set_mandates(
        self,
        accounts: NDArray[Any],
        holders: NDArray[np.uint32],
        amounts: NDArray[Any],
        until_heights: NDArray[np.uint64],
        signers: NDArray[np.uint32],
        signature_ok: NDArray[np.bool_],
    ) -> NDArray[np.uint32]:
        """Let holders debit accounts up to an amount and before a height; amount 0 ends a mandate."""
        columns = (u128_ints(accounts), holders, u128_ints(amounts), until_heights, signers, signature_ok)
        lists: list[Sequence[Any]] = [c if isinstance(c, list) else c.tolist() for c in columns]
        return np.array([self._set_mandate(*row) for row in zip(*lists, strict=True)], np.uint32)

    def _set_mandate(
        self, account_id: int, holder: int, amount: int, until_height: int, signer: int, signature_ok: bool
    ) -> int:
        code = self.authority.check_signature(signer, signature_ok) or self.authority.check_key(signer)
        if code:
            return code
        if account_id not in self.tables.accounts:
            return AuthorityResult.ACCOUNT_NOT_FOUND
        if self.tables.owners[account_id] != signer:
            return AuthorityResult.SIGNER_NOT_AUTHORISED
        if not self.authority.known(holder):
            return AuthorityResult.HOLDER_UNKNOWN
        if amount == 0:
            self.tables.mandates.pop((account_id, holder), None)
        else:
            self.tables.mandates[account_id, holder] = Mandate(amount, until_height)
        return AuthorityResult.OK

    # Look-ups

    def accounts(self) -> NDArray[Any]:
        """Return every account in order of creation."""
        return records_of(self.tables.accounts.values(), ACCOUNT)

    def transfers(self) -> NDArray[Any]:
        """Return every transfer that took effect, in order."""
        return records_of(self.tables.transfers.values(), TRANSFER)

    def owners(self) -> NDArray[np.uint32]:
        """Owner key of each account slot."""
        return np.array([self.tables.owners[account] for account in self.tables.accounts], np.uint32)

    def institutions(self) -> NDArray[np.uint32]:
        """Institution of each account slot."""
        return np.array([self.authority.institution(key) for key in self.owners().tolist()], np.uint32)

    def lookup_accounts(self, ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Accounts by id; a zero record where there is none."""
        return look_up(self.tables.accounts, ids, ACCOUNT)

    def lookup_transfers(self, ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Transfers by id; a zero record where there is none."""
        return look_up(self.tables.transfers, ids, TRANSFER)

    def lookup_pendings(self, ids: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Status and controller of pending transfers; NONE and NO_KEY where there is none."""
        none = Pending(PendingStatus.NONE, NO_KEY)
        found = [self.tables.pendings.get(transfer, none) for transfer in u128_ints(ids)]
        return np.array([p.status for p in found], np.uint8), np.array([p.controller for p in found], np.uint32)

    def account_slots(self, ids: NDArray[Any]) -> NDArray[np.uint32]:
        """Slots by account id; NO_KEY where there is none."""
        slots = {account: slot for slot, account in enumerate(self.tables.accounts)}
        return np.array([slots.get(account, NO_KEY) for account in u128_ints(ids)], np.uint32)

    def standings_at(self, slots: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Owner keys and institutions at slots."""
        return self.owners()[slots], self.institutions()[slots]

    def payloads_at(self, slots: NDArray[np.uint32], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """What stands in the leaves of a state tree, shape (k, 136): account, owner key, institution."""
        owners, institutions = self.standings_at(slots)
        records = self.records_at(slots)
        rows = [
            record.tobytes() + struct.pack("<II", owner, institution)
            for record, owner, institution in zip(records, owners.tolist(), institutions.tolist(), strict=True)
        ]
        payloads = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, ACCOUNT.itemsize + 8)
        if out is None:
            return payloads
        out[:] = payloads
        return out

    def slots_touched(self) -> NDArray[np.uint32]:
        """Slots changed since the last call, rising."""
        slots = np.array(sorted(self.tables.touched), np.uint32)
        self.tables.touched.clear()
        return slots

    def take_touched_into(self, tree: Any, threads: int) -> int:
        """Take what was touched into a native tree, which holds account i in slot i + 1; returns how many."""
        accounts = len(self.tables.accounts)
        if tree.size != accounts + 1:
            raise ValueError(f"tree: expected {accounts} accounts, got {tree.size - 1}")
        slots = self.slots_touched()
        tree.update(slots + np.uint32(1), self.payloads_at(slots), threads)
        return len(slots)

    def records_at(self, slots: NDArray[np.uint32]) -> NDArray[Any]:
        """Accounts at slots."""
        return self.accounts()[slots]

    def failed_ids(self, start: int = 0) -> NDArray[Any]:
        """Ids that failed for a transient reason, in the order of failing, from the start-th on."""
        return u128_array(list(self.failed)[start:])

    def totals(self) -> dict[int, tuple[int, int, int, int]]:
        """Return sums of debits pending, debits posted, credits pending, credits posted for each ledger."""
        sums: dict[int, tuple[int, int, int, int]] = {}
        for a in self.tables.accounts.values():
            before = sums.get(a.ledger, (0, 0, 0, 0))
            own = (a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted)
            sums[a.ledger] = tuple(x + y for x, y in zip(before, own, strict=True))  # type: ignore[assignment]
        return dict(sorted(sums.items()))
