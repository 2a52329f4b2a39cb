"""NIST's validation vectors of SHA-256 and SHA-512 (SHAVS): short, long and chained messages, in every row and lane."""

from __future__ import annotations

import gzip
from pathlib import Path

import cpu_levels
import numpy as np
import pytest

import pyledger as pl
from pyledger.reference import hashing as reference

VECTORS = Path(__file__).parents[1] / "vectors" / "nist_cavp"
HASHES = {
    "SHA256": (pl.hashing.sha256_many, reference.sha256_many, 32),
    "SHA512": (pl.hashing.sha512_many, reference.sha512_many, 64),
}


@pytest.fixture(params=["scalar", "sha_ni", "avx2", "avx512", "native"])
def cpu_level(request):
    with cpu_levels.cpu_level(request.param) as name:
        yield name


def cases_of(name):
    """The fields of each case of a response file."""
    path = VECTORS / f"{name}.rsp"
    text = path.read_text() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes()).decode()
    groups = [group.splitlines() for group in text.replace("\r\n", "\n").split("\n\n")]
    return [dict(line.split(" = ") for line in group) for group in groups if group and group[0][:1].isalpha()]


def messages_of(name):
    """Messages (Len is in bits; a Len of 0 has a placeholder as its Msg) and digests."""
    cases = [case for case in cases_of(name) if "Msg" in case]
    return [bytes.fromhex(case["Msg"])[: int(case["Len"]) // 8] for case in cases], [case["MD"] for case in cases]


def hexadecimal(digests):
    return [row.tobytes().hex() for row in digests]


FILES = [
    ("SHA256", "ShortMsg", list(range(65))),
    ("SHA512", "ShortMsg", list(range(129))),
    ("SHA256", "LongMsg", list(range(163, 6401, 99))),
    ("SHA512", "LongMsg", [*range(227, 12801, 297), 12800]),
]


@pytest.mark.parametrize(("family", "kind", "lengths"), FILES)
def test_messages_of_the_validation_program_have_their_digests(cpu_level, family, kind, lengths):
    hash_many, twin, _ = HASHES[family]
    messages, digests = messages_of(family + kind)
    assert [len(message) for message in messages] == lengths
    offsets = np.cumsum([0, *lengths]).astype(np.uint64)
    assert hexadecimal(hash_many((b"".join(messages), offsets))) == digests  # all lengths in one call
    assert [digest.hex() for digest in twin(messages)] == digests
    for message, digest in zip(messages, digests, strict=True):
        row = np.frombuffer(message, np.uint8).reshape(1, -1)
        alone = np.array([0, len(message)], np.uint64)
        assert hexadecimal(hash_many(row)) == hexadecimal(hash_many((message, alone))) == [digest]
        assert set(hexadecimal(hash_many(np.tile(row, (17, 1))))) == {digest}  # every lane, and one more


@pytest.mark.parametrize("family", HASHES)
def test_chains_of_a_thousand_hashes_end_where_the_validation_program_says(cpu_level, family):
    """SHAVS, 6.4: MD[i] = H(MD[i-3] || MD[i-2] || MD[i-1]); an end seeds the next chain, so all run side by side."""
    hash_many, _, width = HASHES[family]
    first, *checkpoints = cases_of(f"{family}Monte")
    ends = [checkpoint["MD"] for checkpoint in checkpoints]
    assert [int(checkpoint["COUNT"]) for checkpoint in checkpoints] == list(range(100))
    seeds = np.frombuffer(bytes.fromhex("".join([first["Seed"], *ends[:-1]])), np.uint8).reshape(100, width)
    message = np.tile(seeds, (1, 3))
    for _ in range(1000):
        digests = hash_many(message, 1)
        message = np.hstack([message[:, width:], digests])
    assert hexadecimal(digests) == ends
