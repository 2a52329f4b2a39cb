"""Keeping a ledger's memory bounded and its next start short: sealing and snapshots, in a thread beside the pipeline.

Durable blocks are told to the engine's store. The thread seals what is older than the window, and takes a snapshot
every so many transfers. What it writes can be made again from the journal: where that fails, it stops and says why in
the log, memory grows as it must, and the ledger goes on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError, LedgerError, StorageError
from pyledger.formats.atomic import make_folder
from pyledger.ledger.blocks import Header
from pyledger.ledger.book import Book
from pyledger.ledger.checkpoint import BookCheckpoint, restore_book
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.snapshots import SNAPSHOTS_KEPT, find_snapshot
from pyledger.ledger.store import SEGMENT_DEFAULT, WINDOW_DEFAULT, SealedTransfers
from pyledger.node.certified import Columns, decode_payload
from pyledger.node.folder import SEGMENTS_FOLDER, SNAPSHOTS_FOLDER

__all__ = ["Keeper", "Keeping", "resume_book", "snapshot_height", "tell_block"]

_LOG: Final = logging.getLogger(__name__)
_SEGMENT_ROW: Final = 28
_HEIGHT_MAX: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much stays in memory, and how long the next start takes.

    Parameters
    ----------
    window : int
        Newest transfers that stay in memory, 150 bytes each; default 131,072.
    segment : int
        Transfers that are sealed at once; default 131,072.
    snapshot_every : int
        Transfers and accounts between two snapshots: at most about so many are executed again when a ledger is opened.
        Default 2,097,152. A snapshot holds all accounts; it waits for half as many records as there are accounts, if
        that is more, so that what is written stays in proportion to what is posted.
    """

    window: int = WINDOW_DEFAULT
    segment: int = SEGMENT_DEFAULT
    snapshot_every: int = 1 << 21

    def check(self) -> None:
        """InputError for numbers that nothing could go on with."""
        if self.window < 0 or not 1 <= self.segment <= 1 << 24 or self.snapshot_every < 1:
            raise InputError(f"keeping: expected positive numbers, a segment of at most 2**24, got {self}")


def snapshot_height(path: Path) -> int:
    """Height of a ledger's newest snapshot, whole or not; 0 if there is none. Its blocks had been made durable before.

    Parameters
    ----------
    path : Path
        Folder of the ledger.
    """
    return max((_height_of(file) for file in (path / SNAPSHOTS_FOLDER).glob("*.snapshot")), default=0)


def _height_of(file: Path) -> int:
    return int(file.stem) if file.stem.isdecimal() else 0


def resume_book(genesis: Genesis, path: Path, journal: Journal) -> tuple[Book, list[Header]]:
    """The book as the newest usable snapshot has it, with its headers; a new one if there is none.

    Parameters
    ----------
    genesis : Genesis
    path : Path
        Folder of the ledger.
    journal : Journal
        A writer's, so that nobody else removes segments meanwhile; or a reader's.

    Raises
    ------
    StorageError
        If the snapshot is of a ledger with the same genesis, but with other blocks.
    """
    for height, sections in _snapshots(path / SNAPSHOTS_FOLDER, journal.height):
        try:
            book, headers = restore_book(genesis, sections, segments=path / SEGMENTS_FOLDER, blocks=journal.folder)
        except StorageError as error:
            _LOG.warning("%s: the snapshot of height %d is passed over: %s", path, height, error)
            continue
        if decode_payload(journal.read(height))[0].hash != book.tip:
            raise StorageError(f"{journal.folder}: the journal is not that of the snapshot of height {height}")
        return book, headers
    return Book(genesis), []


def _snapshots(folder: Path, height_max: int) -> Iterator[tuple[int, Any]]:
    """Heights and sections of the whole snapshots, newest first."""
    while folder.is_dir() and height_max > 0:
        snapshot, _ = find_snapshot(folder, height_max=height_max)
        if snapshot is None:
            return
        yield snapshot.height, snapshot.sections
        height_max = snapshot.height - 1


def tell_block(sealed: SealedTransfers, journal: Journal, height: int, columns: Columns) -> None:
    """Tell where the transfers of the next durable block lie."""
    path, offset = journal.place(height)
    effects = columns.effects_offset and offset + columns.effects_offset
    sealed.add_block(path, offset + columns.records_offset, effects, columns.count)


class Keeper:
    """Seals and takes snapshots for one writing ledger.

    Parameters
    ----------
    path : Path
        Folder of the ledger.
    book : Book
        `resume_book`'s.
    journal : Journal
    keeping : Keeping
    """

    def __init__(self, path: Path, book: Book, journal: Journal, keeping: Keeping) -> None:
        keeping.check()
        self._book = book
        self._journal = journal
        self._keeping = keeping
        self._snapshots = make_folder(path / SNAPSHOTS_FOLDER)
        self._sealed = SealedTransfers(
            book.engine,
            make_folder(path / SEGMENTS_FOLDER),
            window=keeping.window,
            segment=keeping.segment,
            opened=book.height > 0,
        )
        kept = [_segments(sections) for _, sections in _snapshots(self._snapshots, _HEIGHT_MAX)]
        self._kept = deque(reversed(kept), maxlen=SNAPSHOTS_KEPT)  # segments of the snapshots that are on the disk
        self._sealed.remove_unused(*self._kept)
        self._snapshot_at = book.records_count + self._interval()
        self._changed = threading.Condition()  # guards what follows
        self._transfers = book.engine.transfer_count
        self._records = book.records_count
        self._closed = False
        self._thread: threading.Thread | None = None

    def tell(self, header: Header, columns: Columns) -> None:
        """Tell where the transfers of the next durable block lie in its payload."""
        tell_block(self._sealed, self._journal, header.height, columns)
        with self._changed:
            self._transfers += columns.count
            self._records += columns.count + header.accounts_count
            self._changed.notify_all()

    def seal(self) -> None:
        """Seal what is older than the window."""
        self._sealed.seal()

    def start(self, resting: Callable[[], AbstractContextManager[list[Header]]]) -> None:
        """Work in a thread from now on.

        Parameters
        ----------
        resting : callable
            Gives a context in which the book stands still with all of its blocks durable, and their headers.
        """
        self._thread = threading.Thread(target=self._run, args=(resting,), name="pyledger-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what is under way and stop. Closing twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def snapshot(self, resting: Callable[[], AbstractContextManager[list[Header]]]) -> None:
        """Write a snapshot, then remove segments that nobody needs any more."""
        with resting() as headers:
            checkpoint = BookCheckpoint(self._book, headers)
            interval = self._interval()
        with checkpoint:
            checkpoint.write(self._snapshots)
        self._snapshot_at = checkpoint.records_count + interval
        self._kept.append({"segments": checkpoint.segments})
        self._sealed.remove_unused(*self._kept)

    def _interval(self) -> int:
        accounts = self._book.state.size - 1
        return max(self._keeping.snapshot_every, accounts // 2)

    def _run(self, resting: Callable[[], AbstractContextManager[list[Header]]]) -> None:
        try:
            while self._wait():
                self.seal()
                if self._records >= self._snapshot_at:
                    self.snapshot(resting)
        except (LedgerError, RuntimeError):  # also where the engine has stopped meanwhile
            _LOG.exception("old transfers stay in memory and no snapshot is taken until the ledger is opened again")

    def _wait(self) -> bool:
        """Wait until there is something to do; False once the keeper is closed."""
        seal_at = self._book.engine.sealed_count + self._keeping.window + self._keeping.segment
        with self._changed:
            self._changed.wait_for(
                lambda: self._transfers >= seal_at or self._records >= self._snapshot_at or self._closed
            )
            return not self._closed


def _segments(sections: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {"segments": np.frombuffer(sections["engine.segments"], np.uint8).reshape(-1, _SEGMENT_ROW).copy()}
