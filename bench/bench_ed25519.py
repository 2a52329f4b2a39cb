"""Ed25519 verification: ours by route, row and threads against PyNaCl and `cryptography` called once a signature, and
against libsodium in a C loop where it can be compiled.

One thread is timed in process CPU time, several in wall time. Peers' keys are loaded before the clock starts.
"""

import time

import nacl.exceptions
import nacl.signing
import numpy as np
import pytest
import sodium_loop
from cpu_levels import cpu_level
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import pyledger as pl
from pyledger import _core
from pyledger.crypto.keys import SigningKey, sign_many

BATCHES = [1, 8, 64, 1024, 8192]
PEER_CALLS_MAX = 256
LEVELS = ["native", "avx512", "avx2", "scalar"]
MESSAGE_BYTES = [128, 47]
BAD_PERCENT = [0, 1, 10]
THREAD_ROUNDS = 200  # wall time sees whatever else the machine does; the minimum of many rounds sees less of it


class Batch:
    """Signatures of `signers` keys in turn; some with one bit of R, S or the message turned."""

    def __init__(self, count, signers, message_bytes=128, bad_percent=0):
        rng = np.random.default_rng(count + signers)
        keys = [SigningKey.from_seed(rng.bytes(32)) for _ in range(signers)]
        self.index = np.arange(count) % signers
        self.key_rows = np.frombuffer(b"".join(key.public_key for key in keys), np.uint8).reshape(-1, 32)
        self.public_keys = self.key_rows[self.index]
        self.messages = rng.integers(0, 256, (count, message_bytes), np.uint8)
        self.signatures = sign_many(keys, self.index, self.messages)
        self.valid = np.ones(count, bool)
        for row in rng.choice(count, count * bad_percent // 100, replace=False):
            field = (self.signatures, self.messages)[rng.integers(2)]
            field[row, rng.integers(field.shape[1])] ^= np.uint8(1 << rng.integers(8))
            self.valid[row] = False


@pytest.fixture(scope="module")
def batches():
    made = {}

    def get(*key):
        if key not in made:
            made[key] = Batch(*key)
        return made[key]

    return get


@pytest.fixture
def level(request):
    with cpu_level(request.param):
        yield request.param


by_level = pytest.mark.parametrize("level", LEVELS, indirect=True)
cpu_timed = pytest.mark.benchmark(timer=time.process_time)


def run(benchmark, contender, batch, function, threads=1, baseline=False, items=None, rounds=None):
    items = items or len(batch.valid)
    kernel = _core.ed25519_row() if contender.startswith("pyledger") else ""
    benchmark.extra_info.update(contender=contender, items=items, threads=threads, kernel=kernel, baseline=baseline)
    rounds = rounds or (200 if items <= 64 else 30 if items <= 1024 else 7)
    found = benchmark.pedantic(function, rounds=rounds, iterations=1, warmup_rounds=1)
    assert np.array_equal(found, batch.valid[:items])


def _peer(batch, load, error):
    calls = min(PEER_CALLS_MAX, len(batch.valid))
    keys = [load(key.tobytes()) for key in batch.public_keys[:calls]]
    messages = [message.tobytes() for message in batch.messages[:calls]]
    signatures = [signature.tobytes() for signature in batch.signatures[:calls]]

    def verify():
        answers = []
        for key, message, signature in zip(keys, messages, signatures, strict=True):
            try:
                key(message, signature)
                answers.append(True)
            except error:
                answers.append(False)
        return answers

    return verify, calls


def peer_nacl(batch):
    return _peer(batch, lambda key: nacl.signing.VerifyKey(key).verify, nacl.exceptions.BadSignatureError)


def peer_cryptography(batch):
    def load(key):
        verify = Ed25519PublicKey.from_public_bytes(key).verify
        return lambda message, signature: verify(signature, message)

    return _peer(batch, load, InvalidSignature)


def ours(batch, registered, threads=1):
    if not registered:
        return lambda: pl.ed25519.verify_many(batch.public_keys, batch.messages, batch.signatures, threads)
    registry = pl.ed25519.KeyRegistry()
    indices = registry.add(batch.key_rows)[batch.index]
    return lambda: registry.verify_many(indices, batch.messages, batch.signatures, threads)


CASES = [(count, min(count, 32), True) for count in BATCHES]
CASES += [(count, min(count, signers), False) for count in BATCHES for signers in (32, count)]
CASES = list(dict.fromkeys(CASES))
by_case = pytest.mark.parametrize(("count", "signers", "registered"), CASES)
by_length = pytest.mark.parametrize("message_bytes", MESSAGE_BYTES)


def group_name(count, signers, registered, message_bytes):
    who = "distinct signers" if signers == count else f"{signers} signers"
    return f"batch {count}, {who}{', registered' * registered}, {message_bytes}-byte messages"


@by_length
@by_case
@cpu_timed
def bench_pynacl(benchmark, batches, count, signers, registered, message_bytes):
    benchmark.group = group_name(count, signers, registered, message_bytes)
    batch = batches(count, signers, message_bytes)
    verify, calls = peer_nacl(batch)
    run(benchmark, "PyNaCl, per call", batch, verify, baseline=True, items=calls)


@pytest.mark.parametrize(("count", "signers", "registered"), [case for case in CASES if case[0] in (1, 8192)])
@by_length
@cpu_timed
def bench_cryptography(benchmark, batches, count, signers, registered, message_bytes):
    benchmark.group = group_name(count, signers, registered, message_bytes)
    batch = batches(count, signers, message_bytes)
    verify, calls = peer_cryptography(batch)
    run(benchmark, "cryptography, per call", batch, verify, items=calls)


@pytest.fixture(scope="module")
def sodium_verify():
    try:
        return sodium_loop.load()
    except sodium_loop.Unavailable as reason:
        pytest.skip(str(reason))


@by_length
@by_case
@cpu_timed
def bench_libsodium(benchmark, batches, sodium_verify, count, signers, registered, message_bytes):
    benchmark.group = group_name(count, signers, registered, message_bytes)
    batch = batches(count, signers, message_bytes)
    calls = min(PEER_CALLS_MAX, count)
    arrays = [array[:calls] for array in (batch.public_keys, batch.messages, batch.signatures)]
    run(benchmark, "libsodium, C loop", batch, lambda: sodium_verify(*arrays), items=calls)


@by_level
@by_length
@by_case
@cpu_timed
def bench_ours(benchmark, batches, count, signers, registered, message_bytes, level):
    benchmark.group = group_name(count, signers, registered, message_bytes)
    batch = batches(count, signers, message_bytes)
    run(benchmark, f"pyledger {level}", batch, ours(batch, registered))


@by_level
@pytest.mark.parametrize("bad_percent", BAD_PERCENT)
@pytest.mark.parametrize(("signers", "registered"), [(8192, False), (32, False), (32, True)])
@cpu_timed
def bench_bad_signatures(benchmark, batches, signers, registered, bad_percent, level):
    benchmark.group = f"wrong signatures, {group_name(8192, signers, registered, 128)}, {level}"
    batch = batches(8192, signers, 128, bad_percent)
    run(benchmark, f"pyledger {level}, {bad_percent} % bad", batch, ours(batch, registered), baseline=not bad_percent)


@pytest.mark.parametrize("threads", [1, 2])
@by_case
@pytest.mark.benchmark(timer=time.perf_counter)
def bench_threads(benchmark, batches, count, signers, registered, threads):
    benchmark.group = f"threads, {group_name(count, signers, registered, 128)}"
    batch = batches(count, signers, 128)
    function = ours(batch, registered, threads)
    run(benchmark, f"pyledger, {threads} threads", batch, function, threads, threads == 1, rounds=THREAD_ROUNDS)
