"""One day out of many files: the institutions' transfers in the order in which the ledger takes them.

The order is by submission time, then institution, then row. Each file rises in time, so a merge needs one batch of each
file in memory: rows are safe to hand out up to the least of the files' last loaded rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from pyledger.formats.day_files import OPAQUE, TransferBatch
from pyledger.types import TRANSFER

__all__ = ["BLOCK_ROWS", "concatenate", "merge_transfers"]

BLOCK_ROWS = 65_536
"""The transfers of a default block."""


def merge_transfers(
    sources: Sequence[Iterator[TransferBatch]], batch_rows: int = BLOCK_ROWS
) -> Iterator[TransferBatch]:
    """Merge the institutions' transfers into batches of exactly `batch_rows`, the last one shorter.

    The batches depend on the rows alone, not on how the sources cut them.

    Parameters
    ----------
    sources : sequence of iterators of TransferBatch
        One for each institution, by rising institution index, each rising in time (as ``iter_transfers`` gives).
    batch_rows : int

    Yields
    ------
    TransferBatch
        Its `institutions` and `rows` say where each transfer came from.

    Notes
    -----
    Memory: one batch of each source and one of the result. Time: a stable sort of each loaded batch.
    """
    held: list[TransferBatch] = []
    count = 0
    for part in _sorted_parts(sources):
        held.append(part)
        count += len(part)
        if count >= batch_rows:
            whole = concatenate(held)
            full = count - count % batch_rows
            for start in range(0, full, batch_rows):
                yield whole.take(slice(start, start + batch_rows))
            held = [whole.take(slice(full, count))]
            count -= full
    if count:
        yield concatenate(held)


def concatenate(batches: Sequence[TransferBatch]) -> TransferBatch:
    """Join batches, at least one, in their order."""
    if len(batches) == 1:
        return batches[0]
    columns = {
        field.name: np.concatenate([getattr(batch, field.name) for batch in batches])
        for field in fields(TransferBatch)
        if field.name != "records"
    }
    records = np.concatenate([batch.records.view(OPAQUE) for batch in batches]).view(TRANSFER)
    return TransferBatch(records, **columns)


def _sorted_parts(sources: Sequence[Iterator[TransferBatch]]) -> Iterator[TransferBatch]:
    """Yield runs of the merged order: all loaded rows up to the least of the last ones."""
    loaded: dict[int, TransferBatch] = {}
    empty = set(range(len(sources)))
    while True:
        for index in sorted(empty):
            batch = next(sources[index], None)
            if batch is not None:
                loaded[index] = batch
        if not loaded:
            return
        limit = min((int(batch.submitted_at[-1]), index) for index, batch in loaded.items())
        ready = []
        empty = set()
        for index in sorted(loaded):
            batch = loaded[index]
            # A tie with the limit goes first if it is of the same or an earlier institution.
            tie_first = index <= limit[1]
            cut = int(np.searchsorted(batch.submitted_at, limit[0], side="right" if tie_first else "left"))
            ready.append(batch.take(slice(0, cut)))
            if cut == len(batch):
                del loaded[index]
                empty.add(index)
            else:
                loaded[index] = batch.take(slice(cut, len(batch)))
        part = concatenate(ready)
        yield part.take(np.argsort(part.submitted_at, kind="stable"))
