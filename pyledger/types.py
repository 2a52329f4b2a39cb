"""The records of the ledger: layouts, flags and result codes.

Account and Transfer are 128-byte little-endian records with the field layout, flags and result codes that TigerBeetle
documents in its reference (account, transfer, create_accounts, create_transfers). 128-bit unsigned integers are two
64-bit words, low word first, so ``records["id"]["lo"]`` is a plain NumPy column.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError

__all__ = [
    "ACCOUNT",
    "NO_KEY",
    "TRANSFER",
    "U128",
    "AccountFlags",
    "AuthorityResult",
    "CreateAccountResult",
    "CreateTransferResult",
    "KeyRole",
    "PendingStatus",
    "TransferFlags",
    "make_accounts",
    "make_transfers",
    "u128_array",
    "u128_from_bytes",
    "u128_int",
    "u128_ints",
    "u128_to_bytes",
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


class KeyRole(IntFlag):
    """What a registered key may do."""

    HOLDER = 1 << 0
    """Sign transfers and mandates."""
    ATTESTER = 1 << 1
    """Sign the attestation of a batch for its institution."""
    GOVERNOR = 1 << 2
    """Approve for its institution who votes on blocks, and register further governors."""


class PendingStatus(IntEnum):
    """What became of a pending transfer."""

    NONE = 0
    PENDING = 1
    POSTED = 2
    VOIDED = 3
    EXPIRED = 4


class CreateAccountResult(IntEnum):
    """Result of one account of create_accounts.

    Below 1000 the numbers are those that TigerBeetle documents; from 1000 on they concern authority.
    """

    CREATED = 0
    LINKED_EVENT_FAILED = 1
    LINKED_EVENT_CHAIN_OPEN = 2
    TIMESTAMP_MUST_BE_ZERO = 3
    RESERVED_FIELD = 4
    RESERVED_FLAG = 5
    ID_MUST_NOT_BE_ZERO = 6
    ID_MUST_NOT_BE_INT_MAX = 7
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = 8
    DEBITS_PENDING_MUST_BE_ZERO = 9
    DEBITS_POSTED_MUST_BE_ZERO = 10
    CREDITS_PENDING_MUST_BE_ZERO = 11
    CREDITS_POSTED_MUST_BE_ZERO = 12
    LEDGER_MUST_NOT_BE_ZERO = 13
    CODE_MUST_NOT_BE_ZERO = 14
    EXISTS_WITH_DIFFERENT_FLAGS = 15
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = 16
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = 17
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = 18
    EXISTS_WITH_DIFFERENT_LEDGER = 19
    EXISTS_WITH_DIFFERENT_CODE = 20
    EXISTS = 21
    IMPORTED_EVENT_EXPECTED = 22
    IMPORTED_EVENT_NOT_EXPECTED = 23
    IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE = 24
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE = 25
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS = 26
    KEY_NOT_VALID_AT_HEIGHT = 1003
    REGISTRAR_OF_OTHER_INSTITUTION = 1030
    OWNER_UNKNOWN = 1031
    OWNER_OF_OTHER_INSTITUTION = 1032
    EXISTS_WITH_DIFFERENT_OWNER = 1033
    EXISTS_WITH_DIFFERENT_INSTITUTION = 1034


class CreateTransferResult(IntEnum):
    """Result of one transfer of create_transfers.

    Below 1000 the numbers are those that TigerBeetle documents (18 is retired there); from 1000 on they concern
    authority.
    """

    CREATED = 0
    LINKED_EVENT_FAILED = 1
    LINKED_EVENT_CHAIN_OPEN = 2
    TIMESTAMP_MUST_BE_ZERO = 3
    RESERVED_FLAG = 4
    ID_MUST_NOT_BE_ZERO = 5
    ID_MUST_NOT_BE_INT_MAX = 6
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = 7
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = 8
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = 9
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = 10
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = 11
    ACCOUNTS_MUST_BE_DIFFERENT = 12
    PENDING_ID_MUST_BE_ZERO = 13
    PENDING_ID_MUST_NOT_BE_ZERO = 14
    PENDING_ID_MUST_NOT_BE_INT_MAX = 15
    PENDING_ID_MUST_BE_DIFFERENT = 16
    TIMEOUT_RESERVED_FOR_PENDING_TRANSFER = 17
    LEDGER_MUST_NOT_BE_ZERO = 19
    CODE_MUST_NOT_BE_ZERO = 20
    DEBIT_ACCOUNT_NOT_FOUND = 21
    CREDIT_ACCOUNT_NOT_FOUND = 22
    ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER = 23
    TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS = 24
    PENDING_TRANSFER_NOT_FOUND = 25
    PENDING_TRANSFER_NOT_PENDING = 26
    PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID = 27
    PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID = 28
    PENDING_TRANSFER_HAS_DIFFERENT_LEDGER = 29
    PENDING_TRANSFER_HAS_DIFFERENT_CODE = 30
    EXCEEDS_PENDING_TRANSFER_AMOUNT = 31
    PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT = 32
    PENDING_TRANSFER_ALREADY_POSTED = 33
    PENDING_TRANSFER_ALREADY_VOIDED = 34
    PENDING_TRANSFER_EXPIRED = 35
    EXISTS_WITH_DIFFERENT_FLAGS = 36
    EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID = 37
    EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID = 38
    EXISTS_WITH_DIFFERENT_AMOUNT = 39
    EXISTS_WITH_DIFFERENT_PENDING_ID = 40
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = 41
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = 42
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = 43
    EXISTS_WITH_DIFFERENT_TIMEOUT = 44
    EXISTS_WITH_DIFFERENT_CODE = 45
    EXISTS = 46
    OVERFLOWS_DEBITS_PENDING = 47
    OVERFLOWS_CREDITS_PENDING = 48
    OVERFLOWS_DEBITS_POSTED = 49
    OVERFLOWS_CREDITS_POSTED = 50
    OVERFLOWS_DEBITS = 51
    OVERFLOWS_CREDITS = 52
    OVERFLOWS_TIMEOUT = 53
    EXCEEDS_CREDITS = 54
    EXCEEDS_DEBITS = 55
    IMPORTED_EVENT_EXPECTED = 56
    IMPORTED_EVENT_NOT_EXPECTED = 57
    IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE = 58
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE = 59
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS = 60
    IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT = 61
    IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT = 62
    IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO = 63
    CLOSING_TRANSFER_MUST_BE_PENDING = 64
    DEBIT_ACCOUNT_ALREADY_CLOSED = 65
    CREDIT_ACCOUNT_ALREADY_CLOSED = 66
    EXISTS_WITH_DIFFERENT_LEDGER = 67
    ID_ALREADY_FAILED = 68
    SIGNATURE_MISSING = 1000
    SIGNER_UNKNOWN = 1001
    SIGNATURE_INVALID = 1002
    KEY_NOT_VALID_AT_HEIGHT = 1003
    SIGNER_LACKS_ROLE = 1004
    SIGNER_NOT_AUTHORISED = 1005
    MANDATE_EXPIRED = 1006
    MANDATE_EXCEEDED = 1007
    CLOSING_NOT_AUTHORISED = 1008
    CONTROLLER_RESERVED_FOR_PENDING_TRANSFER = 1009
    CONTROLLER_NOT_VALID = 1010
    EXISTS_WITH_DIFFERENT_CONTROLLER = 1011
    ATTESTATION_INVALID = 1020
    ATTESTATION_REPLAYED = 1021
    ATTESTATION_OUT_OF_ORDER = 1022
    ATTESTATION_SIGNER_OF_OTHER_INSTITUTION = 1023
    ATTESTATION_FOREIGN_ACCOUNT = 1024


class AuthorityResult(IntEnum):
    """Result of one change of authority: a key revoked, an owner or controller replaced, a mandate set."""

    OK = 0
    SIGNATURE_MISSING = 1000
    SIGNER_UNKNOWN = 1001
    SIGNATURE_INVALID = 1002
    KEY_NOT_VALID_AT_HEIGHT = 1003
    SIGNER_LACKS_ROLE = 1004
    SIGNER_NOT_AUTHORISED = 1005
    CONTROLLER_NOT_VALID = 1010
    REGISTRAR_OF_OTHER_INSTITUTION = 1030
    OWNER_UNKNOWN = 1031
    OWNER_OF_OTHER_INSTITUTION = 1032
    ACCOUNT_NOT_FOUND = 1040
    PENDING_TRANSFER_NOT_LIVE = 1041
    PENDING_TRANSFER_HAS_NO_CONTROLLER = 1042
    HOLDER_UNKNOWN = 1043
    KEY_UNKNOWN = 1044
    LAST_ATTESTATION_KEY = 1045
    LAST_GOVERNANCE_KEY = 1046


def make_accounts(**fields: Any) -> NDArray[Any]:
    """Build account records from fields; those not named are zero.

    Parameters
    ----------
    **fields
        By the names of `ACCOUNT`: an integer for all records, or a sequence or array with one for each.

    Returns
    -------
    NDArray, shape (n,), dtype ACCOUNT

    Raises
    ------
    InputError
        If there is no such field, its value is no integer or does not fit it, or lengths differ.

    Notes
    -----
    Assigning an integer to a 128-bit field of an array sets both of its words; use this, or `u128_array`.

    Examples
    --------
    >>> make_accounts(id=[1, 2], ledger=978, code=1)["ledger"].tolist()
    [978, 978]
    """
    return _make(ACCOUNT, fields)


def make_transfers(**fields: Any) -> NDArray[Any]:
    """Build transfer records from fields; as `make_accounts`, by the names of `TRANSFER`."""
    return _make(TRANSFER, fields)


def _make(dtype: np.dtype[Any], fields: dict[str, Any]) -> NDArray[Any]:
    counts = {np.shape(value)[0] for value in fields.values() if np.ndim(value)}
    if len(counts) > 1:
        raise InputError(f"fields: expected sequences of one length, got {sorted(counts)}")
    records = np.zeros(counts.pop() if counts else 1, dtype)
    for name, value in fields.items():
        if name not in (dtype.names or ()):
            raise InputError(f"no such field: {name}; expected some of {', '.join(dtype.names or ())}")
        if getattr(value, "dtype", None) != U128:
            items = _integers(name, [value] if np.ndim(value) == 0 else value, 8 * dtype[name].itemsize)
            value = _words(items) if dtype[name] == U128 else items
        records[name] = value
    return records


def u128_array(values: Iterable[int]) -> NDArray[Any]:
    """Turn integers into a ``U128`` array.

    Parameters
    ----------
    values : iterable of int, or NDArray of integers
        Each in [0, 2**128 - 1].

    Returns
    -------
    NDArray, shape (n,), dtype U128

    Raises
    ------
    InputError
        If a value is no integer, is negative or needs more than 128 bits.
    """
    return _words(_integers("values", values, 128))


def _integers(name: str, values: Iterable[Any], bits: int) -> NDArray[Any]:
    """The values as an array that assigns without changing one; InputError names the first that can't be."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        items: NDArray[Any] = values
    else:
        listed = list(values)
        for index, value in enumerate(listed):
            if not isinstance(value, int | np.integer):
                expected = "expected an integer, such as an amount in minor units"
                raise InputError(f"{name}[{index}]: {expected}, got {value!r}")
        items = np.array([int(value) for value in listed], object)
    if items.size and not 0 <= int(items.min()) <= int(items.max()) < 1 << bits:
        index, value = next((at, value) for at, value in enumerate(items.tolist()) if not 0 <= value < 1 << bits)
        raise InputError(f"{name}[{index}]: expected an integer in [0, 2**{bits} - 1], got {value}")
    return items


def _words(items: NDArray[Any]) -> NDArray[Any]:
    out = np.zeros(items.shape, U128)
    if items.dtype.kind == "O":
        out["lo"], out["hi"] = items & _U64_MASK, items >> 64
    else:
        out["lo"] = items
    return out


def u128_int(value: Any) -> int:
    """Turn one ``U128`` element into a Python integer."""
    return int(value["lo"]) | int(value["hi"]) << 64


def u128_ints(values: NDArray[Any]) -> list[int]:
    """Turn a ``U128`` array of shape (n,) into a list of Python integers."""
    return [lo | hi << 64 for lo, hi in zip(values["lo"].tolist(), values["hi"].tolist(), strict=True)]


def u128_to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn a ``U128`` array of shape (n,) into big-endian bytes, shape (n, 16).

    So ids stand in files and Arrow columns: like UUIDs, sorted as numbers, and their hexadecimal text is the number's.
    """
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 16)
    return np.ascontiguousarray(rows[:, ::-1])


def u128_from_bytes(rows: NDArray[np.uint8]) -> NDArray[Any]:
    """Turn big-endian bytes of shape (n, 16) into a ``U128`` array of shape (n,)."""
    values: NDArray[Any] = np.ascontiguousarray(rows[:, ::-1]).view(U128).reshape(-1)
    return values
