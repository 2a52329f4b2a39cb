"""The stand-alone verifier accepts the natives' state and consistency proofs and refuses what attackers make."""

from __future__ import annotations

import random

import numpy as np
import pytest

import pyledger as pl
from pyledger import verifier
from pyledger.errors import ProofError, StateError
from pyledger.types import u128_array

PAYLOAD = 11
KEY_MAX = (1 << 128) - 2


def tree_of(keys):
    tree = pl.merkle.StateTree(PAYLOAD)
    payloads = np.frombuffer(b"".join(payload_of(key) for key in keys), np.uint8).reshape(-1, PAYLOAD)
    tree.insert(u128_array(keys), payloads)
    return tree


def payload_of(key):
    return f"{key % 10**PAYLOAD:0{PAYLOAD}d}".encode()


def native_says(root, key, proof):
    """What the natives read from a proof: a payload, None for absent, or a refusal."""
    try:
        return pl.merkle.verify_membership(root, key, proof).payload
    except ProofError:
        try:
            return pl.merkle.verify_absence(root, key, proof) and None
        except ProofError:
            return "refused"


def verifier_says(root, key, proof):
    try:
        return verifier.verify_state_proof(root, key, proof)
    except verifier.ProofError:
        return "refused"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8, 20, 33])
def test_every_present_key_shows_its_payload_and_every_absent_one_is_proven_absent(count):
    draw = random.Random(count)
    keys = draw.sample(range(2, 500), count)
    tree = tree_of(keys)
    root = tree.root()
    for key in keys:
        assert verifier.verify_state_proof(root, key, tree.prove_membership(key)) == payload_of(key)
    for key in [1, KEY_MAX, *(key + 500 for key in keys), *(key for key in range(2, 60) if key not in keys)]:
        assert verifier.verify_state_proof(root, key, tree.prove_absence(key)) is None


@pytest.fixture
def attacked():
    keys = [10, 20, 30, 40, 50]
    tree = tree_of(keys)
    return tree, tree.root(), {key: tree.prove_membership(key) for key in keys}


def refused(root, key, proof):
    with pytest.raises(verifier.ProofError):
        verifier.verify_state_proof(root, key, proof)


def test_a_proof_of_another_key_is_refused(attacked):
    _, root, proofs = attacked
    for key in (10, 29, 31, 40, 50, 1, KEY_MAX):
        if not 20 <= key < 30:
            refused(root, key, proofs[20])


def test_a_present_key_is_not_passed_off_as_absent_nor_an_absent_one_as_present(attacked):
    tree, root, proofs = attacked
    with pytest.raises(StateError):
        tree.prove_absence(30)
    refused(root, 30, tree.prove_absence(25))
    refused(root, 30, proofs[40])
    assert verifier.verify_state_proof(root, 35, proofs[30]) is None  # the gap behind 30, never 30's payload


def test_a_neighbours_path_or_slot_is_refused(attacked):
    _, root, proofs = attacked
    leaf_end = 24 + PAYLOAD + 32
    refused(root, 20, proofs[20][:leaf_end] + proofs[30][leaf_end:])
    refused(root, 20, proofs[30][:24] + proofs[20][24:])


def test_hashes_of_a_path_in_another_order_are_refused(attacked):
    _, root, proofs = attacked
    leaf_end = 24 + PAYLOAD + 32
    head, path = proofs[20][:leaf_end], proofs[20][leaf_end:]
    refused(root, 20, head + path[32:64] + path[:32] + path[64:])


def test_every_flipped_bit_every_cut_and_every_extension_is_refused(attacked):
    _, root, proofs = attacked
    proof = proofs[20]
    for i in range(len(proof)):
        for bit in range(8):
            refused(root, 20, proof[:i] + bytes([proof[i] ^ 1 << bit]) + proof[i + 1 :])
        refused(root, 20, proof[:i])
    for more in (b"\0", bytes(32), proof[-32:]):
        refused(root, 20, proof + more)


def test_a_proof_under_another_state_root_is_refused(attacked):
    tree, root, proofs = attacked
    tree.update(np.array([1], np.uint32), np.full((1, PAYLOAD), 65, np.uint8))
    assert tree.root() != root
    refused(tree.root(), 20, proofs[20])
    refused(root[:31], 20, proofs[20])


def test_a_removed_key_is_absent_and_its_tombstone_proves_nothing(attacked):
    tree, _, proofs = attacked
    tree.remove(np.array([3], np.uint32))
    root = tree.root()
    assert verifier.verify_state_proof(root, 30, tree.prove_absence(30)) is None
    refused(root, 30, proofs[30])
    leaf_end = 24 + PAYLOAD + 32
    for leaf in (b"", bytes(32), bytes(PAYLOAD + 32)):  # the tombstone's leaf is empty: no key and next key fit in it
        refused(root, 30, proofs[30][:24] + leaf + proofs[30][leaf_end:])


@pytest.mark.parametrize("key", [-1, 0, KEY_MAX + 1, 1 << 128])
def test_reserved_keys_are_refused(attacked, key):
    tree, root, _ = attacked
    refused(root, key, tree.prove_absence(1))


def test_verifier_and_natives_agree_on_changed_proofs():
    draw = random.Random(3)
    tree = tree_of(draw.sample(range(2, 200), 40))
    root, agreed = tree.root(), set()
    for _ in range(2000):
        key = draw.randrange(1, 200)
        present = tree.slots_of(u128_array([key]))[0] != 0
        proof = bytearray(tree.prove_membership(key) if present else tree.prove_absence(key))
        if draw.random() < 0.5:
            proof[draw.choice([draw.randrange(24), draw.randrange(len(proof))])] ^= 1 << draw.randrange(8)
        asked = draw.choice([key, key + 1])
        says = verifier_says(root, asked, bytes(proof))
        assert says == native_says(root, asked, bytes(proof))
        agreed.add(says if says in (None, "refused") else "payload")
    assert agreed == {None, "refused", "payload"}


SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 21, 32]


def log_of(size):
    log = pl.merkle.Log()
    log.extend(pl.merkle.leaf_hashes(np.arange(size * 4, dtype=np.uint8).reshape(size, 4)))
    return log


@pytest.mark.parametrize("old", SIZES)
def test_every_log_goes_on_from_its_own_past_and_from_no_other(old):
    log = log_of(40)
    for new in range(old, 41):
        old_root, new_root = log.root_at(old), log.root_at(new)
        proof = [row.tobytes() for row in log.prove_consistency(old, new)]
        verifier.verify_consistency(old, old_root, new, new_root, proof)
        fork = bytes([old_root[0] ^ 1]) + old_root[1:]
        attempts = [
            (old, fork, new, new_root, proof),
            (old, old_root, new, fork, proof),
            (old, old_root, new, new_root, [*proof, bytes(32)]),
            (old, old_root, new + 64, new_root, proof),
            (new + 1, old_root, new, new_root, proof),
            (old, old_root[:31], new, new_root, proof),
            (0, old_root, new, new_root, proof),
        ]
        if proof:
            attempts += [
                (old, old_root, new, new_root, proof[:-1]),
                (old, old_root, new, new_root, proof[1:]),
                (old, old_root, new, new_root, [*proof[:-1], proof[-1][:31]]),
            ]
        if len(proof) > 1:
            attempts.append((old, old_root, new, new_root, proof[::-1]))
        for attempt in attempts:
            with pytest.raises(verifier.ProofError):
                verifier.verify_consistency(*attempt)
