"""Arrow columns from NumPy records, without a copy where the bytes agree. Needs the extra `arrow`.

An amount has two columns. The decimal one is what readers compute with; it has room for 38 digits, and one owner of an
account without limits can post more, so it is null there. The one named `_u128` beside it always holds the amount. One
decimal256 would do for both, but DuckDB reads it from Parquet as a rounded double, and Polars not at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import LedgerError
from pyledger.types import u128_to_bytes

__all__ = [
    "EXACT",
    "amount_columns",
    "amount_fields",
    "id_column",
    "id_type",
    "pyarrow",
    "schema_of",
    "time_column",
    "time_type",
]

EXACT = "_u128"
"""Ends the name of the column that holds an amount whatever its size."""
_AMOUNT_MAX = 10**38 - 1


def pyarrow() -> Any:
    """Return the module, or say how to get it."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise LedgerError("this needs pyarrow: pip install 'pyledger[arrow]'") from None
    return pyarrow


def id_type() -> Any:
    """Ids: 16 bytes, big-endian."""
    return pyarrow().binary(16)


def amount_fields(name: str) -> list[tuple[str, Any]]:
    """Names and types of an amount's two columns, as `amount_columns` gives them."""
    return [(name, _decimal_type()), (name + EXACT, id_type())]


def schema_of(fields: list[tuple[str, Any]], *nullable: str) -> Any:
    """Schema of these names and types; those named may be null, and so may decimals."""
    pa = pyarrow()
    return pa.schema([pa.field(name, kind, name in nullable or kind == _decimal_type()) for name, kind in fields])


def time_type() -> Any:
    """Times: nanoseconds, UTC."""
    return pyarrow().timestamp("ns", tz="UTC")


def id_column(ids: NDArray[Any], *, zero_is_null: bool = False) -> Any:
    """Ids of dtype U128, shape (n,), as big-endian bytes: sorted as numbers, their hexadecimal text the number's."""
    pa = pyarrow()
    column = pa.Array.from_buffers(id_type(), len(ids), [None, pa.py_buffer(u128_to_bytes(ids).tobytes())])
    return _masked(column, (ids["lo"] | ids["hi"]) == 0) if zero_is_null else column


def amount_columns(name: str, amounts: NDArray[Any]) -> dict[str, Any]:
    """An amount's two columns, by name.

    Parameters
    ----------
    name : str
    amounts : NDArray, shape (n,), dtype U128

    Returns
    -------
    dict
        decimal128(38, 0), null where the amount has more than 38 digits; and its 16 bytes, big-endian, always.
    """
    over = _over(amounts)
    small = np.where(over, np.zeros(1, amounts.dtype), amounts) if over.any() else amounts
    return {name: _masked(_decimals(small), over), name + EXACT: id_column(amounts)}


def time_column(nanoseconds: NDArray[np.uint64]) -> Any:
    """Nanoseconds since 1970 UTC, shape (n,)."""
    return pyarrow().array(nanoseconds.astype(np.int64), time_type())


def _decimal_type() -> Any:
    return pyarrow().decimal128(38, 0)


def _over(amounts: NDArray[Any]) -> NDArray[np.bool_]:
    limit_high, limit_low = _AMOUNT_MAX >> 64, _AMOUNT_MAX & (1 << 64) - 1
    over: NDArray[np.bool_] = amounts["hi"] > limit_high
    over |= (amounts["hi"] == limit_high) & (amounts["lo"] > limit_low)
    return over


def _decimals(amounts: NDArray[Any]) -> Any:
    """Little-endian u128 is Arrow's decimal128 as it stands, up to the 38 digits that the type promises."""
    pa = pyarrow()
    buffer = pa.py_buffer(np.ascontiguousarray(amounts).tobytes())
    return pa.Array.from_buffers(_decimal_type(), len(amounts), [None, buffer])


def _masked(column: Any, is_null: NDArray[np.bool_]) -> Any:
    pa = pyarrow()
    if not is_null.any():
        return column
    bits = np.packbits(~is_null, bitorder="little")
    return pa.Array.from_buffers(column.type, len(column), [pa.py_buffer(bits.tobytes()), column.buffers()[1]])
