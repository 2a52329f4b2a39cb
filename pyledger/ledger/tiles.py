"""The history log as a folder that any web server can serve: tiles, entry bundles, and a signed checkpoint.

The entries are the headers of final blocks as the ledger holds them, so the leaf hash of an entry is its block's hash,
and the root of a checkpoint of size n is the history root that the certified header of block n + 1 names. A file under
``tile/`` never changes once it is written; the checkpoint is replaced last, so whoever reads it finds what it commits
to. Layout and rules: c2sp.org/tlog-tiles; docs/history-log.md.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyledger.crypto import merkle
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, ProofError, SignatureError, StorageError
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.ledger import history
from pyledger.ledger.history import Checkpoint, VerifierKey

__all__ = ["PublishedLog", "check_log", "publish_log"]

_CHECKPOINT: Final = "checkpoint"
_FILE_SIZE_MAX: Final = 256 * (2 + 0xFFFF)  # a bundle of the longest entries


@dataclass(frozen=True, slots=True)
class PublishedLog:
    """What an export published, and what was there before.

    Parameters
    ----------
    origin : str
        The log's name.
    size : int
        Entries that the folder's checkpoint commits to now: the blocks up to this height.
    old_size : int
        Entries that it committed to before.
    root : bytes
        Over them, 32 bytes.
    files : int
        Tiles and bundles written by this call.
    verifier_key : str
        What readers need to check the checkpoint's signature (`vkey` of c2sp.org/signed-note).
    """

    origin: str
    size: int
    old_size: int
    root: bytes
    files: int
    verifier_key: str


def publish_log(
    folder: Path,
    log: merkle.Log,
    size: int,
    entry: Callable[[int], bytes],
    origin: str,
    key: SigningKey,
    progress: Callable[[int], None] | None = None,
) -> PublishedLog:
    """Write what a folder lacks of the log's first `size` entries, then a signed checkpoint.

    Parameters
    ----------
    folder : Path
        New, empty, or of an earlier export of the same log with the same origin and key.
    log : pyledger.crypto.merkle.Log
    size : int
    entry : callable
        Gives the bytes of entry i, in [0, size).
    origin : str
        Name of the log, and of the key: no spaces, no plus signs.
    key : SigningKey
    progress : callable, optional
        Called with the number of entries published so far.

    Raises
    ------
    InputError
        If the folder holds something else, another log, or a longer one.
    SignatureError
        If its checkpoint is not signed by this key.
    StorageError
        If the folder can't be written, or another export is writing there; its checkpoint stays as it was.
    """
    verifier = VerifierKey(origin, key.public_key)
    with _claimed(make_folder(folder)):
        old_size = _published_size(folder, verifier, log, size)
        if old_size is None:
            write_atomic(folder / _CHECKPOINT, history.sign_checkpoint(log, origin, key, 0))
            old_size = 0
        files = _write_new(folder, log, size, old_size, entry, progress)
        if size > old_size:
            write_atomic(folder / _CHECKPOINT, history.sign_checkpoint(log, origin, key, size))
        _remove_outgrown(folder, size, old_size)
    return PublishedLog(origin, size, old_size, log.root_at(size), files, str(verifier))


def check_log(folder: Path, key: VerifierKey) -> Checkpoint:
    """Check an exported folder whole: signature of the checkpoint, every tile, every entry.

    Parameters
    ----------
    folder : Path
    key : VerifierKey
        From a source that is trusted.

    Returns
    -------
    Checkpoint
        What the log's key signed, and all of it is there.

    Raises
    ------
    InputError, SignatureError
        If the checkpoint is not one of this log by this key.
    ProofError
        If a tile or an entry is not what the checkpoint commits to.
    StorageError
        If a file is missing or can't be read.
    """

    def read(path: str) -> bytes:
        return _read(folder / path)

    checkpoint = _open(folder / _CHECKPOINT, read(_CHECKPOINT), key)
    log = history.log_from_tiles(read, checkpoint.size, checkpoint.root)
    for path, numbers in history.new_bundle_paths(checkpoint.size):
        try:
            hashes = [merkle.leaf_hash(entry) for entry in history.entries_of_bundle(read(path))]
        except InputError as error:
            raise ProofError(f"{folder / path}: {error}") from None
        if b"".join(hashes) != log.nodes(0, numbers.start, numbers.stop).tobytes():
            raise ProofError(f"{folder / path}: the entries are not those that the checkpoint commits to")
    return checkpoint


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep other exports out, so that checkpoints only ever grow."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(f"{folder}: another export is writing here") from error
        yield
    finally:
        os.close(descriptor)


def _published_size(folder: Path, key: VerifierKey, log: merkle.Log, size: int) -> int | None:
    """Entries that the folder's checkpoint commits to, all of them this log's; None for an empty folder."""
    path = folder / _CHECKPOINT
    if not path.exists():
        if any(not child.name.startswith(".") for child in folder.iterdir()):
            raise InputError("the folder is not empty and holds no log", file=folder)
        return None
    published = _open(path, _read(path), key)
    if published.size > size:
        raise InputError(f"the folder's log has {published.size} entries, this ledger {size} final blocks", file=path)
    if published.root != log.root_at(published.size):
        raise InputError("the folder holds the log of another chain", file=path)
    return published.size


def _read(path: Path) -> bytes:
    """The bytes of a file, one more than any of a log can have at the most."""
    try:
        with open(path, "rb") as file:
            return file.read(_FILE_SIZE_MAX + 1)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _open(path: Path, note: bytes, key: VerifierKey) -> Checkpoint:
    try:
        return history.open_checkpoint(note, key)
    except InputError as error:
        raise InputError(str(error), file=path) from None
    except SignatureError as error:
        raise SignatureError(f"{path}: not a checkpoint of {key.name!r} by this key: {error}") from None


def _write_new(
    folder: Path,
    log: merkle.Log,
    size: int,
    old_size: int,
    entry: Callable[[int], bytes],
    progress: Callable[[int], None] | None,
) -> int:
    """Write bundles and tiles; returns their number. The tiles of level 0 come first, one for each bundle."""
    bundles, tiles = history.new_bundle_paths(size, old_size), history.new_tiles(log, size, old_size)
    files = 0
    for (path, numbers), tile in zip(bundles, tiles, strict=False):
        _write_once(folder / path, history.bundle_entries([entry(number) for number in numbers]))
        _write_once(folder / tile[0], tile[1])
        files += 2
        if progress is not None:
            progress(numbers.stop)
    for path, content in tiles:
        _write_once(folder / path, content)
        files += 1
    return files


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that may be there already, from an export that was stopped, but with no other content."""
    make_folder(path.parent)
    if path.exists() and _read(path) != content:
        raise InputError("a tile never changes, and this one holds something else", file=path)
    write_atomic(path, content)


def _remove_outgrown(folder: Path, size: int, old_size: int) -> None:
    """Partial tiles of which the whole one is published now; readers of older checkpoints take that instead."""
    for path in _outgrown(size, old_size):
        try:
            shutil.rmtree(folder / path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"{folder / path}: cannot be removed: {error.strerror or error}") from error


def _outgrown(size: int, old_size: int) -> Iterator[str]:
    levels: Sequence[tuple[int | str, int]] = [("entries", 0), *((level, 8 * level) for level in range(8))]
    for name, shift in levels:
        last = (old_size >> shift) // 256
        if last < (size >> shift) // 256:
            yield history.tile_path(name, last) + ".p"
