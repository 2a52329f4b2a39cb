"""Reconciliation of the ledger's rows with a statement's: pairs, and breaks that say what the rest is.

First every row that stands on both sides with all fields equal is paired, equal rows one to one. Then the rules of
`rules` explain what is left. Every row of both sides ends up in exactly one pair or break (or both, where a pair
differs), the same for any order of the rows, any key and any number of threads.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError
from pyledger.reconciliation.breaks import BreakKind, Breaks, BreaksBuilder, import_pyarrow
from pyledger.reconciliation.columns import FIELDS, Key, Side, read_sides
from pyledger.reconciliation.pairing import WORKING_BYTES_PER_ROW, Pairing, Resources, is_paired, pair
from pyledger.reconciliation.rules import PAIR, Cascade, MatchRule, describe

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PAIR", "MatchRule", "Reconciliation", "reconcile"]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a reconciliation found.

    Parameters
    ----------
    pairs : NDArray, shape (n,), PAIR
        By ledger row, then statement row. Pairs of every rule but EXACT belong to a break.
    breaks : Breaks
    ledger_rows, statement_rows : int
        Rows read on each side.
    """

    pairs: NDArray[np.void]
    breaks: Breaks
    ledger_rows: int
    statement_rows: int

    def pairs_to_arrow(self) -> pa.Table:
        """Return columns row_ledger, row_statement, rule and evidence (dictionaries), suggested.

        Raises
        ------
        ImportError
            If pyarrow is not installed.
        """
        pa = import_pyarrow("a table of pairs")
        rule = pa.array(np.ascontiguousarray(self.pairs["rule"]))
        return pa.table(
            {
                "row_ledger": np.ascontiguousarray(self.pairs["row_ledger"]),
                "row_statement": np.ascontiguousarray(self.pairs["row_statement"]),
                "rule": pa.DictionaryArray.from_arrays(rule, pa.array([rule.label for rule in MatchRule])),
                "evidence": pa.DictionaryArray.from_arrays(rule, pa.array([rule.evidence for rule in MatchRule])),
                "suggested": np.ascontiguousarray(self.pairs["suggested"]),
            }
        )

    def summary(self) -> dict[str, Any]:
        """Return the counts: rows, pairs by rule, breaks by kind, suggestions; plain values for JSON."""
        by_rule = np.bincount(self.pairs["rule"], minlength=len(MatchRule))
        return {
            "ledger_rows": self.ledger_rows,
            "statement_rows": self.statement_rows,
            "pairs": {rule.label: int(by_rule[rule]) for rule in MatchRule},
            "breaks": self.breaks.counts(),
            "breaks_total": len(self.breaks),
            "breaks_suggested": int(self.breaks.suggested.sum()),
        }


def reconcile(
    ledger: Any,
    statement: Any,
    *,
    threads: int = 0,
    memory_max_bytes: int = 1 << 33,
    unequal_rows_max: int = 2_000_000,
    key: bytes | None = None,
) -> Reconciliation:
    """Reconcile two records of the same transfers.

    Parameters
    ----------
    ledger, statement : Arrow table (anything with ``__arrow_c_stream__``), or mapping of str to NDArray
        Columns as ``columns.read_sides`` has them: row, reference, account, counterparty_institution,
        counterparty_account, ledger, direction, amount_minor, value_date. At most 2**31 - 1 rows each.
    threads : int, optional
        0 means all cores.
    memory_max_bytes : int, optional
        Cap on the memory that the pairing takes beyond the columns: 32 bytes for each row of both sides (and 18 more
        for each pair of the result).
    unequal_rows_max : int, optional
        Most rows of both sides that may have no equal on the other: each costs some 30 microseconds and a kilobyte to
        explain, and books that differ more are hardly records of the same transfers.
    key : bytes, optional
        16 bytes that whoever made the rows cannot know; drawn afresh by default. The result doesn't depend on it.

    Returns
    -------
    Reconciliation

    Raises
    ------
    ImportError
        If a side is an Arrow table and pyarrow is not installed.
    InputError
        If a side is not as expected (names side, row and field), the rows need more memory than allowed, or more rows
        than allowed have no equal.

    Notes
    -----
    Of rows that are equal in every field, the last ones by row number count as the duplicates.
    """
    resources = Resources(_key_words(secrets.token_bytes(16) if key is None else key), threads)
    ours, theirs = read_sides(ledger, statement, resources.key)
    needed = WORKING_BYTES_PER_ROW * (len(ours) + len(theirs))
    if needed > memory_max_bytes:
        raise InputError(f"memory_max_bytes: {len(ours) + len(theirs)} rows need {needed}, got {memory_max_bytes}")
    pairing = pair(ours, theirs, FIELDS, resources)
    _require_like_books(pairing, unequal_rows_max)
    breaks = BreaksBuilder()
    _duplicates(ours, theirs, pairing, breaks)
    rest_of_ledger = np.flatnonzero(~is_paired(pairing.ledger))
    rest_of_statement = np.flatnonzero(pairing.statement["others"] == 0)
    exact = _exact_pairs(ours, theirs, pairing)
    del pairing
    explained = Cascade(ours.take(rest_of_ledger), theirs.take(rest_of_statement), resources, breaks).run()
    pairs = np.insert(exact, np.searchsorted(exact["row_ledger"], explained["row_ledger"]), explained)
    return Reconciliation(pairs, breaks.build(), len(ours), len(theirs))


def _key_words(key: bytes) -> Key:
    if len(key) != 16:
        raise InputError(f"key: expected 16 bytes, got {len(key)}")
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def _require_like_books(pairing: Pairing, unequal_rows_max: int) -> None:
    ours, theirs = (int((~is_paired(half)).sum()) for half in (pairing.ledger, pairing.statement))
    if ours + theirs > unequal_rows_max:
        raise InputError(
            f"{ours} of {len(pairing.ledger)} ledger rows and {theirs} of {len(pairing.statement)} statement rows have "
            f"no equal on the other side, expected at most {unequal_rows_max}: are these records of the same transfers?"
        )


def _exact_pairs(ledger: Side, statement: Side, pairing: Pairing) -> NDArray[np.void]:
    ours, theirs = pairing.pairs()
    pairs = np.zeros(len(ours), PAIR)
    pairs["row_ledger"] = ledger.rows[ours]
    pairs["row_statement"] = statement.rows[theirs]
    return pairs


def _duplicates(ledger: Side, statement: Side, pairing: Pairing, breaks: BreaksBuilder) -> None:
    """Statement rows equal to a ledger row that is paired already."""
    half = pairing.statement
    for position in np.flatnonzero((half["others"] > 0) & ~is_paired(half)).tolist():
        original, in_ledger = int(half["partner"][position]), half["others"][position]
        detail = f"the statement has the row {pairing.ledger['others'][original]} times, the ledger {in_ledger}"
        breaks.add(
            BreakKind.DUPLICATE_IN_STATEMENT,
            int(ledger.rows[original]),
            (int(statement.rows[position]),),
            "",
            describe(statement, position),
            detail,
            False,
        )
