"""Random lives of two banks whose keys, owners, controllers and mandates change: what a block is asked to take.

Draws are guided by the state, so that most of what is asked is right; the rest is spoilt in one place.
"""

from __future__ import annotations

import dataclasses
import random

import numpy as np
from ledgers import key_batch
from rights_kit import BANK_A, BANK_B, PENDING, POST, VOID, Banks, secret

import pyledger as pl
from pyledger.ledger.batches import KeyBatch, TransferBatch
from pyledger.ledger.commands import (
    KIND_CONTROLLERS,
    KIND_MANDATE,
    KIND_OWNERS,
    KIND_REVOCATIONS,
    KIND_ROTATION,
)
from pyledger.types import PendingStatus, u128_ints

NO_KEY = pl.NO_KEY


class World:
    """Draws submissions for the book of `banks`; whoever runs them there goes on drawing."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.seed = seed
        self.banks = Banks()
        self.banks.open(BANK_A, [(20 + place, key) for place, key in enumerate((2, 3, 2, BANK_A))])
        self.banks.open(BANK_B, [(30 + place, key) for place, key in enumerate((4, 5, 4, BANK_B))])
        self.drawn = 0

    def learn(self, submission, result):
        """Take over the secret keys that a batch registered."""
        if isinstance(submission, KeyBatch) and not isinstance(result, pl.LedgerError):
            public_key = submission.public_keys.tobytes()
            self.banks.secrets.append(next(key for key in self.fresh if key.public_key == public_key))

    # State -----------------------------------------------------------------------------------------------------------

    def look(self):
        """Take over what draws are guided by."""
        engine = self.banks.book.engine
        keys = engine.keys()
        self.height = self.banks.book.height + 1
        self.institution = keys["key_institutions"].tolist()
        self.valid = ((keys["key_valid_from"] <= self.height) & (self.height < keys["key_valid_until"])).tolist()
        self.roles = keys["key_roles"].tolist()
        self.accounts = u128_ints(engine.accounts()["id"])
        self.owner = dict(zip(self.accounts, engine.owners().tolist(), strict=True))
        transfers = engine.transfers()
        pending = transfers[transfers["flags"] & int(PENDING) != 0]
        status, controllers = engine.lookup_pendings(np.ascontiguousarray(pending["id"]))
        live = status == int(PendingStatus.PENDING)
        debits = u128_ints(pending["debit_account_id"])
        self.pending = {
            number: (controller, debit)
            for number, controller, debit, alive in zip(
                u128_ints(pending["id"]), controllers.tolist(), debits, live.tolist(), strict=True
            )
            if alive
        }
        dump = engine.dump()
        ids = [self.accounts[slot] for slot in dump["mandate_slots"].tolist()]
        self.mandates = list(zip(ids, dump["mandate_holders"].tolist(), strict=True))
        self.orders = {}
        self.fresh = []

    def chance(self, probability):
        return self.random.random() < probability

    def key(self, institution=None, role=1, usable=0.9):
        """A key index, mostly one that may do it."""
        keys = [
            index
            for index in range(len(self.institution))
            if institution in (None, self.institution[index])
            and (not self.chance(usable) or (self.valid[index] and self.roles[index] & role))
        ]
        return self.random.choice(keys or [0])

    def bank(self):
        return self.random.choice([BANK_A, BANK_B])

    def held(self, institution):
        """The bank's attestation, now and then of a key that may not."""
        key = self.key(institution if self.chance(0.95) else None, role=2, usable=0.95)
        return self.banks.held(institution, key)

    # Blocks ----------------------------------------------------------------------------------------------------------

    def block(self):
        """Submissions of a block: changes first."""
        self.look()
        changes = {
            self.keys: 3,
            self.revocation: 2,
            self.owners: 2,
            self.controllers: 3,
            self.mandate: 5,
            self.rotation: 2,
        }
        count = self.random.choice([0, 1, 1, 2, 3])
        draws = self.random.choices(list(changes), list(changes.values()), k=count)
        submissions = [draw() for draw in draws]
        submissions += [self.random.choice([self.signed, self.signed, self.attested])() for _ in range(count or 2)]
        return submissions

    def keys(self):
        bank = self.bank()
        self.drawn += 1
        roles = self.random.choice([1, 1, 3, 3, 2])
        options = {"roles": roles, "valid_from": self.random.choice([0, 0, self.height + 1])}
        new = secret(f"{self.seed} {self.drawn}")
        batch = key_batch([new], self.banks.chain_id, bank, self.held(bank), **options)
        if self.chance(0.15):
            return dataclasses.replace(batch, proofs=np.zeros((1, 64), np.uint8))
        if self.chance(0.1):
            return key_batch([self.random.choice(self.banks.secrets)], self.banks.chain_id, bank, self.held(bank))
        self.fresh.append(new)
        return batch

    def revocation(self):
        bank = self.bank()
        count = self.random.choice([1, 1, 2])
        rows = [
            (self.key(bank if self.chance(0.8) else None, usable=0.5), self.height + self.random.choice([-1, 1, 4]))
            for _ in range(count)
        ]
        if sum(self.valid) < 8 and self.chance(0.9):
            rows = [(999, 0)]
        return self.banks.change(KIND_REVOCATIONS, rows, bank, self.held(bank))

    def owners(self):
        bank = self.bank()
        rows = [
            (self.some_account(bank if self.chance(0.8) else None), self.key(bank if self.chance(0.8) else None))
            for _ in range(self.random.choice([1, 3]))
        ]
        return self.banks.change(KIND_OWNERS, rows, bank, self.held(bank))

    def some_account(self, bank=None):
        own = [account for account in self.accounts if bank in (None, self.institution[self.owner[account]])]
        return self.random.choice([*own, *own, *own, 999]) if own else 999

    def controllers(self):
        bank = self.bank()
        named = [number for number, (key, _) in self.pending.items() if key != NO_KEY and self.institution[key] == bank]
        number = self.random.choice(named if named and self.chance(0.9) else [*self.pending, 999])
        new = self.key(bank if self.chance(0.7) else None, usable=0.6)
        return self.banks.change(KIND_CONTROLLERS, [(number, new)], bank, self.held(bank))

    def next_order(self, signer):
        self.orders[signer] = self.orders.get(signer, self.banks.book.next_sequence(signer, KIND_MANDATE) - 1) + 1
        return self.orders[signer]

    def mandate(self):
        terms = {
            "amount": self.random.choice([0, 15, 60, 500]),
            "until_height": self.height + self.random.choice([0, 2, 9]),
        }
        return self.order(KIND_MANDATE, self.key(), **terms)

    def rotation(self):
        account = self.some_account()
        bank = self.institution[self.owner.get(account, 0)]
        return self.order(KIND_ROTATION, self.key(bank), account)

    def order(self, kind, subject, account=None, **terms):
        account = self.some_account() if account is None else account
        signer = self.owner.get(account, 0) if self.chance(0.9) else self.key()
        options = {"by": self.key()} if self.chance(0.1) else {}
        if self.chance(0.15):
            options["sequence"] = self.random.choice([0, 1, 99])
        else:
            options["sequence"] = self.next_order(signer)
        if self.chance(0.05):
            options["chain_id"] = bytes(16)
        return self.banks.order(kind, account, subject, signer, **options, **terms)

    # Transfers -------------------------------------------------------------------------------------------------------

    def signed(self):
        rows = [self.transfer() for _ in range(self.random.choice([1, 3, 6]))]
        records, signers, controllers = self.columns(rows)
        keys = [self.banks.secrets[signer if self.chance(0.95) else self.key()] for signer in signers.tolist()]
        signed_for = controllers if self.chance(0.9) else self.columns([self.transfer() for _ in rows])[2]
        names = self.banks.names(signed_for)
        signatures = pl.signing.sign_transfers(keys, self.banks.chain_id, records, names)
        given = None if (controllers == NO_KEY).all() and self.chance(0.5) else controllers
        return TransferBatch(records, signers, signatures, controllers=given)

    def attested(self):
        bank = self.bank()
        rows = [self.transfer(bank if self.chance(0.9) else None) for _ in range(self.random.choice([1, 4]))]
        records, _, controllers = self.columns(rows)
        return TransferBatch(records, attest=self.held(bank), controllers=controllers)

    def columns(self, rows):
        records = np.concatenate([record for record, _, _ in rows])
        if len(rows) > 1 and self.chance(0.2):
            records["flags"][:-1] |= int(pl.TransferFlags.LINKED)
        return records, *(np.array([row[place] for row in rows], np.uint32) for place in (1, 2))

    def transfer(self, bank=None):
        """A record, its signer and its controller."""
        if self.pending and self.chance(0.35):
            return self.resolution(bank)
        by_mandate = bank is None and self.mandates and self.chance(0.35)
        debit, signer = self.random.choice(self.mandates) if by_mandate else (self.some_account(bank), None)
        signer = self.owner.get(debit, 0) if signer is None else signer
        flags = PENDING if self.chance(0.5) else 0
        record = self.banks.payment(debit, self.some_account(), self.random.choice([1, 20, 80]), flags)
        if flags:
            record["timeout"] = self.random.choice([0, 0, 1])
        controlled = flags and self.chance(0.6)
        signer = signer if self.chance(0.92) else self.key(usable=0.2)
        return record, signer, self.key(usable=0.8) if controlled else NO_KEY

    def resolution(self, bank):
        number, (controller, debit) = self.random.choice(list(self.pending.items()))
        record = self.banks.resolution(number, self.random.choice([POST, VOID]))
        signer = self.owner[debit] if controller == NO_KEY else controller
        return record, signer if self.chance(0.85) else self.key(bank), NO_KEY
