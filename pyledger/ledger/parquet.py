"""Blocks as Parquet files for DuckDB, Polars and pandas. docs/parquet-schema.md has the schema.

A file holds the rows of a range of blocks and says in its metadata which chain and which blocks they are from. Files
come whole or not at all, and the file of transfers last: an export that was stopped goes on behind the last one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pyledger.crypto import merkle
from pyledger.errors import InputError, ProofError, StorageError
from pyledger.formats.atomic import atomic_file, make_folder, write_atomic
from pyledger.ledger.arrow import pyarrow
from pyledger.ledger.blocks import Header, transfer_leaves
from pyledger.ledger.feed import BlockRows
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.rows import accounts_schema, expired_schema, transfers_schema
from pyledger.types import TRANSFER

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Exported", "check_file", "export_blocks"]

_VERSION: Final = "2"
_VERSIONS_BEFORE: Final = ("1",)
_LAST: Final = "transfers"  # its file is written last
_TABLES: Final = ("accounts", "expiries", _LAST)
_NAME: Final = re.compile(r"(\d{12,})-(\d{12,})\.parquet")
_CHAIN_FILE: Final = "chain.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, and what was there before.

    Parameters
    ----------
    first, last : int
        Heights of the blocks that the folder holds now; last is first - 1 if there are none.
    files : int
        Files written by this call.
    transfers : int
        Rows of transfers in them.
    """

    first: int
    last: int
    files: int
    transfers: int


def export_blocks(
    folder: Path,
    genesis: Genesis,
    headers: Iterable[Header],
    rows: Callable[[int], BlockRows],
    heights: tuple[int, int],
    blocks_per_file: int,
    progress: Callable[[int], None] | None,
) -> Exported:
    """Write what a folder does not hold yet of some blocks.

    Parameters
    ----------
    folder : Path
        New, empty, or of an earlier export of the same chain that began at the same height.
    genesis : Genesis
    headers : iterable of Header
        From height 1 on.
    rows : callable
        Gives the rows of the block at a height.
    heights : tuple of (first, last)
    blocks_per_file : int
    progress : callable, optional
        Called with the height after each block.

    Raises
    ------
    InputError
        If the folder holds something else.
    StorageError
        If it can't be written; what was finished stays.
    """
    if blocks_per_file < 1:
        raise InputError(f"blocks_per_file: expected at least 1, got {blocks_per_file}")
    first, last = heights
    chain = list(headers)
    _claim(folder, genesis)
    start = _done(folder, first)
    _remove_unfinished(folder, start)
    files = transfers = 0
    for low in range(start, last + 1, blocks_per_file):
        high = min(low + blocks_per_file - 1, last)
        metadata = _metadata(genesis, chain[low - 1 : high])
        transfers += _write_range(folder, low, high, metadata, rows, progress)
        files += len(_TABLES)
    return Exported(first, max(start - 1, last), files, transfers)


def check_file(path: Path) -> int:
    """Check a file of transfers against the roots and block hashes in its metadata; returns the number of its rows.

    The hashes themselves must come from somewhere that is trusted: a header, a checkpoint, a receipt.

    Raises
    ------
    ProofError
        If a row is not what its block holds.
    """
    file = _parquet().ParquetFile(path)
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    chain_id, first = bytes.fromhex(metadata["chain_id"]), int(metadata["first_height"])
    headers = [Header.from_bytes(bytes.fromhex(header)) for header in json.loads(metadata["headers"])]
    if [header.hash.hex() for header in headers] != json.loads(metadata["block_hashes"]):
        raise ProofError(f"{path}: a header does not have the hash that is named for it")
    if [header.height for header in headers] != list(range(first, int(metadata["last_height"]) + 1)):
        raise ProofError(f"{path}: the headers are not those of the heights that are named")
    rows = 0
    for group, header in enumerate(header for header in headers if header.transfers_count):
        table = file.read_row_group(group, columns=["height", "record"])
        if set(table["height"].to_pylist()) != {header.height}:
            raise ProofError(f"{path}: row group {group}: expected rows of block {header.height}")
        records = np.frombuffer(b"".join(table["record"].to_pylist()), TRANSFER)
        if merkle.root(transfer_leaves(chain_id, records)) != header.transfers_root:
            raise ProofError(f"{path}: block {header.height}: field 'transfers_root': the rows have another root")
        rows += table.num_rows
    if rows != file.metadata.num_rows:
        raise ProofError(f"{path}: {file.metadata.num_rows - rows} rows belong to no block")
    return rows


def _write_range(
    folder: Path,
    low: int,
    high: int,
    metadata: dict[str, str],
    rows: Callable[[int], BlockRows],
    progress: Callable[[int], None] | None,
) -> int:
    """One file for each table; returns the number of transfers."""
    small: dict[str, list[Any]] = {"accounts": [], "expiries": []}
    path = folder / _LAST / _file_name(low, high)

    def batches() -> Iterator[pa.RecordBatch]:
        for height in range(low, high + 1):
            block = rows(height)
            small["accounts"].append(block.accounts)
            small["expiries"].append(block.expired)
            yield block.transfers_with_records()
            if progress is not None:
                progress(height)

    schemas = {"accounts": accounts_schema(), "expiries": expired_schema()}
    with atomic_file(path) as stream:
        count = _write(stream, _with_records(transfers_schema()), batches(), metadata)
        for table, schema in schemas.items():
            with atomic_file(folder / table / path.name) as other:
                _write(other, schema, small[table], metadata)
    return count


def _write(stream: Any, schema: pa.Schema, batches: Iterable[pa.RecordBatch], metadata: dict[str, str]) -> int:
    """A row group for each batch that has rows."""
    count = 0
    with _parquet().ParquetWriter(stream, schema.with_metadata(metadata), compression="zstd") as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_table(pyarrow().Table.from_batches([batch]), row_group_size=batch.num_rows)
                count += batch.num_rows
    return count


def _with_records(schema: pa.Schema) -> pa.Schema:
    pa = pyarrow()
    return schema.append(pa.field("record", pa.binary(TRANSFER.itemsize), False))


def _metadata(genesis: Genesis, headers: list[Header]) -> dict[str, str]:
    return {
        "pyledger": _VERSION,
        "chain_id": genesis.chain_id.hex(),
        "genesis_hash": genesis.hash.hex(),
        "first_height": str(headers[0].height),
        "last_height": str(headers[-1].height),
        "block_hashes": json.dumps([header.hash.hex() for header in headers]),
        "transfers_roots": json.dumps([header.transfers_root.hex() for header in headers]),
        "headers": json.dumps([header.to_bytes().hex() for header in headers]),
    }


def _claim(folder: Path, genesis: Genesis) -> None:
    """Make the folders, or see that they are of an earlier export of this chain."""
    content = _described(genesis, _VERSION)
    path = make_folder(folder) / _CHAIN_FILE
    try:
        if path.exists() and (held := path.read_bytes()) != content:
            if held in (_described(genesis, version) for version in _VERSIONS_BEFORE):
                raise InputError(
                    "the folder holds an export with columns of an earlier version: expected a new folder", file=path
                )
            raise InputError("the folder holds an export of another chain", file=path)
        if not path.exists() and any(not child.name.startswith(".") for child in folder.iterdir()):
            raise InputError("the folder is not empty and holds no export", file=folder)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not path.exists():
        write_atomic(path, content)
    for table in _TABLES:
        make_folder(folder / table)


def _described(genesis: Genesis, version: str) -> bytes:
    """Content of the chain file."""
    described = {
        "version": version,
        "name": genesis.name,
        "chain_id": genesis.chain_id.hex(),
        "genesis_hash": genesis.hash.hex(),
        "currencies": [[currency.ledger, currency.code, currency.decimals] for currency in genesis.currencies],
        "institutions": [institution.bic for institution in genesis.institutions],
    }
    return json.dumps(described, indent=1).encode() + b"\n"


def _done(folder: Path, first: int) -> int:
    """The height to go on with; InputError if the files are not one range from `first` on."""
    expected = first
    for low, high, path in _files(folder / _LAST):
        if low != expected:
            raise InputError(f"expected a file from height {expected} on: the folder holds other heights", file=path)
        expected = high + 1
    return expected


def _remove_unfinished(folder: Path, start: int) -> None:
    """Files of ranges of which the last file is missing, and temporary ones."""
    try:
        for table in _TABLES:
            for low, _, path in _files(folder / table):
                if low >= start:
                    path.unlink()
            for path in (folder / table).glob(".*.parquet.*.tmp"):
                path.unlink()
    except OSError as error:
        raise StorageError(f"{folder}: cannot be tidied: {error.strerror or error}") from error


def _files(folder: Path) -> list[tuple[int, int, Path]]:
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), int(match[2]), path) for match, path in found if match)


def _file_name(low: int, high: int) -> str:
    return f"{low:012d}-{high:012d}.parquet"


def _parquet() -> Any:
    pyarrow()  # says how to get it
    return import_module("pyarrow.parquet")
