"""Changes of authority: what is signed for them, and how the engine is asked to make them.

Everything here binds the chain, the kind and a number that counts, so that nothing signed can be used twice or
elsewhere. Keys of other institutions are named by their public keys, not by an index that could come to mean another.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.ledger.commands import KIND_MANDATE, KIND_OWNERS, KIND_REVOCATIONS
from pyledger.types import u128_array

__all__ = ["apply_change", "apply_order", "key_leaves", "key_proof_messages", "order_message", "row_leaves"]

KEY_DOMAIN: Final = b"pyledger/key/v1\0"
ORDER_DOMAIN: Final = b"pyledger/order/v1\0"

_KEY_LEAF: Final = np.dtype([("public_key", "u1", (32,)), ("roles", "<u4"), ("valid_from", "<u8")])
_PROOF: Final = struct.Struct("<16sII")
_ORDER: Final = struct.Struct("<B16sQ16s32s16sQ")


def key_leaves(public_keys: NDArray[np.uint8], roles: int, valid_from: int) -> NDArray[np.uint8]:
    """Leaf data of keys to be registered, shape (n, 44): public key, roles u32, first height u64."""
    leaves = np.empty(len(public_keys), _KEY_LEAF)
    leaves["public_key"], leaves["roles"], leaves["valid_from"] = public_keys, roles, valid_from
    return row_leaves(leaves)


def row_leaves(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Leaf data of the rows of a change, as they are; shape (n, bytes of a row)."""
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def key_proof_messages(
    chain_id: bytes, institution: int, roles: int, public_keys: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Bytes that a key signs to be registered, shape (n, 72).

    `pyledger/key/v1` and a zero byte, chain id, institution u32, roles u32, public key. Without it an institution could
    take the customer's key of another one for its own first.

    Parameters
    ----------
    chain_id : bytes
    institution : int
        Number of the institution in the genesis.
    roles : int
        `KeyRole` that the key is to have.
    public_keys : NDArray[uint8], shape (n, 32)
    """
    head = KEY_DOMAIN + _PROOF.pack(chain_id, institution, roles)
    messages = np.empty((len(public_keys), len(head) + 32), np.uint8)
    messages[:, : len(head)] = np.frombuffer(head, np.uint8)
    messages[:, len(head) :] = public_keys
    return messages


def order_message(
    kind: int, chain_id: bytes, sequence: int, account_id: int, public_key: bytes, amount: int, until_height: int
) -> bytes:
    """Bytes that an account's owner signs for a mandate or a rotation.

    `pyledger/order/v1` and a zero byte, kind u8, chain id, sequence u64, account id, public key of the holder or of the
    new owner, amount u128, until_height u64; the last two are zero in a rotation.
    """
    fields = (kind, chain_id, sequence, _u128_bytes(account_id), public_key, _u128_bytes(amount), until_height)
    return ORDER_DOMAIN + _ORDER.pack(*fields)


def apply_change(engine: _core.Engine, kind: int, rows: NDArray[Any], institution: int) -> NDArray[np.uint32]:
    """Have the engine make an institution's changes; one `AuthorityResult` a row."""
    if kind == KIND_REVOCATIONS:
        return engine.revoke_keys(rows["key"].copy(), rows["height"].copy(), institution)
    subject, key = rows.dtype.names or ()
    change = engine.change_owners if kind == KIND_OWNERS else engine.change_controllers
    return change(rows[subject].copy(), rows[key].copy(), institution)


def apply_order(
    engine: _core.Engine,
    kind: int,
    account_id: int,
    key: int,
    amount: int,
    until_height: int,
    signer: int,
    signature_ok: bool,
) -> NDArray[np.uint32]:
    """Have the engine carry out an owner's order; its `AuthorityResult` as an array of one."""
    accounts, keys = u128_array([account_id]), np.array([key], np.uint32)
    signers, valid = np.array([signer], np.uint32), np.array([signature_ok])
    if kind != KIND_MANDATE:
        return engine.rotate_owners(accounts, keys, signers, valid)
    until = np.array([until_height], np.uint64)
    return engine.set_mandates(accounts, keys, u128_array([amount]), until, signers, valid)


def _u128_bytes(value: int) -> bytes:
    return value.to_bytes(16, "little")
