"""Receipts: that a transfer is in a final block, in bytes that anyone can check without the ledger.

docs/receipt-format.md gives the bytes; `pyledger.verifier` checks them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pyledger import verifier
from pyledger.crypto import merkle
from pyledger.errors import ProofError
from pyledger.ledger.blocks import (
    ATTESTED,
    KIND_TRANSFERS,
    OUTCOME_SIZE,
    SIGNED,
    Attestation,
    Block,
    Header,
    linked_chains,
    outcome_leaves,
    transfer_leaves,
    weave,
)
from pyledger.types import NO_KEY

__all__ = ["FinalBlock", "covering_attestation", "encode_receipt", "verify_receipt"]

MAGIC: Final = b"PLRECPT\0"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A block that is final: its certificate, and its child's header and certificate one round later."""

    block: Block
    certificate: bytes
    child: Header
    child_certificate: bytes


def encode_receipt(final: FinalBlock, index: int, public_keys: Callable[[int], bytes]) -> bytes:
    """Prove the transfer at an index of a final block.

    Parameters
    ----------
    final : FinalBlock
    index : int
        Position in the block's transfers.
    public_keys : callable
        Gives the Ed25519 public key of a key index.

    Returns
    -------
    bytes
        Receipt, version 1.
    """
    block = final.block
    body, chain_id = block.body, block.header.chain_id
    hashes = merkle.leaf_hashes(transfer_leaves(chain_id, body.transfers))
    parts = [
        struct.pack("<8sHHI", MAGIC, VERSION, 0, index),
        transfer_leaves(chain_id, body.transfers[index : index + 1]).tobytes()[16:],
        _path(merkle.Tree.from_leaf_hashes(hashes).prove(index)),
        _outcome(block, index, public_keys),
        _authority(block, hashes, index),
        block.header.to_bytes(),
        _sized(final.certificate),
        final.child.to_bytes(),
        _sized(final.child_certificate),
    ]
    return b"".join(parts)


def verify_receipt(receipt: bytes, trust: verifier.Trust) -> verifier.VerifiedTransfer:
    """Check a receipt against the validators that the caller trusts.

    Parameters
    ----------
    receipt : bytes
        What `Ledger.prove` gave.
    trust : pyledger.Trust
        ``Trust.read`` reads a chain's ``trust.json``.

    Returns
    -------
    pyledger.VerifiedTransfer

    Raises
    ------
    ProofError
        If any claim of the receipt does not hold; the message says which.
    """
    try:
        return verifier.verify_receipt(receipt, trust)
    except verifier.ReceiptError as error:
        raise ProofError(str(error)) from error


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
    keys, places = np.unique(body.signers[signed], return_inverse=True)
    rows = np.frombuffer(b"".join(public_keys(int(key)) for key in keys), np.uint8).reshape(-1, 32)[places]
    leaves[signed] = outcome_leaves(timestamps[signed], amounts[signed], SIGNED, 0, 0, rows)
    for command in block.body.commands:
        if isinstance(command, Attestation) and command.kind == KIND_TRANSFERS:
            part = slice(command.first, command.first + command.taken)
            key = np.frombuffer(public_keys(command.institution), np.uint8).reshape(1, 32)
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
    signed = weave(taken_hashes, attestation.refused_positions, attestation.refused_leaves)
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


def _path(hashes: NDArray[np.uint8]) -> bytes:
    """One byte for the number of hashes, then the hashes, 32 bytes each, from the leaf up."""
    return bytes([len(hashes)]) + hashes.tobytes()


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data
