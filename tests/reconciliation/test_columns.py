"""What a reconciliation reads: every form of the columns gives the same result, and what is wrong is named."""

import datetime

import numpy as np
import pytest
from planted_breaks import found_breaks, found_pairs, numpy_columns, plant

from pyledger.errors import InputError
from pyledger.reconciliation.breaks import BreakKind
from pyledger.reconciliation.matching import reconcile
from pyledger.types import U128

pa = pytest.importorskip("pyarrow", reason="columns come from Arrow tables")

IDENTIFIERS = ("reference", "account", "counterparty_account")


def planted():
    return plant(np.random.default_rng(11), [None] * 50 + list(BreakKind) * 2)


BYTES, U32, DATE = pa.binary(16), pa.uint32(), pa.date32()


def arrow_table(rows, identifier=BYTES, institution=U32, date=DATE):
    columns = numpy_columns(rows)
    types = {"counterparty_institution": institution, "value_date": date, **dict.fromkeys(IDENTIFIERS, identifier)}
    values = {name: column.tolist() for name, column in columns.items()}
    for name in IDENTIFIERS:
        values[name] = [row[name] if identifier == BYTES else row[name].hex() for row in rows]
    if institution != U32:
        values["counterparty_institution"] = [f"BANK{i}" for i in values["counterparty_institution"]]
    arrays = {
        name: pa.array(values[name], types.get(name) or pa.from_numpy_dtype(columns[name].dtype)) for name in columns
    }
    return pa.table({**arrays, "remark": pa.array(["ignored"] * len(rows), pa.string())})


def numpy_strings(rows):
    columns = numpy_columns(rows)
    for name in IDENTIFIERS:
        columns[name] = np.array([row[name].hex() for row in rows])
    columns["counterparty_institution"] = np.array([f"BANK{i}" for i in columns["counterparty_institution"]])
    return columns


def numpy_u128(rows):
    columns = numpy_columns(rows)
    for name in IDENTIFIERS:
        columns[name] = columns[name].view(U128)[:, 0]
    return columns


class OnlyStream:
    """Any producer of the Arrow C stream interface."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


FORMS = {
    "numpy bytes": numpy_columns,
    "numpy u128": numpy_u128,
    "numpy strings": numpy_strings,
    "arrow": arrow_table,
    "arrow days": lambda rows: arrow_table(rows, date=pa.int32()),
    "arrow strings": lambda rows: arrow_table(rows, pa.string(), pa.string()),
    "arrow large strings": lambda rows: arrow_table(rows, pa.large_string(), pa.large_string()),
    "arrow dictionaries": lambda rows: arrow_table(rows, pa.dictionary(pa.int32(), pa.string()), pa.string()),
    "arrow chunks": lambda rows: pa.concat_tables([arrow_table(rows[:9]), arrow_table(rows[9:])]),
    "arrow string chunks": lambda rows: pa.concat_tables(
        [arrow_table(part, pa.string(), pa.string()) for part in (rows[:9], rows[9:], [])]
    ),
    "arrow slice": lambda rows: arrow_table([rows[0], *rows]).slice(1),
    "arrow string slice": lambda rows: arrow_table([rows[0], *rows], pa.string(), pa.string()).slice(1),
    "arrow large string slice": lambda rows: arrow_table([rows[0], *rows], pa.large_string(), pa.large_string()).slice(
        1
    ),
    "arrow stream": lambda rows: OnlyStream(arrow_table(rows)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_columns_gives_the_same_result(form):
    ledger, statement, agreeing, breaks = planted()
    result = reconcile(FORMS[form](ledger), FORMS[form](statement))
    assert found_breaks(result) == breaks
    assert [pair for pair in found_pairs(result) if pair[2] == "exact"] == agreeing


@pytest.mark.parametrize("form", ["numpy bytes", "arrow", "arrow strings", "arrow dictionaries"])
def test_empty_tables_agree_with_empty_tables(form):
    result = reconcile(FORMS[form]([]), FORMS[form]([]))
    assert len(result.pairs) == len(result.breaks) == 0


def test_strings_and_dates_are_shown_as_they_stand():
    ledger, statement, _, _ = plant(np.random.default_rng(1), [BreakKind.REFERENCE_DIFFERS])
    result = reconcile(numpy_strings(ledger), numpy_strings(statement))
    assert result.breaks.expected == [ledger[0]["reference"].hex()]
    assert result.breaks.found == [statement[0]["reference"].hex()]


def test_empty_strings_are_no_reference():
    columns = numpy_strings(plant(np.random.default_rng(1), [None])[0])
    columns["reference"] = np.array([""])
    other = {**columns, "amount_minor": columns["amount_minor"] + 1, "value_date": columns["value_date"] + 1}
    assert [b[0] for b in found_breaks(reconcile(columns, other))] == ["missing_in_ledger", "missing_in_statement"]


def changed(name, value, form=numpy_columns):
    """Statement columns of four rows with the value set in the third."""
    rows = plant(np.random.default_rng(2), [None] * 4)[1]
    columns = form(rows)
    columns[name][2] = value
    return columns


def good():
    return numpy_columns(plant(np.random.default_rng(2), [None] * 4)[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("row", 0),
        ("row", -3),
        ("direction", 0),
        ("direction", 2),
        ("amount_minor", -1),
        ("value_date", 2_932_897),
        ("value_date", -719_163),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(InputError) as caught:
        reconcile(good(), changed(name, value))
    error = caught.value
    assert (error.file, error.field, error.row) == ("statement", name, 3 if name != "row" else value)
    assert str(value) in str(error)


def test_a_row_number_twice_is_refused():
    with pytest.raises(InputError, match="statement, row 2, field 'row': expected each row number once"):
        reconcile(good(), changed("row", 2))


@pytest.mark.parametrize("name", ["row", *good()])
def test_a_missing_column_is_named(name):
    for form in (numpy_columns, arrow_table):
        columns = form(plant(np.random.default_rng(2), [None] * 4)[0])
        columns = (
            columns.drop_columns([name]) if form is arrow_table else {k: c for k, c in columns.items() if k != name}
        )
        with pytest.raises(InputError, match=f"ledger, field '{name}': the column is missing"):
            reconcile(columns, good())


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("row", np.arange(4, dtype=np.int32)),
        ("reference", np.zeros((4, 15), np.uint8)),
        ("reference", np.zeros(4, np.uint64)),
        ("account", np.zeros((4, 16), np.int8)),
        ("ledger", np.zeros(4, np.int64)),
        ("ledger", np.array(["EUR"] * 4)),
        ("amount_minor", np.zeros(4)),
        ("amount_minor", np.zeros((4, 1), np.int64)),
        ("counterparty_institution", np.zeros(4, np.int64)),
        ("direction", np.ones(4, np.int64)),
        ("value_date", np.zeros(4, "datetime64[D]")),
        ("reference", np.array([None] * 4)),
        ("direction", np.ones(3, np.int8)),
    ],
)
def test_a_column_of_another_type_or_length_is_refused(name, column):
    with pytest.raises(InputError) as caught:
        reconcile(good(), {**good(), name: column})
    assert (caught.value.file, caught.value.field) == ("statement", name)


@pytest.mark.parametrize("name", ["reference", "amount_minor", "value_date", "counterparty_institution"])
def test_a_null_is_named(name):
    rows = plant(np.random.default_rng(2), [None] * 4)[0]
    table = arrow_table(rows)
    values = table.column(name).to_pylist()
    values[2] = None
    table = table.set_column(table.column_names.index(name), name, pa.array(values, table.column(name).type))
    with pytest.raises(InputError, match=f"ledger, row 3, field '{name}': expected a value, got null"):
        reconcile(table, arrow_table(rows))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("amount_minor", pa.array([1.0] * 4)),
        ("amount_minor", pa.array([1] * 4, pa.uint64())),
        ("value_date", pa.array([datetime.datetime(2026, 1, 1)] * 4)),
        ("reference", pa.array([b"x" * 15] * 4, pa.binary(15))),
        ("reference", pa.array([b"x" * 16] * 4, pa.binary())),
    ],
)
def test_an_arrow_column_of_another_type_is_refused(name, column):
    rows = plant(np.random.default_rng(2), [None] * 4)[0]
    table = arrow_table(rows)
    wrong = table.set_column(table.column_names.index(name), name, column)
    with pytest.raises(InputError) as caught:
        reconcile(table, wrong)
    assert (caught.value.file, caught.value.field) == ("statement", name)


def test_the_two_sides_must_hold_the_same_sort_of_identifier():
    rows = plant(np.random.default_rng(2), [None] * 4)[0]
    with pytest.raises(InputError, match="field 'reference': expected binary as on the ledger side, got strings"):
        reconcile(numpy_columns(rows), numpy_strings(rows))


def test_anything_else_is_refused():
    with pytest.raises(InputError, match="ledger: expected an Arrow table or a mapping of arrays, got list"):
        reconcile([], good())
    with pytest.raises(InputError, match="key: expected 16 bytes"):
        reconcile(good(), good(), key=b"short")


def test_rows_that_need_more_memory_than_allowed_are_refused():
    with pytest.raises(InputError, match="memory_max_bytes: 8 rows need 256, got 255"):
        reconcile(good(), good(), memory_max_bytes=255)
    assert len(reconcile(good(), good(), memory_max_bytes=256).pairs) == 4


def test_without_pyarrow_numpy_columns_work_and_arrow_says_what_to_install(monkeypatch):
    table = arrow_table(plant(np.random.default_rng(2), [None] * 4)[0])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    result = reconcile(good(), good())
    assert len(result.pairs) == 4
    for call in (lambda: reconcile(table, good()), result.pairs_to_arrow, result.breaks.to_arrow):
        with pytest.raises(ImportError, match=r"pip install 'pyledger\[arrow\]'"):
            call()
