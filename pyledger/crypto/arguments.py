"""Refuses arguments of another kind than stated: InputError names the argument, what was expected and what came.

A native call says of a wrong argument only which signatures it has. `refusing` puts that into words, and costs nothing
where all is well: it looks at the arguments when the call has failed.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.types import ACCOUNT, TRANSFER, U128

__all__ = ["refusing", "require_array", "require_bytes", "require_integer", "require_number", "require_tuple"]


_P = ParamSpec("_P")
_R = TypeVar("_R")
_ARRAY: Final = re.compile(r"NDArray\[np\.(\w+)\](?: \| None)?")
_PLAIN: Final = {"int": int | np.integer, "int | None": int | np.integer, "bytes": bytes | bytearray | memoryview}


def refusing(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have a function's TypeError and ValueError come as InputError, in words that its annotations give.

    Parameters
    ----------
    call : callable
        Of a module with postponed annotations: NDArray[np.<dtype>], Messages, int and bytes are looked at.
    """

    @functools.wraps(call)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(*args, **kwargs)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(next(_faults(call, args, kwargs), str(error))) from error

    return checked


def _faults(call: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> Iterator[str]:
    """What does not fit its annotation."""
    signature = inspect.signature(call)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        yield str(error)
        return
    for name, value in given.items():
        annotation = str(signature.parameters[name].annotation)
        if value is None and annotation.endswith("None"):
            continue
        if annotation == "Messages" and isinstance(value, tuple):
            yield from _faults_of_pair(name, value)
        elif annotation == "Messages":
            yield from _faults_of_array(name, value, "uint8")
        elif match := _ARRAY.fullmatch(annotation):
            yield from _faults_of_array(name, value, match[1])
        elif annotation in _PLAIN and not isinstance(value, _PLAIN[annotation]):
            yield f"{name}: expected {annotation}, got {type(value).__name__}"


def _faults_of_pair(name: str, pair: tuple[object, ...]) -> Iterator[str]:
    if len(pair) != 2:
        yield f"{name}: expected (buffer, offsets), got {len(pair)} items"
        return
    if not isinstance(pair[0], bytes):
        yield from _faults_of_array(f"{name}, buffer", pair[0], "uint8")
    yield from _faults_of_array(f"{name}, offsets", pair[1], "uint64")


def _faults_of_array(name: str, value: object, dtype: str) -> Iterator[str]:
    if not isinstance(value, np.ndarray) or value.dtype != dtype or not _is_plain(value):
        yield f"{name}: expected a C-contiguous array of dtype {dtype}, got {_kind_of(value)}"


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


def require_bytes(name: str, value: object, size: int) -> None:
    """Refuse what is not bytes of this size."""
    if not isinstance(value, bytes) or len(value) != size:
        got = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise InputError(f"{name}: expected {size} bytes, got {got}")


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


def _is_plain(array: NDArray[Any]) -> bool:
    return array.flags.c_contiguous and array.flags.aligned


def _kind_of(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    strided = "" if value.flags.c_contiguous else ", not C-contiguous"
    crooked = "" if value.flags.aligned else ", not aligned"
    return f"shape {value.shape} and dtype {_dtype_name(value.dtype)}{strided}{crooked}"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    names = {ACCOUNT: "ACCOUNT", TRANSFER: "TRANSFER", U128: "U128"}
    return names.get(dtype, str(dtype))
