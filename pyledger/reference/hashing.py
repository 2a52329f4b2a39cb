"""SHA-256 and SHA-512 of many messages, one hashlib call each: the twin of pyledger.crypto.hashing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["sha256_many", "sha512_many"]


def sha256_many(messages: Sequence[bytes]) -> list[bytes]:
    """Return the SHA-256 digest of each message."""
    return [hashlib.sha256(message).digest() for message in messages]


def sha512_many(messages: Sequence[bytes]) -> list[bytes]:
    """Return the SHA-512 digest of each message."""
    return [hashlib.sha512(message).digest() for message in messages]
