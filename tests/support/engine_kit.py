"""A small bank world for directed engine tests: two banks, their keys, and one-line accounts and transfers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyledger import _core
from pyledger.reference.engine import Account, Transfer, records_of
from pyledger.types import ACCOUNT, NO_KEY, TRANSFER, AuthorityResult, KeyRole, u128_array, u128_int, u128_ints
from pyledger.types import CreateAccountResult as A
from pyledger.types import CreateTransferResult as R

BANK_A, BANK_B = 1, 2
U128_MAX = (1 << 128) - 1
SECOND = 1_000_000_000

# Key indexes of every bank world.
HOLDER_A1, HOLDER_A2, ATTESTER_A, HOLDER_B1, ATTESTER_B, NOTARY = range(6)
NO_ACCOUNT = Account(*[0] * 13)._replace(ledger=1, code=1)
NO_TRANSFER = Transfer(*[0] * 13)._replace(ledger=1, code=1)


class Banks:
    """Accounts 1 of HOLDER_A1, 2 of HOLDER_A2 (both at BANK_A) and 3 of HOLDER_B1 (at BANK_B), each with 1000."""

    def __init__(self, funds: int = 1000) -> None:
        self.engine = _core.Engine()
        holder, attester = int(KeyRole.HOLDER), int(KeyRole.ATTESTER)
        institutions = np.array([BANK_A, BANK_A, BANK_A, BANK_B, BANK_B, BANK_B], np.uint32)
        roles = np.array([holder, holder, attester, holder, attester, holder], np.uint32)
        self.engine.register_keys(institutions, 0, roles)
        self.now = 1000
        self.next_id = 1_000_000
        for account, owner in ((1, HOLDER_A1), (2, HOLDER_A2), (3, HOLDER_B1), (9, NOTARY)):
            assert self.open(account, owner, int(institutions[owner])) == A.CREATED
        if funds:
            for account in (1, 2, 3):
                assert self.pay(9, account, funds, signer=NOTARY) == R.CREATED

    def open(self, account: int, owner: int, bank: int, registrar: int | None = None, **fields: int) -> A:
        records = records_of([NO_ACCOUNT._replace(id=account, **fields)], ACCOUNT)
        owners, banks = np.array([owner], np.uint32), np.array([bank], np.uint32)
        return A(int(self.engine.create_accounts(records, owners, banks, self.tick(), registrar or bank)[0]))

    def tick(self, step: int = 1000) -> int:
        self.now += step
        return self.now

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def transfer(self, debit: int, credit: int, amount: int, **fields: int) -> Transfer:
        fields = {"id": self.new_id(), **fields}
        return NO_TRANSFER._replace(debit_account_id=debit, credit_account_id=credit, amount=amount, **fields)

    def post(
        self,
        transfers: list[Transfer],
        signers: list[int] | int,
        ok: bool = True,
        controllers: list[int] | None = None,
    ) -> list[R]:
        records, count = records_of(transfers, TRANSFER), len(transfers)
        keys = np.array([signers] * count if isinstance(signers, int) else signers, np.uint32)
        given = None if controllers is None else np.array(controllers, np.uint32)
        codes, effects = self.engine.create_transfers(records, keys, np.full(count, ok), self.tick(), controllers=given)
        self.effects = u128_ints(effects)
        return [R(int(code)) for code in codes]

    def attest(
        self,
        transfers: list[Transfer],
        bank: int,
        sequence: int | None = None,
        signer: int = NO_KEY,
        ok: bool = True,
        controllers: list[int] | None = None,
    ) -> list[R]:
        records = records_of(transfers, TRANSFER)
        given = None if controllers is None else np.array(controllers, np.uint32)
        sequence = self.engine.attestation_sequence(bank) if sequence is None else sequence
        codes, effects = self.engine.create_transfers_attested(
            records, bank, sequence, ok, self.tick(), signer=signer, controllers=given
        )
        self.effects = u128_ints(effects)
        return [R(int(code)) for code in codes]

    def pay(self, debit: int, credit: int, amount: int, *, signer: int, ok: bool = True, **fields: int) -> R:
        return self.post([self.transfer(debit, credit, amount, **fields)], signer, ok)[0]

    def resolve(self, flag: int, pending_id: int, signer: int, amount: int | None = None) -> R:
        whole = U128_MAX if flag == 4 else 0
        amount = whole if amount is None else amount
        transfer = Transfer(*[0] * 13)._replace(id=self.new_id(), pending_id=pending_id, amount=amount, flags=flag)
        return self.post([transfer], signer)[0]

    def mandate(
        self, account: int, holder: int, amount: int, until: int, signer: int, ok: bool = True
    ) -> AuthorityResult:
        result = self.engine.set_mandates(
            u128_array([account]),
            np.array([holder], np.uint32),
            u128_array([amount]),
            np.array([until], np.uint64),
            np.array([signer], np.uint32),
            np.array([ok]),
        )
        return AuthorityResult(int(result[0]))

    def change_owner(self, account: int, owner: int, registrar: int) -> AuthorityResult:
        result = self.engine.change_owners(u128_array([account]), np.array([owner], np.uint32), registrar)
        return AuthorityResult(int(result[0]))

    def change_controller(self, pending_id: int, controller: int, registrar: int) -> AuthorityResult:
        result = self.engine.change_controllers(u128_array([pending_id]), np.array([controller], np.uint32), registrar)
        return AuthorityResult(int(result[0]))

    def account(self, account: int) -> Any:
        records, found = self.engine.lookup_accounts(u128_array([account]))
        assert found[0]
        return records[0]

    def balances(self, account: int) -> tuple[int, int, int, int]:
        """Debits pending, debits posted, credits pending, credits posted."""
        record = self.account(account)
        names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        pending, posted, credits_pending, credits_posted = (u128_int(record[name]) for name in names)
        return pending, posted, credits_pending, credits_posted

    def funds(self, account: int) -> int:
        pending, posted, _, credits = self.balances(account)
        return credits - posted - pending

    def state(self) -> dict[str, bytes]:
        """Everything the engine holds, to compare by."""
        return {name: column.tobytes() for name, column in self.engine.dump().items()}
