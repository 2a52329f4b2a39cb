"""The row hash against the authors' vectors and the plain twin."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyledger.reconciliation import _siphash
from pyledger.reference.siphash import siphash128

VECTORS = Path(__file__).parents[1] / "vectors" / "siphash" / "siphash_2_4_128.txt"
KEY = bytes(range(16))


def words(key):
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def hash_strings(key, strings):
    offsets = np.cumsum([0, *map(len, strings)], dtype=np.int64)
    out = np.zeros((len(strings), 2), np.uint64)
    _siphash.hash_strings(np.frombuffer(b"".join(strings) + b"\0", np.uint8), offsets, *words(key), out)
    return [row.tobytes() for row in out]


def vectors():
    expected = [bytes.fromhex(line) for line in VECTORS.read_text().split()]
    return [(bytes(range(length)), digest) for length, digest in enumerate(expected)]


def test_twin_gives_the_authors_vectors():
    assert len(vectors()) == 64
    assert [siphash128(KEY, message) for message, _ in vectors()] == [digest for _, digest in vectors()]


def test_strings_give_the_authors_vectors():
    assert hash_strings(KEY, [message for message, _ in vectors()]) == [digest for _, digest in vectors()]


@pytest.mark.parametrize("width", range(8))
def test_rows_give_the_authors_vectors(width):
    message, digest = vectors()[8 * width]
    rows = np.tile(np.frombuffer(message, np.uint64), (3, 1))
    out = np.zeros((3, 2), np.uint64)
    _siphash.hash_rows(rows, *words(KEY), out)
    assert [row.tobytes() for row in out] == [digest] * 3


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_strings_equal_the_twin(key, strings):
    assert hash_strings(key, strings) == [siphash128(key, string) for string in strings]


@given(st.binary(min_size=16, max_size=16), st.integers(1, 40), st.randoms(use_true_random=False))
def test_rows_equal_the_twin(key, width, random):
    rows = np.frombuffer(random.randbytes(8 * width * 5), np.uint64).reshape(5, width)
    out = np.zeros((5, 2), np.uint64)
    _siphash.hash_rows(rows, *words(key), out)
    assert [row.tobytes() for row in out] == [siphash128(key, row.tobytes()) for row in rows]
