"""A block while it is being formed: what took effect so far, column by column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto import merkle
from pyledger.errors import InputError
from pyledger.ledger.batches import AccountBatch, Attest, ChangeBatch, TransferBatch
from pyledger.ledger.blocks import (
    ACCOUNT_ENTRY,
    ATTESTED,
    CONTROLLED,
    KIND_ACCOUNTS,
    KIND_TRANSFERS,
    SIGNED,
    Body,
    byte_rows,
    command_leaf_hashes,
    joined,
)
from pyledger.ledger.burnt import Refusals, burning_rows, takes_more
from pyledger.ledger.commands import (
    REFUSED_SIGNED,
    REFUSED_TRANSFER,
    Attestation,
    Change,
    Command,
)
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, U128, AccountFlags, TransferFlags

__all__ = ["Forming"]

_Authority = tuple[int, int, int, NDArray[np.uint8], NDArray[np.uint32] | None]
"""Kind, institution, sequence, public keys and each transfer's place among them, as in the outcomes."""


@dataclass
class Forming:
    """What takes effect in the block being formed.

    Parameters
    ----------
    time_ns : int
        Block time.
    next_timestamp : int
        Of the next record submitted.
    end_timestamp : int
        No record of the block has one from here on, its own apart if it is imported.
    expired_count : int
        Pending transfers that the block's time released.
    submitted : int
        Records so far, refused ones too.
    transfers_submitted : bool
        Whether there were transfers among them.
    amounts_equal : bool
        Whether each amount that took effect so far is the one submitted.
    signed_roots : list of bytes
        Of the attested batches that took effect as a whole: the roots that their institutions signed.
    accounts_count, transfers_count : int
        Records that took effect so far.
    """

    time_ns: int
    next_timestamp: int
    end_timestamp: int
    expired_count: int = 0
    submitted: int = 0
    transfers_submitted: bool = False
    commands: list[Command] = field(default_factory=list)
    accounts: list[NDArray[Any]] = field(default_factory=list)
    account_hashes: list[NDArray[np.uint8]] = field(default_factory=list)
    transfers: list[NDArray[Any]] = field(default_factory=list)
    transfer_hashes: list[NDArray[np.uint8]] = field(default_factory=list)
    signers: list[NDArray[np.uint32]] = field(default_factory=list)
    signatures: list[NDArray[np.uint8]] = field(default_factory=list)
    effects: list[NDArray[Any]] = field(default_factory=list)
    authorities: list[_Authority] = field(default_factory=list)
    controllers: list[NDArray[Any]] = field(default_factory=list)
    amounts_equal: bool = True
    signed_roots: list[bytes] = field(default_factory=list)
    accounts_count: int = 0
    transfers_count: int = 0
    _refusals: Refusals | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing took effect."""
        return not (self.expired_count or self.commands or self._refusals or self.transfers_count)

    @property
    def last_time_ns(self) -> int:
        """Time of the block's last event."""
        columns = [entries["record"] for entries in self.accounts] + self.transfers
        return max([self.time_ns, *(_last_time(records) for records in columns)])

    def take_timestamps(self, submission: AccountBatch | TransferBatch, count: int) -> NDArray[np.uint64]:
        """One for each record submitted, a nanosecond apart; or those the records had when they first took effect.

        Raises
        ------
        InputError
            If these can't have been given in this block.
        """
        self.submitted += count
        given, first = submission.timestamps, self.next_timestamp
        own_times = isinstance(submission, TransferBatch) and submission.attest is None and _is_imported(submission)
        if given is None or own_times:
            self.next_timestamp += count
            return np.arange(first, first + count, dtype=np.uint64) if given is None else given
        if len(given):
            if not first <= int(given[0]) <= int(given[-1]) < self.end_timestamp:
                expected = f"timestamps: expected to rise from {first} on and to stay below {self.end_timestamp}"
                raise InputError(f"{expected}, got {given[0]} to {given[-1]}")
            self.next_timestamp = int(given[-1]) + 1
        return given

    def add_accounts(
        self,
        batch: AccountBatch,
        attest: Attest,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        results: NDArray[np.uint32],
    ) -> None:
        """Add the accounts of a batch that were created, and what was refused."""
        taken = results == 0
        refused = batch.entries[results != 0].tobytes()
        self.commands.append(self._attestation(KIND_ACCOUNTS, attest, timestamps, refused, results))
        entries = batch.entries[taken]
        imported = entries["record"]["flags"] & AccountFlags.IMPORTED != 0  # they keep their own times
        entries["record"]["timestamp"] = np.where(imported, entries["record"]["timestamp"], timestamps[taken])
        self.accounts.append(entries)
        self.accounts_count += len(entries)
        self.account_hashes.append(hashes[taken])

    def add_signed(
        self,
        batch: TransferBatch,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        results: NDArray[np.uint32],
        effects: NDArray[Any],
        public_keys: NDArray[np.uint8],
    ) -> None:
        """Add the transfers of a signed batch that took effect, with the amounts, and those that burnt their ids.

        Keys are by key index.
        """
        assert batch.signers is not None
        assert batch.signatures is not None
        signers = _core.take_rows(byte_rows(batch.signers), results).view(np.uint32).reshape(-1)
        if len(signers) < len(results):
            self._add_refusals(batch, timestamps, results)
        if not len(signers):
            return
        if _is_imported(batch):
            self.end_refusals()
        self.signers.append(signers)
        self.signatures.append(_core.take_rows(batch.signatures, results))
        self._add_transfers(batch, timestamps, hashes, results, effects, (SIGNED, 0, 0, public_keys, signers))

    def add_attested(
        self,
        batch: TransferBatch,
        attest: Attest,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        results: NDArray[np.uint32],
        effects: NDArray[Any],
        public_key: NDArray[np.uint8],
        signed_root: bytes,
    ) -> None:
        """Add the transfers of an attested batch that took effect; the key is the institution's, shape (1, 32)."""
        self.end_refusals()
        attestation = self._attestation(
            KIND_TRANSFERS, attest, timestamps, _refused_transfers(batch, hashes, results), results
        )
        self.commands.append(attestation)
        self.signers.append(np.full(attestation.taken, NO_KEY, np.uint32))
        if attestation.taken == len(results):
            self.signed_roots.append(signed_root)
        authority = (ATTESTED, attest.institution, attest.sequence, public_key, None)
        self._add_transfers(batch, timestamps, hashes, results, effects, authority)

    def _add_refusals(self, batch: TransferBatch, timestamps: NDArray[np.uint64], results: NDArray[np.uint32]) -> None:
        refused, taken = burning_rows(batch.records, results), results == 0
        if not refused.any():
            return
        assert batch.signers is not None
        assert batch.signatures is not None
        rows = np.empty(np.count_nonzero(refused), REFUSED_SIGNED)
        imported = _is_imported(batch)
        rows["record"], rows["timestamp"] = batch.records[refused], 0 if imported else timestamps[refused]
        rows["signer"], rows["signature"] = batch.signers[refused], batch.signatures[refused]
        rows["controller"] = _controllers_of(batch, refused)
        kept = refused | taken
        if imported:
            self.end_refusals()
        if self._refusals is None:
            self._refusals = Refusals(self.transfers_count)
        count = int(np.count_nonzero(taken))
        self._refusals.add(self.transfers_count, count, np.flatnonzero(refused[kept]), rows)
        if not takes_more(batch.records[kept]):
            self.end_refusals()

    def end_refusals(self) -> None:
        """Close the command of the signed batches so far that burn ids: what follows them is none, or stands apart."""
        if self._refusals is not None:
            self.commands.append(self._refusals.command())
            self._refusals = None

    def add_change(self, batch: ChangeBatch, attest: Attest, results: NDArray[np.uint32]) -> None:
        """Add the rows of a change, those that took effect and those that did not."""
        rows, refused = (batch.rows[which].tobytes() for which in (results == 0, results != 0))
        positions = tuple(np.flatnonzero(results).tolist())
        by = (attest.institution, attest.sequence, attest.key)
        self.commands.append(Change(*by, batch.kind, rows, positions, refused, attest.signature))
        self.submitted += len(batch.rows)

    def _attestation(
        self,
        kind: int,
        attest: Attest,
        timestamps: NDArray[np.uint64],
        refused: bytes,
        results: NDArray[np.uint32],
    ) -> Attestation:
        """The command that keeps the attestation in the block, and what was refused."""
        first = self.accounts_count if kind == KIND_ACCOUNTS else self.transfers_count
        taken = int(np.count_nonzero(results == 0))
        time_ns = int(timestamps[0]) if len(timestamps) else self.time_ns
        positions = tuple(np.flatnonzero(results).tolist())
        by = (attest.institution, attest.sequence, attest.key)
        return Attestation(*by, kind, first, taken, time_ns, positions, refused, attest.signature)

    def _add_transfers(
        self,
        batch: TransferBatch,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        results: NDArray[np.uint32],
        effects: NDArray[Any],
        authority: _Authority,
    ) -> None:
        if batch.controllers is not None:
            self._add_controllers(batch.controllers[results == 0])
        records = _core.take_transfers(byte_rows(batch.records), timestamps, results)
        amounts = _core.take_rows(byte_rows(effects), results)
        self.transfers.append(records.view(TRANSFER).reshape(-1))
        self.transfers_count += len(records)
        self.transfer_hashes.append(_core.take_rows(hashes, results))
        self.effects.append(amounts.view(U128).reshape(-1))
        self.authorities.append(authority)
        self.amounts_equal = self.amounts_equal and _core.amounts_equal(records, amounts)

    def _add_controllers(self, keys: NDArray[np.uint32]) -> None:
        named = np.flatnonzero(keys != NO_KEY)
        rows = np.empty(len(named), CONTROLLED)
        rows["position"], rows["key"] = named + self.transfers_count, keys[named]
        self.controllers.append(rows)

    def body(self) -> Body:
        """The columns, each in one piece."""
        return Body(
            tuple(self.commands),
            joined(self.accounts, ACCOUNT_ENTRY),
            joined(self.transfers, TRANSFER),
            joined(self.signers, np.dtype(np.uint32)),
            _join_rows(self.signatures, 64),
            np.empty(0, U128) if self.amounts_equal else joined(self.effects, U128),
            joined(self.controllers, CONTROLLED),
        )

    def roots(self) -> dict[str, bytes]:
        """Roots of the four trees over the block's own columns, by their names in the header."""
        return {
            "accounts_root": merkle.root_of_leaf_hashes(_join_rows(self.account_hashes, 32)),
            "transfers_root": self._transfers_root(),
            "commands_root": merkle.root_of_leaf_hashes(command_leaf_hashes(tuple(self.commands))),
            "outcomes_root": merkle.root_of_leaf_hashes(_join_rows(self._outcome_hashes(), 32)),
        }

    def _transfers_root(self) -> bytes:
        """Of a block that is one attested batch it is the root that was signed."""
        if len(self.transfer_hashes) == len(self.signed_roots) == 1:
            return self.signed_roots[0]
        return merkle.root_of_leaf_hashes(_join_rows(self.transfer_hashes, 32))

    def _outcome_hashes(self) -> list[NDArray[np.uint8]]:
        return [
            _core.outcome_leaf_hashes(byte_rows(records), byte_rows(effects), *authority, 0)
            for records, effects, authority in zip(self.transfers, self.effects, self.authorities, strict=True)
        ]


def _refused_transfers(batch: TransferBatch, hashes: NDArray[np.uint8], results: NDArray[np.uint32]) -> bytes:
    refused = results != 0
    rows = np.empty(np.count_nonzero(refused), REFUSED_TRANSFER)
    rows["record"], rows["leaf"] = batch.records[refused], hashes[refused]
    rows["controller"] = _controllers_of(batch, refused)
    return rows.tobytes()


def _controllers_of(batch: TransferBatch, rows: NDArray[np.bool_]) -> NDArray[np.uint32] | int:
    return NO_KEY if batch.controllers is None else batch.controllers[rows]


def _is_imported(batch: TransferBatch) -> bool:
    """Whether a batch is imported, as its first record says; others in it are refused."""
    return bool((batch.records["flags"][:1] & TransferFlags.IMPORTED).any())


def _last_time(records: NDArray[Any]) -> int:
    """Times rise, except that imported records (a batch is imported as a whole) have old ones of their own."""
    flag = AccountFlags.IMPORTED if records.dtype == ACCOUNT else TransferFlags.IMPORTED
    return 0 if not len(records) or int(records["flags"][-1]) & flag else int(records["timestamp"][-1])


def _join_rows(arrays: list[NDArray[np.uint8]], width: int) -> NDArray[np.uint8]:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty((0, width), np.uint8)
