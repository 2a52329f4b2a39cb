"""The exceptions of the library: one family, few children, no other hierarchy.

Batch calls report per-record problems as result codes; an exception means that the call as a whole did not happen.
"""

from __future__ import annotations

__all__ = [
    "AuthorisationError",
    "ConsensusError",
    "InputError",
    "LedgerError",
    "PostingError",
    "ProofError",
    "SignatureError",
    "StateError",
    "StorageError",
]


class LedgerError(Exception):
    """Base of every exception that the library raises on purpose."""


class InputError(LedgerError, ValueError):
    """Data from outside is not what was expected; the message names file, row and field.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    file, row, field : optional
        Where. `row` counts data rows from 1 (a CSV header is not a row).
    """

    def __init__(self, message: str, *, file: object = None, row: int | None = None, field: str | None = None) -> None:
        self.file = None if file is None else str(file)
        self.row = row
        self.field = field
        self.reason = message
        place = [
            part
            for part in (
                self.file,
                None if row is None else f"row {row}",
                None if field is None else f"field '{field}'",
            )
            if part
        ]
        super().__init__(": ".join([", ".join(place), message]) if place else message)


class SignatureError(LedgerError):
    """A signature, a public key or a proof of possession is not valid.

    Parameters
    ----------
    message : str
    row : int, optional
        Row of the array that was given, from 0.
    """

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class ProofError(LedgerError):
    """A proof, receipt or certificate does not show what it claims."""


class PostingError(LedgerError):
    """A transfer or account could not be posted where a whole call depended on it."""


class StateError(LedgerError):
    """The call does not fit the state of the ledger or of the object (closed, wrong chain, wrong height)."""


class AuthorisationError(LedgerError):
    """The party may not do this."""


class StorageError(LedgerError):
    """Files could not be read or written, or what they hold is corrupt; nothing was acknowledged."""


class ConsensusError(LedgerError):
    """Validators could not agree, or a message breaks the protocol."""
