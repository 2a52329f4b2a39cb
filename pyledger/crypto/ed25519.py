"""Ed25519 verification across signatures, by one rule on every path.

A signature (R, S) of message M under public key A is valid exactly if RFC 8032, section 5.1.7, accepts it as written -
A and R decode canonically, S < L, and [8][S]B = [8]R + [8][h]A with h = SHA-512(R || A || M) - and A is not of small
order. Single calls, batches and registries, all CPU kernels and thread counts give the same answer for every input, and
one signature's answer never depends on another's.

Everything here handles public data; signing stands in `pyledger.crypto.keys`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto.arguments import refusing
from pyledger.crypto.hashing import Messages, split_messages
from pyledger.errors import SignatureError

__all__ = ["KeyRegistry", "check_public_keys", "verify", "verify_many"]

TABLE_BYTES_MAX = 1 << 30
"""Default cap of a registry's tables, bytes: room for 2048 keys of 512 KiB."""


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Verify one signature.

    Parameters
    ----------
    public_key : bytes
        32 bytes.
    message : bytes
        Any length.
    signature : bytes
        64 bytes, R || S.

    Raises
    ------
    SignatureError
        If the signature is not valid, or key or signature have another length.
    """
    for name, value, length in (("public_key", public_key, 32), ("signature", signature, 64)):
        if len(value) != length:
            raise SignatureError(f"{name}: expected {length} bytes, got {len(value)}")
    valid = _core.ed25519_verify_many(_row(public_key), _row(message), None, _row(signature), 1)
    if not valid[0]:
        raise SignatureError("the signature is not valid for this message and public key")


@refusing
def verify_many(
    public_keys: NDArray[np.uint8], messages: Messages, signatures: NDArray[np.uint8], threads: int = 0
) -> NDArray[np.bool_]:
    """Verify many signatures at once.

    Parameters
    ----------
    public_keys : uint8 array, shape (n, 32)
        C-contiguous, like all arrays here; nothing is converted silently.
    messages : uint8 array, shape (n, m), or (buffer, offsets)
        See `pyledger.crypto.hashing.Messages`.
    signatures : uint8 array, shape (n, 64)
    threads : int
        0 for all cores. The answer does not depend on it.

    Returns
    -------
    NDArray[bool], shape (n,)
        Whether each signature is valid, in input order. A key that is no acceptable public key makes its signatures
        invalid.

    Raises
    ------
    InputError
        If a shape or a dtype differs from the above.
    """
    buffer, offsets = _split(messages)
    return _core.ed25519_verify_many(public_keys, buffer, offsets, signatures, threads)


@refusing
def check_public_keys(public_keys: NDArray[np.uint8], threads: int = 0) -> None:
    """Check that keys are canonical encodings of points whose order is not small.

    Parameters
    ----------
    public_keys : uint8 array, shape (n, 32)
    threads : int
        0 for all cores.

    Raises
    ------
    SignatureError
        Naming the first row that is not an acceptable key, counted from 0.
    InputError
        If shape or dtype differ.
    """
    _raise_fault(_core.ed25519_find_key_fault(public_keys, threads))


class KeyRegistry:
    """Public keys that sign often, numbered in the order they came.

    The first keys get a table of their multiples each, 512 KiB, as long as all tables fit `table_bytes_max`; their
    signatures then verify fast however few come at once. Later keys stay without one: same answers, and speed only in
    large batches. Keys are never removed. Calls may come from several threads.

    Parameters
    ----------
    table_bytes_max : int
        Most bytes of tables, default 1 GiB.
    """

    __slots__ = ("_native",)

    def __init__(self, table_bytes_max: int = TABLE_BYTES_MAX) -> None:
        self._native = _core.Ed25519Registry(table_bytes_max)

    @refusing
    def add(self, public_keys: NDArray[np.uint8], threads: int = 0) -> NDArray[np.uint32]:
        """Add keys and return their indices.

        Parameters
        ----------
        public_keys : uint8 array, shape (n, 32)
            A key that is there already keeps its index.
        threads : int
            0 for all cores.

        Returns
        -------
        NDArray[uint32], shape (n,)

        Raises
        ------
        SignatureError
            If a key is not a canonical point or is of small order, naming the row; then none is added.
        InputError
            If shape or dtype differ.
        """
        indices, fault = self._native.add(public_keys, threads)
        _raise_fault(fault)
        return indices

    @refusing
    def verify_many(
        self, indices: NDArray[np.uint32], messages: Messages, signatures: NDArray[np.uint8], threads: int = 0
    ) -> NDArray[np.bool_]:
        """Verify many signatures of registered keys.

        Parameters
        ----------
        indices : uint32 array, shape (n,)
            The signers' indices, as `add` returned them.
        messages, signatures, threads
            As for the function `verify_many`.

        Returns
        -------
        NDArray[bool], shape (n,)
            Whether each signature is valid, in input order.

        Raises
        ------
        IndexError
            If an index is not in the registry.
        InputError
            If a shape or a dtype differs from the above.
        """
        buffer, offsets = _split(messages)
        return self._native.verify_many(indices, buffer, offsets, signatures, threads)

    def public_key(self, index: int) -> bytes:
        """Return key `index`, 32 bytes; IndexError if there is none, as for every negative index."""
        if index < 0:
            raise IndexError(f"index: expected 0 or more, got {index}")
        return self._native.public_key(index)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._native)


def _row(value: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(value, np.uint8).reshape(1, len(value))


def _split(messages: Messages) -> tuple[NDArray[np.uint8], NDArray[np.uint64] | None]:
    return split_messages(messages) if isinstance(messages, tuple) else (messages, None)


def _raise_fault(fault: tuple[int, bool] | None) -> None:
    if fault is not None:
        row, is_small = fault
        reason = "a point of small order" if is_small else "not the canonical encoding of a point"
        raise SignatureError(f"public_keys[{row}]: {reason}", row=row)
