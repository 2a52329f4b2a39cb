"""Deterministic validators and certificates for the tests of BLS."""

from functools import cache

from pyledger.crypto import bls


@cache
def keys(n: int, suite: bls.Suite = "min-sig") -> tuple[bls.SecretKey, ...]:
    return tuple(bls.SecretKey.from_seed(seed_of(i), suite) for i in range(n))


def seed_of(i: int) -> bytes:
    """What a validator's key is derived from."""
    return b"validator" + i.to_bytes(23, "big")


@cache
def validators(n: int, suite: bls.Suite = "min-sig", weights: tuple[int, ...] | None = None) -> bls.ValidatorSet:
    secret = keys(n, suite)
    return bls.ValidatorSet(
        [key.public_key for key in secret],
        weights or [1] * n,
        [key.proof_of_possession for key in secret],
        suite,
    )


def certificate(
    message: bytes,
    n: int,
    absent: tuple[int, ...] = (),
    suite: bls.Suite = "min-sig",
    purpose: bls.Purpose = "vote",
) -> bls.QuorumCertificate:
    collector = bls.VoteCollector(validators(n, suite), message, purpose)
    for index, key in enumerate(keys(n, suite)):
        if index not in absent:
            collector.add(index, key.sign(message, purpose))
    made = collector.certificate()
    assert made is not None
    return made


def encoded(
    message: bytes,
    signers: tuple[int, ...],
    n: int,
    signature: bytes,
    suite: bls.Suite = "min-sig",
    purpose: bls.Purpose = "vote",
) -> bytes:
    """Certificate bytes put together by hand, right or wrong."""
    bitmap = sum(1 << i for i in set(signers)).to_bytes((n + 7) // 8, "little")
    header = bytes([1 if suite == "min-sig" else 2, purpose == "timeout"])
    return header + n.to_bytes(2, "little") + len(message).to_bytes(2, "little") + message + bitmap + signature
