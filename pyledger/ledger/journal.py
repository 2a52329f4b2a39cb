"""The journal: blocks in append-only segment files, durable before they are acknowledged.

Blocks are submitted in order; a thread writes what waits in groups, each synced once. A crash may leave a torn tail of
blocks that were never acknowledged; it is cut when the journal is opened. Damage to anything else is named and nothing
is opened. docs/journal-format.md gives the bytes; the work is done in csrc/journal.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pyledger import _core
from pyledger.errors import StorageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Journal"]

_LOG: Final = logging.getLogger(__name__)
_SEGMENT_SIZE_DEFAULT: Final = 256 << 20
_QUEUE_SIZE_DEFAULT: Final = 64 << 20
_LOCK: Final = "lock"
_SEGMENT_MAGIC: Final = b"PLSEGMNT"
_SEGMENT_NAME: Final = re.compile(r"(?:[0-9]{12}|[1-9][0-9]{12,18})\.blocks")


class Journal:
    """Blocks of one ledger, by height from 1, in a folder.

    Calls from several threads are fine. After the first failed write or sync the journal takes nothing more: what the
    system kept of a failed sync is unknown, so only opening it again, which reads the disk, can go on.

    Parameters
    ----------
    folder : Path
        Folder of the segments; it must exist.
    genesis_hash : bytes
        32 bytes; the first frame's previous digest.
    read_only : bool, optional
        Open beside a writer: a torn tail is left alone, nothing is locked.
    segment_size : int, optional
        A segment takes frames up to so many bytes, at least one; room is made ahead in steps.
    queue_size : int, optional
        Bytes that may wait to be written; `submit` waits while there are more.
    known_height : int, optional
        Blocks up to it exist for certain, because a certificate for them is known. If they are not whole, nothing is
        opened and nothing is cut.
    verify_from : int, optional
        Payloads of older durable blocks are checked only when they are read.
    threads : int, optional
        That check payloads on opening; 0 means all cores.
    known_by : str, optional
        What shows that blocks up to `known_height` exist, for the message.

    Attributes
    ----------
    folder : Path
    read_only : bool

    Raises
    ------
    StorageError
        If another process writes here, if what was synced is damaged (the message says where), if a segment does not
        have its name, or if a call failed.
    """

    def __init__(
        self,
        folder: Path,
        genesis_hash: bytes,
        *,
        read_only: bool = False,
        segment_size: int = _SEGMENT_SIZE_DEFAULT,
        queue_size: int = _QUEUE_SIZE_DEFAULT,
        known_height: int = 0,
        verify_from: int = 1,
        threads: int = 0,
        known_by: str = "",
    ) -> None:
        _require_names(folder)
        self.folder = folder
        self.read_only = read_only
        self._settled_height = 0
        self._core = _core.Journal(
            str(folder),
            genesis_hash,
            read_only=read_only,
            segment_size=segment_size,
            queue_size=queue_size,
            known_height=known_height,
            verify_from=verify_from,
            threads=threads,
            known_by=known_by,
        )
        self._torn_bytes = self._core.torn_bytes
        if cut := self._core.cut_bytes:
            _LOG.warning("%s: cut %d bytes behind block %d: not a whole block", folder, cut, self.height)

    @property
    def height(self) -> int:
        """Height of the last block that can be read, 0 if there is none; a writer's is durable."""
        return self._core.height

    @property
    def durable_height(self) -> int:
        """Height up to which all is durable; for a reader, as far as the frames themselves say."""
        return self._core.durable_height

    @property
    def submitted_height(self) -> int:
        """Height of the last block that was taken."""
        return self._core.submitted_height

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole block: what a crash left of an unacknowledged one, or damage to the last one."""
        return self._torn_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all frames on disk."""
        return self._core.size_bytes

    @property
    def direct(self) -> bool:
        """Whether the current segment is written past the system's cache (O_DIRECT)."""
        return self._core.direct

    def append(self, height: int, payload: Buffer) -> None:
        """Append the next block and make it durable.

        Raises
        ------
        StorageError
            If it could not be written or synced. Nothing was acknowledged; whether the block is there is known when the
            journal is opened again, and it takes nothing more until then.
        """
        self._core.append(height, payload)

    def submit(self, height: int, parts: Sequence[Buffer]) -> None:
        """Take the next block, given as C-contiguous buffers that follow each other, and write it in the background.

        The buffers are copied before this returns. It is durable when `wait` returns or `durable_height` reaches it.

        Raises
        ------
        StateError
            If it is not the next height.
        StorageError
            If an earlier block could not be made durable.
        """
        self._core.submit(height, parts)

    def wait(self, height: int) -> None:
        """Return when the block at a height is durable; StorageError if it could not be made so."""
        self._core.wait(height)

    def read(self, height: int) -> bytes:
        """Payload of the block at a height, as it was appended; StorageError if it no longer is."""
        return self._core.read(height)

    def place(self, height: int) -> tuple[Path, int]:
        """File of the block at a height, and the offset of its payload in it; neither ever changes."""
        path, offset = self._core.place(height)
        return Path(path), offset

    def payloads(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Heights and payloads from `first` to `last` (the newest by default)."""
        for height in range(first, (self.height if last is None else last) + 1):
            yield height, self.read(height)

    def refresh(self) -> int:
        """For a reader: look for blocks that were added; returns the height."""
        before = self.height
        height = self._core.refresh()
        if height != before:  # else what was behind the last block at first still says more than a second look
            self._torn_bytes = self._core.torn_bytes
        return height

    def settled_height(self) -> int:
        """For a reader: look for blocks that were added, and make sure that they are durable; returns the height.

        A reader can't see whether the writer's sync of the newest blocks has returned, so it syncs them itself. Errors
        of writing them back since the file was opened here are reported to this sync.

        Raises
        ------
        StorageError
            If they can't be synced.
        """
        while (newest := _newest_segment(self.folder)) is not None:
            try:
                with open(newest, "rb") as file:
                    height = self.refresh()
                    if height > self._settled_height and newest == _newest_segment(self.folder):
                        _sync(file.fileno())
                        self._settled_height = height
            except FileNotFoundError:
                continue  # a segment that was never begun, removed by a writer that opened the journal
            except OSError as error:
                raise StorageError(f"{newest}: cannot be synced: {error.strerror or error}") from error
            if height == self._settled_height:
                break
        return self._settled_height

    def close(self) -> None:
        """Write what was submitted, mark the end, release files and the lock. Closing twice is harmless.

        Raises
        ------
        StorageError
            If a submitted block could not be made durable and no call has said so yet.
        """
        self._core.close()


def _require_names(folder: Path) -> None:
    """Refuse a segment under a name that is not its own, which nobody would miss: it would not be looked at."""
    for path in _listed(folder):
        if path.name == _LOCK or _SEGMENT_NAME.fullmatch(path.name) or not path.is_file():
            continue
        head = _first_bytes(path, 24)
        if head.startswith(_SEGMENT_MAGIC):
            first = int.from_bytes(head[16:24], "little")
            raise StorageError(
                f"{path}: holds blocks from height {first} on, but has not the name of that segment; refusing to open. "
                f"Name it {first:012d}.blocks, or move it out of the folder if it is a copy"
            )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}") from error


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _newest_segment(folder: Path) -> Path | None:
    """Only the newest one can hold blocks that are not synced; names are heights of twelve digits or more."""
    return max(folder.glob("*.blocks"), key=lambda path: (len(path.name), path.name), default=None)


def _sync(descriptor: int) -> None:
    try:
        getattr(os, "fdatasync", os.fsync)(descriptor)
    except OSError as error:
        if error.errno != errno.EROFS:  # where nobody can write, nothing waits to be written
            raise
