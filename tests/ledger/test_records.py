"""Records from fields: integers in any form become what was said, and nothing else becomes a record."""

import decimal

import numpy as np
import pytest

import pyledger as pl
from pyledger.types import u128_array, u128_ints

BIG = 2**127 + 5


@pytest.mark.parametrize(
    "ids",
    [[1, 2], (1, 2), range(1, 3), np.arange(1, 3), np.array([1, 2], np.uint8), [np.int64(1), np.uint64(2)]],
    ids=["list", "tuple", "range", "int64", "uint8", "NumPy integers"],
)
def test_ids_are_taken_in_every_form_of_integers(ids):
    records = pl.make_transfers(id=ids, amount=BIG, ledger=np.array([978, 840]), flags=pl.TransferFlags.PENDING)
    assert u128_ints(records["id"]) == [1, 2]
    assert u128_ints(records["amount"]) == [BIG, BIG]
    assert records["ledger"].tolist() == [978, 840]
    assert records["flags"].tolist() == [pl.TransferFlags.PENDING] * 2


@pytest.mark.parametrize("number", [0, 2**63, 2**64 - 1, 2**64, 2**128 - 1])
def test_each_integer_of_128_bits_is_kept(number):
    assert u128_ints(u128_array([number, 3])) == [number, 3]
    if number < 2**64:
        assert u128_ints(u128_array(np.array([number, 3], np.uint64))) == [number, 3]


def test_no_values_are_no_records():
    assert len(pl.make_transfers(id=[], amount=[])) == 0
    assert len(u128_array([])) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": [1, -1]}, r"^id\[1\]: expected an integer in \[0, 2\*\*128 - 1\], got -1$"),
        ({"id": np.array([1, -1])}, r"^id\[1\]: .* got -1$"),
        ({"amount": 2**128}, r"^amount\[0\]: .*2\*\*128 - 1\], got 3402"),
        ({"amount": 25.5}, r"^amount\[0\]: expected an integer, such as an amount in minor units, got 25.5$"),
        ({"amount": np.array([1.0])}, r"^amount\[0\]: expected an integer"),
        ({"amount": [decimal.Decimal(1)]}, r"^amount\[0\]: expected an integer"),
        ({"amount": ["1"]}, r"^amount\[0\]: expected an integer"),
        ({"ledger": [1, 2**32]}, r"^ledger\[1\]: expected an integer in \[0, 2\*\*32 - 1\], got 4294967296$"),
        ({"ledger": np.array([-1])}, r"^ledger\[0\]: .* got -1$"),
        ({"code": np.array([7, 65_536])}, r"^code\[1\]: .*2\*\*16 - 1\], got 65536$"),
        ({"code": 1.5}, r"^code\[0\]: expected an integer"),
        ({"timestamp": [2**63, -3]}, r"^timestamp\[1\]: .* got -3$"),
        ({"ids": 1}, "^no such field: ids; expected some of id, debit_account_id"),
        ({"id": [1, 2], "code": [1, 2, 3]}, r"^fields: expected sequences of one length, got \[2, 3\]$"),
    ],
    ids=str,
)
def test_what_does_not_fit_a_field_is_refused_by_its_name(fields, message):
    """A value is never cut or wrapped to fit."""
    with pytest.raises(pl.InputError, match=message):
        pl.make_transfers(**fields)
