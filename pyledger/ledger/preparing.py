"""Preparing a submission for the book: its hashes, and whether its signatures are valid. Nothing changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.ledger.authority import Authority
from pyledger.ledger.batches import (
    Attest,
    AttestedBatch,
    KeyBatch,
    OrderedBy,
    OwnerOrder,
    Submission,
    TransferBatch,
    batch_kind,
    batch_leaf_hashes,
    check_form,
)
from pyledger.ledger.blocks import transfer_hashes
from pyledger.ledger.commands import ChangeValidators
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.validators import Roster
from pyledger.types import NO_KEY

__all__ = ["Prepared", "Preparing", "names_key_above"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission with what `Book.prepare` found out about it.

    Parameters
    ----------
    submission : Submission
    hashes : NDArray[uint8], shape (n, 32)
        Leaf hashes of its records.
    signed_count, signed_root : int, bytes
        Size and RFC 6962 root of the batch as its institution signed it; 0 and empty if each transfer is signed.
    valid : NDArray[bool] or bool
        Whether each signature is valid, or the attestation. Nothing yet if the key is held here.
    keys_count : int
        Keys that were registered then.
    """

    submission: Submission
    hashes: NDArray[np.uint8]
    signed_count: int
    signed_root: bytes
    valid: NDArray[np.bool_] | bool
    keys_count: int


class Preparing:
    """The part of `Book` that hashes and verifies; its calls may come from any thread.

    Parameters
    ----------
    genesis : Genesis
    authority : Authority
    """

    def __init__(self, genesis: Genesis, authority: Authority) -> None:
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.authority = authority
        self.stage_seconds: defaultdict[str, float] = defaultdict(float)
        self._stage_lock = Lock()

    @property
    def keys_count(self) -> int:
        """Number of registered keys."""
        return self.authority.keys_count

    def prepare(self, submission: Submission, *, trusted: bool = False) -> Prepared:
        """Hash a submission's records and check its signatures. Nothing changes; calls may come from any thread.

        Parameters
        ----------
        submission : Submission
        trusted : bool, optional
            Take the signatures for valid.

        Raises
        ------
        InputError, AuthorisationError
            If it is malformed, or attested by none of the members.
        """
        check_form(submission, self.genesis.block_transfers_max)
        keys_count = self.keys_count
        if isinstance(submission, OwnerOrder):
            return self._prepare_order(submission, trusted, keys_count)
        if isinstance(submission, ChangeValidators):
            return self._prepare_validators(submission, trusted, keys_count)
        with self.stage("hash"):
            hashes = self._leaf_hashes(submission)
        if isinstance(submission, TransferBatch) and submission.attest is None:
            return self._prepare_signed(submission, hashes, trusted, keys_count)
        return self._prepare_attested(submission, hashes, trusted, keys_count)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of the block of code to a stage."""
        started = perf_counter()
        try:
            yield
        finally:
            with self._stage_lock:
                self.stage_seconds[name] += perf_counter() - started

    def _leaf_hashes(self, submission: AttestedBatch) -> NDArray[np.uint8]:
        if not isinstance(submission, TransferBatch) or submission.controllers is None:
            return batch_leaf_hashes(self.chain_id, submission)
        controlled = submission.controlled
        keys = self.authority.known_keys(submission.controllers[controlled])
        return transfer_hashes(self.chain_id, submission.records, controlled, keys)

    def _prepare_order(self, order: OwnerOrder, trusted: bool, keys_count: int) -> Prepared:
        valid = trusted or (isinstance(order.by, OrderedBy) and self.authority.order_valid(order, order.by))
        return Prepared(order, np.empty((0, 32), np.uint8), 0, b"", valid, keys_count)

    def _prepare_validators(self, change: ChangeValidators, trusted: bool, keys_count: int) -> Prepared:
        if not trusted:  # what is cheap comes first: nobody need hold a key to hand one in
            self.authority.require_approvals(change)
        valid = trusted or self.authority.approvals_valid(change)
        if valid and not trusted:
            Roster(change.validators).check()
        return Prepared(change, np.empty((0, 32), np.uint8), 0, b"", valid, keys_count)

    def _prepare_signed(
        self, batch: TransferBatch, hashes: NDArray[np.uint8], trusted: bool, keys_count: int
    ) -> Prepared:
        valid = np.ones(len(hashes), np.bool_) if trusted else self._signatures_valid(batch, hashes)
        return Prepared(batch, hashes, 0, b"", valid, keys_count)

    def _prepare_attested(
        self, submission: AttestedBatch, hashes: NDArray[np.uint8], trusted: bool, keys_count: int
    ) -> Prepared:
        attest = submission.attest
        assert attest is not None
        if isinstance(submission, KeyBatch) and not trusted:
            with self.stage("verify"):
                self.authority.require_possession(submission, attest.institution)
        with self.stage("hash"):
            root = merkle.root_of_leaf_hashes(hashes)
        valid = trusted
        if not trusted and isinstance(attest, Attest):
            with self.stage("verify"):
                valid = self.authority.attestation_valid(attest, batch_kind(submission), len(hashes), root)
        return Prepared(submission, hashes, len(hashes), root, valid, keys_count)

    def _signatures_valid(self, batch: TransferBatch, hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        with self.stage("verify"):
            return self.authority.signatures_valid(batch, hashes)


def names_key_above(submission: Submission, count: int) -> bool:
    """Whether a submission names a key index from a number on, so that its hashes or signatures depend on that key."""
    if isinstance(submission, OwnerOrder):
        return max(submission.subject, submission.by.key) >= count
    if isinstance(submission, ChangeValidators):
        return any(approval.signer >= count for approval in submission.approvals)
    if submission.attest is not None and submission.attest.key >= count:
        return True
    if not isinstance(submission, TransferBatch):
        return False
    columns = [column for column in (submission.signers, submission.controllers) if column is not None]
    return any(bool(((column >= count) & (column != NO_KEY)).any()) for column in columns)
