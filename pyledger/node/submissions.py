"""Submissions as bytes: what clients send to their node and nodes pass on to each other.

One encoding for each submission, msgpack with the columns as they are in memory; its digest names it. Whoever decodes
one knows its form is right, not that anybody may do what it says.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.messages import BATCH_BYTES_MAX
from pyledger.consensus.wire import read_canonical
from pyledger.errors import InputError
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    ChangeBatch,
    KeyBatch,
    OwnerOrder,
    Submission,
    TransferBatch,
)
from pyledger.ledger.blocks import ACCOUNT_ENTRY
from pyledger.ledger.commands import CHANGE_ROWS, ChangeValidators, decode_commands
from pyledger.ledger.replay import order_command, unbound
from pyledger.types import TRANSFER

__all__ = ["decode_submission", "digest_of", "encode_submission"]

_DOMAIN: Final = b"pyledger/submission/v1\0"
_Index = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_U32: Final = np.dtype("<u4")
_Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class _Attested(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    institution: _Index
    sequence: _Sequence
    signer: _Index
    signature: _Signature
    rows: bytes


class _Keys(_Attested, frozen=True, array_like=True, tag=1):
    """Rows of 32 bytes; proofs of 64."""

    proofs: bytes
    roles: _Index
    valid_from: _Sequence


class _Accounts(_Attested, frozen=True, array_like=True, tag=2):
    """Rows of ACCOUNT_ENTRY."""


class _Transfers(_Attested, frozen=True, array_like=True, tag=3):
    """Rows of TRANSFER; u32 key indexes of controllers, or nothing."""

    controllers: bytes


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Rows of TRANSFER, u32 key indexes, signatures of 64 bytes; controllers as in `_Transfers`."""

    rows: bytes
    signers: bytes
    signatures: bytes
    controllers: bytes


class _Change(_Attested, frozen=True, array_like=True, tag=5):
    """Rows of the kind's dtype (`CHANGE_ROWS`)."""

    kind: _Index


class _Command(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """An order, or a change of the validators, as it stands in a block: a command's bytes."""

    command: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Keys | _Accounts | _Transfers | _Signed | _Change | _Command)


def digest_of(content: bytes) -> bytes:
    """Name of a submission: SHA-256 over a tag and its bytes."""
    return hashlib.sha256(_DOMAIN + content).digest()


def encode_submission(submission: Submission) -> bytes:
    """Give the one encoding of a submission; a batch must be attested, not to be attested."""
    content = _encoder.encode(_wire_of(submission))
    if len(content) > BATCH_BYTES_MAX:
        raise InputError(f"a batch holds at most {BATCH_BYTES_MAX} bytes, got {len(content)}: send it in parts")
    return content


def _wire_of(submission: Submission) -> _Attested | _Signed | _Command:
    if isinstance(submission, OwnerOrder):
        return _Command(_encoder.encode((order_command(submission),)))
    if isinstance(submission, ChangeValidators):
        return _Command(_encoder.encode((submission,)))
    if isinstance(submission, TransferBatch) and submission.attest is None:
        assert submission.signers is not None
        assert submission.signatures is not None
        signers, signatures = submission.signers.tobytes(), submission.signatures.tobytes()
        return _Signed(submission.records.tobytes(), signers, signatures, _controllers(submission))
    attest = submission.attest
    assert isinstance(attest, Attest)
    by = (attest.institution, attest.sequence, attest.key, attest.signature)
    match submission:
        case KeyBatch():
            rows, proofs = submission.public_keys.tobytes(), submission.proofs.tobytes()
            return _Keys(*by, rows, proofs, submission.roles, submission.valid_from)
        case AccountBatch():
            return _Accounts(*by, submission.entries.tobytes())
        case ChangeBatch():
            return _Change(*by, submission.rows.tobytes(), submission.kind)
    return _Transfers(*by, submission.records.tobytes(), _controllers(submission))


def _controllers(batch: TransferBatch) -> bytes:
    return b"" if batch.controllers is None else batch.controllers.tobytes()


def decode_submission(content: bytes) -> Submission:
    """Read a submission; the arrays are views of its bytes.

    Raises
    ------
    InputError
        If it is too long, not one submission in its one encoding, or has no rows.
    """
    wire = read_canonical(content, _decoder, BATCH_BYTES_MAX, "submission")
    if isinstance(wire, _Command):
        return _command(wire)
    if isinstance(wire, _Signed):
        records = _rows("transfers", wire.rows, TRANSFER)
        signers = _rows("signers", wire.signers, _U32, len(records))
        signatures = _byte_rows("signatures", wire.signatures, 64, len(records))
        return TransferBatch(records, signers, signatures, controllers=_named(wire.controllers, len(records)))
    return _attested(wire)


def _attested(wire: _Keys | _Accounts | _Transfers | _Change) -> Submission:
    signer = None if wire.signer == wire.institution else wire.signer
    attest = Attest(wire.institution, wire.sequence, wire.signature, signer=signer)
    match wire:
        case _Keys():
            keys = _byte_rows("keys", wire.rows, 32)
            proofs = _byte_rows("proofs", wire.proofs, 64, len(keys))
            return KeyBatch(keys, proofs, attest, wire.roles, wire.valid_from)
        case _Accounts():
            return AccountBatch(_rows("accounts", wire.rows, ACCOUNT_ENTRY), attest)
        case _Change():
            if wire.kind not in CHANGE_ROWS:
                raise InputError(f"submission: kind: expected one of {', '.join(map(str, CHANGE_ROWS))}")
            return ChangeBatch(wire.kind, _rows("rows", wire.rows, CHANGE_ROWS[wire.kind]), attest)
    records = _rows("transfers", wire.rows, TRANSFER)
    return TransferBatch(records, attest=attest, controllers=_named(wire.controllers, len(records)))


def _command(wire: _Command) -> Submission:
    commands = decode_commands(wire.command)
    submission = unbound(commands[0]) if len(commands) == 1 else None
    if not isinstance(submission, OwnerOrder | ChangeValidators):
        raise InputError("submission: expected one order or one change of the validators")
    return submission


def _named(controllers: bytes, count: int) -> NDArray[np.uint32] | None:
    return _rows("controllers", controllers, _U32, count) if controllers else None


def _byte_rows(name: str, data: bytes, width: int, count: int | None = None) -> NDArray[np.uint8]:
    rows = _rows(name, data, np.dtype((np.void, width)), count)
    return rows.view(np.uint8).reshape(-1, width)


def _rows(name: str, data: bytes, dtype: np.dtype[Any], count: int | None = None) -> NDArray[Any]:
    found, rest = divmod(len(data), dtype.itemsize)
    if rest or not found or (count is not None and found != count):
        expected = "one or more" if count is None else str(count)
        raise InputError(
            f"submission: {name}: expected {expected} rows of {dtype.itemsize} bytes, got {len(data)} bytes"
        )
    return np.frombuffer(data, dtype)
