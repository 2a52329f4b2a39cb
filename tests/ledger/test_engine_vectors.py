"""TigerBeetle's own test tables: with valid authority everywhere, results and balances are equal to its.

Clock of the tables: a request moves it by one and by one more for each event; ending expired transfers moves it by a
whole request.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyledger import _core
from pyledger.reference.engine import Account, Transfer, records_of
from pyledger.reference.engine import Engine as Twin
from pyledger.types import (
    ACCOUNT,
    TRANSFER,
    AccountFlags,
    CreateAccountResult,
    CreateTransferResult,
    TransferFlags,
    u128_array,
    u128_int,
)

TABLES = Path(__file__).parents[1] / "vectors" / "tigerbeetle" / "state_machine_tables.txt"
U128_MAX, U64_MAX = (1 << 128) - 1, (1 << 64) - 1
TIMESTAMP_MAX = (1 << 63) - 1
NANOSECONDS = {"nanoseconds": 1, "seconds": 10**9}
EXPIRY_TICKS = 31
INSTITUTION = 7

ACCOUNT_COLUMNS = (
    *("id", "debits_pending", "debits_posted", "credits_pending", "credits_posted"),
    *("user_data_128", "user_data_64", "user_data_32", "reserved", "ledger", "code"),
    *("LNK", "D<C", "C<D", "HIST", "IMP", "CLSD", "padding", "timestamp", "status"),
)
ACCOUNT_FLAGS = {
    "LNK": AccountFlags.LINKED,
    "D<C": AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS,
    "C<D": AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS,
    "HIST": AccountFlags.HISTORY,
    "IMP": AccountFlags.IMPORTED,
    "CLSD": AccountFlags.CLOSED,
}
TRANSFER_COLUMNS = (
    *("id", "debit_account_id", "credit_account_id", "amount", "pending_id"),
    *("user_data_128", "user_data_64", "user_data_32", "timeout", "ledger", "code"),
    *("LNK", "PEN", "POS", "VOI", "BDR", "BCR", "IMP", "CDR", "CCR", "padding", "timestamp", "status"),
)
TRANSFER_FLAGS = {
    "LNK": TransferFlags.LINKED,
    "PEN": TransferFlags.PENDING,
    "POS": TransferFlags.POST_PENDING_TRANSFER,
    "VOI": TransferFlags.VOID_PENDING_TRANSFER,
    "BDR": TransferFlags.BALANCING_DEBIT,
    "BCR": TransferFlags.BALANCING_CREDIT,
    "IMP": TransferFlags.IMPORTED,
    "CDR": TransferFlags.CLOSING_DEBIT,
    "CCR": TransferFlags.CLOSING_CREDIT,
}


def read_tables() -> dict[str, list[list[str]]]:
    tables: dict[str, list[list[str]]] = {}
    for line in TABLES.read_text().splitlines():
        if line.startswith("test "):
            rows = tables[line.removeprefix("test ")] = []
        elif line:
            rows.append(line.split())
    return tables


def number(token: str, greatest: int = U128_MAX) -> int:
    digits = token[1:] if token[0].isalpha() else token
    return greatest - int(digits[1:]) if digits[0] == "-" else int(digits)


def parse_event(tokens: list[str], columns: tuple[str, ...], flags: dict[str, Any], first_padding_bit: int) -> Any:
    row = dict(zip(columns, tokens, strict=True))
    fields = {"flags": 0}
    for name, token in row.items():
        if name == "status":
            continue
        if name in flags:
            assert token in ("_", name)
            fields["flags"] |= int(flags[name]) if token == name else 0
        elif name == "padding":
            fields["flags"] |= 0 if token == "_" else number(token) << first_padding_bit
        else:
            greatest = U64_MAX if name in ("timestamp", "user_data_64") else U128_MAX
            fields[name] = 0 if token == "_" else number(token, greatest)
    return fields, row["status"].upper()


class Native:
    """The engine behind `_core`, with balances set through a snapshot."""

    def __init__(self) -> None:
        self.engine = _core.Engine()

    def set_balances(self, balances: dict[int, list[int]]) -> None:
        state = self.engine.dump()
        for record in state["accounts"]:
            for field, value in zip(ACCOUNT_COLUMNS[1:5], balances.get(u128_int(record["id"]), []), strict=False):
                record[field] = u128_array([value])[0]
        self.engine = _core.Engine.load(state)


class Reference:
    """The twin."""

    def __init__(self) -> None:
        self.engine = Twin()

    def set_balances(self, balances: dict[int, list[int]]) -> None:
        for account_id, values in balances.items():
            account = self.engine.tables.accounts[account_id]
            self.engine.tables.accounts[account_id] = account._replace(
                **dict(zip(ACCOUNT_COLUMNS[1:5], values, strict=True))
            )


class Runner:
    """Executes the rows of one table."""

    def __init__(self, book: Any) -> None:
        self.book = book
        self.clock = 0
        self.events: list[Any] = []
        self.statuses: list[str] = []
        self.balances: dict[int, list[int]] = {}
        book.engine.register_keys(np.array([INSTITUTION], np.uint32), 0)

    def run(self, action: str, *tokens: str) -> None:
        getattr(self, action)(*tokens)

    def account(self, *tokens: str) -> None:
        fields, status = parse_event([*tokens], ACCOUNT_COLUMNS, ACCOUNT_FLAGS, 6)
        self.events.append(Account(**fields))
        self.statuses.append(status)

    def transfer(self, *tokens: str) -> None:
        fields, status = parse_event([*tokens], TRANSFER_COLUMNS, TRANSFER_FLAGS, 9)
        self.events.append(Transfer(**fields))
        self.statuses.append(status)

    def setup(self, account: str, *balances: str) -> None:
        self.balances[number(account)] = [number(balance) for balance in balances]
        self.book.set_balances(self.balances)
        self.balances = {}

    def tick(self, amount: str, unit: str) -> None:
        interval = abs(int(amount)) * NANOSECONDS[unit]
        self.clock += interval if int(amount) > 0 else TIMESTAMP_MAX - interval
        self.expire()

    def expire(self) -> None:
        if len(self.book.engine.expire(self.clock, 1000)[0]):
            self.clock += EXPIRY_TICKS

    def commit(self, operation: str) -> None:
        count, first = len(self.events), self.clock + 2
        self.clock += 1 + count
        key = np.zeros(count, np.uint32)
        if operation == "create_accounts":
            records, institutions = records_of(self.events, ACCOUNT), np.full(count, INSTITUTION, np.uint32)
            results = self.book.engine.create_accounts(records, key, institutions, first, INSTITUTION)
            assert [CreateAccountResult(code).name for code in results] == self.statuses
        elif operation == "create_transfers":
            records, valid = records_of(self.events, TRANSFER), np.ones(count, np.bool_)
            results, _ = self.book.engine.create_transfers(records, key, valid, first)
            assert [CreateTransferResult(code).name for code in results] == self.statuses
        self.events, self.statuses = [], []
        self.expire()

    def lookup_account(self, account: str, *expected: str) -> None:
        records, found = self.book.engine.lookup_accounts(u128_array([number(account)]))
        assert found[0] == (expected != ("_",))
        if found[0]:
            *balances, closed = expected
            assert [u128_int(records[0][name]) for name in ACCOUNT_COLUMNS[1:5]] == [*map(number, balances)]
            assert bool(records[0]["flags"] & AccountFlags.CLOSED) == (closed == "CLSD")

    def lookup_transfer(self, transfer: str, what: str, expected: str) -> None:
        records, found = self.book.engine.lookup_transfers(u128_array([number(transfer)]))
        if what == "exists":
            assert found[0] == (expected == "true")
        elif what == "amount":
            assert u128_int(records[0]["amount"]) == number(expected)
        else:
            assert int(records[0]["timestamp"]) == number(expected)


@pytest.mark.parametrize("book", [Native, Reference])
@pytest.mark.parametrize("name", read_tables())
def test_table_gives_the_documented_results_and_balances(name: str, book: Any) -> None:
    rows = read_tables()[name]
    assert rows
    runner = Runner(book())
    for row in rows:
        runner.run(*row)
    assert not runner.events, "the table ends with events that no row commits"
