"""Leaves of a block's trees put together field by field: the twin of csrc/blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pyledger.reference.merkle import leaf_hash

__all__ = ["outcome_leaf_hash", "take_transfers", "transfer_leaf_hash"]

_IMPORTED = 1 << 8
_FLAGS_AT, _TIMESTAMP_AT = 118, 120


def _imported(record: bytes) -> bool:
    (flags,) = struct.unpack_from("<H", record, _FLAGS_AT)
    return bool(flags & _IMPORTED)


def transfer_leaf_hash(chain_id: bytes, record: bytes) -> bytes:
    """Leaf hash of a transfer's 128 bytes."""
    return leaf_hash(chain_id + (record if _imported(record) else record[:_TIMESTAMP_AT] + bytes(8)))


def outcome_leaf_hash(
    record: bytes, amount: int, kind: int, institution: int, sequence: int, public_key: bytes
) -> bytes:
    """Leaf hash of the outcome of a transfer that has its time."""
    parts = [record[_TIMESTAMP_AT:], amount.to_bytes(16, "little"), bytes([kind, 0, 0, 0])]
    parts += [institution.to_bytes(4, "little"), sequence.to_bytes(8, "little"), public_key]
    return leaf_hash(b"".join(parts))


def take_transfers(records: Sequence[bytes], times: Sequence[int], results: Sequence[int]) -> list[bytes]:
    """Records whose result is 0, with their times unless they are imported."""
    return [
        record if _imported(record) else record[:_TIMESTAMP_AT] + time.to_bytes(8, "little")
        for record, time, result in zip(records, times, results, strict=True)
        if result == 0
    ]
