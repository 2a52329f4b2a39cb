"""Submissions: what is asked of the book in one go, and what must be signed for it.

A submission registers keys, opens accounts, changes who may do what or who votes, or posts transfers. Each is signed as
one batch by an institution, except transfers that carry a signature each, orders, which an account's owner signs, and
changes of the validators, which many institutions sign. Nothing here
knows the state of a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.crypto.arguments import require_array, require_number
from pyledger.crypto.bls import VALIDATORS_MAX, WEIGHT_MAX
from pyledger.errors import AuthorisationError, InputError
from pyledger.ledger.blocks import ACCOUNT_ENTRY, account_leaves, copied, transfer_leaf_hashes
from pyledger.ledger.changes import key_leaves, row_leaves
from pyledger.ledger.commands import (
    CHANGE_ROWS,
    KIND_ACCOUNTS,
    KIND_KEYS,
    KIND_MANDATE,
    KIND_ROTATION,
    KIND_TRANSFERS,
    KIND_VALIDATORS,
    ChangeValidators,
    in_range,
)
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, AccountFlags, KeyRole, TransferFlags

__all__ = [
    "AccountBatch",
    "Attest",
    "AttestedBatch",
    "ChangeBatch",
    "HeldKey",
    "KeyBatch",
    "OrderedBy",
    "OwnerOrder",
    "Submission",
    "TransferBatch",
    "batch_kind",
    "batch_leaf_hashes",
    "check_form",
    "counted_as",
    "owned",
    "record_count",
]


@dataclass(frozen=True, slots=True)
class Attest:
    """An institution's signature over `batch_message`, for a whole batch.

    Parameters
    ----------
    institution : int
    sequence : int
        One above that of the institution's last batch of the same kind.
    signature : bytes
        64 bytes.
    signer : int, optional
        Index of the key that signed; by default the institution's key of the genesis.
    """

    institution: int
    sequence: int
    signature: bytes
    signer: int | None = None

    @property
    def key(self) -> int:
        """Index of the key that signed."""
        return self.institution if self.signer is None else self.signer


@dataclass(frozen=True, slots=True)
class HeldKey:
    """Sign with a key that this process holds, under whatever sequence is next when the submission is executed.

    Parameters
    ----------
    institution : int
    sign : callable
        Gives the institution's Ed25519 signature of a message.
    signer : int, optional
        Index of that key; by default the institution's key of the genesis.
    """

    institution: int
    sign: Callable[[bytes], bytes]
    signer: int | None = None

    @property
    def key(self) -> int:
        """Index of the key that signs."""
        return self.institution if self.signer is None else self.signer


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """An institution registers public keys.

    Parameters
    ----------
    public_keys : NDArray[uint8], shape (n, 32)
    proofs : NDArray[uint8], shape (n, 64)
        Each new key's signature of its `key_proof_messages`.
    attest : Attest or HeldKey
    roles : int, optional
        `KeyRole` of all of them.
    valid_from : int, optional
        First height at which they count; that of their block if it is later.
    """

    public_keys: NDArray[np.uint8]
    proofs: NDArray[np.uint8]
    attest: Attest | HeldKey
    roles: int = int(KeyRole.HOLDER)
    valid_from: int = 0


@dataclass(frozen=True, slots=True)
class AccountBatch:
    """An institution opens accounts, dtype ACCOUNT_ENTRY, balances zero.

    `timestamps` are given when a block is executed again.
    """

    entries: NDArray[Any]
    attest: Attest | HeldKey
    timestamps: NDArray[np.uint64] | None = None

    @classmethod
    def of(cls, accounts: NDArray[Any], owners: NDArray[np.uint32] | None, attest: Attest | HeldKey) -> Self:
        """A batch of plain records, dtype ACCOUNT, and their owners' key indexes; the attesting key's by default."""
        count = require_array("accounts", accounts, ACCOUNT)
        if owners is not None and require_array("owners", owners, np.dtype(np.uint32)) != count:
            raise InputError(f"owners: expected one for each of {count} accounts, got {len(owners)}")
        entries = np.empty(count, ACCOUNT_ENTRY)
        entries["record"] = accounts
        entries["owner_key"] = attest.key if owners is None else owners
        entries["institution"] = attest.institution
        return cls(entries, attest)


@dataclass(frozen=True, slots=True)
class TransferBatch:
    """Transfers, each signed by a key (`signers`, `signatures`) or all attested by an institution (`attest`).

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
    signers : NDArray[uint32], shape (n,), optional
        Key index of each signature.
    signatures : NDArray[uint8], shape (n, 64), optional
    attest : Attest or HeldKey, optional
        Instead of the signatures.
    timestamps : NDArray[uint64], shape (n,), optional
        When a block is executed again: those of its records.
    controllers : NDArray[uint32], shape (n,), optional
        Key index of who alone may post or void a pending transfer; NO_KEY where that is the debit account's owner.
    """

    records: NDArray[Any]
    signers: NDArray[np.uint32] | None = None
    signatures: NDArray[np.uint8] | None = None
    attest: Attest | HeldKey | None = None
    timestamps: NDArray[np.uint64] | None = None
    controllers: NDArray[np.uint32] | None = None

    @property
    def controlled(self) -> NDArray[np.intp]:
        """Rows that name a controller."""
        return np.flatnonzero(self.controllers != NO_KEY) if self.controllers is not None else np.empty(0, np.intp)


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """An institution revokes keys, gives accounts to other owners or replaces controllers.

    Parameters
    ----------
    kind : int
        A key of `CHANGE_ROWS`.
    rows : NDArray, shape (n,), dtype CHANGE_ROWS[kind]
    attest : Attest or HeldKey
    """

    kind: int
    rows: NDArray[Any]
    attest: Attest | HeldKey


@dataclass(frozen=True, slots=True)
class OrderedBy:
    """The signature of an account's owner over `order_message`.

    Parameters
    ----------
    key : int
        Index of the key that signed.
    sequence : int
        One above that of the key's last order.
    signature : bytes
        64 bytes.
    """

    key: int
    sequence: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class OwnerOrder:
    """An account's owner gives or ends a mandate (KIND_MANDATE), or hands the account to a new key (KIND_ROTATION).

    Parameters
    ----------
    kind : int
    account_id : int
    subject : int
        Key index of the mandate's holder or of the new owner.
    by : OrderedBy or HeldKey
    amount, until_height : int, optional
        How much the holder may debit in all, and before which height; 0 ends the mandate.
    """

    kind: int
    account_id: int
    subject: int
    by: OrderedBy | HeldKey
    amount: int = 0
    until_height: int = 0

    @property
    def attest(self) -> None:
        """No institution attests an order."""


Submission = KeyBatch | AccountBatch | ChangeBatch | OwnerOrder | TransferBatch | ChangeValidators
AttestedBatch = KeyBatch | AccountBatch | ChangeBatch | TransferBatch

_KINDS = {
    KeyBatch: KIND_KEYS,
    AccountBatch: KIND_ACCOUNTS,
    TransferBatch: KIND_TRANSFERS,
    ChangeValidators: KIND_VALIDATORS,
}
_ROLES = int(KeyRole.HOLDER | KeyRole.ATTESTER | KeyRole.GOVERNOR)


def batch_kind(submission: Submission) -> int:
    """Kind that stands in the message which is signed for it."""
    if isinstance(submission, ChangeBatch | OwnerOrder):
        return submission.kind
    return _KINDS[type(submission)]


def counted_as(submission: Submission) -> tuple[int, int] | None:
    """Whose count a signed submission is in, and its place there: an institution's of its kind, or a key's of orders.

    Changes of the validators are one count of the chain. None for transfers that are signed one by one, and for what is
    still to be signed.
    """
    if isinstance(submission, ChangeValidators):
        return (0, submission.number)
    if isinstance(submission, OwnerOrder):
        return (submission.by.key, submission.by.sequence) if isinstance(submission.by, OrderedBy) else None
    attest = submission.attest
    return (attest.institution, attest.sequence) if isinstance(attest, Attest) else None


def record_count(submission: Submission) -> int:
    """Number of keys, accounts, changes or transfers."""
    match submission:
        case KeyBatch():
            return len(submission.public_keys)
        case AccountBatch():
            return len(submission.entries)
        case ChangeBatch():
            return len(submission.rows)
        case OwnerOrder() | ChangeValidators():
            return 1
    return len(submission.records)


def owned(submission: Submission) -> Submission:
    """The same with arrays of its own, so that whoever submitted it may use theirs again."""
    if isinstance(submission, OwnerOrder | ChangeValidators):
        return submission
    changes: dict[str, Any] = {}
    for item in fields(submission):
        value = getattr(submission, item.name)
        if isinstance(value, np.ndarray):
            changes[item.name] = copied(value)
    return replace(submission, **changes)


def batch_leaf_hashes(chain_id: bytes, submission: AttestedBatch) -> NDArray[np.uint8]:
    """Leaf hashes of what is signed, shape (n, 32): of records as in their trees, controllers aside."""
    match submission:
        case KeyBatch():
            leaves = key_leaves(submission.public_keys, submission.roles, submission.valid_from)
        case AccountBatch():
            leaves = account_leaves(chain_id, submission.entries)
        case ChangeBatch():
            leaves = row_leaves(submission.rows)
        case TransferBatch():
            return transfer_leaf_hashes(chain_id, submission.records)
    return merkle.leaf_hashes(leaves)


def check_form(submission: Submission, records_max: int) -> None:
    """Refuse what the engine could not take, before anything changes; InputError names argument and expectation."""
    match submission:
        case OwnerOrder():
            _check_order(submission)
            return
        case ChangeValidators():
            if not in_range(submission):
                expected = f"expected 1 to {VALIDATORS_MAX} validators with weights of 1 to {WEIGHT_MAX}"
                raise InputError(f"change of validators: a field is out of range: {expected}")
            return
        case KeyBatch():
            _check_keys(submission)
        case AccountBatch():
            require_array("accounts", submission.entries, ACCOUNT_ENTRY, ())
            _check_unstamped("accounts", submission.entries["record"], AccountFlags.IMPORTED)
        case ChangeBatch():
            _check_change(submission)
        case TransferBatch():
            _check_transfers(submission)
    if record_count(submission) > records_max:
        raise InputError(f"a block holds {records_max}, got {record_count(submission)}: send them in several calls")
    attest = submission.attest
    if attest is not None:
        require_number("attestation: signer", attest.key, 32)
    if isinstance(attest, Attest) and not (0 <= attest.sequence < 1 << 64 and len(attest.signature) == 64):
        raise InputError("attestation: expected a sequence below 2**64 and a signature of 64 bytes")


def _check_keys(batch: KeyBatch) -> None:
    count = require_array("public_keys", batch.public_keys, np.dtype(np.uint8), (32,))
    if require_array("proofs", batch.proofs, np.dtype(np.uint8), (64,)) != count:
        raise InputError(f"proofs: expected one for each of {count} keys, got {len(batch.proofs)}")
    if not batch.roles or batch.roles & ~_ROLES:
        raise InputError(f"roles: expected HOLDER, ATTESTER, GOVERNOR or several of them, got {batch.roles}")
    require_number("valid_from", batch.valid_from, 64)


def _check_change(batch: ChangeBatch) -> None:
    if batch.kind not in CHANGE_ROWS:
        raise InputError(f"kind: expected one of {', '.join(map(str, CHANGE_ROWS))}, got {batch.kind}")
    require_array("rows", batch.rows, CHANGE_ROWS[batch.kind], ())


def _check_order(order: OwnerOrder) -> None:
    if order.kind not in (KIND_MANDATE, KIND_ROTATION):
        raise InputError(f"kind: expected {KIND_MANDATE} or {KIND_ROTATION}, got {order.kind}")
    for name, bits in (("account_id", 128), ("subject", 32), ("amount", 128), ("until_height", 64)):
        require_number(name, getattr(order, name), bits)
    if order.kind == KIND_ROTATION and (order.amount or order.until_height):
        raise InputError("a rotation has neither amount nor until_height")
    require_number("signer", order.by.key, 32)
    if isinstance(order.by, OrderedBy) and not (0 <= order.by.sequence < 1 << 64 and len(order.by.signature) == 64):
        raise InputError("order: expected a sequence below 2**64 and a signature of 64 bytes")


def _check_transfers(batch: TransferBatch) -> None:
    count = require_array("transfers", batch.records, TRANSFER, ())
    _check_unstamped("transfers", batch.records, TransferFlags.IMPORTED)
    if batch.attest is None:
        _check_signatures(batch)
    if batch.controllers is None:
        return
    if require_array("controllers", batch.controllers, np.dtype(np.uint32), ()) != count:
        raise InputError(f"controllers: expected one for each of {count} transfers, got {len(batch.controllers)}")


def _check_unstamped(name: str, records: NDArray[Any], imported: int) -> None:
    """Only imported records bring their own time: of others no signature covers it, so that anybody could change it."""
    stamped = records["timestamp"] != 0
    if not stamped.any():
        return
    stamped &= records["flags"] & imported == 0
    if stamped.any():
        row = int(np.argmax(stamped))
        found = f"expected 0 unless imported, got {records['timestamp'][row]}"
        raise InputError(f"{name}: {found}", row=row + 1, field="timestamp")


def _check_signatures(batch: TransferBatch) -> None:
    count = len(batch.records)
    signers, signatures = batch.signers, batch.signatures
    if signers is None or signatures is None:
        raise AuthorisationError("transfers: expected signers and signatures, or an attestation")
    require_array("signers", signers, np.dtype(np.uint32), ())
    require_array("signatures", signatures, np.dtype(np.uint8), (64,))
    if len(signers) != count or len(signatures) != count:
        raise InputError(
            f"transfers: expected signers ({count},) and signatures ({count}, 64), "
            f"got {signers.shape} and {signatures.shape}"
        )
