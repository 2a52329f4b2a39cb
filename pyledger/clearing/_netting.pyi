from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

class Problem(IntEnum):
    NONE = 0
    PAYER_UNKNOWN = 1
    PAYEE_UNKNOWN = 2
    LEDGER_UNKNOWN = 3
    TOTAL_TOO_LARGE = 4

def check_obligations(
    payer: NDArray[np.uint32],
    payee: NDArray[np.uint32],
    ledger: NDArray[np.uint32],
    amount_lo: NDArray[np.uint64],
    amount_hi: NDArray[np.uint64],
    participants: int,
    ledgers: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    total: NDArray[np.uint64],
    start: int,
) -> tuple[int, int]: ...
def add_obligations(
    payer: NDArray[np.uint32],
    payee: NDArray[np.uint32],
    ledger: NDArray[np.uint32],
    amount_lo: NDArray[np.uint64],
    amount_hi: NDArray[np.uint64],
    ledgers: NDArray[np.uint32],
    slots: NDArray[np.uint32],
    owed: NDArray[np.uint64],
) -> None: ...
def add_matrix(part: NDArray[np.uint64], owed: NDArray[np.uint64]) -> None: ...
def net_matrix(
    owed: NDArray[np.uint64],
    paid: NDArray[np.uint64],
    received: NDArray[np.uint64],
    position: NDArray[np.uint64],
) -> None: ...
