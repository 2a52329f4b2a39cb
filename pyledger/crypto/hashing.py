"""SHA-256 and SHA-512 (FIPS 180-4) of many messages at once.

Each message is hashed in one lane of the widest row that the CPU offers. Messages of one length come as the rows of a
``(n, m)`` array, messages of any lengths as a pair ``(buffer, offsets)``: message ``i`` is
``buffer[offsets[i]:offsets[i + 1]]``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto.arguments import refusing

__all__ = ["Messages", "sha256_many", "sha512_many", "split_messages"]

Messages: TypeAlias = "NDArray[np.uint8] | tuple[NDArray[np.uint8] | bytes, NDArray[np.uint64]]"
"""Messages of one length as the rows of a uint8 array ``(n, m)``, or of any lengths as ``(buffer, offsets)``.

A buffer is bytes or uint8 ``(size,)``; offsets are uint64 ``(n + 1,)``, start at 0, never fall and end at the buffer's
size. Message ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``. Arrays are C-contiguous; nothing is converted silently.
"""


@refusing
def sha256_many(messages: Messages, threads: int = 0, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Hash each message with SHA-256.

    Parameters
    ----------
    messages : NDArray, shape (n, m), dtype uint8, or (buffer, offsets)
        See `Messages`.
    threads : int
        0 means all cores. The result is the same for any number.
    out : NDArray, shape (n, 32), dtype uint8, optional
        Where the digests go; C-contiguous, writable, sharing no memory with the messages. A caller who hashes batch
        after batch spares the system new pages for each.

    Returns
    -------
    NDArray, shape (n, 32), dtype uint8
        `out`, if it was given.

    Raises
    ------
    InputError
        If an array has another dtype or is not C-contiguous, as nothing is converted silently, or if a shape, the
        offsets or the memory of `out` are not as stated.
    """
    if isinstance(messages, tuple):
        return _core.sha256_ragged(*split_messages(messages), threads, out)
    return _core.sha256_rows(messages, threads, out)


@refusing
def sha512_many(messages: Messages, threads: int = 0, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Hash each message with SHA-512.

    Parameters and errors are those of `sha256_many`; `out` has 64 columns.

    Returns
    -------
    NDArray, shape (n, 64), dtype uint8
    """
    if isinstance(messages, tuple):
        return _core.sha512_ragged(*split_messages(messages), threads, out)
    return _core.sha512_rows(messages, threads, out)


def split_messages(
    messages: tuple[NDArray[np.uint8] | bytes, NDArray[np.uint64]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Return buffer and offsets as arrays; a buffer of bytes is viewed, not copied."""
    buffer, offsets = messages
    if isinstance(buffer, bytes):
        buffer = np.frombuffer(buffer, np.uint8)
    return buffer, offsets
