"""Control totals: per payer, payee and ledger how many transfers, how much, and a hash of which ones.

Two institutions keep them block by block, each from its own book, and compare a few kilobytes instead of their books:
a pair whose totals agree holds the same transfers, and only a pair that differs is reconciled row by row. The hash of
a set is the sum modulo 2**128 of the keyed hashes of its members (Clarke, Devadas, van Dijk, Gassend, Suh,
"Incremental multiset hash functions", 2003: MSet-Add-Hash), so neither order nor batches matter, and a lost, doubled
or changed transfer shows. It finds errors and the tampering of those who don't know the key. Who knows it could search
for another set with the same sum: the key is shared by the two institutions of a comparison and nobody else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.reconciliation import _siphash, _totals
from pyledger.types import U128

__all__ = ["TOTAL", "ControlTotals", "differing_pairs"]

TOTAL = np.dtype(
    [
        ("ledger", "<u4"),
        ("payer", "<u4"),
        ("payee", "<u4"),
        ("reserved", "<u4"),
        ("count", "<u8"),
        ("amount", U128),
        ("hash", U128),
    ]
)
"""The total of one payer, payee and ledger: number of transfers, sum of amounts (minor units), multiset hash."""

_HASHED = np.dtype(
    [("reference", "<u8", (2,)), ("amount", "<u8", (2,)), ("payer", "<u4"), ("payee", "<u4"), ("ledger", "<u8")]
)
_CHUNK_ROWS = 8192
_LEDGERS_MAX = 1024
_WORDS = 5
_MASK_32 = np.uint64(0xFFFF_FFFF)


class ControlTotals:
    """Keeps the totals of a book, batch by batch.

    Parameters
    ----------
    participants : int
        Number of institutions, at least 1; payers and payees are indexes below it.
    key : bytes
        16 bytes that both sides of a comparison share.
    memory_max_bytes : int, optional
        Cap on the totals: 40 bytes * participants**2 for each ledger.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """

    def __init__(self, participants: int, key: bytes, *, memory_max_bytes: int = 1 << 30):
        matrices_max = memory_max_bytes // (8 * _WORDS * participants**2) if participants > 0 else 0
        if matrices_max < 1:
            raise InputError(
                f"participants: expected at least 1, and 40 * participants**2 bytes within {memory_max_bytes}, "
                f"got {participants}"
            )
        if len(key) != 16:
            raise InputError(f"key: expected 16 bytes, got {len(key)}")
        self.participants = participants
        self._key = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        self._ledgers_max = min(_LEDGERS_MAX, matrices_max)
        self._ledgers = np.zeros(0, np.uint32)
        self._totals = np.zeros((0, participants, participants, _WORDS), np.uint64)
        self._amount = 0

    def add(
        self,
        payer: NDArray[np.uint32],
        payee: NDArray[np.uint32],
        ledger: NDArray[np.uint32],
        amount: NDArray[Any],
        reference: NDArray[Any],
    ) -> None:
        """Add transfers; all of them, or none if one is wrong.

        Parameters
        ----------
        payer, payee : NDArray, shape (n,), uint32
            Institution indexes below `participants`.
        ledger : NDArray, shape (n,), uint32
        amount : NDArray, shape (n,), U128
            Minor units.
        reference : NDArray, shape (n,), U128
            Transfer ids.

        Raises
        ------
        InputError
            If a dtype or length differs, an index is out of range, there are more than 1024 ledgers (or more than the
            memory cap allows), or the sum of all amounts reaches 2**127; names the row, counted from 1.
        """
        self._check(payer, payee, ledger, amount, reference)
        total = self._amount + _exact_sum(amount)
        if total >> 127:
            raise InputError("the sum of all amounts reaches 2**127", field="amount")
        self._register(np.unique(ledger))
        self._amount = total
        for first in range(0, len(payer), _CHUNK_ROWS):
            cut = slice(first, first + _CHUNK_ROWS)
            self._add(payer[cut], payee[cut], ledger[cut], amount[cut], reference[cut])

    def merge(self, other: ControlTotals) -> None:
        """Add everything that `other`, of as many participants and the same key, holds.

        Raises
        ------
        InputError
            As `add`; nothing is merged then.
        """
        if (other.participants, other._key) != (self.participants, self._key):
            raise InputError("control totals: expected the same participants and the same key on both")
        total = self._amount + other._amount
        if total >> 127:
            raise InputError("the sum of all amounts reaches 2**127", field="amount")
        self._register(other._ledgers)
        self._amount = total
        for slot, part in zip(np.searchsorted(self._ledgers, other._ledgers), other._totals, strict=True):
            _totals.add_totals(part, self._totals[slot])

    def totals(self) -> NDArray[np.void]:
        """Return the totals that hold transfers, as TOTAL, by ledger, payer, payee."""
        slot, payer, payee = np.nonzero(self._totals[..., 0])
        words = self._totals[slot, payer, payee]
        result = np.zeros(len(slot), TOTAL)
        result["ledger"], result["payer"], result["payee"] = self._ledgers[slot], payer, payee
        result["count"] = words[:, 0]
        result["amount"]["lo"], result["amount"]["hi"] = words[:, 1], words[:, 2]
        result["hash"]["lo"], result["hash"]["hi"] = words[:, 3], words[:, 4]
        return result

    def _check(self, payer: Any, payee: Any, ledger: Any, amount: Any, reference: Any) -> None:
        columns = {"payer": payer, "payee": payee, "ledger": ledger, "amount": amount, "reference": reference}
        for name, column in columns.items():
            dtype = U128 if name in ("amount", "reference") else np.dtype(np.uint32)
            if column.shape != (len(payer),) or column.dtype != dtype:
                message = f"expected shape ({len(payer)},), {dtype}, got {column.shape}, {column.dtype}"
                raise InputError(message, field=name)
        for name in ("payer", "payee"):
            wrong = np.flatnonzero(columns[name] >= self.participants)
            if len(wrong):
                message = f"expected an institution index below {self.participants}, got {columns[name][wrong[0]]}"
                raise InputError(message, row=int(wrong[0]) + 1, field=name)

    def _register(self, ledgers: NDArray[np.uint32]) -> None:
        """Make room for ledgers that were not met before, keeping them ascending."""
        known = np.union1d(self._ledgers, ledgers)
        if len(known) > self._ledgers_max:
            raise InputError(f"expected at most {self._ledgers_max} ledgers, got {len(known)}", field="ledger")
        if len(known) > len(self._ledgers):
            totals = np.zeros((len(known), *self._totals.shape[1:]), np.uint64)
            totals[np.searchsorted(known, self._ledgers)] = self._totals
            self._ledgers, self._totals = known, totals

    def _add(self, payer: Any, payee: Any, ledger: Any, amount: Any, reference: Any) -> None:
        rows = np.zeros(len(payer), _HASHED)
        rows["payer"], rows["payee"], rows["ledger"] = payer, payee, ledger
        for name, column in (("reference", reference), ("amount", amount)):
            rows[name][:, 0], rows[name][:, 1] = column["lo"], column["hi"]
        hashes = np.empty((len(payer), 2), np.uint64)
        _siphash.hash_rows(rows.view(np.uint64).reshape(len(payer), -1), *self._key, hashes)
        slot = np.searchsorted(self._ledgers, ledger).astype(np.uint32)
        _totals.add_transfers(slot, payer, payee, amount["lo"], amount["hi"], hashes, self._totals)


def differing_pairs(ours: NDArray[np.void], theirs: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Say where two books differ.

    Parameters
    ----------
    ours, theirs : NDArray, shape (n,), TOTAL
        What `totals` returned on either side, under the same key.

    Returns
    -------
    ours, theirs : NDArray, shape (m,), TOTAL
        The totals of each payer, payee and ledger whose totals differ, one beside the other, by ledger, payer, payee;
        zeros where a side has no transfers.

    Raises
    ------
    InputError
        If a side is not of dtype TOTAL or not strictly ascending by ledger, payer, payee.
    """
    _require_ascending("ours", ours)
    _require_ascending("theirs", theirs)
    both = np.concatenate([ours, theirs])
    order = np.lexsort((both["payee"], both["payer"], both["ledger"]))
    first = np.ones(len(both), np.bool_)
    first[1:] = _pair_words(both[order][1:]) != _pair_words(both[order][:-1])
    group = np.empty(len(both), np.int64)
    group[order] = np.cumsum(first) - 1
    aligned = np.zeros((2, int(first.sum())), TOTAL)
    for name in ("ledger", "payer", "payee"):
        aligned[name][:] = both[order][first][name]
    aligned[0, group[: len(ours)]] = ours
    aligned[1, group[len(ours) :]] = theirs
    differ = aligned[0] != aligned[1]
    return aligned[0, differ], aligned[1, differ]


def _pair_words(totals: NDArray[np.void]) -> NDArray[np.void]:
    return totals[["ledger", "payer", "payee"]]


def _require_ascending(name: str, totals: NDArray[np.void]) -> None:
    if totals.dtype != TOTAL or totals.ndim != 1:
        raise InputError(f"{name}: expected shape (n,), TOTAL, got {totals.shape}, {totals.dtype}")
    order = np.lexsort((totals["payee"], totals["payer"], totals["ledger"]))
    repeated = (_pair_words(totals[1:]) == _pair_words(totals[:-1])).any()
    if repeated or not np.array_equal(order, np.arange(len(totals))):
        raise InputError(f"{name}: expected each ledger, payer and payee once, ascending")


def _exact_sum(amount: NDArray[Any]) -> int:
    """Sum of U128 values as a Python integer: each 32-bit part fits 64 bits for fewer than 2**32 rows."""
    low, high = amount["lo"], amount["hi"]
    parts = (low & _MASK_32, low >> 32, high & _MASK_32, high >> 32)
    return sum(int(part.sum(dtype=np.uint64)) << 32 * place for place, part in enumerate(parts))
