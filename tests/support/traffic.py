"""Random ledgers rich in every flag, and what their blocks add up to in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
from ledgers import EUR, JPY, accounts, transfers

import pyledger as pl
from pyledger.types import TransferFlags as TF
from pyledger.types import u128_ints

SECOND = 10**9
U128_MAX = (1 << 128) - 1
ACCOUNTS = range(1, 15)
BANKS = ("BANKAAXX", "BANKBBXX")


class Clock:
    """A clock that the traffic sets."""

    def __init__(self, now_ns=10**18):
        self.now_ns = now_ns

    def __call__(self):
        return self.now_ns


class Traffic:
    """Posts random batches on a ledger of two banks; account n is the first bank's if n is odd."""

    def __init__(self, ledger, clock, seed, id_shift=0):
        self.ledger, self.clock = ledger, clock
        self.random = random.Random(seed)
        self.next_id = 100 << id_shift
        self.pending = []
        self.times = 10**17

    def open_accounts(self):
        kinds = pl.AccountFlags
        limits = [0, 0, 0, kinds.DEBITS_MUST_NOT_EXCEED_CREDITS, kinds.CREDITS_MUST_NOT_EXCEED_DEBITS]
        for number in ACCOUNTS:
            flags = self.random.choice(limits) | (kinds.IMPORTED if number < 5 else 0)
            records = accounts([number], ledger=JPY if number > 10 else EUR, flags=int(flags))
            if number < 5:
                records["timestamp"] = self.times = self.times + 5
            bank = BANKS[1 - number % 2]
            assert self.ledger.create_accounts(records, institution=bank).tolist() == [0]

    def post(self, batches):
        for _ in range(batches):
            self.clock.now_ns += self.random.choice([1000, SECOND // 2, SECOND, 3 * SECOND])
            if self.random.random() < 0.08:
                self.ledger.seal()
            bank = self.random.randrange(2)
            rows = [self.row(bank) for _ in range(self.random.choice([1, 2, 8, 20]))]
            records = np.concatenate(rows)
            if self.random.random() < 0.2:
                records = self.imported(records)
            results = self.ledger.post(records, institution=BANKS[bank]).results
            taken = records[(results == 0) & (records["flags"] & TF.PENDING != 0)]
            self.pending += [(number, bank) for number in u128_ints(taken["id"])]

    def row(self, bank):
        self.next_id += self.random.choice([1, 7])
        mine = [pending for pending, owner in self.pending if owner == bank]
        record = self.resolving(mine) if mine and self.random.random() < 0.35 else self.moving(bank)
        if self.random.random() < 0.06:
            record["flags"] |= int(TF.LINKED)
        return record

    def moving(self, bank):
        r = self.random
        debit = r.choice([n for n in ACCOUNTS if n % 2 != bank])
        same = [n for n in ACCOUNTS if (n > 10) == (debit > 10) and n != debit]
        flags = r.choice([0, 0, TF.PENDING, TF.PENDING, TF.PENDING, TF.BALANCING_DEBIT, TF.BALANCING_CREDIT])
        if r.random() < 0.02:
            flags = TF.PENDING | TF.CLOSING_DEBIT
        amount = r.choice([0, 1, 10, 100, 1000, U128_MAX if flags & (TF.BALANCING_DEBIT | TF.BALANCING_CREDIT) else 5])
        record = transfers(
            (self.next_id, debit, r.choice(same), amount), ledger=JPY if debit > 10 else EUR, flags=int(flags)
        )
        record["timeout"] = r.choice([0, 1, 2, 6]) if flags & TF.PENDING else 0
        record["user_data_64"] = r.choice([0, 9])
        return record

    def resolving(self, mine):
        r = self.random
        post = r.random() < 0.6
        flags = TF.POST_PENDING_TRANSFER if post else TF.VOID_PENDING_TRANSFER
        record = transfers((self.next_id, 0, 0, r.choice([U128_MAX, 1, 5]) if post else 0), flags=int(flags))
        record["pending_id"] = pl.u128_array([r.choice(mine)])
        record["ledger"] = record["code"] = 0
        return record

    def imported(self, records):
        """Of times after those of all before: the clock goes on from there."""
        records = records.copy()
        records["flags"] |= int(TF.IMPORTED)
        records["timeout"] = 0
        first = self.clock.now_ns
        records["timestamp"] = np.arange(first, first + 3 * len(records), 3)
        self.clock.now_ns += 3 * len(records) + self.random.choice([1, SECOND])
        return records


@dataclass(frozen=True)
class Event:
    """What a block did to two accounts: (pending, posted) changes of the debit and of the credit side."""

    height: int
    index: int | None
    time_ns: int
    id: int
    kind: str
    debit: int
    credit: int
    pending: int
    posted: int


def events_of(blocks, expiries_per_block=65_536):
    """Everything that changed balances, in order, from the blocks alone."""
    live, out = {}, []
    for block in blocks:
        height, time_ns = block.header.height, block.header.time_ns
        due = [entry for entry in live.values() if entry[1] is not None and entry[1] <= time_ns]
        due.sort(key=lambda entry: entry[1:])  # by time of expiry, then by creation
        for record, *_ in due[:expiries_per_block]:
            del live[record.id]
            out.append(
                Event(height, None, time_ns, record.id, "expired", record.debit, record.credit, -record.pending, 0)
            )
        body = block.body
        amounts = u128_ints(body.effects if len(body.effects) else body.transfers["amount"])
        for index, (record, amount) in enumerate(zip(body.transfers, amounts, strict=True)):
            event = _event(height, index, record, amount, live)
            out.append(event)
            if event.kind == "pending":
                timeout = int(record["timeout"])
                expires = event.time_ns + timeout * SECOND if timeout else None
                live[event.id] = (event, expires, len(out))
    return out


def _event(height, index, record, amount, live):
    place = (height, index, int(record["timestamp"]), pl.u128_int(record["id"]))
    debit, credit = pl.u128_int(record["debit_account_id"]), pl.u128_int(record["credit_account_id"])
    flags = int(record["flags"])
    if flags & (TF.POST_PENDING_TRANSFER | TF.VOID_PENDING_TRANSFER):
        pending = live.pop(pl.u128_int(record["pending_id"]))[0]
        post = bool(flags & TF.POST_PENDING_TRANSFER)
        kind, posted = ("post", amount) if post else ("void", 0)
        return Event(*place, kind, pending.debit, pending.credit, -pending.pending, posted)
    if flags & TF.PENDING:
        return Event(*place, "pending", debit, credit, amount, 0)
    return Event(*place, "posted", debit, credit, 0, amount)


def balance_of(account, events):
    """Debits pending, debits posted, credits pending, credits posted after some events."""
    totals = [0, 0, 0, 0]
    for event in events:
        for side, number in ((0, event.debit), (2, event.credit)):
            if number == account:
                totals[side] += event.pending
                totals[side + 1] += event.posted
    return pl.Balance(*totals)


def kinds(events):
    """How often each kind came up."""
    return Counter(event.kind for event in events)
