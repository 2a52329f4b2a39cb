"""Ed25519 in plain Python integers (RFC 8032, section 5.1): the twin of csrc/ed25519.

Affine coordinates and Python's own modular arithmetic throughout: slow, short, and sharing no trick with the natives.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from pyledger.errors import SignatureError

__all__ = [
    "BASE",
    "IDENTITY",
    "ORDER",
    "PRIME",
    "Point",
    "add",
    "decode_point",
    "encode_point",
    "is_small_order",
    "is_valid",
    "multiply",
    "verify",
]

Point: TypeAlias = tuple[int, int]

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY: Point = (0, 1)
_D = -121665 * pow(121666, -1, PRIME) % PRIME
_ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)


def add(a: Point, b: Point) -> Point:
    """Return a + b by the affine addition law of the twisted Edwards curve."""
    (x1, y1), (x2, y2) = a, b
    t = _D * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, PRIME) % PRIME
    y = (y1 * y2 + x1 * x2) * pow(1 - t, -1, PRIME) % PRIME
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    """Return scalar * point by double-and-add; the scalar is not negative."""
    total = IDENTITY
    for bit in f"{scalar:b}":
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def decode_point(encoding: bytes) -> Point | None:
    """Decode a point (section 5.1.3), or return None: y not below p, no x on the curve, or x = 0 with its sign set."""
    number = int.from_bytes(encoding, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    if len(encoding) != 32 or y >= PRIME:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * _ROOT_OF_MINUS_ONE % PRIME
    if x * x % PRIME != square or (x == 0 and sign == 1):
        return None
    return (PRIME - x if x % 2 != sign else x), y


def encode_point(point: Point) -> bytes:
    """Encode a point: y with the lowest bit of x on top (section 5.1.2)."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_small_order(point: Point) -> bool:
    """Tell whether 8 * point is the identity."""
    return multiply(8, point) == IDENTITY


BASE: Point = decode_point(bytes([0x58]) + bytes([0x66]) * 31) or IDENTITY


def is_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature is valid: section 5.1.7 as written, and a public key that is not of small order."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    a, r = decode_point(public_key), decode_point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER or is_small_order(a):
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    h = int.from_bytes(digest, "little") % ORDER
    return multiply(8, multiply(s, BASE)) == add(multiply(8, r), multiply(8, multiply(h, a)))


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise SignatureError unless `is_valid`."""
    if not is_valid(public_key, message, signature):
        raise SignatureError("the signature is not valid for this message and public key")
