"""Receipts: that a transfer is in a final block, in bytes that anyone can check without the ledger.

docs/receipt-format.md gives the bytes; `pyledger.verifier` checks them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger import verifier
from pyledger.crypto import merkle
from pyledger.errors import ProofError
from pyledger.ledger.blocks import (
    KIND_TRANSFERS,
    Attestation,
    Block,
    Header,
    effect_leaves,
    transfer_leaves,
    weave,
)
from pyledger.types import NO_KEY

__all__ = ["FinalBlock", "covering_attestation", "encode_receipt", "verify_receipt"]

MAGIC: Final = b"PLRECPT\0"
VERSION: Final = 1
SIGNED, ATTESTED = 1, 2


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A block that is final: its certificate, and its child's header and certificate one round later."""

    block: Block
    certificate: bytes
    child: Header
    child_certificate: bytes


def encode_receipt(final: FinalBlock, index: int, public_key: bytes) -> bytes:
    """Prove the transfer at an index of a final block.

    Parameters
    ----------
    final : FinalBlock
    index : int
        Position in the block's transfers.
    public_key : bytes
        Ed25519 key that authorised it: the signer's, or the attesting institution's.

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
        body.transfers[index].tobytes()[:120],
        _path(merkle.Tree.from_leaf_hashes(hashes).prove(index)),
        _effect(body.effects, index),
        _authority(block, hashes, index, public_key),
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


def _effect(effects: NDArray[Any], index: int) -> bytes:
    """One byte that says whether the block has effects; if so, the amount posted and its path."""
    if not len(effects):
        return b"\0"
    path = merkle.Tree(effect_leaves(effects)).prove(index)
    return b"".join([b"\1", effects[index].tobytes(), _path(path)])


def _authority(block: Block, hashes: NDArray[np.uint8], index: int, public_key: bytes) -> bytes:
    body = block.body
    if body.signers[index] != NO_KEY:
        row = int(np.count_nonzero(body.signers[:index] != NO_KEY))
        return b"".join([bytes([SIGNED]), public_key, body.signatures[row].tobytes()])
    attestation = covering_attestation(block, index)
    taken_hashes = hashes[attestation.first : attestation.first + attestation.taken]
    signed = weave(taken_hashes, attestation.refused_positions, attestation.refused_leaves)
    taken = np.setdiff1d(np.arange(attestation.size), np.array(attestation.refused_positions, np.int64))
    position = int(taken[index - attestation.first])
    head = struct.pack("<BIQII", ATTESTED, attestation.institution, attestation.sequence, attestation.size, position)
    path = _path(merkle.Tree.from_leaf_hashes(signed).prove(position))
    return head + public_key + attestation.signature + path


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
