"""Proofs that an attacker might try: each is refused, by the natives and by the twin, one by one and in batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyledger as pl
from pyledger.errors import ProofError
from pyledger.reference import merkle as reference

SIZES = [1, 2, 3, 5, 6, 7, 8, 11, 16, 21]


def make_tree(size):
    leaves = np.random.default_rng(size).integers(0, 256, (size, 64), np.uint8)
    return leaves, pl.merkle.Tree(leaves), [row.tobytes() for row in pl.merkle.leaf_hashes(leaves)]


def as_bytes(proof):
    return [row.tobytes() for row in proof]


def joined(hashes):
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def inclusion_is_refused(root, size, index, leaf_hash, proof):
    for verify in (pl.merkle.verify_inclusion, reference.verify_inclusion):
        with pytest.raises(ProofError):
            verify(root, size, index, leaf_hash, proof)
    valid = pl.merkle.verify_inclusion_many(
        root,
        size,
        np.array([index], np.uint64),
        joined([leaf_hash]),
        joined(proof),
        np.array([0, len(proof)], np.uint64),
    )
    assert valid.tolist() == [False]


def consistency_is_refused(*arguments):
    for verify in (pl.merkle.verify_consistency, reference.verify_consistency):
        with pytest.raises(ProofError):
            verify(*arguments)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_a_node_passed_as_a_leaf_is_refused(size):
    _, tree, hashes = make_tree(size)
    children = hashes[0] + hashes[1]
    node = reference.node_hash(hashes[0], hashes[1])
    proof = as_bytes(tree.prove(0))
    # The data of a leaf that holds two child hashes doesn't hash to their node: prefixes differ.
    assert reference.leaf_hash(children) != node
    forged = pl.merkle.Tree(np.frombuffer(children, np.uint8).reshape(1, -1))
    assert forged.root != node
    inclusion_is_refused(tree.root, size, 0, reference.leaf_hash(children), proof[1:])
    inclusion_is_refused(tree.root, size, 0, reference.leaf_hash(children), proof)
    # The bare node hash as a leaf hash fails for its length: a proof has as many hashes as size and index ask for.
    inclusion_is_refused(tree.root, size, 0, node, proof[1:])


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("prefix", [b"", b"\1", b"\0\1"])
def test_a_level_of_nodes_passed_as_leaves_gives_no_tree_of_the_same_root_or_proofs(size, prefix):
    """The attack on trees without prefixes: half as many leaves, each the data of a node, prefixed as one likes."""
    _, tree, hashes = make_tree(size)
    data = np.frombuffer(
        b"".join(prefix + left + right for left, right in zip(hashes[::2], hashes[1::2], strict=True)), np.uint8
    )
    forged = pl.merkle.Tree(data.reshape(size // 2, -1))
    assert forged.root != tree.root
    for index in range(size // 2):
        leaf = reference.leaf_hash(data.reshape(size // 2, -1)[index].tobytes())
        for honest in (as_bytes(tree.prove(2 * index)), as_bytes(forged.prove(index))):
            for proof in (honest, honest[1:]):
                for claimed_size in {size // 2, size, size + 1}:
                    inclusion_is_refused(tree.root, claimed_size, index, leaf, proof)
    consistency_is_refused(size // 2, forged.root, size, tree.root, as_bytes(tree.prove_consistency(size // 2)))


@pytest.mark.parametrize("size", SIZES)
def test_truncated_extended_and_reordered_inclusion_proofs_are_refused(size):
    _, tree, hashes = make_tree(size)
    for index in range(size):
        proof = as_bytes(tree.prove(index))
        for i in range(len(proof)):
            inclusion_is_refused(tree.root, size, index, hashes[index], proof[:i] + proof[i + 1 :])
        for extra in [bytes(32), tree.root, *proof]:
            inclusion_is_refused(tree.root, size, index, hashes[index], [*proof, extra])
            inclusion_is_refused(tree.root, size, index, hashes[index], [extra, *proof])
        for a, b in itertools.combinations(range(len(proof)), 2):
            swapped = list(proof)
            swapped[a], swapped[b] = swapped[b], swapped[a]
            inclusion_is_refused(tree.root, size, index, hashes[index], swapped)


@pytest.mark.parametrize("size", SIZES)
def test_another_index_or_an_index_outside_the_tree_is_refused(size):
    _, tree, hashes = make_tree(size)
    for index in range(size):
        proof = as_bytes(tree.prove(index))
        for other in [*range(size), size, size + 1, 2 * size, index + (1 << 32), index + (1 << 63), (1 << 64) - 1]:
            if other != index:
                inclusion_is_refused(tree.root, size, other, hashes[index], proof)
        inclusion_is_refused(tree.root, 0, index, hashes[index], proof)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_numbers_beyond_64_bits_are_refused(value):
    _, tree, hashes = make_tree(3)
    with pytest.raises(ProofError):
        pl.merkle.verify_inclusion(tree.root, 3, value, hashes[0], tree.prove(0))
    with pytest.raises(ProofError):
        pl.merkle.verify_inclusion(tree.root, value, 0, hashes[0], tree.prove(0))
    with pytest.raises(ProofError):
        pl.merkle.verify_consistency(value, tree.root, 3, tree.root, tree.prove(0))


@pytest.mark.parametrize("size", [1, 3, 5, 6, 7, 11])
def test_the_last_leaf_counted_twice_gives_another_root(size):
    leaves, tree, hashes = make_tree(size)
    doubled = pl.merkle.Tree(np.vstack([leaves, leaves[-1:]]))
    assert doubled.root != tree.root
    inclusion_is_refused(tree.root, size + 1, size, hashes[-1], as_bytes(doubled.prove(size)))
    inclusion_is_refused(tree.root, size, size, hashes[-1], as_bytes(doubled.prove(size)))


@pytest.mark.parametrize(("old", "new"), [(a, b) for b in SIZES for a in SIZES if a <= b])
def test_truncated_extended_and_reordered_consistency_proofs_are_refused(old, new):
    leaves, tree, _ = make_tree(new)
    old_root = pl.merkle.root(leaves[:old])
    proof = as_bytes(tree.prove_consistency(old))
    pl.merkle.verify_consistency(old, old_root, new, tree.root, proof)
    for i in range(len(proof)):
        consistency_is_refused(old, old_root, new, tree.root, proof[:i] + proof[i + 1 :])
        changed = [*proof[:i], bytes(32), *proof[i + 1 :]]
        consistency_is_refused(old, old_root, new, tree.root, changed)
    for extra in [bytes(32), tree.root, old_root, *proof]:
        consistency_is_refused(old, old_root, new, tree.root, [*proof, extra])
        consistency_is_refused(old, old_root, new, tree.root, [extra, *proof])
    for a, b in itertools.combinations(range(len(proof)), 2):
        swapped = list(proof)
        swapped[a], swapped[b] = swapped[b], swapped[a]
        consistency_is_refused(old, old_root, new, tree.root, swapped)
    if old != new:
        consistency_is_refused(new, tree.root, old, old_root, proof)
        consistency_is_refused(old, tree.root, new, tree.root, proof)
        consistency_is_refused(old, old_root, new, old_root, proof)


def test_a_rewritten_past_has_no_consistency_proof():
    leaves, tree, _ = make_tree(21)
    forked = leaves.copy()
    forked[3] ^= 1
    for old in range(4, 21):
        proof = as_bytes(tree.prove_consistency(old))
        consistency_is_refused(old, pl.merkle.root(forked[:old]), 21, tree.root, proof)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 11])
def test_truncated_extended_and_reordered_multi_proofs_are_refused(size):
    _, tree, hashes = make_tree(size)
    for chosen in itertools.chain(itertools.combinations(range(size), 1), itertools.combinations(range(size), 2)):
        proof = as_bytes(tree.prove_multi(np.array(chosen, np.uint64)))
        attacks = [proof[:i] + proof[i + 1 :] for i in range(len(proof))]
        attacks += [[*proof[:i], extra, *proof[i:]] for i in range(len(proof) + 1) for extra in (bytes(32), tree.root)]
        for i, j in itertools.combinations(range(len(proof)), 2):
            attacks.append([*proof[:i], proof[j], *proof[i + 1 : j], proof[i], *proof[j + 1 :]])
        for attack in attacks:
            multi_is_refused(tree.root, size, chosen, [hashes[i] for i in chosen], attack)


@pytest.mark.parametrize("size", [3, 5, 7, 11])
def test_the_last_leaf_counted_twice_has_no_multi_proof(size):
    leaves, tree, hashes = make_tree(size)
    doubled = pl.merkle.Tree(np.vstack([leaves, leaves[-1:]]))
    proof = as_bytes(doubled.prove_multi(np.array([size - 1, size], np.uint64)))
    for claimed_size in (size, size + 1):
        multi_is_refused(tree.root, claimed_size, [size - 1, size], [hashes[-1]] * 2, proof)


def multi_is_refused(root, size, indices, leaf_hashes, proof):
    with pytest.raises(ProofError):
        pl.merkle.verify_inclusion_multi(root, size, np.array(indices, np.uint64), joined(leaf_hashes), proof)
    with pytest.raises(ProofError):
        reference.verify_inclusion_multi(root, size, list(indices), leaf_hashes, proof)


def test_multi_proofs_refuse_other_leaves_orders_and_indices():
    _, tree, hashes = make_tree(11)
    indices, chosen = np.array([2, 3, 9], np.uint64), [hashes[i] for i in (2, 3, 9)]
    proof = as_bytes(tree.prove_multi(indices))
    wrong = [
        (11, [2, 3, 9], [chosen[1], chosen[0], chosen[2]], proof),
        (11, [3, 2, 9], chosen, proof),
        (11, [2, 2, 9], chosen, proof),
        (11, [2, 3, 11], chosen, proof),
        (11, [2, 3, 8], chosen, proof),
        (11, [2, 3, (1 << 64) - 1], chosen, proof),
        (16, [2, 3, 9], chosen, proof),
        (0, [], [], []),
        (11, [2, 3, 9], chosen, proof[::-1]),
        (11, [2, 3], chosen[:2], proof),
    ]
    for size, numbers, leaf_hashes, hashes_of_proof in wrong:
        multi_is_refused(tree.root, size, numbers, leaf_hashes, hashes_of_proof)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_inputs_get_the_twins_answer(data):
    pool = [bytes([i]) * 32 for i in range(3)]
    leaf = data.draw(st.sampled_from(pool))
    proof = data.draw(st.lists(st.sampled_from(pool), max_size=5))
    size, index = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
    try:
        root = reference.root_of_inclusion(size, index, leaf, proof)
    except ProofError:
        inclusion_is_refused(pool[0], size, index, leaf, proof)
    else:
        pl.merkle.verify_inclusion(root, size, index, leaf, proof)
