"""Bank exports: CSV files of any bank's own shape, read strictly by a mapping into one normal table.

Cells become values column by column, in whole integers; every cell that is not what the mapping says is an error with
file, row and column. A dirty export is refused at its first error, or read to its end with all errors listed.
"""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from pyledger.errors import InputError, StorageError
from pyledger.formats.mapping import AmountRule, Cell, Mapping

__all__ = ["Export", "read_export"]

EXPORT_BYTES_MAX = 1 << 30
"""Largest export read: about eight million rows."""

_DIGITS_MAX = 18
_ROW_BYTES = 1 << 20
_TEXT_FIELDS = ("id", "account", "counterparty_bank", "counterparty_account", "currency", "kind")
_EPOCH_MONTHS = 1970 * 12

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Export:
    """What an export says.

    Parameters
    ----------
    table : pa.Table
        A row for each good row of the file: `row` int64 (its number there, from 1, a header not counted), `id`,
        `account`, `counterparty_bank`, `counterparty_account`, `currency`, `kind` string, `direction` string (D: money
        left `account`, C: it came), `amount_minor` int64, at least 1, `value_date` date32.
    errors : list of InputError
        The others' errors, by row; empty unless they are collected.
    row_count : int
        Rows of the file, good and bad.
    """

    table: pa.Table
    errors: list[InputError]
    row_count: int


def read_export(
    path: str | os.PathLike[str],
    mapping: Mapping,
    *,
    on_error: Literal["refuse", "collect"] = "refuse",
    size_max: int = EXPORT_BYTES_MAX,
) -> Export:
    """Read a bank's export as its mapping says.

    Parameters
    ----------
    path : path
        A text file with one row a line.
    mapping : Mapping
        From ``load_mapping``.
    on_error : {"refuse", "collect"}
        Raise for the first row that does not fit, or leave such rows out and list all their errors.
    size_max : int
        Largest file, bytes; memory is about six times the file.

    Raises
    ------
    InputError
        If the file is missing, empty, too large, in another encoding, lacks a column, or its quotes or line ends do not
        match; and with ``refuse`` for the first bad row. Names file, row and column.
    StorageError
        If the file system cannot read it.
    """
    file = Path(path)
    cells = _read_cells(file, mapping, size_max, replace_undecodable=on_error == "collect")
    reader = _Reader(file, mapping, cells)
    table = reader.read()
    errors = sorted(reader.errors, key=lambda error: error.row or 0)
    if errors and on_error == "refuse":
        raise errors[0]
    return Export(table.filter(pa.array(~reader.bad)), errors, len(cells.rows) + len(cells.ragged))


@dataclass(frozen=True, slots=True)
class _Cells:
    """The file cut up: text columns, the header's names, the number of each row, and the rows of another length."""

    table: pa.Table
    names: list[str]
    rows: Ints
    ragged: list[InputError]


def _read_cells(file: Path, mapping: Mapping, size_max: int, *, replace_undecodable: bool) -> _Cells:
    text = _decode(file, mapping, _read_bytes(file, size_max), replace_undecodable)
    header_lines = int(mapping.file.header)
    first = text[: text.index("\n")]
    _check_quotes(file, mapping, text)
    names = _split_line(first, mapping) if mapping.file.header else []
    count = mapping.file.columns or len(names)
    if names and len(names) != count:
        raise InputError(f"expected a header of {count} columns, got {len(names)}", file=file)
    numbers = [str(number) for number in range(1, count + 1)]
    refused: list[pa_csv.InvalidRow] = []
    try:
        table = _cut(text, mapping, numbers, refused)
    except pa.ArrowInvalid as error:
        raise _too_long(file, text, header_lines) or InputError(f"not rows of cells: {error}", file=file) from error
    if table.num_rows + len(refused) + header_lines != text.count("\n"):
        raise InputError("expected one row a line: a cell holds a line break, or lines end in CR alone", file=file)
    ragged = [
        InputError(f"expected {count} cells, got {row.actual_columns}", file=file, row=row.number - header_lines)
        for row in refused
    ]
    rows = np.arange(1, table.num_rows + len(ragged) + 1)
    return _Cells(table, names, np.delete(rows, [row.number - header_lines - 1 for row in refused]), ragged)


def _cut(text: str, mapping: Mapping, numbers: list[str], refused: list[pa_csv.InvalidRow]) -> pa.Table:
    def refuse(row: pa_csv.InvalidRow) -> str:
        refused.append(row)
        return "skip"

    return pa_csv.read_csv(
        pa.BufferReader(text.encode()),
        pa_csv.ReadOptions(
            use_threads=False, block_size=_ROW_BYTES, column_names=numbers, skip_rows=int(mapping.file.header)
        ),
        pa_csv.ParseOptions(
            delimiter=mapping.file.delimiter,
            quote_char=mapping.file.quote or False,
            ignore_empty_lines=False,
            invalid_row_handler=refuse,
        ),
        pa_csv.ConvertOptions(column_types=dict.fromkeys(numbers, pa.string()), strings_can_be_null=False),
    )


def _too_long(file: Path, text: str, header_lines: int) -> InputError | None:
    """Arrow takes a row that lies in two of its blocks, and none that needs three."""
    for line, content in enumerate(io.StringIO(text, newline="\n"), 1):
        size = len(content.encode())
        if size > _ROW_BYTES:
            row = max(line - header_lines, 1)
            return InputError(f"expected at most {_ROW_BYTES} bytes in a row, got {size}", file=file, row=row)
    return None


def _read_bytes(file: Path, size_max: int) -> bytes:
    try:
        size = file.stat().st_size
        if not 0 < size <= size_max:
            raise InputError(f"expected 1 to {size_max} bytes, got {size}", file=file)
        return file.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError("the file is missing", file=file) from error
    except OSError as error:
        raise StorageError(f"{file}: cannot be read: {error.strerror or error}") from error


def _decode(file: Path, mapping: Mapping, content: bytes, replace_undecodable: bool) -> str:
    """Decode the file; undecodable bytes become U+FFFD, which no cell may hold, or raise."""
    encoding = mapping.file.encoding
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if not replace_undecodable:
            row = content.count(b"\n", 0, error.start) + 1 - mapping.file.header
            raise InputError(f"expected {encoding} text: {error.reason}", file=file, row=max(row, 1)) from error
        text = content.decode(encoding, errors="replace")
    text = text.removeprefix("\ufeff")
    return text if text.endswith("\n") else text + "\n"


def _check_quotes(file: Path, mapping: Mapping, text: str) -> None:
    """Refuse quotes that open or close within a cell: a lenient parser would join or swallow rows there."""
    if not mapping.file.quote:
        return
    quote, delimiter = re.escape(mapping.file.quote), re.escape(mapping.file.delimiter)
    cell = f"(?:{quote}(?:[^{quote}\n]|{quote}{quote})*+{quote}|[^{quote}{delimiter}\r\n]*+)"
    wrong = re.compile(f"^(?!{cell}(?:{delimiter}{cell})*+\r?$)", re.MULTILINE).search(text, 0, len(text) - 1)
    if wrong:
        row = text.count("\n", 0, wrong.start()) + 1 - mapping.file.header
        raise InputError("a quote stands within a cell, or is not closed on its line", file=file, row=row)


def _split_line(line: str, mapping: Mapping) -> list[str]:
    """Cut the header line."""
    rule = mapping.file
    plain = line.rstrip("\r")
    names = (
        next(csv.reader([plain], delimiter=rule.delimiter, quotechar=rule.quote))
        if rule.quote
        else plain.split(rule.delimiter)
    )
    return [name.strip(" ") for name in names] if rule.trim else names


class _Reader:
    """Turns cells into values, field by field, and notes what does not fit."""

    def __init__(self, file: Path, mapping: Mapping, cells: _Cells) -> None:
        self.errors = list(cells.ragged)
        self.bad = np.zeros(len(cells.rows), bool)
        self._file = file
        self._mapping = mapping
        self._cells = cells

    def read(self) -> pa.Table:
        """Return the normal table; rows marked in `bad` hold no meaning."""
        columns = {"row": pa.array(self._cells.rows)}
        for field in _TEXT_FIELDS:
            columns[field] = self._text(getattr(self._mapping.columns, field))
        self._refuse_repeated_ids(columns["id"])
        decimals = self._decimals(columns["currency"])
        amounts = self._amounts(decimals)
        columns["direction"] = self._directions(amounts)
        columns["amount_minor"] = pa.array(np.abs(amounts))
        columns["value_date"] = self._dates()
        return pa.table(columns)

    def _column(self, reference: str | int) -> pa.Array:
        names = self._cells.names
        if isinstance(reference, str):
            if names.count(reference) != 1:
                found = "it is not in the header" if reference not in names else "it stands there more than once"
                raise InputError(f"expected one column of this name; {found}", file=self._file, field=reference)
            reference = names.index(reference) + 1
        column = self._cells.table.column(reference - 1).combine_chunks()
        return pc.utf8_trim(column, " ") if self._mapping.file.trim else column

    def _note(self, bad: Mask, reference: str | int, values: pa.Array, expected: str) -> None:
        """Keep an error for each row marked in `bad`."""
        self.bad |= bad
        for place in np.flatnonzero(bad).tolist():
            found = values[place].as_py()
            message = f"expected {expected}, got {found!r}"
            row = int(self._cells.rows[place])
            self.errors.append(InputError(message, file=self._file, row=row, field=str(reference)))

    def _text(self, source: str | int | Cell) -> pa.Array:
        cell = source if isinstance(source, Cell) else Cell(column=source)
        if cell.column is None:
            return pa.array([cell.value] * len(self.bad), pa.string())
        values = self._column(cell.column)
        if cell.empty is not None:
            values = pc.if_else(pc.equal(values, ""), cell.empty, values)
        unfit = pc.match_substring_regex(values, "[\\x00-\\x1f\\x7f\ufffd]")
        empty = pc.and_(pc.equal(values, ""), cell.empty is None)
        self._note(_mask(pc.or_(unfit, empty)), cell.column, values, "text without control characters, not empty")
        return values

    def _refuse_repeated_ids(self, ids: pa.Array) -> None:
        source = self._mapping.columns.id
        reference = source.column if isinstance(source, Cell) else source
        codes = ids.dictionary_encode().indices.to_numpy()
        _, first = np.unique(codes, return_index=True)
        repeated = np.ones(len(codes), bool)
        repeated[first] = False
        self._note(repeated, reference or "id", ids, "an id that no row above has")

    def _decimals(self, currencies: pa.Array) -> Ints:
        """Return the decimals of each row's currency."""
        source = self._mapping.columns.currency
        reference = source.column if isinstance(source, Cell) else source
        known = self._mapping.currencies
        encoded = currencies.dictionary_encode()
        of_word = np.array([known.get(word, -1) for word in encoded.dictionary.to_pylist()] or [0], np.int64)
        decimals = of_word[encoded.indices.to_numpy()]
        self._note(decimals < 0, reference or "currency", currencies, f"one of {', '.join(known)}")
        return np.asarray(np.maximum(decimals, 0), np.int64)

    def _amounts(self, decimals: Ints) -> Ints:
        """Return whole minor units, negative where the file has a minus; scaled as digits, never as floats."""
        rule = self._mapping.amount
        signed = self._mapping.direction.convention == "signed"
        texts = self._column(rule.column)
        parts = pc.extract_regex(texts, _amount_pattern(rule, signed))
        matched = ~_mask(pc.is_null(parts))
        whole = (
            pc.replace_substring(_part(parts, "whole"), rule.thousands_sign, "")
            if rule.thousands_sign
            else _part(parts, "whole")
        )
        fraction = _part(parts, "fraction")
        places = decimals + rule.power_of_ten
        fraction_digits = pc.utf8_length(fraction).to_numpy().astype(np.int64)
        fits = matched & (fraction_digits <= places) & (pc.utf8_length(whole).to_numpy() + places <= _DIGITS_MAX)
        amounts = _to_int(whole, fits) * 10 ** np.where(fits, places, 0)
        amounts += _to_int(fraction, fits) * 10 ** np.where(fits, places - fraction_digits, 0)
        fits &= amounts != 0
        sign = "with or without a minus" if signed else "without a sign"
        expected = (
            f"an amount {sign}, decimal sign {rule.decimal_sign!r}, not zero, "
            f"no finer than the currency's minor unit, at most {_DIGITS_MAX} digits"
        )
        self._note(~fits, rule.column, texts, expected)
        return np.asarray(np.where(_mask(pc.equal(_part(parts, "minus"), "-")), -amounts, amounts), np.int64)

    def _directions(self, amounts: Ints) -> pa.Array:
        rule = self._mapping.direction
        if rule.convention == "words":
            assert rule.column is not None
            words = self._column(rule.column)
            is_debit = _mask(pc.is_in(words, pa.array(rule.debit, pa.string())))
            is_credit = _mask(pc.is_in(words, pa.array(rule.credit, pa.string())))
            expected = f"one of {', '.join(rule.debit + rule.credit)}"
            self._note(~(is_debit | is_credit), rule.column, words, expected)
        elif rule.convention == "signed":
            is_debit = (amounts < 0) == (rule.minus_is == "debit")
        else:
            is_debit = np.full(len(amounts), rule.convention == "debit")
        return pc.if_else(pa.array(is_debit), "D", "C")

    def _dates(self) -> pa.Array:
        rule = self._mapping.date
        if rule.column is None:
            return pa.array([rule.value] * len(self.bad), pa.date32())
        texts = self._column(rule.column)
        parts = pc.extract_regex(texts, _date_pattern(rule.format))
        matched = ~_mask(pc.is_null(parts))
        year, month, day = (_to_int(_part(parts, name), matched) for name in ("year", "month", "day"))
        if rule.pivot is not None:
            year += np.where(year >= rule.pivot, 1900, 2000)
        fits = matched & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
        months = np.where(fits, year * 12 + month - 1 - _EPOCH_MONTHS, 0).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + np.where(fits, day - 1, 0)
        fits &= days.astype("datetime64[M]") == months
        self._note(~fits, rule.column, texts, f"a date as {rule.format}")
        return pa.array(np.where(fits, days, np.datetime64(0, "D")))


def _amount_pattern(rule: AmountRule, signed: bool) -> str:
    whole = "[0-9]+"
    if rule.thousands_sign:
        whole = f"[0-9]{{1,3}}(?:{re.escape(rule.thousands_sign)}[0-9]{{3}})+|{whole}"
    fraction = f"{re.escape(rule.decimal_sign)}(?P<fraction>[0-9]+)"
    # With a bare fraction this also matches nothing at all, which `_amounts` refuses as zero.
    number = f"(?P<whole>{whole}|)(?:{fraction})?" if rule.bare_fraction else f"(?P<whole>{whole})(?:{fraction})?"
    sign = "(?P<minus>-?)" if signed else "(?P<minus>)"
    return f"^{sign}{number}$" if rule.minus == "before" else f"^{number}{sign}$"


def _date_pattern(form: str) -> str:
    names = {
        "YYYY": "(?P<year>[0-9]{4})",
        "YY": "(?P<year>[0-9]{2})",
        "MM": "(?P<month>[0-9]{2})",
        "DD": "(?P<day>[0-9]{2})",
    }
    pieces = re.split("(YYYY|YY|MM|DD)", form)
    return "^" + "".join(names.get(piece, re.escape(piece)) for piece in pieces) + "$"


def _part(parts: pa.StructArray, name: str) -> pa.Array:
    """Return one group of a pattern; empty where the pattern did not match."""
    return pc.fill_null(pc.struct_field(parts, name), "")


def _to_int(digits: pa.Array, wanted: Mask) -> Ints:
    """Turn digits into integers; zero where they are not wanted or empty."""
    usable = pc.and_(pa.array(wanted), pc.not_equal(digits, ""))
    return np.asarray(pc.if_else(usable, digits, "0").cast(pa.int64()).to_numpy(), np.int64).copy()


def _mask(values: pa.Array) -> Mask:
    return np.asarray(values.to_numpy(zero_copy_only=False), bool)
