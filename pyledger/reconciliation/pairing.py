"""Pairing of the rows of two sides that share a set of fields: keyed hash, partition, sort, walk.

Two rows are taken as equal if SipHash-2-4-128 of their fields is, under a key drawn for the run: for n rows a side, the
chance that any two different rows meet is below n**2 / 2**128, whatever the rows, as their makers don't know the key.
The result depends neither on the key nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.reconciliation import _matching, _siphash
from pyledger.reconciliation.columns import ROW, Key, Side

__all__ = ["HALF", "WORKING_BYTES_PER_ROW", "Pairing", "Resources", "is_paired", "pair"]

HALF = np.dtype([("partner", "<i4"), ("others", "<i4"), ("rank", "<i4")])
"""What a pairing says of a row.

partner: position on the other side, of the row it is paired with, or for a surplus row of the last row equal to it; -1
if there is none. others: rows of the other side that are equal to it. rank: rows of its own side before it that are
equal to it (0 if the other side has none).
"""

WORKING_BYTES_PER_ROW = 16 + 4 + HALF.itemsize
"""Memory of a pairing for each row of both sides: key, order, result."""

_CHUNK_ROWS = 8192
_PARTITION_ROWS = 8192
_PARTITION_BITS_MAX = 12
_ROWS_PER_THREAD_MIN = 50_000


@dataclass(frozen=True, slots=True)
class Resources:
    """What a pairing may use.

    Parameters
    ----------
    key : tuple of int
        Two 64-bit words, unknown to whoever made the rows.
    threads : int
        0 means all cores.
    """

    key: Key
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a pairing found: HALF for each row of the two sides."""

    ledger: NDArray[Any]
    statement: NDArray[Any]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of the pairs, ledger and statement, ascending by ledger."""
        ours = np.flatnonzero(is_paired(self.ledger))
        return ours, self.ledger["partner"][ours].astype(np.int64)


def is_paired(half: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a partner of their own."""
    return np.asarray(half["rank"] < half["others"])


def pair(ledger: Side, statement: Side, fields: Iterable[str], resources: Resources) -> Pairing:
    """Pair rows with equal `fields` one to one, the k-th of equal rows with the k-th.

    Parameters
    ----------
    ledger, statement : Side
    fields : iterable of str
        Some of FIELDS; the others may differ.
    resources : Resources
    """
    fields = tuple(fields)
    rows = len(ledger) + len(statement)
    bits = min(max((rows // 2 // _PARTITION_ROWS).bit_length(), 1), _PARTITION_BITS_MAX)
    threads = min(_core.thread_count(resources.threads), 1 + rows // _ROWS_PER_THREAD_MIN)
    sides = [_partition(side, fields, resources.key, bits, threads) for side in (ledger, statement)]
    result = Pairing(np.empty(len(ledger), HALF), np.empty(len(statement), HALF))
    _pair_partitions(sides[0], sides[1], result, bits, threads)
    return result


@dataclass(frozen=True, slots=True)
class _Partitions:
    """Keys by position, (n, 2); positions by partition: those of partition p are order[starts[p]:starts[p + 1]]."""

    keys: NDArray[np.uint64]
    order: NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def largest(self) -> int:
        return int(np.diff(self.starts).max())


def _partition(side: Side, fields: tuple[str, ...], key: Key, bits: int, threads: int) -> _Partitions:
    """Hash the rows and order their positions by the top bits of the hash, ascending within a partition."""
    slices, shift = _slices(len(side), threads), 64 - bits
    keys, order = np.empty((len(side), 2), np.uint64), np.empty(len(side), np.int32)
    counts = np.zeros((len(slices), 1 << bits), np.int64)

    def hash_and_count(part: int) -> None:
        hash_fields(side, fields, key, slices[part], keys)
        _matching.count_keys(keys[slices[part].start : slices[part].stop], shift, counts[part])

    _each(threads, hash_and_count, len(slices))
    ends = counts.T.ravel().cumsum().reshape(-1, len(slices)).T
    cursors = np.ascontiguousarray(ends - counts)
    starts = np.append(cursors[0], len(side))

    def scatter(part: int) -> None:
        rows = slices[part]
        _matching.scatter_positions(keys, shift, rows.start, rows.stop, cursors[part], order)

    _each(threads, scatter, len(slices))
    return _Partitions(keys, order, starts)


def hash_fields(side: Side, fields: Iterable[str], key: Key, rows: range, keys: NDArray[np.uint64]) -> None:
    """Hash the fields of some rows into keys[row]; some thousand rows at a time, so that they stay in cache."""
    buffer = np.zeros(min(_CHUNK_ROWS, len(rows)), ROW)
    words = buffer.view(np.uint64).reshape(-1, ROW.itemsize // 8)
    for first in rows[::_CHUNK_ROWS]:
        last = min(first + _CHUNK_ROWS, rows.stop)
        for field in fields:
            buffer[field][: last - first] = side.columns[field][first:last]
        _siphash.hash_rows(words[: last - first], *key, keys[first:last])


def _pair_partitions(ledger: _Partitions, statement: _Partitions, result: Pairing, bits: int, threads: int) -> None:
    largest = max(ledger.largest, statement.largest)
    bucket_bits = max(largest.bit_length() - 1, 1)
    cuts = _slices(1 << bits, 8 * threads)

    def work(cut: int) -> None:
        _matching.pair_partitions(
            ledger.keys,
            ledger.order,
            ledger.starts,
            statement.keys,
            statement.order,
            statement.starts,
            cuts[cut].start,
            cuts[cut].stop,
            64 - bits - bucket_bits,
            np.empty(1 << bucket_bits, np.int64),
            np.empty((ledger.largest + 1, 3), np.uint64),
            np.empty((statement.largest + 1, 3), np.uint64),
            result.ledger.view(np.int32).reshape(-1, 3),
            result.statement.view(np.int32).reshape(-1, 3),
        )

    _each(threads, work, len(cuts))


def _slices(rows: int, count: int) -> list[range]:
    return [range(rows * part // count, rows * (part + 1) // count) for part in range(count)]


def _each(threads: int, work: Callable[[int], None], count: int) -> None:
    """Do work(0), work(1), ... on so many threads."""
    if threads == 1:
        for task in range(count):
            work(task)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))
