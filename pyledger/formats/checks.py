"""One way to refuse a field of a file that is written by hand or by another program."""

from __future__ import annotations

from pyledger.errors import InputError

__all__ = ["require"]


def require(holds: bool, file: str, field: str, expected: str, found: object) -> None:
    """Raise InputError, naming file, field, expectation and what was found, unless a condition holds."""
    if not holds:
        raise InputError(f"{expected}, got {found!r}", file=file, field=field)
