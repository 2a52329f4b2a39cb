"""Queries of the command line: times as people write them, rows as JSON and as tables."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyledger.errors import InputError, StorageError
from pyledger.ledger.arrow import EXACT
from pyledger.ledger.audit import Reach
from pyledger.ledger.genesis import Genesis
from pyledger.node.traces import reach_of

if TYPE_CHECKING:
    import pyarrow as pa

    from pyledger.ledger.feed import BlockRows

__all__ = ["feed_lines", "feed_summary", "moment_ns", "plain_rows", "reach_from", "time_text"]

_SECOND = 10**9
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def moment_ns(text: str) -> int:
    """Nanoseconds since 1970 UTC from a time as people write it.

    Parameters
    ----------
    text : str
        A date (the end of that day, UTC), a date and time in ISO 8601 (UTC if it names no zone), or nanoseconds.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if text.isdecimal() and len(text) > 8:
        return int(text)
    try:
        if len(text) == 10:
            day = datetime.date.fromisoformat(text) + datetime.timedelta(days=1)
            return _nanoseconds(datetime.datetime.combine(day, datetime.time(), datetime.UTC)) - 1
        moment = datetime.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InputError(f"time: expected a date, a date and time in ISO 8601, or nanoseconds, got '{text}'") from None
    return _nanoseconds(moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC))


def reach_from(text: str, genesis: Genesis) -> Reach:
    """How far a ledger must reach, from a file's name (a proof, a header) or HEIGHT[:HASH].

    Raises
    ------
    InputError
        If it is neither, or of another chain, or the hash is not 64 hexadecimal digits.
    ProofError
        If a proof does not hold.
    StorageError
        If the file can't be read.
    """
    place = re.fullmatch(r"([0-9]+)(?::([0-9a-fA-F]{64}))?", text)
    if place:
        return reach_of((int(place[1]), bytes.fromhex(place[2]) if place[2] else None), genesis, "--reach")
    if re.fullmatch(r"[0-9]+:[0-9a-fA-F]*", text) and not Path(text).exists():
        digits = len(text.partition(":")[2])
        raise InputError(f"--reach {text}: expected a block hash of 64 hexadecimal digits, got {digits}")
    try:
        return reach_of(Path(text).read_bytes(), genesis, text)
    except OSError as error:
        expected = "expected a file, or a height with or without a block hash of 64 hexadecimal digits"
        raise StorageError(f"--reach {text}: {error.strerror}; {expected}") from error


def time_text(time_ns: int) -> str:
    """ISO 8601 with nanoseconds, UTC."""
    seconds, rest = divmod(time_ns, _SECOND)
    moment = _EPOCH + datetime.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def plain_rows(table: pa.Table | pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows for JSON: ids as 32 hexadecimal digits, amounts as integers, times as ISO 8601."""
    held = table.schema.names
    names = [name for name in held if not name.endswith(EXACT)]
    columns = [_amounts(table, name) if name + EXACT in held else _plain_column(table.column(name)) for name in names]
    for row in zip(*columns, strict=True):
        yield dict(zip(names, row, strict=True))


def feed_lines(block: BlockRows) -> Iterator[str]:
    """One JSON line for the block, then one for each account, expiry and transfer of it."""
    yield json.dumps({"type": "block", **feed_summary(block)})
    for kind, rows in (("account", block.accounts), ("expired", block.expired), ("transfer", block.transfers)):
        for row in plain_rows(rows):
            yield json.dumps({"type": kind, **row})


def feed_summary(block: BlockRows) -> dict[str, Any]:
    """What a block is and how much it holds."""
    header = block.header
    return {
        "height": header.height,
        "hash": header.hash.hex(),
        "time": time_text(header.time_ns),
        "accounts": block.accounts.num_rows,
        "expired": block.expired.num_rows,
        "transfers": block.transfers.num_rows,
    }


def _nanoseconds(moment: datetime.datetime) -> int:
    since = moment - _EPOCH
    nanoseconds = (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds * 1000
    if nanoseconds < 0:
        raise InputError("time: expected one from 1970 on")
    return nanoseconds


def _amounts(table: pa.Table | pa.RecordBatch, name: str) -> list[int | None]:
    exact = table.column(name + EXACT).to_pylist()
    return [None if value is None else int.from_bytes(value) for value in exact]


def _plain_column(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return [time_text(value) for value in column.cast(pa.int64()).to_pylist()]
    return [value.hex() if isinstance(value, bytes) else value for value in column.to_pylist()]
