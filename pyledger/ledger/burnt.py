"""Which refused signed transfers a block keeps: those that burn their ids, with the chains that they break.

A transfer that fails for a passing reason may never take effect under its id again. That is state, so whoever executes
the block must come to it by himself: from the whole record and its signature, in its place. A member of a linked chain
fails in the state that the members before it made, and signs all of them; so its whole chain stands in the block.

Whoever executes the block executes such batches by themselves, which costs as much for one transfer as for hundreds. So
batches that could as well have come as one stand in the block as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger.ledger.commands import SignedRefusals
from pyledger.types import CreateTransferResult, TransferFlags

__all__ = ["PASSING", "Refusals", "burning_rows", "takes_more"]

PASSING: Final = np.array(
    [
        CreateTransferResult.DEBIT_ACCOUNT_NOT_FOUND,
        CreateTransferResult.CREDIT_ACCOUNT_NOT_FOUND,
        CreateTransferResult.PENDING_TRANSFER_NOT_FOUND,
        CreateTransferResult.EXCEEDS_CREDITS,
        CreateTransferResult.EXCEEDS_DEBITS,
        CreateTransferResult.DEBIT_ACCOUNT_ALREADY_CLOSED,
        CreateTransferResult.CREDIT_ACCOUNT_ALREADY_CLOSED,
    ],
    np.uint32,
)
"""Results that another state would not give: they burn the transfer's id."""
_IS_PASSING: Final = np.isin(np.arange(max(CreateTransferResult) + 1), PASSING)
_LINKED: Final = int(TransferFlags.LINKED)
_IMPORTED: Final = int(TransferFlags.IMPORTED)


def burning_rows(records: NDArray[Any], results: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which transfers of a batch burn their ids, or are linked with one that does; all of these were refused.

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
    results : NDArray[uint32], shape (n,)
    """
    failed = np.flatnonzero(results != 0)
    burnt = failed[_IS_PASSING[results[failed]]]
    if not len(burnt):
        return np.zeros(len(results), np.bool_)
    ends = records["flags"] & _LINKED == 0
    chains = np.cumsum(ends) - ends  # a record that stands alone is a chain of one
    broken = np.zeros(int(chains[-1]) + 1, np.bool_)
    broken[chains[burnt]] = True
    rows: NDArray[np.bool_] = broken[chains]
    return rows


def takes_more(records: NDArray[Any]) -> bool:
    """Whether a signed batch could go on with further records; `records` are those of it that a block keeps.

    What is imported stands by itself, and a chain that is left open would go on with them.
    """
    flags = records["flags"]
    return not (int(flags[0]) & _IMPORTED or int(flags[-1]) & _LINKED)


@dataclass
class Refusals:
    """The command of signed batches that stand side by side and burn ids, while further ones may come.

    Parameters
    ----------
    first : int
        Transfers of the block before them.
    """

    first: int
    _end: int = 0
    _count: int = 0
    _positions: list[NDArray[np.intp]] = field(default_factory=list)
    _rows: list[bytes] = field(default_factory=list)

    def add(self, start: int, taken: int, positions: NDArray[np.intp], rows: NDArray[Any]) -> None:
        """Add a batch; what took effect since the last one belongs to it, too.

        Parameters
        ----------
        start : int
            Transfers of the block before the batch.
        taken : int
            How many of it took effect.
        positions : NDArray, shape (k,)
            Of those that did not, among what is kept of it.
        rows : NDArray, shape (k,), dtype REFUSED_SIGNED
        """
        self._positions.append(positions + (start - self.first + self._count))
        self._rows.append(rows.tobytes())
        self._count += len(rows)
        self._end = start + taken

    def command(self) -> SignedRefusals:
        """Put the command together."""
        positions = tuple(np.concatenate(self._positions).tolist())
        return SignedRefusals(self.first, self._end - self.first, positions, b"".join(self._rows))
