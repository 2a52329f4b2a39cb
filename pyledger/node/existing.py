"""Whether records that another node says exist do: a client takes that for success, so the own book must show it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger.ledger.batches import AccountBatch, Submission, TransferBatch
from pyledger.ledger.book import Book
from pyledger.types import NO_KEY, TRANSFER, CreateAccountResult, CreateTransferResult

__all__ = ["plausible_codes", "unstamped_bytes"]

_ACCOUNT_FIELDS: Final = ("user_data_128", "user_data_64", "user_data_32", "ledger", "code", "flags")


def plausible_codes(
    book: Book, submission: Submission, positions: NDArray[np.intp], codes: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Which results of refused records the book does not contradict.

    That a record exists must be so, field by field; that another one has its id, too. A record that took something over
    when it took effect is not known again: nothing is said of it rather than something wrong.

    Parameters
    ----------
    book : Book
    submission : Submission
    positions : NDArray, shape (k,)
        Of the refused records in the submission.
    codes : NDArray[uint32], shape (k,)
    """
    kind: type[CreateAccountResult] | type[CreateTransferResult]
    match submission:
        case TransferBatch():
            kind, (known, same) = CreateTransferResult, _transfers_known(book, submission.records[positions])
        case AccountBatch():
            kind, (known, same) = CreateAccountResult, _accounts_known(book, submission.entries[positions])
        case _:
            return np.ones(len(codes), np.bool_)
    others = [code for code in kind if code.name.startswith("EXISTS_")]
    return np.where(codes == kind.EXISTS, same, known | ~np.isin(codes, others))


def _transfers_known(book: Book, records: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    found, known = book.engine.lookup_transfers(np.ascontiguousarray(records["id"]))
    same = np.zeros(len(records), np.bool_)
    same[known] = (unstamped_bytes(found[known]) == unstamped_bytes(records[known])).all(axis=1)
    return known, same


def _accounts_known(book: Book, entries: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    records = entries["record"]
    slots = book.engine.account_slots(np.ascontiguousarray(records["id"]))
    known = slots != NO_KEY
    found, same = book.engine.records_at(slots[known]), known.copy()
    same[known] = book.engine.standings_at(slots[known])[0] == entries["owner_key"][known]
    for name in _ACCOUNT_FIELDS:
        same[known] &= found[name] == records[name][known]
    return known, same


def unstamped_bytes(records: NDArray[Any]) -> NDArray[np.uint8]:
    """Transfers as bytes, shape (n, 120): without the timestamp, which stands last."""
    rows: NDArray[np.uint8] = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), TRANSFER.itemsize)
    return rows[:, : TRANSFER.fields["timestamp"][1]]  # type: ignore[index]
