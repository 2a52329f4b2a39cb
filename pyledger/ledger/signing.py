"""What holders of keys sign, in one call each: proofs of possession, transfers, attestations, orders, who is to vote.

A key is anything with a `sign` method that gives an Ed25519 signature, such as `pyledger.keys.SigningKey`. Nothing here
needs a ledger at hand: chain id, sequences and the public keys of others are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.crypto.arguments import require_array, require_bytes
from pyledger.errors import InputError
from pyledger.ledger.blocks import batch_message, transfer_hashes, transfer_messages
from pyledger.ledger.changes import key_proof_messages, order_message
from pyledger.ledger.commands import KIND_MANDATE, KIND_ROTATION, Approval, Validator
from pyledger.ledger.validators import change_message
from pyledger.types import TRANSFER, KeyRole

__all__ = [
    "Signer",
    "approve_validators",
    "prove_possession",
    "sign_batch",
    "sign_mandate",
    "sign_rotation",
    "sign_transfers",
    "transfer_leaf_hashes",
]


class Signer(Protocol):
    """A secret key that signs."""

    @property
    def public_key(self) -> bytes:
        """Ed25519 public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""


def prove_possession(
    keys: Sequence[Signer], chain_id: bytes, institution: int, roles: int = int(KeyRole.HOLDER)
) -> NDArray[np.uint8]:
    """Agree that an institution of a chain registers these keys in these roles.

    Parameters
    ----------
    keys : sequence of Signer
    chain_id : bytes
        16 bytes.
    institution : int
        Its number in the genesis.
    roles : int, optional
        `KeyRole`.

    Returns
    -------
    NDArray[uint8], shape (n, 64)
        Proofs for `Ledger.register_keys`.
    """
    rows = np.frombuffer(b"".join(key.public_key for key in keys), np.uint8).reshape(-1, 32)
    messages = key_proof_messages(chain_id, institution, roles, rows)
    return _signatures(key.sign(message.tobytes()) for key, message in zip(keys, messages, strict=True))


def transfer_leaf_hashes(
    chain_id: bytes, transfers: NDArray[Any], controllers: Sequence[bytes | None] | None = None
) -> NDArray[np.uint8]:
    """RFC 6962 leaf hashes of transfers, shape (n, 32); of a batch to attest, their root is what is signed.

    Parameters
    ----------
    chain_id : bytes
    transfers : NDArray, shape (n,), dtype TRANSFER
    controllers : sequence of bytes or None, optional
        For each transfer the public key of its controller, or None.
    """
    require_array("transfers", transfers, TRANSFER)
    require_bytes("chain_id", chain_id, 16)
    named = [] if controllers is None else list(controllers)
    if controllers is not None and len(named) != len(transfers):
        raise InputError(f"controllers: expected one for each of {len(transfers)} transfers, got {len(named)}")
    rows = np.array([place for place, key in enumerate(named) if key is not None], np.intp)
    keys = np.frombuffer(b"".join(key for key in named if key is not None), np.uint8).reshape(-1, 32)
    return transfer_hashes(chain_id, transfers, rows, keys)


def sign_transfers(
    keys: Sequence[Signer],
    chain_id: bytes,
    transfers: NDArray[Any],
    controllers: Sequence[bytes | None] | None = None,
) -> NDArray[np.uint8]:
    """Sign transfers, one key each; members of a linked chain bind the whole chain, pending ones their controller.

    Parameters
    ----------
    keys : sequence of Signer, of length n
    chain_id : bytes
    transfers : NDArray, shape (n,), dtype TRANSFER
        In the order in which they are posted.
    controllers : optional
        As for `transfer_leaf_hashes`.

    Returns
    -------
    NDArray[uint8], shape (n, 64)
    """
    messages = transfer_messages(transfers, transfer_leaf_hashes(chain_id, transfers, controllers))
    return _signatures(key.sign(message.tobytes()) for key, message in zip(keys, messages, strict=True))


def sign_batch(
    key: Signer, kind: int, chain_id: bytes, institution: int, sequence: int, leaf_hashes: NDArray[np.uint8]
) -> bytes:
    """Attest a batch for an institution.

    Parameters
    ----------
    key : Signer
        A key of the institution with the role ATTESTER.
    kind : int
        KIND_KEYS, KIND_ACCOUNTS, KIND_TRANSFERS, KIND_REVOCATIONS, KIND_OWNERS or KIND_CONTROLLERS of
        `pyledger.ledger.commands`.
    chain_id : bytes
    institution : int
    sequence : int
        One above that of the institution's last batch of this kind, from 1.
    leaf_hashes : NDArray[uint8], shape (n, 32)
        Of the batch as it is submitted.

    Returns
    -------
    bytes
        Signature, 64 bytes.
    """
    root = merkle.root_of_leaf_hashes(leaf_hashes)
    return key.sign(batch_message(kind, chain_id, institution, sequence, len(leaf_hashes), root))


def sign_mandate(
    key: Signer,
    chain_id: bytes,
    sequence: int,
    account_id: int,
    holder_public_key: bytes,
    amount: int,
    until_height: int,
) -> bytes:
    """Let the holder of another key debit an account; amount 0 ends the mandate.

    Parameters
    ----------
    key : Signer
        The account's owner.
    chain_id : bytes
    sequence : int
        One above that of the key's last order, from 1.
    account_id : int
    holder_public_key : bytes
        32 bytes.
    amount : int
        How much he may debit in all, in minor units.
    until_height : int
        First height at which he no longer may.

    Returns
    -------
    bytes
        Signature, 64 bytes.
    """
    terms = (account_id, holder_public_key, amount, until_height)
    return key.sign(order_message(KIND_MANDATE, chain_id, sequence, *terms))


def sign_rotation(key: Signer, chain_id: bytes, sequence: int, account_id: int, new_public_key: bytes) -> bytes:
    """Hand an account to a new key; parameters as for `sign_mandate`."""
    return key.sign(order_message(KIND_ROTATION, chain_id, sequence, account_id, new_public_key, 0, 0))


def approve_validators(
    key: Signer,
    chain_id: bytes,
    institution: int,
    signer: int,
    number: int,
    from_height: int,
    validators: tuple[Validator, ...],
) -> Approval:
    """Approve for an institution that other validators vote from a height on.

    Parameters
    ----------
    key : Signer
        Registered with `KeyRole.GOVERNOR`; an institution's key of the genesis is.
    chain_id : bytes
    institution : int
        Its number in the genesis.
    signer : int
        Key index of the key.
    number : int
        One above that of the chain's last change of validators, from 1.
    from_height : int
        First height on which they vote.
    validators : tuple of Validator
        All of them, in order.
    """
    signature = key.sign(change_message(chain_id, number, from_height, validators))
    return Approval(institution, signer, signature)


def _signatures(signatures: Any) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, 64)
