"""Merkle trees and logs of RFC 6962 (section 2.1) and RFC 9162: roots, proofs and their verification.

A leaf's hash is SHA-256(0x00 || data), a node's SHA-256(0x01 || left || right), and the root of no leaves is SHA-256 of
nothing. Proofs are arrays ``(k, 32) uint8``, lowest hash first, as transparency logs exchange them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto.arguments import refusing
from pyledger.crypto.hashing import Messages, split_messages
from pyledger.crypto.state_tree import StateLeaf, StateTree, verify_absence, verify_membership
from pyledger.errors import ProofError

__all__ = [
    "Log",
    "StateLeaf",
    "StateTree",
    "Tree",
    "leaf_hash",
    "leaf_hashes",
    "root",
    "root_of_leaf_hashes",
    "verify_absence",
    "verify_consistency",
    "verify_inclusion",
    "verify_inclusion_many",
    "verify_inclusion_multi",
    "verify_membership",
]


def leaf_hash(data: bytes) -> bytes:
    """Return the leaf hash of one leaf, SHA-256(0x00 || data): 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


@refusing
def leaf_hashes(leaves: Messages, threads: int = 0) -> NDArray[np.uint8]:
    """Return the leaf hash of each leaf.

    Parameters
    ----------
    leaves : NDArray, shape (n, m), dtype uint8, or (buffer, offsets)
        Leaf data, C-contiguous, as `pyledger.crypto.hashing.sha256_many` takes messages.
    threads : int
        0 means all cores.

    Returns
    -------
    NDArray, shape (n, 32), dtype uint8

    Raises
    ------
    InputError
        As for `sha256_many`, and for more than 2**24 rows without a byte.
    """
    if isinstance(leaves, tuple):
        return _core.merkle_leaf_hashes_ragged(*split_messages(leaves), threads)
    return _core.merkle_leaf_hashes(leaves, threads)


@refusing
def root(leaves: Messages, threads: int = 0) -> bytes:
    """Return the root, 32 bytes, of the tree over these leaves; the tree is not kept.

    Parameters and errors are those of `leaf_hashes`. n leaves cost n leaf hashes and n - 1 node hashes.
    """
    if isinstance(leaves, tuple):
        return _core.merkle_root_of_leaf_hashes(leaf_hashes(leaves, threads), threads)
    return _core.merkle_root(leaves, threads)


@refusing
def root_of_leaf_hashes(hashes: NDArray[np.uint8], threads: int = 0) -> bytes:
    """Return the root, 32 bytes, of the tree over leaf hashes ``(n, 32) uint8``."""
    return _core.merkle_root_of_leaf_hashes(hashes, threads)


class Log:
    """An append-only log: the tree of each size it ever had.

    It keeps the hash of every complete subtree (64 bytes a leaf) and not the leaves. The root of any size, and proofs
    for or between any sizes, cost O(log n) hashes. Calls from several threads are safe.
    """

    def __init__(self) -> None:
        self._native = _core.MerkleLog()

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._native.size

    @property
    def memory_bytes(self) -> int:
        """Bytes held for hashes, spare capacity included."""
        return self._native.memory_bytes

    @refusing
    def append(self, leaf_hash: bytes) -> None:
        """Append one leaf by its leaf hash; InputError unless it has 32 bytes."""
        self._native.append(leaf_hash)

    @refusing
    def extend(self, hashes: NDArray[np.uint8], threads: int = 0) -> None:
        """Append leaves by their leaf hashes ``(n, 32) uint8``.

        Raises
        ------
        InputError
            If dtype or shape differ; nothing is converted silently.
        MemoryError
            The log is as before.
        """
        self._native.extend(hashes, threads)

    def root(self) -> bytes:
        """Return the root over all leaves, 32 bytes."""
        return self.root_at(self.size)

    @refusing
    def root_at(self, size: int) -> bytes:
        """Return the root over the first `size` leaves, 32 bytes; InputError unless 0 <= size <= self.size."""
        _require_not_negative(size=size)
        return self._native.root_at(size)

    @refusing
    def prove_inclusion(self, index: int, size: int | None = None) -> NDArray[np.uint8]:
        """Prove that leaf `index` is in the tree of the first `size` leaves (default: all).

        Returns
        -------
        NDArray, shape (k, 32), dtype uint8
            Siblings from the leaf up (RFC 6962, 2.1.1).

        Raises
        ------
        InputError
            Unless 0 <= index < size <= self.size.
        """
        size = self.size if size is None else size
        _require_not_negative(index=index, size=size)
        return self._native.prove_inclusion(index, size)

    @refusing
    def prove_inclusion_many(
        self, indices: NDArray[np.uint64], size: int | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """Prove many leaves, each by a proof of its own, as `verify_inclusion_many` takes them.

        Returns
        -------
        proofs : NDArray, shape (total, 32), dtype uint8
        offsets : NDArray, shape (n + 1,), dtype uint64
            Proof i is ``proofs[offsets[i]:offsets[i + 1]]``.

        Raises
        ------
        InputError
            Unless all indices are below size <= self.size, in a C-contiguous uint64 array of one dimension.
        """
        size = self.size if size is None else size
        _require_not_negative(size=size)
        return self._native.prove_many(indices, size)

    @refusing
    def prove_inclusion_multi(self, indices: NDArray[np.uint64], size: int | None = None) -> NDArray[np.uint8]:
        """Prove several leaves by one proof: the roots of the largest subtrees without any of them, left to right.

        Parameters
        ----------
        indices : NDArray, shape (n,), dtype uint64
            Strictly rising.
        size : int, optional
            Of the tree; default all leaves.

        Returns
        -------
        NDArray, shape (k, 32), dtype uint8

        Raises
        ------
        InputError
            Unless the indices rise and are below size <= self.size, in a C-contiguous uint64 array of one dimension.
        """
        size = self.size if size is None else size
        _require_not_negative(size=size)
        return self._native.prove_multi(indices, size)

    @refusing
    def prove_consistency(self, old_size: int, size: int | None = None) -> NDArray[np.uint8]:
        """Prove that the tree of `old_size` leaves is the beginning of that of `size` (default: all).

        Returns
        -------
        NDArray, shape (k, 32), dtype uint8
            RFC 6962, 2.1.2; empty for old_size 0 and for equal sizes.

        Raises
        ------
        InputError
            Unless 0 <= old_size <= size <= self.size.
        """
        size = self.size if size is None else size
        _require_not_negative(old_size=old_size, size=size)
        return self._native.prove_consistency(old_size, size)

    @refusing
    def nodes(self, level: int, begin: int, end: int) -> NDArray[np.uint8]:
        """Return hashes ``(end - begin, 32)`` of the complete subtrees begin to end, of 2**level leaves each.

        Raises
        ------
        InputError
            Unless 0 <= begin <= end <= self.size >> level.
        """
        _require_not_negative(level=level, begin=begin, end=end)
        return self._native.nodes(level, begin, end)


class Tree:
    """The tree over given leaves, kept whole so that any leaf can be proven.

    Parameters
    ----------
    leaves : NDArray, shape (n, m), dtype uint8, or (buffer, offsets)
        As `leaf_hashes` takes them; not kept.
    threads : int
        0 means all cores.
    """

    @refusing
    def __init__(self, leaves: Messages, threads: int = 0) -> None:
        self._log = Log()
        if isinstance(leaves, tuple):
            self._log.extend(leaf_hashes(leaves, threads), threads)
        else:
            self._log._native.extend_leaves(leaves, threads)
        self._root = self._log.root()

    @classmethod
    @refusing
    def from_leaf_hashes(cls, hashes: NDArray[np.uint8], threads: int = 0) -> Tree:
        """Build the tree over leaf hashes ``(n, 32) uint8``."""
        tree = cls.__new__(cls)
        tree._log = Log()
        tree._log.extend(hashes, threads)
        tree._root = tree._log.root()
        return tree

    @property
    def root(self) -> bytes:
        """The root, 32 bytes."""
        return self._root

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._log.size

    @refusing
    def prove(self, index: int) -> NDArray[np.uint8]:
        """Prove leaf `index`: siblings from the leaf up, ``(k, 32) uint8``."""
        return self._log.prove_inclusion(index)

    @refusing
    def prove_many(self, indices: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """Prove many leaves, each by a proof of its own; see `Log.prove_inclusion_many`."""
        return self._log.prove_inclusion_many(indices)

    @refusing
    def prove_multi(self, indices: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Prove several leaves by one proof; see `Log.prove_inclusion_multi`."""
        return self._log.prove_inclusion_multi(indices)

    @refusing
    def prove_consistency(self, old_size: int) -> NDArray[np.uint8]:
        """Prove that the tree of the first `old_size` leaves is the beginning of this one, ``(k, 32) uint8``."""
        return self._log.prove_consistency(old_size)


@refusing
def verify_inclusion(
    root: bytes, size: int, index: int, leaf_hash: bytes, proof: NDArray[np.uint8] | Sequence[bytes]
) -> None:
    """Check that the leaf with this hash is leaf `index` of the tree of `size` leaves with this root.

    Parameters
    ----------
    root, leaf_hash : bytes
        32 bytes each.
    size, index : int
        In [0, 2**64 - 1].
    proof : NDArray, shape (k, 32), dtype uint8, or sequence of k bytes of 32
        RFC 9162, 2.1.3.2.

    Raises
    ------
    ProofError
        If the proof is too short or too long, or shows another leaf, index, size or root.
    """
    _require_u64(size=size, index=index)
    if not _core.merkle_verify_inclusion(
        _digest("root", root), size, index, _digest("leaf hash", leaf_hash), _hashes(proof)
    ):
        raise ProofError(f"inclusion proof does not lead from leaf {index} of {size} to the root {root.hex()}")


@refusing
def verify_inclusion_many(
    root: bytes,
    size: int,
    indices: NDArray[np.uint64],
    leaf_hashes: NDArray[np.uint8],
    proofs: NDArray[np.uint8],
    offsets: NDArray[np.uint64],
    threads: int = 0,
) -> NDArray[np.bool_]:
    """Check many inclusion proofs of one tree, one in a lane.

    Parameters
    ----------
    root : bytes
        32 bytes.
    size : int
        Leaves of the tree.
    indices : NDArray, shape (n,), dtype uint64
    leaf_hashes : NDArray, shape (n, 32), dtype uint8
    proofs : NDArray, shape (total, 32), dtype uint8
    offsets : NDArray, shape (n + 1,), dtype uint64
        Proof i is ``proofs[offsets[i]:offsets[i + 1]]``.
    threads : int
        0 means all cores.

    Returns
    -------
    NDArray, shape (n,), dtype bool
        The answers of `verify_inclusion`, one by one.
    """
    _require_u64(size=size)
    return _core.merkle_verify_inclusion_many(
        _digest("root", root), size, indices, leaf_hashes, proofs, offsets, threads
    )


@refusing
def verify_inclusion_multi(
    root: bytes,
    size: int,
    indices: NDArray[np.uint64],
    leaf_hashes: NDArray[np.uint8],
    proof: NDArray[np.uint8] | Sequence[bytes],
) -> None:
    """Check one proof of several leaves (`Log.prove_inclusion_multi`).

    Parameters
    ----------
    root : bytes
        32 bytes.
    size : int
        Leaves of the tree.
    indices : NDArray, shape (n,), dtype uint64
        Strictly rising.
    leaf_hashes : NDArray, shape (n, 32), dtype uint8
    proof : NDArray, shape (k, 32), dtype uint8, or sequence of k bytes of 32

    Raises
    ------
    ProofError
        If the indices don't rise or lie outside, the proof is too short or too long, or leads to another root.
    """
    _require_u64(size=size)
    if not _core.merkle_verify_inclusion_multi(_digest("root", root), size, indices, leaf_hashes, _hashes(proof)):
        raise ProofError(f"proof of {len(indices)} leaves of {size} does not lead to the root {root.hex()}")


@refusing
def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: NDArray[np.uint8] | Sequence[bytes]
) -> None:
    """Check that the tree of `old_size` leaves with `old_root` is the beginning of the new one.

    Parameters
    ----------
    old_size, new_size : int
        In [0, 2**64 - 1].
    old_root, new_root : bytes
        32 bytes each.
    proof : NDArray, shape (k, 32), dtype uint8, or sequence of k bytes of 32
        RFC 9162, 2.1.4.2; empty for old_size 0 and for equal sizes.

    Raises
    ------
    ProofError
        If the proof is too short or too long, or shows other sizes or roots.
    """
    _require_u64(old_size=old_size, new_size=new_size)
    if not _core.merkle_verify_consistency(
        old_size, _digest("old root", old_root), new_size, _digest("new root", new_root), _hashes(proof)
    ):
        raise ProofError(f"consistency proof does not lead from {old_size} leaves to {new_size} with these roots")


def _require_not_negative(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name}: expected 0 or more, got {value}")


def _require_u64(**values: int) -> None:
    for name, value in values.items():
        if not 0 <= value < 1 << 64:
            raise ProofError(f"{name}: expected an integer in [0, 2**64 - 1], got {value}")


def _digest(name: str, value: bytes) -> bytes:
    if len(value) != 32:
        raise ProofError(f"{name}: expected 32 bytes, got {len(value)}")
    return value


def _hashes(proof: NDArray[np.uint8] | Sequence[bytes]) -> NDArray[Any]:
    if isinstance(proof, np.ndarray):
        return proof
    if any(len(part) != 32 for part in proof):
        raise ProofError("proof: expected hashes of 32 bytes each")
    return np.frombuffer(b"".join(proof), np.uint8).reshape(-1, 32)
