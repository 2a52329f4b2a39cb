"""The journal: blocks in append-only segment files, durable before they are acknowledged.

A segment is a run of frames, each starting on a 4096-byte boundary: a 128-byte frame header, then the payload. The
frame header carries the payload's SHA-256 and the digest of the frame before it, so frames form a chain that starts at
the genesis hash. docs/journal-format.md gives the bytes.

A frame is appended, then fdatasync'ed; only then does `append` return. After a failure of either the journal refuses
everything: what the kernel kept of a failed fsync is unknown, so only reopening (which reads the disk) can go on.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyledger.errors import StateError, StorageError

__all__ = ["Journal"]

_LOG: Final = logging.getLogger(__name__)
_MAGIC: Final = b"PLBLOCK\0"
_VERSION: Final = 1
_ALIGNMENT: Final = 4096
_FRAME: Final = struct.Struct("<8sHHIQQ32s32s28xI")  # magic, version, 0, 0, height, payload size, previous, digest, crc
_PAYLOAD_SIZE_MAX: Final = 1 << 31
_SEGMENT_SIZE_DEFAULT: Final = 1 << 30
_SUFFIX: Final = ".blocks"


@dataclass(frozen=True, slots=True)
class _Frame:
    height: int
    payload_size: int
    previous: bytes
    digest: bytes

    @property
    def size(self) -> int:
        return _aligned(_FRAME.size + self.payload_size)

    def to_bytes(self) -> bytes:
        head = _FRAME.pack(_MAGIC, _VERSION, 0, 0, self.height, self.payload_size, self.previous, self.digest, 0)
        return head[:-4] + struct.pack("<I", zlib.crc32(head[:-4]))

    @property
    def chain_digest(self) -> bytes:
        return hashlib.sha256(self.to_bytes()).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> _Frame | None:
        """None unless these are the bytes of a whole frame header."""
        if len(data) != _FRAME.size:
            return None
        magic, version, zero_a, zero_b, height, payload_size, previous, digest, crc = _FRAME.unpack(data)
        known = magic == _MAGIC and version == _VERSION and zero_a == 0 and zero_b == 0
        if not known or payload_size > _PAYLOAD_SIZE_MAX or any(data[96:124]) or crc != zlib.crc32(data[:-4]):
            return None
        return cls(height, payload_size, previous, digest)


@dataclass(frozen=True, slots=True)
class _Place:
    segment: int
    offset: int
    payload_size: int


class Journal:
    """Blocks of one ledger, by height from 1, in a folder.

    Parameters
    ----------
    folder : Path
        Folder of the segments; it must exist.
    genesis_hash : bytes
        32 bytes; the first frame's previous digest.
    read_only : bool, optional
        Open beside a writer: a torn tail is left alone, nothing is locked.
    segment_size : int, optional
        Bytes after which a new segment is begun.

    Raises
    ------
    StorageError
        If another process writes here, or if a bad frame is followed by a good one (the message says where).
    """

    def __init__(
        self,
        folder: Path,
        genesis_hash: bytes,
        *,
        read_only: bool = False,
        segment_size: int = _SEGMENT_SIZE_DEFAULT,
    ) -> None:
        self._folder = folder
        self._read_only = read_only
        self._segment_size = segment_size
        self._previous = genesis_hash
        self._places: list[_Place] = []
        self._segments: list[Path] = []
        self._end = 0  # offset in the last segment where the next frame goes
        self._failed: str | None = None
        self._torn_bytes = 0
        self._fd = -1
        self._lock_fd = -1 if read_only else _lock(folder)
        try:
            self._scan()
        except BaseException:
            self.close()
            raise

    @property
    def height(self) -> int:
        """Height of the last block, 0 if there is none."""
        return len(self._places)

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole block: what a crash left of an unacknowledged one, or damage to the last one."""
        return self._torn_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all frames on disk."""
        return sum(_aligned(_FRAME.size + place.payload_size) for place in self._places)

    def append(self, height: int, payload: bytes) -> None:
        """Append the next block and make it durable.

        Raises
        ------
        StorageError
            If it could not be written or synced. Nothing was acknowledged; whether the block is there is known when the
            journal is opened again, and it takes nothing more until then.
        """
        self._require_writable()
        if height != self.height + 1:
            raise StateError(f"journal: expected height {self.height + 1}, got {height}")
        if len(payload) > _PAYLOAD_SIZE_MAX:
            raise StorageError(f"journal: a block may hold {_PAYLOAD_SIZE_MAX} bytes, got {len(payload)}")
        frame = _Frame(height, len(payload), self._previous, hashlib.sha256(payload).digest())
        try:
            if self._fd < 0 or self._end >= self._segment_size:
                self._begin_segment(height)
            _write_all(self._fd, [frame.to_bytes(), payload, bytes(frame.size - _FRAME.size - len(payload))], self._end)
            _sync_data(self._fd)
        except OSError as error:
            self._fail(error)
        self._places.append(_Place(len(self._segments) - 1, self._end, len(payload)))
        self._end += frame.size
        self._previous = frame.chain_digest

    def read(self, height: int) -> bytes:
        """Payload of the block at a height, as it was appended."""
        if not 1 <= height <= self.height:
            raise StateError(f"journal: expected a height in [1, {self.height}], got {height}")
        place = self._places[height - 1]
        path = self._segments[place.segment]
        with path.open("rb") as file:
            frame = _Frame.from_bytes(os.pread(file.fileno(), _FRAME.size, place.offset))
            payload = os.pread(file.fileno(), place.payload_size, place.offset + _FRAME.size)
        if frame is None or hashlib.sha256(payload).digest() != frame.digest:
            raise StorageError(f"{path}, offset {place.offset}: block {height} is corrupt")
        return payload

    def payloads(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Heights and payloads from `first` to `last` (the newest by default)."""
        for height in range(first, (self.height if last is None else last) + 1):
            yield height, self.read(height)

    def close(self) -> None:
        """Release files and the lock. Closing twice is harmless."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1
        self._failed = self._failed or "closed"

    def _scan(self) -> None:
        """Read every frame; cut a torn tail; refuse a bad frame that good ones follow."""
        self._segments = sorted(self._folder.glob("*" + _SUFFIX))
        for number, path in enumerate(self._segments):
            end = self._scan_segment(number, path)
            if end != path.stat().st_size:
                self._handle_bad_tail(number, path, end)
            self._end = end
        if self._segments and not self._read_only:
            self._fd = os.open(self._segments[-1], os.O_RDWR | os.O_CLOEXEC)
            self._make_last_frame_durable()

    def _make_last_frame_durable(self) -> None:
        """Write the last frame again and sync: after a failed sync it may have been read from memory only."""
        if not self._places or self._places[-1].segment != len(self._segments) - 1:
            return
        place = self._places[-1]
        try:
            frame = os.pread(self._fd, _FRAME.size + place.payload_size, place.offset)
            _write_all(self._fd, [frame], place.offset)
            _sync_data(self._fd)
        except OSError as error:
            self._fail(error)

    def _scan_segment(self, number: int, path: Path) -> int:
        """Offset behind the last good frame of the segment."""
        offset = 0
        with path.open("rb") as file:
            while True:
                file.seek(offset)
                frame = _Frame.from_bytes(file.read(_FRAME.size))
                if frame is None:
                    return offset
                if frame.height != self.height + 1 or frame.previous != self._previous:
                    place = f"{path}, offset {offset}"
                    expected = f"expected block {self.height + 1} of this ledger"
                    raise StorageError(f"{place}: {expected}, found block {frame.height} of another; refusing to open")
                payload = file.read(frame.payload_size)
                if len(payload) != frame.payload_size or hashlib.sha256(payload).digest() != frame.digest:
                    return offset
                padding = frame.size - _FRAME.size - frame.payload_size
                if file.read(padding) != bytes(padding):
                    return offset
                self._places.append(_Place(number, offset, frame.payload_size))
                self._previous = frame.chain_digest
                offset += frame.size

    def _handle_bad_tail(self, number: int, path: Path, end: int) -> None:
        follower = _good_frame_after(path, end)
        if number + 1 < len(self._segments):
            follower = follower or f"{self._segments[number + 1]}"
        if follower:
            raise StorageError(
                f"{path}, offset {end}: block {self.height + 1} is corrupt but good data follows at {follower}; "
                "refusing to open. Restore the segment from a copy"
            )
        self._torn_bytes = path.stat().st_size - end
        if self._read_only:
            return
        _LOG.warning("%s: cut %d bytes behind block %d: not a whole block", path, self._torn_bytes, self.height)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, end)
            os.fsync(fd)
            self._torn_bytes = 0
        except OSError as error:
            self._fail(error)
        finally:
            os.close(fd)

    def _begin_segment(self, height: int) -> None:
        path = self._folder / f"{height:012d}{_SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        sync_folder(self._folder)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._segments.append(path)
        self._end = 0

    def _require_writable(self) -> None:
        if self._read_only:
            raise StateError("journal: opened read-only")
        if self._failed:
            raise StorageError(f"journal: takes nothing more until it is opened again ({self._failed})")

    def _fail(self, error: OSError) -> None:
        self._failed = f"{error.strerror or error}"
        raise StorageError(f"{self._folder}: could not write block {self.height + 1}: {self._failed}") from error


def _sync_data(fd: int) -> None:
    """Return when the file's data are on the medium, as far as the system can say."""
    if sys.platform == "darwin":  # fsync leaves them in the drive's cache there
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(folder: Path) -> int:
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise StorageError(f"{folder}: another process has this ledger open for writing") from None
    return fd


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _write_all(fd: int, parts: list[bytes], offset: int) -> None:
    """Write every byte; a short write is followed by another one, which says why (a full disk: ENOSPC)."""
    for part in parts:
        view = memoryview(part)
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written


def _good_frame_after(path: Path, offset: int) -> str | None:
    """Where a whole frame (header and payload) stands behind the offset, if one does."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in range(_aligned(offset + 1), size, _ALIGNMENT):
            file.seek(start)
            frame = _Frame.from_bytes(file.read(_FRAME.size))
            if frame is None:
                continue
            payload = file.read(frame.payload_size)
            if hashlib.sha256(payload).digest() == frame.digest:
                return f"{path}, offset {start}"
    return None
