"""The kinds of breaks: the ways in which two records of the same transfers can differ.

A break is one difference between the ledger's rows and a statement's rows, classified by what it would take to explain
it. The numbers are stored in files: they never change and are never used again.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["BreakKind"]


class BreakKind(IntEnum):
    """What a break is; ``kind.label`` is its name in files and reports."""

    MISSING_IN_STATEMENT = 1
    """The ledger has the row, the statement nothing like it."""
    MISSING_IN_LEDGER = 2
    """The statement has the row, the ledger nothing like it."""
    DUPLICATE_IN_STATEMENT = 3
    """The statement repeats a row that the ledger has once (or fewer times)."""
    AMOUNT_DIFFERS = 4
    """Same transfer, another amount."""
    CURRENCY_DIFFERS = 5
    """Same transfer, booked in another ledger (currency)."""
    VALUE_DATE_DIFFERS = 6
    """Same transfer, another value date."""
    REFERENCE_DIFFERS = 7
    """All else equal, the reference is mistyped or garbled."""
    ACCOUNT_DIFFERS = 8
    """Same transfer, booked to another account."""
    DIRECTION_REVERSED = 9
    """Same transfer, a debit booked as a credit or the reverse."""
    SPLIT_IN_STATEMENT = 10
    """One ledger row, booked as two or more statement rows of the same reference that sum to its amount."""

    @property
    def label(self) -> str:
        """The name in files and reports, in snake case (``"amount_differs"``)."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> BreakKind:
        """Return the kind of a label.

        Raises
        ------
        ValueError
            If no kind has this label.
        """
        for kind in cls:
            if kind.label == label:
                return kind
        raise ValueError(f"break kind: expected one of {', '.join(kind.label for kind in cls)}, got {label!r}")
