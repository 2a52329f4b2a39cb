"""Whatever a table file must not hold is refused with file, row and field."""

import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from day_rows import LEDGERS, MIDNIGHT_NS, columns_of, plain_rows, transfer, write_parquet, write_transfers

from pyledger.errors import InputError, StorageError
from pyledger.formats import tables
from pyledger.formats.day_files import TRANSFERS, iter_transfers
from pyledger.formats.tables import read_batches, read_table, write_table

SUFFIXES = ["parquet", "csv"]


def refusal(path):
    with pytest.raises(InputError) as caught:
        list(iter_transfers(path, LEDGERS, 7))
    return caught.value


def many(count=29):
    return [transfer(number) for number in range(1, count + 1)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_rows_give_the_same_bytes(tmp_path, suffix):
    first = write_transfers(tmp_path / f"a.{suffix}", many())
    second = write_transfers(tmp_path / f"b.{suffix}", many())
    assert first.read_bytes() == second.read_bytes()


def test_csv_is_plain_text_with_hexadecimal_and_digits(tmp_path):
    path = write_transfers(tmp_path / "t.csv", [transfer(1)])
    (row,) = plain_rows(path)
    assert row["id"] == "00" * 15 + "01"
    assert row["amount_minor"] == "101"
    assert row["submitted_at"] == "2026-01-05T00:00:00.000000001Z"
    assert row["signature"] == "01" * 64
    assert b'"' not in path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_batches_are_numbered_from_one_and_bounded(tmp_path, suffix):
    batches = list(read_batches(write_transfers(tmp_path / f"t.{suffix}", many(23)), TRANSFERS, 10))
    assert [(first, len(columns["id"])) for first, columns in batches] == [(1, 10), (11, 10), (21, 3)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_without_rows_is_read_as_none(tmp_path, suffix):
    path = write_transfers(tmp_path / f"t.{suffix}", [])
    assert list(iter_transfers(path, LEDGERS)) == []
    assert all(len(column) == 0 for column in read_table(path, TRANSFERS).values())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_file_is_named(tmp_path, suffix):
    assert str(refusal(tmp_path / f"none.{suffix}")) == f"{tmp_path}/none.{suffix}: the file is missing"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folder_in_the_place_of_a_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    path.mkdir()
    assert refusal(path).file == str(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_file_is_refused(tmp_path, suffix):
    (tmp_path / f"t.{suffix}").touch()
    assert "the file is empty" in str(refusal(tmp_path / f"t.{suffix}"))


def test_other_suffix_is_refused(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"x")
    assert "expected a .parquet or .csv file" in str(refusal(tmp_path / "t.xlsx"))


def test_unreadable_disk_is_a_storage_error(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise OSError(5, "Input/output error")

    path = write_transfers(tmp_path / "t.parquet", [transfer(1)])
    monkeypatch.setattr(tables.pq, "read_metadata", fail)
    with pytest.raises(StorageError, match=r"t\.parquet: cannot be read: Input/output error"):
        list(iter_transfers(path, LEDGERS))


def test_truncated_parquet_is_refused_wherever_it_is_cut(tmp_path):
    content = write_transfers(tmp_path / "t.parquet", many()).read_bytes()
    path = tmp_path / "cut.parquet"
    for size in range(1, len(content), 97):
        path.write_bytes(content[:size])
        assert str(refusal(path)).startswith(f"{path}: not a whole parquet file")


def test_parquet_with_a_damaged_page_is_refused(tmp_path):
    content = bytearray(write_transfers(tmp_path / "t.parquet", many(2000)).read_bytes())
    content[4:60] = bytes(56)  # The head of the first page.
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    assert "not a whole parquet file" in str(refusal(path))


def test_damaged_bytes_are_refused_or_change_values_only(tmp_path):
    content = write_transfers(tmp_path / "t.parquet", many()).read_bytes()
    path = tmp_path / "damaged.parquet"
    refused = 0
    for place in range(0, len(content), 13):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        try:
            rows = sum(len(batch) for batch in iter_transfers(path, LEDGERS, 7))
        except InputError:
            refused += 1
        else:
            assert rows == 29
    assert refused > len(content) // 40


def test_csv_named_parquet_is_refused(tmp_path):
    shutil.copy(write_transfers(tmp_path / "t.csv", [transfer(1)]), tmp_path / "t.parquet")
    assert "not a whole parquet file" in str(refusal(tmp_path / "t.parquet"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("field", ["id", "signature", "currency", "amount_minor"])
def test_missing_column_is_named(tmp_path, suffix, field):
    path = write_transfers(tmp_path / f"t.{suffix}", [transfer(1)])
    if suffix == "parquet":
        columns = columns_of([transfer(1)])
        del columns[field]
        write_parquet(path, columns)
    else:
        names, values = (line.split(",") for line in path.read_text().splitlines())
        place = names.index(field)
        path.write_text("\n".join(",".join(cells[:place] + cells[place + 1 :]) for cells in (names, values)))
    assert str(refusal(path)) == f"{path}, field '{field}': the column is missing"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unknown_column_is_refused_by_name(tmp_path, suffix):
    path = write_transfers(tmp_path / f"t.{suffix}", [transfer(1)])
    if suffix == "csv":
        head, row = path.read_text().splitlines()
        path.write_text(f"{head},comment\n{row},hello\n")
    else:
        write_parquet(path, columns_of([transfer(1)]) | {"comment": ["hello"]})
    assert str(refusal(path)).startswith(f"{path}, field 'comment': unknown column; expected only id, ")


def test_repeated_column_is_refused_by_name(tmp_path):
    path = write_transfers(tmp_path / "t.csv", [transfer(1)])
    head, row = path.read_text().splitlines()
    path.write_text(f"{head},code\n{row},1\n")
    assert str(refusal(path)) == f"{path}, field 'code': the column is there more than once"


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("id", pa.array([b"x" * 15], pa.binary(15))),
        ("id", pa.array([b"x" * 16], pa.binary())),
        ("amount_minor", pa.array([1.0])),
        ("amount_minor", pa.array([1], pa.decimal128(12, 2))),
        ("amount_minor", pa.array(["1"])),
        ("code", pa.array([1], pa.int16())),
        ("key_id", pa.array([1], pa.uint64())),
        ("currency", pa.array([978])),
        ("submitted_at", pa.array([MIDNIGHT_NS // 1000], pa.timestamp("us", "UTC"))),
        ("submitted_at", pa.array([MIDNIGHT_NS], pa.timestamp("ns"))),
        ("submitted_at", pa.array([MIDNIGHT_NS])),
    ],
)
def test_parquet_column_of_another_type_is_refused(tmp_path, field, column):
    error = refusal(write_parquet(tmp_path / "t.parquet", columns_of([transfer(1)]) | {field: column}))
    assert error.field == field
    assert "got type" in str(error)


@pytest.mark.parametrize("field", [column.name for column in TRANSFERS.columns if not column.optional])
def test_null_is_refused_with_its_row(tmp_path, field):
    columns = columns_of(many())
    holes = pa.array([number != 17 for number in range(1, 30)])
    columns[field] = pc.if_else(holes, columns[field], None)
    error = refusal(write_parquet(tmp_path / "t.parquet", columns))
    assert (error.row, error.field) == (17, field)
    assert "(no nulls), got null" in str(error)


@pytest.mark.parametrize("amount_type", [pa.int64(), pa.decimal128(38, 0)])
def test_negative_amount_is_refused_with_its_row(tmp_path, amount_type):
    rows = many()
    rows[12]["amount_minor"] = -5
    error = refusal(write_transfers(tmp_path / "t.parquet", rows, amount_type))
    assert (error.row, error.field) == (13, "amount_minor")
    assert "not negative, got " in str(error)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unknown_currency_is_refused_with_its_row(tmp_path, suffix):
    rows = many()
    rows[12]["currency"] = "XXX"
    error = refusal(write_transfers(tmp_path / f"t.{suffix}", rows))
    assert (error.row, error.field) == (13, "currency")
    assert "expected one of JPY, EUR, KWD, got 'XXX'" in str(error)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("id", "00" * 15),
        ("id", "00" * 17),
        ("id", "0g" + "00" * 15),
        ("id", "AB" + "00" * 15),
        ("id", ""),
        ("signature", "00" * 63),
        ("amount_minor", "-1"),
        ("amount_minor", "1.5"),
        ("amount_minor", "1.0"),
        ("amount_minor", ""),
        ("amount_minor", " 1"),
        ("amount_minor", "1e3"),
        ("amount_minor", "9" * 39),
        ("currency", ""),
        ("currency", "EUR "),
        ("code", "65536"),
        ("code", "-1"),
        ("key_id", "4294967296"),
        ("submitted_at", "2026-01-05"),
        ("submitted_at", "2026-01-05T00:00:00.000000019"),
        ("submitted_at", "2026-13-05T00:00:00.000000019Z"),
        ("submitted_at", "2026-01-05T24:00:00.000000019Z"),
    ],
)
def test_csv_cell_of_another_shape_is_refused(tmp_path, field, text):
    path = write_transfers(tmp_path / "t.csv", many())
    lines = path.read_text().splitlines()
    cells = lines[19].split(",")
    cells[lines[0].split(",").index(field)] = text
    lines[19] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    error = refusal(path)
    assert (error.file, error.row, error.field) == (str(path), 19, field)


@pytest.mark.parametrize("line", ["a,b", "", ",".join("x" * 11)])
@pytest.mark.parametrize("block_bytes", [1 << 20, 1000])
def test_csv_row_of_other_length_is_refused_with_its_number(tmp_path, monkeypatch, line, block_bytes):
    monkeypatch.setattr(tables, "_CSV_BLOCK_BYTES", block_bytes)
    path = write_transfers(tmp_path / "t.csv", many())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:20], line, *lines[20:]]) + "\n")
    assert refusal(path).row == 20


@pytest.mark.parametrize("block_bytes", [1 << 20, 1000])
def test_csv_that_is_not_utf8_is_refused_with_its_row(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(tables, "_CSV_BLOCK_BYTES", block_bytes)
    path = write_transfers(tmp_path / "t.csv", many())
    lines = path.read_bytes().splitlines()
    lines[20] = lines[20].replace(b"EUR", b"E\xffR")
    path.write_bytes(b"\n".join(lines))
    error = refusal(path)
    assert error.row == 20
    assert "UTF8" in str(error)


def test_csv_cut_within_a_row_is_refused(tmp_path):
    path = write_transfers(tmp_path / "t.csv", many())
    path.write_bytes(path.read_bytes()[:-40])
    assert refusal(path).row == 29


def test_writer_refuses_columns_that_are_not_the_tables(tmp_path):
    columns = columns_of([transfer(1)])
    del columns["flags"]
    with pytest.raises(InputError, match="field 'flags': the column is missing"):
        write_table(tmp_path / "t.parquet", TRANSFERS, columns)
    assert list(tmp_path.iterdir()) == []
