"""What validators say to each other: signed statements of fixed bytes, and the messages that carry them.

A statement names everything that a signature is about, so that none can be used for another chain, epoch, validator
set or round. Messages travel as a version byte and one msgpack array; there is one encoding of each message, and what
is not that encoding is refused. docs/consensus.md has the table.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

import msgspec

from pyledger.consensus.wire import read_canonical
from pyledger.errors import InputError

if TYPE_CHECKING:
    from pyledger.consensus.application import Header

__all__ = [
    "BATCH_BYTES_MAX",
    "BLOCK_BYTES_MAX",
    "MESSAGE_BYTES_MAX",
    "SYNC_BYTES_MAX",
    "Acknowledgement",
    "Batch",
    "BatchCertificate",
    "BatchRequest",
    "BatchStatement",
    "Certificate",
    "Message",
    "Proposal",
    "ProposalStatement",
    "Statement",
    "Status",
    "SyncEntry",
    "SyncRequest",
    "SyncResponse",
    "Timeout",
    "TimeoutCertificate",
    "TimeoutStatement",
    "Vote",
    "VoteStatement",
    "decode",
    "encode",
    "statement_of",
]

MESSAGE_BYTES_MAX: Final = 1 << 26
"""Longest message. A block of 65,536 transfers with their signatures has 13 MB."""
BLOCK_BYTES_MAX: Final = MESSAGE_BYTES_MAX - (1 << 16)
"""Longest block. The rest of its message is for certificates: 53 kB where 4,096 validators gave up on a round."""
BATCH_BYTES_MAX: Final = 1 << 24
"""Longest batch that can be submitted for inclusion."""
SYNC_BYTES_MAX: Final = 1 << 23
"""Bytes of blocks in one answer to who catches up; the first block may be longer than that alone."""
_VERSION: Final = 1
_SYNC_ENTRIES_MAX: Final = 1 << 12

_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_ChainId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=4095)]
_Signature = Annotated[bytes, msgspec.Meta(max_length=96)]
_Bitmap = Annotated[bytes, msgspec.Meta(max_length=512)]

_STATEMENT_VERSION: Final = 1
_SCHEME: Final = 1  # BLS12-381 min-sig


class _Statement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is signed: version, scheme, kind, then the fields in the layout of the kind, little-endian."""

    NAME: ClassVar[str]
    KIND: ClassVar[int]
    LAYOUT: ClassVar[struct.Struct]

    def to_bytes(self) -> bytes:
        """Encode in the fixed layout."""
        return self.LAYOUT.pack(_STATEMENT_VERSION, _SCHEME, self.KIND, *msgspec.structs.astuple(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode exactly the layout's size; InputError for any other length, version, scheme or kind."""
        if len(data) != cls.LAYOUT.size:
            raise InputError(f"{cls.NAME} statement: expected {cls.LAYOUT.size} bytes, got {len(data)}")
        version, scheme, kind, *fields = cls.LAYOUT.unpack(data)
        statement = cls(*fields)
        if statement.to_bytes() != data:
            expected = f"expected version 1, scheme 1, kind {cls.KIND}"
            raise InputError(f"{cls.NAME} statement: {expected}, got {version}, {scheme}, {kind}")
        return statement


class VoteStatement(_Statement, frozen=True, array_like=True):
    """A vote for one block in one round; 176 bytes.

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

    chain_id: _ChainId
    epoch: _Number
    round: _Number
    height: _Number
    validators_hash: _Hash
    parent: _Hash
    block_hash: _Hash
    state_root: _Hash

    NAME: ClassVar[str] = "vote"
    KIND: ClassVar[int] = 0
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHI16sQQQ32s32s32s32s")


def statement_of(header: Header) -> VoteStatement:
    """What the validators sign about a block."""
    return VoteStatement(
        chain_id=header.chain_id,
        epoch=header.epoch,
        round=header.round,
        height=header.height,
        validators_hash=header.validators_hash,
        parent=header.parent,
        block_hash=header.hash,
        state_root=header.state_root,
    )


class TimeoutStatement(_Statement, frozen=True, array_like=True):
    """A validator gave up on a round; the highest certificate it holds is of `high_round`. 80 bytes."""

    chain_id: _ChainId
    epoch: _Number
    round: _Number
    high_round: _Number
    validators_hash: _Hash

    NAME: ClassVar[str] = "timeout"
    KIND: ClassVar[int] = 1
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHI16sQQQ32s")


class ProposalStatement(_Statement, frozen=True, array_like=True):
    """The leader of a round proposes this block. What comes with it in the message proves itself. 136 bytes.

    Votes are on the header alone. The leader signs the whole content: nobody can spread another behind its header.

    Parameters
    ----------
    chain_id : bytes
        16 bytes.
    epoch, round : int
        Unsigned 64-bit.
    validators_hash, block_hash : bytes
        32 bytes each.
    content_hash : bytes
        SHA-256 of the block's bytes.
    """

    chain_id: _ChainId
    epoch: _Number
    round: _Number
    validators_hash: _Hash
    block_hash: _Hash
    content_hash: _Hash

    NAME: ClassVar[str] = "proposal"
    KIND: ClassVar[int] = 2
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHI16sQQ32s32s32s")


class BatchStatement(_Statement, frozen=True, array_like=True):
    """A validator holds the batch of this digest and would include it. 104 bytes."""

    chain_id: _ChainId
    epoch: _Number
    validators_hash: _Hash
    digest: _Hash

    NAME: ClassVar[str] = "batch"
    KIND: ClassVar[int] = 3
    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HHI16sQ8x32s32s")


Statement = VoteStatement | TimeoutStatement | ProposalStatement | BatchStatement


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A quorum voted for a statement. Bit i % 8 of bitmap byte i / 8 stands for validator i.

    The certificate that an epoch starts from has round 0, no signers and no signature: it stands for the final block
    that the epoch is built on, and is accepted only by those who know that block to be final.
    """

    statement: VoteStatement
    signers: _Bitmap
    signature: _Signature

    def is_signed_by(self, validator: int) -> bool:
        """Whether a validator's signature is in it."""
        return len(self.signers) > validator // 8 and bool(self.signers[validator // 8] >> validator % 8 & 1)


class TimeoutCertificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A quorum gave up on a round.

    Parameters
    ----------
    epoch, round : int
    high_rounds : tuple of (validator, round)
        Who signed, rising, and the round of the highest certificate that each reported.
    signature : bytes
        Sum of their signatures.
    high : Certificate
        The highest certificate among those reported. Without it, a report of a certificate that does not exist would
        leave the next leader with nothing that it may extend.
    """

    epoch: _Number
    round: _Number
    high_rounds: Annotated[tuple[tuple[_Index, _Number], ...], msgspec.Meta(max_length=4096)]
    signature: _Signature
    high: Certificate


class Proposal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="proposal"):
    """A block, the certificate of its parent and, after a timeout, the certificate of the round that failed."""

    block: bytes
    parent: Certificate
    timeout: TimeoutCertificate | None
    validator: _Index
    signature: _Signature


class Vote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="vote"):
    """One validator's vote, for the leader of the next round."""

    statement: VoteStatement
    validator: _Index
    signature: _Signature


class Timeout(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="timeout"):
    """One validator gave up on a round; with the highest certificate it holds."""

    statement: TimeoutStatement
    high: Certificate
    validator: _Index
    signature: _Signature


class Status(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="status"):
    """What brings a straggler to the sender's round: its highest certificate and the timeout it entered by."""

    high: Certificate
    timeout: TimeoutCertificate | None


class SyncRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="sync"):
    """Ask for blocks from a height on, up to the block `wanted` if the peer knows it, else up to its highest."""

    from_height: _Number
    wanted: _Hash


class SyncEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block and the certificate for it."""

    block: bytes
    certificate: Certificate


class SyncResponse(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="blocks"):
    """Certified blocks, heights rising, each the parent of the next."""

    entries: Annotated[tuple[SyncEntry, ...], msgspec.Meta(max_length=_SYNC_ENTRIES_MAX)]


class Batch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="batch"):
    """What an institution submitted, spread to all validators; `content` carries its own authority."""

    content: Annotated[bytes, msgspec.Meta(max_length=BATCH_BYTES_MAX)]


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="ack"):
    """One validator holds a batch."""

    statement: BatchStatement
    validator: _Index
    signature: _Signature


class BatchCertificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="held"):
    """A quorum holds a batch: from now on it must be included."""

    statement: BatchStatement
    signers: _Bitmap
    signature: _Signature


class BatchRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="want"):
    """Ask for a batch by its digest."""

    digest: _Hash


Message = (
    Proposal
    | Vote
    | Timeout
    | Status
    | SyncRequest
    | SyncResponse
    | Batch
    | Acknowledgement
    | BatchCertificate
    | BatchRequest
)
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Give the one encoding of a message: version byte, msgpack array.

    Raises
    ------
    InputError
        If it would be longer than `MESSAGE_BYTES_MAX`.
    """
    data = bytes([_VERSION]) + _encoder.encode(message)
    if len(data) > MESSAGE_BYTES_MAX:
        raise InputError(f"message: expected at most {MESSAGE_BYTES_MAX} bytes, got {len(data)}")
    return data


def decode(data: bytes) -> Message:
    """Read a message from a peer. Signatures are not checked here.

    Raises
    ------
    InputError
        If it is too long, of another version, not a message, or not in its one encoding.
    """
    if not 1 < len(data) <= MESSAGE_BYTES_MAX:
        raise InputError(f"message: expected 2 to {MESSAGE_BYTES_MAX} bytes, got {len(data)}")
    if data[0] != _VERSION:
        raise InputError(f"message: expected version {_VERSION}, got {data[0]}")
    message: Message = read_canonical(data[1:], _decoder, MESSAGE_BYTES_MAX, "message")
    return message
