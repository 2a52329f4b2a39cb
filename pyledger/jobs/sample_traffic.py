"""The traffic of a sample day: accounts, and transfers of which it is known beforehand what becomes of them.

Drawn from a seed in whole numbers only (tables, never floating-point functions), so the same arguments give the same
day on every machine. A few payers and payees are busy (Zipf), amounts are log-normal, the day has two humps. Opening
balances are chosen last, from each account's running balance in the ledger's order, so that exactly the transfers
meant to fail for want of money do.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.types import ACCOUNT, TRANSFER, U128, AccountFlags

__all__ = ["Accounts", "Ints", "Outcome", "RefusalRates", "Traffic", "draw_accounts", "draw_traffic", "generator"]

OPENING_CODE = 1
PAYMENT_CODE = 2
TREASURY_CODE = 10
CUSTOMER_CODE = 20

Ints = NDArray[np.int64]

_SECOND_NS = 10**9
_SLOT_NS = 300 * _SECOND_NS
_OPENING_STEP_NS = 1000


class Outcome(IntEnum):
    """What a transfer of a sample is meant to meet; ``result`` is the name of its result code."""

    OPENING = 0
    PAYMENT = 1
    INSUFFICIENT_FUNDS = 2
    SIGNATURE_DAMAGED = 3
    SIGNED_BY_ANOTHER = 4
    UNKNOWN_CREDIT_ACCOUNT = 5
    UNKNOWN_DEBIT_ACCOUNT = 6
    SENT_TWICE = 7
    ID_USED_TWICE = 8

    @property
    def result(self) -> str:
        """Name of the result code, in small letters (``"created"`` where the transfer takes effect)."""
        return _RESULTS[self]


_RESULTS = {
    Outcome.OPENING: "created",
    Outcome.PAYMENT: "created",
    Outcome.INSUFFICIENT_FUNDS: "exceeds_credits",
    Outcome.SIGNATURE_DAMAGED: "signature_invalid",
    Outcome.SIGNED_BY_ANOTHER: "signer_not_authorised",
    Outcome.UNKNOWN_CREDIT_ACCOUNT: "credit_account_not_found",
    Outcome.UNKNOWN_DEBIT_ACCOUNT: "debit_account_not_found",
    Outcome.SENT_TWICE: "exists",
    Outcome.ID_USED_TWICE: "exists_with_different_amount",
}


@dataclass(frozen=True, slots=True)
class RefusalRates:
    """Shares of the day's payments (openings apart) that the ledger must refuse, by the four reasons."""

    insufficient_funds: float = 0.002
    duplicate_id: float = 0.001
    bad_signature: float = 0.001
    unknown_account: float = 0.001


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts, by institution; an institution's treasuries come first, one a currency.

    Parameters
    ----------
    records : NDArray, shape (n,), dtype ACCOUNT
    institutions, currencies : NDArray, shape (n,), int64
        Index of the institution; index of the currency.
    key_ids : NDArray, shape (n,), int64
        The owner's key among its institution's; 0 is the treasury's.
    key_counts : NDArray, shape (institutions,), int64
    """

    records: NDArray[Any]
    institutions: Ints
    currencies: Ints
    key_ids: Ints
    key_counts: Ints

    @property
    def is_treasury(self) -> NDArray[np.bool_]:
        """Mask of the accounts that openings are paid from."""
        return np.asarray(self.records["code"] == TREASURY_CODE)

    def treasuries(self, customers: Ints) -> Ints:
        """Return the account index of the treasury that funds each customer."""
        first = np.searchsorted(self.institutions, self.institutions[customers])
        return np.asarray(first + self.currencies[customers], np.int64)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The day's transfers in the ledger's order: by time, then institution, then row.

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
    outcomes : NDArray, shape (n,), int64
        An ``Outcome`` each.
    debit_accounts, credit_accounts : NDArray, shape (n,), int64
        Account indices that were drawn; the records of unknown accounts hold other ids.
    institutions : NDArray, shape (n,), int64
        Whose file the row is in.
    key_ids : NDArray, shape (n,), int64
        The signer.
    submitted_at : NDArray, shape (n,), int64
        Nanoseconds since 1970-01-01 UTC.
    """

    records: NDArray[Any]
    outcomes: Ints
    debit_accounts: Ints
    credit_accounts: Ints
    institutions: Ints
    key_ids: Ints
    submitted_at: Ints

    @property
    def takes_effect(self) -> NDArray[np.bool_]:
        """Mask of the transfers that the ledger accepts."""
        return np.asarray(self.outcomes <= Outcome.PAYMENT)


def generator(seed: int, stage: str) -> np.random.Generator:
    """Return the random numbers of one stage; stages don't disturb each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *stage.encode()])))


def draw_accounts(
    rng: np.random.Generator, institutions: int, accounts: int, ledgers: list[int], accounts_per_key: int
) -> Accounts:
    """Draw the accounts of a day: treasuries, and customers spread unevenly over institutions and currencies."""
    currency_count = len(ledgers)
    customer_count = accounts - institutions * currency_count
    customers = _quotas(customer_count, institutions, 1)
    currency_of_customer = rng.permutation(
        np.repeat(np.arange(currency_count), _quotas(customer_count, currency_count, 2))
    )
    key_counts = 1 + np.maximum(1, customers // accounts_per_key)
    parts: list[tuple[Ints, Ints, Ints]] = []
    taken = 0
    for institution, count in enumerate(customers.tolist()):
        own = currency_of_customer[taken : taken + count]
        keys = rng.integers(1, key_counts[institution], count)
        treasury_keys = np.zeros(currency_count, np.int64)
        parts.append(
            (
                np.full(currency_count + count, institution),
                np.concatenate([np.arange(currency_count), own]),
                np.concatenate([treasury_keys, keys]),
            )
        )
        taken += count
    institution_of, currency_of, key_of = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Accounts(
        _account_records(institution_of, currency_of, ledgers), institution_of, currency_of, key_of, key_counts
    )


def draw_traffic(
    rng: np.random.Generator, accounts: Accounts, transfers: int, rates: RefusalRates, midnight_ns: int
) -> Traffic:
    """Draw the day's transfers: one opening for each customer, payments, and the planted refusals among them."""
    customers = np.flatnonzero(~accounts.is_treasury)
    payments = _draw_payments(rng, accounts, transfers - len(customers), rates, midnight_ns)
    payments = payments.take(np.lexsort((accounts.institutions[payments.payers], payments.times)))
    amounts, openings = _fund(rng, payments, accounts)
    opened = _openings(accounts, customers, openings, midnight_ns)
    return _to_traffic(rng, accounts, _join(opened, payments.with_amounts(amounts)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Transfers while they are drawn, as columns of one length; ids are U128."""

    ids: NDArray[Any]
    payers: Ints
    payees: Ints
    amounts: Ints
    times: Ints
    outcomes: Ints

    def take(self, rows: Any) -> _Rows:
        return _Rows(
            self.ids[rows],
            self.payers[rows],
            self.payees[rows],
            self.amounts[rows],
            self.times[rows],
            self.outcomes[rows],
        )

    def with_amounts(self, amounts: Ints) -> _Rows:
        return _Rows(self.ids, self.payers, self.payees, amounts, self.times, self.outcomes)


def _join(first: _Rows, second: _Rows) -> _Rows:
    return _Rows(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.payers, second.payers]),
        np.concatenate([first.payees, second.payees]),
        np.concatenate([first.amounts, second.amounts]),
        np.concatenate([first.times, second.times]),
        np.concatenate([first.outcomes, second.outcomes]),
    )


def _quotas(total: int, groups: int, least: int) -> Ints:
    """Share `total` among groups as 1, 1/2, 1/3, ..., each at least `least`; the rest goes to the first."""
    weights = 10**9 // np.arange(1, groups + 1)
    counts = least + (total - least * groups) * weights // weights.sum()
    counts[0] += total - counts.sum()
    return np.asarray(counts, np.int64)


def _account_records(institutions: Ints, currencies: Ints, ledgers: list[int]) -> NDArray[Any]:
    first = np.searchsorted(institutions, institutions)
    number = np.arange(len(institutions)) - first
    is_treasury = number < len(ledgers)
    records = np.zeros(len(institutions), ACCOUNT)
    records["id"]["hi"] = institutions + 1
    records["id"]["lo"] = number + 1
    records["ledger"] = np.asarray(ledgers)[currencies]
    records["code"] = np.where(is_treasury, TREASURY_CODE, CUSTOMER_CODE)
    records["flags"] = np.where(is_treasury, 0, AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
    return records


def _draw_payments(
    rng: np.random.Generator, accounts: Accounts, count: int, rates: RefusalRates, midnight_ns: int
) -> _Rows:
    duplicates = round(rates.duplicate_id * count)
    base = count - duplicates
    payers, payees = _draw_parties(rng, accounts, base)
    times = midnight_ns + _draw_times(rng, base)
    drawn = _Rows(
        _draw_ids(rng, times), payers, payees, _draw_amounts(rng, base), times, _draw_outcomes(rng, base, count, rates)
    )
    originals = rng.choice(np.flatnonzero(drawn.outcomes == Outcome.PAYMENT), duplicates, replace=False)
    again = drawn.take(originals)
    altered = np.arange(duplicates) % 2 == 1
    again.amounts[altered] += rng.integers(1, 1000, int(altered.sum()))
    again.times[:] += rng.integers(1, 120 * _SECOND_NS, duplicates)
    again.outcomes[:] = np.where(altered, Outcome.ID_USED_TWICE, Outcome.SENT_TWICE)
    return _join(drawn, again)


def _draw_outcomes(rng: np.random.Generator, base: int, count: int, rates: RefusalRates) -> Ints:
    outcomes = np.full(base, int(Outcome.PAYMENT))
    bad_signatures = round(rates.bad_signature * count)
    unknown = round(rates.unknown_account * count)
    planted = np.repeat(
        [
            Outcome.INSUFFICIENT_FUNDS,
            Outcome.SIGNATURE_DAMAGED,
            Outcome.SIGNED_BY_ANOTHER,
            Outcome.UNKNOWN_CREDIT_ACCOUNT,
            Outcome.UNKNOWN_DEBIT_ACCOUNT,
        ],
        [
            round(rates.insufficient_funds * count),
            bad_signatures - bad_signatures // 2,
            bad_signatures // 2,
            unknown - unknown // 2,
            unknown // 2,
        ],
    )
    outcomes[rng.choice(base, len(planted), replace=False)] = planted
    return outcomes


def _draw_parties(rng: np.random.Generator, accounts: Accounts, count: int) -> tuple[Ints, Ints]:
    """Draw who pays whom: customers of one currency, over all institutions, the busy ones often."""
    payers = np.empty(count, np.int64)
    payees = np.empty(count, np.int64)
    currencies = int(accounts.currencies.max()) + 1
    quotas = _quotas(count, currencies, 0)
    places = np.split(rng.permutation(count), np.cumsum(quotas)[:-1])
    for currency, rows in enumerate(places):
        members = np.flatnonzero((accounts.currencies == currency) & ~accounts.is_treasury)
        payers[rows] = rng.permutation(members)[_zipf(rng, len(members), len(rows), flatness=10)]
        busy = rng.permutation(members)
        paid = _zipf(rng, len(members), len(rows), flatness=1)
        payees[rows] = np.where(busy[paid] == payers[rows], busy[(paid + 1) % len(members)], busy[paid])
    return payers, payees


def _zipf(rng: np.random.Generator, ranks: int, count: int, flatness: int) -> Ints:
    """Draw ranks from 0 with weights 1 / (rank + flatness)."""
    return _weighted(rng, 10**12 // (np.arange(ranks) + flatness), count)


def _weighted(rng: np.random.Generator, weights: Ints, count: int) -> Ints:
    cumulated = np.cumsum(weights)
    return np.asarray(np.searchsorted(cumulated, rng.integers(0, cumulated[-1], count), side="right"), np.int64)


def _draw_times(rng: np.random.Generator, count: int) -> Ints:
    """Draw nanoseconds of the day: from 6 to 20 o'clock, humps at half past nine and half past three."""
    slots = np.arange(6 * 12, 20 * 12)
    hump = np.maximum(0, 40 - abs(slots - 9 * 12 - 6)) * 3 + np.maximum(0, 50 - abs(slots - 15 * 12 - 6)) * 2
    return slots[_weighted(rng, hump + 5, count)] * _SLOT_NS + rng.integers(0, _SLOT_NS, count)


_NORMAL_STEPS = 1024


def _draw_amounts(rng: np.random.Generator, count: int) -> Ints:
    """Draw log-normal minor units: median about 4,500, standard deviation of the logarithm about 1.3.

    The normal variate is the sum of eight uniform whole numbers; its exponential comes from a table of exact decimals.
    """
    table = _exponentials()
    step = rng.integers(0, _NORMAL_STEPS // 8, (count, 8)).sum(axis=1)
    return np.asarray(table[step] + rng.integers(0, table[step + 1] - table[step]), np.int64)


def _exponentials() -> Ints:
    # Eight uniforms on 0..127 have mean 508 and standard deviation 104.5; 1.3 / 104.5 is the step of the logarithm.
    context = Context(prec=30)
    step = Decimal("1.3") / Decimal("104.5")
    powers = [context.exp(step * (index - 508)) * 4500 for index in range(_NORMAL_STEPS + 1)]
    return np.maximum.accumulate(np.array([int(power) for power in powers], np.int64)) + np.arange(_NORMAL_STEPS + 1)


def _draw_ids(rng: np.random.Generator, times: Ints) -> NDArray[Any]:
    """Draw transfer ids: milliseconds of the submission above 80 random bits."""
    ids = np.empty(len(times), U128)
    ids["hi"] = (times // 10**6).astype(np.uint64) << np.uint64(16) | rng.integers(0, 1 << 16, len(times), np.uint64)
    ids["lo"] = rng.integers(0, (1 << 64) - 1, len(times), np.uint64)
    return ids


def _fund(rng: np.random.Generator, payments: _Rows, accounts: Accounts) -> tuple[Ints, Ints]:
    """Choose opening balances (n accounts) and the amounts of the payments that shall find too little money.

    `payments` are in the ledger's order. An account needs at its opening what its fullest shortfall on the way asks;
    transfers refused for another reason find their money too, so that no other reason can come first.
    """
    outcomes = payments.outcomes
    effective = outcomes == Outcome.PAYMENT
    short = outcomes == Outcome.INSUFFICIENT_FUNDS
    debits = np.flatnonzero(outcomes != Outcome.UNKNOWN_DEBIT_ACCOUNT)
    credits = np.flatnonzero(effective)
    account = np.concatenate([payments.payers[debits], payments.payees[credits]])
    sequence = np.concatenate([2 * debits, 2 * credits + 1])
    delta = np.concatenate([np.where(effective, -payments.amounts, 0)[debits], payments.amounts[credits]])
    need = np.concatenate([np.where(short, 0, payments.amounts)[debits], np.zeros(len(credits), np.int64)])

    order = np.lexsort((sequence, account))
    running = np.cumsum(delta[order]) - delta[order]
    starts = np.flatnonzero(np.diff(account[order], prepend=-1))
    before = running - np.repeat(running[starts], np.diff(starts, append=len(order)))
    openings = 1 + _draw_amounts(rng, len(accounts.records))
    if len(starts):
        openings[account[order][starts]] += np.maximum(0, np.maximum.reduceat(need[order] - before, starts))

    balance = np.empty(len(order), np.int64)
    balance[order] = before + openings[account[order]]
    amounts = payments.amounts.copy()
    too_little = np.flatnonzero(short[debits])
    amounts[debits[too_little]] += 1 + balance[too_little]
    return amounts, openings


def _openings(accounts: Accounts, customers: Ints, openings: Ints, midnight_ns: int) -> _Rows:
    institution = accounts.institutions[customers]
    place = np.arange(len(customers)) - np.searchsorted(institution, institution)
    ids = np.empty(len(customers), U128)
    ids["hi"] = institution + 1
    ids["lo"] = place + 1
    return _Rows(
        ids,
        accounts.treasuries(customers),
        customers,
        openings[customers],
        midnight_ns + _OPENING_STEP_NS * (place + 1),
        np.full(len(customers), int(Outcome.OPENING)),
    )


def _to_traffic(rng: np.random.Generator, accounts: Accounts, rows: _Rows) -> Traffic:
    institutions = accounts.institutions[rows.payers]
    rows = rows.take(order := np.lexsort((institutions, rows.times)))
    institutions = institutions[order]
    records = np.zeros(len(order), TRANSFER)
    records["id"] = rows.ids
    records["debit_account_id"] = accounts.records["id"][rows.payers]
    records["credit_account_id"] = accounts.records["id"][rows.payees]
    records["amount"]["lo"] = rows.amounts
    records["ledger"] = accounts.records["ledger"][rows.payers]
    records["code"] = np.where(rows.outcomes == Outcome.OPENING, OPENING_CODE, PAYMENT_CODE)
    for field, outcome in (
        ("debit_account_id", Outcome.UNKNOWN_DEBIT_ACCOUNT),
        ("credit_account_id", Outcome.UNKNOWN_CREDIT_ACCOUNT),
    ):
        places = np.flatnonzero(rows.outcomes == outcome)
        records[field]["lo"][places] = (1 << 40) + rng.integers(0, 1 << 40, len(places))
    key_ids = accounts.key_ids[rows.payers]
    other = rows.outcomes == Outcome.SIGNED_BY_ANOTHER
    key_ids = np.where(other, (key_ids + 1) % accounts.key_counts[institutions], key_ids)
    return Traffic(records, rows.outcomes, rows.payers, rows.payees, institutions, key_ids, rows.times)
