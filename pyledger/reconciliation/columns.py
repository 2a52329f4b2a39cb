"""The columns that a reconciliation reads: strict about names, types, nulls and values, without copies where it can.

Both sides come as Arrow tables (or anything with ``__arrow_c_stream__``) or as dictionaries of NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.reconciliation import _siphash
from pyledger.types import U128

__all__ = ["FIELDS", "ROW", "Key", "Side", "Strings", "read_sides"]

ROW = np.dtype(
    [
        ("reference", "<u8", (2,)),
        ("account", "<u8", (2,)),
        ("counterparty_account", "<u8", (2,)),
        ("counterparty_institution", "<u8"),
        ("amount_minor", "<i8"),
        ("ledger", "<u4"),
        ("value_date", "<i4"),
        ("direction", "<i8"),
    ]
)
"""What two rows must share to match, as the 80 bytes that are hashed."""

FIELDS: tuple[str, ...] = tuple(ROW.names or ())

Key = tuple[int, int]
"""The two 64-bit words of a SipHash key."""

_IDENTIFIERS = ("reference", "account", "counterparty_account")
_NUMBERS = {
    "row": np.dtype(np.int64),
    "ledger": np.dtype(np.uint32),
    "direction": np.dtype(np.int8),
    "amount_minor": np.dtype(np.int64),
    "value_date": np.dtype(np.int32),
}
_ROWS_MAX = (1 << 31) - 1
_EPOCH = date(1970, 1, 1)
_DAYS_MIN, _DAYS_MAX = (date.min - _EPOCH).days, (date.max - _EPOCH).days


@dataclass(frozen=True, slots=True)
class Strings:
    """UTF-8 strings one after the other: string i is ``data[offsets[i]:offsets[i + 1]]``."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        return bytes(self.data[self.offsets[index] : self.offsets[index + 1]]).decode()

    def hash(self, key: Key) -> NDArray[np.uint64]:
        """Return the 128-bit keyed hash of each string, shape (n, 2); of the empty string, zero."""
        out = np.empty((len(self), 2), np.uint64)
        data = self.data if len(self.data) else np.zeros(1, np.uint8)
        _siphash.hash_strings(data, self.offsets, *key, out)
        out[self.offsets[1:] == self.offsets[:-1]] = 0
        return out


_Raw = NDArray[Any] | Strings


@dataclass(frozen=True, slots=True)
class Side:
    """The rows of one side, in ascending order of their row numbers.

    Parameters
    ----------
    rows : NDArray, shape (n,), int64
        Row numbers in the source, from 1, strictly ascending.
    columns : dict of str to NDArray
        One for each of FIELDS; identifiers are (n, 2) uint64, zero for an empty one.
    raw : dict of str to NDArray or Strings
        The columns as they came in; row i of the side is ``raw[field][origin[i]]``.
    origin : NDArray, shape (n,), int64, or None
        None where the side has the order of its source.
    """

    rows: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    raw: dict[str, _Raw]
    origin: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: NDArray[np.int64]) -> Side:
        """Return the rows at the positions."""
        columns = {name: column[positions] for name, column in self.columns.items()}
        origin = positions if self.origin is None else self.origin[positions]
        return Side(self.rows[positions], columns, self.raw, origin)

    def text(self, field: str, position: int) -> str:
        """Return the value of a field as people read it."""
        value = self.raw[field][position if self.origin is None else int(self.origin[position])]
        if isinstance(value, str):
            return value
        if field in _IDENTIFIERS:
            return bytes(value).hex()
        if field == "value_date":
            return (_EPOCH + timedelta(days=int(value))).isoformat()
        if field == "direction":
            return "credit" if value > 0 else "debit"
        return str(int(value))


def read_sides(ledger: Any, statement: Any, key: Key) -> tuple[Side, Side]:
    """Read both sides.

    Parameters
    ----------
    ledger, statement : Arrow table, or mapping of str to NDArray
        Columns row (int64, from 1, each number once), reference, account, counterparty_account (fixed_size_binary(16)
        or string; in NumPy U128, (n, 16) uint8, or str), counterparty_institution (uint32 or string), ledger (uint32),
        direction (int8, +1 credit or -1 debit), amount_minor (int64, not negative), value_date (date32, or int32 days
        since 1970-01-01). Other columns are not read.
    key : tuple of int
        Hashes strings.

    Raises
    ------
    ImportError
        If a side is not a mapping and pyarrow is not installed.
    InputError
        If a column is missing, of another type, null, or holds a value out of range, or the two sides hold different
        types of a column; names side, row and field.

    Notes
    -----
    Arrow columns of one chunk and NumPy columns are used as they stand. A column in several chunks is copied; strings
    cost 16 bytes a row for their hash, and a side whose row numbers don't ascend is copied in their order.
    """
    raw = [_read(side, table) for side, table in (("ledger", ledger), ("statement", statement))]
    for field in FIELDS:
        kinds = [_kind(columns[field]) for columns in raw]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"expected {kinds[0]} as on the ledger side, got {kinds[1]}", file="statement", field=field
            )
    return _side("ledger", raw[0], key), _side("statement", raw[1], key)


def _read(side: str, table: Any) -> dict[str, _Raw]:
    """Read and check the columns of one side."""
    if not isinstance(table, Mapping):
        table = _ArrowColumns(side, table)
    missing = [name for name in ("row", *FIELDS) if name not in table]
    if missing:
        raise InputError("the column is missing", file=side, field=missing[0])
    columns = {name: _column(side, name, table[name]) for name in ("row", *FIELDS)}
    rows = len(columns["row"])
    for name, column in columns.items():
        if len(column) != rows:
            raise InputError(f"expected {rows} values, got {len(column)}", file=side, field=name)
    if rows > _ROWS_MAX:
        raise InputError(f"expected at most {_ROWS_MAX} rows, got {rows}", file=side)
    _check_values(side, columns)
    return columns


def _column(side: str, name: str, values: Any) -> _Raw:
    """Bring a column to the form it is kept in, or refuse its type."""
    if not isinstance(values, Strings):
        values = np.asarray(values)
        if values.dtype.kind in "UT" and values.ndim == 1:
            values = _strings(values)
    if isinstance(values, Strings):
        if name in _NUMBERS:
            raise InputError(f"expected {_NUMBERS[name]}, got strings", file=side, field=name)
        return values
    return _binary(side, name, values) if name in _IDENTIFIERS else _integers(side, name, values)


def _binary(side: str, name: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == U128 and values.ndim == 1:
        return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 16)
    if values.dtype == np.uint8 and values.ndim == 2 and values.shape[1] == 16:
        return np.ascontiguousarray(values)
    message = f"expected 16 bytes a row or strings, got shape {values.shape}, {values.dtype}"
    raise InputError(message, file=side, field=name)


def _integers(side: str, name: str, values: NDArray[Any]) -> NDArray[Any]:
    dtype = _NUMBERS.get(name, np.dtype(np.uint32))
    if values.dtype != dtype or values.ndim != 1:
        or_strings = "" if name in _NUMBERS else " or strings"
        message = f"expected shape (n,), {dtype}{or_strings}, got shape {values.shape}, {values.dtype}"
        raise InputError(message, file=side, field=name)
    return values


def _strings(values: NDArray[Any]) -> Strings:
    encoded = [value.encode() for value in values.tolist()]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    return Strings(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def _check_values(side: str, columns: dict[str, _Raw]) -> None:
    """Refuse values out of range, by position in the table."""
    row, direction, amount, days = (
        _numbers(columns[name]) for name in ("row", "direction", "amount_minor", "value_date")
    )
    for name, values, good, expected in (
        ("row", row, row >= 1, "a row number from 1"),
        ("direction", direction, (direction == 1) | (direction == -1), "+1 (credit) or -1 (debit)"),
        ("amount_minor", amount, amount >= 0, "an amount that is not negative"),
        ("value_date", days, (days >= _DAYS_MIN) & (days <= _DAYS_MAX), "a day of the years 1 to 9999"),
    ):
        if not good.all():
            at = int(np.argmin(good))
            raise InputError(f"expected {expected}, got {values[at]}", file=side, row=int(row[at]), field=name)


def _numbers(column: _Raw) -> NDArray[Any]:
    """A column that `_column` lets through as numbers only."""
    assert isinstance(column, np.ndarray)
    return column


def _kind(column: _Raw) -> str:
    return "strings" if isinstance(column, Strings) else "binary" if column.ndim == 2 else "numbers"


def _side(side: str, raw: dict[str, _Raw], key: Key) -> Side:
    """Bring checked columns to the words that are compared, in ascending order of the row numbers."""
    rows = _numbers(raw["row"])
    columns: dict[str, NDArray[Any]] = {}
    for field in FIELDS:
        column = raw[field]
        if isinstance(column, Strings):
            words = column.hash(key)
            columns[field] = words if field in _IDENTIFIERS else words[:, 0]
        else:
            columns[field] = column.view(np.uint64) if field in _IDENTIFIERS else column
    ours = Side(rows, columns, raw, None)
    if not (rows[1:] > rows[:-1]).all():
        ours = ours.take(np.argsort(rows, kind="stable"))
        repeated = ours.rows[1:][ours.rows[1:] == ours.rows[:-1]]
        if len(repeated):
            raise InputError("expected each row number once", file=side, row=int(repeated[0]), field="row")
    return ours


class _ArrowColumns:
    """Columns of an Arrow table as NumPy arrays and Strings, converted when asked for."""

    def __init__(self, side: str, table: Any):
        try:
            import pyarrow
        except ImportError as error:
            message = f"{side}: Arrow tables need pyarrow: pip install 'pyledger[arrow]'"
            raise ImportError(message) from error
        if not hasattr(table, "__arrow_c_stream__"):
            raise InputError(f"expected an Arrow table or a mapping of arrays, got {type(table).__name__}", file=side)
        self._pa = pyarrow
        self._side = side
        self._table = pyarrow.table(table)

    def __contains__(self, name: str) -> bool:
        return bool(self._table.column_names.count(name) == 1)

    def __getitem__(self, name: str) -> Any:
        pa, column = self._pa, self._table.column(name)
        if column.null_count:
            first = column.is_null().combine_chunks().index(True).as_py()
            raise InputError("expected a value, got null", file=self._side, row=first + 1, field=name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type):
            column = column.cast(pa.large_string())
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        return self._convert(name, array)

    def _convert(self, name: str, array: Any) -> Any:
        pa, start, count = self._pa, array.offset, len(array)
        if array.type == pa.binary(16):
            if count == 0:
                return np.zeros((0, 16), np.uint8)
            return np.frombuffer(array.buffers()[1], np.uint8)[16 * start : 16 * (start + count)].reshape(-1, 16)
        if array.type == pa.large_string():
            if count == 0:
                return Strings(np.zeros(0, np.uint8), np.zeros(1, np.int64))
            _, offsets, data = array.buffers()
            text = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
            return Strings(text, np.frombuffer(offsets, np.int64)[start : start + count + 1])
        if array.type == pa.date32():
            return array.cast(pa.int32()).to_numpy()
        if pa.types.is_integer(array.type):
            return array.to_numpy()
        raise InputError(f"the type {array.type} is not expected here", file=self._side, field=name)
