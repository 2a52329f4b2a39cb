"""The state tree: its roots and proofs are the twin's for any history, batch split and thread count."""

from __future__ import annotations

import random

import numpy as np
import pytest

import pyledger as pl
from pyledger import _core
from pyledger.crypto.state_tree import StateTree
from pyledger.errors import ProofError, StateError
from pyledger.reference import state_tree as reference
from pyledger.types import U128, u128_array

PAYLOAD = 13
KEY_MAX = (1 << 128) - 2


def payload_rows(payloads):
    return np.frombuffer(b"".join(payloads), np.uint8).reshape(-1, PAYLOAD)


class Pair:
    """The native tree and the twin, changed alike."""

    def __init__(self):
        self.native = pl.merkle.StateTree(PAYLOAD)
        self.twin = reference.StateTree(PAYLOAD)

    def insert(self, keys, payloads):
        slots = self.native.insert(u128_array(keys), payload_rows(payloads))
        assert slots.tolist() == self.twin.insert(keys, payloads)

    def update(self, slots, payloads):
        self.native.update(np.array(slots, np.uint32), payload_rows(payloads))
        self.twin.update(slots, payloads)

    def remove(self, slots):
        self.native.remove(np.array(slots, np.uint32))
        self.twin.remove(slots)

    def check(self, keys=()):
        root = self.native.root()
        assert root == self.twin.root()
        for key in keys:
            check_proof(self, root, key)


def check_proof(pair, root, key):
    present = key in pair.twin._keys
    if present:
        proof = pair.native.prove_membership(key)
        assert proof == pair.twin.prove(key)
        assert pl.merkle.verify_membership(root, key, proof).payload == reference.verify_membership(root, key, proof)
        with pytest.raises(ProofError):
            pl.merkle.verify_absence(root, key, proof)
    else:
        proof = pair.native.prove_absence(key)
        assert proof == pair.twin.prove(key)
        pl.merkle.verify_absence(root, key, proof)
        reference.verify_absence(root, key, proof)
        with pytest.raises(ProofError):
            pl.merkle.verify_membership(root, key, proof)


def test_an_empty_tree_proves_every_key_absent():
    pair = Pair()
    pair.check([1, 2, 1 << 64, KEY_MAX])


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_equal_the_twin(seed):
    draw = random.Random(seed)
    pair, live, gone = Pair(), {}, []
    for _ in range(40):
        new = {draw.choice([draw.randrange(1, 200), draw.randrange(1, KEY_MAX)]) for _ in range(draw.randrange(8))}
        keys = [key for key in new if key not in live] + [k for k in gone[:1] if k not in live and k not in new]
        draw.shuffle(keys)
        first = pair.native.size
        pair.insert(keys, [draw.randbytes(PAYLOAD) for _ in keys])
        live.update(zip(keys, range(first, first + len(keys)), strict=True))
        slots = [draw.choice(list(live.values())) for _ in range(draw.randrange(5))] if live else []
        pair.update(slots, [draw.randbytes(PAYLOAD) for _ in slots])
        leaving = draw.sample(sorted(live), min(len(live), draw.randrange(3)))
        pair.remove([live.pop(key) for key in leaving])
        gone = leaving + gone
        pair.check([1, KEY_MAX, draw.randrange(1, 200), *leaving, *draw.sample(sorted(live), min(3, len(live)))])
    assert len(live) > 50
    assert len(gone) > 10


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
def test_many_keys_keep_their_order_through_every_split_of_the_index(order):
    draw = random.Random(order)
    keys = sorted(draw.sample(range(1, 10**9), 20_000))
    if order == "falling":
        keys.reverse()
    elif order == "shuffled":
        draw.shuffle(keys)
    whole, parts = pl.merkle.StateTree(PAYLOAD), pl.merkle.StateTree(PAYLOAD)
    payloads = payload_rows([draw.randbytes(PAYLOAD) for _ in keys])
    whole.insert(u128_array(keys), payloads)
    for start in range(0, len(keys), 777):
        parts.insert(u128_array(keys[start : start + 777]), payloads[start : start + 777])
        if start % 5 == 0:
            parts.root(2)
    twin = reference.StateTree(PAYLOAD)
    twin._keys += keys
    twin._payloads += [row.tobytes() for row in payloads]
    assert whole.root(1) == parts.root(2) == twin.root()
    assert whole.slots_of(u128_array(keys)).tolist() == list(range(1, 20_001))
    assert [whole.leaf(i) for i in range(20_001)] == twin.leaves()


@pytest.mark.parametrize(("order", "bytes_most"), [("rising", 232), ("random", 240)])
def test_a_key_takes_the_memory_that_is_documented(order, bytes_most):
    """docs/ARCHITECTURE.md: 224 to 233 bytes with an account as its payload; chunks of rows add some here."""
    count = 1 << 20
    words = np.random.default_rng(1).integers(0, 1 << 63, (count, 2), np.uint64)
    if order == "rising":
        words = np.stack([np.arange(1, count + 1, dtype=np.uint64), np.zeros(count, np.uint64)], axis=1)
    keys, payloads = words.view(U128)[:, 0].copy(), np.zeros((count, 136), np.uint8)
    payloads[:, :16] = words.view(np.uint8)
    tree, held, step = StateTree(136, key_in_payload=True), [], 1 << 16
    for start in range(0, count, step):
        tree.insert(keys[start : start + step], payloads[start : start + step])
        tree.root()
        held.append(tree.memory_bytes)
    half = len(held) // 2
    assert 136 + 4 + 64 + 20 <= (held[-1] - held[half - 1]) / (count // 2) <= bytes_most


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_updates_give_the_same_root_for_any_order_split_and_thread_count(threads, rising):
    draw = np.random.default_rng(5)
    count = 50_000
    keys = u128_array(range(1, count + 1))
    payloads = draw.integers(0, 256, (count, PAYLOAD), np.uint8)
    slots = draw.integers(1, count + 1, 60_000).astype(np.uint32)
    if rising:
        slots.sort()
    changes = draw.integers(0, 256, (len(slots), PAYLOAD), np.uint8)
    tree = pl.merkle.StateTree(PAYLOAD)
    tree.insert(keys, payloads)
    for start in range(0, len(slots), 60_000 // threads):
        part = slice(start, start + 60_000 // threads)
        tree._native.update(slots[part], changes[part], threads)
        tree.root(threads)
    payloads[slots - 1] = changes  # the last of equal slots stays
    fresh = pl.merkle.StateTree(PAYLOAD)
    fresh.insert(keys, payloads)
    assert tree.root() == fresh.root()


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        ([5, 0], 1),
        ([5, 6, (1 << 128) - 1], 2),
        ([9, 100], 1),
        ([7, 8, 7], 2),
        ([100, 50], 0),
        ([7, 7, 50, 0], 1),
        ([100, 7, 0], 0),
    ],
)
def test_a_reserved_present_or_repeated_key_is_refused_and_changes_nothing(keys, row):
    tree = pl.merkle.StateTree(PAYLOAD)
    tree.insert(u128_array([100, 50]), payload_rows([b"a" * PAYLOAD, b"b" * PAYLOAD]))
    before = tree.root()
    with pytest.raises(StateError, match=f"row {row}:"):
        tree.insert(u128_array(keys), payload_rows([b"c" * PAYLOAD] * len(keys)))
    assert (tree.root(), tree.size) == (before, 3)


@pytest.mark.parametrize("slots", [[1, 0], [1, 3], [1, 2], [1, 1 << 32]])
def test_slots_of_the_head_of_tombstones_or_of_nothing_are_refused(slots):
    tree = pl.merkle.StateTree(PAYLOAD)
    tree.insert(u128_array([100, 50]), payload_rows([b"a" * PAYLOAD, b"b" * PAYLOAD]))
    tree.remove(np.array([2], np.uint64))
    before = tree.root()
    with pytest.raises(StateError, match="row 1:"):
        tree.update(np.array(slots, np.uint64), payload_rows([b"c" * PAYLOAD] * 2))
    with pytest.raises(StateError, match="row 1:"):
        tree.remove(np.array(slots, np.uint64))
    with pytest.raises(StateError, match="row 1:"):
        tree.remove(np.array([1, 1], np.uint32))
    assert tree.root() == before


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("wrong", [(7_999,), (100, 7_000), (6_000, 7_000)])
def test_a_long_update_with_wrong_slots_names_the_first_and_changes_nothing(wrong, threads):
    count = 8_000
    tree = pl.merkle.StateTree(PAYLOAD)
    tree.insert(u128_array(range(1, count + 1)), np.zeros((count, PAYLOAD), np.uint8))
    before = tree.root()
    slots = np.arange(1, count + 1, dtype=np.uint32)
    slots[list(wrong)] = count + 1
    assert tree._native.update(slots, np.ones((count, PAYLOAD), np.uint8), threads)[1] == wrong[0]
    assert tree.root() == before


def test_a_removed_key_is_proven_absent_and_may_return_in_a_new_slot():
    pair = Pair()
    pair.insert([10, 20, 30], [b"a" * PAYLOAD, b"b" * PAYLOAD, b"c" * PAYLOAD])
    pair.remove([2, 1])
    pair.check([10, 20, 30])
    pair.insert([20], [b"d" * PAYLOAD])
    pair.check([10, 20, 30])
    assert pair.native.slots_of(u128_array([10, 20, 30])).tolist() == [0, 4, 3]


def test_every_changed_shortened_or_lengthened_proof_is_refused():
    pair = Pair()
    pair.insert([10, 20, 30, 40], [bytes([i]) * PAYLOAD for i in range(4)])
    root, proof = pair.native.root(), pair.native.prove_membership(20)
    for i in range(len(proof)):
        for bit in range(8):
            changed = proof[:i] + bytes([proof[i] ^ 1 << bit]) + proof[i + 1 :]
            with pytest.raises(ProofError):
                pl.merkle.verify_membership(root, 20, changed)
            with pytest.raises(ProofError):
                reference.verify_membership(root, 20, changed)
        with pytest.raises(ProofError):
            pl.merkle.verify_membership(root, 20, proof[:i])
    for more in (b"\0", proof[-32:]):
        with pytest.raises(ProofError):
            pl.merkle.verify_membership(root, 20, proof + more)


@pytest.mark.parametrize("size", [0, 65_537, 2**62, 2**64 - 1])
def test_payload_sizes_are_capped_below_python_too(size):
    with pytest.raises(ValueError, match="payload_bytes: expected at"):
        _core.StateTree(size)


def rows_of_five(rng, count):
    return np.frombuffer(rng.randbytes(5 * count), np.uint8).reshape(-1, 5)


def random_calls(tree, rng):
    """Insert, update and remove at random; returns the calls, which work on any tree in the same state."""
    calls = []
    for _ in range(rng.randrange(4)):
        present = [key for key in range(1, 200) if tree.slots_of(u128_array([key]))[0]]
        some = rng.sample(present, min(len(present), rng.randrange(1, 6)))
        kind = rng.choice(["insert", "insert", "update", "update", "remove"])
        if kind == "insert":
            keys = list({rng.randrange(1, 200) for _ in range(rng.randrange(1, 8))} - set(present))
            calls.append(("insert", u128_array(keys), rows_of_five(rng, len(keys))))
        elif kind == "update":
            calls.append(("update", tree.slots_of(u128_array(some)), rows_of_five(rng, len(some))))
        else:
            calls.append(("remove", tree.slots_of(u128_array(some))))
        make([calls[-1]], tree)
        if rng.random() < 0.3:
            tree.root()
    return calls


def make(calls, tree):
    for name, *arguments in calls:
        getattr(tree, name)(*arguments)


def test_a_state_tree_after_blocks_were_taken_back_is_one_that_never_had_them():
    taken_back = 0
    for seed in range(100):
        rng = random.Random(seed)
        tree, final, blocks = StateTree(5), [], []
        for _ in range(12):
            tree.begin_block()
            blocks.append(random_calls(tree, rng))
            while blocks and rng.random() < 0.4:
                tree.roll_back_block()
                taken_back += len(blocks.pop())
            while blocks and (len(blocks) > 3 or rng.random() < 0.2):
                tree.commit_block()
                final += blocks.pop(0)
            if blocks and rng.random() < 0.3:
                blocks[-1] += random_calls(tree, rng)  # it goes on after a newer one was taken back
            assert tree.open_blocks == len(blocks)
            never = StateTree(5)
            make([*final, *(call for block in blocks for call in block)], never)
            assert tree.root() == never.root()
            assert [tree.leaf(slot) for slot in range(tree.size)] == [never.leaf(slot) for slot in range(never.size)]
            every = u128_array(range(1, 200))
            assert np.array_equal(tree.slots_of(every), never.slots_of(every))
            assert np.array_equal(tree.order(), never.order())
    assert taken_back > 500


def rows_with_keys(rng, keys):
    rows = np.frombuffer(rng.randbytes(21 * len(keys)), np.uint8).reshape(-1, 21).copy()
    rows[:, :16] = u128_array(keys).view(np.uint8).reshape(-1, 16)
    return rows


def test_keys_that_payloads_begin_with_are_kept_once_and_change_no_root_or_proof():
    for seed in range(30):
        rng = random.Random(seed)
        trees, present = (StateTree(21), StateTree(21, key_in_payload=True)), []
        for _ in range(12):
            new = [key for key in {rng.randrange(1, 300) for _ in range(8)} if key not in present]
            rows = rows_with_keys(rng, new)
            changed = rng.sample(present, len(present) // 3)
            payloads = rows_with_keys(rng, changed)
            gone = rng.sample(present, len(present) // 9)
            take_back = rng.random() < 0.4
            for tree in trees:
                tree.begin_block()
                tree.insert(u128_array(new), rows)
                tree.update(tree.slots_of(u128_array(changed)), payloads)
                tree.remove(tree.slots_of(u128_array(gone)))
                tree.roll_back_block() if take_back else tree.commit_block()
            if not take_back:
                present = [key for key in present + new if key not in gone]
            plain, small = trees
            assert plain.root() == small.root()
            assert [plain.leaf(slot) for slot in range(plain.size)] == [small.leaf(slot) for slot in range(small.size)]
            for key in rng.sample(present, min(4, len(present))):
                assert plain.prove_membership(key) == small.prove_membership(key)
    big = [StateTree(21), StateTree(21, key_in_payload=True)]
    for tree in big:
        tree.insert(u128_array(range(1, 200_001)), rows_with_keys(rng, range(1, 200_001)))
    assert big[0].memory_bytes - big[1].memory_bytes >= 16 * 200_000


def test_a_payload_that_begins_with_another_key_is_refused():
    rng, tree = random.Random(1), StateTree(21, key_in_payload=True)
    tree.insert(u128_array([5, 7]), rows_with_keys(rng, [5, 7]))
    root = tree.root()
    with pytest.raises(StateError, match=r"row 1.*begins with the key"):
        tree.insert(u128_array([8, 9]), rows_with_keys(rng, [8, 10]))
    with pytest.raises(StateError, match=r"row 1.*begins with the key"):
        tree.update(np.array([1, 2], np.uint32), rows_with_keys(rng, [5, 5]))
    with pytest.raises(StateError, match="order"):
        StateTree(21, key_in_payload=True).load(
            u128_array([1, 2]), rows_with_keys(rng, [1, 3]), np.array([1, 2], np.uint32)
        )
    assert tree.root() == root
    with pytest.raises(ValueError, match="at least 16"):
        StateTree(15, key_in_payload=True)


def test_blocks_end_only_where_they_began():
    tree = StateTree(5)
    for call in (tree.commit_block, tree.roll_back_block):
        with pytest.raises(StateError, match="no block is open"):
            call()


def test_a_tree_loaded_in_key_order_is_the_tree_that_was_filled_key_by_key():
    rng = random.Random(6)
    for count in (0, 1, 2, 127, 128, 129, 5000):
        keys = u128_array([2 + number for number in rng.sample(range(1 << 62), count)])
        payloads = np.frombuffer(rng.randbytes(7 * count), np.uint8).reshape(-1, 7)
        tree, loaded = StateTree(7), StateTree(7)
        tree.insert(keys, payloads)
        loaded.load(keys, payloads, tree.order())
        more = u128_array([1, (1 << 127) + 9])
        for each in (tree, loaded):
            each.insert(more, np.zeros((2, 7), np.uint8))
        assert loaded.root() == tree.root()
        assert np.array_equal(loaded.order(), tree.order())


def test_keys_that_do_not_rise_are_not_loaded():
    keys, payloads = u128_array([5, 3, 9]), np.zeros((3, 7), np.uint8)
    good = np.array([2, 1, 3], np.uint32)
    for bad in ([1, 2, 3], [2, 1, 1], [2, 1, 4], [0, 1, 3], [2, 2, 3]):
        tree = StateTree(7)
        with pytest.raises(StateError, match="order"):
            tree.load(keys, payloads, np.array(bad, np.uint32))
        tree.load(keys, payloads, good)
        with pytest.raises(StateError, match="new tree"):
            tree.load(keys, payloads, good)
