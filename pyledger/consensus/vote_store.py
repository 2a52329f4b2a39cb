"""The vote store: what a validator promised, in a file that is durable before a promise leaves the machine.

One file of two slots. A record goes into the slot that the last one is not in, with the next number and a checksum,
and is flushed; so the last record is never overwritten, and a write that was torn leaves the one before, beyond which
nothing had been sent yet. A slot holds its record twice, so that a bad sector under one of them is not taken for a
torn write. docs/vote-store-format.md gives the bytes.

A validator does not start without its file: whoever loses it may have promised anything, so the file is made once, for
a key that has never voted (`create`). A lock keeps a second process away. An old copy put back can't be told from the
newest one: do not restore this file from a backup; take a new key instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from pyledger.consensus.application import VoteRecord
from pyledger.errors import InputError, StateError, StorageError
from pyledger.formats.atomic import sync_folder

__all__ = ["VoteStore"]

_MAGIC: Final = b"PLVOTES\0"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sHHI16s32s")  # magic, version, zero, slot size, chain id, SHA-256 of the public key
_SLOT: Final = struct.Struct("<QI32s")  # number, record size, SHA-256 over header, number, size and record
_HEADER_SIZE: Final = 4096
_SLOT_SIZE: Final = 4096
_COPY_SIZE: Final = _SLOT_SIZE // 2
_FILE_SIZE: Final = _HEADER_SIZE + 2 * _SLOT_SIZE


class VoteStore:
    """The durable vote record of one key on one chain.

    Parameters
    ----------
    path : path
        Made by `create`.
    chain_id : bytes
        16 bytes.
    public_key : bytes
        The validator's key.

    Raises
    ------
    StorageError
        If there is no such file, it is of another format, or no slot of it is whole.
    StateError
        If it belongs to another chain or key, or another process has it open.
    """

    def __init__(self, path: str | os.PathLike[str], chain_id: bytes, public_key: bytes) -> None:
        self.path: Final = Path(path)
        self._head = _header(chain_id, public_key)
        self._failed = False
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise StorageError(
                f"{self.path}: there is no vote store. A validator that has voted must not go on without it; if its "
                "key never voted on this chain, start the node once with --new-key (in Python: VoteStore.create)"
            ) from None
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be opened: {error.strerror}") from error
        try:
            self._lock()
            self._number, self._record = self._read()
        except BaseException:
            os.close(self._file)
            raise

    @classmethod
    def create(cls, path: str | os.PathLike[str], chain_id: bytes, public_key: bytes) -> VoteStore:
        """Make the store of a key that has never voted on this chain, and open it.

        Raises
        ------
        StateError
            If there is a file already.
        StorageError
            If it can't be written.
        """
        target = Path(path)
        head = _header(chain_id, public_key)
        content = head.ljust(_HEADER_SIZE, b"\0") + _slot(head, 0, VoteRecord()) + bytes(_SLOT_SIZE)
        temporary = target.with_name(f".{target.name}.new")
        try:
            temporary.unlink(missing_ok=True)  # left by a creation that was cut short; it never was a store
            _write_new(temporary, content)
            os.link(temporary, target)  # unlike rename, refuses to replace a store that is there
            temporary.unlink()
            sync_folder(target.parent)
        except FileExistsError:
            temporary.unlink(missing_ok=True)
            raise StateError(f"{target}: there is a vote store already; it is never made anew") from None
        except OSError as error:
            raise StorageError(f"{target}: cannot be made: {error.strerror}") from error
        return cls(path, chain_id, public_key)

    def load(self) -> VoteRecord:
        """Give the record last saved."""
        return self._record

    def save(self, record: VoteRecord) -> None:
        """Make a record durable; it is when this returns.

        Raises
        ------
        StateError
            If it takes back what an earlier record promised; nothing is written.
        StorageError
            If it can't be written; the store must not be used any more.
        """
        if self._failed:
            raise StorageError(f"{self.path}: an earlier write failed, and what is on disk is not known")
        _check_follows(self._record, record, self.path)
        number = self._number + 1
        slot = _slot(self._head, number, record)
        self._failed = True  # until the flush has returned: after one that failed, the next may lie
        try:
            written = os.pwrite(self._file, slot, _HEADER_SIZE + number % 2 * _SLOT_SIZE)
            if written != len(slot):
                raise StorageError(f"{self.path}: {written} of {len(slot)} bytes were written")
            os.fdatasync(self._file)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._number, self._record, self._failed = number, record, False

    def close(self) -> None:
        """Let the file and its lock go."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> VoteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"{self.path}: another process votes with this key") from None

    def _read(self) -> tuple[int, VoteRecord]:
        content = os.pread(self._file, _FILE_SIZE + 1, 0)
        if len(content) != _FILE_SIZE or content[: len(_MAGIC)] != _MAGIC:
            raise StorageError(f"{self.path}: not a vote store of version {_VERSION}")
        if content[:_HEADER_SIZE] != self._head.ljust(_HEADER_SIZE, b"\0"):
            raise StateError(f"{self.path}: the vote store of another chain or key")
        copies = [_read_copy(self._head, content, place) for place in range(4)]
        whole = [copy for copy in copies if copy is not None]
        if not whole:
            raise StorageError(f"{self.path}: no record in it is whole: what was promised is not known")
        return max(whole, key=lambda copy: copy[0])


def _header(chain_id: bytes, public_key: bytes) -> bytes:
    if len(chain_id) != 16:
        raise InputError(f"chain_id: expected 16 bytes, got {len(chain_id)}")
    return _HEADER.pack(_MAGIC, _VERSION, 0, _SLOT_SIZE, chain_id, hashlib.sha256(public_key).digest())


def _digest(head: bytes, number: int, record: bytes) -> bytes:
    return hashlib.sha256(head + struct.pack("<QI", number, len(record)) + record).digest()


def _slot(head: bytes, number: int, record: VoteRecord) -> bytes:
    encoded = msgspec.msgpack.encode(record)
    if len(encoded) > _COPY_SIZE - _SLOT.size:
        raise InputError(f"vote record: expected at most {_COPY_SIZE - _SLOT.size} bytes, got {len(encoded)}")
    return 2 * (_SLOT.pack(number, len(encoded), _digest(head, number, encoded)) + encoded).ljust(_COPY_SIZE, b"\0")


def _read_copy(head: bytes, content: bytes, place: int) -> tuple[int, VoteRecord] | None:
    """The record in a half of a slot; None if it is not whole."""
    at = _HEADER_SIZE + place * _COPY_SIZE
    number, size, digest = _SLOT.unpack_from(content, at)
    if size > _COPY_SIZE - _SLOT.size or number % 2 != place // 2:
        return None
    encoded = content[at + _SLOT.size : at + _SLOT.size + size]
    if digest != _digest(head, number, encoded):
        return None
    return number, msgspec.msgpack.decode(encoded, type=VoteRecord)


def _check_follows(before: VoteRecord, after: VoteRecord, path: Path) -> None:
    """A high-water mark of its own, whatever the protocol above does."""
    if after.epoch > before.epoch:
        return
    marks = ("voted", "timed_out", "proposed")
    sinks = after.epoch < before.epoch or any(getattr(after, name) < getattr(before, name) for name in marks)
    if sinks or _lock_round(after) < _lock_round(before):
        raise StateError(f"{path}: a record that takes back what was promised: {after} after {before}")
    if after.voted == before.voted and after.block_hash != before.block_hash:
        raise StateError(f"{path}: a second vote in epoch {after.epoch}, round {after.voted}")


def _lock_round(record: VoteRecord) -> int:
    return -1 if record.lock is None else record.lock.statement.round


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(28, "short write")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
