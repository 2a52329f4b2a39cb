"""What people and programs ask of the book and its past. What comes as Arrow needs the extra `arrow`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto.arguments import require_array, require_integer, require_number, require_tuple
from pyledger.errors import InputError
from pyledger.ledger.arrow import amount_columns, id_column, pyarrow, time_column
from pyledger.ledger.blocks import Block, Header
from pyledger.ledger.book import Book
from pyledger.ledger.feed import BlockRows
from pyledger.ledger.places import Places
from pyledger.ledger.rows import (
    accounts_rows,
    expired_rows,
    institutions_of,
    resolved,
    transfers_rows,
    transfers_schema,
)
from pyledger.ledger.statement import statement_table
from pyledger.types import (
    NO_KEY,
    U128,
    PendingStatus,
    TransferFlags,
    u128_array,
    u128_int,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Balance", "Queries", "TransferState", "account_places", "accounts_table"]

_FOREVER = (1 << 64) - 1
_NOWHERE = (1 << 64) - 1
_PENDING = int(TransferFlags.PENDING)
_COMPLETED = int(
    TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
    | TransferFlags.BALANCING_DEBIT
    | TransferFlags.BALANCING_CREDIT
)
"""Transfers whose record took over something when they took effect: the one submitted is in the block only."""
_TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


@dataclass(frozen=True, slots=True)
class Balance:
    """Totals of one account, in minor units of its ledger."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


@dataclass(frozen=True, slots=True)
class TransferState:
    """A transfer that took effect, where it stands, and what became of it since.

    Parameters
    ----------
    id : int
    height, index : int
        The block it stands in, and its place among that block's transfers from 0.
    record : NDArray, shape (), dtype TRANSFER
        As its block holds it: as submitted, with its timestamp.
    debit_account_id, credit_account_id, ledger, code : int
        Of the record; of a transfer that posts or voids a pending one: those of that one.
    amount : int
        What took effect, in minor units: posted, or reserved if it is pending, or given back if it voids.
    status : PendingStatus
        NONE unless it is a pending transfer.
    resolved_by : int or None
        Id of the transfer that posted or voided it.
    expired_height : int or None
        The block whose time ended it.
    """

    id: int
    height: int
    index: int
    record: Any
    debit_account_id: int
    credit_account_id: int
    ledger: int
    code: int
    amount: int
    status: PendingStatus
    resolved_by: int | None
    expired_height: int | None


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
    if isinstance(account_ids, np.ndarray):
        account_ids = np.ascontiguousarray(account_ids)  # a column of records is not
    require_array("account_ids", account_ids, U128)
    slots = book.engine.account_slots(account_ids)
    known = slots != NO_KEY
    institutions = np.full(len(slots), NO_KEY, np.uint32)
    ledgers = np.zeros(len(slots), np.uint32)
    institutions[known] = book.engine.standings_at(slots[known])[1]
    ledgers[known] = book.engine.records_at(slots[known])["ledger"]
    return institutions, ledgers


def accounts_table(book: Book) -> pa.Table:
    """All accounts in order of creation.

    Columns: id (16 bytes, big-endian), ledger, code, flags, owner_key, institution, the four totals (minor units; each
    with a second column named `_u128`, docs/parquet-schema.md) and timestamp (nanoseconds, UTC).
    """
    pa = pyarrow()
    records = book.engine.accounts()
    columns = {
        "id": id_column(records["id"]),
        "ledger": pa.array(np.ascontiguousarray(records["ledger"])),
        "code": pa.array(np.ascontiguousarray(records["code"])),
        "flags": pa.array(np.ascontiguousarray(records["flags"])),
        "owner_key": pa.array(book.engine.owners()),
        "institution": pa.array(book.engine.institutions()),
    }
    for name in _TOTALS:
        columns |= amount_columns(name, records[name])
    columns["timestamp"] = time_column(records["timestamp"])
    return pa.table(columns)


class Queries:
    """Questions about a chain, its present and its past.

    Parameters
    ----------
    book : Book
    headers : sequence of Header
        From height 1 on; it may grow.
    block : callable
        Gives the block at a height.
    reading : callable
        A context in which the book stands still and shows what is durable.
    """

    def __init__(
        self,
        book: Book,
        headers: Sequence[Header],
        block: Callable[[int], Block],
        reading: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._book = book
        self._headers = headers
        self._block = block
        self._reading = reading
        self._places = Places(headers)

    # Transfers by id -------------------------------------------------------------------------------------------------

    def place(self, transfer_id: int) -> tuple[int, int] | None:
        """Height and index of a transfer; None if none took effect with this id."""
        with self._reading():
            position = int(self._book.engine.transfer_positions(u128_array([transfer_id]))[0])
        return None if position == _NOWHERE else self._places.place(position)  # what was read is durable now

    def transfer(self, transfer_id: int) -> TransferState:
        """A transfer that took effect; InputError if none did with this id."""
        ids = u128_array([transfer_id])
        with self._reading():
            engine = self._book.engine
            position = int(engine.transfer_positions(ids)[0])
            if position == _NOWHERE:
                raise InputError(f"transfer {transfer_id}: did not take effect in this ledger")
            full = engine.lookup_transfers(ids)[0][0]
            flags, status, resolver, expired_height = int(full["flags"]), PendingStatus.NONE, 0, 0
            if flags & _PENDING:
                status = PendingStatus(int(engine.lookup_pendings(ids)[0][0]))
                resolvers, heights = engine.resolutions(ids)
                resolver, expired_height = u128_int(resolvers[0]), int(heights[0])
        height, index = self._places.place(position)  # what was read is durable now
        record = self._block(height).body.transfers[index] if flags & _COMPLETED else full
        return TransferState(
            transfer_id,
            height,
            index,
            record,
            u128_int(full["debit_account_id"]),
            u128_int(full["credit_account_id"]),
            int(full["ledger"]),
            int(full["code"]),
            u128_int(full["amount"]),
            status,
            resolver or None,
            expired_height or None,
        )

    def transfers_by_id(self, transfer_ids: Iterable[int] | NDArray[Any]) -> pa.Table:
        """One row for each id, in order: columns as `transfers`, then status, resolved_by and expired_height.

        Where no transfer took effect with an id, all but the id is null.
        """
        pa = pyarrow()
        ids = _ids(transfer_ids)
        with self._reading():
            positions = self._book.engine.transfer_positions(ids)
            statuses = self._book.engine.lookup_pendings(ids)[0]
            resolvers, expired = self._book.engine.resolutions(ids)
        found = np.flatnonzero(positions != _NOWHERE)
        order = found[np.argsort(positions[found], kind="stable")]
        rows = np.full(len(ids), -1)
        rows[order] = np.arange(len(order))
        take = pa.array(rows, mask=rows < 0)
        table = pa.Table.from_batches(self._rows_at(positions[order]), schema=transfers_schema()).take(take)
        names = np.array([status.name for status in PendingStatus], object)
        added = {
            "status": pa.array(names[statuses], pa.string(), mask=positions == _NOWHERE),
            "resolved_by": id_column(resolvers, zero_is_null=True),
            "expired_height": pa.array(expired, mask=expired == 0),
        }
        table = table.set_column(table.schema.get_field_index("id"), "id", id_column(ids))
        for name, column in added.items():
            table = table.append_column(name, column)
        return table

    def _rows_at(self, positions: NDArray[np.uint64]) -> Iterator[pa.RecordBatch]:
        """Transfers at rising positions, each block read once."""
        heights, indexes = self._places.places(positions)
        for height in np.unique(heights).tolist():
            block = self._block(height)
            with self._reading():
                batch = transfers_rows(self._book.engine, block, indexes[heights == height].astype(np.int64))
            yield batch

    # Accounts --------------------------------------------------------------------------------------------------------

    def balance(self, account_id: int, height: int | None, time_ns: int | None) -> Balance:
        """Totals of an account now, after the block at a height, or after all that has a time up to `time_ns`."""
        _require_optional(height=height, time_ns=time_ns)
        if height is not None and time_ns is not None:
            raise InputError("balance: expected a height or a time, got both")
        ids = u128_array([account_id])
        with self._reading():
            engine = self._book.engine
            slot = int(engine.account_slots(ids)[0])
            if slot == NO_KEY:
                raise InputError(f"account {account_id}: not in this ledger")
            record = engine.records_at(np.array([slot], np.uint32))[0]
            if height is not None:
                self._require_height(height)
                self._require_open(account_id, slot < self._places.accounts_up_to(height), f"at height {height}")
                return _balance(engine.balances_at(ids, self._places.transfers_up_to(height), height)[0])
            if time_ns is not None:
                self._require_open(account_id, int(record["timestamp"]) <= time_ns, f"at time {time_ns}")
                return _balance(engine.balances_at_time(ids, min(time_ns, _FOREVER))[0])
            return _balance([record[name] for name in _TOTALS])

    def history(
        self, account_id: int, first_time_ns: int | None, last_time_ns: int | None, limit: int | None
    ) -> pa.Table:
        """Entries of an account, newest first: `pyledger.ledger.statement.statement_schema`."""
        first, last = _time_range(first_time_ns, last_time_ns)
        _require_optional(limit=limit)
        if limit is not None and limit < 0:
            raise InputError(f"limit: expected at least 0, got {limit}")
        ids = u128_array([account_id])
        with self._reading():
            if self._book.engine.account_slots(ids)[0] == NO_KEY:
                raise InputError(f"account {account_id}: not in this ledger")
            columns = self._book.engine.statement(ids, first, last, _FOREVER if limit is None else limit)
        return statement_table(ids[0], columns, self._places)

    # Transfers of blocks ---------------------------------------------------------------------------------------------

    def transfers(
        self,
        heights: tuple[int, int] | None,
        ledger: int | None,
        code: int | None,
        institution: int | None,
        first_time_ns: int | None,
        last_time_ns: int | None,
    ) -> pa.RecordBatchReader:
        """Transfers that all filters let through, as a stream of Arrow batches."""
        first, last = self.heights(heights)
        wanted = _Filter(ledger, code, institution, *_time_range(first_time_ns, last_time_ns))
        return pyarrow().RecordBatchReader.from_batches(transfers_schema(), self._batches(first, last, wanted))

    def heights(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """First and last height of the blocks wanted, all by default; InputError if some are not there."""
        if wanted is None:
            return 1, len(self._headers)
        require_tuple("heights", wanted, (2,), "the first and the last")
        self._require_height(wanted[0], 1)
        self._require_height(wanted[1], wanted[0])
        return wanted

    def rows(self, height: int) -> BlockRows:
        """All that the block at a height did, as Arrow batches."""
        block = self._block(height)
        with self._reading():
            expired = expired_rows(self._book.engine, height, height)
            transfers = transfers_rows(self._book.engine, block)
        return BlockRows(block.header, accounts_rows(block), expired, transfers, block.body.transfers)

    def _batches(self, first: int, last: int, wanted: _Filter) -> Iterator[pa.RecordBatch]:
        for height in range(first, last + 1):
            if not self._headers[height - 1].transfers_count or self._ends_before(height, wanted.first_time):
                continue
            block = self._block(height)
            if int(block.body.transfers["timestamp"][0]) > wanted.last_time:
                return  # transfers' timestamps rise from block to block
            with self._reading():
                rows = wanted.rows(self._book, block)
                batch = transfers_rows(self._book.engine, block, rows) if len(rows) else None
            if batch is not None:
                yield batch

    def _ends_before(self, height: int, time_ns: int) -> bool:
        """Whether all timestamps of a block are before a time, as the next header tells."""
        return height < len(self._headers) and self._headers[height].time_ns <= time_ns

    def _require_height(self, height: int, lowest: int = 0) -> None:
        require_integer("height", height)
        if not lowest <= height <= len(self._headers):
            raise InputError(f"height: expected {lowest} to {len(self._headers)}, got {height}")

    @staticmethod
    def _require_open(account_id: int, is_open: bool, when: str) -> None:
        if not is_open:
            raise InputError(f"account {account_id}: not in this ledger {when}")


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which transfers are wanted."""

    ledger: int | None
    code: int | None
    institution: int | None
    first_time: int
    last_time: int

    def rows(self, book: Book, block: Block) -> NDArray[np.int64]:
        """Rows of a block, narrowed by what needs least first."""
        records = block.body.transfers
        times = records["timestamp"]
        rows = np.flatnonzero((times >= np.uint64(self.first_time)) & (times <= np.uint64(self.last_time)))
        if not len(rows) or (self.ledger is None and self.code is None and self.institution is None):
            return rows
        full = resolved(book.engine, records[rows])
        keep = np.ones(len(rows), np.bool_)
        if self.ledger is not None:
            keep &= full["ledger"] == self.ledger
        if self.code is not None:
            keep &= full["code"] == self.code
        if self.institution is not None:
            sides = [institutions_of(book.engine, full[name]) for name in ("debit_account_id", "credit_account_id")]
            keep &= (sides[0] == self.institution) | (sides[1] == self.institution)
        return rows[keep]


def _ids(ids: Iterable[int] | NDArray[Any]) -> NDArray[Any]:
    """A U128 array as it is, or one of integers."""
    if isinstance(ids, np.ndarray):
        require_array("transfer_ids", ids, U128)
        return ids
    if not isinstance(ids, Iterable):
        raise InputError(f"transfer_ids: expected integers or an array of dtype U128, got {type(ids).__name__}")
    numbers = list(ids)
    for place, number in enumerate(numbers):
        require_number(f"transfer_ids[{place}]", number, 128)
    return u128_array(numbers)


def _require_optional(**numbers: int | None) -> None:
    """Refuse what is neither None nor an integer."""
    for name, number in numbers.items():
        if number is not None:
            require_integer(name, number)


def _time_range(first: int | None, last: int | None) -> tuple[int, int]:
    _require_optional(first_time_ns=first, last_time_ns=last)
    first, last = first or 0, _FOREVER if last is None else last
    if not 0 <= first <= _FOREVER or not 0 <= last <= _FOREVER:
        raise InputError(f"times: expected nanoseconds in [0, 2**64 - 1], got {first} and {last}")
    return first, last


def _balance(totals: Any) -> Balance:
    return Balance(*(u128_int(total) for total in totals))
