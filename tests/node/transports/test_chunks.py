"""Pieces of large messages: any order, repeats, losses, lies; memory stays bounded."""

import random
import secrets
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyledger.node.transports.chunks import HEAD_BYTES, Assembler, split

PIECE = 4096 + HEAD_BYTES
SENDERS = frozenset({"A", "B"})


def assembler(message_bytes_max=1 << 20):
    return Assembler(message_bytes_max, SENDERS, "ME")


@given(st.integers(0, 40_000), st.randoms(use_true_random=False))
def test_pieces_in_any_order_and_repeated_give_the_message_once_or_more(size, draw):
    payload = secrets.token_bytes(size)
    pieces = split("A", payload, PIECE)
    assert all(len(piece) <= PIECE for piece in pieces)
    draw.shuffle(pieces)
    receiver = assembler()
    found = [whole for piece in pieces + pieces if (whole := receiver.add(piece)) is not None]
    assert found
    assert set(found) == {("A", payload)}


def test_two_messages_at_a_time_do_not_mix():
    first, second = bytes(20_000), secrets.token_bytes(20_000)
    pieces = split("A", first, PIECE) + split("A", second, PIECE)
    random.Random(1).shuffle(pieces)
    receiver = assembler()
    found = {whole[1] for piece in pieces if (whole := receiver.add(piece)) is not None}
    assert found == {first, second}


def test_a_missing_piece_gives_nothing():
    receiver = assembler()
    assert all(receiver.add(piece) is None for piece in split("A", bytes(20_000), PIECE)[1:])


def test_own_pieces_are_passed_over():
    assert assembler().add(split("ME", b"echo", PIECE)[0]) is None


@pytest.mark.parametrize("size", [0, 1, HEAD_BYTES - 1])
def test_what_is_shorter_than_a_head_is_refused(size):
    with pytest.raises(ValueError, match="shorter"):
        assembler().add(bytes(size))


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, b"X"), (4, b"\2"), (6, b"\1"), (8, struct.pack("<I", 9)), (12, struct.pack("<I", 1 << 30)), (32, b"STRANGER")],
    ids=["magic", "version", "reserved", "index", "count", "sender"],
)
def test_a_head_with_a_wrong_field_is_refused(offset, value):
    piece = bytearray(split("A", bytes(20_000), PIECE)[0])
    piece[offset : offset + len(value)] = value
    with pytest.raises(ValueError, match="piece"):
        assembler().add(bytes(piece))


def test_pieces_that_disagree_on_their_count_are_refused():
    pieces = split("A", bytes(20_000), PIECE)
    receiver = assembler()
    receiver.add(pieces[0])
    liar = bytearray(pieces[1])
    liar[12:16] = struct.pack("<I", len(pieces) + 1)
    with pytest.raises(ValueError, match="count"):
        receiver.add(bytes(liar))


def test_a_message_that_grows_too_large_is_given_up():
    receiver = assembler(message_bytes_max=16_384)
    pieces = split("A", bytes(16_385), PIECE)
    for piece in pieces[:-1]:
        receiver.add(piece)
    with pytest.raises(ValueError, match="larger"):
        receiver.add(pieces[-1])


def test_unfinished_messages_are_bounded_and_who_floods_loses_his_own():
    receiver = Assembler(100_000, SENDERS, "ME", bytes_max=200_000)
    payload = secrets.token_bytes(20_000)
    mine = split("B", payload, PIECE)
    for piece in mine[:-1]:
        receiver.add(piece)
    for _ in range(1000):
        for piece in split("A", bytes(90_000), PIECE)[:-1]:
            receiver.add(piece)
    held = receiver._unfinished["A"]
    assert len(held) <= 8
    assert sum(message.bytes for message in held.values()) <= 200_000
    assert receiver.add(mine[-1]) == ("B", payload)
    assert receiver._bytes["B"] == 0
