"""The include-by rule against a leader that leaves somebody's batch out."""

from __future__ import annotations

__all__ = ["Inclusion"]


class Inclusion:
    """What a node knows of batches that wait for inclusion."""

    __slots__ = ()

    def due(self, _round: int) -> tuple[bytes, ...]:
        """Digests that a block of this round must include, oldest first."""
        return ()

    def begin_epoch(self) -> None:
        """Forget what the old validators acknowledged."""
