"""A snapshot's bytes, written and read slowly: the oracle for csrc/journal/snapshot_file.

docs/journal-format.md gives the bytes.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Final

from pyledger.errors import StorageError
from pyledger.reference.journal import payload_root

__all__ = ["from_bytes", "to_bytes"]

PAGE: Final = 4096
_HEADER: Final = struct.Struct("<8sH6xQQQ32s32s8x")
_ENTRY: Final = struct.Struct("<48sQQ32s32x")


def to_bytes(height: int, sections: Mapping[str, bytes], binding: bytes) -> bytes:
    """Write a snapshot of these sections, in this order."""
    table, body = b"", b""
    start = PAGE + _pages(_ENTRY.size * len(sections))
    for name, data in sections.items():
        table += _ENTRY.pack(name.encode(), start + len(body), len(data), payload_root(data))
        body += data.ljust(_pages(len(data)), b"\0")
    size = start + len(body)
    head = _HEADER.pack(b"PLSNAPS\0", 1, height, len(sections), size, binding, hashlib.sha256(table).digest())
    head += hashlib.sha256(head).digest()[:16]
    return head.ljust(PAGE, b"\0") + table.ljust(start - PAGE, b"\0") + body


def from_bytes(data: bytes) -> tuple[int, bytes, dict[str, bytes]]:
    """Height, binding and sections; StorageError unless these are the bytes that `to_bytes` gives for them."""
    if len(data) < PAGE:
        raise StorageError("a snapshot ends too early")
    height, count, _, binding, _ = _HEADER.unpack(data[: _HEADER.size])[2:]
    sections: dict[str, bytes] = {}
    for entry in range(min(count, 4096)):
        name, offset, size, _ = _ENTRY.unpack(data[PAGE + _ENTRY.size * entry :][: _ENTRY.size].ljust(_ENTRY.size))
        text = name.rstrip(b"\0").decode("latin-1")
        if not re.fullmatch(r"[a-z0-9_.-]{1,47}", text):
            raise StorageError("a snapshot's section has no name")
        sections[text] = data[offset : offset + size]
    if to_bytes(height, sections, binding) != data:
        raise StorageError("a snapshot is corrupt")
    return height, binding, sections


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
