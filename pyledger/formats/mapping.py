"""Mapping files: what the columns of a bank's own export mean, written in TOML, so that nothing has to be guessed.

A mapping says how the file is cut into cells, which column (by header name, or by number from 1) holds what, how
amounts and dates are written, and how debit and credit are told apart. docs/mapping-files.md describes every entry.
"""

from __future__ import annotations

import codecs
import datetime
import os
import re
from pathlib import Path
from typing import Literal

import msgspec

from pyledger.errors import InputError, StorageError
from pyledger.formats.checks import require

__all__ = ["MAPPING_FORMAT", "AmountRule", "Cell", "DateRule", "DirectionRule", "FileRule", "Mapping", "load_mapping"]

MAPPING_FORMAT = "pyledger/mapping/v1"

_SIZE_MAX = 1 << 20
_COLUMNS_MAX = 1000


class FileRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the file is cut into cells.

    Parameters
    ----------
    delimiter : str
        One character.
    header : bool
        Whether the first line names the columns; without it they are numbered from 1.
    columns : int, optional
        How many columns every row has; must be given where there is no header.
    encoding : str
        Any of Python's text encodings.
    quote : str
        One character, or empty if quotes mean nothing.
    trim : bool
        Whether spaces around a cell are taken away.
    """

    delimiter: str
    header: bool
    columns: int | None = None
    encoding: str = "utf-8"
    quote: str = ""
    trim: bool = False


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value comes from: a column, with what an empty cell means (default: it is an error), or one constant."""

    column: str | int | None = None
    empty: str | None = None
    value: str | None = None


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which columns hold the text fields; each a header name, a number, or a ``Cell``."""

    id: str | int | Cell
    account: str | int | Cell
    counterparty_bank: str | int | Cell
    counterparty_account: str | int | Cell
    currency: str | int | Cell
    kind: str | int | Cell = Cell(value="")


class AmountRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How amounts are written.

    Parameters
    ----------
    column : str or int
    decimal_sign, thousands_sign : str
        One character; the second may be empty. Thousands come in groups of three or not at all.
    minus : {"before", "after"}
        Where a negative amount has its minus (only with signed amounts).
    bare_fraction : bool
        Whether the zero before the decimal sign may be missing (``.80``).
    power_of_ten : int
        0 to 9: the file's amounts are multiplied by 10 to this power.
    """

    column: str | int
    decimal_sign: str = "."
    thousands_sign: str = ""
    minus: Literal["before", "after"] = "before"
    bare_fraction: bool = False
    power_of_ten: int = 0


class DirectionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How money that left the account (debit) is told from money that came (credit).

    Parameters
    ----------
    convention : {"signed", "words", "debit", "credit"}
        By the amount's sign; by words in a column; or every row the same.
    minus_is : {"debit", "credit"}
        For ``signed``.
    column, debit, credit
        For ``words``: the column and the words of either.
    """

    convention: Literal["signed", "words", "debit", "credit"]
    minus_is: Literal["debit", "credit"] = "debit"
    column: str | int | None = None
    debit: tuple[str, ...] = ()
    credit: tuple[str, ...] = ()


class DateRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How value dates are written, or the one date of all rows.

    Parameters
    ----------
    column : str or int, optional
    format : str
        YYYY or YY, MM and DD, each once, with any other characters between them (``YYYY-MM-DD``, ``YYMMDD``).
    pivot : int, optional
        For YY, and then it must be given: years from it on are 19YY, below it 20YY.
    value : datetime.date, optional
        Instead of a column.
    """

    column: str | int | None = None
    format: str = "YYYY-MM-DD"
    pivot: int | None = None
    value: datetime.date | None = None


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. `currencies` gives the decimals of each currency that may occur."""

    format: str
    file: FileRule
    columns: Columns
    amount: AmountRule
    direction: DirectionRule
    date: DateRule
    currencies: dict[str, int]

    def check(self, file: str = "mapping") -> None:
        """Raise InputError, naming the entry, unless the entries are in range and fit each other."""
        require(self.format == MAPPING_FORMAT, file, "format", f"expected {MAPPING_FORMAT}", self.format)
        self._check_file(file)
        self._check_amount(file)
        self._check_direction(file)
        self._check_date(file)
        require(bool(self.currencies), file, "currencies", "expected at least one", 0)
        for code, decimals in self.currencies.items():
            require(re.fullmatch("[A-Z]{3}", code) is not None, file, "currencies", "expected three capitals", code)
            require(0 <= decimals <= 9, file, f"currencies.{code}", "expected 0 to 9 decimals", decimals)
        for name in self.columns.__struct_fields__:
            self._check_cell(file, f"columns.{name}", getattr(self.columns, name))
        for name, column in (
            ("amount", self.amount.column),
            ("date", self.date.column),
            ("direction", self.direction.column),
        ):
            if column is not None:
                self._check_column(file, f"{name}.column", column)

    def _check_file(self, file: str) -> None:
        rule = self.file
        _require_sign(file, "file.delimiter", rule.delimiter, "\r\n")
        require(
            rule.quote == "" or len(rule.quote) == 1, file, "file.quote", "expected one character or none", rule.quote
        )
        require(rule.quote != rule.delimiter, file, "file.quote", "expected other than the delimiter", rule.quote)
        require(
            rule.header or rule.columns is not None, file, "file.columns", "expected a number, as header = false", None
        )
        require(
            rule.columns is None or 1 <= rule.columns <= _COLUMNS_MAX,
            file,
            "file.columns",
            f"expected 1 to {_COLUMNS_MAX}",
            rule.columns,
        )
        try:
            codecs.lookup(rule.encoding)
        except LookupError:
            require(False, file, "file.encoding", "expected a text encoding that Python knows", rule.encoding)

    def _check_amount(self, file: str) -> None:
        rule = self.amount
        signs = "0123456789-" + self.file.delimiter * (not self.file.quote)
        _require_sign(file, "amount.decimal_sign", rule.decimal_sign, signs)
        if rule.thousands_sign:
            _require_sign(file, "amount.thousands_sign", rule.thousands_sign, signs + rule.decimal_sign)
        require(0 <= rule.power_of_ten <= 9, file, "amount.power_of_ten", "expected 0 to 9", rule.power_of_ten)

    def _check_direction(self, file: str) -> None:
        rule = self.direction
        by_words = rule.convention == "words"
        require(
            by_words == (rule.column is not None), file, "direction.column", "expected with words alone", rule.column
        )
        words = rule.debit + rule.credit
        require(by_words == bool(words), file, "direction.debit", "expected words with convention words alone", words)
        require(len(set(words)) == len(words), file, "direction.debit", "expected each word once", words)

    def _check_date(self, file: str) -> None:
        rule = self.date
        require(
            (rule.column is None) != (rule.value is None),
            file,
            "date",
            "expected a column or a value, one of both",
            rule,
        )
        tokens = re.findall("YYYY|YY|MM|DD", rule.format)
        whole = sorted(tokens) in (["DD", "MM", "YY"], ["DD", "MM", "YYYY"])
        rest = re.sub("YYYY|YY|MM|DD", "", rule.format)
        whole = whole and not re.search("[YMD0-9]", rest)
        require(whole, file, "date.format", "expected YYYY or YY, MM and DD, each once", rule.format)
        short = "YY" in tokens
        require(short == (rule.pivot is not None), file, "date.pivot", "expected with YY alone", rule.pivot)
        require(rule.pivot is None or 0 <= rule.pivot <= 100, file, "date.pivot", "expected 0 to 100", rule.pivot)

    def _check_cell(self, file: str, field: str, source: str | int | Cell) -> None:
        if not isinstance(source, Cell):
            self._check_column(file, field, source)
            return
        one = (source.column is None) != (source.value is None)
        require(one, file, field, "expected a column or a value, one of both", source)
        require(source.value is None or source.empty is None, file, field, "expected empty with a column alone", source)
        if source.column is not None:
            self._check_column(file, field, source.column)

    def _check_column(self, file: str, field: str, column: str | int) -> None:
        if self.file.header:
            require(isinstance(column, str), file, field, "expected a header name", column)
        else:
            known = isinstance(column, int) and 1 <= column <= (self.file.columns or 0)
            require(known, file, field, f"expected a column number, 1 to {self.file.columns}", column)


def load_mapping(path: str | os.PathLike[str]) -> Mapping:
    """Read and check a mapping file.

    Raises
    ------
    InputError
        If it is missing or not a mapping; names file and entry.
    StorageError
        If it cannot be read.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _SIZE_MAX:
            raise InputError(f"expected at most {_SIZE_MAX} bytes, got {file.stat().st_size}", file=file)
        mapping = msgspec.toml.decode(file.read_bytes(), type=Mapping)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError("the mapping file is missing", file=file) from error
    except OSError as error:
        raise StorageError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not a mapping file: {error}", file=file) from error
    mapping.check(str(file))
    return mapping


def _require_sign(file: str, field: str, sign: str, forbidden: str) -> None:
    require(len(sign) == 1 and sign not in forbidden, file, field, "expected one character of its own", sign)
