"""The vote record of a validator in a file of its own: what it must remember so that it never votes twice.

Each save is a whole file, synced before its name is (`write_atomic`). A validator whose chain has blocks and whose
record is missing does not start: the record may have been lost, and with it what it voted for.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pyledger.consensus.application import VoteRecord
from pyledger.errors import ConsensusError, StorageError
from pyledger.formats.atomic import write_atomic

__all__ = ["FileRecords"]


class FileRecords:
    """A `RecordStore` in a file.

    Parameters
    ----------
    path : Path
        The folder's journal lock keeps other processes away.
    is_new : bool
        Whether this validator can't have voted yet.
    """

    def __init__(self, path: Path, is_new: bool) -> None:
        self._path = path
        self._is_new = is_new

    def load(self) -> VoteRecord:
        """The last record saved.

        Raises
        ------
        ConsensusError
            If it is missing though this validator may have voted.
        StorageError
            If it can't be read.
        """
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=VoteRecord)
        except FileNotFoundError:
            if self._is_new:
                return VoteRecord()
            raise ConsensusError(f"{self._path}: the vote record is missing; what was voted for is not known") from None
        except (OSError, msgspec.DecodeError) as error:
            raise StorageError(f"{self._path}: the vote record can't be read: {error}") from error

    def save(self, record: VoteRecord) -> None:
        """Make a record durable before returning; StorageError if that fails."""
        write_atomic(self._path, msgspec.msgpack.encode(record))
