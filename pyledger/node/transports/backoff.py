"""How long to wait before a server is tried again."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["Backoff"]

_FIRST_SECONDS: Final = 0.05
_LAST_SECONDS: Final = 5.0


class Backoff:
    """Waits that double from 50 ms to 5 s, each shortened at random so that nodes don't come back all at once."""

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS

    def reset(self) -> None:
        """Start over: the server answered."""
        self._seconds = _FIRST_SECONDS

    def next_seconds(self) -> float:
        """Seconds to wait this time."""
        seconds, self._seconds = self._seconds, min(2 * self._seconds, _LAST_SECONDS)
        return random.uniform(seconds / 2, seconds)
