"""The past of an account in plain Python: the twin of the native engine's history.

Balances are added up from all transfers and expiries that count, from the first one on; the native engine goes the
other way, from now back along links.
"""

from __future__ import annotations

from collections.abc import Callable

from pyledger.reference.engine import Engine, Expiry, Transfer
from pyledger.types import TransferFlags

__all__ = ["Balances", "balances_at", "balances_at_time", "history"]

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
