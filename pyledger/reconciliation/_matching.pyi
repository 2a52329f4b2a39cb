import numpy as np
from numpy.typing import NDArray

def count_keys(keys: NDArray[np.uint64], shift: int, counts: NDArray[np.int64]) -> None: ...
def scatter_keys(
    keys: NDArray[np.uint64],
    positions: NDArray[np.int32],
    shift: int,
    cursors: NDArray[np.int64],
    entries: NDArray[np.uint64],
) -> None: ...
def pair_partitions(
    entries_a: NDArray[np.uint64],
    starts_a: NDArray[np.int64],
    entries_b: NDArray[np.uint64],
    starts_b: NDArray[np.int64],
    first: int,
    last: int,
    partner_a: NDArray[np.int32],
    others_a: NDArray[np.uint32],
    rank_a: NDArray[np.uint32],
    partner_b: NDArray[np.int32],
    others_b: NDArray[np.uint32],
    rank_b: NDArray[np.uint32],
) -> None: ...
