"""What became of a batch, and what a result says of a transfer that is handed in again: it may, or never will."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pyledger.types import CreateTransferResult

__all__ = ["Outcome", "Results", "is_closed", "is_hopeful"]

Results = NDArray[np.uint32]

_HOPEFUL: Final = (
    CreateTransferResult.CREATED,
    CreateTransferResult.DEBIT_ACCOUNT_NOT_FOUND,
    CreateTransferResult.CREDIT_ACCOUNT_NOT_FOUND,
    CreateTransferResult.PENDING_TRANSFER_NOT_FOUND,
    CreateTransferResult.OVERFLOWS_DEBITS_PENDING,
    CreateTransferResult.OVERFLOWS_CREDITS_PENDING,
    CreateTransferResult.OVERFLOWS_DEBITS_POSTED,
    CreateTransferResult.OVERFLOWS_CREDITS_POSTED,
    CreateTransferResult.OVERFLOWS_DEBITS,
    CreateTransferResult.OVERFLOWS_CREDITS,
    CreateTransferResult.OVERFLOWS_TIMEOUT,
    CreateTransferResult.EXCEEDS_CREDITS,
    CreateTransferResult.EXCEEDS_DEBITS,
    CreateTransferResult.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE,
    CreateTransferResult.DEBIT_ACCOUNT_ALREADY_CLOSED,
    CreateTransferResult.CREDIT_ACCOUNT_ALREADY_CLOSED,
)
_UNAUTHORISED: Final = (
    CreateTransferResult.SIGNER_UNKNOWN,
    CreateTransferResult.KEY_NOT_VALID_AT_HEIGHT,
    CreateTransferResult.SIGNER_LACKS_ROLE,
    CreateTransferResult.SIGNER_NOT_AUTHORISED,
    CreateTransferResult.MANDATE_EXPIRED,
    CreateTransferResult.MANDATE_EXCEEDED,
    CreateTransferResult.CLOSING_NOT_AUTHORISED,
    CreateTransferResult.CONTROLLER_NOT_VALID,
)
_CLOSED: Final = np.array(sorted(set(CreateTransferResult) - {*_HOPEFUL, *_UNAUTHORISED}), np.uint32)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch.

    Parameters
    ----------
    digest : bytes
    height : int
        The final block that it was executed in; 0 if it never was.
    results : NDArray[uint32], shape (n,)
        A code for each record: 0 took effect; `REASON_UNKNOWN` did not, and this node did not see why. For keys their
        indexes.
    reason : str
        Why the batch as a whole was refused, else empty.
    """

    digest: bytes
    height: int
    results: Results
    reason: str = ""


def is_hopeful(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether a transfer that has this result now may take effect as soon as others have, with no more authority."""
    return np.isin(codes, _HOPEFUL)


def is_closed(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether a transfer that has this result now can never take effect, whatever comes."""
    return np.isin(codes, _CLOSED)
