"""The change feed: the rows of each block as it becomes durable, once each, from a height on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.ledger.arrow import pyarrow
from pyledger.ledger.blocks import Header
from pyledger.types import TRANSFER

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BlockRows", "follow"]

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class BlockRows:
    """A block's header and what it did, as Arrow batches (columns: docs/parquet-schema.md).

    Parameters
    ----------
    header : Header
    accounts : pyarrow.RecordBatch
        Created.
    expired : pyarrow.RecordBatch
        Pending transfers that the block's time ended; that came before its transfers.
    transfers : pyarrow.RecordBatch
        That took effect.
    records : NDArray, shape (t,), dtype TRANSFER
        The same as the block holds them.
    """

    header: Header
    accounts: pa.RecordBatch
    expired: pa.RecordBatch
    transfers: pa.RecordBatch
    records: NDArray[Any]

    @property
    def height(self) -> int:
        """Height of the block."""
        return self.header.height

    def transfers_with_records(self) -> pa.RecordBatch:
        """Transfers with a further column: the 128 bytes of each record."""
        pa = pyarrow()
        size = TRANSFER.itemsize
        buffer = pa.py_buffer(np.ascontiguousarray(self.records).tobytes())
        column = pa.Array.from_buffers(pa.binary(size), len(self.records), [None, buffer])
        field = pa.field("record", pa.binary(size), False)
        arrays = [*self.transfers.columns, column]
        return pa.record_batch(arrays, schema=self.transfers.schema.append(field))


def follow(
    known_height: Callable[[], int], rows: Callable[[int], BlockRows], from_height: int, wait: float | None
) -> Iterator[BlockRows]:
    """Give each block from a height on, in order.

    Parameters
    ----------
    known_height : callable
        Looks how far blocks are durable.
    rows : callable
        Gives the rows of the block at a height.
    from_height : int
        The first to give, from 1; it may not exist yet.
    wait : float or None
        Seconds to wait for a further block before it ends; None: for ever.
    """
    if from_height < 1:
        raise InputError(f"from_height: expected at least 1, got {from_height}")
    if wait is not None and not wait >= 0:  # NaN is no time either
        raise InputError(f"wait: expected seconds from 0 on, got {wait}")
    return _follow(known_height, rows, from_height, wait)


def _follow(
    known_height: Callable[[], int], rows: Callable[[int], BlockRows], height: int, wait: float | None
) -> Iterator[BlockRows]:
    idle_since = time.monotonic()
    while True:
        while height <= known_height():
            yield rows(height)
            height += 1
            idle_since = time.monotonic()
        left = _POLL_SECONDS if wait is None else idle_since + wait - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _POLL_SECONDS))
