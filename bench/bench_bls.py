"""Quorum certificates against blspy and py-arkworks-bls12381: one, a thousand, and votes on their way to one.

Keys are read beforehand by all; certificates and votes come as bytes, every signature is subgroup-checked. Process
CPU time, but wall time where two threads run. chia-rs has no call for many keys on one message, so it is not here.
"""

import random
import time
from functools import cache

import pytest

from pyledger import _core
from pyledger.crypto import bls

blspy = pytest.importorskip("blspy", reason="blspy has no wheel for this Python")
ark = pytest.importorskip("py_arkworks_bls12381", reason="py-arkworks-bls12381 is not installed")

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
CHAIN = 1000
SIZES = (4, 21, 100, 1000)
ABSENT_PERCENT = (0, 5, 33)
cases = pytest.mark.parametrize(("n", "percent"), [(n, p) for n in SIZES for p in ABSENT_PERCENT])
SUITES = ("min-sig", "min-pk")


@cache
def secrets(n, suite):
    return [bls.SecretKey.from_bytes(scalar.to_bytes(32, "big"), suite) for scalar in scalars(n)]


def scalars(n):
    draw = random.Random(5)
    return [draw.randrange(1, ORDER) for _ in range(n)]


@cache
def validators(n, suite):
    keys = secrets(n, suite)
    return bls.ValidatorSet([k.public_key for k in keys], [1] * n, [k.proof_of_possession for k in keys], suite)


def message(i):
    return i.to_bytes(8, "big") * 24  # as long as a vote statement


@cache
def certificates(n, percent, suite, count):
    """Certificates as bytes, each with other absentees; signed with the sum of the signers' secrets."""
    draw = random.Random(n * 100 + percent)
    made = []
    for i in range(count):
        absent = set(draw.sample(range(n), n * percent // 100))
        total = sum(s for j, s in enumerate(scalars(n)) if j not in absent) % ORDER
        signature = bls.SecretKey.from_bytes(total.to_bytes(32, "big"), suite).sign(message(i))
        bitmap = sum(1 << j for j in range(n) if j not in absent).to_bytes((n + 7) // 8, "little")
        header = bytes([1 if suite == "min-sig" else 2, 0]) + n.to_bytes(2, "little") + (192).to_bytes(2, "little")
        made.append(header + message(i) + bitmap + signature)
    return made


def measure(benchmark, group, contender, items, run, *, threads=1, rounds=7, baseline=False):
    benchmark.group = group
    benchmark.extra_info.update(
        contender=contender, items=items, threads=threads, kernel="blst" if "pyledger" in contender else ""
    )
    if baseline:
        benchmark.extra_info["baseline"] = True
    return benchmark.pedantic(run, rounds=rounds, iterations=1, warmup_rounds=1)


# blspy's way: the signers' keys, the message, the signature from bytes.
@cache
def blspy_case(n, percent, count):
    keys = [blspy.G1Element.from_bytes(key) for key in validators(n, "min-pk").public_keys]
    parts = [bls.QuorumCertificate(data) for data in certificates(n, percent, "min-pk", count)]
    return [([keys[j] for j in part.signers], part.message, part.signature) for part in parts]


def blspy_verify(keys, message, signature):
    assert blspy.PopSchemeMPL.fast_aggregate_verify(keys, message, blspy.G2Element.from_bytes(signature))


@pytest.mark.benchmark(timer=time.process_time)
@cases
@pytest.mark.parametrize("contender", ["blspy", "arkworks min-sig", "pyledger min-sig", "pyledger min-pk"])
def test_one_certificate(benchmark, contender, n, percent):
    group = f"one certificate, {n} validators, {percent} % absent"
    if contender == "blspy":
        case = blspy_case(n, percent, 1)[0]
        measure(benchmark, group, contender, 1, lambda: blspy_verify(*case), rounds=25, baseline=True)
    elif contender == "arkworks min-sig":
        measure(benchmark, group, contender, 1, arkworks_case(n, percent), rounds=5)
    else:
        suite = contender.removeprefix("pyledger ")
        data, trusted = certificates(n, percent, suite, 1)[0], validators(n, suite)
        measure(benchmark, group, contender, 1, lambda: bls.QuorumCertificate(data).verify(trusted), rounds=25)


def arkworks_case(n, percent):
    part = bls.QuorumCertificate(certificates(n, percent, "min-sig", 1)[0])
    public = validators(n, "min-sig").public_keys
    keys = [ark.G2Point.from_compressed_bytes(public[j]) for j in part.signers]
    tag = _core.bls_tag(1, 0)

    def verify():
        total = ark.G2Point.identity()
        for key in keys:
            total = total + key
        hashed = ark.G1Point.hash_to_curve(part.message, tag)
        signature = ark.G1Point.from_compressed_bytes(part.signature)
        assert ark.GT.pairing_check([hashed, -signature], [total, ark.G2Point()])

    return verify


@pytest.mark.benchmark(timer=time.process_time)
@cases
@pytest.mark.parametrize("contender", ["blspy", "pyledger min-sig", "pyledger min-pk"])
def test_thousand_certificates(benchmark, contender, n, percent):
    group = f"{CHAIN} certificates, {n} validators, {percent} % absent, one core"
    if contender == "blspy":
        chain = blspy_case(n, percent, CHAIN)
        measure(
            benchmark, group, contender, CHAIN, lambda: [blspy_verify(*case) for case in chain], rounds=3, baseline=True
        )
        return
    suite = contender.removeprefix("pyledger ")
    data, trusted = certificates(n, percent, suite, CHAIN), validators(n, suite)
    measure(benchmark, group, contender, CHAIN, lambda: verify_from_bytes(data, trusted, 1))


def verify_from_bytes(data, trusted, threads):
    bls.verify_chain([bls.QuorumCertificate(item) for item in data], trusted, threads=threads)


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("percent", ABSENT_PERCENT)
@pytest.mark.parametrize("threads", [1, 2])
def test_thousand_certificates_on_threads(benchmark, threads, percent):
    group = f"{CHAIN} certificates, 100 validators, {percent} % absent, wall time"
    data, trusted = certificates(100, percent, "min-sig", CHAIN), validators(100, "min-sig")
    measure(
        benchmark,
        group,
        f"pyledger min-sig, {threads} threads",
        CHAIN,
        lambda: verify_from_bytes(data, trusted, threads),
        threads=threads,
        rounds=15,
        baseline=threads == 1,
    )


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("contender", ["blspy", "pyledger min-sig", "pyledger min-pk", "pyledger min-sig, each proven"])
def test_votes_into_a_certificate(benchmark, contender, n):
    group = f"{n} votes into a certificate, each subgroup-checked"
    suite = "min-pk" if contender in ("blspy", "pyledger min-pk") else "min-sig"
    votes = [key.sign(message(0)) for key in secrets(n, suite)]
    trusted = validators(n, suite)
    if contender == "blspy":
        keys = [blspy.G1Element.from_bytes(key) for key in trusted.public_keys]
        measure(benchmark, group, contender, n, lambda: blspy_certify(keys, votes), baseline=True)
        return
    made = measure(benchmark, group, contender, n, lambda: certify(trusted, votes, prove="proven" in contender))
    made.verify(trusted)


def blspy_certify(keys, votes):
    total = blspy.PopSchemeMPL.aggregate([blspy.G2Element.from_bytes(vote) for vote in votes])
    assert blspy.PopSchemeMPL.fast_aggregate_verify(keys, message(0), total)


def certify(trusted, votes, *, prove=False, rejected=()):
    collector = bls.VoteCollector(trusted, message(0))
    for index, vote in enumerate(votes):
        collector.add(index, vote)
    if prove:
        assert len(collector.proven_votes()) == len(votes)
    made = collector.certificate()
    assert made is not None
    assert collector.rejected == rejected
    return made


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("contender", ["blspy", "pyledger min-sig", "pyledger min-pk"])
def test_one_bad_vote_among_100_is_named(benchmark, contender):
    group = "one bad vote among 100 found and named"
    suite = "min-sig" if contender == "pyledger min-sig" else "min-pk"
    votes = [key.sign(message(1 if i == 37 else 0)) for i, key in enumerate(secrets(100, suite))]
    if contender == "blspy":
        keys = [blspy.G1Element.from_bytes(key) for key in validators(100, suite).public_keys]
        measure(benchmark, group, contender, 1, lambda: blspy_find_bad(keys, votes), rounds=3, baseline=True)
    else:
        measure(benchmark, group, contender, 1, lambda: certify(validators(100, suite), votes, rejected=(37,)))


def blspy_find_bad(keys, votes):
    """It has no call that finds one, so halve by aggregates as we do."""
    signatures = [blspy.G2Element.from_bytes(vote) for vote in votes]

    def right(first, last):
        total = blspy.PopSchemeMPL.aggregate(signatures[first:last])
        return blspy.PopSchemeMPL.fast_aggregate_verify(keys[first:last], message(0), total)

    first, last = 0, len(votes)
    assert not right(first, last)
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (middle, last) if right(first, middle) else (first, middle)
    assert first == 37
