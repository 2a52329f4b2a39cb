"""The checking half of a day: what the ledger holds, netted and set against each institution's own statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pyledger.clearing.netting import NetPositions, Netting
from pyledger.errors import InputError
from pyledger.formats.columns import to_bytes_matrix
from pyledger.formats.day_header import DayHeader
from pyledger.formats.statements import BREAKS_TRUTH, REFUSALS_TRUTH, read_statement
from pyledger.formats.tables import read_table
from pyledger.jobs.day_posting import Progress, Refusal
from pyledger.ledger.blocks import Block
from pyledger.node.embedded import Ledger
from pyledger.reconciliation.breaks import BreakKind
from pyledger.reconciliation.matching import Reconciliation, reconcile
from pyledger.types import TransferFlags, u128_from_bytes, u128_ints, u128_to_bytes

__all__ = [
    "DayReconciliation",
    "Movements",
    "movements",
    "net_day",
    "reconcile_day",
    "transfer_id_of_break",
    "unexplained_breaks",
    "unexplained_refusals",
]

_NO_MONEY = TransferFlags.PENDING | TransferFlags.VOID_PENDING_TRANSFER
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Movements:
    """Money that moved in one block, with the institutions of both sides; columns of shape (n,)."""

    ids: NDArray[Any]
    debit_accounts: NDArray[Any]
    credit_accounts: NDArray[Any]
    payers: NDArray[np.uint32]
    payees: NDArray[np.uint32]
    ledgers: NDArray[np.uint32]
    amounts: NDArray[Any]
    value_days: NDArray[np.int32]

    def take(self, rows: NDArray[Any]) -> Movements:
        """The rows of a mask or index."""
        return Movements(*(getattr(self, name)[rows] for name in self.__slots__))


def movements(ledger: Ledger, block: Block) -> Movements:
    """Transfers of a block that moved money (not pending ones), with the amounts really posted."""
    body = block.body
    moved = body.transfers["flags"] & _NO_MONEY == 0
    records = ledger.resolved(body.transfers[moved])
    amounts = body.effects[moved] if len(body.effects) else np.ascontiguousarray(records["amount"])
    payers, _ = ledger.account_places(np.ascontiguousarray(records["debit_account_id"]))
    payees, _ = ledger.account_places(np.ascontiguousarray(records["credit_account_id"]))
    return Movements(
        np.ascontiguousarray(records["id"]),
        np.ascontiguousarray(records["debit_account_id"]),
        np.ascontiguousarray(records["credit_account_id"]),
        payers,
        payees,
        np.ascontiguousarray(records["ledger"]),
        amounts,
        (records["timestamp"] // _DAY_NS).astype(np.int32),
    )


def net_day(ledger: Ledger, progress: Progress) -> NetPositions:
    """Multilateral positions of the institutions over everything in the ledger."""
    netting = Netting(len(ledger.genesis.institutions))
    for moved in _all_movements(ledger, "net", progress):
        netting.add(moved.payers, moved.payees, moved.ledgers, moved.amounts)
    return netting.positions()


def reconcile_day(header: DayHeader, folder: Path, ledger: Ledger, progress: Progress) -> dict[str, DayReconciliation]:
    """Match what the ledger says of each institution's dealings with others against its statement.

    Returns
    -------
    dict of str to DayReconciliation
        By BIC.
    """
    bics = [member.bic for member in header.institutions]
    sides: list[list[dict[str, NDArray[Any]]]] = [[] for _ in bics]
    for moved in _all_movements(ledger, "collect", progress):
        between = moved.take(moved.payers != moved.payees)
        for institution, parts in enumerate(sides):
            parts.append(_side(between.take(between.payers == institution), -1))
            parts.append(_side(between.take(between.payees == institution), +1))
    results = {}
    for institution, bic in enumerate(bics):
        path = folder / header.table_path(institution, "statement")
        statement = _statement_side(read_statement(path, list(header.ledgers), bics), header, bics)
        ours = {name: np.concatenate([part[name] for part in sides[institution]]) for name in _SIDE_COLUMNS}
        ours["row"] = np.arange(1, len(ours["ledger"]) + 1)
        found = reconcile(ours, statement)
        results[bic] = DayReconciliation(found, ours["reference"])
        progress("reconcile", institution + 1, len(bics))
    return results


@dataclass(frozen=True, slots=True)
class DayReconciliation:
    """One institution's reconciliation, with the transfer id of each row of the ledger's side, (n, 16) big-endian."""

    found: Reconciliation
    ledger_ids: NDArray[np.uint8]


_SIDE_COLUMNS = (
    "reference",
    "account",
    "counterparty_institution",
    "counterparty_account",
    "ledger",
    "direction",
    "amount_minor",
    "value_date",
)


def _all_movements(ledger: Ledger, stage: str, progress: Progress) -> Iterator[Movements]:
    for height in range(1, ledger.height + 1):
        yield movements(ledger, ledger.block(height))
        progress(stage, height, ledger.height)


def _side(moved: Movements, direction: int) -> dict[str, NDArray[Any]]:
    """Rows as the institution on one side of the movements sees them: -1 as payer, +1 as payee."""
    paying = direction < 0
    if moved.amounts["hi"].any() or (moved.amounts["lo"] >> np.uint64(63)).any():
        raise InputError("reconciliation takes amounts below 2**63 minor units", file="ledger", field="amount")
    return {
        "reference": u128_to_bytes(moved.ids),
        "account": u128_to_bytes(moved.debit_accounts if paying else moved.credit_accounts),
        "counterparty_institution": moved.payees if paying else moved.payers,
        "counterparty_account": u128_to_bytes(moved.credit_accounts if paying else moved.debit_accounts),
        "ledger": moved.ledgers,
        "direction": np.full(len(moved.ids), direction, np.int8),
        "amount_minor": moved.amounts["lo"].astype(np.int64),
        "value_date": moved.value_days,
    }


def _statement_side(table: pa.Table, header: DayHeader, bics: list[str]) -> dict[str, NDArray[Any]]:
    """A statement's columns in the numbers of the ledger."""
    institutions = {bic: index for index, bic in enumerate(bics)}
    return {
        "row": table["row"].to_numpy().astype(np.int64),
        "reference": _ids(table["reference"]),
        "account": _ids(table["account"]),
        "counterparty_institution": _numbers(table["counterparty_institution"], institutions, np.uint32),
        "counterparty_account": _ids(table["counterparty_account"]),
        "ledger": _numbers(table["currency"], header.ledgers, np.uint32),
        "direction": _numbers(table["direction"], {"D": -1, "C": +1}, np.int8),
        "amount_minor": table["amount_minor"].to_numpy(),
        "value_date": table["value_date"].cast(pa.int32()).to_numpy(),
    }


def _ids(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    return to_bytes_matrix(column.combine_chunks())


def _numbers(column: pa.ChunkedArray, number_of: Mapping[str, int], dtype: type[np.generic]) -> NDArray[Any]:
    """Words of a dictionary column as the numbers they stand for."""
    words = column.combine_chunks()
    numbers = np.array([number_of[word] for word in words.dictionary.to_pylist()] or [0], dtype)
    found: NDArray[Any] = numbers[words.indices.to_numpy()]
    return found


def transfer_id_of_break(result: DayReconciliation, place: int) -> int:
    """Transfer id of the ledger row of a break; 0 where only the statement has the row."""
    row = int(result.found.breaks.row_ledger[place])
    return int.from_bytes(result.ledger_ids[row - 1].tobytes()) if row else 0


def unexplained_breaks(results: Mapping[str, DayReconciliation], truth: Path) -> int:
    """Breaks found but not planted, and planted but not found, by a sample's truth file."""
    found = {
        (bic, BreakKind(kind).label, tuple(rows), transfer_id_of_break(result, place))
        for bic, result in results.items()
        for place, (kind, rows) in enumerate(
            zip(result.found.breaks.kind.tolist(), result.found.breaks.rows_statement, strict=True)
        )
    }
    columns = read_table(truth, BREAKS_TRUTH)
    planted = zip(
        columns["institution"].to_pylist(),
        columns["kind"].to_pylist(),
        map(tuple, columns["statement_rows"].to_pylist()),
        _id_numbers(columns["transfer_id"]),
        strict=True,
    )
    return len(found ^ set(planted))


def unexplained_refusals(refused: Iterable[Refusal], truth: Path) -> int:
    """Refusals that happened but were not planted, and the other way round, by a sample's truth file."""
    columns = read_table(truth, REFUSALS_TRUTH)
    planted = zip(
        columns["institution"].to_pylist(),
        columns["row"].to_pylist(),
        _id_numbers(columns["transfer_id"]),
        columns["result"].to_pylist(),
        strict=True,
    )
    return len(set(refused) ^ {Refusal(*row) for row in planted})


def _id_numbers(column: pa.ChunkedArray) -> list[int]:
    return u128_ints(u128_from_bytes(_ids(column)))
