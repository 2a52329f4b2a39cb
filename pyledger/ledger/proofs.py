"""Proofs for offline checks: a transfer is in a final block, what an account holds after it, the chain only grew.

docs/receipt-format.md gives the bytes; `pyledger.verifier` checks them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import merkle
from pyledger.ledger.blocks import (
    ATTESTED,
    OUTCOME_SIZE,
    SIGNED,
    Block,
    linked_chains,
    outcome_leaves,
    transfer_hashes,
    transfer_leaves,
    weave,
)
from pyledger.ledger.commands import KIND_TRANSFERS, REFUSED_TRANSFER, Attestation
from pyledger.types import NO_KEY

__all__ = [
    "BALANCE_MAGIC",
    "HISTORY_MAGIC",
    "Finality",
    "covering_attestation",
    "encode_balance_proof",
    "encode_consistency_proof",
    "encode_receipt",
]

MAGIC: Final = b"PLRECPT\0"
BALANCE_MAGIC: Final = b"PLBALNC\0"
HISTORY_MAGIC: Final = b"PLHISTO\0"
VERSION: Final = 2


Finality = Sequence[tuple[Sequence[tuple[bytes, bytes]], bytes]]
"""What shows that a block is final: segments of headers in a row with their certificates, then the `bls.ValidatorSet`
bytes of who takes over, if an epoch ends there. The last segment begins with the block; those before it lead there from
the validators of the reader."""


def encode_receipt(block: Block, final: Finality, index: int, public_keys: Callable[[int], bytes]) -> bytes:
    """Prove the transfer at an index of a final block.

    Parameters
    ----------
    block : Block
    final : Finality
        Of the block.
    index : int
        Position in the block's transfers.
    public_keys : callable
        Gives the Ed25519 public key of a key index.

    Returns
    -------
    bytes
        Receipt, version 2.
    """
    body, chain_id = block.body, block.header.chain_id
    controllers = _key_rows(public_keys, body.controllers["key"])
    hashes = transfer_hashes(chain_id, body.transfers, body.controllers["position"], controllers)
    controller = controllers[body.controllers["position"] == index].tobytes()
    parts = [
        struct.pack("<8sHHI", MAGIC, VERSION, 0, index),
        transfer_leaves(chain_id, body.transfers[index : index + 1]).tobytes()[16:],
        b"\1" + controller if controller else b"\0",
        _path(merkle.Tree.from_leaf_hashes(hashes).prove(index)),
        _outcome(block, index, public_keys),
        _authority(block, hashes, index),
        _finality(final),
    ]
    return b"".join(parts)


def encode_balance_proof(final: Finality, account_id: int, state_proof: bytes) -> bytes:
    """Prove what an account holds after a final block, or that there is no such account.

    Parameters
    ----------
    final : Finality
    account_id : int
    state_proof : bytes
        Of the state tree after that block (`Book.prove_account`).

    Returns
    -------
    bytes
        Balance proof, version 2.
    """
    head = struct.pack("<8sHHI", BALANCE_MAGIC, VERSION, 0, 0) + account_id.to_bytes(16, "little")
    return b"".join([head, _sized(state_proof), _finality(final)])


def encode_consistency_proof(old: Finality, new: Finality, path: NDArray[np.uint8]) -> bytes:
    """Prove that the chain up to one final block is the beginning of the chain up to another.

    Parameters
    ----------
    old, new : Finality
    path : NDArray, shape (k, 32), dtype uint8
        Consistency proof of the history log (`Log.prove_consistency`) between the two heights.

    Returns
    -------
    bytes
        Consistency proof, version 2.
    """
    head = struct.pack("<8sHHI", HISTORY_MAGIC, VERSION, 0, 0)
    return b"".join([head, _path(path), _finality(old), _finality(new)])


def _outcome(block: Block, index: int, public_keys: Callable[[int], bytes]) -> bytes:
    """The outcome leaf and its path. All outcomes of the block are put together again for it."""
    leaves = block_outcomes(block, public_keys)
    return b"".join([leaves[index].tobytes(), _path(merkle.Tree(leaves).prove(index))])


def block_outcomes(block: Block, public_keys: Callable[[int], bytes]) -> NDArray[np.uint8]:
    """Leaf data of the block's outcomes, shape (n, 72)."""
    body = block.body
    amounts = body.effects if len(body.effects) else np.ascontiguousarray(body.transfers["amount"])
    timestamps = np.ascontiguousarray(body.transfers["timestamp"])
    leaves = np.empty((len(timestamps), OUTCOME_SIZE), np.uint8)
    signed = body.signers != NO_KEY
    rows = _key_rows(public_keys, body.signers[signed])
    leaves[signed] = outcome_leaves(timestamps[signed], amounts[signed], SIGNED, 0, 0, rows)
    for command in block.body.commands:
        if isinstance(command, Attestation) and command.kind == KIND_TRANSFERS:
            part = slice(command.first, command.first + command.taken)
            key = np.frombuffer(public_keys(command.signer), np.uint8).reshape(1, 32)
            leaves[part] = outcome_leaves(
                timestamps[part], amounts[part], ATTESTED, command.institution, command.sequence, key
            )
    return leaves


def _authority(block: Block, hashes: NDArray[np.uint8], index: int) -> bytes:
    """What the outcome's public key signed: the transfer, its linked chain, or the root of an attested batch."""
    body = block.body
    if body.signers[index] != NO_KEY:
        row = int(np.count_nonzero(body.signers[:index] != NO_KEY))
        chain = next(((start, end) for start, end in linked_chains(body.transfers) if start <= index < end), None)
        root = b"\0" if chain is None else b"\1" + merkle.root_of_leaf_hashes(hashes[slice(*chain)])
        return b"".join([body.signatures[row].tobytes(), root])
    attestation = covering_attestation(block, index)
    taken_hashes = hashes[attestation.first : attestation.first + attestation.taken]
    refused_leaves = np.frombuffer(attestation.refused, REFUSED_TRANSFER)["leaf"]
    signed = weave(taken_hashes, refused_leaves, attestation.refused_positions)
    taken = np.setdiff1d(np.arange(attestation.size), np.array(attestation.refused_positions, np.int64))
    position = int(taken[index - attestation.first])
    path = _path(merkle.Tree.from_leaf_hashes(signed).prove(position))
    return attestation.signature + struct.pack("<II", attestation.size, position) + path


def covering_attestation(block: Block, index: int) -> Attestation:
    """The attestation that stands for the transfer at an index."""
    for command in block.body.commands:
        if not isinstance(command, Attestation) or command.kind != KIND_TRANSFERS:
            continue
        if command.first <= index < command.first + command.taken:
            return command
    raise AssertionError(f"block {block.header.height}: transfer {index} has neither signer nor attestation")


def _key_rows(public_keys: Callable[[int], bytes], indexes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Public keys at key indexes, shape (n, 32); each is asked for once."""
    keys, places = np.unique(indexes, return_inverse=True)
    return np.frombuffer(b"".join(public_keys(int(key)) for key in keys), np.uint8).reshape(-1, 32)[places]


def _path(hashes: NDArray[np.uint8]) -> bytes:
    """One byte for the number of hashes, then the hashes, 32 bytes each, from the leaf up."""
    return bytes([len(hashes)]) + hashes.tobytes()


def _finality(final: Finality) -> bytes:
    """The segments: each header and certificate, then the next validators."""
    parts = [struct.pack("<H", len(final))]
    for entries, next_validators in final:
        parts.append(struct.pack("<H", len(entries)))
        parts += [header + _sized(certificate) for header, certificate in entries]
        parts.append(_sized(next_validators))
    return b"".join(parts)


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data
