"""What does not hold in a block, by block, record and field."""

from __future__ import annotations

from dataclasses import fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError, StorageError
from pyledger.ledger.batches import AccountBatch, KeyBatch, Submission, TransferBatch, record_count
from pyledger.ledger.blocks import Body, Header
from pyledger.ledger.burnt import burning_rows
from pyledger.types import TRANSFER, U128, AuthorityResult, CreateAccountResult, CreateTransferResult, u128_int

__all__ = ["Mismatch", "Progress", "require_same_body", "require_same_header"]

_SIGNER_CODES = range(1000, 1020)
_ATTESTATION_CODES = range(1020, 1030)
_WHOLE_BATCH_CODES = range(1020, 1024)  # nothing of the batch is even looked at
_CODES: dict[type, type[IntEnum]] = {AccountBatch: CreateAccountResult, TransferBatch: CreateTransferResult}


class Mismatch(StorageError):
    """Something in a block that is not as it must be.

    Parameters
    ----------
    block : int
        Height.
    record : str or None
        Such as ``transfer 3`` (from 0 in the block) or ``transfers 3 to 7``, an attested batch; None: it is about the
        header or the certificate.
    field : str
    message : str
        What was found and what was expected.
    computed : object, optional
        What executing the block gives for the field, if that is known.
    """

    def __init__(self, block: int, record: str | None, field: str, message: str, computed: object = None) -> None:
        self.block, self.record, self.field, self.computed = block, record, field, computed
        place = f"block {block}" if record is None else f"block {block}, {record}"
        super().__init__(f"{place}: field '{field}': {message}")


class Progress:
    """How far the execution of a body is, so that what does not take effect again can be named."""

    def __init__(self, height: int) -> None:
        self._height = height
        self._first = {"account": 0, "transfer": 0}

    def refused(self, name: str, submission: Submission, error: Exception, refused: tuple[int, ...]) -> Mismatch:
        """Return what says that a submission, which has this name in its body, could not be executed."""
        return Mismatch(self._height, self._records(name, submission, len(refused)), _field_of(error), str(error))

    def executed(
        self, name: str, submission: Submission, results: NDArray[np.uint32], refused: tuple[int, ...]
    ) -> None:
        """Go on behind a submission; Mismatch if a record of it took effect that was refused, or the other way."""
        if isinstance(submission, KeyBatch):  # the results of keys are their indexes
            return
        failed, expected = results != 0, np.zeros(len(results), np.bool_)
        expected[list(refused)] = True
        if len(results) and int(results[0]) in _WHOLE_BATCH_CODES:
            raise self._not_effective(name, submission, results, 0, refused)
        for row in np.flatnonzero(failed != expected).tolist():
            if failed[row]:
                raise self._not_effective(name, submission, results, row, refused)
            found = f"record {row} of the batch takes effect, the block says that it was refused"
            raise Mismatch(self._height, name, "refused_positions", found)
        if refused and isinstance(submission, TransferBatch) and submission.attest is None:
            self._require_burning(name, submission, results)
        if (kind := _kind(submission)) is not None:
            self._first[kind] += len(results) - len(refused)

    def _require_burning(self, name: str, batch: TransferBatch, results: NDArray[np.uint32]) -> None:
        """Of a signed batch a block keeps no refused record but those that burn an id, and their chains."""
        idle = (results != 0) & ~burning_rows(batch.records, results)
        if idle.any():
            row = int(np.argmax(idle))
            result = CreateTransferResult(results[row]).name.lower()
            raise Mismatch(self._height, name, "refused", f"record {row} of the batch burns no id: {result}")

    def _not_effective(
        self, name: str, submission: Submission, results: NDArray[np.uint32], row: int, refused: tuple[int, ...]
    ) -> Mismatch:
        kind, code = _kind(submission), int(results[row])
        result = _CODES.get(type(submission), AuthorityResult)(code).name
        if kind is None or (code in _ATTESTATION_CODES and (results == code).all()):
            record = self._records(name, submission, len(refused))
        else:
            record = f"{kind} {self._first[kind] + row - sum(place < row for place in refused)}"
        return Mismatch(
            self._height, record, _field_of_code(code, result), f"does not take effect again: {result.lower()}"
        )

    def _records(self, name: str, submission: Submission, refused_count: int = 0) -> str:
        """All records of a submission that are in the block's columns."""
        kind = _kind(submission)
        if kind is None:
            return name
        first, count = self._first[kind], record_count(submission) - refused_count
        return f"{kind} {first}" if count == 1 else f"{kind}s {first} to {first + count - 1}"


def require_same_body(height: int, formed: Body, recorded: Body) -> None:
    """Mismatch that names the first record and field of a body that comes out different when it is executed again."""
    for place, (mine, theirs) in enumerate(zip(formed.commands, recorded.commands, strict=False)):
        if type(mine) is not type(theirs):
            raise Mismatch(height, f"command {place}", "kind", f"executing it gives {mine}, the block says {theirs}")
        for name in mine.__struct_fields__:
            require_same(height, f"command {place}", name, getattr(mine, name), getattr(theirs, name))
    for kind, column in (("account", "accounts"), ("transfer", "transfers")):
        _require_same_column(height, kind, None, getattr(formed, column), getattr(recorded, column))
    _require_same_column(height, "transfer", "amount posted", _effects(formed), _effects(recorded))
    for kind, column in (("transfer", "signers"), ("signature", "signatures"), ("controller", "controllers")):
        _require_same_column(height, kind, column[:-1], getattr(formed, column), getattr(recorded, column))
    if formed.to_bytes() != recorded.to_bytes():
        raise Mismatch(height, None, "body", "its bytes come out different when it is executed again")


def require_same_header(formed: Header, recorded: Header) -> None:
    """Mismatch that names the first field of a header that comes out different."""
    for item in fields(Header):
        require_same(recorded.height, None, item.name, getattr(formed, item.name), getattr(recorded, item.name))


def require_same(height: int, record: str | None, field: str, mine: Any, theirs: Any) -> None:
    """Mismatch unless both are equal."""
    if mine != theirs:
        message = f"executing it gives {_show(mine)}, the block says {_show(theirs)}"
        raise Mismatch(height, record, field, message, mine)


def _require_same_column(
    height: int, kind: str, field: str | None, formed: NDArray[Any], recorded: NDArray[Any]
) -> None:
    if formed.tobytes() == recorded.tobytes():
        return
    if len(formed) != len(recorded):
        raise Mismatch(
            height, None, field or f"{kind}s", f"executing it gives {len(formed)}, the block says {len(recorded)}"
        )
    differ = formed != recorded
    row = int(np.flatnonzero(differ.reshape(len(differ), -1).any(axis=1))[0])
    name, mine, theirs = _first_field(field, formed[row], recorded[row])
    require_same(height, f"{kind} {row}", name, mine, theirs)


def _first_field(field: str | None, mine: Any, theirs: Any) -> tuple[str, Any, Any]:
    """Name and values of the first difference, down to a plain field."""
    names = getattr(mine.dtype, "names", None)
    if names is None or mine.dtype == U128:
        return field or "record", mine, theirs
    name = next(name for name in names if mine[name] != theirs[name])
    return _first_field(name, mine[name], theirs[name])


def _effects(body: Body) -> NDArray[Any]:
    return body.effects if len(body.effects) else np.ascontiguousarray(body.transfers["amount"])


def _kind(submission: Submission) -> str | None:
    if isinstance(submission, AccountBatch):
        return "account"
    return "transfer" if isinstance(submission, TransferBatch) else None


def _field_of(error: Exception) -> str:
    """The field that a refusal is about."""
    if isinstance(error, InputError) and error.field is not None:
        return error.field
    words = {"possession": "proofs", "sequence": "sequence", "signature": "signature", "timestamp": "timestamp"}
    return next((field for word, field in words.items() if word in str(error)), "record")


def _field_of_code(code: int, name: str) -> str:
    if code in _SIGNER_CODES:
        return "signature" if "SIGNATURE" in name else "signer"
    if code in _ATTESTATION_CODES:
        return "attestation"
    known = sorted(TRANSFER.names or (), key=len, reverse=True)
    return next((field for field in known if field in name.lower()), "result")


def _show(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return value.tobytes().hex()
    if isinstance(value, bytes):
        return value.hex()
    if getattr(value, "dtype", None) == U128:
        return str(u128_int(value))
    return str(value)
