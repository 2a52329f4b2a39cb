"""The native columns of a block against their twin, and against the leaves that proofs are made of."""

import numpy as np
import pytest

import pyledger as pl
from pyledger import _core
from pyledger.ledger.blocks import ATTESTED, SIGNED, byte_rows, outcome_leaves, transfer_leaf_hashes, transfer_leaves
from pyledger.reference import blocks as twin
from pyledger.types import U128

CHAIN = bytes(range(16))
COUNTS = [0, 1, 2, 63, 64, 65, 1023, 1024, 1025, 3000]


def random_records(count, seed=1):
    rng = np.random.default_rng(seed)
    records = np.frombuffer(rng.bytes(128 * count), pl.TRANSFER).copy()
    records["flags"] = np.where(rng.random(count) < 0.3, pl.TransferFlags.IMPORTED, rng.integers(0, 256, count))
    return records, rng


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", COUNTS)
def test_transfer_leaf_hashes_are_the_twins(count, threads):
    records, _ = random_records(count)
    hashes = transfer_leaf_hashes(CHAIN, records, threads)
    expected = [twin.transfer_leaf_hash(CHAIN, record.tobytes()) for record in records]
    assert [row.tobytes() for row in hashes] == expected
    assert hashes.tobytes() == pl.merkle.leaf_hashes(transfer_leaves(CHAIN, records)).tobytes()


@pytest.mark.parametrize("count", COUNTS)
def test_outcome_leaf_hashes_are_the_twins(count):
    records, rng = random_records(count)
    keys = rng.integers(0, 256, (7, 32), np.uint8)
    signers = rng.integers(0, 7, count, np.uint32)
    amounts = np.frombuffer(rng.bytes(16 * count), U128).copy()
    signed = _core.outcome_leaf_hashes(byte_rows(records), byte_rows(amounts), SIGNED, 0, 0, keys, signers, 0)
    attested = _core.outcome_leaf_hashes(byte_rows(records), byte_rows(amounts), ATTESTED, 5, 2**63, keys[:1], None, 1)
    rows = list(zip(records, pl.u128_ints(amounts), signers, strict=True))
    assert [row.tobytes() for row in signed] == [
        twin.outcome_leaf_hash(record.tobytes(), amount, SIGNED, 0, 0, keys[signer].tobytes())
        for record, amount, signer in rows
    ]
    assert [row.tobytes() for row in attested] == [
        twin.outcome_leaf_hash(record.tobytes(), amount, ATTESTED, 5, 2**63, keys[0].tobytes())
        for record, amount, _ in rows
    ]
    times = np.ascontiguousarray(records["timestamp"])
    leaves = outcome_leaves(times, amounts, SIGNED, 0, 0, keys[signers])
    assert signed.tobytes() == pl.merkle.leaf_hashes(leaves).tobytes()


@pytest.mark.parametrize("refused_share", [0, 0.3, 1])
def test_what_is_taken_is_what_the_twin_takes(refused_share):
    records, rng = random_records(500)
    times = rng.integers(1, 1 << 62, 500).astype(np.uint64)
    results = np.where(rng.random(500) < refused_share, rng.integers(1, 99, 500), 0).astype(np.uint32)
    taken = _core.take_transfers(byte_rows(records), times, results)
    expected = twin.take_transfers([record.tobytes() for record in records], times.tolist(), results.tolist())
    assert [row.tobytes() for row in taken] == expected
    assert _core.take_rows(byte_rows(records), results).tobytes() == records[results == 0].tobytes()


def test_one_amount_that_differs_is_seen():
    records, _ = random_records(100)
    amounts = np.ascontiguousarray(records["amount"])
    assert _core.amounts_equal(byte_rows(records), byte_rows(amounts))
    for word in ("lo", "hi"):
        changed = amounts.copy()
        changed[word][99] ^= np.uint64(1 << 63)
        assert not _core.amounts_equal(byte_rows(records), byte_rows(changed))


def test_arrays_that_do_not_fit_are_named():
    records, _ = random_records(4)
    rows, amounts = byte_rows(records), np.zeros((4, 16), np.uint8)
    keys = np.zeros((2, 32), np.uint8)
    with pytest.raises(ValueError, match="chain_id: expected 16 bytes, got 3"):
        _core.transfer_leaf_hashes(b"abc", rows, 1)
    with pytest.raises(ValueError, match=r"records: expected shape \(n, 128\)"):
        _core.transfer_leaf_hashes(CHAIN, rows[:, :64].copy(), 1)
    with pytest.raises(ValueError, match="effects: expected 4 rows"):
        _core.outcome_leaf_hashes(rows, amounts[:3], SIGNED, 0, 0, keys, None, 1)
    with pytest.raises(ValueError, match="signers: expected below 2, got 2"):
        _core.outcome_leaf_hashes(rows, amounts, SIGNED, 0, 0, keys, np.array([0, 1, 2, 0], np.uint32), 1)
    with pytest.raises(ValueError, match="signer: expected below 0"):
        _core.outcome_leaf_hashes(rows, amounts, SIGNED, 0, 0, keys[:0], None, 1)
    with pytest.raises(ValueError, match="results"):
        _core.take_transfers(rows, np.zeros(4, np.uint64), np.zeros(3, np.uint32))
    with pytest.raises(ValueError, match="results"):
        _core.take_rows(rows, np.zeros(5, np.uint32))
