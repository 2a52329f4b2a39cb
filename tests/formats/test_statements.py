"""Statements are read strictly."""

import datetime

import pyarrow as pa
import pytest

from pyledger.errors import InputError
from pyledger.formats.statements import STATEMENT, read_statement
from pyledger.formats.tables import write_table

BICS = ["BANKAAXX", "BANKBBXX"]


def write(path, amounts=(5, 7, 9), amount_type=None, **changes):
    count = len(amounts)
    ids = [number.to_bytes(16) for number in range(1, count + 1)]
    columns = {
        "row": list(range(1, count + 1)),
        "value_date": [datetime.date(2026, 1, 5)] * count,
        "reference": ids,
        "account": ids,
        "counterparty_institution": ["BANKBBXX"] * count,
        "counterparty_account": ids,
        "currency": ["EUR"] * count,
        "direction": ["D", "C", "D"][:count],
        "amount_minor": list(amounts),
    } | changes
    kinds = {column.name: column.kind.arrow for column in STATEMENT.columns}
    if amount_type:
        kinds["amount_minor"] = amount_type
    write_table(path, STATEMENT, {name: pa.array(values, kinds[name]) for name, values in columns.items()})
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("amount_type", [pa.int64(), pa.uint64(), pa.decimal128(38, 0)])
def test_statement_is_read_as_written(tmp_path, suffix, amount_type):
    table = read_statement(write(tmp_path / f"s.{suffix}", (1, 7, 2**63 - 1), amount_type), ["EUR", "JPY"], BICS)
    assert table["amount_minor"].type == pa.int64()
    assert table["amount_minor"].to_pylist() == [1, 7, 2**63 - 1]
    assert table["direction"].to_pylist() == ["D", "C", "D"]
    assert table["value_date"].to_pylist() == [datetime.date(2026, 1, 5)] * 3
    assert table["reference"].to_pylist()[1] == (2).to_bytes(16)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_statement_without_rows_is_empty(tmp_path, suffix):
    assert read_statement(write(tmp_path / f"s.{suffix}", ()), ["EUR"], BICS).num_rows == 0


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("changes", "row", "field"),
    [
        ({"row": [1, 3, 2]}, 2, "row"),
        ({"row": [0, 1, 2]}, 1, "row"),
        ({"direction": ["D", "C", "X"]}, 3, "direction"),
        ({"currency": ["EUR", "USD", "EUR"]}, 2, "currency"),
        ({"counterparty_institution": ["BANKBBXX", "BANKBBXX", "BANKZZXX"]}, 3, "counterparty_institution"),
        ({"amounts": (1, 0, 1)}, 2, "amount_minor"),
        ({"amounts": (1, 1, 2**63), "amount_type": pa.uint64()}, 3, "amount_minor"),
        ({"amounts": (1, 10**37, 1), "amount_type": pa.decimal128(38, 0)}, 2, "amount_minor"),
    ],
)
def test_statement_row_out_of_range_is_refused(tmp_path, suffix, changes, row, field):
    path = write(tmp_path / f"s.{suffix}", **changes)
    with pytest.raises(InputError) as caught:
        read_statement(path, ["EUR"], BICS)
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(path), row, field)


def test_negative_amount_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"row 1, field 'amount_minor': .* not negative, got -5"):
        read_statement(write(tmp_path / "s.parquet", (-5, 1, 1)), ["EUR"], BICS)
