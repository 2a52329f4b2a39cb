"""An institution's own statement: what it booked with its counterparties, row by row, to be matched with the ledger."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from pyledger.formats.columns import AMOUNT, DATE, ROWS, TEXT, Place, fixed_bytes, unsigned
from pyledger.formats.tables import Column, Table, read_table

__all__ = ["BREAKS_TRUTH", "REFUSALS_TRUTH", "STATEMENT", "read_statement"]

STATEMENT = Table(
    (
        Column("row", unsigned(32)),
        Column("value_date", DATE),
        Column("reference", fixed_bytes(16)),
        Column("account", fixed_bytes(16)),
        Column("counterparty_institution", TEXT),
        Column("counterparty_account", fixed_bytes(16)),
        Column("currency", TEXT),
        Column("direction", TEXT),
        Column("amount_minor", AMOUNT),
    )
)
"""Statement rows. `direction` is D (money left `account`) or C (money came); `reference` is the transfer's id."""

BREAKS_TRUTH = Table(
    (
        Column("institution", TEXT),
        Column("kind", TEXT),
        Column("statement_rows", ROWS),
        Column("transfer_id", fixed_bytes(16)),
    )
)
"""The breaks planted in a sample: whose statement, the kind's label, its rows there, the transfer (zero: none)."""

REFUSALS_TRUTH = Table(
    (
        Column("institution", TEXT),
        Column("row", unsigned(32)),
        Column("transfer_id", fixed_bytes(16)),
        Column("result", TEXT),
    )
)
"""The refusals planted in a sample: whose transfers file, the row there, the transfer's id, the result code's name."""


def read_statement(path: str | os.PathLike[str], currencies: list[str], bics: list[str]) -> pa.Table:
    """Read a statement as an Arrow table of STATEMENT's columns.

    Parameters
    ----------
    path : path
    currencies, bics : list of str
        The currency codes and institutions that may occur.

    Returns
    -------
    pa.Table
        `row` uint32, `value_date` date32, `reference`, `account`, `counterparty_account` 16 bytes,
        `counterparty_institution`, `currency`, `direction` dictionary of str, `amount_minor` int64.

    Raises
    ------
    InputError
        If the file is not what STATEMENT says, rows are not numbered 1, 2, ..., a word is not one of those that may
        occur, or an amount is zero or 2**63 or more; names file, row and field.
    """
    table = pa.table(read_table(path, STATEMENT)).combine_chunks()
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    file = str(path)
    numbers = columns["row"].to_numpy()
    rising = np.arange(1, len(numbers) + 1, dtype=np.uint32)
    Place(file, "row").refuse(numbers != rising, columns["row"], "rows numbered 1, 2, 3 and so on")
    for field, words in (("currency", currencies), ("counterparty_institution", bics), ("direction", ["D", "C"])):
        _refuse_words(columns[field], words, Place(file, field))
    columns["amount_minor"] = _to_int64(columns["amount_minor"], Place(file, "amount_minor"))
    return pa.table(columns)


def _refuse_words(column: pa.DictionaryArray, words: list[str], place: Place) -> None:
    known = np.array([word in words for word in column.dictionary.to_pylist()] or [True])
    place.refuse(~known[column.indices.to_numpy()], column, f"one of {', '.join(words)}")


def _to_int64(column: pa.Array, place: Place) -> pa.Array:
    wide = column.cast(pa.decimal128(38, 0)) if not pa.types.is_decimal(column.type) else column
    limit = pa.scalar(2**63 - 1, pa.int64()).cast(pa.decimal128(38, 0))
    too_large = pa.compute.greater(wide, limit).to_numpy(zero_copy_only=False)
    is_zero = pa.compute.equal(wide, pa.scalar(0).cast(wide.type)).to_numpy(zero_copy_only=False)
    place.refuse(too_large | is_zero, column, "an amount in minor units from 1 to 2**63 - 1")
    return wide.cast(pa.int64())
