"""How a block is taken apart into what must be executed to form it again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError
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
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Body, weave
from pyledger.ledger.burnt import takes_more
from pyledger.ledger.commands import (
    CHANGE_ROWS,
    KIND_TRANSFERS,
    REFUSED_SIGNED,
    REFUSED_TRANSFER,
    Attestation,
    Change,
    ChangeValidators,
    Command,
    Order,
    RegisterKeys,
    SignedRefusals,
)
from pyledger.types import ACCOUNT, NO_KEY, AccountFlags, TransferFlags

__all__ = ["order_command", "submissions_of", "unbound"]


def submissions_of(body: Body) -> Iterator[tuple[str, Submission, tuple[int, ...]]]:
    """What must be executed to form a body again, in order, each with a name and what of it must be refused.

    Keys, changes, orders, changes of the validators and accounts come first, then transfers. Attested batches are
    whole, with the records that the block says were refused, and so are signed ones of which some burnt their ids, with
    what stands between these. All other signed transfers that stand side by side are one batch, however many they came
    in.

    Raises
    ------
    InputError
        If a command names records that the block does not hold, or holds elsewhere.
    """
    transfers = _Transfers(body)
    position = created = 0
    burning: TransferBatch | None = None
    for place, command in enumerate(body.commands):
        name = f"command {place} ({command.__struct_config__.tag})"
        if isinstance(command, SignedRefusals) or (isinstance(command, Attestation) and command.kind == KIND_TRANSFERS):
            _require_held(name, command, position, len(body.transfers))
            yield from transfers.signed(position, command.first)
            batch = transfers.burning(command) if isinstance(command, SignedRefusals) else transfers.attested(command)
            if batch.attest is None and burning is not None:
                transfers.require_apart(name, burning, slice(position, command.first), batch)
            position, burning = command.first + command.taken, batch if batch.attest is None else None
            yield name, batch, command.refused_positions
        elif isinstance(command, Attestation):
            _require_held(name, command, created, len(body.accounts))
            created = command.first + command.taken
            taken, refused = body.accounts[command.first : created], np.frombuffer(command.refused, ACCOUNT_ENTRY)
            entries = _unstamped(weave(taken, refused, command.refused_positions))[0]
            yield name, AccountBatch(entries, _attest(command), _timestamps(command)), command.refused_positions
        else:
            submission = unbound(command)
            if submission is not None:
                yield name, submission, command.refused_positions if isinstance(command, Change) else ()
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
            taken, refused = (
                np.frombuffer(rows, CHANGE_ROWS[command.kind]) for rows in (command.rows, command.refused)
            )
            return ChangeBatch(command.kind, weave(taken, refused, command.refused_positions), _attest(command))
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

    def attested(self, command: Attestation) -> TransferBatch:
        """The batch of an attestation, with what was refused of it."""
        taken, refused = _taken(command), np.frombuffer(command.refused, REFUSED_TRANSFER)
        positions, times = command.refused_positions, _timestamps(command)
        records = weave(self._records[taken], refused["record"], positions)
        controllers = self._whole_controllers(taken, refused["controller"], positions)
        return TransferBatch(records, timestamps=times, controllers=controllers, attest=_attest(command))

    def burning(self, command: SignedRefusals) -> TransferBatch:
        """The signed batch of which some burnt their ids, with these."""
        taken, refused = _taken(command), np.frombuffer(command.refused, REFUSED_SIGNED)
        rows = slice(self._signatures_before[taken.start], self._signatures_before[taken.stop])
        if rows.stop - rows.start != command.taken:
            found = f"got {rows.stop - rows.start} signatures for {command.taken} transfers"
            raise InputError(f"a signed batch of which some burnt their ids: {found}", field="signers")
        columns: list[tuple[NDArray[Any], NDArray[Any]]] = [
            (self._records[taken], refused["record"]),
            (self._body.signers[taken], refused["signer"]),
            (self._body.signatures[rows], refused["signature"]),
            (self._times[taken], refused["timestamp"]),
        ]
        positions = command.refused_positions
        records, signers, signatures, times = (weave(*column, positions) for column in columns)
        controllers = self._whole_controllers(taken, refused["controller"], positions)
        return TransferBatch(records, signers, signatures, timestamps=times, controllers=controllers)

    def require_apart(self, name: str, before: TransferBatch, between: slice, behind: TransferBatch) -> None:
        """InputError if two batches that burnt ids could be one: many small ones would take long to execute."""
        imported = _imported(self._records[between]).any() or _imported(behind.records[:1]).any()
        if takes_more(before.records) and not imported:
            raise InputError(f"{name}: expected one command with the refused ones before it", field="first")

    def _whole_controllers(
        self, taken: slice, refused: NDArray[np.uint32], positions: tuple[int, ...]
    ) -> NDArray[np.uint32] | None:
        if self._controllers is not None:
            return weave(self._controllers[taken], refused, positions)
        if (refused == NO_KEY).all():
            return None
        return weave(np.full(taken.stop - taken.start, NO_KEY, np.uint32), refused, positions)

    def signed(self, start: int, end: int) -> Iterator[tuple[str, TransferBatch, tuple[int, ...]]]:
        """The same as signed batches: one is imported as a whole or not at all."""
        imported = _imported(self._records[start:end])
        cuts = [start, *(start + 1 + np.flatnonzero(imported[1:] != imported[:-1])).tolist(), end]
        for low, high in pairwise(cuts if start < end else []):
            rows = slice(self._signatures_before[low], self._signatures_before[high])
            signers, signatures = self._body.signers[low:high], self._body.signatures[rows]
            controllers = None if self._controllers is None else self._controllers[low:high]
            records, times = self._records[low:high], self._times[low:high]
            batch = TransferBatch(records, signers, signatures, timestamps=times, controllers=controllers)
            yield f"transfers {low} to {high - 1}", batch, ()


def _attest(command: Attestation | Change) -> Attest:
    return Attest(command.institution, command.sequence, command.signature, signer=command.signer)


def _taken(command: Attestation | SignedRefusals) -> slice:
    return slice(command.first, command.first + command.taken)


def _require_held(name: str, command: Attestation | SignedRefusals, position: int, count: int) -> None:
    if not position <= command.first <= command.first + command.taken <= count:
        held = f"expected records from {position} on, of {count}"
        raise InputError(f"{name}: {held}, got {command.first} to {command.first + command.taken}", field="first")


def _timestamps(command: Attestation) -> NDArray[np.uint64]:
    """Those of a batch's records, refused ones too; they go on from the first one's."""
    if command.time_ns + command.size >= 1 << 64:
        raise InputError("its timestamps need more than 64 bits", field="time_ns")
    return np.arange(command.time_ns, command.time_ns + command.size, dtype=np.uint64)


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
