"""Who signs: the keys of a chain and the institutions' batches, checked against what was signed.

Whether a valid signer may debit an account is decided by the posting engine; here it is decided whether a signature is
valid, and whether an institution's batch is the next of its kind.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import ed25519
from pyledger.errors import AuthorisationError, InputError, SignatureError
from pyledger.ledger.batches import Attest, TransferBatch
from pyledger.ledger.blocks import batch_message, transfer_messages
from pyledger.ledger.genesis import Genesis

__all__ = ["Authority"]


class Authority:
    """The key registry of a chain. Checking may go on in other threads while keys are added.

    Parameters
    ----------
    genesis : Genesis
        Key index i is the attestation key of its institution i.
    """

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._registry = ed25519.KeyRegistry()
        self._known: set[bytes] = set()
        self._public_keys = np.empty((0, 32), np.uint8)
        self._sequences: Counter[tuple[int, int]] = Counter()

    @property
    def keys_count(self) -> int:
        """Number of registered keys."""
        return len(self._public_keys)

    @property
    def public_keys(self) -> NDArray[np.uint8]:
        """All public keys by key index, shape (n, 32)."""
        return self._public_keys

    def add_keys(self, public_keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Register new keys, shape (n, 32); returns their key indexes."""
        indexes = self._registry.add(public_keys)
        self._known.update(map(bytes, public_keys))
        self._public_keys = np.concatenate([self._public_keys, public_keys])
        return indexes

    def require_new_keys(self, public_keys: NDArray[np.uint8]) -> None:
        """Refuse keys that are malformed, registered, or twice in the batch."""
        ed25519.check_public_keys(public_keys)
        seen: set[bytes] = set()
        for row, key in enumerate(map(bytes, public_keys), 1):
            if key in seen or key in self._known:
                raise InputError("this public key is registered already", row=row, field="public_key")
            seen.add(key)

    @property
    def sequences(self) -> dict[tuple[int, int], int]:
        """Last sequence of each (institution, kind) that had a batch of keys or accounts."""
        return dict(self._sequences)

    def last_sequence(self, institution: int, kind: int) -> int:
        """Sequence of an institution's last batch of keys or accounts; 0 before the first."""
        return self._sequences.get((institution, kind), 0)

    def set_sequence(self, institution: int, kind: int, sequence: int) -> None:
        """Take a batch as the institution's last of its kind."""
        self._sequences[institution, kind] = sequence

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
        """Whether an institution signed a batch of this size and RFC 6962 root.

        Raises
        ------
        AuthorisationError
            If there is no such member.
        """
        self.institution_name(attest.institution)
        key = self._genesis.institutions[attest.institution].attestation_key
        try:
            ed25519.verify(key, self.message(kind, attest.institution, attest.sequence, size, root), attest.signature)
        except SignatureError:
            return False
        return True
