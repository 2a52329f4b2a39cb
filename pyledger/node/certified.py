"""Certified blocks: what validators sign about a block, and how block and certificate stand in the journal.

Behind a block that ends an epoch stands what proves it final: the headers and certificates of the closing blocks, which
are no part of the chain, and the validators who take over (docs/consensus.md, epochs).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.light_client import LightClient, Segment
from pyledger.consensus.messages import Certificate, SyncEntry, VoteStatement, statement_of
from pyledger.crypto import bls
from pyledger.errors import StorageError
from pyledger.ledger.blocks import Block, Body, Header
from pyledger.ledger.forming import Forming
from pyledger.ledger.journal import Journal
from pyledger.ledger.validators import Office

__all__ = [
    "Columns",
    "Evidence",
    "certificate_of",
    "check_certified",
    "closing_block",
    "columns_of",
    "decode_evidence",
    "decode_payload",
    "ends_epoch",
    "evidence_of",
    "payload_parts",
    "read_header",
    "sync_entry",
    "verify_certificates",
]

Evidence = tuple[bytes, Segment | None]
"""A block's certificate and, if it ends its epoch, the closing blocks' headers and the next validators."""

_ENDS_EPOCH: Final = 1 << 31
_SIZE: Final = struct.Struct("<I")


def ends_epoch(header: Header) -> bool:
    """Whether other validators vote on the next block."""
    return header.next_validators_hash != header.validators_hash


def closing_block(parent: Header, history_root: bytes, round: int, time_ns: int) -> Block:
    """A block behind the end of an epoch, which changes nothing: it only shows what stands below it to be final.

    `history_root` is that of the log up to the last block of the epoch, as closing blocks are no part of the chain.
    """
    empty = Forming(time_ns, time_ns, time_ns)
    header = Header(
        chain_id=parent.chain_id,
        epoch=parent.epoch,
        height=parent.height + 1,
        round=round,
        time_ns=time_ns,
        parent=parent.hash,
        validators_hash=parent.validators_hash,
        next_validators_hash=ZERO_HASH,
        accounts_count=0,
        transfers_count=0,
        commands_count=0,
        state_root=parent.state_root,
        history_root=history_root,
        **empty.roots(),
    )
    return Block(header, Body())


def certificate_of(header: Header, certificate: bytes, office: Office) -> bls.QuorumCertificate:
    """The certificate, which must be about exactly this block of the epoch in office; not its signature's check."""
    decoded = bls.QuorumCertificate.from_bytes(certificate)
    expected = statement_of(header)
    in_office = (header.epoch, header.validators_hash) == (office.epoch, office.roster.hash)
    if not in_office or decoded.message != expected.to_bytes():
        difference = _difference(decoded.message, expected, office)
        raise StorageError(f"block {header.height}: the certificate is for something else: {difference}")
    return decoded


def _difference(message: bytes, expected: VoteStatement, office: Office) -> str:
    """The first field in which what was certified is not the header."""
    certified = VoteStatement.from_bytes(message)
    for name in VoteStatement.__struct_fields__:
        if getattr(certified, name) != getattr(expected, name):
            return f"its '{name}' is not that of the header"
    if certified.epoch != office.epoch:
        return f"'epoch' is not that of the chain, {office.epoch}"
    return f"'validators_hash' is not that of the chain's validators, {office.roster.hash.hex()}"


def check_certified(header: Header, evidence: Evidence, office: Office) -> None:
    """Refuse a block that the validators in office did not certify, or an epoch whose end is not shown to be final.

    Parameters
    ----------
    header : Header
    evidence : Evidence
    office : Office
        As it stands after the block.

    Raises
    ------
    StorageError, ProofError, InputError
    """
    verify_certificates([(header, evidence, office)])


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a block's transfers lie in its payload: bytes from the beginning; no effects: 0."""

    records_offset: int
    effects_offset: int
    count: int


_TRANSFERS_PART, _EFFECTS_PART = -5, -2  # of payload_parts


def columns_of(parts: Sequence[bytes | memoryview], block: Block) -> Columns:
    """Where the transfers of a block lie in its `payload_parts`."""
    sizes = [len(part) for part in parts]
    effects = sum(sizes[:_EFFECTS_PART]) if sizes[_EFFECTS_PART] else 0
    return Columns(sum(sizes[:_TRANSFERS_PART]), effects, len(block.body.transfers))


def verify_certificates(blocks: Iterable[tuple[Header, Evidence, Office]]) -> None:
    """The same for many blocks in order; certificates of one epoch are checked in one equation."""
    by_epoch: dict[int, tuple[bls.ValidatorSet, list[bls.QuorumCertificate]]] = {}
    for header, (certificate, closing), office in blocks:
        now = office.at(header.height)
        _, certificates = by_epoch.setdefault(now.epoch, (now.roster.keys, []))
        certificates.append(certificate_of(header, certificate, now))
        if ends_epoch(header) != (closing is not None):
            raise StorageError(f"block {header.height}: expected closing blocks where an epoch ends, and only there")
        if closing is not None:
            _check_closing(header, certificate, closing, now)
    for validators, certificates in by_epoch.values():
        bls.verify_chain(certificates, validators)


def _check_closing(last: Header, certificate: bytes, closing: Segment, now: Office) -> None:
    client = LightClient(
        last.chain_id, now.roster.keys, last.parent, Header.from_bytes, epoch=now.epoch, height=last.height - 1
    )
    client.advance(Segment(((last.to_bytes(), certificate), *closing.entries), closing.next_validators))


def payload_parts(block: Block, certificate: bytes, closing: Segment | None = None) -> list[bytes | memoryview]:
    """Certificate with its size before it, what closes the epoch, if it ends here, with its size, then the block."""
    if closing is None:
        return [_SIZE.pack(len(certificate)), certificate, *block.parts()]
    tail = closing.to_bytes()
    head = [_SIZE.pack(len(certificate) | _ENDS_EPOCH), certificate, _SIZE.pack(len(tail)), tail]
    return [*head, *block.parts()]


def decode_payload(payload: bytes) -> tuple[Block, bytes]:
    """Block and certificate; StorageError or InputError if the bytes are none."""
    block, (certificate, _) = decode_evidence(payload)
    return block, certificate


def decode_evidence(payload: bytes) -> tuple[Block, Evidence]:
    """Block and what certifies it; StorageError or InputError if the bytes are none."""
    evidence, rest = _split(payload)
    return Block.from_bytes(bytes(rest)), evidence


def evidence_of(payload: bytes) -> Evidence:
    """What certifies the block, which is not decoded; StorageError or InputError if there is none."""
    return _split(payload)[0]


def _split(payload: bytes) -> tuple[Evidence, memoryview]:
    """What certifies the block, and the block's bytes."""
    size, rest = _take_size(payload)
    certificate, rest = rest[: size & ~_ENDS_EPOCH], rest[size & ~_ENDS_EPOCH :]
    closing = None
    if size & _ENDS_EPOCH:
        tail_size, rest = _take_size(rest)
        closing, rest = Segment.from_bytes(bytes(rest[:tail_size])), rest[tail_size:]
    return (bytes(certificate), closing), rest


def read_header(journal: Journal, height: int) -> Header:
    """Header of a block, read without the rest of it: not checked, as opening the journal has done that."""
    path, offset = journal.place(height)
    with path.open("rb") as file:
        file.seek(offset)
        size = _SIZE.unpack(file.read(_SIZE.size))[0]
        file.seek(size & ~_ENDS_EPOCH, os.SEEK_CUR)
        if size & _ENDS_EPOCH:
            file.seek(_SIZE.unpack(file.read(_SIZE.size))[0], os.SEEK_CUR)
        return Header.from_bytes(file.read(Header.SIZE))


def sync_entry(block: Block, certificate: bytes) -> SyncEntry:
    """The two as peers exchange them."""
    quorum = bls.QuorumCertificate.from_bytes(certificate)
    signed = VoteStatement.from_bytes(quorum.message)
    return SyncEntry(block.to_bytes(), Certificate(signed, quorum.bitmap, quorum.signature))


def _take_size(data: bytes | memoryview) -> tuple[int, memoryview]:
    if len(data) < _SIZE.size:
        raise StorageError("journal: a payload ends before its certificate")
    return _SIZE.unpack_from(data)[0], memoryview(data)[_SIZE.size :]
