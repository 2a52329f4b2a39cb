"""Small made-up day files for tests: plain rows in, files out, and the same rows read back in plain Python."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pyledger.formats.day_files import TRANSFERS
from pyledger.formats.tables import write_table

LEDGERS = {"JPY": 392, "EUR": 978, "KWD": 414}
MIDNIGHT_NS = 1_767_571_200 * 10**9  # 2026-01-05


def transfer(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": number.to_bytes(16),
        "debit_account": (1).to_bytes(16),
        "credit_account": (2).to_bytes(16),
        "currency": "EUR",
        "amount_minor": 100 + number,
        "code": 1,
        "flags": 0,
        "key_id": 0,
        "submitted_at": MIDNIGHT_NS + number,
        "signature": bytes([number % 256]) * 64,
    }
    return row | changes


def columns_of(rows: list[dict[str, Any]], amount_type: pa.DataType | None = None) -> dict[str, pa.Array]:
    """Turn rows into the columns that TRANSFERS writes; optional columns if the first row has them."""
    names = rows[0] if rows else transfer(1)
    columns = {}
    for column in TRANSFERS.columns:
        if column.name not in names:
            continue
        values = [row[column.name] for row in rows]
        if column.name == "currency":
            columns[column.name] = pa.array(values, pa.string()).dictionary_encode()
        elif column.name == "amount_minor" and amount_type is not None:
            columns[column.name] = pa.array(values, amount_type)
        else:
            columns[column.name] = pa.array(values, column.kind.arrow)
    return columns


def write_transfers(path: Path, rows: list[dict[str, Any]], amount_type: pa.DataType | None = None) -> Path:
    write_table(path, TRANSFERS, columns_of(rows, amount_type))
    return path


def write_parquet(path: Path, columns: dict[str, Any]) -> Path:
    """Write any columns, also those that no table allows."""
    pq.write_table(pa.table(columns), path)
    return path


def plain_rows(path: Path) -> list[dict[str, Any]]:
    """Read a table file in plain Python."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))
