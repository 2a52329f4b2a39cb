"""The state tree of 2^23 slots, 136-byte payloads: batches of updates of distinct slots and the root after each.

The peer is remerkleable's Vector of 2^23 32-byte leaves, changed and hashed again. It starts from zeros, whose subtrees
it shares, and its leaves are given: both favour it. Ours copies the payloads and hashes leaves of 168 bytes as well.
"""

import time

import numpy as np
import pytest

import pyledger as pl
from pyledger import _core
from pyledger.types import U128

SLOTS, PAYLOAD = 1 << 23, 136
BATCHES = [1_000, 10_000, 100_000, 1_000_000]
PEER_BATCHES = BATCHES[:3]


@pytest.fixture(scope="module")
def tree():
    rng = np.random.default_rng(1)
    state = pl.merkle.StateTree(PAYLOAD)
    payloads = rng.integers(0, 256, (1 << 20, PAYLOAD), np.uint8)
    keys = rng.integers(0, 1 << 63, (SLOTS - 1, 2), np.uint64).view(U128)[:, 0].copy()
    for start in range(0, len(keys), 1 << 20):
        some = keys[start : start + (1 << 20)]
        state.insert(some, payloads[: len(some)])
    state.root()
    return state


def group(batch):
    return f"state tree of 2^23 slots, batch of {batch:,}"


def distinct_slots(rng, batch):
    return np.sort(rng.choice(SLOTS - 1, batch, replace=False).astype(np.uint32) + 1)


def assert_proven(tree, root, key, leaf):
    """`leaf` is what the root commits to under the key."""
    proven = pl.merkle.verify_membership(root, key, tree.prove_membership(key))
    assert (proven.payload, proven.key) == (leaf[:PAYLOAD], key)


def key_of(leaf):
    return int.from_bytes(leaf[PAYLOAD : PAYLOAD + 16], "little")


def run_ours(benchmark, tree, batch, threads):
    rng = np.random.default_rng(batch)
    benchmark.group = group(batch)
    benchmark.extra_info.update(contender="pyledger", items=batch, threads=threads, kernel=_core.sha256_row())
    if batch in PEER_BATCHES:
        benchmark.extra_info["against"] = "remerkleable"
    benchmark.extra_info["memory_bytes_per_account"] = tree.memory_bytes / SLOTS

    last = []

    def change():
        last[:] = distinct_slots(rng, batch), rng.integers(0, 256, (batch, PAYLOAD), np.uint8)
        return tuple(last), {}

    def update(slots, payloads):
        tree.update(slots, payloads)
        return tree.root(threads)

    root = benchmark.pedantic(update, setup=change, rounds=7 if batch > 100_000 else 40, warmup_rounds=1)
    slots, payloads = last
    for row in (0, batch - 1):
        leaf = tree.leaf(int(slots[row]))
        assert leaf[:PAYLOAD] == payloads[row].tobytes()
        assert_proven(tree, root, key_of(leaf), leaf)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.benchmark(timer=time.perf_counter)
def bench_update_one_thread(benchmark, tree, batch):
    run_ours(benchmark, tree, batch, 1)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.benchmark(timer=time.perf_counter)
def bench_update_two_threads(benchmark, tree, batch):
    run_ours(benchmark, tree, batch, 2)


@pytest.mark.parametrize("batch", PEER_BATCHES)
@pytest.mark.benchmark(timer=time.perf_counter)
def bench_update_remerkleable(benchmark, batch):
    complex_types = pytest.importorskip("remerkleable.complex")
    byte_arrays = pytest.importorskip("remerkleable.byte_arrays")
    rng = np.random.default_rng(batch)
    benchmark.group = group(batch)
    benchmark.extra_info.update(contender="remerkleable", items=batch, threads=1, kernel="hashlib", baseline=True)
    view = complex_types.Vector[byte_arrays.Bytes32, SLOTS]()

    def change():
        digests = [byte_arrays.Bytes32(rng.bytes(32)) for _ in range(batch)]
        return (distinct_slots(rng, batch).tolist(), digests), {}

    def update(slots, digests):
        for slot, digest in zip(slots, digests, strict=True):
            view[slot] = digest
        return view.hash_tree_root()

    last = []

    def change_and_keep():
        last[:], keywords = change()
        return tuple(last), keywords

    benchmark.pedantic(update, setup=change_and_keep, rounds=2, warmup_rounds=0)
    slots, digests = last
    assert all(view[slot] == digest for slot, digest in zip(slots, digests, strict=True))


@pytest.mark.benchmark(group="state tree of 2^23 slots, 20,000 new random keys", timer=time.perf_counter)
def bench_insert(benchmark, tree):
    rng = np.random.default_rng(9)
    benchmark.extra_info.update(contender="pyledger", items=20_000, threads=2, kernel=_core.sha256_row())

    last = []

    def change():
        keys = rng.integers(0, 1 << 63, (20_000, 2), np.uint64).view(U128)[:, 0].copy()
        last[:] = keys, rng.integers(0, 256, (20_000, PAYLOAD), np.uint8)
        return tuple(last), {}

    def insert(keys, payloads):
        tree.insert(keys, payloads)
        return tree.root(2)

    root = benchmark.pedantic(insert, setup=change, rounds=10, warmup_rounds=1)
    leaf = tree.leaf(int(tree.slots_of(last[0][-1:])[0]))
    assert leaf[:PAYLOAD] == last[1][-1].tobytes()
    assert_proven(tree, root, key_of(leaf), leaf)
