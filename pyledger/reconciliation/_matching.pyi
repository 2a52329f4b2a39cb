import numpy as np
from numpy.typing import NDArray

def count_keys(keys: NDArray[np.uint64], shift: int, counts: NDArray[np.int64]) -> None: ...
def scatter_positions(
    keys: NDArray[np.uint64],
    shift: int,
    first: int,
    last: int,
    cursors: NDArray[np.int64],
    order: NDArray[np.int32],
) -> None: ...
def pair_partitions(
    keys_a: NDArray[np.uint64],
    order_a: NDArray[np.int32],
    starts_a: NDArray[np.int64],
    keys_b: NDArray[np.uint64],
    order_b: NDArray[np.int32],
    starts_b: NDArray[np.int64],
    first: int,
    last: int,
    bucket_shift: int,
    cursors: NDArray[np.int64],
    scratch_a: NDArray[np.uint64],
    scratch_b: NDArray[np.uint64],
    result_a: NDArray[np.int32],
    result_b: NDArray[np.int32],
) -> None: ...
