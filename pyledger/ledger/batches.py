"""Submissions: what is asked of the book in one go, what must be signed for it, and how a block is taken apart again.

A submission registers keys, opens accounts or posts transfers. Each is signed as one batch by an institution, except
transfers that carry a signature each. Nothing here knows the state of a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.errors import AuthorisationError, InputError
from pyledger.ledger.blocks import (
    ACCOUNT_ENTRY,
    KIND_ACCOUNTS,
    KIND_KEYS,
    KIND_TRANSFERS,
    Attestation,
    Body,
    RegisterKeys,
    account_leaves,
    transfer_leaf_hashes,
)
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, AccountFlags, TransferFlags

__all__ = [
    "AccountBatch",
    "Attest",
    "HeldKey",
    "KeyBatch",
    "Submission",
    "TransferBatch",
    "batch_kind",
    "batch_leaf_hashes",
    "check_form",
    "owned",
    "record_count",
    "submissions_of",
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
    refused_positions, refused_leaves : optional
        When a block is executed again: which records of the signed batch had been refused, and their leaf hashes.
    """

    institution: int
    sequence: int
    signature: bytes
    refused_positions: tuple[int, ...] = ()
    refused_leaves: bytes = b""


@dataclass(frozen=True, slots=True)
class HeldKey:
    """Attest with a key that this process holds, under whatever sequence is next when the batch is executed.

    Parameters
    ----------
    institution : int
    sign : callable
        Gives the institution's Ed25519 signature of a message.
    """

    institution: int
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """An institution registers public keys, shape (n, 32)."""

    public_keys: NDArray[np.uint8]
    attest: Attest | HeldKey


@dataclass(frozen=True, slots=True)
class AccountBatch:
    """An institution opens accounts, dtype ACCOUNT_ENTRY, balances zero.

    `timestamps` are given when a block is executed again.
    """

    entries: NDArray[Any]
    attest: Attest | HeldKey
    timestamps: NDArray[np.uint64] | None = None


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
    """

    records: NDArray[Any]
    signers: NDArray[np.uint32] | None = None
    signatures: NDArray[np.uint8] | None = None
    attest: Attest | HeldKey | None = None
    timestamps: NDArray[np.uint64] | None = None


Submission = KeyBatch | AccountBatch | TransferBatch

_KINDS = {KeyBatch: KIND_KEYS, AccountBatch: KIND_ACCOUNTS, TransferBatch: KIND_TRANSFERS}


def batch_kind(submission: Submission) -> int:
    """Kind that stands in the message which an institution signs for it."""
    return _KINDS[type(submission)]


def record_count(submission: Submission) -> int:
    """Number of keys, accounts or transfers."""
    if isinstance(submission, KeyBatch):
        return len(submission.public_keys)
    return len(submission.entries if isinstance(submission, AccountBatch) else submission.records)


def owned(submission: Submission) -> Submission:
    """The same with arrays of its own, so that whoever submitted it may use theirs again."""
    if isinstance(submission, KeyBatch):
        return replace(submission, public_keys=submission.public_keys.copy())
    if isinstance(submission, AccountBatch):
        return replace(submission, entries=submission.entries.copy())
    signers, signatures = submission.signers, submission.signatures
    return replace(
        submission,
        records=submission.records.copy(),
        signers=None if signers is None else signers.copy(),
        signatures=None if signatures is None else signatures.copy(),
    )


def batch_leaf_hashes(chain_id: bytes, submission: Submission) -> NDArray[np.uint8]:
    """Leaf hashes of what is signed, shape (n, 32): of keys as they are, of records as in their trees."""
    if isinstance(submission, TransferBatch):
        return transfer_leaf_hashes(chain_id, submission.records)
    if isinstance(submission, AccountBatch):
        return merkle.leaf_hashes(account_leaves(chain_id, submission.entries))
    return merkle.leaf_hashes(submission.public_keys)


def check_form(submission: Submission, records_max: int) -> None:
    """Refuse what the engine could not take, before anything changes; InputError names argument and expectation."""
    if isinstance(submission, KeyBatch):
        count = _require_array("public_keys", submission.public_keys, np.dtype(np.uint8), (32,))
    elif isinstance(submission, AccountBatch):
        count = _require_array("accounts", submission.entries, ACCOUNT_ENTRY, ())
    else:
        count = _require_array("transfers", submission.records, TRANSFER, ())
        if submission.attest is None:
            _check_signatures(submission)
    if count > records_max:
        raise InputError(f"a block holds {records_max}, got {count}: send them in several calls")
    attest = submission.attest
    if isinstance(attest, Attest) and not (0 <= attest.sequence < 1 << 64 and len(attest.signature) == 64):
        raise InputError("attestation: expected a sequence below 2**64 and a signature of 64 bytes")


def _check_signatures(batch: TransferBatch) -> None:
    count = len(batch.records)
    signers, signatures = batch.signers, batch.signatures
    if signers is None or signatures is None:
        raise AuthorisationError("transfers: expected signers and signatures, or an attestation")
    _require_array("signers", signers, np.dtype(np.uint32), ())
    _require_array("signatures", signatures, np.dtype(np.uint8), (64,))
    if len(signers) != count or len(signatures) != count:
        raise InputError(
            f"transfers: expected signers ({count},) and signatures ({count}, 64), "
            f"got {signers.shape} and {signatures.shape}"
        )


def _require_array(name: str, array: NDArray[Any], dtype: np.dtype[Any], row: tuple[int, ...]) -> int:
    """Number of rows of a C-contiguous array of exactly this dtype and row shape."""
    if array.dtype != dtype or array.shape[1:] != row or array.ndim != 1 + len(row) or not array.flags.c_contiguous:
        shape = f"(n, {row[0]})" if row else "(n,)"
        raise InputError(
            f"{name}: expected a C-contiguous array of shape {shape} and dtype {_dtype_name(dtype)}, "
            f"got shape {array.shape} and dtype {_dtype_name(array.dtype)}"
        )
    return len(array)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    names = {ACCOUNT_ENTRY: "ACCOUNT_ENTRY", ACCOUNT: "ACCOUNT", TRANSFER: "TRANSFER"}
    return names.get(dtype, str(dtype))


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


# Taking a block apart. ------------------------------------------------------------------------------------------------


def submissions_of(body: Body) -> Iterator[Submission]:
    """What must be executed to form a body again, in order: keys and accounts, then transfers.

    Signed transfers that stand side by side are one batch, however many they came in.
    """
    records, times = _unstamped(body.transfers)
    signatures_before = np.concatenate([[0], np.cumsum(body.signers != NO_KEY)])

    def signed(start: int, end: int) -> Iterator[TransferBatch]:
        imported = _imported(records[start:end])
        cuts = [start, *(start + 1 + np.flatnonzero(imported[1:] != imported[:-1])).tolist(), end]
        for low, high in pairwise(cuts if start < end else []):  # a batch is imported as a whole or not at all
            signatures = body.signatures[signatures_before[low] : signatures_before[high]]
            yield TransferBatch(records[low:high], body.signers[low:high], signatures, timestamps=times[low:high])

    position = 0
    for command in body.commands:
        if isinstance(command, RegisterKeys):
            attest = Attest(command.institution, command.sequence, command.signature)
            yield KeyBatch(np.frombuffer(command.public_keys, np.uint8).reshape(-1, 32), attest)
        elif isinstance(command, Attestation) and command.kind == KIND_ACCOUNTS:
            entries, entry_times = _unstamped(body.accounts[command.first : command.first + command.taken])
            yield AccountBatch(entries, _attest(command), entry_times)
        elif isinstance(command, Attestation):
            yield from signed(position, command.first)
            start, position = command.first, command.first + command.taken
            yield TransferBatch(records[start:position], attest=_attest(command), timestamps=times[start:position])
    yield from signed(position, len(records))


def _attest(command: Attestation) -> Attest:
    return Attest(
        command.institution, command.sequence, command.signature, command.refused_positions, command.refused_leaves
    )
