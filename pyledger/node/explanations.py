"""Why records of a batch did not take effect, as the node that made the block says.

A block shows which records took effect, not why others did not. The leader, which executed them, tells its peers the
result codes. Nobody else is heard, and the leader is not believed: a code is shown only for a record that the block
proves to be refused, and one that says that the record exists only where the own book has it.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pyledger.node.application import Outcome
from pyledger.node.mempool import REASON_UNKNOWN

__all__ = ["Explanations"]

_KEPT_MAX: Final = 256
_BYTES_MAX: Final = 1 << 22

_Plausible = Callable[[bytes, NDArray[np.intp], NDArray[np.uint32]], NDArray[np.bool_]]


class Explanations:
    """The last explanations that came, of each sender at most 4 MiB.

    A message is a mark byte, the batch's digest, then u32 pairs (position, code), little-endian.
    """

    MARK: Final = b"\xe0"

    def __init__(self) -> None:
        self._kept: defaultdict[str, OrderedDict[bytes, NDArray[np.uint32]]] = defaultdict(OrderedDict)

    @classmethod
    def encode(cls, digest: bytes, results: NDArray[np.uint32]) -> bytes:
        """Message for the codes that are not zero."""
        positions = np.flatnonzero(results).astype("<u4")
        pairs = np.stack([positions, results[positions]], axis=1).astype("<u4")
        return cls.MARK + digest + pairs.tobytes()

    def take(self, sender: str, message: bytes) -> None:
        """Keep a message, the last that a sender has for a batch; one that is malformed is dropped."""
        digest, pairs = message[1:33], message[33:]
        if len(digest) != 32 or len(pairs) % 8 or len(pairs) > _BYTES_MAX:
            return
        kept = self._kept[sender]
        kept.pop(digest, None)
        kept[digest] = np.frombuffer(pairs, "<u4").reshape(-1, 2)
        while len(kept) > _KEPT_MAX or sum(each.nbytes for each in kept.values()) > _BYTES_MAX:
            kept.popitem(last=False)

    def apply(self, outcome: Outcome, leader: str, plausible: _Plausible) -> Outcome:
        """The outcome, with codes where it has none.

        Parameters
        ----------
        outcome : Outcome
        leader : str
            Who made the block: the only one that is heard.
        plausible : callable
            Says of digest, positions and codes which of these the own book does not contradict.
        """
        pairs = self._kept[leader].get(outcome.digest) if leader in self._kept else None
        for kept in self._kept.values():
            kept.pop(outcome.digest, None)
        if pairs is None:
            return outcome
        positions, codes = pairs[pairs[:, 0] < len(outcome.results)].astype(np.uint32).T
        open_ = (outcome.results[positions] == REASON_UNKNOWN) & (codes != 0)
        positions, codes = positions[open_].astype(np.intp), codes[open_]
        shown = plausible(outcome.digest, positions, codes)
        results = outcome.results.copy()
        results[positions[shown]] = codes[shown]
        return replace(outcome, results=results)
