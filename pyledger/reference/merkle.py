"""RFC 6962 trees written as the standard defines them: the twin of pyledger.crypto.merkle.

Trees are lists of leaf hashes; MTH, PATH and PROOF are the recursions of RFC 6962 section 2.1, verification is that of
RFC 9162 sections 2.1.3.2 and 2.1.4.2, step by step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pyledger.errors import ProofError

__all__ = [
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "multi_proof",
    "node_hash",
    "root",
    "root_of_inclusion",
    "verify_consistency",
    "verify_inclusion",
    "verify_inclusion_multi",
]


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _require_digests(*hashes: bytes) -> None:
    if any(len(digest) != 32 for digest in hashes):
        raise ProofError("expected hashes of 32 bytes")


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def root(hashes: Sequence[bytes]) -> bytes:
    """Return MTH over leaf hashes (2.1)."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = _split(len(hashes))
    return node_hash(root(hashes[:k]), root(hashes[k:]))


def inclusion_proof(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return PATH(index, D[n]) (2.1.1)."""
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*inclusion_proof(index, hashes[:k]), root(hashes[k:])]
    return [*inclusion_proof(index - k, hashes[k:]), root(hashes[:k])]


def consistency_proof(old_size: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return PROOF(old_size, D[n]) (2.1.2); empty for old_size 0."""
    return _subproof(old_size, hashes, True) if old_size else []


def _subproof(m: int, hashes: Sequence[bytes], old_root_known: bool) -> list[bytes]:
    if m == len(hashes):
        return [] if old_root_known else [root(hashes)]
    k = _split(len(hashes))
    if m <= k:
        return [*_subproof(m, hashes[:k], old_root_known), root(hashes[k:])]
    return [*_subproof(m - k, hashes[k:], False), root(hashes[:k])]


def multi_proof(indices: Sequence[int], hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the largest subtrees without any of these leaves, left to right."""
    if not hashes:
        return []
    if not indices:
        return [root(hashes)]
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    left = multi_proof([i for i in indices if i < k], hashes[:k])
    return left + multi_proof([i - k for i in indices if i >= k], hashes[k:])


def verify_inclusion(root: bytes, size: int, index: int, leaf_hash: bytes, proof: Sequence[bytes]) -> None:
    """Check an inclusion proof; raise ProofError if it fails."""
    if root_of_inclusion(size, index, leaf_hash, proof) != root:
        raise ProofError("another root")


def root_of_inclusion(size: int, index: int, leaf_hash: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the root that an inclusion proof leads to (RFC 9162, 2.1.3.2); raise ProofError if it has none."""
    _require_digests(leaf_hash, *proof)
    if index >= size:
        raise ProofError("index outside the tree")
    fn, sn, r = index, size - 1, leaf_hash
    for p in proof:
        if sn == 0:
            raise ProofError("proof too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError("proof too short")
    return r


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162, 2.1.4.2); raise ProofError if it fails."""
    _require_digests(old_root, new_root, *proof)
    if old_size in (0, new_size):
        expected = new_root if old_size else hashlib.sha256().digest()
        if proof or old_root != expected:
            raise ProofError("expected an empty proof and the same root")
        return
    if old_size > new_size:
        raise ProofError("the old tree is larger")
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path or (not proof):
        raise ProofError("proof too short")
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise ProofError("proof too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if fr != old_root or sr != new_root or sn != 0:
        raise ProofError("proof too short or another root")


def verify_inclusion_multi(
    root: bytes, size: int, indices: Sequence[int], leaf_hashes: Sequence[bytes], proof: Sequence[bytes]
) -> None:
    """Check one proof of several leaves; raise ProofError if it fails."""
    if list(indices) != sorted(set(indices)) or any(i >= size for i in indices):
        raise ProofError("indices must rise strictly inside the tree")
    leaves, rest = dict(zip(indices, leaf_hashes, strict=True)), iter(proof)
    try:
        found = _multi_root(0, size, leaves, rest) if size else hashlib.sha256().digest()
    except StopIteration:
        raise ProofError("proof too short") from None
    if found != root or next(rest, None) is not None:
        raise ProofError("proof too long or another root")


def _multi_root(begin: int, end: int, leaves: dict[int, bytes], rest: Iterator[bytes]) -> bytes:
    if not any(begin <= i < end for i in leaves):
        return next(rest)
    if end - begin == 1:
        return leaves[begin]
    middle = begin + _split(end - begin)
    left = _multi_root(begin, middle, leaves, rest)
    return node_hash(left, _multi_root(middle, end, leaves, rest))
