"""Netting: from many obligations between institutions to one position of each institution in each ledger.

Sums are exact 128-bit integers, so positions don't depend on the order of the obligations, on how they were cut into
batches, or on the number of threads. Partial nettings merge, for work spread over threads, processes or machines.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.clearing import _netting
from pyledger.clearing._netting import Problem
from pyledger.errors import InputError, StateError
from pyledger.types import U128, u128_int

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["I128", "Bilateral", "NetPositions", "Netting", "net"]

I128 = np.dtype([("lo", "<u8"), ("hi", "<i8")])
"""A signed 128-bit integer in two's complement, little-endian, low word first; 16 bytes."""

_LEDGERS_MAX = 1024
_TABLE_SIZE = 4096
_EMPTY = 0xFFFF_FFFF
_MEMORY_MAX_BYTES = 1 << 30
_ROWS_PER_THREAD_MIN = 100_000
_WORD_MASK = (1 << 64) - 1
_TOTAL_MAX = (1 << 127) - 1
_TOTAL_MESSAGE = "the sum of all amounts reaches 2**127"
_DECIMAL_MAX = 10**38 - 1

_Columns = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class NetPositions:
    """Multilateral positions: what each institution receives less what it pays, over all others.

    Parameters
    ----------
    ledgers : NDArray, shape (l,), uint32
        Ascending.
    paid, received : NDArray, shape (l, p), U128
        Gross sums of each institution as payer and as payee, minor units.
    position : NDArray, shape (l, p), I128
        ``received - paid``, minor units; each row sums to zero. Positive: the institution is owed.
    """

    ledgers: NDArray[np.uint32]
    paid: NDArray[Any]
    received: NDArray[Any]
    position: NDArray[Any]

    def of(self, ledger: int, institution: int) -> int:
        """Position of one institution in one ledger, minor units; 0 in a ledger without obligations."""
        found = np.flatnonzero(self.ledgers == ledger)
        return u128_int(self.position[found[0], institution]) if len(found) else 0

    def of_ledger(self, slot: int) -> list[int]:
        """Positions of all institutions in ``ledgers[slot]``, minor units."""
        return [u128_int(value) for value in self.position[slot]]

    def to_arrow(self) -> pa.Table:
        """Return one row for each ledger and institution: ledger, institution, paid, received, position.

        Amounts are decimal128(38, 0), exact.

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        InputError
            If an amount has more than 38 digits.
        """
        ledgers, institutions = self.position.shape
        pa = _pyarrow()
        return pa.table(
            {
                "ledger": np.repeat(self.ledgers, institutions),
                "institution": np.tile(np.arange(institutions, dtype=np.uint32), ledgers),
                "paid": _decimals(self.paid.ravel(), "paid"),
                "received": _decimals(self.received.ravel(), "received"),
                "position": _decimals(self.position.ravel(), "position"),
            }
        )


@dataclass(frozen=True, slots=True)
class Bilateral:
    """What each payer owes each payee, gross.

    Parameters
    ----------
    ledgers : NDArray, shape (l,), uint32
        Ascending.
    owed : NDArray, shape (l, p, p), U128
        ``owed[ledger's slot, payer, payee]``, minor units; the diagonal holds payments within one institution.
    """

    ledgers: NDArray[np.uint32]
    owed: NDArray[Any]

    def net(self, ledger: int, payer: int, payee: int) -> int:
        """What `payer` owes `payee` after their two gross sums are set against each other; negative if owed."""
        found = np.flatnonzero(self.ledgers == ledger)
        if not len(found):
            return 0
        matrix = self.owed[found[0]]
        return u128_int(matrix[payer, payee]) - u128_int(matrix[payee, payer])

    def to_arrow(self) -> pa.Table:
        """Return one row for each pair with obligations: ledger, payer, payee, owed (decimal128(38, 0), exact).

        Errors as for ``NetPositions.to_arrow``.
        """
        slot, payer, payee = np.nonzero((self.owed["lo"] != 0) | (self.owed["hi"] != 0))
        return _pyarrow().table(
            {
                "ledger": self.ledgers[slot],
                "payer": payer.astype(np.uint32),
                "payee": payee.astype(np.uint32),
                "owed": _decimals(self.owed[slot, payer, payee], "owed"),
            }
        )


class Netting:
    """Adds up obligations batch by batch.

    Parameters
    ----------
    participants : int
        Number of institutions, at least 1; payers and payees are indexes below it.
    memory_max_bytes : int, optional
        Cap on the matrices: 16 bytes * participants**2 for each ledger.

    Raises
    ------
    InputError
        If participants is out of range or one matrix is larger than the cap.

    Notes
    -----
    Calls on one object take turns; for parallel work use one object a thread and `merge` them. Columns are checked
    before they are added and must not change while `add` runs.
    """

    def __init__(self, participants: int, *, memory_max_bytes: int = _MEMORY_MAX_BYTES):
        matrices_max = memory_max_bytes // (16 * participants**2) if participants > 0 else 0
        if matrices_max < 1:
            raise InputError(
                f"participants: expected at least 1, and 16 * participants**2 bytes within {memory_max_bytes}, "
                f"got {participants}"
            )
        self.participants = participants
        self._ledgers_max = min(_LEDGERS_MAX, matrices_max)
        self._table = _LedgerTable()
        self._total = 0
        self._owed = np.zeros((0, participants, participants, 2), np.uint64)
        self._turn = threading.Lock()

    def add(
        self,
        payer: NDArray[np.uint32],
        payee: NDArray[np.uint32],
        ledger: NDArray[np.uint32],
        amount: NDArray[Any],
        *,
        threads: int = 1,
    ) -> None:
        """Add obligations; all of them, or none if one is wrong.

        Parameters
        ----------
        payer, payee : NDArray, shape (n,), uint32
            Institution indexes below `participants`.
        ledger : NDArray, shape (n,), uint32
        amount : NDArray, shape (n,), uint64 or U128
            Minor units. Columns of a record array are taken as they stand, without a copy.
        threads : int, optional
            0 means all cores; each beyond the first needs matrices of its own while the call runs.

        Raises
        ------
        InputError
            If a dtype or length differs, an index is out of range, there are more than 1024 ledgers (or more than the
            memory cap allows), or the sum of all amounts reaches 2**127; names the row, counted from 1.
        """
        lo, hi = _amount_words(amount)
        for name, column in (("payer", payer), ("payee", payee), ("ledger", ledger)):
            _require_column(name, column, len(lo))
        columns = (payer, payee, ledger, lo, hi)
        with self._turn:
            table, total = self._check(columns)
            self._grow(table, total)
            self._add(columns, _core.thread_count(threads))

    def merge(self, other: Netting) -> None:
        """Add everything that `other`, of as many participants, holds.

        Raises
        ------
        InputError
            As `add`; nothing is merged then.
        """
        if other.participants != self.participants:
            raise InputError(f"participants: expected {self.participants}, got {other.participants}")
        with self._turn:
            total = self._total + other._total
            if total > _TOTAL_MAX:
                raise InputError(_TOTAL_MESSAGE, field="amount")
            table = self._table
            for ledger in other._table.order:
                if ledger not in table.order:
                    table = table.with_ledger(ledger, self._ledgers_max)
            self._grow(table, total)
            for part, ledger in zip(other._owed, other._table.order, strict=True):
                _netting.add_matrix(part, self._owed[table.order.index(ledger)])

    def positions(self) -> NetPositions:
        """Return the multilateral position of each institution in each ledger, as of now.

        Raises
        ------
        StateError
            If the positions of a ledger don't sum to zero (they do, unless memory is corrupt).
        """
        with self._turn:
            ledgers, order = self._sorted()
            sums = np.zeros((3, len(ledgers), self.participants, 2), np.uint64)
            for row, slot in enumerate(order):
                _netting.net_matrix(self._owed[slot], sums[0, row], sums[1, row], sums[2, row])
        paid, received, position = sums
        result = NetPositions(ledgers, _view(paid, U128), _view(received, U128), _view(position, I128))
        for slot, ledger in enumerate(ledgers):
            if sum(result.of_ledger(slot)) != 0:
                raise StateError(f"ledger {ledger}: positions sum to {sum(result.of_ledger(slot))}, expected 0")
        return result

    def bilateral(self) -> Bilateral:
        """Return what each payer owes each payee in each ledger, as of now (a copy)."""
        with self._turn:
            ledgers, order = self._sorted()
            return Bilateral(ledgers, _view(self._owed[order], U128))

    def _check(self, columns: _Columns) -> tuple[_LedgerTable, int]:
        """Check every row; return the table with the ledgers met and the new sum of all amounts."""
        payer, payee, ledger, _, _ = columns
        table, stop = self._table, 0
        total = np.array([self._total & _WORD_MASK, self._total >> 64], np.uint64)
        while stop < len(payer):
            stop, problem = _netting.check_obligations(
                *columns, self.participants, table.ledgers, table.slots, total, stop
            )
            if problem == Problem.LEDGER_UNKNOWN:
                table = table.with_ledger(int(ledger[stop]), self._ledgers_max, stop + 1)
            elif problem == Problem.TOTAL_TOO_LARGE:
                raise InputError(_TOTAL_MESSAGE, row=stop + 1, field="amount")
            elif problem != Problem.NONE:
                field, column = ("payer", payer) if problem == Problem.PAYER_UNKNOWN else ("payee", payee)
                message = f"expected an institution index below {self.participants}, got {column[stop]}"
                raise InputError(message, row=stop + 1, field=field)
        return table, int(total[0]) | int(total[1]) << 64

    def _grow(self, table: _LedgerTable, total: int) -> None:
        more = len(table.order) - len(self._owed)
        if more:
            self._owed = np.concatenate([self._owed, np.zeros((more, *self._owed.shape[1:]), np.uint64)])
        self._table, self._total = table, total

    def _add(self, columns: _Columns, threads: int) -> None:
        """Add checked rows, each thread into matrices of its own."""
        table, rows = self._table, len(columns[0])
        threads = max(1, min(threads, rows // _ROWS_PER_THREAD_MIN))
        sums = [self._owed, *(np.zeros_like(self._owed) for _ in range(threads - 1))]

        def work(part: int) -> None:
            cut = slice(rows * part // threads, rows * (part + 1) // threads)
            payer, payee, ledger, lo, hi = columns
            _netting.add_obligations(
                payer[cut], payee[cut], ledger[cut], lo[cut], hi[cut], table.ledgers, table.slots, sums[part]
            )

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        for part in sums[1:]:
            for matrix, total in zip(part, self._owed, strict=True):
                _netting.add_matrix(matrix, total)

    def _sorted(self) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
        ledgers = np.array(self._table.order, np.uint32)
        order = np.argsort(ledgers)
        return ledgers[order], order


class _LedgerTable:
    """Slots of the ledgers met so far: the hash table that the loops read. Never changed, only replaced."""

    def __init__(self, order: tuple[int, ...] = ()):
        self.order = order
        self.ledgers = np.zeros(_TABLE_SIZE, np.uint32)
        self.slots = np.full(_TABLE_SIZE, _EMPTY, np.uint32)
        for slot, ledger in enumerate(order):
            place = (ledger * 2654435761 & 0xFFFF_FFFF) >> 20
            while self.slots[place] != _EMPTY:
                place = (place + 1) % _TABLE_SIZE
            self.ledgers[place], self.slots[place] = ledger, slot

    def with_ledger(self, ledger: int, count_max: int, row: int | None = None) -> _LedgerTable:
        if len(self.order) == count_max:
            raise InputError(f"expected at most {count_max} ledgers, met one more: {ledger}", row=row, field="ledger")
        return _LedgerTable((*self.order, ledger))


def net(
    payer: NDArray[np.uint32],
    payee: NDArray[np.uint32],
    ledger: NDArray[np.uint32],
    amount: NDArray[Any],
    participants: int | None = None,
    *,
    threads: int = 0,
) -> NetPositions:
    """Net obligations in one call; parameters and errors as for ``Netting.add``.

    Parameters
    ----------
    participants : int, optional
        Number of institutions; without it, the largest index that occurs decides.
    threads : int, optional
        0 means all cores. The positions don't depend on it.
    """
    if participants is None:
        participants = 1 + max((int(column.max()) for column in (payer, payee) if column.size), default=0)
    netting = Netting(participants)
    netting.add(payer, payee, ledger, amount, threads=threads)
    return netting.positions()


def _amount_words(amount: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    if amount.ndim != 1 or amount.dtype not in (np.dtype(np.uint64), U128):
        raise InputError(f"amount: expected shape (n,), uint64 or U128, got {amount.shape}, {amount.dtype}")
    if amount.dtype == U128:
        return amount["lo"], amount["hi"]
    return amount, np.broadcast_to(np.uint64(0), amount.shape)


def _require_column(name: str, column: NDArray[Any], rows: int) -> None:
    if column.shape != (rows,) or column.dtype != np.uint32:
        raise InputError(f"{name}: expected shape ({rows},), uint32, got {column.shape}, {column.dtype}")


def _view(words: NDArray[np.uint64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """View (..., 2) words as 128-bit integers of the shape before the last axis."""
    return words.view(dtype)[..., 0]


def _decimals(values: NDArray[Any], field: str) -> pa.Array:
    """128-bit integers as an Arrow decimal128(38, 0) column: the same bytes, checked to have at most 38 digits."""
    pa = _pyarrow()
    large = max((abs(u128_int(value)) for value in values), default=0)
    if large > _DECIMAL_MAX:
        raise InputError(f"{field}: expected at most 38 digits for Arrow, got {large}")
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.decimal128(38, 0), len(values), buffers)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("Arrow tables need pyarrow: pip install 'pyledger[arrow]'") from error
    return pyarrow
