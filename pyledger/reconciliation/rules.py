"""The rule cascade: what the rows left over by the exact match have to do with each other.

Each rule lets one field differ. All rules look at all open rows first: a pair is firm only if neither of its rows fits
any other row under any rule. What fits more than one way is paired in the order of the rules and of the rows, and
marked as suggested: a person decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pyledger.reconciliation.breaks import BreakKind, BreaksBuilder
from pyledger.reconciliation.columns import FIELDS, Side
from pyledger.reconciliation.pairing import Pairing, Resources, pair

__all__ = ["PAIR", "Cascade", "MatchRule", "describe"]

PAIR = np.dtype([("row_ledger", "<i8"), ("row_statement", "<i8"), ("rule", "u1"), ("suggested", "?")])
"""A matched pair: row numbers, MatchRule, and whether other rows would fit as well."""


class MatchRule(IntEnum):
    """By which rule two rows were paired. The numbers are stored in files."""

    EXACT = 0
    AMOUNT = 1
    CURRENCY = 2
    VALUE_DATE = 3
    REFERENCE = 4
    ACCOUNT = 5
    COUNTERPARTY_ACCOUNT = 6
    COUNTERPARTY_INSTITUTION = 7
    DIRECTION = 8
    SPLIT = 9
    SAME_REFERENCE = 10

    @property
    def label(self) -> str:
        """The name in files and reports, in snake case."""
        return self.name.lower()

    @property
    def evidence(self) -> str:
        """What the rule found, in words."""
        if self in _FIELD_OF:
            return f"all fields equal but {_FIELD_OF[self]}"
        return _EVIDENCE[self]


_FIELD_OF = {
    MatchRule.AMOUNT: "amount_minor",
    MatchRule.CURRENCY: "ledger",
    MatchRule.VALUE_DATE: "value_date",
    MatchRule.DIRECTION: "direction",
    MatchRule.ACCOUNT: "account",
    MatchRule.COUNTERPARTY_ACCOUNT: "counterparty_account",
    MatchRule.COUNTERPARTY_INSTITUTION: "counterparty_institution",
    MatchRule.REFERENCE: "reference",
}
"""The rules that let one field differ, in their order: those that rest on the reference first."""

_EVIDENCE = {
    MatchRule.EXACT: "all fields equal",
    MatchRule.SPLIT: "all fields equal but amount_minor, and the parts sum to the amount",
    MatchRule.SAME_REFERENCE: "the reference is equal, more than one other field differs",
}

_KIND_OF = {
    "amount_minor": BreakKind.AMOUNT_DIFFERS,
    "ledger": BreakKind.CURRENCY_DIFFERS,
    "value_date": BreakKind.VALUE_DATE_DIFFERS,
    "direction": BreakKind.DIRECTION_REVERSED,
    "account": BreakKind.ACCOUNT_DIFFERS,
    "counterparty_account": BreakKind.ACCOUNT_DIFFERS,
    "counterparty_institution": BreakKind.ACCOUNT_DIFFERS,
    "reference": BreakKind.REFERENCE_DIFFERS,
}

_Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What each one-field rule finds among the open rows.

    `ledger` and `statement` are the positions of the open rows, ascending; the claims count for each of them the rows
    of the other side that it fits under any rule.
    """

    ledger: _Positions
    statement: _Positions
    pairings: dict[MatchRule, Pairing]
    ledger_claims: _Positions
    statement_claims: _Positions


class Cascade:
    """Explains the rows that the exact match left over.

    Parameters
    ----------
    ledger, statement : Side
        The rows left over.
    resources : Resources
    breaks : BreaksBuilder
        Takes the breaks found.
    """

    def __init__(self, ledger: Side, statement: Side, resources: Resources, breaks: BreaksBuilder):
        self._ledger = ledger
        self._statement = statement
        self._resources = resources
        self._breaks = breaks
        self._ledger_open = np.ones(len(ledger), np.bool_)
        self._statement_open = np.ones(len(statement), np.bool_)
        self._pairs: list[NDArray[np.void]] = []

    def run(self) -> NDArray[np.void]:
        """Classify every row; return the pairs found, as PAIR, by ledger row and statement row."""
        self._splits(self._candidates())
        self._repeats()
        self._single_fields(self._candidates())
        for rule in _FIELD_OF:
            self._suggest(rule)
        self._same_reference()
        self._missing()
        return np.sort(np.concatenate([np.zeros(0, PAIR), *self._pairs]), order=["row_ledger", "row_statement"])

    def _open(self) -> tuple[_Positions, _Positions]:
        return np.flatnonzero(self._ledger_open), np.flatnonzero(self._statement_open)

    def _pair(self, ledger: _Positions, statement: _Positions, rule: MatchRule) -> Pairing:
        fields = [field for field in FIELDS if field != _FIELD_OF[rule]]
        return pair(self._ledger.take(ledger), self._statement.take(statement), fields, self._resources)

    def _candidates(self) -> _Candidates:
        ledger, statement = self._open()
        pairings = {rule: self._pair(ledger, statement, rule) for rule in _FIELD_OF}
        ledger_claims, statement_claims = np.zeros(len(ledger), np.int64), np.zeros(len(statement), np.int64)
        for pairing in pairings.values():
            ledger_claims += pairing.ledger["others"]
            statement_claims += pairing.statement["others"]
        return _Candidates(ledger, statement, pairings, ledger_claims, statement_claims)

    def _splits(self, found: _Candidates) -> None:
        """One ledger row and all the statement rows that differ from it in the amount alone, if they sum to it."""
        pairing = found.pairings[MatchRule.AMOUNT]
        parts = np.flatnonzero(pairing.statement["others"] == 1)
        parts = parts[pairing.ledger["others"][pairing.statement["partner"][parts]] >= 2]
        parts = parts[np.argsort(pairing.statement["partner"][parts], kind="stable")]
        whole, first = np.unique(pairing.statement["partner"][parts], return_index=True)
        for owner, group in zip(whole, np.split(parts, first[1:]) if len(parts) else [], strict=True):
            ledger, statement = int(found.ledger[owner]), found.statement[group]
            amounts = self._statement.columns["amount_minor"][statement].tolist()
            if sum(amounts) == self._ledger.columns["amount_minor"][ledger]:
                claimed = found.ledger_claims[owner] > len(group) or (found.statement_claims[group] > 1).any()
                self._split(ledger, statement, bool(claimed))

    def _split(self, ledger: int, statement: _Positions, suggested: bool) -> None:
        rows = tuple(self._statement.rows[statement].tolist())
        row = self._take(np.full(len(statement), ledger), statement, MatchRule.SPLIT, suggested)
        self._breaks.add(
            BreakKind.SPLIT_IN_STATEMENT,
            int(row[0]),
            rows,
            self._ledger.text("amount_minor", ledger),
            " + ".join(self._statement.text("amount_minor", part) for part in statement.tolist()),
            _detail(MatchRule.SPLIT, suggested),
            suggested,
        )

    def _repeats(self) -> None:
        """Open statement rows that repeat another open statement row: the first one stays open."""
        _, positions = self._open()
        rows = self._statement.take(positions)
        repeats = positions[pair(rows, rows, FIELDS, self._resources).ledger["rank"] > 0]
        originals = np.setdiff1d(positions, repeats, assume_unique=True)
        of = pair(self._statement.take(originals), self._statement.take(repeats), FIELDS, self._resources)
        self._statement_open[repeats] = False
        for repeat, original in zip(repeats.tolist(), originals[of.statement["partner"]].tolist(), strict=True):
            detail = f"repeats statement row {self._statement.rows[original]}, which the ledger lacks"
            row = int(self._statement.rows[repeat])
            found = describe(self._statement, repeat)
            self._breaks.add(BreakKind.DUPLICATE_IN_STATEMENT, 0, (row,), "", found, detail, False)

    def _single_fields(self, found: _Candidates) -> None:
        """Pairs that differ in one field, where no other row fits either of the two."""
        for rule, pairing in found.pairings.items():
            ledger, statement = pairing.pairs()
            firm = (found.ledger_claims[ledger] == 1) & (found.statement_claims[statement] == 1)
            self._differ(found.ledger[ledger[firm]], found.statement[statement[firm]], rule, False)

    def _suggest(self, rule: MatchRule) -> None:
        open_ledger, open_statement = self._open()
        ledger, statement = self._pair(open_ledger, open_statement, rule).pairs()
        self._differ(open_ledger[ledger], open_statement[statement], rule, True)

    def _differ(self, ledger: _Positions, statement: _Positions, rule: MatchRule, suggested: bool) -> None:
        self._take(ledger, statement, rule, suggested)
        for ours, theirs in zip(ledger.tolist(), statement.tolist(), strict=True):
            self._add_break([_FIELD_OF[rule]], ours, theirs, rule, suggested)

    def _same_reference(self) -> None:
        """Rows that share their reference, which is not empty, and differ in more than one field."""
        ledger, statement = (
            positions[side.columns["reference"][positions].any(axis=1)]
            for side, positions in zip((self._ledger, self._statement), self._open(), strict=True)
        )
        sides = self._ledger.take(ledger), self._statement.take(statement)
        ours, theirs = pair(*sides, ["reference"], self._resources).pairs()
        self._take(ledger[ours], statement[theirs], MatchRule.SAME_REFERENCE, True)
        for a, b in zip(ledger[ours].tolist(), statement[theirs].tolist(), strict=True):
            differing = [field for field in _KIND_OF if self._differs(field, a, b)]
            self._add_break(differing, a, b, MatchRule.SAME_REFERENCE, True)

    def _differs(self, field: str, ledger: int, statement: int) -> bool:
        return bool(np.any(self._ledger.columns[field][ledger] != self._statement.columns[field][statement]))

    def _missing(self) -> None:
        ledger, statement = self._open()
        for position in ledger.tolist():
            row, text = int(self._ledger.rows[position]), describe(self._ledger, position)
            self._breaks.add(BreakKind.MISSING_IN_STATEMENT, row, (), text, "", "no statement row fits", False)
        for position in statement.tolist():
            row, text = int(self._statement.rows[position]), describe(self._statement, position)
            self._breaks.add(BreakKind.MISSING_IN_LEDGER, 0, (row,), "", text, "no ledger row fits", False)

    def _take(self, ledger: _Positions, statement: _Positions, rule: MatchRule, suggested: bool) -> _Positions:
        """Close the rows and record the pairs; return the ledger's row numbers."""
        self._ledger_open[ledger] = False
        self._statement_open[statement] = False
        pairs = np.zeros(len(ledger), PAIR)
        pairs["row_ledger"] = self._ledger.rows[ledger]
        pairs["row_statement"] = self._statement.rows[statement]
        pairs["rule"], pairs["suggested"] = rule, suggested
        self._pairs.append(pairs)
        return pairs["row_ledger"]

    def _add_break(self, fields: list[str], ledger: int, statement: int, rule: MatchRule, suggested: bool) -> None:
        """A break between two rows, named for the first of the fields that differ."""
        self._breaks.add(
            _KIND_OF[fields[0]],
            int(self._ledger.rows[ledger]),
            (int(self._statement.rows[statement]),),
            _values(self._ledger, fields, ledger),
            _values(self._statement, fields, statement),
            _detail(rule, suggested),
            suggested,
        )


def describe(side: Side, position: int) -> str:
    """Return a row in one line, for people."""
    text = {field: side.text(field, position) for field in FIELDS}
    return (
        f"{text['direction']} of {text['amount_minor']} in ledger {text['ledger']} on {text['value_date']}, "
        f"account {text['account']}, reference {text['reference']}"
    )


def _values(side: Side, fields: list[str], position: int) -> str:
    if len(fields) == 1:
        return side.text(fields[0], position)
    return ", ".join(f"{field} {side.text(field, position)}" for field in fields)


def _detail(rule: MatchRule, suggested: bool) -> str:
    return rule.evidence + ("; to be confirmed" if suggested else "")
