"""What validators sign: the vote statement, fixed bytes.

A statement names everything that a vote is about, so a vote can't be used for another chain, epoch, validator set,
round or block.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from pyledger.errors import InputError

__all__ = ["VoteStatement"]

_STATEMENT: Final = struct.Struct("<HHI16sQQQ32s32s32s32s")


@dataclass(frozen=True, slots=True)
class VoteStatement:
    """A vote for one block in one round.

    Parameters
    ----------
    chain_id : bytes
        16 bytes.
    epoch, round, height : int
        Unsigned 64-bit.
    validators_hash : bytes
        Hash of the validator set that votes; 32 bytes.
    parent, block_hash, state_root : bytes
        32 bytes each.
    """

    chain_id: bytes
    epoch: int
    round: int
    height: int
    validators_hash: bytes
    parent: bytes
    block_hash: bytes
    state_root: bytes

    SIZE = _STATEMENT.size
    VERSION = 1
    SCHEME = 1  # BLS12-381 min-sig

    def to_bytes(self) -> bytes:
        """Encode in the fixed layout: 176 bytes."""
        return _STATEMENT.pack(
            self.VERSION,
            self.SCHEME,
            0,
            self.chain_id,
            self.epoch,
            self.round,
            self.height,
            self.validators_hash,
            self.parent,
            self.block_hash,
            self.state_root,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> VoteStatement:
        """Decode exactly `SIZE` bytes; InputError for any other length, version or scheme."""
        if len(data) != cls.SIZE:
            raise InputError(f"vote statement: expected {cls.SIZE} bytes, got {len(data)}")
        version, scheme, reserved, *fields = _STATEMENT.unpack(data)
        if (version, scheme, reserved) != (cls.VERSION, cls.SCHEME, 0):
            raise InputError(f"vote statement: expected version 1, scheme 1, got {version}, {scheme}, {reserved}")
        return cls(*fields)
