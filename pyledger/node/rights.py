"""The part of `pyledger.Ledger` that says who may do what: keys, owners, controllers, mandates."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto.arguments import require_array, require_tuple
from pyledger.crypto.keys import SigningKey
from pyledger.errors import AuthorisationError, InputError
from pyledger.ledger import signing
from pyledger.ledger.batches import Attest, ChangeBatch, HeldKey, KeyBatch, OrderedBy, OwnerOrder, Submission
from pyledger.ledger.book import Book
from pyledger.ledger.commands import (
    CHANGE_ROWS,
    KIND_CONTROLLERS,
    KIND_MANDATE,
    KIND_OWNERS,
    KIND_REVOCATIONS,
    KIND_ROTATION,
)
from pyledger.ledger.genesis import Genesis
from pyledger.node.pipeline import Receipt
from pyledger.types import AuthorityResult, KeyRole

__all__ = ["Attestation", "Rights"]

Attestation = tuple[int, bytes] | tuple[int, bytes, int]
"""Sequence, signature and, unless it is the institution's key of the genesis, the index of the key that signed."""


class Rights:
    """Changes of authority, for a class that executes submissions."""

    genesis: Genesis
    _book: Book
    _attestation_keys: dict[int, SigningKey]

    @abstractmethod
    def _submit(self, submission: Submission) -> Future[Receipt]:
        """Have a submission executed and made durable."""

    @abstractmethod
    def _require_writer(self) -> object:
        """StateError unless submissions are taken here at all."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[None]:
        """Hold writers off."""

    # Changes made by an institution ----------------------------------------------------------------------------------

    def submit_keys(
        self,
        public_keys: NDArray[np.uint8],
        proofs: NDArray[np.uint8],
        *,
        roles: KeyRole = KeyRole.HOLDER,
        valid_from: int = 0,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> Future[Receipt]:
        """Submit Ed25519 public keys to register, as `register_keys`, without waiting; the results are key indexes."""
        attest = self._attest(institution, attestation)
        return self._submit(KeyBatch(public_keys, proofs, attest, int(roles), valid_from))

    def register_keys(
        self,
        public_keys: NDArray[np.uint8],
        proofs: NDArray[np.uint8],
        *,
        roles: KeyRole = KeyRole.HOLDER,
        valid_from: int = 0,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> NDArray[np.uint32]:
        """Register Ed25519 keys of an institution and its customers.

        Parameters
        ----------
        public_keys : NDArray[uint8], shape (n, 32)
            None of them registered before, on whatever institution's behalf.
        proofs : NDArray[uint8], shape (n, 64)
            Each key's signature that this institution may register it: `pyledger.signing.prove_possession`.
        roles : KeyRole, optional
            HOLDER may own accounts and sign transfers and orders, ATTESTER signs for the institution.
        valid_from : int, optional
            First height at which they count; that of their block if it is later.
        institution : str, optional
            BIC; the only institution of the chain by default.
        attestation : tuple of (sequence, signature[, key index]), optional
            The institution's signature (`pyledger.signing.sign_batch`); made here if its key is held.

        Returns
        -------
        NDArray[uint32], shape (n,)
            Key indexes.

        Raises
        ------
        SignatureError
            If a key is malformed or a proof does not hold; `row` counts from 0.
        AuthorisationError
            If the institution did not attest, or not with a key that may.
        InputError
            If a key is registered already, or arrays do not fit.
        """
        attest = self._attest(institution, attestation)
        return self._run(KeyBatch(public_keys, proofs, attest, int(roles), valid_from))

    def revoke_keys(
        self,
        keys: NDArray[np.uint32],
        heights: NDArray[np.uint64] | None = None,
        *,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> NDArray[np.uint32]:
        """End the validity of an institution's keys.

        What a key signed before stays. An institution's last key that attests without an end can't be revoked:
        register the next one first.

        Parameters
        ----------
        keys : NDArray[uint32], shape (n,)
            Key indexes.
        heights : NDArray[uint64], shape (n,), optional
            First height at which each no longer counts; at once where it is zero or has passed.
        institution, attestation : optional
            As for `register_keys`.

        Returns
        -------
        NDArray[uint32], shape (n,)
            An `AuthorityResult` each, 0 = revoked.
        """
        ends = np.zeros(len(keys), np.uint64) if heights is None else heights
        return self._change(KIND_REVOCATIONS, (keys, ends), institution, attestation)

    def change_owners(
        self,
        account_ids: NDArray[Any],
        owners: NDArray[np.uint32],
        *,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> NDArray[np.uint32]:
        """Give accounts that an institution keeps to other keys of it, as when a customer lost his; mandates end.

        Parameters
        ----------
        account_ids : NDArray, shape (n,), dtype U128
        owners : NDArray[uint32], shape (n,)
            Key index of each new owner.
        institution, attestation : optional
            As for `register_keys`.

        Returns
        -------
        NDArray[uint32], shape (n,)
            An `AuthorityResult` each.
        """
        return self._change(KIND_OWNERS, (account_ids, owners), institution, attestation)

    def change_controllers(
        self,
        pending_ids: NDArray[Any],
        controllers: NDArray[np.uint32],
        *,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> NDArray[np.uint32]:
        """Replace controllers of pending transfers that are an institution's keys by other keys of it.

        Parameters
        ----------
        pending_ids : NDArray, shape (n,), dtype U128
        controllers : NDArray[uint32], shape (n,)
        institution, attestation : optional
            As for `register_keys`; the institution of the present controller, whoever keeps the accounts.

        Returns
        -------
        NDArray[uint32], shape (n,)
            An `AuthorityResult` each.
        """
        return self._change(KIND_CONTROLLERS, (pending_ids, controllers), institution, attestation)

    def rotate_attestation_key(
        self, new_key: SigningKey, *, institution: str | None = None, until_height: int = 0
    ) -> int:
        """Attest with a new key from now on; two blocks: the old key registers it, the new one revokes the old.

        The new key has the roles of the old one.

        Open the ledger with the new key in `InstitutionKeys` afterwards.

        Parameters
        ----------
        new_key : SigningKey
        institution : str, optional
            BIC; its present key must be held here.
        until_height : int, optional
            First height at which the old key no longer counts, for batches that are under way; at once by default.

        Returns
        -------
        int
            Index of the new key.
        """
        number = self._institution(institution)
        old = self._held_key(number).key
        with self._reading():
            roles = KeyRole(int(self._book.engine.keys()["key_roles"][old]))
        proofs = signing.prove_possession([new_key], self.genesis.chain_id, number, int(roles))
        row = np.frombuffer(new_key.public_key, np.uint8).reshape(1, 32)
        index = int(self.register_keys(row, proofs, roles=roles, institution=institution)[0])
        self._attestation_keys[number] = new_key
        ends = np.array([until_height], np.uint64)
        self.revoke_keys(np.array([old], np.uint32), ends, institution=institution)
        return index

    # Orders of an account's owner ------------------------------------------------------------------------------------

    def set_mandate(
        self,
        account_id: int,
        holder: int,
        amount: int,
        until_height: int,
        *,
        order: tuple[int, int, bytes] | None = None,
        institution: str | None = None,
    ) -> AuthorityResult:
        """Let the holder of another key debit an account, or end that.

        Parameters
        ----------
        account_id : int
        holder : int
            Key index; any institution's.
        amount : int
            How much he may debit in all, in minor units; what is left of an earlier mandate is forgotten. 0 ends it.
        until_height : int
            First height at which he no longer may.
        order : tuple of (key index, sequence, signature), optional
            The owner's signature (`pyledger.signing.sign_mandate`); made here for an institution whose key is held.
        institution : str, optional
            Without `order`: BIC of that institution.

        Returns
        -------
        AuthorityResult
            OK, or why it was refused: then it changed nothing and used up no sequence.

        Raises
        ------
        AuthorisationError
            If the sequence is not the next of the key's orders.
        """
        by = self._ordered_by(order, institution)
        submission = OwnerOrder(KIND_MANDATE, account_id, holder, by, amount, until_height)
        return AuthorityResult(int(self._run(submission)[0]))

    def rotate_owner(
        self,
        account_id: int,
        owner: int,
        *,
        order: tuple[int, int, bytes] | None = None,
        institution: str | None = None,
    ) -> AuthorityResult:
        """Hand an account to a new key of the same institution, by its owner's signature; its mandates end.

        Parameters
        ----------
        account_id : int
        owner : int
            Key index of the new owner.
        order, institution : optional
            As for `set_mandate`; the signature is `pyledger.signing.sign_rotation`.
        """
        submission = OwnerOrder(KIND_ROTATION, account_id, owner, self._ordered_by(order, institution))
        return AuthorityResult(int(self._run(submission)[0]))

    # What a signer must know -----------------------------------------------------------------------------------------

    def next_sequence(self, kind: int, institution: str | None = None) -> int:
        """Sequence that an institution's next batch of a kind must carry; kinds as in `pyledger.ledger.commands`."""
        number = self._institution(institution)
        with self._reading():
            return self._book.next_sequence(number, kind)

    def next_order(self, key: int) -> int:
        """Sequence that the next order of a key (by index) must carry."""
        with self._reading():
            return self._book.next_sequence(key, KIND_MANDATE)

    def find_key(self, public_key: bytes) -> int | None:
        """Key index of an Ed25519 public key, or None if it is not registered."""
        with self._reading():
            return self._book.authority.find_key(public_key)

    def public_key(self, index: int) -> bytes:
        """Ed25519 public key at a key index; 32 bytes."""
        with self._reading():
            return self._book.public_key(index)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _run(self, submission: Submission) -> NDArray[np.uint32]:
        return self._submit(submission).result().results

    def _change(
        self, kind: int, columns: tuple[Any, Any], institution: str | None, attestation: Attestation | None
    ) -> NDArray[np.uint32]:
        rows = _rows(CHANGE_ROWS[kind], columns)
        return self._run(ChangeBatch(kind, rows, self._attest(institution, attestation)))

    def _institution(self, bic: str | None) -> int:
        if bic is None:
            if len(self.genesis.institutions) != 1:
                raise InputError("institution: this chain has several, expected a BIC")
            return 0
        if bic not in self.genesis.institution_index:
            raise InputError(f"institution: '{bic}' is not a member of this chain")
        return self.genesis.institution_index[bic]

    def _attest(self, bic: str | None, attestation: Attestation | None) -> Attest | HeldKey:
        institution = self._institution(bic)
        if attestation is None:
            return self._held_key(institution)
        require_tuple("attestation", attestation, (2, 3), "sequence, signature and perhaps a key index")
        sequence, signature, signer = attestation if len(attestation) == 3 else (*attestation, None)
        return Attest(institution, sequence, signature, signer=signer)

    def _ordered_by(self, order: tuple[int, int, bytes] | None, bic: str | None) -> OrderedBy | HeldKey:
        return self._held_key(self._institution(bic)) if order is None else OrderedBy(*order)

    def _held_key(self, institution: int) -> HeldKey:
        self._require_writer()  # before it is said which key is missing: a reader holds none
        key = self._attestation_keys.get(institution)
        if key is None:
            bic = self.genesis.institutions[institution].bic
            raise AuthorisationError(f"{bic}: its attestation key is not held here, expected an attestation")
        return HeldKey(institution, key.sign, self._book.authority.find_key(key.public_key))


def _rows(dtype: np.dtype[Any], columns: tuple[Any, Any]) -> NDArray[Any]:
    names = dtype.names or ()
    for name, column in zip(names, columns, strict=True):
        if require_array(name, column, dtype[name]) != len(columns[0]):
            raise InputError(f"{name}: expected {len(columns[0])} as the other column has, got {len(column)}")
    rows = np.empty(len(columns[0]), dtype)
    for name, column in zip(names, columns, strict=True):
        rows[name] = column
    return rows
