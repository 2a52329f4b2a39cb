"""Breaks: the ways in which two records of the same transfers differ, and the list of them.

A break is one difference between the ledger's rows and a statement's rows, classified by what it would take to explain
it. The numbers are stored in files: they never change and are never used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BreakKind", "Breaks", "BreaksBuilder", "import_pyarrow"]


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


@dataclass(frozen=True, slots=True)
class Breaks:
    """A list of breaks, by kind, ledger row, statement rows.

    Parameters
    ----------
    kind : NDArray, shape (n,), uint8
        A BreakKind each.
    row_ledger : NDArray, shape (n,), int64
        Row number on the ledger side, 0 for none.
    rows_statement : list of tuple of int
        Row numbers on the statement side: none, one, or for a split two or more.
    expected, found : list of str
        The value on the ledger side and on the statement side, empty if there is none.
    detail : list of str
        What the break was concluded from.
    suggested : NDArray, shape (n,), bool
        True where other rows would fit as well, or more than one field differs: a person must confirm it.
    """

    kind: NDArray[np.uint8]
    row_ledger: NDArray[np.int64]
    rows_statement: list[tuple[int, ...]]
    expected: list[str]
    found: list[str]
    detail: list[str]
    suggested: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.kind)

    def counts(self) -> dict[str, int]:
        """Return the number of breaks of every kind by label, of kinds that don't occur too."""
        count = np.bincount(self.kind, minlength=max(BreakKind) + 1)
        return {kind.label: int(count[kind]) for kind in BreakKind}

    def to_arrow(self) -> pa.Table:
        """Return columns kind (label), row_ledger (null for none), rows_statement (list), expected, found, detail,
        suggested.

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        """
        pa = import_pyarrow("a table of breaks")
        labels = pa.array(["", *(kind.label for kind in BreakKind)])
        return pa.table(
            {
                "kind": pa.DictionaryArray.from_arrays(pa.array(self.kind), labels),
                "row_ledger": pa.array(self.row_ledger, mask=self.row_ledger == 0),
                "rows_statement": pa.array(self.rows_statement, pa.list_(pa.int64())),
                "expected": pa.array(self.expected, pa.string()),
                "found": pa.array(self.found, pa.string()),
                "detail": pa.array(self.detail, pa.string()),
                "suggested": self.suggested,
            }
        )


class BreaksBuilder:
    """Gathers breaks in any order."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, tuple[int, ...], str, str, str, bool]] = []

    def add(
        self,
        kind: BreakKind,
        row_ledger: int,
        rows_statement: tuple[int, ...],
        expected: str,
        found: str,
        detail: str,
        suggested: bool,
    ) -> None:
        """Add a break; fields as in Breaks."""
        self._rows.append((int(kind), row_ledger, rows_statement, expected, found, detail, suggested))

    def build(self) -> Breaks:
        """Return the breaks in their order."""
        self._rows.sort()
        kind, row_ledger, rows_statement, expected, found, detail, suggested = (
            [list(column) for column in zip(*self._rows, strict=True)] if self._rows else [[] for _ in range(7)]
        )
        return Breaks(
            np.array(kind, np.uint8),
            np.array(row_ledger, np.int64),
            rows_statement,
            expected,
            found,
            detail,
            np.array(suggested, np.bool_),
        )


def import_pyarrow(what: str) -> Any:
    """Return the module, or say what needs it.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"{what} needs pyarrow: pip install 'pyledger[arrow]'") from error
    return pyarrow
