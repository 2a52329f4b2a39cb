"""The report of a reconciliation: the breaks as CSV and the counts as JSON, each written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os

from pyledger.formats.atomic import write_atomic
from pyledger.reconciliation.breaks import BreakKind, Breaks
from pyledger.reconciliation.matching import Reconciliation

__all__ = ["write_breaks", "write_summary"]

_HEADER = ["kind", "row_ledger", "rows_statement", "expected", "found", "detail", "suggested"]


def write_breaks(path: str | os.PathLike[str], breaks: Breaks) -> None:
    """Write breaks as CSV.

    Columns: kind (label), row_ledger (empty for none), rows_statement (numbers parted by blanks), expected, found,
    detail, suggested (true or false).

    Raises
    ------
    StorageError
        If the file could not be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    labels = {int(kind): kind.label for kind in BreakKind}
    for kind, row, rows, expected, found, detail, suggested in zip(
        breaks.kind.tolist(),
        breaks.row_ledger.tolist(),
        breaks.rows_statement,
        breaks.expected,
        breaks.found,
        breaks.detail,
        breaks.suggested.tolist(),
        strict=True,
    ):
        statement = " ".join(map(str, rows))
        writer.writerow([labels[kind], row or "", statement, expected, found, detail, str(suggested).lower()])
    write_atomic(path, text.getvalue().encode())


def write_summary(path: str | os.PathLike[str], reconciliation: Reconciliation) -> None:
    """Write the counts of ``Reconciliation.summary`` as JSON.

    Raises
    ------
    StorageError
        If the file could not be written.
    """
    write_atomic(path, (json.dumps(reconciliation.summary(), indent=2) + "\n").encode())
