"""A snapshot from a peer, for an application whose state root commits to its whole state. Nodes don't use it.

The light client proves a final header; a peer offers the snapshot after that header's block; its pieces come by their
hashes from any peers, in any order; the application restores them and computes the state root, which must be the
header's. A wrong offer costs a download and nothing else. The book's root is not one that commits to everything
(keys, mandates, used ids stand outside it), so a node fetches blocks and executes them: record 022, with what would be
needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Final, Protocol

import msgspec

from pyledger.consensus.application import Header
from pyledger.consensus.wire import read_canonical
from pyledger.errors import InputError, ProofError

__all__ = [
    "PIECES_MAX",
    "PIECE_BYTES_MAX",
    "Offer",
    "OfferRequest",
    "Piece",
    "PieceRequest",
    "SnapshotFetch",
    "SnapshotSource",
    "decode_snapshot",
    "encode_snapshot",
]

PIECE_BYTES_MAX: Final = 1 << 24
PIECES_MAX: Final = 1 << 16
_MESSAGE_BYTES_MAX: Final = PIECE_BYTES_MAX + 256
_CHANNEL: Final = 2  # first byte; messages of the protocol begin with 1

_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=PIECES_MAX)]


class OfferRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="snapshots"):
    """Ask for the newest snapshot at or above a height."""

    least_height: _Number


class Offer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="snapshot"):
    """The state after a block, cut into pieces: SHA-256 of each, in order."""

    height: _Number
    block_hash: _Hash
    pieces: Annotated[tuple[_Hash, ...], msgspec.Meta(min_length=1, max_length=PIECES_MAX)]


class PieceRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="want piece"):
    """Ask for one piece of the snapshot after a block."""

    block_hash: _Hash
    index: _Index


class Piece(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="piece"):
    """One piece."""

    block_hash: _Hash
    index: _Index
    content: Annotated[bytes, msgspec.Meta(max_length=PIECE_BYTES_MAX)]


SnapshotMessage = OfferRequest | Offer | PieceRequest | Piece
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(SnapshotMessage)


def encode_snapshot(message: SnapshotMessage) -> bytes:
    """Give the one encoding of a message."""
    return bytes([_CHANNEL]) + _encoder.encode(message)


def decode_snapshot(data: bytes) -> SnapshotMessage:
    """Read a message from a peer; InputError unless the bytes are exactly one, in its one encoding."""
    if not data or data[0] != _CHANNEL:
        raise InputError(f"snapshot message: expected first byte {_CHANNEL}")
    message: SnapshotMessage = read_canonical(data[1:], _decoder, _MESSAGE_BYTES_MAX, "snapshot message")
    return message


class SnapshotSource(Protocol):
    """What gives snapshots to peers, and takes one."""

    def offer(self, least_height: int) -> Offer | None:
        """Describe the newest snapshot, if it is high enough."""
        ...

    def piece(self, block_hash: bytes, index: int) -> bytes | None:
        """Give one piece of a snapshot that is kept."""
        ...

    def put_piece(self, index: int, content: bytes) -> None:
        """Keep a piece that was checked."""
        ...

    def restore(self, header: Header) -> bytes:
        """Build the state from the pieces kept; give the state root computed from it."""
        ...


class SnapshotFetch:
    """One snapshot on its way in.

    Parameters
    ----------
    header : Header
        Known to be final (`LightClient`).
    offer : Offer
        From any peer.
    source : SnapshotSource
        Where checked pieces go.

    Raises
    ------
    ProofError
        If the offer is for another block than the header's.
    """

    def __init__(self, header: Header, offer: Offer, source: SnapshotSource) -> None:
        if (offer.height, offer.block_hash) != (header.height, header.hash):
            raise ProofError(
                f"snapshot: offered for height {offer.height}, expected the block proven at {header.height}"
            )
        self._header = header
        self._hashes = offer.pieces
        self._source = source
        self._missing = dict.fromkeys(range(len(offer.pieces)))

    def missing(self, count_max: int) -> Sequence[int]:
        """Indexes of pieces that have not come, lowest first."""
        return list(self._missing)[:count_max]

    def take(self, piece: Piece) -> None:
        """Keep a piece; one that has come already changes nothing.

        Raises
        ------
        ProofError
            If it is not the piece that the offer describes.
        """
        if piece.block_hash != self._header.hash or piece.index >= len(self._hashes):
            raise ProofError(f"snapshot: there is no piece {piece.index} of this block")
        if hashlib.sha256(piece.content).digest() != self._hashes[piece.index]:
            raise ProofError(f"snapshot: piece {piece.index} is not the one that was offered")
        if piece.index in self._missing:
            self._source.put_piece(piece.index, piece.content)
            del self._missing[piece.index]

    def finish(self) -> None:
        """Restore the state once all pieces are here.

        Raises
        ------
        ProofError
            If pieces are missing, or the state is not the one that was certified: the offer was wrong, and another peer
            must be asked.
        """
        if self._missing:
            raise ProofError(f"snapshot: {len(self._missing)} pieces are missing")
        if self._source.restore(self._header) != self._header.state_root:
            raise ProofError(f"snapshot: its state root is not that of the block at height {self._header.height}")
