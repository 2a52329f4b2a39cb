"""Files that a node keeps until a block is final: blocks it voted for, batches it promised to include.

A file is there whole or not at all, and durable before anything is sent that relies on it. Files of what is settled
are removed without haste: one that stays behind after a crash is passed over at the next start.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pyledger.consensus.messages import Certificate
from pyledger.errors import StorageError
from pyledger.formats.atomic import make_folder, write_atomic

__all__ = ["KeptFiles", "PendingBlocks"]

_LENGTH: Final = struct.Struct("<I")


class KeptFiles:
    """Files named by a hash, in a folder of their own.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    suffix : str
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = make_folder(folder)
        self._suffix = suffix
        self._name: Final = re.compile(rf"[0-9a-f]{{64}}\.{suffix}\Z")

    def put(self, name_32: bytes, content: bytes) -> None:
        """Make a file durable before returning; StorageError if that fails."""
        path = self._path(name_32)
        if not path.exists():
            write_atomic(path, content)

    def remove(self, name_32: bytes) -> None:
        """Forget a file; one that is not here is no matter."""
        with suppress(FileNotFoundError):
            self._path(name_32).unlink()

    def contents(self) -> list[bytes]:
        """All files, in any order; StorageError if one can't be read."""
        try:
            return [path.read_bytes() for path in self._folder.iterdir() if self._name.match(path.name)]
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}") from error

    def _path(self, name_32: bytes) -> Path:
        return self._folder / f"{name_32.hex()}.{self._suffix}"


class PendingBlocks:
    """Blocks that this validator voted for and that are not final yet: it must be able to give them to the others.

    A file is the certificate that the block stands on, with its length before it, then the block.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._files = KeptFiles(folder, "block")

    def put(self, block_hash: bytes, block: bytes, parent: Certificate) -> None:
        """Make a block durable before returning; StorageError if that fails."""
        certificate = msgspec.msgpack.encode(parent)
        self._files.put(block_hash, b"".join([_LENGTH.pack(len(certificate)), certificate, block]))

    def remove(self, block_hash: bytes) -> None:
        """Forget a block; one that is not here is no matter."""
        self._files.remove(block_hash)

    def contents(self) -> list[tuple[bytes, Certificate]]:
        """All blocks, in any order, each with the certificate that it stands on; StorageError if one is damaged."""
        return [_split(content) for content in self._files.contents()]


def _split(content: bytes) -> tuple[bytes, Certificate]:
    try:
        end = _LENGTH.size + int(_LENGTH.unpack_from(content)[0])
        return content[end:], msgspec.msgpack.decode(content[_LENGTH.size : end], type=Certificate)
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"a pending block is not whole: {error}") from error
