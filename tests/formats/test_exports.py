"""Bank exports are read as their mapping says, or refused with file, row and column."""

from __future__ import annotations

import csv
import datetime
import io
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyledger.errors import InputError
from pyledger.formats.exports import read_export
from pyledger.formats.mapping import Mapping, load_mapping

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "exports"

PLAIN = {
    "format": "pyledger/mapping/v1",
    "file": {"delimiter": ";", "header": True, "quote": '"'},
    "columns": {
        "id": "id",
        "account": "account",
        "counterparty_bank": "bank",
        "counterparty_account": "other",
        "currency": "currency",
        "kind": {"column": "kind", "empty": "none"},
    },
    "amount": {"column": "amount"},
    "direction": {"convention": "signed"},
    "date": {"column": "date"},
    "currencies": {"EUR": 2, "JPY": 0},
}
HEAD = "id;account;bank;other;currency;kind;amount;date"
GOOD = "1;a;B;b;EUR;x;-12.50;2026-01-05"


def mapping_of(**changes) -> Mapping:
    """Build a mapping from PLAIN; an entry of a change replaces that entry of its section."""
    sections = {
        name: (section | changes.get(name, {}) if isinstance(section, dict) else section)
        for name, section in PLAIN.items()
    }
    if "date" in changes:
        sections["date"] = changes["date"]
    mapping = msgspec.convert(sections, Mapping)
    mapping.check()
    return mapping


def export_of(tmp_path, lines, on_error="refuse", **changes):
    path = tmp_path / "export.csv"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return read_export(path, mapping_of(**changes), on_error=on_error)


def test_example_of_orders_is_read_row_by_row():
    export = read_export(EXAMPLES / "orders.tsv", load_mapping(EXAMPLES / "orders.toml"))
    plain = [line.split("\t") for line in (EXAMPLES / "orders.tsv").read_text().splitlines()]
    assert export.table["id"].to_pylist() == [cells[0] for cells in plain]
    assert export.table["counterparty_bank"].to_pylist() == [cells[2] for cells in plain]
    amounts = [int(Decimal("0" + cells[4]) * 10 * 100) for cells in plain]
    assert export.table["amount_minor"].to_pylist() == amounts
    assert 800 in amounts
    assert set(export.table["direction"].to_pylist()) == {"D"}
    assert set(export.table["value_date"].to_pylist()) == {datetime.date(2026, 1, 5)}
    assert export.table["kind"].to_pylist()[4] == "none"
    assert (export.row_count, export.errors) == (10, [])


def test_example_of_transactions_is_read_row_by_row():
    export = read_export(EXAMPLES / "transactions.csv", load_mapping(EXAMPLES / "transactions.toml"))
    with open(EXAMPLES / "transactions.csv", newline="") as stream:
        plain = list(csv.DictReader(stream, delimiter=";"))
    assert export.table["amount_minor"].to_pylist() == [int(Decimal(row["amount"]) * 100) for row in plain]
    words = {"PRIJEM": "C", "VYDAJ": "D"}
    assert export.table["direction"].to_pylist() == [words[row["type"]] for row in plain]
    assert export.table["counterparty_bank"].to_pylist() == [row["bank"] or "CASH" for row in plain]
    assert export.table["value_date"].to_pylist()[0] == datetime.date(2026, 1, 5)
    assert export.table["value_date"].to_pylist()[5] == datetime.date(1999, 12, 31)
    assert export.table["row"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]


TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffd\ufeff\x85"),
    min_size=1,
    max_size=6,
).filter(lambda text: text != "none")
ROW = st.tuples(
    TEXT,
    TEXT,
    TEXT,
    st.sampled_from(["EUR", "JPY", "KWD"]),
    st.integers(1, 10**12),
    st.booleans(),
    st.dates(datetime.date(1900, 1, 1)),
)
STYLE = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([";", ",", "\t", "|"]),
        "encoding": st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
        "decimal_sign": st.sampled_from([".", ","]),
        "grouped": st.booleans(),
        "minus": st.sampled_from(["before", "after"]),
        "minus_is": st.sampled_from(["debit", "credit"]),
        "date": st.sampled_from(["YYYY-MM-DD", "DD.MM.YYYY", "MM/DD/YYYY", "YYYYMMDD"]),
        "line_end": st.sampled_from(["\n", "\r\n"]),
        "header": st.booleans(),
    }
)
DECIMALS = {"EUR": 2, "JPY": 0, "KWD": 3}


def written_amount(minor, is_minus, decimals, style):
    """Write an amount as a bank would, independently of the reader."""
    text = f"{Decimal(minor).scaleb(-decimals):,f}" if style["grouped"] else f"{Decimal(minor).scaleb(-decimals):f}"
    text = text.translate({ord(","): "'", ord("."): style["decimal_sign"]})
    minus = "-" if is_minus else ""
    return minus + text if style["minus"] == "before" else text + minus


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROW, max_size=12, unique_by=lambda row: row[0]), style=STYLE)
def test_rows_survive_any_banks_style(tmp_path_factory, rows, style):
    assume(rows or style["header"])  # A file without either is empty, and refused.
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=style["delimiter"], lineterminator=style["line_end"])
    names = ["No.", "Account", "Bank", "Currency", "Amount", "Date"]
    if style["header"]:
        writer.writerow(names)
    pattern = {"YYYY-MM-DD": "%Y-%m-%d", "DD.MM.YYYY": "%d.%m.%Y", "MM/DD/YYYY": "%m/%d/%Y", "YYYYMMDD": "%Y%m%d"}[
        style["date"]
    ]
    for number, account, bank, currency, minor, is_debit, date in rows:
        is_minus = is_debit == (style["minus_is"] == "debit")
        amount = written_amount(minor, is_minus, DECIMALS[currency], style)
        writer.writerow([number, account, bank, currency, amount, date.strftime(pattern)])
    path = tmp_path_factory.mktemp("export") / "export.txt"
    path.write_bytes(text.getvalue().encode(style["encoding"]))
    place = {name: name if style["header"] else index for index, name in enumerate(names, 1)}
    mapping = msgspec.convert(
        {
            "format": "pyledger/mapping/v1",
            "file": {
                "delimiter": style["delimiter"],
                "header": style["header"],
                "columns": 6,
                "quote": '"',
                "encoding": style["encoding"],
            },
            "columns": {
                "id": place["No."],
                "account": place["Account"],
                "counterparty_bank": place["Bank"],
                "counterparty_account": {"value": "-"},
                "currency": place["Currency"],
            },
            "amount": {
                "column": place["Amount"],
                "decimal_sign": style["decimal_sign"],
                "thousands_sign": "'",
                "minus": style["minus"],
            },
            "direction": {"convention": "signed", "minus_is": style["minus_is"]},
            "date": {"column": place["Date"], "format": style["date"]},
            "currencies": DECIMALS,
        },
        Mapping,
    )
    mapping.check()
    table = read_export(path, mapping).table
    found = zip(
        *(
            table[name].to_pylist()
            for name in ("id", "account", "counterparty_bank", "currency", "amount_minor", "direction", "value_date")
        ),
        strict=True,
    )
    assert list(found) == [(*row[:5], "D" if row[5] else "C", row[6]) for row in rows]


@pytest.mark.parametrize(
    ("cell", "column", "expected"),
    [
        (";;B;b;EUR;x;1;2026-01-05", "id", "not empty"),
        ("1;;B;b;EUR;x;1;2026-01-05", "account", "not empty"),
        ("1;a;B;b;USD;x;1;2026-01-05", "currency", "one of EUR, JPY, got 'USD'"),
        ("1;a;B;b;EUR;x;;2026-01-05", "amount", "got ''"),
        ("1;a;B;b;EUR;x;1,5;2026-01-05", "amount", "decimal sign '.'"),
        ("1;a;B;b;EUR;x;1.555;2026-01-05", "amount", "no finer than the currency's minor unit"),
        ("1;a;B;b;JPY;x;1.5;2026-01-05", "amount", "no finer than the currency's minor unit"),
        ("1;a;B;b;EUR;x;.5;2026-01-05", "amount", "got '.5'"),
        ("1;a;B;b;EUR;x;5.;2026-01-05", "amount", "got '5.'"),
        ("1;a;B;b;EUR;x;+5;2026-01-05", "amount", "got '+5'"),
        ("1;a;B;b;EUR;x;--5;2026-01-05", "amount", "got '--5'"),
        ("1;a;B;b;EUR;x;5-;2026-01-05", "amount", "got '5-'"),
        ("1;a;B;b;EUR;x; 5;2026-01-05", "amount", "got ' 5'"),
        ("1;a;B;b;EUR;x;1e3;2026-01-05", "amount", "got '1e3'"),
        ("1;a;B;b;EUR;x;٣;2026-01-05", "amount", "got"),
        ("1;a;B;b;EUR;x;0.00;2026-01-05", "amount", "not zero"),
        ("1;a;B;b;EUR;x;12345678901234567;2026-01-05", "amount", "at most 18 digits"),
        ("1;a;B;b;EUR;x;1;2026-02-29", "date", "a date as YYYY-MM-DD, got '2026-02-29'"),
        ("1;a;B;b;EUR;x;1;2026-13-01", "date", "a date as YYYY-MM-DD"),
        ("1;a;B;b;EUR;x;1;2026-00-01", "date", "a date as YYYY-MM-DD"),
        ("1;a;B;b;EUR;x;1;2026-01-00", "date", "a date as YYYY-MM-DD"),
        ("1;a;B;b;EUR;x;1;0000-01-01", "date", "a date as YYYY-MM-DD"),
        ("1;a;B;b;EUR;x;1;05.01.2026", "date", "a date as YYYY-MM-DD"),
        ("0;a;B;b;EUR;x;1;2026-01-05", "id", "an id that no row above has, got '0'"),
        ("1;a\x07;B;b;EUR;x;1;2026-01-05", "account", "without control characters"),
    ],
)
def test_cell_that_does_not_fit_is_refused_with_its_place(tmp_path, cell, column, expected):
    with pytest.raises(InputError) as caught:
        export_of(tmp_path, [HEAD, GOOD.replace("1;", "0;", 1), cell])
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(tmp_path / "export.csv"), 2, column)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "good"), [("1'234.50", True), ("1234.50", True), ("1'23.50", False), ("12'34", False), ("'234", False)]
)
def test_thousands_come_in_threes_or_not_at_all(tmp_path, text, good):
    export = export_of(
        tmp_path, [HEAD, GOOD.replace("-12.50", text)], on_error="collect", amount={"thousands_sign": "'"}
    )
    assert export.table["amount_minor"].to_pylist() == ([123450] if good else [])
    assert len(export.errors) == (not good)


@pytest.mark.parametrize(
    ("text", "minor"), [(".80", 80), ("0.80", 80), ("12", 1200), (".", None), ("", None), ("-", None)]
)
def test_bare_fractions_are_read_where_the_mapping_allows_them(tmp_path, text, minor):
    export = export_of(
        tmp_path, [HEAD, GOOD.replace("-12.50", text)], on_error="collect", amount={"bare_fraction": True}
    )
    assert export.table["amount_minor"].to_pylist() == ([] if minor is None else [minor])


def test_power_of_ten_scales_digits(tmp_path):
    export = export_of(tmp_path, [HEAD, GOOD.replace("-12.50", "-0.1234")], amount={"power_of_ten": 2})
    assert export.table["amount_minor"].to_pylist() == [1234]


@pytest.mark.parametrize(("convention", "direction"), [("debit", "D"), ("credit", "C")])
def test_minus_is_refused_where_amounts_have_no_sign(tmp_path, convention, direction):
    export = export_of(
        tmp_path,
        [HEAD, GOOD, GOOD.replace("1;", "2;", 1).replace("-", "", 1)],
        on_error="collect",
        direction={"convention": convention},
    )
    assert export.table["direction"].to_pylist() == [direction]
    assert [error.row for error in export.errors] == [1]
    assert "without a sign" in str(export.errors[0])


def test_unknown_word_is_neither_debit_nor_credit(tmp_path):
    direction = {"convention": "words", "column": "kind", "debit": ["out"], "credit": ["in"]}
    lines = [HEAD, "1;a;B;b;EUR;in;1;2026-01-05", "2;a;B;b;EUR;IN;1;2026-01-05"]
    with pytest.raises(InputError, match=r"row 2, field 'kind': expected one of out, in, got 'IN'"):
        export_of(tmp_path, lines, direction=direction)


@pytest.mark.parametrize(("year", "full"), [("70", 1970), ("69", 2069), ("99", 1999), ("00", 2000)])
def test_two_digit_years_turn_at_the_pivot(tmp_path, year, full):
    date = {"column": "date", "format": "YYMMDD", "pivot": 70}
    export = export_of(tmp_path, [HEAD, GOOD.replace("2026-01-05", f"{year}0105")], date=date)
    assert export.table["value_date"].to_pylist() == [datetime.date(full, 1, 5)]


def test_dirty_export_is_listed_whole(tmp_path):
    lines = [
        HEAD,
        GOOD,
        "2;a;B;b;EUR;x;1.234;2026-99-05",
        "3;a;B",
        "",
        "5;a;B;b;EUR;x;5;2026-01-05",
        b"6;a\xff;B;b;EUR;x;6;2026-01-05",
        "7;a;B;b;EUR;x;7;2026-01-05;more",
        "5;a;B;b;EUR;x;8;2026-01-05",
        "9;a;B;b;EUR;;9;2026-01-05",
    ]
    export = export_of(tmp_path, lines, on_error="collect")
    assert export.table["row"].to_pylist() == [1, 5, 9]
    assert export.table["amount_minor"].to_pylist() == [1250, 500, 900]
    assert export.table["kind"].to_pylist() == ["x", "x", "none"]
    assert export.row_count == 9
    assert {(error.row, error.field) for error in export.errors} >= {
        (2, "amount"), (2, "date"), (3, None), (4, "id"), (6, "account"), (7, None), (8, "id"),
    }  # fmt: skip
    assert [error.row for error in export.errors] == sorted(error.row for error in export.errors)
    assert all(str(error).startswith(str(tmp_path / "export.csv")) for error in export.errors)


def test_first_bad_row_is_the_one_refused(tmp_path):
    lines = [HEAD, GOOD, "2;a;B;b;EUR;x;bad;2026-01-05", "3;a;B", ";a;B;b;EUR;x;1;2026-01-05"]
    with pytest.raises(InputError, match="row 2, field 'amount'"):
        export_of(tmp_path, lines)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [HEAD, GOOD, '2;"a;B;b;EUR;x;1;2026-01-05', GOOD.replace("1;", "3;", 1)],
            "row 2: a quote stands within a cell",
        ),
        ([HEAD, GOOD, '2;"a"x;B;b;EUR;x;1;2026-01-05'], "row 2: a quote stands within a cell"),
        ([HEAD, GOOD, '2;a"x;B;b;EUR;x;1;2026-01-05'], "row 2: a quote stands within a cell"),
        ([HEAD, '1;"a', 'b";B;b;EUR;x;1;2026-01-05'], "row 1: a quote stands within a cell"),
        ([HEAD, GOOD + "\r" + GOOD.replace("1;", "2;", 1)], "a quote stands within|expected one row a line"),
        ([b"\xff" + HEAD.encode(), GOOD], "row 1: expected utf-8 text"),
        ([HEAD, GOOD, b"2;\xff;B;b;EUR;x;1;2026-01-05"], "row 2: expected utf-8 text"),
        (
            [HEAD.replace("amount", "sum"), GOOD],
            "field 'amount': expected one column of this name; it is not in the header",
        ),
        ([HEAD.replace("kind", "amount"), GOOD], "it stands there more than once|it is not in the header"),
        ([HEAD, GOOD + ";more"], "row 1: expected 8 cells, got 9"),
        ([HEAD, GOOD, "", GOOD], "row 2, field 'id'"),
    ],
)
def test_file_that_cannot_be_cut_is_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=message) as caught:
        export_of(tmp_path, lines)
    assert caught.value.file == str(tmp_path / "export.csv")


@pytest.mark.parametrize("cells", [1, 2])
def test_a_row_that_is_far_too_long_is_refused_by_its_place(tmp_path, cells):
    """One long cell, or an export whose line ends went missing."""
    long = ("x" * (3_000_000 // cells) + ";") * cells
    with pytest.raises(
        InputError, match=r"export\.csv, row 2: expected at most 1048576 bytes in a row, got 3000"
    ) as caught:
        export_of(tmp_path, [HEAD, GOOD, f"2;{long}B;b;EUR;x;1;2026-01-05", GOOD.replace("1;", "3;", 1)])
    assert caught.value.row == 2


def test_a_row_of_the_largest_size_is_read(tmp_path):
    rest = ";B;b;EUR;x;1;2026-01-05"
    for size in (1 << 16, (1 << 20) - len(f"2;{rest}")):
        long = f"2;{'x' * size}{rest}"
        table = export_of(tmp_path, [HEAD, GOOD, long, GOOD.replace("1;", "3;", 1)]).table
        assert table["id"].to_pylist() == ["1", "2", "3"]
        assert table["account"].to_pylist()[1] == "x" * size


def test_quotes_are_only_text_where_the_mapping_has_none(tmp_path):
    export = export_of(tmp_path, [HEAD, GOOD.replace(";a;", ';"a;')], file={"quote": ""})
    assert export.table["account"].to_pylist() == ['"a']


def test_byte_order_mark_is_not_part_of_the_first_name(tmp_path):
    assert export_of(tmp_path, [b"\xef\xbb\xbf" + HEAD.encode(), GOOD]).table["id"].to_pylist() == ["1"]


def test_doubled_quotes_are_one(tmp_path):
    export = export_of(tmp_path, [HEAD, GOOD.replace(";a;", ';"a "";"" b";')])
    assert export.table["account"].to_pylist() == ['a ";" b']


def test_spaces_are_kept_unless_the_mapping_trims(tmp_path):
    line = GOOD.replace(";a;", "; a ;")
    assert export_of(tmp_path, [HEAD, line]).table["account"].to_pylist() == [" a "]
    assert export_of(tmp_path, [HEAD, line], file={"trim": True}).table["account"].to_pylist() == ["a"]


def test_missing_empty_and_too_large_files_are_refused(tmp_path):
    path = tmp_path / "export.csv"
    with pytest.raises(InputError, match=r"export\.csv: the file is missing"):
        read_export(path, mapping_of())
    path.touch()
    with pytest.raises(InputError, match=r"expected 1 to .* bytes, got 0"):
        read_export(path, mapping_of())
    path.write_text(f"{HEAD}\n{GOOD}\n")
    with pytest.raises(InputError, match="expected 1 to 20 bytes"):
        read_export(path, mapping_of(), size_max=20)


@pytest.mark.parametrize("lines", [[HEAD], [HEAD, ""]])
def test_export_without_rows_is_an_empty_table(tmp_path, lines):
    export = export_of(tmp_path, lines)
    assert (export.table.num_rows, export.row_count) == (0, 0)
    assert export.table.schema.field("amount_minor").type == pa.int64()
    assert export.table.schema.field("value_date").type == pa.date32()


@pytest.mark.parametrize(
    ("section", "entry", "value", "field"),
    [
        ("file", "delimiter", ";;", "file.delimiter"),
        ("file", "delimiter", "\n", "file.delimiter"),
        ("file", "quote", ";", "file.quote"),
        ("file", "header", False, "file.columns"),
        ("file", "columns", 0, "file.columns"),
        ("file", "encoding", "klingon", "file.encoding"),
        ("columns", "id", 1, "columns.id"),
        ("columns", "id", {}, "columns.id"),
        ("columns", "id", {"column": "id", "value": "x"}, "columns.id"),
        ("columns", "id", {"value": "x", "empty": "y"}, "columns.id"),
        ("amount", "decimal_sign", "1", "amount.decimal_sign"),
        ("amount", "thousands_sign", ".", "amount.thousands_sign"),
        ("amount", "power_of_ten", -1, "amount.power_of_ten"),
        ("amount", "column", 3, "amount.column"),
        ("direction", "convention", "words", "direction.column"),
        ("direction", "column", "kind", "direction.column"),
        ("direction", "debit", ["x"], "direction.debit"),
        ("date", "format", "YYYY-DD", "date.format"),
        ("date", "format", "YYYYMMDDHH:mm:SSM", "date.format"),
        ("date", "format", "YYMMDD", "date.pivot"),
        ("date", "pivot", 70, "date.pivot"),
        ("date", "value", datetime.date(2026, 1, 5), "date"),
        ("currencies", "EUR", 10, "currencies.EUR"),
        ("currencies", "eur", 2, "currencies"),
    ],
)
def test_mapping_entry_out_of_range_is_refused_by_name(section, entry, value, field):
    sections = PLAIN | {section: PLAIN[section] | {entry: value}}
    with pytest.raises(InputError) as caught:
        msgspec.convert(sections, Mapping).check("m.toml")
    assert (caught.value.file, caught.value.field) == ("m.toml", field)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "missing required field"),
        (lambda text: text + "\n[extra]\na = 1", "unknown field `extra`"),
        (lambda text: text.replace('"words"', '"guess"'), "Invalid enum value 'guess'"),
        (lambda text: text.replace("pivot = 70", 'pivot = "70"'), "Expected `int"),
        (lambda text: text.replace("[file]", "[file"), "not a mapping file"),
        (lambda text: text.replace("v1", "v9"), "field 'format'"),
    ],
)
def test_mapping_file_of_another_shape_is_refused(tmp_path, change, message):
    path = tmp_path / "m.toml"
    path.write_text(change((EXAMPLES / "transactions.toml").read_text()))
    with pytest.raises(InputError, match=message) as caught:
        load_mapping(path)
    assert str(caught.value).startswith(str(path))


def test_missing_mapping_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="the mapping file is missing"):
        load_mapping(tmp_path / "none.toml")
