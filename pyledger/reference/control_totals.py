"""Plain twin of pyledger.reconciliation.control_totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from pyledger.reference.siphash import siphash128

__all__ = ["control_totals"]


def control_totals(
    transfers: Iterable[tuple[int, int, int, int, int]], key: bytes
) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """Total (payer, payee, ledger, amount, reference) to (count, amount, hash) by (ledger, payer, payee)."""
    totals: dict[tuple[int, int, int], tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for payer, payee, ledger, amount, reference in transfers:
        count, total, hashes = totals[ledger, payer, payee]
        row = reference.to_bytes(16, "little") + amount.to_bytes(16, "little")
        row += payer.to_bytes(4, "little") + payee.to_bytes(4, "little") + ledger.to_bytes(8, "little")
        digest = int.from_bytes(siphash128(key, row), "little")
        totals[ledger, payer, payee] = count + 1, total + amount, (hashes + digest) % 2**128
    return dict(totals)
