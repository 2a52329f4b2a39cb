"""Tables of day files: the same named columns as Parquet or as CSV, read strictly in batches and written reproducibly.

A table's columns are known beforehand: a missing, unknown or repeated column is refused by name, and a column of
another type than the table states. Memory follows the batch, not the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pyledger.errors import InputError, StorageError
from pyledger.formats.atomic import atomic_file
from pyledger.formats.columns import TEXT, Kind, Place

__all__ = ["READ_ROWS", "Column", "FileFormat", "Table", "read_batches", "read_table", "write_table"]

FileFormat = Literal["parquet", "csv"]
"""How a day's tables are kept; also the files' suffix."""

READ_ROWS = 16_384
"""Rows read at a time: a few MiB. Larger batches spend more on fresh memory than they save on calls."""

_CSV_BLOCK_BYTES = 8 << 20
_ROW_GROUP_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class Column:
    """A named column; an optional one may be missing from the file as a whole, never in single rows."""

    name: str
    kind: Kind
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one kind of file."""

    columns: tuple[Column, ...]

    def check_names(self, names: Sequence[str], file: str) -> tuple[Column, ...]:
        """Return the columns that a file with these names has, in the table's order.

        Raises
        ------
        InputError
            If a column is missing, unknown or repeated.
        """
        known = {column.name: column for column in self.columns}
        for index, name in enumerate(names):
            if name not in known:
                raise InputError(f"unknown column; expected only {', '.join(known)}", file=file, field=name)
            if name in names[:index]:
                raise InputError("the column is there more than once", file=file, field=name)
        for column in self.columns:
            if column.name not in names and not column.optional:
                raise InputError("the column is missing", file=file, field=column.name)
        return tuple(column for column in self.columns if column.name in names)


def read_batches(
    path: str | os.PathLike[str], table: Table, batch_rows: int = READ_ROWS
) -> Iterator[tuple[int, Mapping[str, pa.Array]]]:
    """Read a table file in batches, each column checked and in a canonical type.

    Parameters
    ----------
    path : path
        A ``.parquet`` or ``.csv`` file (CSV: comma, no quotes, a header line, UTF-8).
    table : Table
        The columns that must be there.
    batch_rows : int
        Most rows of a batch.

    Yields
    ------
    first_row : int
        Number of the batch's first row in the file, from 1 (a CSV header is not a row).
    columns : mapping of str to pa.Array
        Without nulls. Optional columns that the file lacks are left out.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, or holds anything that the table does not allow.
    StorageError
        If the file system cannot read it.
    """
    file = Path(path)
    read = {".parquet": _read_parquet, ".csv": _read_csv}.get(file.suffix)
    if read is None:
        raise InputError(f"expected a .parquet or .csv file, got suffix {file.suffix!r}", file=file)
    try:
        if file.stat().st_size == 0:
            raise InputError(f"the file is empty; expected at least the header of a {file.suffix[1:]} file", file=file)
        yield from read(file, table, batch_rows)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError("the file is missing", file=file) from error
    except (pa.ArrowException, UnicodeError) as error:  # ArrowInvalid and friends: what the bytes are, not the disk.
        raise _damaged(file, error) from error
    except OSError as error:
        if error.errno is None:  # Arrow reports corrupt pages and footers as OSError without a number.
            raise _damaged(file, error) from error
        raise StorageError(f"{file}: cannot be read: {error.strerror or error}") from error


WHOLE_TABLE_ROWS_MAX = 20_000_000
"""Rows of a table that is read whole (keys, accounts, statements); transfers are read in batches without a limit."""


def read_table(path: str | os.PathLike[str], table: Table) -> dict[str, pa.ChunkedArray]:
    """Read a whole table file, as ``read_batches`` does; columns that no batch has are left out."""
    batches, rows = [], 0
    for first_row, columns in read_batches(path, table):
        rows = first_row - 1 + len(next(iter(columns.values())))
        if rows > WHOLE_TABLE_ROWS_MAX:
            raise InputError(f"expected at most {WHOLE_TABLE_ROWS_MAX} rows", file=path)
        batches.append(columns)
    if not batches:
        return {column.name: pa.chunked_array([], column.kind.arrow) for column in table.columns if not column.optional}
    return {name: pa.chunked_array([batch[name] for batch in batches]).unify_dictionaries() for name in batches[0]}


def write_table(path: str | os.PathLike[str], table: Table, columns: Mapping[str, pa.Array]) -> None:
    """Write a table file whole or not at all; equal columns give equal bytes (for one version of Arrow).

    Parameters
    ----------
    path : path
        Ends in ``.parquet`` or ``.csv``.
    table : Table
        Its columns' order is the file's.
    columns : mapping of str to pa.Array
        Of the table's types; amounts may be int64, uint64 or decimal128 without decimals.

    Raises
    ------
    StorageError
        If the file could not be written; names path and reason.
    """
    file = Path(path)
    present = table.check_names(list(columns), str(file))
    data = pa.table({column.name: columns[column.name] for column in present})
    with atomic_file(file) as stream:
        if file.suffix == ".csv":
            texts = {column.name: _to_text(column, data[column.name]) for column in present}
            stream.write(",".join(texts).encode() + b"\n")
            pa_csv.write_csv(pa.table(texts), stream, pa_csv.WriteOptions(include_header=False, quoting_style="none"))
        else:
            _write_parquet(stream, data, [column.name for column in present if column.kind is TEXT])


def _write_parquet(stream: object, data: pa.Table, words: list[str]) -> None:
    pq.write_table(
        data,
        stream,
        row_group_size=_ROW_GROUP_ROWS,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=1,
        use_dictionary=words,
        write_statistics=False,
        store_schema=False,
    )


def _to_text(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([column.kind.to_text(chunk).cast(pa.string()) for chunk in values.chunks], pa.string())


def _read_parquet(file: Path, table: Table, batch_rows: int) -> Iterator[tuple[int, Mapping[str, pa.Array]]]:
    metadata = pq.read_metadata(file)
    schema = metadata.schema.to_arrow_schema()
    present = table.check_names(schema.names, str(file))
    for column in present:
        found = schema.field(column.name).type
        if not column.kind.accepts(found):
            raise InputError(f"expected {column.kind.expected}, got type {found}", file=file, field=column.name)
    words = [column.name for column in present if column.kind is TEXT]
    with pq.ParquetFile(file, metadata=metadata, read_dictionary=words) as source:
        first_row = 1
        for batch in source.iter_batches(batch_rows):
            yield (
                first_row,
                {
                    column.name: column.kind.read(batch.column(column.name), Place(str(file), column.name, first_row))
                    for column in present
                },
            )
            first_row += batch.num_rows
    _check_row_counts(file, metadata, first_row - 1)


def _check_row_counts(file: Path, metadata: pq.FileMetaData, rows_read: int) -> None:
    """Refuse a file whose several row counts disagree: Arrow itself believes the first one that it meets."""
    counts = {metadata.num_rows, rows_read}
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    counts.add(sum(group.num_rows for group in groups))
    for place in range(metadata.num_columns):
        if metadata.schema.column(place).max_repetition_level == 0:
            counts.add(sum(group.column(place).num_values for group in groups))
    if len(counts) > 1:
        raise InputError(f"not a whole parquet file: its row counts disagree: {sorted(counts)}", file=file)


def _read_csv(file: Path, table: Table, batch_rows: int) -> Iterator[tuple[int, Mapping[str, pa.Array]]]:
    with _open_csv(file, table) as source:
        present = table.check_names(source.schema.names, str(file))
        first_row = 1
        for block in source:
            for start in range(0, block.num_rows, batch_rows):
                batch = block.slice(start, batch_rows)
                yield (
                    first_row,
                    {
                        column.name: column.kind.parse(
                            batch.column(column.name), Place(str(file), column.name, first_row)
                        )
                        for column in present
                    },
                )
                first_row += batch.num_rows


def _open_csv(file: Path, table: Table) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        file,
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types={column.name: pa.string() for column in table.columns}, strings_can_be_null=False
        ),
    )


def _damaged(file: Path, error: Exception) -> InputError:
    """Say what Arrow could not read; where it counts rows, its first one is the CSV header."""
    message = (str(error) or type(error).__name__).splitlines()[0]
    row = re.search(r"Row #([0-9]+): (.*)", message)
    if row is None:
        return InputError(f"not a whole {file.suffix[1:]} file: {message}", file=file)
    return InputError(f"not a whole row: {row[2]}", file=file, row=int(row[1]) - 1)
