"""SHA-256 and RFC 6962 trees: ours by row and threads against loops over hashlib (with and without SHA-NI) and
`cryptography`, and pymerkle.

One thread is timed in process CPU time, several in wall time. The tree of 1e7 leaves takes 5 GB of memory; ours runs
there in the native row, and in all rows if PYLEDGER_BENCH_LARGE=1.
"""

import os
import time

import numpy as np
import pytest
from cpu_levels import cpu_level
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from masked_hashlib import MaskedHashlib, loop_digests, loop_root, make_leaves

import pyledger as pl
from pyledger import _core

LARGE = bool(os.environ.get("PYLEDGER_BENCH_LARGE"))
SIZES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
DIGESTS = 100_000
LEVELS = ["native", "avx512", "sha_ni", "avx2", "scalar"]
DEPTH, PROOFS, PEER_PROOFS = 20, 100_000, 5_000


@pytest.fixture(scope="module")
def masked():
    worker = MaskedHashlib()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def leaves():
    return make_leaves(max(SIZES), 128)


@pytest.fixture
def level(request):
    with cpu_level(request.param):
        yield request.param


def run(benchmark, contender, items, function, *arguments, threads=1, baseline=False, rounds=7, kernel=""):
    benchmark.extra_info.update(contender=contender, items=items, threads=threads, kernel=kernel, baseline=baseline)
    return benchmark.pedantic(function, arguments, rounds=rounds, iterations=1, warmup_rounds=1)


def openssl_digest(data):
    hasher = Hash(SHA256())
    hasher.update(data)
    return hasher.finalize()


def openssl_root(leaves):
    """The RFC 6962 root, one `cryptography` hash a leaf and a node."""
    level = [openssl_digest(b"\0" + leaf) for leaf in leaves]
    while len(level) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [openssl_digest(b"\1" + left + right) for left, right in pairs] + odd
    return level[0]


@pytest.mark.benchmark(group="SHA-256 of 64 bytes", timer=time.process_time)
def bench_digests_hashlib(benchmark):
    messages = [row.tobytes() for row in make_leaves(DIGESTS, 64)]
    run(benchmark, "hashlib loop", DIGESTS, loop_digests, messages, baseline=True, rounds=25)


def bench_digests_hashlib_masked(benchmark, masked):
    benchmark.group, benchmark._timer = "SHA-256 of 64 bytes", masked.clock
    found = run(benchmark, "hashlib loop, SHA-NI masked", DIGESTS, masked.run, "digests", DIGESTS, 64, rounds=25)
    assert found == loop_digests([make_leaves(DIGESTS, 64)[-1].tobytes()])[0]


@pytest.mark.benchmark(group="SHA-256 of 64 bytes", timer=time.process_time)
def bench_digests_cryptography(benchmark):
    messages = [row.tobytes() for row in make_leaves(DIGESTS, 64)]

    def loop():
        return [openssl_digest(message) for message in messages]

    found = run(benchmark, "cryptography loop", DIGESTS, loop, rounds=9)
    assert found == loop_digests(messages)


@pytest.mark.parametrize("level", LEVELS, indirect=True)
@pytest.mark.benchmark(group="SHA-256 of 64 bytes", timer=time.process_time)
def bench_digests_ours_into_one_array(benchmark, level):
    messages, name, kernel = make_leaves(DIGESTS, 64), f"pyledger {level}, one output array", _core.sha256_row()
    out = np.empty((DIGESTS, 32), np.uint8)

    def hash_many():
        return pl.hashing.sha256_many(messages, 1, out=out)

    found = run(benchmark, name, DIGESTS, hash_many, rounds=25, kernel=kernel)
    assert [row.tobytes() for row in found[:50]] == loop_digests([row.tobytes() for row in messages[:50]])


def root_group(size):
    return f"RFC 6962 root, {size:,} leaves of 128 bytes"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(timer=time.process_time)
def bench_root_hashlib(benchmark, leaves, size):
    benchmark.group = root_group(size)
    data = [row.tobytes() for row in leaves[:size]]
    found = run(benchmark, "hashlib loop", size, loop_root, data, baseline=True, rounds=9 if size <= 1_000_000 else 1)
    assert found == pl.merkle.root(leaves[:size])


@pytest.mark.parametrize("size", [size for size in SIZES if size <= 1_000_000])
@pytest.mark.benchmark(timer=time.process_time)
def bench_root_cryptography(benchmark, leaves, size):
    benchmark.group = root_group(size)
    data = [row.tobytes() for row in leaves[:size]]
    found = run(benchmark, "cryptography loop", size, openssl_root, data, rounds=3)
    assert found == pl.merkle.root(leaves[:size])


@pytest.mark.parametrize("size", [size for size in SIZES if size <= 1_000_000])
def bench_root_hashlib_masked(benchmark, masked, size):
    benchmark.group, benchmark._timer = root_group(size), masked.clock
    found = run(benchmark, "hashlib loop, SHA-NI masked", size, masked.run, "root", size, 128, rounds=9)
    assert found == pl.merkle.root(make_leaves(size, 128))


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
@pytest.mark.benchmark(timer=time.process_time)
def bench_root_pymerkle(benchmark, leaves, size):
    pymerkle = pytest.importorskip("pymerkle")
    benchmark.group = root_group(size)
    data = [row.tobytes() for row in leaves[:size]]

    def build():
        tree = pymerkle.InmemoryTree(algorithm="sha256")
        for leaf in data:
            tree.append_entry(leaf)
        return tree.get_root()

    assert run(benchmark, "pymerkle", size, build, rounds=3) == pl.merkle.root(leaves[:size])


@pytest.mark.parametrize("level", LEVELS, indirect=True)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(timer=time.process_time)
def bench_root_ours(benchmark, leaves, size, level):
    if size > 1_000_000 and level != "native" and not LARGE:
        pytest.skip("PYLEDGER_BENCH_LARGE=1 runs it")
    benchmark.group = root_group(size)
    some = leaves[:size]
    rounds = 15 if size <= 1_000_000 else 5
    found = run(benchmark, f"pyledger {level}", size, pl.merkle.root, some, 1, kernel=_core.sha256_row(), rounds=rounds)
    _core.force_cpu_level("scalar")
    assert found == pl.merkle.root(some, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(timer=time.perf_counter)
def bench_root_ours_two_threads(benchmark, leaves, size):
    benchmark.group = root_group(size)
    some, kernel = leaves[:size], _core.sha256_row()
    rounds = 25 if size <= 1_000_000 else 5
    found = run(benchmark, "pyledger native", size, pl.merkle.root, some, 2, threads=2, kernel=kernel, rounds=rounds)
    assert found == pl.merkle.root(some, 1)


@pytest.mark.parametrize("size", SIZES[-2:])
@pytest.mark.benchmark(group="tree kept, leaves of 128 bytes", timer=time.process_time)
def bench_tree_ours(benchmark, leaves, size):
    tree = run(benchmark, f"pyledger, {size:,}", size, pl.merkle.Tree, leaves[:size], 1, kernel=_core.sha256_row())
    assert tree.root == pl.merkle.root(leaves[:size])


@pytest.fixture(scope="module")
def proofs():
    """A tree of depth 20 with the proofs of random leaves."""
    data = make_leaves(1 << DEPTH, 8)
    tree = pl.merkle.Tree(data)
    indices = np.random.default_rng(2).integers(0, 1 << DEPTH, PROOFS).astype(np.uint64)
    hashes = pl.merkle.leaf_hashes(data)[indices.astype(np.int64)]
    return tree, indices, hashes, *tree.prove_many(indices)


def ours_verify(proofs, threads):
    tree, indices, hashes, path, offsets = proofs
    return pl.merkle.verify_inclusion_many(tree.root, tree.size, indices, hashes, path, offsets, threads)


@pytest.mark.benchmark(group="verify inclusion proofs, depth 20", timer=time.process_time)
def bench_verify_pymerkle(benchmark, proofs):
    pytest.importorskip("pymerkle")
    from pymerkle.core import _inclusion_path_layout
    from pymerkle.proof import InclusionProof, verify_inclusion

    tree, indices, hashes, path, offsets = proofs
    peers = []
    for i in range(PEER_PROOFS):
        number, leaf = int(indices[i]) + 1, hashes[i].tobytes()
        siblings = [row.tobytes() for row in path[int(offsets[i]) : int(offsets[i + 1])]]
        rule = _inclusion_path_layout(number, tree.size)[0]
        proof = InclusionProof("sha256", True, tree.size, number, rule, [leaf, *siblings])
        peers.append((leaf, tree.root, proof, number, tree.size))

    def verify():
        for peer in peers:
            verify_inclusion(*peer)

    run(benchmark, "pymerkle", PEER_PROOFS, verify, baseline=True, rounds=3)


@pytest.mark.benchmark(group="verify inclusion proofs, depth 20", timer=time.process_time)
def bench_verify_ours(benchmark, proofs):
    benchmark.extra_info["against"] = "pymerkle"
    valid = run(benchmark, "pyledger", PROOFS, ours_verify, proofs, 1, kernel=_core.sha256_row(), rounds=15)
    assert valid.all()


@pytest.mark.benchmark(group="verify inclusion proofs, depth 20", timer=time.perf_counter)
def bench_verify_ours_two_threads(benchmark, proofs):
    benchmark.extra_info["against"] = "pymerkle"
    valid = run(benchmark, "pyledger", PROOFS, ours_verify, proofs, 2, threads=2, kernel=_core.sha256_row(), rounds=15)
    assert valid.all()


@pytest.mark.benchmark(group="make inclusion proofs, depth 20", timer=time.process_time)
def bench_prove_ours(benchmark, proofs):
    tree, indices = proofs[:2]
    path, offsets = run(benchmark, "pyledger", PROOFS, tree.prove_many, indices, baseline=True)
    assert ours_verify((tree, indices, proofs[2], path, offsets), 0).all()
