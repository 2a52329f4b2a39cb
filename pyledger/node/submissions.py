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
from pyledger.ledger.batches import AccountBatch, Attest, KeyBatch, Submission, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY
from pyledger.types import TRANSFER

__all__ = ["decode_submission", "digest_of", "encode_submission"]

_DOMAIN: Final = b"pyledger/submission/v1\0"
_Index = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class _Attested(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    institution: _Index
    sequence: _Sequence
    signature: _Signature
    rows: bytes


class _Keys(_Attested, frozen=True, array_like=True, tag=1):
    """Rows of 32 bytes."""


class _Accounts(_Attested, frozen=True, array_like=True, tag=2):
    """Rows of ACCOUNT_ENTRY."""


class _Transfers(_Attested, frozen=True, array_like=True, tag=3):
    """Rows of TRANSFER."""


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Rows of TRANSFER, u32 key indexes, signatures of 64 bytes."""

    rows: bytes
    signers: bytes
    signatures: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Keys | _Accounts | _Transfers | _Signed)


def digest_of(content: bytes) -> bytes:
    """Name of a submission: SHA-256 over a tag and its bytes."""
    return hashlib.sha256(_DOMAIN + content).digest()


def encode_submission(submission: Submission) -> bytes:
    """Give the one encoding of a submission; a batch must be attested, not to be attested."""
    attest = submission.attest
    if attest is None:
        assert isinstance(submission, TransferBatch)
        assert submission.signers is not None
        assert submission.signatures is not None
        parts = (submission.records, submission.signers, submission.signatures)
        content = _encoder.encode(_Signed(*(part.tobytes() for part in parts)))
    else:
        assert isinstance(attest, Attest)
        kind, rows = _wire_of(submission)
        content = _encoder.encode(kind(attest.institution, attest.sequence, attest.signature, rows.tobytes()))
    if len(content) > BATCH_BYTES_MAX:
        raise InputError(f"a batch holds at most {BATCH_BYTES_MAX} bytes, got {len(content)}: send it in parts")
    return content


def _wire_of(submission: Submission) -> tuple[type[_Attested], NDArray[Any]]:
    if isinstance(submission, KeyBatch):
        return _Keys, submission.public_keys
    if isinstance(submission, AccountBatch):
        return _Accounts, submission.entries
    return _Transfers, submission.records


def decode_submission(content: bytes) -> Submission:
    """Read a submission; the arrays are views of its bytes.

    Raises
    ------
    InputError
        If it is too long, not one submission in its one encoding, or has no rows.
    """
    wire = read_canonical(content, _decoder, BATCH_BYTES_MAX, "submission")
    if isinstance(wire, _Signed):
        records = _rows("transfers", wire.rows, TRANSFER)
        signers = _rows("signers", wire.signers, np.dtype("<u4"), len(records))
        signatures = _rows("signatures", wire.signatures, np.dtype((np.void, 64)), len(records))
        return TransferBatch(records, signers, signatures.view(np.uint8).reshape(-1, 64))
    attest = Attest(wire.institution, wire.sequence, wire.signature)
    if isinstance(wire, _Keys):
        rows = _rows("keys", wire.rows, np.dtype((np.void, 32)))
        return KeyBatch(rows.view(np.uint8).reshape(-1, 32), attest)
    if isinstance(wire, _Accounts):
        return AccountBatch(_rows("accounts", wire.rows, ACCOUNT_ENTRY), attest)
    return TransferBatch(_rows("transfers", wire.rows, TRANSFER), attest=attest)


def _rows(name: str, data: bytes, dtype: np.dtype[Any], count: int | None = None) -> NDArray[Any]:
    found, rest = divmod(len(data), dtype.itemsize)
    if rest or not found or (count is not None and found != count):
        expected = "one or more" if count is None else str(count)
        raise InputError(
            f"submission: {name}: expected {expected} rows of {dtype.itemsize} bytes, got {len(data)} bytes"
        )
    return np.frombuffer(data, dtype)
