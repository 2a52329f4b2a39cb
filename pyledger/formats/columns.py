"""What a cell of a day file may hold: the Arrow type it is written as, the types it is read from, its text in CSV.

Each kind checks whole columns and hands back one canonical Arrow type, or names the first row that does not fit.
Nothing is guessed, rounded or replaced: a null, a wrong width, a sign or a stray character is an ``InputError``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.types import U128, u128_from_bytes

__all__ = [
    "AMOUNT",
    "DATE",
    "ROWS",
    "TEXT",
    "TIMESTAMP",
    "Kind",
    "Place",
    "fixed_bytes",
    "to_bytes_matrix",
    "to_u128",
    "unsigned",
]

AMOUNT_DIGITS_MAX = 38


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column stands, for messages: its file, its name, and the number of its first row (from 1)."""

    file: str
    field: str
    first_row: int = 1

    def refuse(self, bad: NDArray[np.bool_], values: pa.Array, expected: str) -> None:
        """Raise for the first row marked in `bad`; return if there is none."""
        if bad.any():
            index = int(np.argmax(bad))
            raise InputError(
                f"expected {expected}, got {_show(values[index])}",
                file=self.file,
                row=self.first_row + index,
                field=self.field,
            )


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of cell.

    Parameters
    ----------
    arrow : pa.DataType
        Written to Parquet, and what ``read`` returns.
    expected, expected_text : str
        What a value must be in Parquet and in CSV, for messages.
    accepts : callable
        Whether a Parquet column of this type may be read.
    from_text, to_text : callable
        Strings of a CSV column to values (with a mask of the rows that are none) and back.
    """

    arrow: pa.DataType
    expected: str
    expected_text: str
    accepts: Callable[[pa.DataType], bool]
    from_text: Callable[[pa.Array], tuple[pa.Array, NDArray[np.bool_]]]
    to_text: Callable[[pa.Array], pa.Array]

    def read(self, column: pa.Array, place: Place) -> pa.Array:
        """Check a column of an accepted type, or of CSV text, and return it without nulls.

        Raises
        ------
        InputError
            Naming file, row and field of the first value that is not what `expected` says.
        """
        if column.null_count:
            place.refuse(column.is_null().to_numpy(zero_copy_only=False), column, f"{self.expected} (no nulls)")
        return column

    def parse(self, texts: pa.Array, place: Place) -> pa.Array:
        """Turn CSV text into values; errors as for ``read``."""
        values, bad = self.from_text(texts)
        place.refuse(bad, texts, self.expected_text)
        return values


def fixed_bytes(width: int) -> Kind:
    """Return the kind of exactly `width` bytes; lower-case hexadecimal in CSV."""
    return Kind(
        arrow=pa.binary(width),
        expected=f"{width} bytes",
        expected_text=f"{2 * width} lower-case hexadecimal digits",
        accepts=pa.binary(width).equals,
        from_text=lambda texts: _hex_to_bytes(texts, width),
        to_text=_bytes_to_hex,
    )


def unsigned(bits: int) -> Kind:
    """Return the kind of an unsigned integer of 16, 32 or 64 bits; that very Arrow type, digits in CSV."""
    arrow = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[bits]
    return Kind(
        arrow=arrow,
        expected=f"an unsigned {bits}-bit integer",
        expected_text=f"digits of an unsigned {bits}-bit integer",
        accepts=arrow.equals,
        from_text=lambda texts: _cast_matching(texts, "^[0-9]{1,20}$", arrow),
        to_text=_to_string,
    )


def to_u128(column: pa.Array) -> NDArray[Any]:
    """Read 16-byte values (big-endian), integers or decimals as ``U128``, shape (n,); refuse negative ones before."""
    if pa.types.is_fixed_size_binary(column.type):
        return u128_from_bytes(to_bytes_matrix(column))
    if pa.types.is_decimal128(column.type):
        width = 16
        raw = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
        return raw.view(U128)
    out = np.zeros(len(column), U128)
    out["lo"] = column.to_numpy().astype(np.uint64, copy=False)
    return out


def to_bytes_matrix(column: pa.Array) -> NDArray[np.uint8]:
    """View fixed-width bytes as shape (n, width), C-contiguous."""
    width = column.type.byte_width
    raw = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
    return raw.reshape(len(column), width)


def _show(value: pa.Scalar) -> str:
    plain = value.as_py()
    text = plain.hex() if isinstance(plain, bytes) else "null" if plain is None else repr(plain)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mismatch(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    matched = pc.match_substring_regex(texts, pattern=pattern)
    return ~np.asarray(pc.fill_null(matched, False).to_numpy(zero_copy_only=False), bool)


def _cast_matching(texts: pa.Array, pattern: str, arrow: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    bad = _mismatch(texts, pattern)
    if not bad.any():
        try:
            return texts.cast(arrow), bad
        except pa.ArrowInvalid:  # Well formed and out of range: find the rows, one by one.
            bad = np.fromiter((not _castable(text, arrow) for text in texts), bool, len(texts))
    return pa.nulls(len(texts), arrow), bad


def _castable(text: pa.Scalar, arrow: pa.DataType) -> bool:
    try:
        text.cast(arrow)
    except pa.ArrowInvalid:
        return False
    return True


def _hex_to_bytes(texts: pa.Array, width: int) -> tuple[pa.Array, NDArray[np.bool_]]:
    bad = _mismatch(texts, f"^[0-9a-f]{{{2 * width}}}$")
    if bad.any():
        return pa.nulls(len(texts), pa.binary(width)), bad
    joined = pa.array(texts, pa.string()).buffers()[2]
    start = 2 * width * texts.offset
    raw = bytes.fromhex(joined[start : start + 2 * width * len(texts)].to_pybytes().decode()) if len(texts) else b""
    return pa.Array.from_buffers(pa.binary(width), len(texts), [None, pa.py_buffer(raw)]), bad


def _bytes_to_hex(column: pa.Array) -> pa.Array:
    text = to_bytes_matrix(column).tobytes().hex()
    offsets = np.arange(len(column) + 1, dtype=np.int64) * (2 * column.type.byte_width)
    return pa.LargeStringArray.from_buffers(len(column), pa.py_buffer(offsets), pa.py_buffer(text.encode()))


def _to_string(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _is_amount(arrow: pa.DataType) -> bool:
    whole_decimal = pa.types.is_decimal128(arrow) and arrow.scale == 0
    return bool(arrow.equals(pa.int64()) or arrow.equals(pa.uint64()) or whole_decimal)


@dataclass(frozen=True, slots=True)
class _AmountKind(Kind):
    def read(self, column: pa.Array, place: Place) -> pa.Array:
        column = Kind.read(self, column, place)
        if not column.type.equals(pa.uint64()):
            high = to_u128(column)["hi"] if pa.types.is_decimal128(column.type) else column.to_numpy()
            place.refuse(high.view(np.int64) < 0, column, self.expected)
        return column


@dataclass(frozen=True, slots=True)
class _TextKind(Kind):
    def read(self, column: pa.Array, place: Place) -> pa.Array:
        column = Kind.read(self, column, place)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        return column.cast(self.arrow)


def _parse_rows(texts: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    bad = _mismatch(texts, "^([0-9]{1,9}( [0-9]{1,9})*)?$")
    if bad.any():
        return pa.nulls(len(texts), ROWS.arrow), bad
    return pa.array([[int(row) for row in text.split()] for text in texts.to_pylist()], ROWS.arrow), bad


def _is_text(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or (pa.types.is_dictionary(arrow) and pa.types.is_string(arrow.value_type)))


AMOUNT = _AmountKind(
    arrow=pa.int64(),
    expected="an amount in whole minor units, not negative",
    expected_text=f"an amount in whole minor units, 1 to {AMOUNT_DIGITS_MAX} digits",
    accepts=_is_amount,
    from_text=lambda texts: _cast_matching(
        texts, f"^[0-9]{{1,{AMOUNT_DIGITS_MAX}}}$", pa.decimal128(AMOUNT_DIGITS_MAX, 0)
    ),
    to_text=_to_string,
)
"""Minor units: int64, uint64 or decimal128 without decimals; written as int64, digits in CSV."""

TEXT = _TextKind(
    arrow=pa.dictionary(pa.int32(), pa.string()),
    expected="text",
    expected_text="text",
    accepts=_is_text,
    from_text=lambda texts: (pa.array(texts, pa.string()).dictionary_encode(), np.zeros(len(texts), bool)),
    to_text=_to_string,
)
"""A short word out of few (currency, institution, direction)."""

TIMESTAMP = Kind(
    arrow=pa.timestamp("ns", "UTC"),
    expected="a time in UTC, in nanoseconds",
    expected_text="a time in UTC with nine decimals (2026-01-05T08:00:00.000000000Z)",
    accepts=pa.timestamp("ns", "UTC").equals,
    from_text=lambda texts: _cast_matching(
        texts, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$", pa.timestamp("ns", "UTC")
    ),
    to_text=lambda column: pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ"),
)
"""A moment, nanoseconds, UTC."""

DATE = Kind(
    arrow=pa.date32(),
    expected="a date",
    expected_text="a date (2026-01-05)",
    accepts=pa.date32().equals,
    from_text=lambda texts: _cast_matching(texts, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", pa.date32()),
    to_text=_to_string,
)
"""A calendar day."""

ROWS = Kind(
    arrow=pa.list_(pa.uint32()),
    expected="a list of row numbers",
    expected_text="row numbers with a space between them",
    accepts=lambda arrow: pa.types.is_list(arrow) and arrow.value_type.equals(pa.uint32()),
    from_text=_parse_rows,
    to_text=lambda column: pa.array([" ".join(map(str, rows)) for rows in column.to_pylist()], pa.string()),
)
"""A short list of row numbers (truth files only: parsed row by row)."""
