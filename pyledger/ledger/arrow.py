"""Arrow columns from NumPy records, without a copy where the bytes agree. Needs the extra `arrow`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError, LedgerError
from pyledger.types import u128_to_bytes

__all__ = [
    "amount_column",
    "amount_type",
    "id_column",
    "id_type",
    "limit_column",
    "pyarrow",
    "time_column",
    "time_type",
]

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


def amount_type() -> Any:
    """Amounts: decimal128(38, 0), minor units."""
    return pyarrow().decimal128(38, 0)


def time_type() -> Any:
    """Times: nanoseconds, UTC."""
    return pyarrow().timestamp("ns", tz="UTC")


def id_column(ids: NDArray[Any], *, zero_is_null: bool = False) -> Any:
    """Ids of dtype U128, shape (n,), as big-endian bytes: sorted as numbers, their hexadecimal text the number's."""
    pa = pyarrow()
    column = pa.Array.from_buffers(id_type(), len(ids), [None, pa.py_buffer(u128_to_bytes(ids).tobytes())])
    return _masked(column, (ids["lo"] | ids["hi"]) == 0) if zero_is_null else column


def amount_column(amounts: NDArray[Any], name: str) -> Any:
    """Amounts of dtype U128, shape (n,); InputError naming the row of one with more than 38 digits."""
    over = np.flatnonzero(_over(amounts))
    if len(over):
        raise InputError("expected at most 38 digits for Arrow's decimal128", row=int(over[0]) + 1, field=name)
    return _decimals(amounts)


def limit_column(amounts: NDArray[Any]) -> Any:
    """Amounts as submitted, where one with more than 38 digits (such as 2**128 - 1) means "all there is": null."""
    over = _over(amounts)
    return _masked(_decimals(np.where(over, np.zeros(1, amounts.dtype), amounts) if over.any() else amounts), over)


def time_column(nanoseconds: NDArray[np.uint64]) -> Any:
    """Nanoseconds since 1970 UTC, shape (n,)."""
    return pyarrow().array(nanoseconds.astype(np.int64), time_type())


def _over(amounts: NDArray[Any]) -> NDArray[np.bool_]:
    limit_high, limit_low = _AMOUNT_MAX >> 64, _AMOUNT_MAX & (1 << 64) - 1
    over: NDArray[np.bool_] = amounts["hi"] > limit_high
    over |= (amounts["hi"] == limit_high) & (amounts["lo"] > limit_low)
    return over


def _decimals(amounts: NDArray[Any]) -> Any:
    """Little-endian u128 is Arrow's decimal128 as it stands, up to the 38 digits that the type promises."""
    pa = pyarrow()
    buffer = pa.py_buffer(np.ascontiguousarray(amounts).tobytes())
    return pa.Array.from_buffers(amount_type(), len(amounts), [None, buffer])


def _masked(column: Any, is_null: NDArray[np.bool_]) -> Any:
    pa = pyarrow()
    if not is_null.any():
        return column
    bits = np.packbits(~is_null, bitorder="little")
    return pa.Array.from_buffers(column.type, len(column), [pa.py_buffer(bits.tobytes()), column.buffers()[1]])
