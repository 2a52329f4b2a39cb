"""Blocks as bytes: the header, the commands and the columns of records that took effect.

All integers are little-endian. The header is hashed as an RFC 6962 leaf, so headers can be leaves of the history log as
they are. The columns hold only what took effect. Of what was refused the commands keep what a signature over a whole
batch covers, and what burnt its id (docs/decisions/003); the rest went back to the submitter as result codes and left
no trace. docs/block-format.md gives the bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto import merkle
from pyledger.errors import InputError
from pyledger.ledger.commands import (
    KIND_ACCOUNTS,
    KIND_KEYS,
    KIND_TRANSFERS,
    Attestation,
    Command,
    RegisterKeys,
    command_leaf_hashes,
    decode_commands,
)
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, U128, AccountFlags, TransferFlags

__all__ = [
    "ACCOUNT_ENTRY",
    "ATTESTED",
    "CONTROLLED",
    "KIND_ACCOUNTS",
    "KIND_KEYS",
    "KIND_TRANSFERS",
    "OUTCOME_SIZE",
    "SIGNED",
    "Attestation",
    "Block",
    "Body",
    "Command",
    "Header",
    "RegisterKeys",
    "account_leaves",
    "batch_message",
    "byte_rows",
    "command_leaf_hashes",
    "copied",
    "joined",
    "linked_chains",
    "outcome_leaves",
    "transfer_hashes",
    "transfer_leaf_hashes",
    "transfer_leaves",
    "transfer_messages",
    "weave",
]

ACCOUNT_ENTRY = np.dtype([("record", ACCOUNT), ("owner_key", "<u4"), ("institution", "<u4")])
"""An account with its owner: key index and institution; 136 bytes. Leaf of the accounts tree and of the state tree."""

CONTROLLED = np.dtype([("position", "<u4"), ("key", "<u4")])
"""A pending transfer with a controller: its position in the block, the controller's key index; 8 bytes."""

TRANSFER_DOMAIN: Final = b"pyledger/tx/v1\0"
LINKED_DOMAIN: Final = b"pyledger/lk/v1\0"
BATCH_DOMAIN: Final = b"pyledger/batch/v1\0"
SIGNED, ATTESTED = 1, 2

_OUTCOME: Final = np.dtype(
    [
        ("timestamp", "<u8"),
        ("amount", U128),
        ("kind", "u1"),
        ("zero", "u1", (3,)),
        ("institution", "<u4"),
        ("sequence", "<u8"),
        ("public_key", "u1", (32,)),
    ]
)
_HEADER: Final = struct.Struct("<HHI16sQQQQ32s32s32sIIII32s32s32s32s32s32s")
OUTCOME_SIZE: Final = _OUTCOME.itemsize
_COUNTS_END: Final = 11  # place of the zero behind the counts, among the fields of Header
_BODY: Final = struct.Struct("<QIIIII")  # command bytes, accounts, transfers, signatures, effects, controllers
_WIDTHS: Final = (1, 136, 128, 4, 64, 16, CONTROLLED.itemsize)
_BATCH: Final = struct.Struct("<B16sIQI32s")


@dataclass(frozen=True, slots=True)
class Header:
    """What validators vote on: 360 bytes, fixed.

    Parameters
    ----------
    chain_id : bytes
        16 bytes.
    epoch, height, round : int
        Height counts blocks from 1; the round is the consensus round in which the block was proposed.
    time_ns : int
        Block time. Records have timestamps from here on, a nanosecond apart as submitted, so refused ones leave gaps.
    parent : bytes
        Hash of the block before (genesis hash for height 1).
    validators_hash, next_validators_hash : bytes
        Who votes on this block and on the next.
    accounts_count, transfers_count, commands_count : int
        Sizes of the trees.
    accounts_root, transfers_root, commands_root : bytes
        RFC 6962 roots.
    outcomes_root : bytes
        RFC 6962 root over the outcome of each transfer: when, how much, by whose authority (`outcome_leaves`).
    state_root : bytes
        Root of the state tree after this block.
    history_root : bytes
        RFC 6962 root over the hashes of all headers before this one.
    """

    chain_id: bytes
    epoch: int
    height: int
    round: int
    time_ns: int
    parent: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    accounts_count: int
    transfers_count: int
    commands_count: int
    accounts_root: bytes
    transfers_root: bytes
    commands_root: bytes
    outcomes_root: bytes
    state_root: bytes
    history_root: bytes

    SIZE = _HEADER.size
    VERSION = 1
    SCHEME = 1  # SHA-256, Ed25519, BLS12-381 min-sig

    def to_bytes(self) -> bytes:
        """Encode in the fixed layout."""
        return _HEADER.pack(
            self.VERSION,
            self.SCHEME,
            0,
            self.chain_id,
            self.epoch,
            self.height,
            self.round,
            self.time_ns,
            self.parent,
            self.validators_hash,
            self.next_validators_hash,
            self.accounts_count,
            self.transfers_count,
            self.commands_count,
            0,
            self.accounts_root,
            self.transfers_root,
            self.commands_root,
            self.outcomes_root,
            self.state_root,
            self.history_root,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Decode exactly `SIZE` bytes; InputError for any other length, version or scheme."""
        if len(data) != cls.SIZE:
            raise InputError(f"block header: expected {cls.SIZE} bytes, got {len(data)}")
        version, scheme, reserved, *fields = _HEADER.unpack(data)
        zero = fields.pop(_COUNTS_END)
        if (version, scheme, reserved, zero) != (cls.VERSION, cls.SCHEME, 0, 0):
            raise InputError(f"block header: expected version 1, scheme 1, got {version}, {scheme}, {reserved}, {zero}")
        return cls(*fields)

    @property
    def hash(self) -> bytes:
        """RFC 6962 leaf hash of the bytes; 32 bytes. The block's hash."""
        return hashlib.sha256(b"\0" + self.to_bytes()).digest()


@dataclass(frozen=True, slots=True)
class Body:
    """The columns of a block.

    Parameters
    ----------
    commands : tuple of Command
    accounts : NDArray, shape (a,), dtype ACCOUNT_ENTRY
        Accounts created, balances zero.
    transfers : NDArray, shape (t,), dtype TRANSFER
        As submitted, with their timestamps.
    signers : NDArray[uint32], shape (t,)
        Key index of each transfer's signature; NO_KEY where an attestation covers it.
    signatures : NDArray[uint8], shape (s, 64)
        One for each signer that is not NO_KEY, in order.
    effects : NDArray, shape (t,) or (0,), dtype U128
        Amounts really posted; empty if each equals the amount submitted.
    controllers : NDArray, shape (c,), dtype CONTROLLED
        Pending transfers that name who may post or void them, by rising position.
    """

    commands: tuple[Command, ...] = ()
    accounts: NDArray[Any] = field(default_factory=lambda: np.empty(0, ACCOUNT_ENTRY))
    transfers: NDArray[Any] = field(default_factory=lambda: np.empty(0, TRANSFER))
    signers: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    signatures: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 64), np.uint8))
    effects: NDArray[Any] = field(default_factory=lambda: np.empty(0, U128))
    controllers: NDArray[Any] = field(default_factory=lambda: np.empty(0, CONTROLLED))

    def to_bytes(self) -> bytes:
        """Encode: sizes, then each column's bytes."""
        return b"".join(self.parts())

    def parts(self) -> list[bytes | memoryview]:
        """The encoding in pieces, the columns as they stand in memory."""
        commands = msgspec.msgpack.encode(self.commands)
        signers = self.signers if len(self.signatures) else self.signers[:0]
        counted = (self.accounts, self.transfers, self.signatures, self.effects, self.controllers)
        sizes = _BODY.pack(len(commands), *map(len, counted))
        columns = (self.accounts, self.transfers, signers, self.signatures, self.effects, self.controllers)
        return [sizes, commands, *(column.reshape(-1).view(np.uint8).data for column in columns)]

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Body:
        """Decode exactly; InputError if a size does not fit or the commands are not canonical."""
        if len(data) < _BODY.size:
            raise InputError(f"block body: expected at least {_BODY.size} bytes, got {len(data)}")
        commands, accounts, transfers, signatures, effects, controllers = _BODY.unpack_from(data)
        if effects not in (0, transfers) or max(signatures, controllers) > transfers:
            raise InputError("block body: sizes out of range")
        signers = transfers if signatures else 0
        counts = (commands, accounts, transfers, signers, signatures, effects, controllers)
        sizes = tuple(count * width for count, width in zip(counts, _WIDTHS, strict=True))
        if _BODY.size + sum(sizes) != len(data):
            raise InputError(f"block body: expected {_BODY.size + sum(sizes)} bytes, got {len(data)}")
        parts = _split(memoryview(data)[_BODY.size :], sizes)
        # Wider columns are copied, for their alignment.
        return cls(
            decode_commands(bytes(parts[0])),
            np.frombuffer(parts[1], ACCOUNT_ENTRY).copy(),
            np.frombuffer(parts[2], TRANSFER).copy(),
            np.frombuffer(parts[3], np.uint32).copy() if signatures else np.full(transfers, NO_KEY, np.uint32),
            np.frombuffer(parts[4], np.uint8).reshape(-1, 64),
            np.frombuffer(parts[5], U128).copy(),
            _decode_controllers(parts[6], transfers),
        )


@dataclass(frozen=True)
class Block:
    """A header and the body it commits to."""

    header: Header
    body: Body

    def to_bytes(self) -> bytes:
        """Header bytes, then body bytes."""
        return b"".join(self.parts())

    def parts(self) -> list[bytes | memoryview]:
        """The same in pieces."""
        return [self.header.to_bytes(), *self.body.parts()]

    @classmethod
    def from_bytes(cls, data: bytes) -> Block:
        """Decode exactly; the body is not yet checked against the header's roots."""
        header = Header.from_bytes(data[: Header.SIZE])
        block = cls(header, Body.from_bytes(memoryview(data)[Header.SIZE :]))
        body = block.body
        counts = (len(body.accounts), len(body.transfers), len(body.commands))
        expected = (header.accounts_count, header.transfers_count, header.commands_count)
        if counts != expected:
            raise InputError(f"block {header.height}: header counts {expected}, body has {counts}")
        return block

    @cached_property
    def hash(self) -> bytes:
        """Hash of the header."""
        return self.header.hash


def transfer_leaves(chain_id: bytes, records: NDArray[Any]) -> NDArray[np.uint8]:
    """Leaf data of transfers, shape (n, 144): chain id, then the record with timestamp zero (its own if imported)."""
    return _leaves(chain_id, records, records["flags"] & TransferFlags.IMPORTED != 0)


def transfer_leaf_hashes(chain_id: bytes, records: NDArray[Any], threads: int = 0) -> NDArray[np.uint8]:
    """RFC 6962 leaf hashes of `transfer_leaves`, shape (n, 32), without putting the leaves together."""
    return _core.transfer_leaf_hashes(chain_id, byte_rows(records), threads)


def transfer_hashes(
    chain_id: bytes, records: NDArray[Any], controlled: NDArray[Any], controller_keys: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """RFC 6962 leaf hashes of transfers, some of which name a controller; shape (n, 32).

    The leaf data of a pending transfer that names one ends with his public key: 176 bytes instead of 144. So whatever
    signs the leaf signs the controller, and nobody can take him away or put another in his place.

    Parameters
    ----------
    chain_id : bytes
    records : NDArray, shape (n,), dtype TRANSFER
    controlled : NDArray[int], shape (c,)
        Rows that name a controller.
    controller_keys : NDArray[uint8], shape (c, 32)
        The controllers' Ed25519 public keys.
    """
    hashes = transfer_leaf_hashes(chain_id, records)
    if len(controlled):
        leaves = transfer_leaves(chain_id, records[controlled])
        hashes[controlled] = merkle.leaf_hashes(np.concatenate([leaves, controller_keys], axis=1))
    return hashes


def account_leaves(chain_id: bytes, entries: NDArray[Any]) -> NDArray[np.uint8]:
    """Leaf data of created accounts, shape (n, 152): as `transfer_leaves`, then owner key and institution."""
    return _leaves(chain_id, entries, entries["record"]["flags"] & AccountFlags.IMPORTED != 0)


def byte_rows(records: NDArray[Any]) -> NDArray[np.uint8]:
    """Records of any dtype as rows of their bytes, shape (n, itemsize); the same memory if contiguous."""
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)


def copied(array: NDArray[Any]) -> NDArray[Any]:
    """A copy, record by record instead of field by field: NumPy takes 17 times as long for the latter."""
    if array.dtype.fields is None:
        return array.copy()
    return array.view(f"V{array.dtype.itemsize}").copy().view(array.dtype)


def joined(arrays: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Records one after the other, shape (n,), dtype as given; one array alone is not copied."""
    if len(arrays) == 1:
        return arrays[0]
    rows = np.concatenate([np.empty((0, dtype.itemsize), np.uint8), *map(byte_rows, arrays)])
    records: NDArray[Any] = rows.reshape(-1).view(dtype)
    return records


def _leaves(chain_id: bytes, records: NDArray[Any], imported: NDArray[np.bool_]) -> NDArray[np.uint8]:
    width = records.dtype.itemsize
    leaves = np.empty((len(records), 16 + width), np.uint8)
    leaves[:, :16] = np.frombuffer(chain_id, np.uint8)
    leaves[:, 16:] = byte_rows(records)
    leaves[~imported, 136:144] = 0  # the timestamp of either record
    return leaves


def outcome_leaves(
    timestamps: NDArray[np.uint64],
    amounts: NDArray[Any],
    kind: int,
    institution: int,
    sequence: int,
    public_keys: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Leaf data of outcomes, shape (n, 72): what a transfer came to, which its signer could not know.

    Parameters
    ----------
    timestamps : NDArray[uint64], shape (n,)
    amounts : NDArray, shape (n,), dtype U128
        Really posted (or reserved, if pending).
    kind : int
        SIGNED or ATTESTED.
    institution, sequence : int
        Of the attestation; 0 if signed.
    public_keys : NDArray[uint8], shape (n, 32) or (1, 32)
        Whose signature authorised the transfer.
    """
    outcomes = np.zeros(len(timestamps), _OUTCOME)
    outcomes["timestamp"], outcomes["amount"], outcomes["kind"] = timestamps, amounts, kind
    outcomes["institution"], outcomes["sequence"] = institution, sequence
    outcomes["public_key"] = public_keys
    return outcomes.view(np.uint8).reshape(-1, _OUTCOME.itemsize)


def transfer_messages(records: NDArray[Any], leaf_hashes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes that each transfer's signer signs, shape (n, 47).

    A transfer that stands alone: `pyledger/tx/v1` and a zero byte, then its leaf hash. A member of a linked chain:
    `pyledger/lk/v1` and a zero byte, then SHA-256 of its leaf hash and the RFC 6962 root of the chain's leaf hashes, so
    that nobody can take one leg of an exchange without the other.

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
        A batch in order; LINKED flags say which belong together.
    leaf_hashes : NDArray[uint8], shape (n, 32)
        RFC 6962 leaf hashes of `transfer_leaves`.
    """
    messages = np.empty((len(leaf_hashes), len(TRANSFER_DOMAIN) + 32), np.uint8)
    messages[:, : len(TRANSFER_DOMAIN)] = np.frombuffer(TRANSFER_DOMAIN, np.uint8)
    messages[:, len(TRANSFER_DOMAIN) :] = leaf_hashes
    for start, end in linked_chains(records):
        root = merkle.root_of_leaf_hashes(leaf_hashes[start:end])
        for place in range(start, end):
            digest = hashlib.sha256(leaf_hashes[place].tobytes() + root).digest()
            messages[place] = np.frombuffer(LINKED_DOMAIN + digest, np.uint8)
    return messages


def linked_chains(records: NDArray[Any]) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each linked chain: records flagged LINKED and the one that ends them."""
    linked = np.concatenate([[False], records["flags"] & TransferFlags.LINKED != 0, [False]])
    starts = np.flatnonzero(~linked[:-1] & linked[1:])
    ends = np.minimum(np.flatnonzero(linked[:-1] & ~linked[1:]) + 1, len(records))
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def batch_message(kind: int, chain_id: bytes, institution: int, sequence: int, size: int, root: bytes) -> bytes:
    """Bytes that an institution signs for a batch: domain, kind, chain, institution, sequence, size, RFC 6962 root."""
    return BATCH_DOMAIN + _BATCH.pack(kind, chain_id, institution, sequence, size, root)


def weave(taken: NDArray[Any], refused: NDArray[Any], refused_positions: tuple[int, ...]) -> NDArray[Any]:
    """Rows of a batch as it was submitted: those that took effect, in order, with the refused ones in their places.

    Parameters
    ----------
    taken, refused : NDArray, of n and m rows of one kind
    refused_positions : tuple of int, of length m
        Places of the refused rows in the batch, rising and below n + m, as decoding a block makes sure.
    """
    if not refused_positions:
        return taken
    is_refused = np.zeros(len(taken) + len(refused), np.bool_)
    is_refused[list(refused_positions)] = True
    rows = np.empty((len(is_refused), *taken.shape[1:]), taken.dtype)
    rows[is_refused], rows[~is_refused] = refused, taken
    return rows


def _decode_controllers(data: memoryview, transfers: int) -> NDArray[Any]:
    column = np.frombuffer(data, CONTROLLED).copy()
    positions = column["position"].astype(np.int64)
    if (np.diff(positions) <= 0).any() or (positions >= transfers).any() or (column["key"] == NO_KEY).any():
        raise InputError("block controllers: expected rising positions of transfers, each with a key")
    return column


def _split(data: memoryview, sizes: tuple[int, ...]) -> list[memoryview]:
    parts, offset = [], 0
    for size in sizes:
        parts.append(data[offset : offset + size])
        offset += size
    return parts
