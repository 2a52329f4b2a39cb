"""Who signs: the keys of a chain and the institutions' batches, checked against what was signed.

Whether a valid signer may debit an account, and whether a key may attest, is decided by the posting engine; here it is
decided whether a signature is valid, and counted which batch of an institution and which order of a key comes next.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import ed25519
from pyledger.errors import AuthorisationError, InputError, SignatureError
from pyledger.ledger.batches import Attest, KeyBatch, OrderedBy, OwnerOrder, TransferBatch
from pyledger.ledger.blocks import batch_message, transfer_messages
from pyledger.ledger.changes import key_proof_messages, order_message
from pyledger.ledger.commands import ChangeValidators
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.validators import Office, Roster, approvals_needed, change_message

__all__ = ["Authority"]


class Authority:
    """The key registry of a chain. Checking may go on in other threads while keys are added.

    Parameters
    ----------
    genesis : Genesis
        Key index i is the attestation key of its institution i.

    Attributes
    ----------
    sequences : Counter of (number, kind)
        Of the institutions' last batches of each kind but transfers, of the keys' last orders (under KIND_MANDATE), of
        the chain's last change of the validators.
    office : Office
        Who votes.
    """

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._registry = ed25519.KeyRegistry()
        self._index_of: dict[bytes, int] = {}
        self._public_keys = np.empty((0, 32), np.uint8)
        self.sequences: Counter[tuple[int, int]] = Counter()
        self.office = Office(Roster.of(genesis))

    @property
    def keys_count(self) -> int:
        """Number of registered keys."""
        return len(self._public_keys)

    @property
    def public_keys(self) -> NDArray[np.uint8]:
        """All public keys by key index, shape (n, 32)."""
        return self._public_keys

    def dump(self) -> dict[str, NDArray[Any]]:
        """Everything that a snapshot must keep: keys in order, and what counts as the last of each kind."""
        counts = [(*counter, sequence) for counter, sequence in sorted(self.sequences.items()) if sequence]
        return {
            "public_keys": self._public_keys.copy(),
            "sequences": np.array(counts, np.uint64).reshape(-1, 3),
            "office": np.frombuffer(self.office.to_bytes(), np.uint8),
        }

    @classmethod
    def load(cls, genesis: Genesis, state: dict[str, NDArray[Any]]) -> Authority:
        """An authority that goes on as the one that was dumped."""
        authority = cls(genesis)
        authority.add_keys(np.ascontiguousarray(state["public_keys"]))
        for number, kind, sequence in state["sequences"].tolist():
            authority.set_sequence(number, kind, sequence)
        authority.office = Office.from_bytes(state["office"].tobytes())
        return authority

    def find_key(self, public_key: bytes) -> int | None:
        """Key index of a public key, or None if it is not registered."""
        return self._index_of.get(public_key)

    def known_keys(self, indexes: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Public keys at key indexes, shape (n, 32); zeros, which is no key, where there is none."""
        known = indexes < self.keys_count
        rows = self._public_keys[np.where(known, indexes, 0)]
        rows[~known] = 0
        return rows

    def add_keys(self, public_keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Register new keys, shape (n, 32); returns their key indexes."""
        indexes = self._registry.add(public_keys)
        self._index_of.update(zip(map(bytes, public_keys), indexes.tolist(), strict=True))
        self._public_keys = np.concatenate([self._public_keys, public_keys])
        return indexes

    def truncate(self, keys_count: int) -> None:
        """Keep only the first keys."""
        kept = self._public_keys[:keys_count].copy()
        self._registry, self._index_of, self._public_keys = ed25519.KeyRegistry(), {}, kept[:0]
        self.add_keys(kept)

    def require_new_keys(self, public_keys: NDArray[np.uint8]) -> None:
        """Refuse keys that are registered, or twice in the batch."""
        seen: set[bytes] = set()
        for row, key in enumerate(map(bytes, public_keys), 1):
            if key in seen or key in self._index_of:
                raise InputError("this public key is registered already", row=row, field="public_key")
            seen.add(key)

    def require_possession(self, batch: KeyBatch, institution: int) -> None:
        """Refuse keys that are malformed, or that did not sign that this institution may register them so."""
        bic = self.institution_name(institution)
        ed25519.check_public_keys(batch.public_keys)
        messages = key_proof_messages(self._genesis.chain_id, institution, batch.roles, batch.public_keys)
        valid = ed25519.verify_many(batch.public_keys, messages, batch.proofs)
        if not valid.all():
            row = int(np.argmin(valid))
            raise SignatureError(f"row {row + 1}: the key's proof of possession for {bic} is not valid", row=row)

    def last_sequence(self, number: int, kind: int) -> int:
        """Sequence of an institution's last batch of any kind but transfers, or of a key's last order; 0 before it."""
        return self.sequences[number, kind]

    def set_sequence(self, number: int, kind: int, sequence: int) -> None:
        """Take a batch or an order as the last of its kind."""
        self.sequences[number, kind] = sequence

    def institution_name(self, institution: int) -> str:
        """BIC of a member; AuthorisationError if there is no such member."""
        if not 0 <= institution < len(self._genesis.institutions):
            raise AuthorisationError(f"institution {institution}: not a member of this chain")
        return self._genesis.institutions[institution].bic

    def signatures_valid(self, batch: TransferBatch, hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Whether each transfer has a valid signature of a registered key; `hashes` are the leaf hashes."""
        assert batch.signers is not None
        assert batch.signatures is not None
        known = batch.signers < self.keys_count
        indexes = batch.signers if known.all() else np.where(known, batch.signers, 0).astype(np.uint32)
        valid = self._registry.verify_many(indexes, transfer_messages(batch.records, hashes), batch.signatures)
        return valid & known

    def message(self, kind: int, institution: int, sequence: int, size: int, root: bytes) -> bytes:
        """Bytes that an institution signs for a batch of this chain."""
        return batch_message(kind, self._genesis.chain_id, institution, sequence, size, root)

    def attestation_valid(self, attest: Attest, kind: int, size: int, root: bytes) -> bool:
        """Whether a registered key signed a batch of this size and RFC 6962 root; not whether it may.

        Raises
        ------
        AuthorisationError
            If there is no such member.
        """
        self.institution_name(attest.institution)
        message = self.message(kind, attest.institution, attest.sequence, size, root)
        return self._signed_by(attest.key, message, attest.signature)

    def order_message(self, order: OwnerOrder, sequence: int) -> bytes:
        """Bytes that an account's owner signs for an order of this chain."""
        subject = self.known_keys(np.array([order.subject], np.uint32)).tobytes()
        fields = (order.kind, self._genesis.chain_id, sequence, order.account_id, subject)
        return order_message(*fields, order.amount, order.until_height)

    def order_valid(self, order: OwnerOrder, by: OrderedBy) -> bool:
        """Whether a registered key signed an order; not whether it is the owner's."""
        return self._signed_by(by.key, self.order_message(order, by.sequence), by.signature)

    def approvals_valid(self, change: ChangeValidators) -> bool:
        """Whether registered keys signed all approvals of a change of the validators; not whether they govern."""
        message = change_message(self._genesis.chain_id, change.number, change.from_height, change.validators)
        return all(self._signed_by(each.signer, message, each.signature) for each in change.approvals)

    def require_approvals(self, change: ChangeValidators) -> None:
        """Refuse a change that too few institutions approve, or one twice, or somebody who is no member.

        Approvals stand by rising institution: a change with the same ones has one encoding.
        """
        places = [approval.institution for approval in change.approvals]
        institutions = set(places)
        for institution in institutions:
            self.institution_name(institution)
        needed = approvals_needed(len(self._genesis.institutions))
        if len(institutions) != len(change.approvals):
            raise AuthorisationError("change of validators: an institution approves twice")
        if places != sorted(places):
            raise AuthorisationError("change of validators: expected approvals by rising institution")
        if len(institutions) < needed:
            members = len(self._genesis.institutions)
            expected = f"expected approvals of {needed} of {members} institutions"
            raise AuthorisationError(f"change of validators: {expected}, got {len(institutions)}")

    def _signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        if index >= self.keys_count:
            return False
        try:
            ed25519.verify(self._public_keys[index].tobytes(), message, signature)
        except SignatureError:
            return False
        return True
