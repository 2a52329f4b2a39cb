"""Which refused signed transfers a block keeps: those that burn their ids, with the chains that they break.

A transfer that fails for a passing reason may never take effect under its id again. That is state, so whoever executes
the block must come to it by himself: from the whole record and its signature, in its place. A member of a linked chain
fails in the state that the members before it made, and signs all of them; so its whole chain stands in the block.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger.types import CreateTransferResult, TransferFlags

__all__ = ["PASSING", "burning_rows"]

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


def burning_rows(records: NDArray[Any], results: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which transfers of a batch burn their ids, or are linked with one that does; all of these were refused.

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
    results : NDArray[uint32], shape (n,)
    """
    failed = np.flatnonzero(results != 0)
    burnt = failed[np.isin(results[failed], PASSING)]
    if not len(burnt):
        return np.zeros(len(results), np.bool_)
    ends = records["flags"] & TransferFlags.LINKED == 0
    chains = np.cumsum(ends) - ends  # a record that stands alone is a chain of one
    broken = np.zeros(int(chains[-1]) + 1, np.bool_)
    broken[chains[burnt]] = True
    rows: NDArray[np.bool_] = broken[chains]
    return rows
