"""Where transfers stand: the position of one among all that took effect, and its block and place there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pyledger.ledger.blocks import Header

__all__ = ["Places"]


class Places:
    """Counts of transfers and accounts up to each height, from headers that are appended to as the chain grows.

    Parameters
    ----------
    headers : sequence of Header
        From height 1 on.
    """

    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = headers
        self._lock = Lock()
        self._transfers = [0]
        self._accounts = [0]

    def transfers_up_to(self, height: int) -> int:
        """Transfers in the blocks up to a height."""
        self._extend()
        return self._transfers[height]

    def accounts_up_to(self, height: int) -> int:
        """Accounts created in the blocks up to a height."""
        self._extend()
        return self._accounts[height]

    def place(self, position: int) -> tuple[int, int]:
        """Height, and index in its block, of the transfer at a position."""
        self._extend()
        height = bisect_right(self._transfers, position)
        return height, position - self._transfers[height - 1]

    def places(self, positions: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """The same for many, shape (n,)."""
        self._extend()
        starts = np.array(self._transfers, np.uint64)
        heights = np.searchsorted(starts, positions, side="right")
        return heights.astype(np.uint64), (positions - starts[heights - 1]).astype(np.uint32)

    def _extend(self) -> None:
        with self._lock:
            new = self._headers[len(self._transfers) - 1 :]
            for ends, counts in (
                (self._transfers, [header.transfers_count for header in new]),
                (self._accounts, [header.accounts_count for header in new]),
            ):
                ends.extend(list(accumulate(counts, initial=ends[-1]))[1:])
