"""RFC 6962 trees: roots and proofs equal the twin's for every shape; what proves nothing is refused."""

from __future__ import annotations

import cpu_levels
import numpy as np
import pytest

import pyledger as pl
from pyledger.errors import ProofError
from pyledger.reference import merkle as reference

LEVELS = ["scalar", "sha_ni", "avx2", "avx512", "native"]


@pytest.fixture(params=LEVELS)
def cpu_level(request):
    with cpu_levels.cpu_level(request.param) as name:
        yield name


def make_leaves(count, size=20, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, size), np.uint8)


def hashes_of(leaves):
    return [reference.leaf_hash(leaf.tobytes()) for leaf in leaves]


@pytest.mark.parametrize("size", [0, 1, 54, 55, 62, 63, 64, 128, 168])
def test_leaf_hashes_equal_the_twin(cpu_level, size):
    leaves = make_leaves(40, size)
    assert [row.tobytes() for row in pl.merkle.leaf_hashes(leaves)] == hashes_of(leaves)


def test_roots_equal_the_twin_for_every_size(cpu_level):
    leaves = make_leaves(140)
    hashes = hashes_of(leaves)
    for count in range(141):
        assert pl.merkle.root(leaves[:count]) == reference.root(hashes[:count])
        assert pl.merkle.Tree(leaves[:count]).root == reference.root(hashes[:count])


@pytest.mark.parametrize("count", [1023, 1024, 1025, 65_535, 65_537, 131_073])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_roots_of_tiles_and_chunks_equal_the_twin(count, threads):
    leaves = make_leaves(count, 3)
    hashes = pl.merkle.leaf_hashes(leaves, threads)
    expected = reference.root([row.tobytes() for row in hashes])
    assert pl.merkle.root(leaves, threads) == expected
    assert pl.merkle.root_of_leaf_hashes(hashes, threads) == expected
    assert pl.merkle.Tree(leaves, threads).root == expected


def test_leaves_of_any_lengths_give_the_root_of_their_hashes(cpu_level):
    data = [bytes([i]) * (i * 7 % 131) for i in range(200)]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.uint64)
    leaves = (b"".join(data), offsets)
    hashes = [reference.leaf_hash(leaf) for leaf in data]
    assert [row.tobytes() for row in pl.merkle.leaf_hashes(leaves)] == hashes
    assert pl.merkle.root(leaves) == pl.merkle.Tree(leaves).root == reference.root(hashes)


def as_bytes(proof):
    return [row.tobytes() for row in proof]


def test_inclusion_proofs_equal_the_twin_and_verify():
    log = pl.merkle.Log()
    hashes = hashes_of(make_leaves(40))
    log.extend(np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32))
    for size in range(1, 41):
        for index in range(size):
            proof = log.prove_inclusion(index, size)
            assert as_bytes(proof) == reference.inclusion_proof(index, hashes[:size])
            pl.merkle.verify_inclusion(log.root_at(size), size, index, hashes[index], proof)
            reference.verify_inclusion(log.root_at(size), size, index, hashes[index], as_bytes(proof))


def test_consistency_proofs_equal_the_twin_and_verify():
    log = pl.merkle.Log()
    hashes = hashes_of(make_leaves(40))
    for digest in hashes:
        log.append(digest)
    for size in range(41):
        for old in range(size + 1):
            proof = log.prove_consistency(old, size)
            assert as_bytes(proof) == reference.consistency_proof(old, hashes[:size])
            pl.merkle.verify_consistency(old, log.root_at(old), size, log.root_at(size), proof)
            reference.verify_consistency(old, log.root_at(old), size, log.root_at(size), as_bytes(proof))


@pytest.mark.parametrize("size", [1, 2, 7, 11])
def test_multi_proofs_of_every_subset_equal_the_twin_and_verify(size):
    leaves = make_leaves(size)
    tree, hashes = pl.merkle.Tree(leaves), hashes_of(leaves)
    for subset in range(1 << size):
        indices = [i for i in range(size) if subset >> i & 1]
        proof = tree.prove_multi(np.array(indices, np.uint64))
        assert as_bytes(proof) == reference.multi_proof(indices, hashes)
        chosen = np.array([list(hashes[i]) for i in indices], np.uint8).reshape(-1, 32)
        pl.merkle.verify_inclusion_multi(tree.root, size, np.array(indices, np.uint64), chosen, proof)
        for wrong in (proof[:-1], np.vstack([proof, proof[-1:]])):
            if len(wrong) != len(proof):
                with pytest.raises(ProofError):
                    pl.merkle.verify_inclusion_multi(tree.root, size, np.array(indices, np.uint64), chosen, wrong)


def test_batch_verification_gives_the_single_answers(cpu_level):
    leaves = make_leaves(300)
    tree, hashes = pl.merkle.Tree(leaves), pl.merkle.leaf_hashes(leaves)
    indices = np.arange(300, dtype=np.uint64)
    proofs, offsets = tree.prove_many(indices)
    spoilt = proofs.copy()
    spoilt[offsets[:-1:7].astype(int), 5] ^= 1
    expected = np.ones(300, bool)
    expected[::7] = False
    for threads in (1, 2):
        assert pl.merkle.verify_inclusion_many(tree.root, 300, indices, hashes, proofs, offsets, threads).all()
        found = pl.merkle.verify_inclusion_many(tree.root, 300, indices, hashes, spoilt, offsets, threads)
        assert (found == expected).all()
    assert not pl.merkle.verify_inclusion_many(tree.root, 299, indices, hashes, proofs, offsets)[299]


def test_sizes_and_indices_outside_the_log_are_refused():
    log = pl.merkle.Log()
    log.extend(np.zeros((10, 32), np.uint8))
    for call in (
        lambda: log.root_at(-1),
        lambda: log.root_at(11),
        lambda: log.prove_inclusion(-1),
        lambda: log.prove_inclusion(10),
        lambda: log.prove_inclusion(0, -1),
        lambda: log.prove_consistency(-1),
        lambda: log.prove_consistency(4, 3),
        lambda: log.prove_inclusion_many(np.array([10], np.uint64)),
        lambda: log.prove_inclusion_multi(np.array([2, 2], np.uint64)),
        lambda: log.nodes(-1, 0, 0),
        lambda: log.nodes(0, -1, 0),
        lambda: log.nodes(1, 0, 6),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()


def test_leaves_without_a_byte_are_capped():
    """They take no memory: their number alone would decide how long the call runs."""
    assert pl.merkle.root(np.zeros((5, 0), np.uint8)) == reference.root([reference.leaf_hash(b"")] * 5)
    endless = np.zeros((1 << 45, 0), np.uint8)
    for call in (pl.merkle.root, pl.merkle.leaf_hashes, pl.merkle.Tree):
        with pytest.raises(ValueError, match="leaves: rows of no bytes: expected at most"):
            call(endless)
