"""Messages of any lengths come as (buffer, offsets) by one rule, whoever takes them."""

import numpy as np
import pytest

import pyledger as pl
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError

MESSAGES = [b"", b"a", b"", b"ledger", b"bc", b""]
OFFSETS = np.cumsum([0, *map(len, MESSAGES)]).astype(np.uint64)
BUFFER = np.frombuffer(b"".join(MESSAGES), np.uint8)
KEY = SigningKey.from_seed(bytes(32))
KEYS = np.tile(np.frombuffer(KEY.public_key, np.uint8), (len(MESSAGES), 1))
SIGNATURES = np.frombuffer(b"".join(map(KEY.sign, MESSAGES)), np.uint8).reshape(-1, 64)


def registered(messages):
    registry = pl.ed25519.KeyRegistry()
    return registry.verify_many(registry.add(KEYS), messages, SIGNATURES)


TAKERS = {
    "sha256_many": pl.hashing.sha256_many,
    "sha512_many": pl.hashing.sha512_many,
    "leaf_hashes": pl.merkle.leaf_hashes,
    "root": pl.merkle.root,
    "verify_many": lambda messages: pl.ed25519.verify_many(KEYS, messages, SIGNATURES),
    "registry": registered,
}
by_taker = pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)


def changed(index, value):
    offsets = OFFSETS.copy()
    offsets[index] = value
    return offsets


@by_taker
def test_a_buffer_is_bytes_or_an_array(take):
    assert np.array_equal(take((BUFFER, OFFSETS)), take((BUFFER.tobytes(), OFFSETS)))


def test_signatures_of_messages_of_mixed_lengths_are_valid():
    assert TAKERS["verify_many"]((BUFFER, OFFSETS)).all()
    assert TAKERS["registry"]((BUFFER, OFFSETS)).all()


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        (changed(0, 1), r"offsets\[0\]: expected 0, got 1"),
        (changed(1, 2), r"offsets\[2\]: expected no less than the 2 before it, got 1"),
        (changed(3, 8), r"offsets\[4\]: expected no less than the 8 before it, got 7"),
        (changed(3, 1 << 63), r"offsets\[4\]: expected no less than the \d+ before it"),
        (changed(-1, 10), r"offsets\[6\]: expected 9, the end, got 10"),
        (changed(-1, (1 << 64) - 1), r"offsets\[6\]: expected 9, the end, got \d+"),
        (OFFSETS + np.uint64(1), r"offsets\[0\]: expected 0, got 1"),
        (OFFSETS[:0], r"offsets: expected shape \(n \+ 1,\), got \(0,\)"),
        (OFFSETS.reshape(1, -1), r"offsets: expected shape \(n \+ 1,\), got \(1, 7\)"),
    ],
)
@by_taker
def test_offsets_start_at_zero_never_fall_and_end_with_the_buffer(take, offsets, message):
    with pytest.raises(ValueError, match=message):
        take((BUFFER, offsets))


@by_taker
def test_a_buffer_has_one_dimension(take):
    with pytest.raises(
        ValueError, match=r"messages: expected a buffer of shape \(bytes,\) beside offsets, got \(3, 3\)"
    ):
        take((BUFFER.reshape(3, 3).copy(), OFFSETS))


@by_taker
def test_offsets_of_another_type_are_not_converted(take):
    with pytest.raises(InputError, match=r"offsets: expected a C-contiguous array of dtype uint64, got .* int64"):
        take((BUFFER, OFFSETS.astype(np.int64)))
