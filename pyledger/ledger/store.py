"""The engine's memory kept bounded: sealing of old transfers, and snapshots to start again from.

Both may run in a thread beside the one that posts: the native calls let go of the GIL, and hold the engine only for the
moments in which something is taken from it or put in. What is written here is derived from the blocks; a file that is
not right, bit for bit, is refused with StorageError, and then the blocks must be executed from the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.errors import InputError, StorageError
from pyledger.types import ACCOUNT, TRANSFER, U128

__all__ = [
    "ACCOUNT_COLUMNS",
    "SEGMENT_DEFAULT",
    "SNAPSHOT_DTYPES",
    "WINDOW_DEFAULT",
    "SealedTransfers",
    "SnapshotTaker",
    "restore_engine",
    "segment_files",
    "take_snapshot",
]

WINDOW_DEFAULT: Final = 1 << 17
SEGMENT_DEFAULT: Final = 1 << 17
_ACCOUNTS_AT_ONCE: Final = 1 << 13
_PAUSE_SECONDS: Final = 0.0005
_SUFFIX: Final = ".segment"

_U8, _U32, _U64 = (np.dtype(name) for name in ("u1", "<u4", "<u8"))

SNAPSHOT_DTYPES: Final[dict[str, tuple[np.dtype[Any], int]]] = {
    "format": (_U32, 0),
    "height": (_U64, 0),
    "account_count": (_U64, 0),
    "counts": (_U64, 0),
    "hash_key": (_U64, 0),
    "key_institutions": (_U32, 0),
    "key_roles": (_U32, 0),
    "key_valid_from": (_U64, 0),
    "key_valid_until": (_U64, 0),
    "sequence_institutions": (_U32, 0),
    "sequence_next": (_U64, 0),
    "mandate_slots": (_U32, 0),
    "mandate_holders": (_U32, 0),
    "mandate_amounts": (U128, 0),
    "mandate_until": (_U64, 0),
    "moved": (_U8, 52),
    "touched": (_U32, 0),
    "accounts": (ACCOUNT, 0),
    "owners": (_U32, 0),
    "last_events": (_U64, 0),
    "failed_ids": (U128, 0),
    "expiries": (_U8, 34),
    "links": (_U8, 10),
    "pendings": (_U8, 13),
    "old_pendings": (_U8, 13),
    "old_pending_records": (TRANSFER, 0),
    "segments": (_U8, 28),
    "spans": (_U8, 24),
    "block_files": (_U8, 0),
}
"""Arrays of an engine's snapshot: dtype, and bytes of a row where rows are packed items."""


ACCOUNT_COLUMNS: Final = ("accounts", "owners", "last_events")
"""Those with one row an account, which are copied piece by piece."""


class SealedTransfers:
    """What an engine does with its old transfers.

    Parameters
    ----------
    engine : _core.Engine
        New, or `restore_engine`'s, which has its store open.
    folder : Path
        For segments; it must exist.
    window : int, optional
        Newest transfers that stay in memory, 150 bytes each.
    segment : int, optional
        Transfers that are sealed at once, at most 2**24.
    opened : bool, optional
        Whether the engine's store is open.
    """

    def __init__(
        self,
        engine: _core.Engine,
        folder: Path,
        *,
        window: int = WINDOW_DEFAULT,
        segment: int = SEGMENT_DEFAULT,
        opened: bool = False,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._window = window
        self._segment = segment
        self._files: dict[Path, int] = {}
        if opened:
            self._files = {Path(path): number for number, path in enumerate(engine.block_files())}
        else:
            engine.open_store(str(folder))

    def add_block(self, path: Path, records_offset: int, effects_offset: int, count: int) -> None:
        """Tell where the next durable block's transfers lie.

        Parameters
        ----------
        path : Path
            File of the block.
        records_offset : int
            Byte at which its transfers begin, 128 bytes each.
        effects_offset : int
            Byte at which the amounts that took effect begin, 16 bytes each; 0 if they are those of the records.
        count : int
            Number of transfers.
        """
        if path not in self._files:
            self._files[path] = self._engine.add_block_file(str(path))
        self._engine.add_block(self._files[path], records_offset, effects_offset, count)

    def seal(self) -> int:
        """Seal what is older than the window and do the merging that is due; the number of transfers sealed.

        Raises
        ------
        StorageError
            If a segment can't be written. The engine is as before.
        """
        sealed = 0
        try:
            while count := self._engine.seal(self._window, self._segment):
                sealed += count
                while self._engine.tidy_store():
                    pass
        except RuntimeError as error:
            raise StorageError(f"{self._folder}: a segment could not be written: {error}") from error
        return sealed

    def remove_unused(self, *snapshots: dict[str, NDArray[Any]]) -> None:
        """Remove segment files that neither the engine nor one of the snapshots needs."""
        needed = set(self._engine.segment_files())
        for snapshot in snapshots:
            needed.update(segment_files(snapshot))
        for path in self._folder.glob("*" + _SUFFIX):
            if path.name not in needed:
                path.unlink()


def segment_files(snapshot: dict[str, NDArray[Any]]) -> list[str]:
    """Names of the segment files that a snapshot needs."""
    rows = np.ascontiguousarray(snapshot["segments"][:, :16]).view("<u8")
    return [f"{first:016x}-{count:08x}{_SUFFIX}" for first, count in rows.tolist()]


class SnapshotTaker:
    """Takes a snapshot of an engine in two steps: the small arrays at once, the accounts while posting goes on.

    Between the two the engine keeps the old values of accounts that change before their turn. It is held for the small
    arrays (10 bytes a transfer of the window, 141 a live pending one) and for 8,192 accounts at a time. A context
    manager: at its end the engine keeps no old values any more.

    Parameters
    ----------
    engine : _core.Engine

    Attributes
    ----------
    arrays : dict of str to NDArray
        The small ones.
    account_count : int

    Raises
    ------
    InputError
        If the engine has no store, a block's place is not known yet, or a block is open.
    """

    def __init__(self, engine: _core.Engine) -> None:
        self._engine = engine
        try:
            self.arrays = engine.begin_snapshot()
        except ValueError as error:
            raise InputError(str(error)) from error
        self.account_count = int(self.arrays["account_count"][0])

    def __enter__(self) -> SnapshotTaker:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.end_snapshot()

    def accounts(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the accounts as they were, in order: arrays `ACCOUNT_COLUMNS`, overwritten when the next are asked."""
        count = self.account_count
        columns = {name: np.empty(min(count, _ACCOUNTS_AT_ONCE), SNAPSHOT_DTYPES[name][0]) for name in ACCOUNT_COLUMNS}
        for first in range(0, count, _ACCOUNTS_AT_ONCE):
            piece = {name: column[: count - first] for name, column in columns.items()}
            self._engine.copy_accounts(*piece.values())
            yield piece
            time.sleep(_PAUSE_SECONDS)  # whoever waits for the engine gets it


def take_snapshot(engine: _core.Engine) -> dict[str, NDArray[Any]]:
    """Return the engine's state as named arrays, all as of one moment: `SnapshotTaker` in one call."""
    with SnapshotTaker(engine) as taker:
        pieces = [{name: column.copy() for name, column in piece.items()} for piece in taker.accounts()]
    nothing = {name: np.empty(0, SNAPSHOT_DTYPES[name][0]) for name in ACCOUNT_COLUMNS}
    return taker.arrays | {
        name: np.concatenate([nothing[name], *(piece[name] for piece in pieces)]) for name in ACCOUNT_COLUMNS
    }


def restore_engine(state: dict[str, NDArray[Any]], folder: Path) -> _core.Engine:
    """Return an engine that goes on as the one that gave the snapshot.

    Parameters
    ----------
    state : dict of str to NDArray
        What `take_snapshot` returned.
    folder : Path
        Folder of the segments; block files must be where they were.

    Raises
    ------
    StorageError
        If a segment or block file is missing or not what it was, or the arrays can't be a snapshot.
    """
    try:
        return _core.Engine.restore(state, str(folder))
    except (ValueError, TypeError, RuntimeError) as error:
        raise StorageError(f"{folder}: the snapshot can't be used: {error}") from error
