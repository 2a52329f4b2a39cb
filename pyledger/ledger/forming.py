"""A block while it is being formed: what took effect so far, column by column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.ledger.batches import AccountBatch, Attest, TransferBatch, stamped
from pyledger.ledger.blocks import (
    ACCOUNT_ENTRY,
    ATTESTED,
    KIND_ACCOUNTS,
    KIND_TRANSFERS,
    OUTCOME_SIZE,
    SIGNED,
    Attestation,
    Body,
    Command,
    command_leaf_hashes,
    outcome_leaves,
)
from pyledger.types import NO_KEY, TRANSFER, U128

__all__ = ["Forming"]


@dataclass
class Forming:
    """What takes effect in the block being formed.

    Parameters
    ----------
    time_ns : int
        Block time.
    next_timestamp : int
        Of the next record submitted.
    expired_count : int
        Pending transfers that the block's time released.
    submitted : int
        Records so far, refused ones too.
    transfers_submitted : bool
        Whether there were transfers among them.
    """

    time_ns: int
    next_timestamp: int
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
    outcomes: list[NDArray[np.uint8]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing took effect."""
        return not (self.expired_count or self.commands or any(map(len, self.transfers)))

    @property
    def accounts_count(self) -> int:
        """Accounts created so far."""
        return sum(map(len, self.accounts))

    @property
    def transfers_count(self) -> int:
        """Transfers that took effect so far."""
        return sum(map(len, self.transfers))

    def take_timestamps(self, submission: AccountBatch | TransferBatch, count: int) -> NDArray[np.uint64]:
        """One for each record submitted, a nanosecond apart; or those the records had when they first took effect."""
        first, self.next_timestamp = self.next_timestamp, self.next_timestamp + count
        self.submitted += count
        if submission.timestamps is not None:
            return submission.timestamps
        return np.arange(first, first + count, dtype=np.uint64)

    def add_accounts(
        self,
        batch: AccountBatch,
        attest: Attest,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        taken: NDArray[np.bool_],
    ) -> None:
        """Add the accounts of a batch that were created."""
        self.commands.append(_attestation(KIND_ACCOUNTS, attest, self.accounts_count, hashes, taken))
        self.accounts.append(stamped(batch.entries[taken], timestamps[taken]))
        self.account_hashes.append(hashes[taken])

    def add_signed(
        self,
        batch: TransferBatch,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        taken: NDArray[np.bool_],
        effects: NDArray[Any],
        public_keys: NDArray[np.uint8],
    ) -> None:
        """Add the transfers of a signed batch that took effect, with the amounts posted and their signers' keys."""
        assert batch.signers is not None
        assert batch.signatures is not None
        self.signers.append(batch.signers[taken])
        self.signatures.append(batch.signatures[taken])
        self._add_transfers(batch, timestamps, hashes, taken, effects, (SIGNED, 0, 0, public_keys))

    def add_attested(
        self,
        batch: TransferBatch,
        attest: Attest,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        taken: NDArray[np.bool_],
        effects: NDArray[Any],
        public_key: NDArray[np.uint8],
    ) -> None:
        """Add the transfers of an attested batch that took effect; the key is the institution's, shape (1, 32)."""
        self.commands.append(_attestation(KIND_TRANSFERS, attest, self.transfers_count, hashes, taken))
        self.signers.append(np.full(int(taken.sum()), NO_KEY, np.uint32))
        authority = (ATTESTED, attest.institution, attest.sequence, public_key)
        self._add_transfers(batch, timestamps, hashes, taken, effects, authority)

    def _add_transfers(
        self,
        batch: TransferBatch,
        timestamps: NDArray[np.uint64],
        hashes: NDArray[np.uint8],
        taken: NDArray[np.bool_],
        effects: NDArray[Any],
        authority: tuple[int, int, int, NDArray[np.uint8]],
    ) -> None:
        records = stamped(batch.records[taken], timestamps[taken])
        effects = effects[taken]
        self.transfers.append(records)
        self.transfer_hashes.append(hashes[taken])
        self.effects.append(effects)
        self.outcomes.append(outcome_leaves(np.ascontiguousarray(records["timestamp"]), effects, *authority))

    def body(self) -> Body:
        """The columns, each in one piece."""
        transfers = _join(self.transfers, TRANSFER)
        effects = _join(self.effects, U128)
        if np.array_equal(effects, transfers["amount"]):
            effects = effects[:0]
        return Body(
            tuple(self.commands),
            _join(self.accounts, ACCOUNT_ENTRY),
            transfers,
            _join(self.signers, np.dtype(np.uint32)),
            _join_rows(self.signatures, 64),
            effects,
        )

    def roots(self) -> dict[str, bytes]:
        """Roots of the four trees over the block's own columns, by their names in the header."""
        return {
            "accounts_root": merkle.root_of_leaf_hashes(_join_rows(self.account_hashes, 32)),
            "transfers_root": merkle.root_of_leaf_hashes(_join_rows(self.transfer_hashes, 32)),
            "commands_root": merkle.root_of_leaf_hashes(command_leaf_hashes(tuple(self.commands))),
            "outcomes_root": merkle.root(_join_rows(self.outcomes, OUTCOME_SIZE)),
        }


def _attestation(
    kind: int, attest: Attest, first: int, hashes: NDArray[np.uint8], taken: NDArray[np.bool_]
) -> Attestation:
    """The command that keeps the attestation in the block, with what was refused now or when it was first executed."""
    positions, leaves = attest.refused_positions, attest.refused_leaves
    if not taken.all():
        positions = tuple(np.flatnonzero(~taken).tolist())
        leaves = hashes[~taken].tobytes()
    return Attestation(
        attest.institution, attest.sequence, kind, first, int(taken.sum()), positions, leaves, attest.signature
    )


def _join(arrays: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def _join_rows(arrays: list[NDArray[np.uint8]], width: int) -> NDArray[np.uint8]:
    return np.concatenate(arrays) if arrays else np.empty((0, width), np.uint8)
