"""Day files become ledger records, exactly, and merge in one order."""

import numpy as np
import pyarrow as pa
import pytest
from day_rows import LEDGERS, MIDNIGHT_NS, columns_of, transfer, write_parquet, write_transfers
from hypothesis import given, settings
from hypothesis import strategies as st

from pyledger.errors import InputError
from pyledger.formats.day_files import ACCOUNTS, KEYS, KeyTable, iter_transfers, read_accounts, read_keys
from pyledger.formats.merge import concatenate, merge_transfers
from pyledger.formats.tables import write_table
from pyledger.types import u128_ints

IDS = st.integers(0, 2**128 - 1).map(lambda value: value.to_bytes(16))
FULL_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": IDS,
            "debit_account": IDS,
            "credit_account": IDS,
            "currency": st.sampled_from(sorted(LEDGERS)),
            "amount_minor": st.integers(0, 10**38 - 1),
            "code": st.integers(0, 2**16 - 1),
            "flags": st.integers(0, 2**16 - 1),
            "key_id": st.integers(0, 2**32 - 1),
            "submitted_at": st.integers(0, 2**62),
            "signature": st.binary(min_size=64, max_size=64),
            "pending_id": IDS,
            "timeout": st.integers(0, 2**32 - 1),
            "user_data_128": IDS,
            "user_data_64": st.integers(0, 2**64 - 1),
            "user_data_32": st.integers(0, 2**32 - 1),
        }
    ),
    min_size=1,
    max_size=12,
)


def check_record(record, row):
    for field, column in (
        ("id", "id"),
        ("debit_account_id", "debit_account"),
        ("credit_account_id", "credit_account"),
        ("pending_id", "pending_id"),
        ("user_data_128", "user_data_128"),
    ):
        assert record[field].tobytes() == row[column][::-1]
    assert record["amount"].tobytes() == row["amount_minor"].to_bytes(16, "little")
    for field in ("code", "flags", "timeout", "user_data_64", "user_data_32"):
        assert record[field] == row[field]
    assert record["ledger"] == LEDGERS[row["currency"]]
    assert record["timestamp"] == 0


@settings(max_examples=60, deadline=None)
@given(rows=FULL_ROWS, suffix=st.sampled_from(["parquet", "csv"]), batch_rows=st.integers(1, 15))
def test_every_field_survives_the_file(tmp_path_factory, rows, suffix, batch_rows):
    rows.sort(key=lambda row: row["submitted_at"])
    path = tmp_path_factory.mktemp("day") / f"t.{suffix}"
    write_transfers(path, rows, pa.decimal128(38, 0))
    batch = concatenate(list(iter_transfers(path, LEDGERS, batch_rows, institution=3)))
    assert len(batch) == len(rows)
    for record, row in zip(batch.records, rows, strict=True):
        check_record(record, row)
    assert batch.key_ids.tolist() == [row["key_id"] for row in rows]
    assert batch.signatures.tobytes() == b"".join(row["signature"] for row in rows)
    assert batch.submitted_at.tolist() == [row["submitted_at"] for row in rows]
    assert batch.rows.tolist() == list(range(1, len(rows) + 1))
    assert set(batch.institutions.tolist()) == {3}


@pytest.mark.parametrize("amount_type", [pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.decimal128(20, 0)])
def test_amounts_are_read_from_whole_integers_of_any_width(tmp_path, amount_type):
    largest = {pa.int64(): 2**63 - 1, pa.uint64(): 2**64 - 1}.get(amount_type, 10**20 - 1)
    rows = [transfer(1, amount_minor=0), transfer(2, amount_minor=1), transfer(3, amount_minor=largest)]
    (batch,) = iter_transfers(write_transfers(tmp_path / "t.parquet", rows, amount_type), LEDGERS)
    assert u128_ints(batch.records["amount"]) == [0, 1, largest]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_batches_that_do_not_start_at_a_buffers_start_are_read_right(tmp_path, suffix):
    path = write_transfers(tmp_path / f"t.{suffix}", [transfer(number) for number in range(1, 30)])
    batches = list(iter_transfers(path, LEDGERS, 4))
    assert [int(lo) for batch in batches for lo in batch.records["id"]["lo"]] == list(range(1, 30))
    assert [int(row[0]) for batch in batches for row in batch.signatures] == list(range(1, 30))


def test_duplicate_transfer_ids_are_left_to_the_ledger(tmp_path):
    rows = [transfer(1), transfer(1, submitted_at=MIDNIGHT_NS + 2, amount_minor=9)]
    (batch,) = iter_transfers(write_transfers(tmp_path / "t.parquet", rows), LEDGERS)
    assert batch.records["id"]["lo"].tolist() == [1, 1]


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_time_that_falls_is_refused_with_its_row(tmp_path, batch_rows):
    rows = [transfer(number) for number in range(1, 9)]
    rows[6]["submitted_at"] = MIDNIGHT_NS + 5
    path = write_transfers(tmp_path / "t.parquet", rows)
    with pytest.raises(InputError, match="row 7, field 'submitted_at': expected no time before the row above"):
        list(iter_transfers(path, LEDGERS, batch_rows))


def write_keys(path, key_ids):
    keys = [bytes([key_id % 256]) * 32 for key_id in key_ids]
    columns = {
        "key_id": pa.array(key_ids, pa.uint32()),
        "public_key": pa.array(keys, pa.binary(32)),
        "proof": pa.array([key + key for key in keys], pa.binary(64)),
    }
    write_table(path, KEYS, columns)
    return path


def write_accounts(path, rows):
    ids, currencies, key_ids = zip(*rows, strict=True)
    columns = {
        "id": pa.array([number.to_bytes(16) for number in ids], pa.binary(16)),
        "currency": pa.array(currencies).dictionary_encode(),
        "key_id": pa.array(key_ids, pa.uint32()),
        "code": pa.array([7] * len(rows), pa.uint16()),
        "flags": pa.array([2] * len(rows), pa.uint16()),
    }
    write_table(path, ACCOUNTS, columns)
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_keys_and_accounts_are_read_as_written(tmp_path, suffix):
    keys = read_keys(write_keys(tmp_path / f"k.{suffix}", [0, 5, 9]))
    assert keys.key_ids.tolist() == [0, 5, 9]
    assert keys.public_keys[1].tobytes() == b"\5" * 32
    assert keys.proofs[1].tobytes() == b"\5" * 64
    rows = [(2**127 + 1, "JPY", 5), (1, "EUR", 0), (2, "KWD", 5)]
    accounts = read_accounts(write_accounts(tmp_path / f"a.{suffix}", rows), LEDGERS, keys)
    assert u128_ints(accounts.records["id"]) == [2**127 + 1, 1, 2]
    assert accounts.records["ledger"].tolist() == [392, 978, 414]
    assert accounts.key_ids.tolist() == [5, 0, 5]
    assert set(accounts.records["code"].tolist()) == {7}
    assert set(accounts.records["flags"].tolist()) == {2}
    assert not accounts.records["credits_posted"]["lo"].any()


@pytest.mark.parametrize(("key_ids", "row"), [([0, 0], 2), ([1, 2, 1], 3)])
def test_key_ids_that_do_not_rise_are_refused(tmp_path, key_ids, row):
    with pytest.raises(InputError, match=f"row {row}, field 'key_id'"):
        read_keys(write_keys(tmp_path / "k.csv", key_ids))


KEY_ZERO = KeyTable(np.zeros(1, np.uint32), np.zeros((1, 32), np.uint8), np.zeros((1, 64), np.uint8))


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([(1, "EUR", 0), (2, "EUR", 0), (1, "JPY", 0)], "row 3, field 'id': the account id stands twice"),
        ([(1, "EUR", 0), (2, "EUR", 4)], "row 2, field 'key_id': no such key"),
        ([(1, "EUR", 0), (2, "USD", 0)], "row 2, field 'currency': expected one of"),
    ],
)
def test_accounts_that_contradict_are_refused(tmp_path, rows, place):
    with pytest.raises(InputError, match=place):
        read_accounts(write_accounts(tmp_path / "a.parquet", rows), LEDGERS, KEY_ZERO)


TIMES = st.lists(st.lists(st.integers(0, 12), max_size=30), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(times=TIMES, source_rows=st.integers(1, 7), batch_rows=st.integers(1, 20))
def test_merge_is_by_time_then_institution_then_row(tmp_path_factory, times, source_rows, batch_rows):
    folder = tmp_path_factory.mktemp("merge")
    expected = []
    sources = []
    for institution, column in enumerate(times):
        rows = [transfer(row, submitted_at=time) for row, time in enumerate(sorted(column), 1)]
        path = write_parquet(folder / f"{institution}.parquet", columns_of(rows))
        sources.append(iter_transfers(path, LEDGERS, source_rows, institution=institution))
        expected += [(row["submitted_at"], institution, number) for number, row in enumerate(rows, 1)]
    batches = list(merge_transfers(sources, batch_rows))
    found = [
        place
        for batch in batches
        for place in zip(batch.submitted_at.tolist(), batch.institutions.tolist(), batch.rows.tolist(), strict=True)
    ]
    assert found == sorted(expected)
    assert all(len(batch) == batch_rows for batch in batches[:-1])
    for batch in batches:
        assert batch.records["id"]["lo"].tolist() == batch.rows.tolist()
        assert 0 < len(batch) <= batch_rows
