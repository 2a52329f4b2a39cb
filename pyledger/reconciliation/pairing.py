"""Pairing of the rows of two sides that share a set of fields: keyed hash, partition, sort, walk.

Two rows are taken as equal if SipHash-2-4-128 of their fields is, under a key drawn for the run: for n rows a side, the
chance that any two different rows meet is below n**2 / 2**128, whatever the rows, as their makers don't know the key.
The result depends neither on the key nor on the number of threads or passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.reconciliation import _matching, _siphash
from pyledger.reconciliation.columns import ROW, Key, Side

__all__ = ["Half", "Pairing", "Resources", "pair"]

_CHUNK_ROWS = 8192
_PARTITION_ROWS = 4096
_ROWS_PER_THREAD_MIN = 50_000
_PARTITION_BITS_MAX = 12
_WORKING_BYTES_PER_ROW = 48


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a reconciliation may use.

    Parameters
    ----------
    key : tuple of int
        Two 64-bit words, unknown to whoever made the rows.
    threads : int
        0 means all cores.
    memory_max_bytes : int
        Cap on the working memory of one pairing: 48 bytes for each row of both sides, fewer in more passes.
    """

    key: Key
    threads: int = 0
    memory_max_bytes: int = 1 << 31


@dataclass(frozen=True, slots=True)
class Half:
    """What a pairing says of the rows of one side; 12 bytes a row.

    Parameters
    ----------
    partner : NDArray, shape (n,), int32
        Position on the other side: of the row it is paired with, or for a surplus row of the last row equal to it;
        -1 if there is none.
    others : NDArray, shape (n,), uint32
        Rows of the other side that are equal to it.
    rank : NDArray, shape (n,), uint32
        Rows of its own side before it that are equal to it.
    """

    partner: NDArray[np.int32]
    others: NDArray[np.uint32]
    rank: NDArray[np.uint32]

    @classmethod
    def unpaired(cls, rows: int) -> Half:
        """Return the half of `rows` rows without equals."""
        return cls(np.full(rows, -1, np.int32), np.zeros(rows, np.uint32), np.zeros(rows, np.uint32))

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Tell which rows have a partner of their own."""
        return self.rank < self.others


@dataclass(frozen=True, slots=True)
class Pairing:
    """The two halves of a pairing."""

    ledger: Half
    statement: Half

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of the pairs, ledger and statement, ascending by ledger."""
        ours = np.flatnonzero(self.ledger.paired)
        return ours, self.ledger.partner[ours].astype(np.int64)


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
    result = Pairing(Half.unpaired(len(ledger)), Half.unpaired(len(statement)))
    rows = len(ledger) + len(statement)
    passes = max(1, -(-rows * _WORKING_BYTES_PER_ROW // resources.memory_max_bytes))
    bits = _partition_bits(max(len(ledger), len(statement)) // passes)
    threads = min(_core.thread_count(resources.threads), 1 + rows // _ROWS_PER_THREAD_MIN)
    for number in range(passes):
        turn = (number, passes)
        parts = [_partition(side, fields, resources.key, turn, bits, threads) for side in (ledger, statement)]
        _pair_partitions(parts[0], parts[1], result, threads)
    return result


@dataclass(frozen=True, slots=True)
class _Partitions:
    """Entries (key high, key low, position), by partition: partition p is entries[starts[p]:starts[p + 1]]."""

    entries: NDArray[np.uint64]
    starts: NDArray[np.int64]


def _partition_bits(rows: int) -> int:
    return min(max((rows // _PARTITION_ROWS).bit_length(), 1), _PARTITION_BITS_MAX)


def _partition(
    side: Side, fields: tuple[str, ...], key: Key, turn: tuple[int, int], bits: int, threads: int
) -> _Partitions:
    """Hash the rows, keep those of this pass, and sort them into partitions by the top bits of their keys."""
    slices = _slices(len(side), threads)
    hashed = _each(threads, lambda s: _keys(side, fields, key, turn, slices[s]), len(slices))
    counts = np.zeros((len(slices), 1 << bits), np.int64)
    shift = 64 - bits
    _each(threads, lambda s: _matching.count_keys(hashed[s][0], shift, counts[s]), len(slices))
    ends = counts.T.ravel().cumsum().reshape(-1, len(slices)).T
    cursors = np.ascontiguousarray(ends - counts)
    starts = np.append(cursors[0], counts.sum())
    entries = np.empty((starts[-1], 3), np.uint64)
    if len(entries):
        _each(threads, lambda s: _matching.scatter_keys(*hashed[s], shift, cursors[s], entries), len(slices))
    return _Partitions(entries, starts)


def _keys(
    side: Side, fields: tuple[str, ...], key: Key, turn: tuple[int, int], rows: range
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Keys and positions of the rows of a slice that belong to pass `turn` (number, of how many)."""
    number, passes = turn
    keys, positions = np.empty((len(rows), 2), np.uint64), np.empty(len(rows), np.int32)
    kept = 0
    for found, first in hash_fields(side, fields, key, rows):
        mine = np.flatnonzero(found[:, 0] % np.uint64(passes) == number)
        keys[kept : kept + len(mine)] = found[mine]
        positions[kept : kept + len(mine)] = mine + first
        kept += len(mine)
    return keys[:kept], positions[:kept]


def hash_fields(side: Side, fields: tuple[str, ...], key: Key, rows: range) -> Iterator[tuple[NDArray[np.uint64], int]]:
    """Yield the keys of some thousand rows at a time, shape (m, 2), with the position of the first."""
    buffer = np.zeros(min(_CHUNK_ROWS, len(rows)), ROW)
    out = np.empty((len(buffer), 2), np.uint64)
    words = buffer.view(np.uint64).reshape(-1, ROW.itemsize // 8)
    for first in rows[::_CHUNK_ROWS]:
        count = min(_CHUNK_ROWS, rows.stop - first)
        for field in fields:
            buffer[field][:count] = side.columns[field][first : first + count]
        _siphash.hash_rows(words[:count], *key, out[:count])
        yield out[:count], first


def _pair_partitions(ledger: _Partitions, statement: _Partitions, result: Pairing, threads: int) -> None:
    ours, theirs = result.ledger, result.statement
    cuts = _slices(len(ledger.starts) - 1, 8 * threads)

    def work(cut: int) -> None:
        _matching.pair_partitions(
            ledger.entries,
            ledger.starts,
            statement.entries,
            statement.starts,
            cuts[cut].start,
            cuts[cut].stop,
            ours.partner,
            ours.others,
            ours.rank,
            theirs.partner,
            theirs.others,
            theirs.rank,
        )

    _each(threads, work, len(cuts))


def _slices(rows: int, count: int) -> list[range]:
    return [range(rows * part // count, rows * (part + 1) // count) for part in range(count)]


def _each(threads: int, work: Callable[[int], T], count: int) -> list[T]:
    """Results of work(0), work(1), ... in this order, done by so many threads."""
    if threads == 1:
        return [work(task) for task in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(count)))
