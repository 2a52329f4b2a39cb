"""An institution's tables in a day folder: its public keys, its accounts, and the signed transfers that it submits.

Readers are strict and vectorised: Arrow batches go in, ledger records come out, and whatever does not fit is refused
with file, row and field. The columns are described in docs/day-files.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.formats.columns import AMOUNT, TEXT, TIMESTAMP, Place, fixed_bytes, to_bytes_matrix, to_u128, unsigned
from pyledger.formats.tables import READ_ROWS, Column, Table, read_batches, read_table
from pyledger.types import ACCOUNT, TRANSFER

__all__ = [
    "ACCOUNTS",
    "KEYS",
    "OPAQUE",
    "TRANSFERS",
    "AccountTable",
    "KeyTable",
    "TransferBatch",
    "iter_transfers",
    "ledger_column",
    "read_accounts",
    "read_keys",
]

KEYS = Table((Column("key_id", unsigned(32)), Column("public_key", fixed_bytes(32)), Column("proof", fixed_bytes(64))))
"""An institution's Ed25519 public keys, by its own numbers, rising, with their proofs of possession."""

ACCOUNTS = Table(
    (
        Column("id", fixed_bytes(16)),
        Column("currency", TEXT),
        Column("key_id", unsigned(32)),
        Column("code", unsigned(16)),
        Column("flags", unsigned(16)),
    )
)
"""Its accounts with their owners' keys; every balance starts at zero."""

TRANSFERS = Table(
    (
        Column("id", fixed_bytes(16)),
        Column("debit_account", fixed_bytes(16)),
        Column("credit_account", fixed_bytes(16)),
        Column("currency", TEXT),
        Column("amount_minor", AMOUNT),
        Column("code", unsigned(16)),
        Column("flags", unsigned(16)),
        Column("key_id", unsigned(32)),
        Column("submitted_at", TIMESTAMP),
        Column("signature", fixed_bytes(64)),
        Column("pending_id", fixed_bytes(16), optional=True),
        Column("timeout", unsigned(32), optional=True),
        Column("user_data_128", fixed_bytes(16), optional=True),
        Column("user_data_64", unsigned(64), optional=True),
        Column("user_data_32", unsigned(32), optional=True),
    )
)
"""The transfers that it submits, by rising time, each signed with one of its keys."""

_U128_FIELDS = {
    "id": "id",
    "debit_account": "debit_account_id",
    "credit_account": "credit_account_id",
    "amount_minor": "amount",
    "pending_id": "pending_id",
    "user_data_128": "user_data_128",
}
OPAQUE = np.dtype(f"V{TRANSFER.itemsize}")
"""A transfer as mere bytes: NumPy moves structured records field by field, which costs several times as much."""
_PLAIN_FIELDS = ("code", "flags", "timeout", "user_data_64", "user_data_32")


@dataclass(frozen=True, slots=True)
class KeyTable:
    """An institution's keys: `key_ids` (n,) uint32, rising, `public_keys` (n, 32) and `proofs` (n, 64) uint8."""

    key_ids: NDArray[np.uint32]
    public_keys: NDArray[np.uint8]
    proofs: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class AccountTable:
    """An institution's accounts: `records` (n,) ACCOUNT with zero balances, `key_ids` (n,) uint32 of the owners."""

    records: NDArray[Any]
    key_ids: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class TransferBatch:
    """Submitted transfers, in order.

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
        Timestamp zero: the block sets it.
    key_ids : NDArray, shape (n,), uint32
        The signer's number in its institution's keys.
    signatures : NDArray, shape (n, 64), uint8
    submitted_at : NDArray, shape (n,), int64
        Nanoseconds since 1970-01-01 UTC.
    institutions : NDArray, shape (n,), uint16
        Index of the institution whose file the row is from.
    rows : NDArray, shape (n,), uint64
        Row number in that file, from 1.
    """

    records: NDArray[Any]
    key_ids: NDArray[np.uint32]
    signatures: NDArray[np.uint8]
    submitted_at: NDArray[np.int64]
    institutions: NDArray[np.uint16]
    rows: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: Any) -> TransferBatch:
        """Return the rows of an index, mask or slice."""
        return TransferBatch(
            self.records.view(OPAQUE)[rows].view(TRANSFER),
            self.key_ids[rows],
            self.signatures[rows],
            self.submitted_at[rows],
            self.institutions[rows],
            self.rows[rows],
        )


def read_keys(path: str | os.PathLike[str]) -> KeyTable:
    """Read an institution's keys.

    Raises
    ------
    InputError
        If the file is not what KEYS says, or a key id does not rise; names file, row and field.
    """
    columns = read_table(path, KEYS)
    key_ids = columns["key_id"].to_numpy()
    _refuse_first(key_ids[1:] <= key_ids[:-1], path, "key_id", "expected each key id once, in rising order", start=2)
    public_keys, proofs = (to_bytes_matrix(columns[name].combine_chunks()) for name in ("public_key", "proof"))
    return KeyTable(key_ids, public_keys, proofs)


def read_accounts(path: str | os.PathLike[str], ledgers: Mapping[str, int], keys: KeyTable) -> AccountTable:
    """Read an institution's accounts.

    Parameters
    ----------
    path : path
    ledgers : mapping of str to int
        Ledger number of each currency code.
    keys : KeyTable
        The institution's keys; an account must name one of them.

    Raises
    ------
    InputError
        If the file is not what ACCOUNTS says, an id stands twice, or a currency or key is unknown.
    """
    columns = read_table(path, ACCOUNTS)
    key_ids = columns["key_id"].to_numpy()
    _refuse_first(~np.isin(key_ids, keys.key_ids), path, "key_id", "no such key in the institution's keys")
    records = np.zeros(len(key_ids), ACCOUNT)
    records["id"] = to_u128(columns["id"].combine_chunks())
    records["ledger"] = ledger_column(columns["currency"].combine_chunks(), ledgers, Place(str(path), "currency"))
    records["code"] = columns["code"].to_numpy()
    records["flags"] = columns["flags"].to_numpy()
    _, first = np.unique(records["id"], return_index=True)
    repeated = np.ones(len(records), bool)
    repeated[first] = False
    _refuse_first(repeated, path, "id", "the account id stands twice in the file")
    return AccountTable(records, key_ids)


def iter_transfers(
    path: str | os.PathLike[str], ledgers: Mapping[str, int], batch_rows: int = READ_ROWS, *, institution: int = 0
) -> Iterator[TransferBatch]:
    """Read an institution's transfers in batches of at most `batch_rows`.

    What the file may not hold raises here; what the ledger may not take (an unknown account, an id used before, a wrong
    signature) is left to it and becomes a result code.

    Parameters
    ----------
    path : path
    ledgers : mapping of str to int
        Ledger number of each currency code.
    batch_rows : int
    institution : int
        Index that the batches carry.

    Raises
    ------
    InputError
        If the file is not what TRANSFERS says, a currency is unknown, or a time is before the row above.
    """
    last_time = np.iinfo(np.int64).min
    for first_row, columns in read_batches(path, TRANSFERS, batch_rows):
        batch = _transfer_batch(columns, Place(str(path), "currency", first_row), ledgers, institution)
        if len(batch) == 0:
            continue
        before = np.concatenate(([last_time], batch.submitted_at[:-1]))
        _refuse_first(
            batch.submitted_at < before, path, "submitted_at", "expected no time before the row above", first_row
        )
        last_time = batch.submitted_at[-1]
        yield batch


def ledger_column(column: pa.DictionaryArray, ledgers: Mapping[str, int], place: Place) -> NDArray[np.uint32]:
    """Turn currency codes into ledger numbers, shape (n,) uint32.

    Raises
    ------
    InputError
        If a code is not in `ledgers`; names the first row.
    """
    numbers = np.array([ledgers.get(code, 0) for code in column.dictionary.to_pylist()] or [0], np.uint32)
    found: NDArray[np.uint32] = numbers[column.indices.to_numpy()]
    place.refuse(found == 0, column, f"one of {', '.join(ledgers)}")
    return found


def _transfer_batch(
    columns: Mapping[str, pa.Array], place: Place, ledgers: Mapping[str, int], institution: int
) -> TransferBatch:
    count = len(columns["id"])
    records = np.zeros(count, TRANSFER)
    for column, field in _U128_FIELDS.items():
        if column in columns:
            records[field] = to_u128(columns[column])
    for field in _PLAIN_FIELDS:
        if field in columns:
            records[field] = columns[field].to_numpy()
    records["ledger"] = ledger_column(columns["currency"], ledgers, place)
    return TransferBatch(
        records,
        columns["key_id"].to_numpy(),
        to_bytes_matrix(columns["signature"]),
        columns["submitted_at"].cast(pa.int64()).to_numpy(),
        np.full(count, institution, np.uint16),
        np.arange(place.first_row, place.first_row + count, dtype=np.uint64),
    )


def _refuse_first(
    bad: NDArray[np.bool_], path: str | os.PathLike[str], field: str, message: str, start: int = 1
) -> None:
    if bad.any():
        raise InputError(message, file=os.fspath(path), row=start + int(np.argmax(bad)), field=field)
