"""Transfers, accounts and expiries of a block as Arrow batches. docs/parquet-schema.md says what each column means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger.ledger.arrow import (
    amount_columns,
    amount_fields,
    id_column,
    id_type,
    pyarrow,
    schema_of,
    time_column,
    time_type,
)
from pyledger.ledger.blocks import Block
from pyledger.types import NO_KEY, TransferFlags, u128_array

if TYPE_CHECKING:
    import pyarrow as pa

    from pyledger import _core

__all__ = [
    "POSTING",
    "RESOLVING",
    "accounts_rows",
    "accounts_schema",
    "effects_of",
    "expired_rows",
    "expired_schema",
    "institutions_of",
    "only_where",
    "resolved",
    "transfers_rows",
    "transfers_schema",
]

RESOLVING = TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER
POSTING = TransferFlags.POST_PENDING_TRANSFER
_ZERO = u128_array([0])


def transfers_schema() -> pa.Schema:
    """Schema of `transfers_rows`."""
    pa = pyarrow()
    fields = [
        ("height", pa.uint64()),
        ("index", pa.uint32()),
        ("id", id_type()),
        ("debit_account_id", id_type()),
        ("credit_account_id", id_type()),
        ("debit_institution", pa.uint32()),
        ("credit_institution", pa.uint32()),
        *amount_fields("amount"),
        *amount_fields("posted_amount"),
        *amount_fields("reserved_amount"),
        *amount_fields("released_amount"),
        ("pending_id", id_type()),
        ("user_data_128", id_type()),
        ("user_data_64", pa.uint64()),
        ("user_data_32", pa.uint32()),
        ("timeout", pa.uint32()),
        ("ledger", pa.uint32()),
        ("code", pa.uint16()),
        ("flags", pa.uint16()),
        ("signer", pa.uint32()),
        ("timestamp", time_type()),
    ]
    return schema_of(fields, "pending_id", "signer")


def accounts_schema() -> pa.Schema:
    """Schema of `accounts_rows`."""
    pa = pyarrow()
    fields = [
        ("height", pa.uint64()),
        ("id", id_type()),
        ("ledger", pa.uint32()),
        ("code", pa.uint16()),
        ("flags", pa.uint16()),
        ("owner_key", pa.uint32()),
        ("institution", pa.uint32()),
        ("user_data_128", id_type()),
        ("user_data_64", pa.uint64()),
        ("user_data_32", pa.uint32()),
        ("timestamp", time_type()),
    ]
    return schema_of(fields)


def expired_schema() -> pa.Schema:
    """Schema of `expired_rows`."""
    pa = pyarrow()
    fields = [
        ("height", pa.uint64()),
        ("pending_id", id_type()),
        ("debit_account_id", id_type()),
        ("credit_account_id", id_type()),
        ("debit_institution", pa.uint32()),
        ("credit_institution", pa.uint32()),
        *amount_fields("released_amount"),
        ("ledger", pa.uint32()),
        ("code", pa.uint16()),
        ("timestamp", time_type()),
    ]
    return schema_of(fields)


def transfers_rows(engine: _core.Engine, block: Block, rows: NDArray[np.int64] | None = None) -> pa.RecordBatch:
    """Transfers of a block in order, or those of some rows.

    What posts or voids a pending transfer has that one's accounts, ledger and code, whether its record repeats them or
    not.
    """
    pa = pyarrow()
    body = block.body
    rows = np.arange(len(body.transfers)) if rows is None else rows
    records, signers = body.transfers[rows], body.signers[rows]
    full = resolved(engine, records)
    posted, reserved, released = effects_of(engine, full)
    columns = {
        "height": pa.array(np.full(len(rows), block.header.height, np.uint64)),
        "index": pa.array(rows.astype(np.uint32)),
        "id": id_column(records["id"]),
        **_sides(engine, full),
        **amount_columns("amount", records["amount"]),
        **amount_columns("posted_amount", posted),
        **amount_columns("reserved_amount", reserved),
        **amount_columns("released_amount", released),
        "pending_id": id_column(records["pending_id"], zero_is_null=True),
        "user_data_128": id_column(full["user_data_128"]),
        **_plain(full, "user_data_64", "user_data_32", "timeout", "ledger", "code", "flags"),
        "signer": pa.array(signers, mask=signers == NO_KEY),
        "timestamp": time_column(records["timestamp"]),
    }
    return _batch(columns, transfers_schema())


def accounts_rows(block: Block) -> pa.RecordBatch:
    """Accounts that a block created, in order; their balances were zero."""
    pa = pyarrow()
    entries = block.body.accounts
    records = entries["record"]
    columns = {
        "height": pa.array(np.full(len(records), block.header.height, np.uint64)),
        "id": id_column(records["id"]),
        **_plain(records, "ledger", "code", "flags"),
        **_plain(entries, "owner_key", "institution"),
        "user_data_128": id_column(records["user_data_128"]),
        **_plain(records, "user_data_64", "user_data_32"),
        "timestamp": time_column(records["timestamp"]),
    }
    return _batch(columns, accounts_schema())


def expired_rows(engine: _core.Engine, first: int, last: int) -> pa.RecordBatch:
    """Pending transfers that the times of the blocks from `first` to `last` ended."""
    pa = pyarrow()
    pending, times, heights = engine.expiries(first, last)
    columns = {
        "height": pa.array(heights),
        "pending_id": id_column(pending["id"]),
        **_sides(engine, pending),
        **amount_columns("released_amount", pending["amount"]),
        **_plain(pending, "ledger", "code"),
        "timestamp": time_column(times),
    }
    return _batch(columns, expired_schema())


def resolved(engine: _core.Engine, records: NDArray[Any]) -> NDArray[Any]:
    """Records that took effect, as the engine keeps them: amounts that took effect, fields taken over from pendings."""
    return engine.lookup_transfers(np.ascontiguousarray(records["id"]))[0]


def effects_of(engine: _core.Engine, full: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Amounts posted, reserved, and released from reservation, by transfers as `resolved` gives them; dtype U128."""
    flags = full["flags"]
    reserves = flags & TransferFlags.PENDING != 0
    voids = flags & TransferFlags.VOID_PENDING_TRANSFER != 0
    resolves = flags & RESOLVING != 0
    released = only_where(full["amount"], np.zeros(len(full), np.bool_))
    if resolves.any():
        pending = engine.lookup_transfers(np.ascontiguousarray(full["pending_id"][resolves]))[0]
        released[resolves] = pending["amount"]
    return only_where(full["amount"], ~(reserves | voids)), only_where(full["amount"], reserves), released


def only_where(amounts: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return amounts, zero where the mask is not set."""
    return np.where(mask, amounts, _ZERO)


def institutions_of(engine: _core.Engine, account_ids: NDArray[Any]) -> NDArray[np.uint32]:
    """Institution that keeps each of these accounts, which exist."""
    slots = engine.account_slots(np.ascontiguousarray(account_ids))
    return engine.standings_at(slots)[1]


def _sides(engine: _core.Engine, full: NDArray[Any]) -> dict[str, Any]:
    pa = pyarrow()
    sides = ("debit", "credit")
    ids = {f"{side}_account_id": id_column(full[f"{side}_account_id"]) for side in sides}
    kept_by = {f"{side}_institution": pa.array(institutions_of(engine, full[f"{side}_account_id"])) for side in sides}
    return ids | kept_by


def _plain(records: NDArray[Any], *names: str) -> dict[str, Any]:
    pa = pyarrow()
    return {name: pa.array(np.ascontiguousarray(records[name])) for name in names}


def _batch(columns: dict[str, Any], schema: Any) -> Any:
    return pyarrow().record_batch([columns[name] for name in schema.names], schema=schema)
