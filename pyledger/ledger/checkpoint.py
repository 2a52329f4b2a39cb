"""A book out to named arrays and back: what a snapshot file holds, so that opening executes the newest blocks only.

The state tree is built anew from the accounts and must have the root that the header of that height says, so no account
can differ; segments and block files are checked by the engine's store. Keys, mandates and pending transfers, to which
no root commits, rest on the digests of the snapshot file. `audit()` executes all blocks and believes none of this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.crypto.state_tree import StateTree
from pyledger.errors import LedgerError, StorageError
from pyledger.ledger.authority import Authority
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Header
from pyledger.ledger.book import Book, Resumed, new_state_tree
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.snapshots import SnapshotWriter
from pyledger.ledger.store import ACCOUNT_COLUMNS, SNAPSHOT_DTYPES, SnapshotTaker, restore_engine

__all__ = ["BookCheckpoint", "restore_book"]


class BookCheckpoint:
    """A snapshot of a book in the making. A context manager, as `SnapshotTaker` is.

    Parameters
    ----------
    book : Book
        Between two blocks, all of its blocks told to the engine's store. After this only `write` is called, and then
        the book may go on.
    headers : list of Header
        Of all its blocks.

    Attributes
    ----------
    height, tip, records_count
        Of the book.
    segments : NDArray[uint8]
        Rows of the engine's segments.
    """

    def __init__(self, book: Book, headers: list[Header]) -> None:
        self._taker = SnapshotTaker(book.engine)
        self._state = book.state
        self._headers = headers[:]
        self._book_arrays: dict[str, NDArray[Any]] = {
            "book.counts": np.array([book.height, book.next_time_ns], np.uint64),
            "book.tip": np.frombuffer(book.tip, np.uint8),
            **{f"authority.{name}": array for name, array in book.authority.dump().items()},
        }
        self.height = book.height
        self.tip = book.tip
        self.records_count = book.records_count
        self.segments = self._taker.arrays["segments"]

    def __enter__(self) -> BookCheckpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._taker.__exit__()

    def write(self, folder: Path) -> None:
        """Make it the newest snapshot of a folder; copies the accounts while the book goes on.

        Parameters
        ----------
        folder : Path

        Raises
        ------
        StorageError
            As `SnapshotWriter`.
        """
        whole = {name: np.ascontiguousarray(array).reshape(-1).view(np.uint8) for name, array in self._arrays().items()}
        count = self._taker.account_count
        sizes = {name: data.nbytes for name, data in whole.items()}
        sizes |= {f"engine.{name}": count * SNAPSHOT_DTYPES[name][0].itemsize for name in ACCOUNT_COLUMNS}
        with SnapshotWriter(folder, self.height, sizes, binding=self.tip, threads=1) as writer:
            for name, data in whole.items():
                writer.append(name, data.data)
            for piece in self._taker.accounts():
                for name, column in piece.items():
                    writer.append(f"engine.{name}", column.view(np.uint8).data)
            writer.finish()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """All but the accounts."""
        arrays: dict[str, NDArray[Any]] = self._book_arrays | {
            f"engine.{name}": array for name, array in self._taker.arrays.items()
        }
        order = self._state.order()  # of the tree as it is now: accounts that came since have higher slots
        arrays["book.order"] = order[order <= self._taker.account_count]
        paths = arrays["engine.block_files"].tobytes().split(b"\0")[:-1]
        names = b"".join(os.path.basename(path) + b"\0" for path in paths)  # the ledger's folder may be moved
        arrays["engine.block_files"] = np.frombuffer(names, np.uint8)
        arrays["book.headers"] = np.frombuffer(b"".join(header.to_bytes() for header in self._headers), np.uint8)
        return arrays


def restore_book(
    genesis: Genesis, sections: Mapping[str, NDArray[np.uint8]], *, segments: Path, blocks: Path
) -> tuple[Book, list[Header]]:
    """Return the book and the headers of its blocks.

    Parameters
    ----------
    genesis : Genesis
    sections : mapping of str to NDArray[uint8]
        Of a file that `BookCheckpoint.write` wrote.
    segments, blocks : Path
        Folders of the segments and of the journal's files.

    Raises
    ------
    StorageError
        If the sections, or files that they name, are not those of a book of this genesis.
    """
    try:
        headers = _headers(sections["book.headers"])
        height, next_time_ns = sections["book.counts"].view("<u8").tolist()
        if len(headers) != height or headers[-1].hash != sections["book.tip"].tobytes():
            raise StorageError("snapshot: its headers are not those of its height")
        if headers[-1].chain_id != genesis.chain_id:
            raise StorageError("snapshot: of another chain")
        arrays = _engine_arrays(sections, blocks)
        order = sections["book.order"].view("<u4")
        with ThreadPoolExecutor(1) as beside:
            state = beside.submit(_state_tree, arrays, order, headers[-1].state_root)
            engine = restore_engine(arrays, segments)
        resumed = Resumed(
            height=height,
            tip=headers[-1].hash,
            next_time_ns=next_time_ns,
            history=_history(headers),
            engine=engine,
            authority=_authority(genesis, sections),
            state=state.result(),
        )
        return Book(genesis, resumed), headers
    except StorageError:
        raise
    except (LedgerError, KeyError, ValueError, IndexError) as error:
        raise StorageError(f"snapshot: not that of a book: {error!r}") from error


def _headers(data: NDArray[np.uint8]) -> list[Header]:
    return [Header.from_bytes(row.tobytes()) for row in data.reshape(-1, Header.SIZE)]


def _engine_arrays(sections: Mapping[str, NDArray[np.uint8]], blocks: Path) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, (dtype, width) in SNAPSHOT_DTYPES.items():
        section = sections[f"engine.{name}"]
        arrays[name] = section.reshape(-1, width) if width else section.view(dtype)
    names = arrays["block_files"].tobytes().split(b"\0")[:-1]
    paths = b"".join(os.fsencode(blocks) + b"/" + name + b"\0" for name in names)
    arrays["block_files"] = np.frombuffer(paths, np.uint8)
    return arrays


def _authority(genesis: Genesis, sections: Mapping[str, NDArray[np.uint8]]) -> Authority:
    public_keys = sections["authority.public_keys"].reshape(-1, 32)
    sequences = sections["authority.sequences"].view("<u8").reshape(-1, 3)
    office = sections["authority.office"]
    return Authority.load(genesis, {"public_keys": public_keys, "sequences": sequences, "office": office})


def _history(headers: list[Header]) -> merkle.Log:
    """The log of header hashes; the last header says what it was before it."""
    log = merkle.Log()
    log.extend(np.frombuffer(b"".join(header.hash for header in headers), np.uint8).reshape(-1, 32))
    if log.root_at(log.size - 1) != headers[-1].history_root:
        raise StorageError("snapshot: its headers are not those that the last one follows")
    return log


def _state_tree(arrays: Mapping[str, NDArray[Any]], order: NDArray[np.uint32], root: bytes) -> StateTree:
    leaves = np.empty(len(arrays["accounts"]), ACCOUNT_ENTRY)
    leaves["record"], leaves["owner_key"] = arrays["accounts"], arrays["owners"]
    leaves["institution"] = arrays["key_institutions"][arrays["owners"]]
    tree = new_state_tree()
    keys = np.ascontiguousarray(leaves["record"]["id"])
    tree.load(keys, leaves.view(np.uint8).reshape(-1, ACCOUNT_ENTRY.itemsize), order)
    if tree.root() != root:
        raise StorageError("snapshot: its accounts do not have the state root of its last header")
    return tree
