"""Snapshots: named arrays of bytes as they were at one height, in one file that is whole and durable or not there.

Two are kept: an older one goes only when a newer one is durable. Reading takes the newest whole one; every byte of it
is checked. docs/journal-format.md gives the bytes; the work is done in csrc/journal. Whoever writes must be the one
writer of the ledger (`Journal` holds the lock).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pyledger import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["SNAPSHOTS_KEPT", "Snapshot", "SnapshotWriter", "find_snapshot", "write_snapshot"]

_LOG: Final = logging.getLogger(__name__)
_HEIGHT_MAX: Final = (1 << 64) - 1
SNAPSHOTS_KEPT: Final = 2
"""The newest and the one before; csrc/journal/snapshot_file.cpp removes the others."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot.

    Parameters
    ----------
    height : int
    binding : bytes
        32 bytes that the writer was given; whoever reads compares them.
    sections : mapping of str to NDArray[uint8], shape (n,)
        Read-only views of the file in memory; ``.view(dtype)`` gives records.
    """

    height: int
    binding: bytes
    sections: Mapping[str, NDArray[np.uint8]]


class SnapshotWriter:
    """A snapshot written piece by piece, so that it need never be in memory as a whole.

    A context manager: what is left before `finish` leaves nothing, and the older snapshots as they were.

    Parameters
    ----------
    folder : Path
        It must exist.
    height : int
        Names the file; a snapshot of the same height is replaced.
    sizes : mapping of str to int
        Bytes of each section, in their order; names of a-z, 0-9, ``_``, ``.``, ``-``, at most 47 bytes.
    binding : bytes, optional
        32 bytes that say what the snapshot is of, such as a block hash.
    threads : int, optional
        0 means all cores.

    Raises
    ------
    StorageError
        If there is no room for it.
    """

    def __init__(
        self, folder: Path, height: int, sizes: Mapping[str, int], *, binding: bytes = bytes(32), threads: int = 0
    ) -> None:
        self._native = _core.SnapshotWriter(str(folder), height, binding, list(sizes.items()), threads)

    def __enter__(self) -> SnapshotWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._native.close()

    def append(self, name: str, data: Buffer) -> None:
        """Write the next bytes of a section.

        Parameters
        ----------
        name : str
            Sections may be written in turn.
        data : buffer
            C-contiguous; a multiple of 4,096 bytes unless it ends the section.

        Raises
        ------
        StorageError
            If it can't be written, or is no such piece.
        """
        self._native.append(name, data)

    def finish(self) -> None:
        """Make the snapshot durable under its name, then remove all but it and the newest other one.

        Raises
        ------
        StorageError
            If bytes of a section are missing, or it could not be made durable.
        """
        self._native.finish()


def write_snapshot(
    folder: Path, height: int, sections: Mapping[str, Buffer], *, binding: bytes = bytes(32), threads: int = 0
) -> None:
    """Write a snapshot whose sections are at hand as C-contiguous buffers: `SnapshotWriter` in one call."""
    sizes = {name: memoryview(data).nbytes for name, data in sections.items()}
    with SnapshotWriter(folder, height, sizes, binding=binding, threads=threads) as writer:
        for name, data in sections.items():
            writer.append(name, data)
        writer.finish()


def find_snapshot(
    folder: Path, *, height_max: int = _HEIGHT_MAX, threads: int = 0
) -> tuple[Snapshot | None, list[str]]:
    """Return the newest whole snapshot of a height up to `height_max`, or None, and what is wrong with newer ones.

    Every damaged one that was passed over is logged, too.
    """
    found, damaged = _core.snapshot_find(str(folder), height_max, threads)
    for message in damaged:
        _LOG.warning("a damaged snapshot is passed over: %s", message)
    return None if found is None else Snapshot(*found), damaged
