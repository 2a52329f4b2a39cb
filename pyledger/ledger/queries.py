"""What people and programs ask of the book, as Arrow. Needs the extra `arrow`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError, LedgerError
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.types import NO_KEY, u128_to_bytes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["account_places", "accounts_table", "indices", "transfers_batch", "transfers_schema", "transfers_table"]

_AMOUNT_MAX = 10**38 - 1


def account_places(book: Book, account_ids: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Institution and ledger of each account id; NO_KEY and 0 where there is no such account.

    Parameters
    ----------
    book : Book
    account_ids : NDArray, shape (n,), dtype U128

    Returns
    -------
    tuple of NDArray[uint32], shape (n,) each
    """
    slots = book.engine.account_slots(np.ascontiguousarray(account_ids))
    known = slots != NO_KEY
    institutions = np.full(len(slots), NO_KEY, np.uint32)
    ledgers = np.zeros(len(slots), np.uint32)
    institutions[known] = book.engine.standings_at(slots[known])[1]
    ledgers[known] = book.engine.records_at(slots[known])["ledger"]
    return institutions, ledgers


def accounts_table(book: Book) -> pa.Table:
    """All accounts in order of creation.

    Columns: id (16 bytes, big-endian), ledger, code, flags, owner_key, institution, the four totals
    (decimal128(38, 0), minor units) and timestamp (nanoseconds, UTC).
    """
    pa = _pyarrow()
    records = book.engine.accounts()
    columns = {
        "id": _id_column(records["id"]),
        "ledger": pa.array(np.ascontiguousarray(records["ledger"])),
        "code": pa.array(np.ascontiguousarray(records["code"])),
        "flags": pa.array(np.ascontiguousarray(records["flags"])),
        "owner_key": pa.array(book.engine.owners()),
        "institution": pa.array(book.engine.institutions()),
        **{name: _amount_column(records[name], name) for name in _TOTALS},
        "timestamp": _time_column(records["timestamp"]),
    }
    return pa.table(columns)


def transfers_schema() -> pa.Schema:
    """Schema of `transfers_batch`."""
    pa = _pyarrow()
    id_type, amount_type = pa.binary(16), pa.decimal128(38, 0)
    return pa.schema(
        [
            ("height", pa.uint64()),
            ("id", id_type),
            ("debit_account_id", id_type),
            ("credit_account_id", id_type),
            ("amount", amount_type),
            ("posted_amount", amount_type),
            ("pending_id", id_type),
            ("ledger", pa.uint32()),
            ("code", pa.uint16()),
            ("flags", pa.uint16()),
            ("signer", pa.uint32()),
            ("timestamp", pa.timestamp("ns", tz="UTC")),
        ]
    )


def transfers_batch(block: Block) -> pa.RecordBatch:
    """Transfers of a block, in order.

    Columns: height, id, debit_account_id, credit_account_id, amount (submitted) and posted_amount (decimal128(38, 0),
    minor units), pending_id, ledger, code, flags, signer (key index, null if attested), timestamp (nanoseconds, UTC).
    """
    pa = _pyarrow()
    body = block.body
    records = body.transfers
    posted = body.effects if len(body.effects) else records["amount"]
    columns = {
        "height": pa.array(np.full(len(records), block.header.height, np.uint64)),
        "id": _id_column(records["id"]),
        "debit_account_id": _id_column(records["debit_account_id"]),
        "credit_account_id": _id_column(records["credit_account_id"]),
        "amount": _amount_column(records["amount"], "amount"),
        "posted_amount": _amount_column(posted, "posted_amount"),
        "pending_id": _id_column(records["pending_id"]),
        "ledger": pa.array(np.ascontiguousarray(records["ledger"])),
        "code": pa.array(np.ascontiguousarray(records["code"])),
        "flags": pa.array(np.ascontiguousarray(records["flags"])),
        "signer": pa.array(body.signers, mask=body.signers == NO_KEY),
        "timestamp": _time_column(records["timestamp"]),
    }
    return pa.record_batch(columns, schema=transfers_schema())


def transfers_table(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Batches of `transfers_batch` as one table."""
    return _pyarrow().Table.from_batches(batches, schema=transfers_schema())


def indices(rows: NDArray[np.uint64]) -> pa.Array:
    """Row numbers as Arrow's `take` wants them."""
    return _pyarrow().array(rows)


_TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise LedgerError("this needs pyarrow: pip install 'pyledger[arrow]'") from None
    return pyarrow


def _id_column(ids: NDArray[Any]) -> Any:
    pa = _pyarrow()
    return pa.Array.from_buffers(pa.binary(16), len(ids), [None, pa.py_buffer(u128_to_bytes(ids).tobytes())])


def _amount_column(amounts: NDArray[Any], name: str) -> Any:
    """Little-endian u128 is Arrow's decimal128 as it stands, up to the 38 digits that the type promises."""
    pa = _pyarrow()
    high, low = amounts["hi"], amounts["lo"]
    limit_high, limit_low = _AMOUNT_MAX >> 64, _AMOUNT_MAX & (1 << 64) - 1
    over = np.flatnonzero((high > limit_high) | ((high == limit_high) & (low > limit_low)))
    if len(over):
        raise InputError("expected at most 38 digits for Arrow's decimal128", row=int(over[0]) + 1, field=name)
    buffer = pa.py_buffer(np.ascontiguousarray(amounts).tobytes())
    return pa.Array.from_buffers(pa.decimal128(38, 0), len(amounts), [None, buffer])


def _time_column(nanoseconds: NDArray[np.uint64]) -> Any:
    pa = _pyarrow()
    return pa.array(nanoseconds.astype(np.int64), pa.timestamp("ns", tz="UTC"))
