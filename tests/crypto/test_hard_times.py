"""Natives under a system that refuses threads, and under arrays that another thread changes meanwhile.

Each case is a process of its own: what it must not do is crash, and the first limits the process's memory.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

NO_THREADS = """
import resource
import numpy as np
import pyledger as pl
from pyledger.crypto.keys import SigningKey
from pyledger.types import u128_array

rng = np.random.default_rng(1)
hashes = rng.integers(0, 256, (20_000, 32), np.uint8)
log, tree, registry = pl.merkle.Log(), pl.merkle.StateTree(32), pl.ed25519.KeyRegistry()
log.extend(hashes[:1000], 1)
tree.insert(u128_array(range(1, 20_001)), hashes)
stale = tree.root(1)
tree.update(np.arange(1, 20_001, dtype=np.uint32), hashes[::-1].copy())
signers = [SigningKey.from_seed(bytes([i]) * 32) for i in range(40)]
keys = np.frombuffer(b"".join(signer.public_key for signer in signers), np.uint8).reshape(-1, 32)

with open("/proc/self/statm") as file:
    used_bytes = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used_bytes + (128 << 20), resource.RLIM_INFINITY))  # some stacks, not 200
short = []  # of memory: stacks may leave no room for anything else; then a call may fail, but not spoil the next one
for call in (lambda: log.extend(hashes[1000:], 200), lambda: tree.root(200), lambda: registry.add(keys, 200)):
    try:
        call()
    except MemoryError:
        short.append(call)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for call in short:
    call()
root, indices = tree.root(1), registry.add(keys, 1)

assert log.root() == pl.merkle.root_of_leaf_hashes(hashes, 1)
fresh = pl.merkle.StateTree(32)
fresh.insert(u128_array(range(1, 20_001)), hashes[::-1].copy())
assert root == fresh.root(1) != stale
messages = np.zeros((40, 8), np.uint8)
signatures = np.frombuffer(b"".join(s.sign(bytes(8)) for s in signers), np.uint8).reshape(-1, 64)
assert registry.verify_many(indices, messages, signatures).all()
"""

CHANGING = """
import sys, threading, time
import numpy as np
import pyledger as pl
from pyledger.crypto.keys import SigningKey
from pyledger.types import u128_array

COUNT = 4096
signer = SigningKey.from_seed(bytes(32))
keys = np.tile(np.frombuffer(signer.public_key, np.uint8), (COUNT, 1))
messages, signatures = np.zeros((COUNT, 8), np.uint8), np.zeros((COUNT, 64), np.uint8)
payloads = np.zeros((COUNT, 32), np.uint8)
offsets = np.arange(0, 8 * COUNT + 1, 8, dtype=np.uint64)
far_offsets = offsets.copy()
far_offsets[1:-1] = 1 << 62
rows, far_rows = np.arange(COUNT, dtype=np.uint64), np.full(COUNT, 1 << 40, np.uint64)
registry, tree, log = pl.ed25519.KeyRegistry(), pl.merkle.StateTree(32), pl.merkle.Log()
registry.add(keys[:1])
tree.insert(u128_array(range(1, COUNT + 1)), payloads)
log.extend(payloads)
slots = np.arange(1, COUNT + 1, dtype=np.uint32)
proofs, proof_offsets = log.prove_inclusion_many(rows)
far_proofs = proof_offsets.copy()
far_proofs[1:-1] = 1 << 50
zeros = np.zeros(COUNT, np.uint32)
CASES = {
    "sha256": (offsets, far_offsets, lambda a: pl.hashing.sha256_many((messages.reshape(-1), a), 1)),
    "leaves": (offsets, far_offsets, lambda a: pl.merkle.leaf_hashes((messages.reshape(-1), a), 1)),
    "signatures": (offsets, far_offsets, lambda a: pl.ed25519.verify_many(keys, (messages.reshape(-1), a), signatures)),
    "registry": (zeros, zeros + 2**31, lambda a: registry.verify_many(a, messages, signatures, 1)),
    "slots": (slots, zeros + 2**31, lambda a: tree.update(a, payloads)),
    "prove": (rows, far_rows, lambda a: log.prove_inclusion_many(a)),
    "verify": (
        proof_offsets, far_proofs,
        lambda a: pl.merkle.verify_inclusion_many(log.root(), COUNT, rows, payloads, proofs, a, 1),
    ),
}
good, far, call = CASES[sys.argv[1]]
array, ended = good.copy(), threading.Event()


def change():
    while not ended.is_set():
        np.copyto(array, far)
        np.copyto(array, good)


thread = threading.Thread(target=change)
thread.start()
refused = answered = 0
end = time.monotonic() + 2
while refused + answered < 20 or time.monotonic() < end:
    try:
        call(array)
        answered += 1
    except (ValueError, IndexError, pl.errors.LedgerError):
        refused += 1
ended.set()
thread.join()
"""


def run(program, *arguments):
    command = [sys.executable, "-P", "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces the limit that leaves no room for stacks")
def test_threads_that_the_system_refuses_change_no_result():
    run(NO_THREADS)


@pytest.mark.parametrize("case", ["sha256", "leaves", "signatures", "registry", "slots", "prove", "verify"])
def test_an_array_that_changes_during_the_call_leads_nowhere_else(case):
    """What was checked is what is used, though another thread writes to the caller's array at the same time."""
    run(CHANGING, case)
