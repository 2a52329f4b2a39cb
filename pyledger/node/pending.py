"""Blocks that a validator has voted for and that are not final yet: one file each, durable before the vote is sent.

Who votes for a block must be able to give it to the others. A file is the certificate that the block stands on, with
its length before it, then the block. Files of blocks that became final or were given up are
removed without haste: one that stays behind after a crash is passed over at the next start.
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

__all__ = ["PendingBlocks"]

_NAME: Final = re.compile(r"[0-9a-f]{64}\.block\Z")
_LENGTH: Final = struct.Struct("<I")


class PendingBlocks:
    """Files in a folder of their own.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder)

    def put(self, block_hash: bytes, block: bytes, parent: Certificate) -> None:
        """Make a block durable before returning; StorageError if that fails."""
        path = self._path(block_hash)
        if not path.exists():
            certificate = msgspec.msgpack.encode(parent)
            write_atomic(path, b"".join([_LENGTH.pack(len(certificate)), certificate, block]))

    def remove(self, block_hash: bytes) -> None:
        """Forget a block; one that is not here is no matter."""
        with suppress(FileNotFoundError):
            self._path(block_hash).unlink()

    def contents(self) -> list[tuple[bytes, Certificate]]:
        """All blocks, in any order, each with the certificate that it stands on.

        Raises
        ------
        StorageError
            If a file can't be read.
        """
        try:
            return [_read(path) for path in self._folder.iterdir() if _NAME.match(path.name)]
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}") from error

    def keep_only(self, block_hashes: set[bytes]) -> None:
        """Remove the files of all other blocks."""
        wanted = {self._path(block_hash).name for block_hash in block_hashes}
        for path in list(self._folder.iterdir()):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, block_hash: bytes) -> Path:
        return self._folder / f"{block_hash.hex()}.block"


def _read(path: Path) -> tuple[bytes, Certificate]:
    content = path.read_bytes()
    try:
        end = _LENGTH.size + int(_LENGTH.unpack_from(content)[0])
        return content[end:], msgspec.msgpack.decode(content[_LENGTH.size : end], type=Certificate)
    except (struct.error, msgspec.DecodeError) as error:
        raise StorageError(f"{path}: not a block with its certificate: {error}") from error
