"""SHA-256 and SHA-512 of many messages give hashlib's digests, whatever the lengths, the row and the threads."""

from __future__ import annotations

import itertools

import cpu_levels
import numpy as np
import pytest

import pyledger as pl
from pyledger import _core
from pyledger.errors import InputError
from pyledger.reference import hashing as reference

LEVELS = ["scalar", "sha_ni", "avx2", "avx512", "native"]


@pytest.fixture(params=LEVELS)
def cpu_level(request):
    with cpu_levels.cpu_level(request.param) as name:
        yield name


NOT_ALIGNED = np.frombuffer(b"." + np.array([0, 3], np.uint64).tobytes(), np.uint8)[1:].view(np.uint64)


def noise(count, size):
    return np.random.default_rng(size).integers(0, 256, (count, size), np.uint8)


def rows(array):
    return [row.tobytes() for row in array]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 55, 56, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 1000])
def test_equal_lengths_give_hashlib_digests(cpu_level, size):
    for count in [0, 1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 100]:
        messages = noise(count, size)
        assert rows(pl.hashing.sha256_many(messages)) == reference.sha256_many(rows(messages))
        assert rows(pl.hashing.sha512_many(messages)) == reference.sha512_many(rows(messages))


def test_any_lengths_give_hashlib_digests(cpu_level):
    lengths = np.random.default_rng(7).integers(0, 300, 3000)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
    buffer = noise(1, int(offsets[-1]))[0]
    messages = [buffer[a:b].tobytes() for a, b in itertools.pairwise(offsets)]
    assert rows(pl.hashing.sha256_many((buffer, offsets))) == reference.sha256_many(messages)
    assert rows(pl.hashing.sha512_many((buffer.tobytes(), offsets))) == reference.sha512_many(messages)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_digests_are_the_same_for_any_thread_count(threads):
    messages = noise(5000, 40)
    assert rows(pl.hashing.sha256_many(messages, threads)) == reference.sha256_many(rows(messages))
    assert rows(pl.hashing.sha512_many(messages, threads)) == reference.sha512_many(rows(messages))


# FIPS 180-4's examples (csrc.nist.gov, Examples with Intermediate Values, SHA-512): one block, two blocks; from the
# same source's additional vectors, a million times "a"; from CAVP's SHA512ShortMsg the digest of nothing (Len = 0).
SHA512_EXAMPLES = [
    (
        b"abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
        "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
    ),
    (
        b"a" * 1_000_000,
        "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
        "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
    ),
    (
        b"",
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
    ),
]


@pytest.mark.parametrize(("message", "digest"), SHA512_EXAMPLES, ids=["one block", "two blocks", "a million", "empty"])
def test_published_examples_of_sha512_have_their_digest_in_every_lane(cpu_level, message, digest):
    messages = np.frombuffer(message * 9, np.uint8).reshape(9, len(message))
    assert {row.hex() for row in rows(pl.hashing.sha512_many(messages))} == {digest}
    assert reference.sha512_many([message])[0].hex() == digest


HASHES = [(pl.hashing.sha256_many, 32, reference.sha256_many), (pl.hashing.sha512_many, 64, reference.sha512_many)]


@pytest.mark.parametrize(("hash_many", "width", "twin"), HASHES)
def test_digests_go_to_the_array_that_the_caller_gives(hash_many, width, twin):
    messages, out = noise(2000, 40), np.zeros((2000, width), np.uint8)
    buffer, offsets = messages.reshape(-1), np.arange(0, 80_001, 40, dtype=np.uint64)
    for argument in (messages, (buffer, offsets), (buffer.tobytes(), offsets)):
        out[:] = 0
        assert hash_many(argument, 2, out=out) is out
        assert rows(out) == twin(rows(messages))
    both = np.zeros((200, 2 * width), np.uint8).reshape(-1)  # neighbours do not overlap
    first, second = both[: 200 * width].reshape(200, width), both[200 * width :].reshape(200, width)
    assert hash_many(first, out=second) is second
    assert rows(second) == twin(rows(first))


@pytest.mark.parametrize(("hash_many", "width", "_"), HASHES)
def test_an_output_of_another_shape_or_type_or_over_the_input_is_refused(hash_many, width, _):
    messages = noise(10, width)
    good = np.zeros((10, width), np.uint8)
    read_only = good.copy()
    read_only.flags.writeable = False
    flat, offsets = messages.reshape(-1), np.arange(0, 10 * width + 1, width, dtype=np.uint64)
    for out in (good[:9], good[:, :-1].copy(), good.reshape(-1), np.zeros((11, width), np.uint8), read_only):
        with pytest.raises(ValueError, match="out: expected a writable array of shape"):
            hash_many(messages, out=out)
    for out in (good.astype(np.int8), np.zeros((20, width), np.uint8)[::2], np.asfortranarray(good), good.tolist()):
        with pytest.raises(InputError, match="out: expected a C-contiguous array of dtype uint8, got"):
            hash_many(messages, out=out)
    around = np.zeros(11 * width, np.uint8)
    for input_, out in (
        (messages, messages),
        ((flat, offsets), messages),
        (around[: 10 * width].reshape(10, width), around[width:].reshape(10, width)),
        (around[width - 1 :][: 10 * width].reshape(10, width), around[: 10 * width].reshape(10, width)),
    ):
        before = flat.copy()
        with pytest.raises(ValueError, match="overlaps"):
            hash_many(input_, out=out)
        assert np.array_equal(flat, before)


def test_a_level_chooses_its_row(cpu_level):
    expected = {"scalar": "scalar", "sha_ni": "sha_ni", "avx2": "avx2", "avx512": "avx512"}
    if cpu_level in expected:
        assert _core.sha256_row() == expected[cpu_level]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (np.zeros(5, np.uint8), r"messages: expected shape \(n, m\), got \(5,\)"),
        (np.zeros((2, 2, 2), np.uint8), r"messages: expected shape \(n, m\), got \(2, 2, 2\)"),
        (np.zeros((4, 8), np.int8), "messages: expected .* uint8, got shape .* dtype int8"),
        (np.zeros((4, 8), np.uint8)[:, ::2], "messages: expected .* not C-contiguous"),
        ((b"abc", np.array([0, 2], np.uint64)), r"offsets\[1\]: expected 3, the end, got 2"),
        ((b"abc", np.array([1, 3], np.uint64)), r"offsets\[0\]: expected 0, got 1"),
        ((b"abc", np.array([0, 2, 1, 3], np.uint64)), r"offsets\[2\]: expected no less than the 2 before it"),
        ((b"abc", np.array([0, 2**63, 3], np.uint64)), r"offsets\[2\]: expected no less than"),
        ((b"abc", np.array([], np.uint64)), r"offsets: expected shape \(n \+ 1,\), got \(0,\)"),
        ((b"abc", np.array([0, 3], np.int64)), "messages, offsets: expected .* uint64, got shape .* dtype int64"),
        ((b"abc", NOT_ALIGNED), "messages, offsets: expected .*, not aligned"),
        ((b"abc", [0, 3]), "messages, offsets: expected .* got list"),
        ([b"abc"], "messages: expected .* got list"),
    ],
)
@pytest.mark.parametrize("hash_many", [pl.hashing.sha256_many, pl.hashing.sha512_many])
def test_messages_of_another_shape_or_type_are_refused(hash_many, messages, said):
    with pytest.raises(InputError, match=said):
        hash_many(messages)
