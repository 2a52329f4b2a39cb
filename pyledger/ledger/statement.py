"""The history of one account: each entry with its other side, what it moved, and the account's balances after it."""

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
from pyledger.ledger.places import Places
from pyledger.ledger.rows import POSTING, only_where
from pyledger.types import TransferFlags

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["statement_schema", "statement_table"]

_BALANCES = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


def statement_schema() -> pa.Schema:
    """Columns of a history.

    - timestamp: of the transfer; of an expiry, the time of the block that released it
    - height, index: the block, and the transfer's place in it (null for an expiry, which is no transfer)
    - kind: posted, pending, post, void or expired
    - id: of the transfer; of an expiry, of the pending transfer that ended
    - side: debit or credit, the account's
    - counterpart: the account on the other side
    - posted_amount: added to the posted balance of the side
    - reserved_amount, released_amount: added to and taken from the pending balance of the side
    - pending_id: what it posts or voids, else null
    - ledger, code, flags
    - debits_pending, debits_posted, credits_pending, credits_posted: of the account, after the entry

    Amounts and balances have a second column each, named `_u128` (docs/parquet-schema.md).
    """
    pa = pyarrow()
    fields = [
        ("timestamp", time_type()),
        ("height", pa.uint64()),
        ("index", pa.uint32()),
        ("kind", pa.string()),
        ("id", id_type()),
        ("side", pa.string()),
        ("counterpart", id_type()),
        *amount_fields("posted_amount"),
        *amount_fields("reserved_amount"),
        *amount_fields("released_amount"),
        ("pending_id", id_type()),
        ("ledger", pa.uint32()),
        ("code", pa.uint16()),
        ("flags", pa.uint16()),
        *(field for name in _BALANCES for field in amount_fields(name)),
    ]
    return schema_of(fields, "index", "pending_id")


def statement_table(account_id: Any, columns: tuple[NDArray[Any], ...], places: Places) -> pa.Table:
    """Arrow table of an account's events as the engine gives them.

    Parameters
    ----------
    account_id : U128
    columns : tuple of NDArray
        Transfers, positions, times, heights of expiries (else 0), amounts released, balances after.
    places : Places
    """
    pa = pyarrow()
    records, positions, times, expiry_heights, released, balances = columns
    expired = expiry_heights != 0
    heights, indexes = places.places(np.where(expired, np.uint64(0), positions))
    is_debit = records["debit_account_id"] == account_id
    kinds = _kinds(records["flags"], expired)
    arrays = {
        "timestamp": time_column(times),
        "height": pa.array(np.where(expired, expiry_heights, heights)),
        "index": pa.array(indexes, mask=expired),
        "kind": pa.array(kinds, pa.string()),
        "id": id_column(records["id"]),
        "side": pa.array(np.where(is_debit, "debit", "credit").astype(object), pa.string()),
        "counterpart": id_column(np.where(is_debit, records["credit_account_id"], records["debit_account_id"])),
        **amount_columns("posted_amount", only_where(records["amount"], np.isin(kinds, ("posted", "post")))),
        **amount_columns("reserved_amount", only_where(records["amount"], kinds == "pending")),
        **amount_columns("released_amount", released),
        "pending_id": id_column(records["pending_id"], zero_is_null=True),
        **{name: pa.array(np.ascontiguousarray(records[name])) for name in ("ledger", "code", "flags")},
    }
    for place, name in enumerate(_BALANCES):
        arrays |= amount_columns(name, np.ascontiguousarray(balances[:, place]))
    schema = statement_schema()
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _kinds(flags: NDArray[np.uint16], expired: NDArray[np.bool_]) -> NDArray[Any]:
    conditions = [
        expired,
        flags & TransferFlags.PENDING != 0,
        flags & POSTING != 0,
        flags & TransferFlags.VOID_PENDING_TRANSFER != 0,
    ]
    return np.select(conditions, ["expired", "pending", "post", "void"], "posted").astype(object)
