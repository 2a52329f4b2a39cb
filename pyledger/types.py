"""The records of the ledger: layouts, flags and result codes.

Account and Transfer are 128-byte little-endian records with the field layout, flags and result codes that TigerBeetle
documents in its reference (account, transfer, create_accounts, create_transfers). 128-bit unsigned integers are two
64-bit words, low word first, so ``records["id"]["lo"]`` is a plain NumPy column.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACCOUNT",
    "NO_KEY",
    "TRANSFER",
    "U128",
    "AccountFlags",
    "TransferFlags",
    "u128_array",
    "u128_int",
    "u128_ints",
]

U128 = np.dtype([("lo", "<u8"), ("hi", "<u8")])
"""An unsigned 128-bit integer, little-endian, low word first; 16 bytes."""

ACCOUNT = np.dtype(
    [
        ("id", U128),
        ("debits_pending", U128),
        ("debits_posted", U128),
        ("credits_pending", U128),
        ("credits_posted", U128),
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("reserved", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("timestamp", "<u8"),
    ]
)
"""An account, 128 bytes. Amounts are minor units of the ledger's currency; timestamp is nanoseconds."""

TRANSFER = np.dtype(
    [
        ("id", U128),
        ("debit_account_id", U128),
        ("credit_account_id", U128),
        ("amount", U128),
        ("pending_id", U128),
        ("user_data_128", U128),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("timeout", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("timestamp", "<u8"),
    ]
)
"""A transfer, 128 bytes. Amount in minor units, timeout in seconds, timestamp in nanoseconds (0 when submitted)."""

NO_KEY = 0xFFFF_FFFF
"""Key index that means "no registered key"."""

_U64_MASK = (1 << 64) - 1


class AccountFlags(IntFlag):
    """Flags of an account (TigerBeetle reference, account.flags)."""

    LINKED = 1 << 0
    DEBITS_MUST_NOT_EXCEED_CREDITS = 1 << 1
    CREDITS_MUST_NOT_EXCEED_DEBITS = 1 << 2
    HISTORY = 1 << 3
    IMPORTED = 1 << 4
    CLOSED = 1 << 5


class TransferFlags(IntFlag):
    """Flags of a transfer (TigerBeetle reference, transfer.flags)."""

    LINKED = 1 << 0
    PENDING = 1 << 1
    POST_PENDING_TRANSFER = 1 << 2
    VOID_PENDING_TRANSFER = 1 << 3
    BALANCING_DEBIT = 1 << 4
    BALANCING_CREDIT = 1 << 5
    CLOSING_DEBIT = 1 << 6
    CLOSING_CREDIT = 1 << 7
    IMPORTED = 1 << 8


def u128_array(values: Iterable[int]) -> NDArray[Any]:
    """Turn Python integers into a ``U128`` array.

    Parameters
    ----------
    values : iterable of int
        Each in [0, 2**128 - 1].

    Returns
    -------
    NDArray, shape (n,), dtype U128

    Raises
    ------
    OverflowError
        If a value is negative or needs more than 128 bits.
    """
    items = list(values)
    out = np.empty(len(items), U128)
    for index, value in enumerate(items):
        if not 0 <= value < 1 << 128:
            raise OverflowError(f"value {index}: expected an integer in [0, 2**128 - 1], got {value}")
        out[index] = (value & _U64_MASK, value >> 64)
    return out


def u128_int(value: Any) -> int:
    """Turn one ``U128`` element into a Python integer."""
    return int(value["lo"]) | int(value["hi"]) << 64


def u128_ints(values: NDArray[Any]) -> list[int]:
    """Turn a ``U128`` array of shape (n,) into a list of Python integers."""
    return [lo | hi << 64 for lo, hi in zip(values["lo"].tolist(), values["hi"].tolist(), strict=True)]
