"""Certified blocks: what validators sign about a block, and how block and certificate stand in the journal."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pyledger.consensus.messages import VoteStatement
from pyledger.crypto import bls
from pyledger.errors import StorageError
from pyledger.ledger.blocks import Block, Header

__all__ = ["Columns", "certificate_of", "columns_of", "decode_payload", "encode_payload", "payload_parts", "statement"]


def statement(header: Header) -> VoteStatement:
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


def certificate_of(block: Block, certificate: bytes, validators: bls.ValidatorSet) -> bls.QuorumCertificate:
    """The certificate, which must be about exactly this block; its signature is not checked yet."""
    decoded = bls.QuorumCertificate.from_bytes(certificate)
    expected = statement(block.header)
    if block.header.validators_hash != validators.hash or decoded.message != expected.to_bytes():
        difference = _difference(decoded.message, expected, validators)
        raise StorageError(f"block {block.header.height}: the certificate is for something else: {difference}")
    return decoded


def _difference(message: bytes, expected: VoteStatement, validators: bls.ValidatorSet) -> str:
    """The first field in which what was certified is not the header."""
    certified = VoteStatement.from_bytes(message)
    for name in VoteStatement.__struct_fields__:
        if getattr(certified, name) != getattr(expected, name):
            return f"its '{name}' is not that of the header"
    return f"'validators_hash' is not that of the chain's validators, {validators.hash.hex()}"


def payload_parts(block: Block, certificate: bytes) -> list[bytes | memoryview]:
    """Certificate with its length before it, then the block, in pieces."""
    return [struct.pack("<I", len(certificate)), certificate, *block.parts()]


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a block's transfers lie in its payload: bytes from the beginning; no effects: 0."""

    records_offset: int
    effects_offset: int
    count: int


_TRANSFERS_PART, _EFFECTS_PART = 6, 9  # of payload_parts


def columns_of(parts: Sequence[bytes | memoryview], block: Block) -> Columns:
    """Where the transfers of a block lie in its `payload_parts`."""
    sizes = [len(part) for part in parts]
    effects = sum(sizes[:_EFFECTS_PART]) if sizes[_EFFECTS_PART] else 0
    return Columns(sum(sizes[:_TRANSFERS_PART]), effects, len(block.body.transfers))


def encode_payload(block: Block, certificate: bytes) -> bytes:
    """The same in one piece."""
    return b"".join(payload_parts(block, certificate))


def decode_payload(payload: bytes) -> tuple[Block, bytes]:
    """Block and certificate; StorageError or InputError if the bytes are none."""
    if len(payload) < 4:
        raise StorageError("journal: a payload ends before its certificate")
    end = 4 + int(struct.unpack_from("<I", payload)[0])
    return Block.from_bytes(payload[end:]), payload[4:end]
