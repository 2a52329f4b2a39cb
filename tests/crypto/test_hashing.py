"""SHA-256 and SHA-512 of many messages give hashlib's digests, whatever the lengths, the row and the threads."""

from __future__ import annotations

import itertools

import cpu_levels
import numpy as np
import pytest

import pyledger as pl
from pyledger import _core
from pyledger.reference import hashing as reference

LEVELS = ["scalar", "sha_ni", "avx2", "avx512", "native"]


@pytest.fixture(params=LEVELS)
def cpu_level(request):
    with cpu_levels.cpu_level(request.param) as name:
        yield name


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


def test_a_level_chooses_its_row(cpu_level):
    expected = {"scalar": "scalar", "sha_ni": "sha_ni", "avx2": "avx2", "avx512": "avx512"}
    if cpu_level in expected:
        assert _core.sha256_row() == expected[cpu_level]


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        (np.zeros(5, np.uint8), ValueError),
        (np.zeros((2, 2, 2), np.uint8), ValueError),
        (np.zeros((4, 8), np.int8), TypeError),
        (np.zeros((4, 8), np.uint8)[:, ::2], TypeError),
        ((b"abc", np.array([0, 2], np.uint64)), ValueError),
        ((b"abc", np.array([1, 3], np.uint64)), ValueError),
        ((b"abc", np.array([0, 2, 1, 3], np.uint64)), ValueError),
        ((b"abc", np.array([0, 2**63, 3], np.uint64)), ValueError),
        ((b"abc", np.array([], np.uint64)), ValueError),
        ((b"abc", np.array([0, 3], np.int64)), TypeError),
    ],
)
def test_messages_of_another_shape_or_type_are_refused(messages, error):
    with pytest.raises(error):
        pl.hashing.sha256_many(messages)
    with pytest.raises(error):
        pl.hashing.sha512_many(messages)
