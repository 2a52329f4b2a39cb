"""The journal's files, written and read slowly: the oracle for csrc/journal. docs/journal-format.md gives the bytes.

`write` takes groups of payloads as they are synced together; `read` gives what a reader must find, and raises where the
journal must not be opened.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyledger.errors import StorageError

__all__ = ["Contents", "merkle_root", "payload_root", "read", "write"]

PAGE: Final = 4096
_SEGMENT: Final = struct.Struct("<8sH6xQ32s32s16s8x")
_FRAME: Final = struct.Struct("<8sH6xQQQ32s32s8x")
_SIZE: Final = 128


@dataclass(frozen=True)
class Contents:
    """What a journal holds: payloads from height 1, whether it was closed, the bytes of a torn tail."""

    payloads: list[bytes]
    closed: bool
    torn_bytes: int


@dataclass(frozen=True)
class _Frame:
    magic: bytes
    height: int
    payload_size: int
    durable_height: int
    previous: bytes
    payload_root: bytes

    def to_bytes(self, salt: bytes) -> bytes:
        numbers = (self.height, self.payload_size, self.durable_height)
        return _checked(_FRAME.pack(self.magic, 2, *numbers, self.previous, self.payload_root), salt)

    @classmethod
    def from_bytes(cls, data: bytes, salt: bytes) -> _Frame | None:
        if len(data) < _SIZE:
            return None
        magic, version, *rest = _FRAME.unpack(data[: _FRAME.size])
        frame = cls(magic, *rest)
        if version != 2 or magic not in (b"PLFRAME\0", b"PLCLOSE\0") or frame.to_bytes(salt) != data[:_SIZE]:
            return None
        if frame.is_block:
            return frame if frame.durable_height < frame.height and frame.payload_size <= 1 << 31 else None
        return frame if frame.durable_height == frame.height and frame.payload_size == 0 else None

    @property
    def is_block(self) -> bool:
        return self.magic == b"PLFRAME\0"


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 root over leaf hashes (section 2.1)."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(hashes[:split]) + merkle_root(hashes[split:])).digest()


def payload_root(payload: bytes) -> bytes:
    """Digest of a payload: the RFC 6962 root over its chunks of 4096 bytes."""
    chunks = [payload[start : start + PAGE] for start in range(0, len(payload), PAGE)]
    return merkle_root([hashlib.sha256(b"\x00" + chunk).digest() for chunk in chunks])


def write(
    folder: Path,
    genesis_hash: bytes,
    groups: Sequence[Sequence[bytes]],
    *,
    segment_size: int = 256 << 20,
    salt: bytes = bytes(16),
    closed: bool = True,
) -> None:
    """Write a new journal as a writer would that was given these groups; without `closed` it lacks the close mark."""
    height, previous, segments = 0, genesis_hash, list[tuple[Path, bytearray]]()
    for group in groups:
        durable = height
        for payload in group:
            height += 1
            size = _pages(_SIZE + len(payload))
            if not segments or (len(segments[-1][1]) > PAGE and len(segments[-1][1]) + size > segment_size):
                durable = height - 1  # what was written to the old segment is synced first
                head = _SEGMENT.pack(b"PLSEGMNT", 2, height, genesis_hash, previous, salt)
                segments.append((folder / f"{height:012d}.blocks", bytearray(_page(_checked(head, bytes(16))))))
            frame = _Frame(b"PLFRAME\0", height, len(payload), durable, previous, payload_root(payload))
            head = frame.to_bytes(salt)
            segments[-1][1].extend((head + payload).ljust(size, b"\0"))
            previous = hashlib.sha256(head).digest()
    if closed and segments:
        mark = _Frame(b"PLCLOSE\0", height, 0, height, previous, payload_root(b""))
        segments[-1][1].extend(_page(mark.to_bytes(salt)))
    for path, data in segments:
        path.write_bytes(data)


def read(folder: Path, genesis_hash: bytes, known_height: int = 0) -> Contents:
    """Read a journal; StorageError if it must not be opened."""
    paths = sorted(path for path in folder.glob("*.blocks"))
    payloads: list[bytes] = []
    closed, torn, previous = False, 0, genesis_hash
    for path in paths:
        data = path.read_bytes()
        last = path == paths[-1]
        salt = _segment_salt(path, data, genesis_hash, len(payloads) + 1, previous)
        if salt is None:
            if not last or any(data[PAGE:]):
                raise StorageError(f"{path}: corrupt header")
            torn = _used(data)
            break
        end = PAGE
        for frame, payload, behind in _frames(data, salt, len(payloads) + 1, previous):
            payloads.append(payload)
            previous = hashlib.sha256(frame.to_bytes(salt)).digest()
            end = behind
        if not last and end != len(data):
            raise StorageError(f"{path}: corrupt, and a segment follows")
        closed, torn = _judge(data[end:], salt, len(payloads), previous)
    if len(payloads) < known_height:
        raise StorageError(f"{folder}: blocks up to {known_height} are known to exist")
    return Contents(payloads, closed, torn)


def _frames(data: bytes, salt: bytes, height: int, previous: bytes) -> Iterator[tuple[_Frame, bytes, int]]:
    """Whole frames of a segment, each with its payload and the offset behind it."""
    offset = PAGE
    while frame := _Frame.from_bytes(data[offset : offset + _SIZE], salt):
        end = offset + _pages(_SIZE + frame.payload_size)
        payload = data[offset + _SIZE : offset + _SIZE + frame.payload_size]
        in_place = frame.is_block and frame.height == height and frame.previous == previous and end <= len(data)
        padding = data[offset + _SIZE + frame.payload_size : end]
        if not in_place or any(padding) or payload_root(payload) != frame.payload_root:
            return
        yield frame, payload, end
        height, previous, offset = height + 1, hashlib.sha256(frame.to_bytes(salt)).digest(), end


def _judge(tail: bytes, salt: bytes, height: int, previous: bytes) -> tuple[bool, int]:
    """Whether only a close mark follows, and the torn bytes; StorageError if the next frame had been synced."""
    for offset in range(0, len(tail), PAGE):
        frame = _Frame.from_bytes(tail[offset : offset + _SIZE], salt)
        if frame and frame.durable_height > height:
            raise StorageError(f"block {height + 1} is corrupt: block {frame.height} follows")
    mark = _Frame(b"PLCLOSE\0", height, 0, height, previous, payload_root(b"")).to_bytes(salt)
    marked = tail[:PAGE] == _page(mark)
    used = _used(tail[PAGE:] if marked else tail)
    return marked and used == 0, used


def _segment_salt(path: Path, data: bytes, genesis_hash: bytes, height: int, previous: bytes) -> bytes | None:
    """Salt of a segment; None if its header is not whole, StorageError if it is another segment's."""
    first, genesis, before, salt = _SEGMENT.unpack(data[: _SEGMENT.size].ljust(_SEGMENT.size, b"\0"))[2:]
    head = _SEGMENT.pack(b"PLSEGMNT", 2, first, genesis, before, salt)
    if data[:PAGE] != _page(_checked(head, bytes(16))) or first == 0:
        return None
    if genesis != genesis_hash:
        raise StorageError(f"{path}: blocks of another ledger")
    if first != height or before != previous or path.name != f"{first:012d}.blocks":
        raise StorageError(f"{path}: does not continue with block {height}")
    return bytes(salt)


def _used(data: bytes) -> int:
    """Bytes up to the end of the last page that is not all zero."""
    return min(_pages(len(data.rstrip(b"\0"))), len(data))


def _checked(head: bytes, salt: bytes) -> bytes:
    return head + hashlib.sha256(salt + head).digest()[:16]


def _page(data: bytes) -> bytes:
    return data.ljust(PAGE, b"\0")


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
