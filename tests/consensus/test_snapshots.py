"""Snapshots from peers: nothing is kept that was not offered, nothing is used that was not certified."""

import hashlib

import pytest
from consensus_chains import make_header, make_keys, make_set

from pyledger.consensus.snapshots import (
    Offer,
    OfferRequest,
    Piece,
    PieceRequest,
    SnapshotFetch,
    decode_snapshot,
    encode_snapshot,
)
from pyledger.errors import InputError, ProofError

PIECES = [bytes([number]) * 100 for number in range(5)]
VALIDATORS = make_set(make_keys(4))


class Kept:
    """A state that is its pieces."""

    def __init__(self):
        self.pieces = {}

    def put_piece(self, index, content):
        assert index not in self.pieces
        self.pieces[index] = content

    def restore(self, header):
        return hashlib.sha256(b"".join(self.pieces[index] for index in sorted(self.pieces))).digest()


def header_of(pieces=PIECES):
    return make_header(height=9, validators=VALIDATORS, state_root=hashlib.sha256(b"".join(pieces)).digest())


def offer_of(header, pieces=PIECES):
    return Offer(header.height, header.hash, tuple(hashlib.sha256(piece).digest() for piece in pieces))


def test_pieces_come_in_any_order_and_the_root_must_be_the_certified_one():
    header, kept = header_of(), Kept()
    fetch = SnapshotFetch(header, offer_of(header), kept)
    assert fetch.missing(3) == [0, 1, 2]
    for index in (4, 2, 0, 2, 1):
        fetch.take(Piece(header.hash, index, PIECES[index]))
    with pytest.raises(ProofError, match="1 pieces are missing"):
        fetch.finish()
    fetch.take(Piece(header.hash, 3, PIECES[3]))
    assert fetch.missing(9) == []
    fetch.finish()


def test_an_offer_for_another_block_is_refused():
    header = header_of()
    for wrong in (
        Offer(8, header.hash, offer_of(header).pieces),
        Offer(9, b"x" * 32, offer_of(header).pieces),
    ):
        with pytest.raises(ProofError, match="offered for"):
            SnapshotFetch(header, wrong, Kept())


def test_a_piece_that_was_not_offered_is_refused():
    header, kept = header_of(), Kept()
    fetch = SnapshotFetch(header, offer_of(header), kept)
    wrong = [
        Piece(header.hash, 0, PIECES[1]),
        Piece(header.hash, 5, PIECES[0]),
        Piece(b"x" * 32, 0, PIECES[0]),
        Piece(header.hash, 0, PIECES[0] + b"\0"),
    ]
    for piece in wrong:
        with pytest.raises(ProofError, match="piece"):
            fetch.take(piece)
    assert kept.pieces == {}


def test_a_state_that_was_not_certified_is_refused():
    header, kept = header_of(), Kept()
    forged = [*PIECES[:-1], b"forged"]
    fetch = SnapshotFetch(header, offer_of(header, forged), kept)
    for index, content in enumerate(forged):
        fetch.take(Piece(header.hash, index, content))
    with pytest.raises(ProofError, match="state root"):
        fetch.finish()


@pytest.mark.parametrize(
    "message",
    [
        OfferRequest(7),
        offer_of(header_of()),
        PieceRequest(b"h" * 32, 3),
        Piece(b"h" * 32, 3, b"content"),
    ],
)
def test_messages_have_one_encoding(message):
    data = encode_snapshot(message)
    assert decode_snapshot(data) == message
    for wrong in (data + b"\0", data[:-1], b"\x01" + data[1:], b"", data[:1]):
        with pytest.raises(InputError):
            decode_snapshot(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        OfferRequest(-1),
        Offer(1, b"h" * 32, ()),
        Offer(1, b"h" * 31, (b"h" * 32,)),
        PieceRequest(b"h" * 32, 1 << 16),
        Piece(b"h" * 32, 0, bytes((1 << 24) + 1)),
    ],
)
def test_fields_have_their_lengths_and_ranges(wrong):
    with pytest.raises(InputError):
        decode_snapshot(encode_snapshot(wrong))
