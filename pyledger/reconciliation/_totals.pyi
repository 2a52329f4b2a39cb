import numpy as np
from numpy.typing import NDArray

def add_transfers(
    slot: NDArray[np.uint32],
    payer: NDArray[np.uint32],
    payee: NDArray[np.uint32],
    amount_lo: NDArray[np.uint64],
    amount_hi: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
    totals: NDArray[np.uint64],
) -> None: ...
def add_totals(part: NDArray[np.uint64], totals: NDArray[np.uint64]) -> None: ...
