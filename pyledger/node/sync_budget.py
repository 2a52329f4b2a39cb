"""How often a peer's questions for blocks are answered: each has 45 bytes and may cost the one thread 30 ms.

Who catches up asks again only when it has executed what came, so it hardly feels this.
"""

from __future__ import annotations

from typing import Final

from pyledger.consensus.messages import SyncRequest

__all__ = ["ANSWERS_PER_SECOND", "SyncBudget"]

ANSWERS_PER_SECOND: Final = 4
"""Answers that each peer gets in a second, at once or one after the other: 32 MiB, and an eighth of the thread."""
_SECONDS_EACH: Final = 1 / ANSWERS_PER_SECOND


class SyncBudget:
    """Who may be answered now, and the newest question of each peer that has to wait."""

    def __init__(self) -> None:
        self._used_up_to: dict[str, float] = {}
        self._waiting: dict[str, SyncRequest] = {}

    def take(self, peer: str, question: SyncRequest, now: float) -> bool:
        """Whether to answer now; else the question waits, in place of the one that has waited.

        Parameters
        ----------
        peer : str
            Name of a known node: there is a number for each.
        question : SyncRequest
        now : float
            Seconds, of a clock that never goes back.
        """
        if self._time_of(peer) > now:
            self._waiting[peer] = question
            return False
        self._waiting.pop(peer, None)
        self._used_up_to[peer] = max(self._used_up_to.get(peer, now), now) + _SECONDS_EACH
        return True

    def due(self, now: float) -> list[tuple[str, SyncRequest]]:
        """Peers and questions that have waited long enough; each is counted as answered."""
        return [(peer, question) for peer, question in list(self._waiting.items()) if self.take(peer, question, now)]

    def next_time(self) -> float:
        """When the first question that waits is due; infinite if none waits."""
        return min(map(self._time_of, self._waiting), default=float("inf"))

    def _time_of(self, peer: str) -> float:
        """From when on a peer may be answered again."""
        return self._used_up_to.get(peer, 0.0) - (1 - _SECONDS_EACH)
