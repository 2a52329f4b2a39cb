"""The state tree as a plain dictionary and list, hashed anew for each root: the twin of pyledger.crypto.state_tree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pyledger.errors import ProofError, StateError
from pyledger.reference import merkle

__all__ = ["StateTree", "verify_absence", "verify_membership"]

_END = (1 << 128) - 1


def _u128(value: int) -> bytes:
    return value.to_bytes(16, "little")


def _state_root(size: int, tree_root: bytes) -> bytes:
    return hashlib.sha256(b"\x02" + size.to_bytes(8, "little") + tree_root).digest()


class StateTree:
    """Slots in creation order; a removed key's slot is None."""

    def __init__(self, payload_size: int) -> None:
        self._payload_size = payload_size
        self._keys: list[int | None] = [0]
        self._payloads = [bytes(payload_size)]

    @property
    def size(self) -> int:
        """Number of slots, the head's and tombstones included."""
        return len(self._keys)

    def insert(self, keys: Sequence[int], payloads: Sequence[bytes]) -> list[int]:
        """Add keys with their payloads; return their slots."""
        if len(set(keys)) < len(keys) or any(key in self._keys or key in (0, _END) for key in keys):
            raise StateError("a key is reserved, present or given twice")
        first = self.size
        self._keys += keys
        self._payloads += payloads
        return list(range(first, self.size))

    def update(self, slots: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Replace payloads; the last one of a slot stays."""
        self._require_live(slots)
        for slot, payload in zip(slots, payloads, strict=True):
            self._payloads[slot] = payload

    def remove(self, slots: Sequence[int]) -> None:
        """Remove keys, leaving tombstones."""
        self._require_live(slots)
        if len(set(slots)) < len(slots):
            raise StateError("a slot is given twice")
        for slot in slots:
            self._keys[slot] = None

    def _require_live(self, slots: Sequence[int]) -> None:
        if any(not 0 < slot < self.size or self._keys[slot] is None for slot in slots):
            raise StateError("a slot is the head's, a tombstone or none at all")

    def leaves(self) -> list[bytes]:
        """Return leaf data of every slot."""
        rising = sorted(key for key in self._keys if key is not None)
        following = dict(zip(rising, [*rising[1:], _END], strict=True))
        return [
            b"" if key is None else payload + _u128(key) + _u128(following[key])
            for key, payload in zip(self._keys, self._payloads, strict=True)
        ]

    def _hashes(self) -> list[bytes]:
        return [merkle.leaf_hash(leaf) for leaf in self.leaves()]

    def root(self) -> bytes:
        """Return the root."""
        return _state_root(self.size, merkle.root(self._hashes()))

    def prove(self, key: int) -> bytes:
        """Return the proof of the slot that holds the greatest key up to this one."""
        slot = self._keys.index(max(k for k in self._keys if k is not None and k <= key))
        header = (
            (1).to_bytes(4, "little")
            + self._payload_size.to_bytes(4, "little")
            + self.size.to_bytes(8, "little")
            + slot.to_bytes(8, "little")
        )
        return header + self.leaves()[slot] + b"".join(merkle.inclusion_proof(slot, self._hashes()))


def _checked_keys(root: bytes, proof: bytes) -> tuple[bytes, int, int]:
    if len(proof) < 24 or proof[:4] != (1).to_bytes(4, "little"):
        raise ProofError("no proof of scheme 1")
    payload_size, size, slot = (int.from_bytes(proof[a:b], "little") for a, b in ((4, 8), (8, 16), (16, 24)))
    leaf, path = proof[24 : 56 + payload_size], proof[56 + payload_size :]
    if payload_size > 65536 or size > 1 << 32 or len(leaf) != payload_size + 32 or len(path) % 32:
        raise ProofError("not of the length that its numbers state")
    hashes = [path[i : i + 32] for i in range(0, len(path), 32)]
    if _state_root(size, merkle.root_of_inclusion(size, slot, merkle.leaf_hash(leaf), hashes)) != root:
        raise ProofError("another root")
    key, following = (int.from_bytes(leaf[a : a + 16], "little") for a in (payload_size, payload_size + 16))
    if key >= following:
        raise ProofError("keys do not rise")
    return leaf[:payload_size], key, following


def verify_membership(root: bytes, key: int, proof: bytes) -> bytes:
    """Return the payload of `key`; raise ProofError unless the proof shows it."""
    payload, found, _ = _checked_keys(root, proof)
    if found != key or key == 0:
        raise ProofError("another key")
    return payload


def verify_absence(root: bytes, key: int, proof: bytes) -> None:
    """Raise ProofError unless the proof shows that `key` is absent."""
    _, found, following = _checked_keys(root, proof)
    if not found < key < following:
        raise ProofError("another gap")
