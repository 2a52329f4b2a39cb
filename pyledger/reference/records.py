"""Accounts and transfers as plain tuples, to and from the records of ``pyledger.types``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyledger.types import NO_KEY, AccountFlags, u128_array, u128_ints

__all__ = ["NANOSECONDS", "Account", "Transfer", "begins_with", "controller_list", "look_up", "records_of", "rows"]

NANOSECONDS = 1_000_000_000


class Account(NamedTuple):
    """An account, fields as in ``types.ACCOUNT``."""

    id: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    user_data_128: int
    user_data_64: int
    user_data_32: int
    reserved: int
    ledger: int
    code: int
    flags: int
    timestamp: int

    @property
    def closed(self) -> bool:
        """Whether the account takes no transfers any more."""
        return bool(self.flags & AccountFlags.CLOSED)

    def with_closed(self, closed: bool) -> Account:
        """Return the account with the closed flag set or not."""
        rest = self.flags & ~int(AccountFlags.CLOSED)
        return self._replace(flags=rest | (AccountFlags.CLOSED if closed else 0))


class Transfer(NamedTuple):
    """A transfer, fields as in ``types.TRANSFER``."""

    id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    pending_id: int
    user_data_128: int
    user_data_64: int
    user_data_32: int
    timeout: int
    ledger: int
    code: int
    flags: int
    timestamp: int

    @property
    def expires_at(self) -> int:
        """Nanoseconds at which a pending transfer with a timeout ends."""
        return self.timestamp + self.timeout * NANOSECONDS


def begins_with(records: NDArray[Any], flag: int) -> bool:
    """Whether the first record has a flag."""
    return len(records) > 0 and bool(records["flags"][0] & flag)


def rows(records: NDArray[Any]) -> list[tuple[int, ...]]:
    """Fields of each record as Python integers."""
    names = records.dtype.names or ()
    columns = [records[name] for name in names]
    return list(zip(*(u128_ints(c) if c.dtype.names else c.tolist() for c in columns), strict=True))


def records_of(items: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pack tuples of Python integers into records."""
    items = list(items)
    out = np.zeros(len(items), dtype)
    for name in dtype.names or ():
        values = [getattr(item, name) for item in items]
        out[name] = u128_array(values) if out[name].dtype.names else values
    return out


def look_up(table: dict[int, Any], ids: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Records of a table by id."""
    wanted = u128_ints(ids)
    found = np.array([item in table for item in wanted], np.bool_)
    out = np.zeros(len(wanted), dtype)
    out[found] = records_of([table[item] for item in wanted if item in table], dtype)
    return out, found


def controller_list(controllers: NDArray[np.uint32] | None, count: int) -> list[int]:
    """Controllers as integers, NO_KEY for each where none are given."""
    return [NO_KEY] * count if controllers is None else controllers.tolist()
