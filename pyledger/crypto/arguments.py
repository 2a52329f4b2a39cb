"""Refuses arguments of another kind than stated before a native call does: InputError names them and what came."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyledger.errors import InputError
from pyledger.types import ACCOUNT, TRANSFER, U128

__all__ = ["require_array", "require_integer", "require_number", "require_tuple"]


def require_array(name: str, array: object, dtype: np.dtype[Any], row: tuple[int, ...] = ()) -> int:
    """Number of rows of what must be a C-contiguous array of exactly this dtype and row shape.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.ndim == 1 + len(row)
        and array.shape[1:] == row
        and array.flags.c_contiguous
    ):
        return len(array)
    shape = f"(n, {row[0]})" if row else "(n,)"
    expected = f"{name}: expected a C-contiguous array of shape {shape} and dtype {_dtype_name(dtype)}"
    raise InputError(f"{expected}, got {_kind_of(array)}")


def require_integer(name: str, value: object) -> None:
    """Refuse what is not an integer."""
    if not isinstance(value, int | np.integer):
        raise InputError(f"{name}: expected an integer, got {value!r}")


def require_number(name: str, value: object, bits: int) -> None:
    """Refuse what is not an integer of so many bits, unsigned."""
    if not isinstance(value, int | np.integer) or not 0 <= value < 1 << bits:
        raise InputError(f"{name}: expected an integer in [0, 2**{bits} - 1], got {value!r}")


def require_tuple(name: str, value: object, lengths: tuple[int, ...], items: str) -> None:
    """Refuse what is not a tuple or list of one of these lengths."""
    if not isinstance(value, tuple | list) or len(value) not in lengths:
        raise InputError(f"{name}: expected a tuple of {items}, got {value!r}")


def _kind_of(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    strided = "" if value.flags.c_contiguous else ", not C-contiguous"
    return f"shape {value.shape} and dtype {_dtype_name(value.dtype)}{strided}"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    names = {ACCOUNT: "ACCOUNT", TRANSFER: "TRANSFER", U128: "U128"}
    return names.get(dtype, str(dtype))
