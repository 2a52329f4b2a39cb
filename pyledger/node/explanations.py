"""Why records of a batch did not take effect, as the node that made the block says.

A block shows which records took effect, not why others did not. The leader, which executed them, tells its peers the
result codes. It is not believed: a code is shown only for a record that the block proves to be refused.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pyledger.node.application import Outcome
from pyledger.node.mempool import REASON_UNKNOWN

__all__ = ["Explanations"]

_KEPT_MAX: Final = 256
_BYTES_MAX: Final = 1 << 25


class Explanations:
    """The last explanations that came, at most 32 MiB of them.

    A message is a mark byte, the batch's digest, then u32 pairs (position, code), little-endian.
    """

    MARK: Final = b"\xe0"

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, NDArray[np.uint32]] = OrderedDict()
        self._bytes = 0

    @classmethod
    def encode(cls, digest: bytes, results: NDArray[np.uint32]) -> bytes:
        """Message for the codes that are not zero."""
        positions = np.flatnonzero(results).astype("<u4")
        pairs = np.stack([positions, results[positions]], axis=1).astype("<u4")
        return cls.MARK + digest + pairs.tobytes()

    def take(self, message: bytes) -> None:
        """Keep a message; one that is malformed is dropped."""
        digest, pairs = message[1:33], message[33:]
        if len(digest) != 32 or len(pairs) % 8 or len(pairs) > _BYTES_MAX or digest in self._kept:
            return
        self._kept[digest] = np.frombuffer(pairs, "<u4").reshape(-1, 2)
        self._bytes += len(pairs)
        while len(self._kept) > _KEPT_MAX or self._bytes > _BYTES_MAX:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def apply(self, outcome: Outcome) -> Outcome:
        """The outcome, with codes where it has none."""
        pairs = self._kept.pop(outcome.digest, None)
        if pairs is None:
            return outcome
        self._bytes -= pairs.nbytes
        if not (outcome.results == REASON_UNKNOWN).any():
            return outcome
        results = outcome.results.copy()
        positions, codes = pairs[pairs[:, 0] < len(results)].T
        open_ = results[positions] == REASON_UNKNOWN
        results[positions[open_]] = np.where(codes[open_] == 0, REASON_UNKNOWN, codes[open_])
        return replace(outcome, results=results)
