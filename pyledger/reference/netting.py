"""Plain twin of pyledger.clearing.netting: Python integers in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

__all__ = ["bilateral", "positions"]


def bilateral(obligations: Iterable[tuple[int, int, int, int]]) -> dict[tuple[int, int, int], int]:
    """Sum (payer, payee, ledger, amount) by (ledger, payer, payee)."""
    owed: dict[tuple[int, int, int], int] = defaultdict(int)
    for payer, payee, ledger, amount in obligations:
        owed[ledger, payer, payee] += amount
    return dict(owed)


def positions(obligations: Iterable[tuple[int, int, int, int]]) -> dict[tuple[int, int], int]:
    """Net (payer, payee, ledger, amount) to the position of each (ledger, institution) that occurs."""
    position: dict[tuple[int, int], int] = defaultdict(int)
    for payer, payee, ledger, amount in obligations:
        position[ledger, payer] -= amount
        position[ledger, payee] += amount
    return dict(position)
