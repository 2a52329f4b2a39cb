"""Random but state-guided batches for the engine: mostly plausible events, each with a few things wrong.

A world keeps the twin at hand to know which accounts, transfers and pendings there are, so that valid events are common
and every result code comes up. Everything follows from the seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyledger.reference.engine import Account, Engine, Transfer, records_of
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, KeyRole, PendingStatus, u128_array
from pyledger.types import AccountFlags as AF
from pyledger.types import TransferFlags as TF

U128_MAX = (1 << 128) - 1
SECOND = 1_000_000_000
INSTITUTIONS = (1, 2, 3)
LEDGERS = (1, 1, 1, 2)
NO_ACCOUNT = Account(*[0] * 13)
NO_TRANSFER = Transfer(*[0] * 13)


@dataclass
class Call:
    """One call on an engine: the method's name and its arguments."""

    method: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)

    def on(self, engine: Any) -> Any:
        return getattr(engine, self.method)(*self.arguments, **self.keywords)


def u32(values: Any) -> Any:
    return np.array(values, np.uint32)


class World:
    """Draws calls; `twin` must have executed all calls drawn so far."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.twin = Engine()
        # Only late in the range of 63 bits can a timeout overflow it.
        self.now = self.random.choice([10**18, 5 * 10**18])
        self.next_id = 1

    # Keys

    def first_calls(self) -> list[Call]:
        holder, attester, governor = int(KeyRole.HOLDER), int(KeyRole.ATTESTER), int(KeyRole.GOVERNOR)
        institutions = [i for i in INSTITUTIONS for _ in range(5)]
        roles = [holder, holder, holder | attester, attester | governor, holder] * len(INSTITUTIONS)
        forever = (1 << 64) - 1
        until = [forever, forever, forever, forever, 3] * len(INSTITUTIONS)
        return [
            Call("register_keys", (u32(institutions), 0, u32(roles), np.array(until, np.uint64))),
            Call("register_keys", (u32(INSTITUTIONS), 5)),
        ]

    def draw(self) -> Call:
        self.now += self.random.choice([1000, SECOND // 2, SECOND, 3 * SECOND])
        if len(self.twin.tables.accounts) < 12:
            return self.accounts_call(20)
        kinds = {
            self.transfers_call: 55,
            self.attested_call: 12,
            self.accounts_call: 10,
            self.expire_call: 6,
            self.mandates_call: 5,
            self.owners_call: 3,
            self.controllers_call: 4,
            self.height_call: 2,
            self.revoke_call: 1,
            self.revocations_call: 1,
            self.rotations_call: 3,
            self.attester_call: 2,
        }
        draw = self.random.choices(list(kinds), list(kinds.values()))[0]
        return draw()

    def height_call(self) -> Call:
        return Call("set_height", (self.twin.height + self.random.choice([0, 1]),))

    def revoke_call(self) -> Call:
        return Call("revoke_key", (self.any_key(), self.twin.height + self.random.choice([0, 1, 2])))

    def revocations_call(self) -> Call:
        registrar, keys = self.random.choice(INSTITUTIONS), self.twin.authority.keys
        lasting = [i for i, key in enumerate(keys) if key.institution == registrar and key.roles != KeyRole.HOLDER]
        draws = [self.any_key(), 999, *lasting]
        indexes = [self.random.choice(draws) for _ in range(self.random.randrange(1, 4))]
        heights = np.array([max(0, self.twin.height + self.random.choice([-1, 0, 1, 2])) for _ in indexes], np.uint64)
        return Call("revoke_keys", (u32(indexes), heights, registrar))

    def attester_call(self) -> Call:
        signer = self.random.choice([self.any_key()] * 8 + [NO_KEY, 999])
        method = self.random.choice(["check_attester", "check_governor"])
        return Call(method, (self.random.choice(INSTITUTIONS), signer, self.chance(0.9)))

    def any_key(self) -> int:
        return self.random.randrange(len(self.twin.authority.keys))

    def expire_call(self) -> Call:
        return Call("expire", (self.now, self.random.choice([0, 1, 2, 100])))

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # Accounts

    def accounts_call(self, count: int | None = None) -> Call:
        count = self.random.randrange(1, 10) if count is None else count
        first = self.now
        self.now += count
        registrar = self.random.choice(INSTITUTIONS)
        imported = self.chance(0.4)
        rows = [self.account(registrar, imported) for _ in range(count)]
        accounts = [row[0] for row in rows]
        if imported:
            accounts = self.with_imported_times(accounts, self.twin._last_account_timestamp(), first)
        owners, institutions = u32([row[1] for row in rows]), u32([row[2] for row in rows])
        return Call("create_accounts", (records_of(accounts, ACCOUNT), owners, institutions, first, registrar))

    def account(self, registrar: int, imported: bool) -> tuple[Account, int, int]:
        r = self.random
        keys = self.twin.authority.keys
        own = [k for k in range(len(keys)) if keys[k].institution == registrar]
        owner = r.choice(own[:3] if self.chance(0.85) else own)
        institution = registrar
        flags = r.choice([0, 0, 0, AF.DEBITS_MUST_NOT_EXCEED_CREDITS, AF.CREDITS_MUST_NOT_EXCEED_DEBITS, AF.HISTORY])
        flags |= AF.IMPORTED if imported != self.chance(0.03) else 0
        flags |= AF.LINKED if self.chance(0.1) else 0
        account = NO_ACCOUNT._replace(
            id=r.randrange(1, 60), ledger=r.choice(LEDGERS), code=r.randrange(1, 3), flags=int(flags)
        )
        if self.chance(0.15) and self.twin.tables.accounts:
            account = r.choice(list(self.twin.tables.accounts.values()))
            account = account._replace(
                timestamp=0, debits_pending=0, debits_posted=0, credits_pending=0, credits_posted=0
            )
            owner = self.twin.tables.owners[account.id]
            institution = keys[owner].institution
        if self.chance(0.5):
            account, owner, institution = self.spoilt_account(account, owner, institution)
        return account, owner, institution

    def spoilt_account(self, account: Account, owner: int, institution: int) -> tuple[Account, int, int]:
        spoils: list[dict[str, int]] = [
            {"id": 0},
            {"id": U128_MAX},
            {"reserved": 1},
            {"flags": account.flags | 1 << 9},
            {"flags": account.flags | 6},
            {"flags": account.flags ^ AF.HISTORY},
            {"flags": account.flags | AF.CLOSED},
            {"debits_pending": 1},
            {"debits_posted": 1},
            {"credits_pending": 1},
            {"credits_posted": 1 << 127},
            {"ledger": 0},
            {"ledger": 3},
            {"code": 0},
            {"code": 7},
            {"user_data_128": 1 << 64},
            {"user_data_64": 5},
            {"user_data_32": 6},
            {"timestamp": 77},
        ]
        choice = self.random.randrange(len(spoils) + 4)
        if choice < len(spoils):
            return account._replace(**spoils[choice]), owner, institution
        return account, self.random.choice([self.any_key(), 999, owner]), self.random.choice([institution, 2])

    def with_imported_times(self, records: list[Any], last: int, first: int) -> list[Any]:
        """Past times that mostly rise from the last one on, and sometimes meet what is there."""
        out, time = [], last
        taken = [a.timestamp for a in self.twin.tables.accounts.values()]
        taken += [t.timestamp for t in self.twin.tables.transfers.values()]
        for record in records:
            time += self.random.choice([1, 5, 1000])
            odd = [0, 1 << 63, first + 100, *self.random.sample(taken, min(len(taken), 3)), last, last + 1]
            own = self.random.choice(odd) if self.chance(0.25) else time
            out.append(record._replace(timestamp=own))
        return out

    # Transfers

    def transfers_call(self) -> Call:
        events, first = self.events()
        records = records_of([event[0] for event in events], TRANSFER)
        signers = u32([event[1] for event in events])
        ok = np.array([not self.chance(0.02) for _ in events], np.bool_)
        keywords = self.controllers(events)
        return Call("create_transfers", (records, signers, ok, first), keywords)

    def attested_call(self) -> Call:
        events, first = self.events()
        records = records_of([event[0] for event in events], TRANSFER)
        institution = self.random.choice(INSTITUTIONS)
        sequence = self.twin.attestation_sequence(institution) + self.random.choice([0] * 8 + [-1, 1])
        keys = self.twin.authority.keys
        attesters = [k for k in range(len(keys)) if keys[k].roles & 2 and keys[k].institution == institution]
        signer = self.random.choice([*attesters * 6, 0, 1, 4, 9, 16, NO_KEY, 500])
        arguments = (records, institution, max(sequence, 0), not self.chance(0.05), first)
        return Call("create_transfers_attested", arguments, {"signer": signer, **self.controllers(events)})

    def events(self) -> tuple[list[tuple[Transfer, int, int]], int]:
        count = self.random.choice([1, 3, 20, 40])
        first = self.now
        self.now += count
        drawn: list[tuple[Transfer, int, int]] = []
        for _ in range(count):
            drawn.append(self.transfer(drawn))
        if self.chance(0.15):
            times = self.with_imported_times([t for t, _, _ in drawn], self.twin._last_transfer_timestamp(), first)
            flags = [t.flags if self.chance(0.02) else t.flags | TF.IMPORTED for t in times]
            drawn = [
                (t._replace(flags=int(f), timeout=0 if self.chance(0.9) else t.timeout), s, c)
                for t, f, (_, s, c) in zip(times, flags, drawn, strict=True)
            ]
        return drawn, first

    def controllers(self, events: list[tuple[Transfer, int, int]]) -> dict[str, Any]:
        if all(event[2] == NO_KEY for event in events) and self.chance(0.8):
            return {}
        return {"controllers": u32([event[2] for event in events])}

    def transfer(self, earlier: list[tuple[Transfer, int, int]]) -> tuple[Transfer, int, int]:
        kind = self.random.choices(["move", "resolve", "again"], [60, 22, 18])[0]
        known = list(self.twin.tables.transfers.values())
        if kind == "resolve" and self.twin.tables.pendings:
            transfer, signer, controller = self.resolving()
        elif kind == "again" and known:
            transfer, signer, controller = self.repeated(known)
        else:
            transfer, signer, controller = self.moving()
        if self.chance(0.06) and earlier:
            transfer = transfer._replace(id=earlier[-1][0].id)
        if self.chance(0.04) and self.twin.failed:
            transfer = transfer._replace(id=self.random.choice(list(self.twin.failed)))
        if self.chance(0.25):
            transfer = self.spoilt(transfer)
        if self.chance(0.08):
            transfer = transfer._replace(flags=transfer.flags | TF.LINKED)
        if self.chance(0.08):
            signer = self.random.choice([self.any_key(), NO_KEY, 12345, self.any_key()])
        if self.chance(0.02):
            controller = self.random.choice([0, 1, 14, 600])
        return transfer, signer, controller

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id | self.random.choice([0, 1 << 100])

    def moving(self) -> tuple[Transfer, int, int]:
        r = self.random
        accounts = list(self.twin.tables.accounts.values())
        debit = r.choice(accounts)
        same = [a for a in accounts if a.ledger == debit.ledger and a.id != debit.id]
        credit = r.choice(same or accounts)
        flags = r.choice([0, 0, 0, TF.PENDING, TF.PENDING, TF.BALANCING_DEBIT, TF.BALANCING_CREDIT, TF(0x32)])
        if self.chance(0.04):
            flags |= r.choice([TF.CLOSING_DEBIT, TF.CLOSING_CREDIT]) | TF.PENDING
        pending = bool(flags & TF.PENDING)
        timeout = r.choice([0, 0, 1, 2, 5, 0xFFFF_FFFF]) if pending else 0
        transfer = NO_TRANSFER._replace(
            id=self.new_id(),
            debit_account_id=debit.id,
            credit_account_id=credit.id,
            amount=self.amount(debit, credit),
            ledger=debit.ledger,
            code=r.randrange(1, 3),
            user_data_64=r.choice([0, 9]),
            timeout=timeout,
            flags=int(flags),
        )
        signer = self.twin.tables.owners[debit.id]
        holders = [holder for account, holder in self.twin.tables.mandates if account == debit.id]
        if holders and self.chance(0.5):
            signer = r.choice(holders)
        return transfer, signer, r.choice([0, 5, 10, 11]) if pending and self.chance(0.3) else NO_KEY

    def amount(self, debit: Account, credit: Account) -> int:
        r = self.random
        edges = [
            U128_MAX - debit.debits_pending + 1,
            U128_MAX - credit.credits_pending + 1,
            U128_MAX - debit.debits_posted,
            U128_MAX - debit.debits_posted + 1,
            U128_MAX - credit.credits_posted + 1,
            U128_MAX - debit.debits_posted - debit.debits_pending + 1,
            U128_MAX - credit.credits_posted - credit.credits_pending + 1,
            debit.credits_posted - debit.debits_posted - debit.debits_pending,
            credit.debits_posted - credit.credits_posted - credit.credits_pending,
            U128_MAX,
            1 << 127,
            1 << 64,
        ]
        value = r.choice(edges) if self.chance(0.12) else r.choice([0, 1, 10, 100, 1000])
        return min(max(value, 0), U128_MAX)

    def resolving(self) -> tuple[Transfer, int, int]:
        r = self.random
        pendings = self.twin.tables.pendings
        live = [i for i in pendings if pendings[i].status == PendingStatus.PENDING]
        pending = self.twin.tables.transfers[r.choice(live if live and self.chance(0.8) else list(pendings))]
        post = self.chance(0.6)
        whole = U128_MAX if post else 0
        flags = TF.POST_PENDING_TRANSFER if post else TF.VOID_PENDING_TRANSFER
        transfer = NO_TRANSFER._replace(
            id=self.new_id(),
            pending_id=pending.id,
            amount=r.choice([whole, pending.amount, pending.amount // 2, min(pending.amount + 1, U128_MAX)]),
            debit_account_id=r.choice([0, pending.debit_account_id]),
            credit_account_id=r.choice([0, pending.credit_account_id]),
            ledger=r.choice([0, pending.ledger]),
            code=r.choice([0, pending.code]),
            user_data_128=r.choice([0, 4]),
            flags=int(flags),
        )
        controller = pendings[pending.id].controller
        signer = self.twin.tables.owners[pending.debit_account_id] if controller == NO_KEY else controller
        return transfer, signer, NO_KEY

    def repeated(self, known: list[Transfer]) -> tuple[Transfer, int, int]:
        transfer = self.random.choice(known)
        if not transfer.flags & TF.IMPORTED:
            transfer = transfer._replace(timestamp=0)
        controller = NO_KEY
        if transfer.flags & TF.PENDING:
            controller = self.twin.tables.pendings[transfer.id].controller
        changes: list[dict[str, int]] = [
            {},
            {},
            {"flags": transfer.flags ^ TF.BALANCING_CREDIT},
            {"pending_id": 3},
            {"timeout": 9},
            {"debit_account_id": 61},
            {"credit_account_id": 62},
            {"amount": transfer.amount ^ 1},
            {"user_data_128": 1 << 90},
            {"user_data_64": 1},
            {"user_data_32": 1},
            {"ledger": 9},
            {"code": 9},
        ]
        return transfer._replace(**self.random.choice(changes)), self.any_key(), controller

    def spoilt(self, transfer: Transfer) -> Transfer:
        flags = transfer.flags
        spoils: list[dict[str, int]] = [
            {"id": 0},
            {"id": U128_MAX},
            {"flags": flags | 1 << 13},
            {"flags": flags ^ TF.PENDING},
            {"flags": flags ^ TF.POST_PENDING_TRANSFER},
            {"flags": flags | TF.CLOSING_DEBIT},
            {"flags": flags | TF.CLOSING_CREDIT},
            {"debit_account_id": 0},
            {"debit_account_id": U128_MAX},
            {"debit_account_id": 70},
            {"credit_account_id": 0},
            {"credit_account_id": U128_MAX},
            {"credit_account_id": 71},
            {"credit_account_id": transfer.debit_account_id},
            {"credit_account_id": self.random.randrange(1, 60)},
            {"debit_account_id": self.random.randrange(1, 60)},
            {"pending_id": 0},
            {"pending_id": U128_MAX},
            {"pending_id": transfer.id},
            {"pending_id": 1 << 90},
            {"pending_id": self.random.choice([0, *self.twin.tables.transfers])},
            {"timeout": 3},
            {"timeout": 0},
            {"ledger": 0},
            {"ledger": 2},
            {"code": 0},
            {"code": 3},
            {"timestamp": 12},
        ]
        return transfer._replace(**self.random.choice(spoils))

    # Changes of authority

    def some_ids(self, table: dict[int, Any], count: int) -> list[int]:
        return [self.random.choice([*table, *table, 9999]) for _ in range(count)]

    def mandates_call(self) -> Call:
        count = self.random.randrange(1, 6)
        accounts = self.some_ids(self.twin.tables.accounts, count)
        owners = [self.twin.tables.owners.get(account, 0) for account in accounts]
        signers = [self.random.choice([owner] * 6 + [self.any_key(), NO_KEY, 999]) for owner in owners]
        holders = [self.random.choice([0, 1, 5, 10, self.any_key(), 12345]) for _ in accounts]
        amounts = [self.random.choice([0, 50, 5000, U128_MAX]) for _ in accounts]
        until = [self.twin.height + self.random.choice([0, 1, 2, 50]) for _ in accounts]
        ok = np.array([not self.chance(0.1) for _ in accounts], np.bool_)
        columns = (u128_array(accounts), u32(holders), u128_array(amounts), np.array(until, np.uint64))
        return Call("set_mandates", (*columns, u32(signers), ok))

    def owners_call(self) -> Call:
        ids = self.some_ids(self.twin.tables.accounts, self.random.randrange(1, 4))
        owners = [self.random.choice([self.any_key(), self.any_key(), 999]) for _ in ids]
        return Call("change_owners", (u128_array(ids), u32(owners), self.random.choice(INSTITUTIONS)))

    def rotations_call(self) -> Call:
        ids = self.some_ids(self.twin.tables.accounts, self.random.randrange(1, 4))
        present = [self.twin.tables.owners.get(account, 0) for account in ids]
        signers = [self.random.choice([owner] * 8 + [self.any_key(), NO_KEY, 999]) for owner in present]
        owners = [self.random.choice([self.any_key(), self.any_key(), 999]) for _ in ids]
        ok = np.array([not self.chance(0.1) for _ in ids], np.bool_)
        return Call("rotate_owners", (u128_array(ids), u32(owners), u32(signers), ok))

    def controllers_call(self) -> Call:
        named = {i: p for i, p in self.twin.tables.pendings.items() if p.controller != NO_KEY and self.chance(0.9)}
        ids = self.some_ids(named or self.twin.tables.pendings, self.random.randrange(1, 4))
        keys = [self.random.choice([self.any_key(), self.any_key(), 999]) for _ in ids]
        return Call("change_controllers", (u128_array(ids), u32(keys), self.random.choice(INSTITUTIONS)))
