"""The state tree: an authenticated map from 128-bit keys to payloads that proves presence and absence.

It is an RFC 6962 tree over slots in creation order. Leaf data is ``payload || key || next key``, the keys 16 bytes
each, little-endian; "next" is in numeric order, so the leaves form a linked list. The path of a key's leaf proves it
present, and the path of its predecessor's leaf proves it absent. Slot 0 is the head of the list: key 0 and a payload of
zeros. The last key's next is 2**128 - 1. Neither 0 nor 2**128 - 1 can be a key of its own. A removed key leaves a
tombstone in its slot, a leaf without data; a slot is never used twice.

The state root is SHA-256(0x02 || number of slots || root of the tree), the number as 8 bytes, little-endian. It depends
on keys, slots and payloads alone: not on how changes were batched, nor on threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.errors import ProofError, StateError
from pyledger.types import U128

__all__ = ["StateLeaf", "StateTree", "verify_absence", "verify_membership"]

_PROBLEMS = {
    "reserved_key": "expected a key in [1, 2**128 - 2]",
    "key_present": "expected a new key; this one has a slot",
    "key_twice": "expected keys that differ; this one occurs before",
    "no_slots": "expected room; the tree holds 2**32 slots at most",
    "no_such_slot": "expected a slot in [1, size - 1]",
    "other_key": "expected a payload that begins with the key of its slot",
    "tombstone": "expected a slot with a key; this one's is removed",
}


class StateLeaf(NamedTuple):
    """What a state proof shows: the leaf in one slot of a tree of `size` slots."""

    payload: bytes
    key: int
    next_key: int
    slot: int
    size: int


class StateTree:
    """An authenticated map from 128-bit keys to payloads of one size.

    It takes payload_size + 20 bytes, 64 bytes of hashes and 20 to 25 bytes of index a key. Calls from several threads
    are safe.

    Parameters
    ----------
    payload_size : int
        Bytes of each payload, 1 to 65,536; anything else is a ValueError.
    key_in_payload : bool, optional
        Whether each payload begins with its key, 16 bytes, little-endian: 16 bytes less to keep. Roots and proofs are
        the same; a payload that begins with something else is refused.
    """

    def __init__(self, payload_size: int, *, key_in_payload: bool = False) -> None:
        if not 1 <= payload_size <= _core.STATE_PAYLOAD_BYTES_MAX:
            raise ValueError(f"payload_size: expected 1 to {_core.STATE_PAYLOAD_BYTES_MAX}, got {payload_size}")
        self._native = _core.StateTree(payload_size, key_in_payload)

    @property
    def size(self) -> int:
        """Number of slots, the head's and tombstones included."""
        return self._native.size

    @property
    def memory_bytes(self) -> int:
        """Bytes held, spare capacity included."""
        return self._native.memory_bytes

    def insert(self, keys: NDArray[Any], payloads: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Add keys with their payloads; key i takes the slot ``size + i``.

        Parameters
        ----------
        keys : NDArray, shape (n,), dtype U128
            New, all different, in [1, 2**128 - 2], in any order.
        payloads : NDArray, shape (n, payload_size), dtype uint8

        Returns
        -------
        NDArray, shape (n,), dtype uint32
            The slots.

        Raises
        ------
        StateError
            If a key is not as stated; the message names the first such row. The tree is as before.
        TypeError, ValueError
            If dtypes or shapes differ.
        """
        problem, first_slot = self._native.insert(_key_words(keys), payloads)
        _refuse(problem)
        return np.arange(first_slot, first_slot + len(keys), dtype=np.uint32)

    def update(self, slots: NDArray[np.uint32] | NDArray[np.uint64], payloads: NDArray[np.uint8]) -> None:
        """Replace the payloads of slots; where a slot occurs twice, the last payload stays.

        Parameters
        ----------
        slots : NDArray, shape (n,), dtype uint32 or uint64
        payloads : NDArray, shape (n, payload_size), dtype uint8

        Raises
        ------
        StateError
            If a slot is the head's, a tombstone or none at all; the message names its row. The tree is as before.
        TypeError, ValueError
            If dtypes or shapes differ.
        """
        _refuse(self._native.update(_narrow_slots(slots), payloads, 0))

    def remove(self, slots: NDArray[np.uint32] | NDArray[np.uint64]) -> None:
        """Remove the keys of slots, which become tombstones; a key may come back in a new slot.

        Parameters and errors are those of `update`; a slot that occurs twice is refused.
        """
        _refuse(self._native.remove(_narrow_slots(slots)))

    def order(self) -> NDArray[np.uint32]:
        """Return the slots in the order of their keys, without the head's: what `load` needs beside the payloads."""
        return self._native.order()

    def load(self, keys: NDArray[Any], payloads: NDArray[np.uint8], order: NDArray[np.uint32]) -> None:
        """Fill a new tree as `insert` would, much faster: key i takes the slot ``1 + i``.

        Parameters
        ----------
        keys : NDArray, shape (n,), dtype U128
        payloads : NDArray, shape (n, payload_size), dtype uint8
        order : NDArray, shape (n,), dtype uint32
            The slots, so that their keys rise, as `order` returns them for a tree without tombstones.

        Raises
        ------
        StateError
            If the tree is not new, or the keys don't rise in this order; the tree is as before.
        """
        if not self._native.load(_key_words(keys), payloads, order):
            raise StateError("order: expected a new tree, and slots whose keys rise")

    @property
    def open_blocks(self) -> int:
        """Number of blocks that may be taken back."""
        return self._native.open_blocks

    def begin_block(self) -> None:
        """Begin a block: what changes from now on can be taken back, newest block first."""
        self._native.begin_block()

    def commit_block(self) -> None:
        """Let the oldest open block stay for ever; StateError if none is open."""
        if not self._native.commit_block():
            raise StateError("commit_block: no block is open")

    def roll_back_block(self) -> None:
        """Take the newest open block back; StateError if none is open."""
        if not self._native.roll_back_block():
            raise StateError("roll_back_block: no block is open")

    def root(self, threads: int = 0) -> bytes:
        """Return the root, 32 bytes. Hashes what changed since the last call; `threads` 0 means all cores."""
        return self._native.root(threads)

    @property
    def native(self) -> _core.StateTree:
        """The tree itself, for natives that change it."""
        return self._native

    def slots_of(self, keys: NDArray[Any]) -> NDArray[np.uint32]:
        """Return the slot of each key of a ``(n,)`` U128 array; 0 for keys that are absent.

        Raises TypeError if it is another array.
        """
        return self._native.slots_of(_key_words(keys))

    def leaf(self, slot: int) -> bytes:
        """Return the leaf data of a slot, payload || key || next key; empty for a tombstone.

        Raises ValueError unless 0 <= slot < self.size.
        """
        if not 0 <= slot < self.size:
            raise ValueError(f"slot: expected an integer in [0, {self.size}), got {slot}")
        return self._native.leaf(slot)

    def prove_membership(self, key: int) -> bytes:
        """Prove that `key` is in the tree, as `verify_membership` takes it.

        Raises
        ------
        StateError
            If the key is absent.
        ValueError
            Unless the key is in [1, 2**128 - 2].
        """
        _, present, proof = self._prove(key)
        if not present:
            raise StateError(f"key {key}: expected a key in the tree")
        return proof

    def prove_absence(self, key: int) -> bytes:
        """Prove that `key` is not in the tree, as `verify_absence` takes it.

        Raises
        ------
        StateError
            If the key is present.
        ValueError
            Unless the key is in [1, 2**128 - 2].
        """
        _, present, proof = self._prove(key)
        if present:
            raise StateError(f"key {key}: expected a key that is not in the tree")
        return proof

    def _prove(self, key: int) -> tuple[int, bool, bytes]:
        if not 1 <= key <= (1 << 128) - 2:
            raise ValueError(f"key: expected an integer in [1, 2**128 - 2], got {key}")
        return self._native.prove(key & (1 << 64) - 1, key >> 64, 0)


def verify_membership(root: bytes, key: int, proof: bytes) -> StateLeaf:
    """Check that `key` is in the state tree with this root.

    Parameters
    ----------
    root : bytes
        32 bytes.
    key : int
        In [1, 2**128 - 2].
    proof : bytes
        As `StateTree.prove_membership` makes it; there is one encoding.

    Returns
    -------
    StateLeaf
        Payload, key, next key, slot and the tree's size, all proven.

    Raises
    ------
    ProofError
        If the bytes are no proof, lead to another root or hold another key.
    """
    leaf = _checked_leaf(root, key, proof)
    if leaf.key != key:
        raise ProofError(f"state proof is of another key: expected {key}, got {leaf.key}")
    return leaf


def verify_absence(root: bytes, key: int, proof: bytes) -> StateLeaf:
    """Check that `key` is not in the state tree with this root; returns the leaf of its predecessor.

    Parameters and errors are those of `verify_membership`.
    """
    leaf = _checked_leaf(root, key, proof)
    if not leaf.key < key < leaf.next_key:
        raise ProofError(f"state proof is of another gap: expected {key} between {leaf.key} and {leaf.next_key}")
    return leaf


def _checked_leaf(root: bytes, key: int, proof: bytes) -> StateLeaf:
    if not 1 <= key <= (1 << 128) - 2:
        raise ProofError(f"key: expected an integer in [1, 2**128 - 2], got {key}")
    if len(root) != 32:
        raise ProofError(f"root: expected 32 bytes, got {len(root)}")
    checked = _core.state_check_proof(root, proof)
    if checked is None:
        raise ProofError("state proof: expected the canonical encoding of scheme 1")
    valid, payload, key_bytes, next_key_bytes, slot, size = checked
    if not valid:
        raise ProofError(f"state proof does not lead from slot {slot} of {size} to the root {root.hex()}")
    return StateLeaf(payload, int.from_bytes(key_bytes, "little"), int.from_bytes(next_key_bytes, "little"), slot, size)


def _key_words(keys: NDArray[Any]) -> NDArray[np.uint64]:
    if keys.dtype != U128 or keys.ndim != 1 or not keys.flags.c_contiguous:
        raise TypeError(f"keys: expected a contiguous array of shape (n,) and dtype U128, got {keys.dtype}")
    return keys.view(np.uint64).reshape(-1, 2)


def _narrow_slots(slots: NDArray[np.uint32] | NDArray[np.uint64]) -> NDArray[Any]:
    if slots.dtype != np.uint64:
        return slots
    beyond = np.flatnonzero(slots >> np.uint64(32))
    if len(beyond):
        raise StateError(f"row {beyond[0]}: {_PROBLEMS['no_such_slot']}")
    return slots.astype(np.uint32)


def _refuse(problem: tuple[str, int] | None) -> None:
    if problem is not None:
        name, row = problem
        raise StateError(f"row {row}: {_PROBLEMS[name]}")
