"""Memory that block after block uses again: the system clears fresh pages, which costs more than filling them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowBuffers"]


class RowBuffers:
    """Lends arrays of rows, and keeps those given back for the next; two threads may use it.

    Parameters
    ----------
    width : int
        Bytes in a row.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._spare: list[NDArray[np.uint8]] = []

    def take(self, count: int) -> NDArray[np.uint8]:
        """Rows to write to, shape (count, width), whose content is arbitrary."""
        buffer = self._spare.pop() if self._spare else np.empty((0, self._width), np.uint8)
        if len(buffer) < count:
            buffer = np.empty((1 << (count - 1).bit_length(), self._width), np.uint8)  # few sizes, soon the largest
        return buffer[:count]

    def give_back(self, rows: NDArray[np.uint8]) -> None:
        """Take back what `take` lent; nobody may look at it any more."""
        assert isinstance(rows.base, np.ndarray)
        self._spare.append(rows.base)
