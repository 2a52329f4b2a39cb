"""Plain twin of `pyledger.crypto.bls`: the decoders written again, the arithmetic through py_ecc.

Slow (a pairing takes most of a second) and simple: no batches, no cached sums, one equation for one certificate.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, NamedTuple

from py_ecc.bls.g2_primitives import subgroup_check
from py_ecc.bls.hash_to_curve import hash_to_G1, hash_to_G2
from py_ecc.bls.point_compression import compress_G1, compress_G2, decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import G1, G2, Z1, Z2, add, curve_order, is_inf, multiply, neg, pairing

__all__ = [
    "Certificate",
    "Validator",
    "certificate_is_right",
    "derive_key",
    "proof_of_possession",
    "public_key",
    "quorum_weight",
    "read_certificate",
    "read_validators",
    "sign",
]

SUITES = {1: "min-sig", 2: "min-pk"}
KEY_BYTES = {"min-sig": 96, "min-pk": 48}
SIGNATURE_BYTES = {"min-sig": 48, "min-pk": 96}
GROUP_OF_SIGNATURES = {"min-sig": "G1", "min-pk": "G2"}
TAGS = {
    "vote": "BLS_SIG_BLS12381{}_XMD:SHA-256_SSWU_RO_POP_",
    "timeout": "PYLEDGER_TIMEOUT_V1_BLS12381{}_XMD:SHA-256_SSWU_RO_POP_",
    "proof": "BLS_POP_BLS12381{}_XMD:SHA-256_SSWU_RO_POP_",
}


class Validator(NamedTuple):
    """An entry of a validator set."""

    weight: int
    key: bytes
    proof: bytes


class Certificate(NamedTuple):
    """The parts of a certificate."""

    suite: str
    purpose: str
    validators: int
    message: bytes
    bitmap: bytes
    signature: bytes


def derive_key(seed: bytes) -> int:
    """KeyGen of draft-irtf-cfrg-bls-signature-05, section 2.3, as written there."""
    salt = b"BLS-SIG-KEYGEN-SALT-"
    secret = 0
    while secret == 0:
        salt = hashlib.sha256(salt).digest()
        extracted = hmac.digest(salt, seed + b"\0", "sha256")
        first = hmac.digest(extracted, (48).to_bytes(2, "big") + b"\x01", "sha256")
        second = hmac.digest(extracted, first + (48).to_bytes(2, "big") + b"\x02", "sha256")
        secret = int.from_bytes((first + second)[:48], "big") % curve_order
    return secret


def _encode(point: Any, size: int) -> bytes:
    if size == 48:
        return int(compress_G1(point)).to_bytes(48, "big")
    high, low = compress_G2(point)
    return int(high).to_bytes(48, "big") + int(low).to_bytes(48, "big")


def _decode(data: bytes, size: int) -> Any:
    """Give a point of the subgroup other than infinity; raise ValueError for all else."""
    if len(data) != size:
        raise ValueError(f"expected {size} bytes, got {len(data)}")
    numbers = [int.from_bytes(data[i : i + 48], "big") for i in range(0, size, 48)]
    point = decompress_G1(numbers[0]) if size == 48 else decompress_G2((numbers[0], numbers[1]))
    if is_inf(point) or not subgroup_check(point):
        raise ValueError("infinity, or outside the subgroup")
    return point


def _hash(message: bytes, purpose: str, suite: str) -> Any:
    group = GROUP_OF_SIGNATURES[suite]
    tag = TAGS[purpose].format(group).encode()
    return (hash_to_G1 if group == "G1" else hash_to_G2)(message, tag, hashlib.sha256)


def public_key(secret: int, suite: str) -> bytes:
    """Give the compressed public key."""
    return _encode(multiply(G2 if suite == "min-sig" else G1, secret), KEY_BYTES[suite])


def sign(secret: int, message: bytes, purpose: str, suite: str) -> bytes:
    """Give the compressed signature."""
    return _encode(multiply(_hash(message, purpose, suite), secret), SIGNATURE_BYTES[suite])


def proof_of_possession(secret: int, suite: str) -> bytes:
    """Give the signature of the public key's bytes under the proof tag."""
    return sign(secret, public_key(secret, suite), "proof", suite)


def _equation_holds(key: Any, hashed: Any, signature: Any, suite: str) -> bool:
    if suite == "min-sig":
        return bool(pairing(key, hashed) == pairing(G2, signature))
    return bool(pairing(hashed, key) == pairing(signature, G1))


def read_validators(data: bytes) -> list[Validator]:
    """Read the bytes of a set; keys and proofs are not checked. Raise ValueError if they are not exactly one set."""
    suite = SUITES[data[0]] if data and data[0] in SUITES else None
    count = int.from_bytes(data[1:3], "little")
    if suite is None or len(data) < 3 or not 1 <= count <= 4096:
        raise ValueError("header")
    width = 8 + KEY_BYTES[suite] + SIGNATURE_BYTES[suite]
    if len(data) != 3 + count * width:
        raise ValueError("length")
    entries = [data[3 + i * width : 3 + (i + 1) * width] for i in range(count)]
    split = 8 + KEY_BYTES[suite]
    return [Validator(int.from_bytes(e[:8], "little"), e[8:split], e[split:]) for e in entries]


def quorum_weight(weights: list[int]) -> int:
    """Give the smallest weight above two thirds of the total, by counting up from the bound."""
    weight = 0 if sum(weights) < 8 else sum(weights) * 2 // 3 - 2
    while 3 * weight <= 2 * sum(weights):
        weight += 1
    return weight


def read_certificate(data: bytes) -> Certificate:
    """Read the bytes of a certificate; raise ValueError if they are not exactly one in its one encoding."""
    if len(data) < 6 or data[0] not in SUITES or data[1] > 1:
        raise ValueError("header")
    suite = SUITES[data[0]]
    validators, size = int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:6], "little")
    if not 1 <= validators <= 4096 or not 1 <= size <= 1024:
        raise ValueError("counts")
    rest = data[6:]
    message, rest = rest[:size], rest[size:]
    bitmap, signature = rest[: (validators + 7) // 8], rest[(validators + 7) // 8 :]
    if len(signature) != SIGNATURE_BYTES[suite]:
        raise ValueError("length")
    signers = int.from_bytes(bitmap, "little")
    if signers == 0 or signers >> validators:
        raise ValueError("bitmap")
    return Certificate(suite, ("vote", "timeout")[data[1]], validators, message, bitmap, signature)


def certificate_is_right(validators: list[Validator], certificate: Certificate, purpose: str) -> bool:
    """Tell whether a quorum of these validators signed; possession of the keys is taken as proven."""
    if certificate.purpose != purpose or certificate.validators != len(validators):
        return False
    bits = int.from_bytes(certificate.bitmap, "little")
    signers = [validator for i, validator in enumerate(validators) if bits >> i & 1]
    if sum(signer.weight for signer in signers) < quorum_weight([validator.weight for validator in validators]):
        return False
    suite = certificate.suite
    try:
        keys = [_decode(signer.key, KEY_BYTES[suite]) for signer in signers]
        signature = _decode(certificate.signature, SIGNATURE_BYTES[suite])
    except ValueError:
        return False
    total = Z2 if suite == "min-sig" else Z1
    for key in keys:
        total = add(total, key)
    return not is_inf(total) and _equation_holds(
        total, _hash(certificate.message, certificate.purpose, suite), signature, suite
    )


def negated(point: bytes) -> bytes:
    """Give the encoding of the opposite point: for tests that build cancelling keys and signatures."""
    return _encode(neg(_decode(point, len(point))), len(point))
