import numpy as np
from numpy.typing import NDArray

def hash_rows(words: NDArray[np.uint64], key0: int, key1: int, out: NDArray[np.uint64]) -> None: ...
def hash_strings(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], key0: int, key1: int, out: NDArray[np.uint64]
) -> None: ...
