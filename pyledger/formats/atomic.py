"""Files that are there whole or not at all: written beside their place, flushed, then renamed into it.

A reader of ``path`` sees the old content or the new one, after a crash too: the data is on disk before the name is
(fsync, rename, fsync of the folder), and a failed write leaves neither the file nor its temporary behind.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pyledger.errors import StorageError

__all__ = ["atomic_file", "make_folder", "sync_folder", "write_atomic"]


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing; its content changes at the end of the block, all at once.

    Parameters
    ----------
    path : path
        The file to make or replace. Its folder must exist.

    Yields
    ------
    BinaryIO
        Writable, positioned at 0. If the block raises, `path` stays as it was.

    Raises
    ------
    StorageError
        If the file could not be written whole (folder missing or not writable, disk full); names path and reason.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror or error}") from error


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, whole or not at all; errors as for ``atomic_file``."""
    with atomic_file(path) as stream:
        stream.write(content)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents, durably; one that is there already is fine.

    Raises
    ------
    StorageError
        If it cannot be made; names path and reason.
    """
    folder = Path(path)
    try:
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for part in reversed(missing):
            sync_folder(part.parent)
    except OSError as error:
        raise StorageError(f"{folder}: folder cannot be made: {error.strerror or error}") from error
    return folder


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; OSError if it can't be done."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
