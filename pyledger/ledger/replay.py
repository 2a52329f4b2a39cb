"""How a block is taken apart into what must be executed to form it again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    ChangeBatch,
    KeyBatch,
    OrderedBy,
    OwnerOrder,
    Submission,
    TransferBatch,
)
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Body
from pyledger.ledger.commands import (
    CHANGE_ROWS,
    KIND_TRANSFERS,
    Attestation,
    Change,
    ChangeValidators,
    Command,
    Order,
    RegisterKeys,
)
from pyledger.types import ACCOUNT, NO_KEY, AccountFlags, TransferFlags

__all__ = ["order_command", "submissions_of", "unbound"]


def submissions_of(body: Body) -> Iterator[tuple[str, Submission]]:
    """What must be executed to form a body again, in order, each with a name for messages.

    Keys, changes, orders, changes of the validators and accounts come first, then transfers. Signed transfers that
    stand side by side are one batch, however many they came in.
    """
    transfers = _Transfers(body)
    position = 0
    for place, command in enumerate(body.commands):
        name = f"command {place} ({command.__struct_config__.tag})"
        if isinstance(command, Attestation) and command.kind == KIND_TRANSFERS:
            yield from transfers.signed(position, command.first)
            position = command.first + command.taken
            yield name, transfers.batch(command.first, position, attest=_attest(command))
        elif isinstance(command, Attestation):
            entries, times = _unstamped(body.accounts[command.first : command.first + command.taken])
            yield name, AccountBatch(entries, _attest(command), times)
        else:
            submission = unbound(command)
            if submission is not None:
                yield name, submission
    yield from transfers.signed(position, len(body.transfers))


def unbound(command: Command) -> KeyBatch | ChangeBatch | OwnerOrder | ChangeValidators | None:
    """The submission of a command that stands for itself, without records in the block's columns; None for others."""
    match command:
        case RegisterKeys():
            keys = np.frombuffer(command.public_keys, np.uint8).reshape(-1, 32)
            proofs = np.frombuffer(command.proofs, np.uint8).reshape(-1, 64)
            attest = Attest(command.institution, command.sequence, command.signature, signer=command.signer)
            return KeyBatch(keys, proofs, attest, command.roles, command.valid_from)
        case Change():
            return ChangeBatch(command.kind, np.frombuffer(command.rows, CHANGE_ROWS[command.kind]), _attest(command))
        case Order():
            account_id, amount = (int.from_bytes(data, "little") for data in (command.account_id, command.amount))
            by = OrderedBy(command.signer, command.sequence, command.signature)
            return OwnerOrder(command.kind, account_id, command.key, by, amount, command.until_height)
        case ChangeValidators():
            return command
    return None


def order_command(order: OwnerOrder) -> Order:
    """The command that keeps a signed order in a block."""
    assert isinstance(order.by, OrderedBy)
    account_id, amount = (value.to_bytes(16, "little") for value in (order.account_id, order.amount))
    terms = (account_id, order.subject, amount, order.until_height)
    return Order(order.kind, order.by.key, order.by.sequence, *terms, order.by.signature)


class _Transfers:
    """The transfers of a body, to be taken apart into the batches that they can have come in."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._records, self._times = _unstamped(body.transfers)
        self._signatures_before = np.concatenate([[0], np.cumsum(body.signers != NO_KEY)])
        self._controllers: NDArray[np.uint32] | None = None
        if len(body.controllers):
            self._controllers = np.full(len(body.transfers), NO_KEY, np.uint32)
            self._controllers[body.controllers["position"]] = body.controllers["key"]

    def batch(self, low: int, high: int, **authority: Any) -> TransferBatch:
        """The transfers from low to before high."""
        controllers = None if self._controllers is None else self._controllers[low:high]
        times = self._times[low:high]
        return TransferBatch(self._records[low:high], timestamps=times, controllers=controllers, **authority)

    def signed(self, start: int, end: int) -> Iterator[tuple[str, TransferBatch]]:
        """The same as signed batches: one is imported as a whole or not at all."""
        imported = _imported(self._records[start:end])
        cuts = [start, *(start + 1 + np.flatnonzero(imported[1:] != imported[:-1])).tolist(), end]
        for low, high in pairwise(cuts if start < end else []):
            rows = slice(self._signatures_before[low], self._signatures_before[high])
            signers, signatures = self._body.signers[low:high], self._body.signatures[rows]
            yield f"transfers {low} to {high - 1}", self.batch(low, high, signers=signers, signatures=signatures)


def _attest(command: Attestation | Change) -> Attest:
    return Attest(
        command.institution,
        command.sequence,
        command.signature,
        command.refused_positions,
        command.refused_leaves,
        command.signer,
    )


def _unstamped(records: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """The records as they were submitted, and timestamps under which they take effect in the same way again."""
    plain: NDArray[Any] = records.copy()
    target = plain["record"] if records.dtype == ACCOUNT_ENTRY else plain
    timestamps: NDArray[np.uint64] = target["timestamp"].copy()
    target["timestamp"] = np.where(_imported(target), timestamps, 0)
    return plain, timestamps


def _imported(records: NDArray[Any]) -> NDArray[np.bool_]:
    flag = AccountFlags.IMPORTED if records.dtype == ACCOUNT else TransferFlags.IMPORTED
    imported: NDArray[np.bool_] = records["flags"] & flag != 0
    return imported
