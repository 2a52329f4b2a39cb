"""The door of a node: what may wait for a block at all.

A batch that is let in is kept on disk and in memory, and passed on, until a block settles it. So what could never take
effect is refused before: nobody crowds out the others with batches that he has no right to. Roles are looked at before
signatures and proofs, which cost more. The state decides again when the batch is executed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pyledger.errors import AuthorisationError
from pyledger.ledger.batches import (
    Attest,
    KeyBatch,
    OwnerOrder,
    Submission,
    batch_kind,
    counted_as,
)
from pyledger.ledger.book import Book, Prepared
from pyledger.ledger.commands import KIND_ACCOUNTS, KIND_TRANSFERS, ChangeValidators
from pyledger.types import NO_KEY, KeyRole, u128_array

__all__ = ["is_ahead", "prepare_authorised", "require_near", "require_next"]

_SEQUENCES_AHEAD_MAX: Final = 1024


def prepare_authorised(book: Book, submission: Submission) -> Prepared:
    """Prepare a submission that takes effect as things stand, for all that can be said without executing it.

    Raises
    ------
    AuthorisationError
        If its signer has no right to it, it names keys that are not registered, or not one signature is valid.
    InputError, SignatureError
        If it is malformed, or a new key or validator is none.
    """
    _require_right(book, submission)
    prepared = book.prepare(submission)
    if not np.any(prepared.valid):
        raise AuthorisationError("not one of the signatures is valid for this batch")
    return prepared


def is_ahead(book: Book, submission: Submission) -> bool:
    """Whether others must come before it."""
    place = counted_as(submission)
    return place is not None and place[1] > book.next_sequence(place[0], batch_kind(submission))


def require_near(book: Book, submission: Submission) -> None:
    """Refuse a sequence that is used up, or so far ahead that the batch would wait for long."""
    place = counted_as(submission)
    if place is None:
        return
    expected = book.next_sequence(place[0], batch_kind(submission))
    if place[1] < expected:
        raise AuthorisationError(f"expected sequence {expected} or above, got {place[1]}: it counts once")
    if place[1] >= expected + _SEQUENCES_AHEAD_MAX:
        raise AuthorisationError(f"expected a sequence below {expected + _SEQUENCES_AHEAD_MAX}, got {place[1]}")


def require_next(submission: Submission, next_sequence: Callable[[int, int], int]) -> None:
    """Refuse a change of rights or of the validators that is not the next one behind those that wait.

    Such commands are few, and what comes after a gap may never take effect. Accounts and transfers come in streams, and
    from several connections: for them `require_near` is enough.
    """
    place, kind = counted_as(submission), batch_kind(submission)
    if place is None or kind in (KIND_ACCOUNTS, KIND_TRANSFERS):
        return
    expected = next_sequence(place[0], kind)
    if place[1] != expected:
        found = f"expected sequence {expected}, got {place[1]}"
        raise AuthorisationError(f"{found}: a change of rights does not wait for others")


def _require_right(book: Book, submission: Submission) -> None:
    book.engine.set_height(book.posted_height + 1)  # whose keys count in the next block
    match submission:
        case ChangeValidators():
            book.authority.require_approvals(submission)
            for approval in submission.approvals:
                book.require_governor(approval.institution, approval.signer)
        case OwnerOrder():
            _require_owner(book, submission)
        case _ if isinstance(submission.attest, Attest):
            book.require_attester(submission.attest.institution, submission.attest.key)
            if isinstance(submission, KeyBatch) and submission.roles & KeyRole.GOVERNOR:
                book.require_governor(submission.attest.institution, submission.attest.key)


def _require_owner(book: Book, order: OwnerOrder) -> None:
    for key in (order.subject, order.by.key):
        if key >= book.keys_count:
            raise AuthorisationError(f"order: key {key} is not registered")
    slots = book.engine.account_slots(u128_array([order.account_id]))
    if slots[0] == NO_KEY:  # no slot
        raise AuthorisationError(f"order: there is no account {order.account_id}")
    if book.engine.standings_at(slots)[0][0] != order.by.key:
        raise AuthorisationError(f"order: key {order.by.key} does not own account {order.account_id}")
