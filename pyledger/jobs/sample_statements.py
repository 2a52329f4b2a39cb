"""The institutions' statements of a sample day, with breaks of every kind planted at known rows.

A statement has a row for each effective transfer between the institution and another. Breaks are planted on rows that
no other row resembles (same accounts, direction and amount), so that what was planted is what a careful reader must
find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.jobs.sample_traffic import Accounts, Ints, Outcome, Traffic
from pyledger.reconciliation.breaks import BreakKind
from pyledger.types import U128

__all__ = ["PlantedBreaks", "StatementRows", "draw_statement"]

_SPLIT_AMOUNT_MIN = 3
_NO_BREAK = -1


@dataclass(frozen=True, slots=True)
class StatementRows:
    """A statement's rows as columns of one length, in the order of the file.

    Parameters
    ----------
    references : NDArray, shape (n,), dtype U128
    accounts, counterparty_accounts : NDArray, shape (n,), int64
        Account indices.
    currencies : NDArray, shape (n,), int64
        Currency indices.
    is_debit : NDArray, shape (n,), bool
    amounts : NDArray, shape (n,), int64
        Minor units.
    days : NDArray, shape (n,), int64
        Value date, days after the business date.
    times : NDArray, shape (n,), int64
        When the institution booked it; the order of the rows. Not part of the file.
    breaks : NDArray, shape (n,), int64
        Which planted break the row belongs to, -1 for none. Not part of the file.
    """

    references: NDArray[Any]
    accounts: Ints
    counterparty_accounts: Ints
    currencies: Ints
    is_debit: NDArray[np.bool_]
    amounts: Ints
    days: Ints
    times: Ints
    breaks: Ints

    def take(self, rows: Any) -> StatementRows:
        """Return the rows of an index or mask, copied."""
        return StatementRows(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class PlantedBreaks:
    """The breaks of one statement: `kinds` (b,), `transfer_ids` (b,) U128 (zero where no transfer is meant),
    and `statement_rows`, for each break the numbers of the rows it shows in, from 1.
    """

    kinds: list[BreakKind]
    transfer_ids: NDArray[Any]
    statement_rows: list[list[int]]


def draw_statement(
    rng: np.random.Generator, accounts: Accounts, traffic: Traffic, institution: int, break_share: float
) -> tuple[StatementRows, PlantedBreaks]:
    """Write up an institution's statement and plant breaks in it.

    Parameters
    ----------
    rng : np.random.Generator
    accounts, traffic
        The day.
    institution : int
    break_share : float
        Planted breaks for each row of the true statement; the ten kinds in turn.
    """
    rows = _true_rows(rng, accounts, traffic, institution)
    kinds = _draw_kinds(rng, round(break_share * len(rows.amounts)), int(accounts.currencies.max()) + 1)
    unmistakable = _unmistakable(rows)
    kinds = kinds[: len(unmistakable)]
    sides = rng.choice(unmistakable, len(kinds), replace=False)
    transfer_ids = np.where(kinds == BreakKind.MISSING_IN_LEDGER, np.zeros((), U128), rows.references[sides])
    rows.breaks[sides] = np.where(kinds == BreakKind.MISSING_IN_LEDGER, _NO_BREAK, np.arange(len(kinds)))
    made_up = _made_up(rng, rows, np.flatnonzero(kinds == BreakKind.MISSING_IN_LEDGER))
    _alter(rng, rows, sides, kinds, accounts)
    rows = _add_and_drop(rng, rows, sides, kinds, made_up)
    rows = rows.take(np.argsort(rows.times, kind="stable"))
    return rows, PlantedBreaks([BreakKind(kind) for kind in kinds.tolist()], transfer_ids, _rows_of(rows, len(kinds)))


def _true_rows(rng: np.random.Generator, accounts: Accounts, traffic: Traffic, institution: int) -> StatementRows:
    """Book every payment from or to another institution, up to a minute late."""
    payer = accounts.institutions[traffic.debit_accounts]
    payee = accounts.institutions[traffic.credit_accounts]
    mine = (traffic.outcomes == Outcome.PAYMENT) & (payer != payee) & ((payer == institution) | (payee == institution))
    places = np.flatnonzero(mine)
    is_debit = payer[places] == institution
    debit, credit = traffic.debit_accounts[places], traffic.credit_accounts[places]
    count = len(places)
    return StatementRows(
        references=traffic.records["id"][places],
        accounts=np.where(is_debit, debit, credit),
        counterparty_accounts=np.where(is_debit, credit, debit),
        currencies=accounts.currencies[debit],
        is_debit=is_debit,
        amounts=traffic.records["amount"]["lo"][places].astype(np.int64),
        days=np.zeros(count, np.int64),
        times=traffic.submitted_at[places] + rng.integers(0, 60 * 10**9, count),
        breaks=np.full(count, _NO_BREAK),
    )


def _draw_kinds(rng: np.random.Generator, count: int, currencies: int) -> Ints:
    kinds = [kind for kind in BreakKind if currencies > 1 or kind is not BreakKind.CURRENCY_DIFFERS]
    return rng.permutation(np.resize(np.array(kinds, np.int64), count))


def _unmistakable(rows: StatementRows) -> Ints:
    """Return the rows that are alone with their accounts, direction and amount, and large enough to be split."""
    columns = (rows.amounts, rows.is_debit, rows.counterparty_accounts, rows.accounts)
    order = np.lexsort(columns)
    first = np.zeros(len(order), bool)  # Of a run of equal rows, in sorted order.
    first[:1] = True
    for column in columns:
        first[1:] |= column[order][1:] != column[order][:-1]
    last = np.append(first[1:], True)[: len(order)]
    alone = order[first & last]
    return np.sort(alone[rows.amounts[alone] >= _SPLIT_AMOUNT_MIN])


def _alter(rng: np.random.Generator, rows: StatementRows, sides: Ints, kinds: Ints, accounts: Accounts) -> None:
    """Change in place the rows of the kinds that differ in one field."""
    places = {kind: sides[kinds == kind] for kind in BreakKind}
    at = places[BreakKind.AMOUNT_DIFFERS]
    less = rng.integers(0, 2, len(at)) * np.minimum(rows.amounts[at] - 1, 1 + rows.amounts[at] // 10)
    rows.amounts[at] += np.where(less > 0, -less, 1 + rows.amounts[at] // 10)
    at = places[BreakKind.CURRENCY_DIFFERS]
    count = int(accounts.currencies.max()) + 1
    if len(at):
        rows.currencies[at] = (rows.currencies[at] + rng.integers(1, count, len(at))) % count
    at = places[BreakKind.VALUE_DATE_DIFFERS]
    rows.days[at] = rng.integers(1, 4, len(at)) * (2 * rng.integers(0, 2, len(at)) - 1)
    at = places[BreakKind.REFERENCE_DIFFERS]
    garble = rng.integers(1, 256, len(at), np.uint64) << (np.uint64(8) * rng.integers(0, 8, len(at), np.uint64))
    rows.references["lo"][at] ^= garble
    at = places[BreakKind.ACCOUNT_DIFFERS]
    rows.accounts[at] = _other_accounts(rng, rows.accounts[at], accounts)
    at = places[BreakKind.DIRECTION_REVERSED]
    rows.is_debit[at] ^= True


def _other_accounts(rng: np.random.Generator, right: Ints, accounts: Accounts) -> Ints:
    """Draw for each account another of the same institution and currency (its treasury is always there)."""
    group = accounts.institutions * (int(accounts.currencies.max()) + 1) + accounts.currencies
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], group[right])
    size = np.searchsorted(group[order], group[right], side="right") - first
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group))
    shift = rng.integers(1, size) if len(right) else np.zeros(0, np.int64)
    return np.asarray(order[first + (place[right] - first + shift) % size], np.int64)


def _add_and_drop(
    rng: np.random.Generator, rows: StatementRows, sides: Ints, kinds: Ints, made_up: StatementRows
) -> StatementRows:
    """Drop the rows that shall be missing; add repeated, made-up and split rows."""
    split = sides[kinds == BreakKind.SPLIT_IN_STATEMENT]
    rest = rows.take(split)
    rest.amounts[:] = 1 + rng.integers(0, rows.amounts[split] - 1) if len(split) else 0
    rows.amounts[split] -= rest.amounts
    originals = sides[kinds == BreakKind.DUPLICATE_IN_STATEMENT]
    repeated = rows.take(originals)
    rows.breaks[originals] = -1  # the row itself is right; what is wrong is the one that repeats it
    for added in (rest, repeated):
        added.times[:] += rng.integers(1, 60 * 10**9, len(added.times))
    kept = np.ones(len(rows.amounts), bool)
    kept[sides[kinds == BreakKind.MISSING_IN_STATEMENT]] = False
    parts = (rows.take(kept), rest, repeated, made_up)
    return StatementRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in StatementRows.__slots__))


def _made_up(rng: np.random.Generator, rows: StatementRows, breaks: Ints) -> StatementRows:
    """Invent rows for transfers that never were: a reference and an amount that no other row has."""
    made = rows.take(rng.integers(0, max(1, len(rows.amounts)), len(breaks)))
    made.references["lo"] = rng.integers(0, (1 << 64) - 1, len(breaks), np.uint64)
    made.amounts[:] = rows.amounts.max(initial=0) + 1 + np.cumsum(rng.integers(1, 1000, len(breaks)))
    made.breaks[:] = breaks
    return made


def _rows_of(rows: StatementRows, count: int) -> list[list[int]]:
    """Collect for each break the numbers of its rows, from 1."""
    planted = np.flatnonzero(rows.breaks >= 0)
    order = planted[np.argsort(rows.breaks[planted], kind="stable")]
    cuts = np.searchsorted(rows.breaks[order], np.arange(1, count))
    return [part.tolist() for part in np.split(order + 1, cuts)] if count else []
