"""The past of an account in plain Python: the twin of the native engine's history.

Balances are added up from all transfers and expiries that count, from the first one on; the native engine goes the
other way, from now back along links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pyledger.reference.engine import Engine, Expiry, Transfer
from pyledger.types import TransferFlags

__all__ = ["Balances", "Entry", "balances_at", "balances_at_time", "history", "resolution", "statement"]

Balances = tuple[int, int, int, int]
"""Debits pending, debits posted, credits pending, credits posted."""


def history(engine: Engine, account_id: int, first_time: int, last_time: int) -> list[Transfer]:
    """Return an account's transfers with timestamps in [first_time, last_time], newest first."""
    return [
        transfer
        for transfer in reversed(engine.tables.transfers.values())
        if account_id in (transfer.debit_account_id, transfer.credit_account_id)
        and first_time <= transfer.timestamp <= last_time
    ]


def balances_at_time(engine: Engine, account_id: int, time_ns: int) -> Balances:
    """Return balances after the transfers with timestamps, and the expiries with block times, up to a time."""
    return _sum(
        engine,
        account_id,
        lambda _, transfer: transfer.timestamp <= time_ns,
        lambda expiry: expiry.time_ns <= time_ns,
    )


def balances_at(engine: Engine, account_id: int, end: int, height: int) -> Balances:
    """Return balances after the first `end` transfers and the expiries of all heights up to `height`."""
    return _sum(
        engine,
        account_id,
        lambda position, _: position < end,
        lambda expiry: expiry.height <= height,
    )


def _sum(
    engine: Engine,
    account_id: int,
    takes_transfer: Callable[[int, Transfer], bool],
    takes_expiry: Callable[[Expiry], bool],
) -> Balances:
    transfers = engine.tables.transfers
    pending, posted = [0, 0], [0, 0]  # of the debit side, of the credit side

    def add(transfer: Transfer, to_pending: int, to_posted: int) -> None:
        for side, account in enumerate((transfer.debit_account_id, transfer.credit_account_id)):
            if account == account_id:
                pending[side] += to_pending
                posted[side] += to_posted

    for position, transfer in enumerate(transfers.values()):
        if not takes_transfer(position, transfer):
            continue
        if transfer.flags & TransferFlags.PENDING:
            add(transfer, transfer.amount, 0)
        elif transfer.flags & TransferFlags.POST_PENDING_TRANSFER:
            add(transfer, -transfers[transfer.pending_id].amount, transfer.amount)
        elif transfer.flags & TransferFlags.VOID_PENDING_TRANSFER:
            add(transfer, -transfers[transfer.pending_id].amount, 0)
        else:
            add(transfer, 0, transfer.amount)
    for expiry in engine.expired:
        if takes_expiry(expiry):
            add(transfers[expiry.pending_id], -transfers[expiry.pending_id].amount, 0)
    return pending[0], posted[0], pending[1], posted[1]


class Entry(NamedTuple):
    """An event of an account: position of the transfer or number of the expiry, and the balances after it."""

    transfer: Transfer
    number: int
    time_ns: int
    height: int
    released: int
    after: Balances


def statement(engine: Engine, account_id: int, first_time: int, last_time: int, limit: int) -> list[Entry]:
    """Return the events of an account with times in [first_time, last_time], newest first, at most `limit`."""
    totals = [0, 0, 0, 0]
    entries = []
    for transfer, number, time_ns, height, expired in _events(engine):
        if account_id not in (transfer.debit_account_id, transfer.credit_account_id):
            continue
        side = 0 if transfer.debit_account_id == account_id else 2
        pending, posted, released = _effect(engine, transfer, expired)
        totals[side] += pending - released
        totals[side + 1] += posted
        after = (totals[0], totals[1], totals[2], totals[3])
        if first_time <= time_ns <= last_time:
            entries.append(Entry(transfer, number, time_ns, height, released, after))
    return entries[::-1][:limit]


def resolution(engine: Engine, pending_id: int) -> tuple[int, int]:
    """Return the id of the transfer that posted or voided a pending one and the height at which it expired, or 0."""
    resolving = TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER
    by = [t.id for t in engine.tables.transfers.values() if t.pending_id == pending_id and t.flags & resolving]
    heights = [expiry.height for expiry in engine.expired if expiry.pending_id == pending_id]
    return next(iter(by), 0), next(iter(heights), 0)


def _events(engine: Engine) -> Iterator[tuple[Transfer, int, int, int, bool]]:
    """Yield record, number, time, height and whether it is an expiry, in the order in which things took effect."""
    expired = list(enumerate(engine.expired))
    for position, transfer in enumerate(engine.tables.transfers.values()):
        while expired and expired[0][1].position <= position:
            yield _expiry(engine, *expired.pop(0))
        yield transfer, position, transfer.timestamp, 0, False
    for number, expiry in expired:
        yield _expiry(engine, number, expiry)


def _expiry(engine: Engine, number: int, expiry: Expiry) -> tuple[Transfer, int, int, int, bool]:
    return engine.tables.transfers[expiry.pending_id], number, expiry.time_ns, expiry.height, True


def _effect(engine: Engine, transfer: Transfer, expired: bool) -> tuple[int, int, int]:
    """Amounts that a transfer, or the expiry of one, reserves, posts and releases."""
    if expired:
        return 0, 0, transfer.amount
    if transfer.flags & TransferFlags.PENDING:
        return transfer.amount, 0, 0
    if transfer.flags & (TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER):
        posted = transfer.amount if transfer.flags & TransferFlags.POST_PENDING_TRANSFER else 0
        return 0, posted, engine.tables.transfers[transfer.pending_id].amount
    return 0, transfer.amount, 0
