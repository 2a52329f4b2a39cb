#!/usr/bin/env python3
"""The offline verifier: is this transfer in a final block of that chain? One file, no ledger at hand.

    python verifier.py --trust trust.json receipt [receipt ...]

A receipt (docs/receipt-format.md) shows that a transfer was authorised by an Ed25519 signature, stands in a block's
transfer tree (RFC 6962), and that the trusted validators, or those who took over from them, made the block final:
quorum certificates (BLS12-381, min-sig) of the headers from it up to two in successive rounds. A balance proof shows
what an account holds after such a block, or that there is none; a consistency proof that the chain up to one such block
is the beginning of the chain up to another. `verify_state_proof` checks one key against a state root,
`verify_consistency` that one history log goes on from another. This file is a second implementation on purpose: it
shares no code with the engine. It needs Python's standard library, and for the pairing `py_ecc` or, where pyledger is
installed, its binding to blst.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
    del sys.path[0]  # where pyledger is installed this folder holds a types.py, which is not the standard library's

import argparse
import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Header",
    "ProofError",
    "ReceiptError",
    "Segment",
    "Trust",
    "VerifiedAbsence",
    "VerifiedBalance",
    "VerifiedHistory",
    "VerifiedTransfer",
    "VerifierError",
    "follow",
    "main",
    "read_header",
    "verify_balance",
    "verify_consistency",
    "verify_history",
    "verify_receipt",
    "verify_state_proof",
]

_RECEIPT_SIZE_MAX = 1 << 24
_VALIDATORS_MAX = 4096
_WEIGHT_MAX = (1 << 32) - 1
_BALANCE_MAGIC = b"PLBALNC\0"
_HISTORY_MAGIC = b"PLHISTO\0"
_HEADER = struct.Struct("<HHI16sQQQQ32s32s32sIIII32s32s32s32s32s32s")
_STATEMENT = struct.Struct("<HHI16sQQQ32s32s32s32s")
_TRANSFER = struct.Struct("<16s16s16s16s16s16sQIIIHHQ")
_OUTCOME = struct.Struct("<Q16sB3sIQ32s")  # timestamp, amount, kind of authority, zero, institution, sequence, key
_ACCOUNT = struct.Struct("<16s16s16s16s16s16sQIIIHHQII")  # the record, owner key and institution
_STATE_PROOF = struct.Struct("<IIQQ")  # scheme, payload bytes, slots of the tree, slot
_STATE_PAYLOAD_MAX, _STATE_SLOTS_MAX = 1 << 16, 1 << 32
_PENDING, _VOID = 1 << 1, 1 << 3


class ProofError(Exception):
    """The proof does not show what it claims; the message says what fails."""


class ReceiptError(ProofError):
    """The receipt does not show what it claims; the message says what fails."""


class VerifierError(Exception):
    """The verifier itself can't work; nothing is said about the receipt."""


@dataclass(frozen=True)
class Trust:
    """Whom the verifier believes: a chain id, its validators and the institutions' attestation keys, by index.

    Validators are those in office in `epoch`. With `independent`, pairings are computed by py_ecc even where pyledger's
    binding to blst is installed.
    """

    chain_id: bytes
    public_keys: tuple[bytes, ...]
    proofs: tuple[bytes, ...]
    weights: tuple[int, ...]
    attestation_keys: tuple[bytes, ...]
    independent: bool = False
    epoch: int = 0

    def __post_init__(self) -> None:
        if len(self.chain_id) != 16 or not 0 <= self.epoch < 1 << 64:
            raise ReceiptError("trust: expected a chain id of 16 bytes and an epoch in [0, 2**64 - 1]")
        if not 0 < len(self.public_keys) == len(self.proofs) == len(self.weights) <= _VALIDATORS_MAX:
            raise ReceiptError(f"trust: expected 1 to {_VALIDATORS_MAX} validators, each with key, proof and weight")
        if not all(0 < weight <= _WEIGHT_MAX for weight in self.weights):
            raise ReceiptError(f"trust: expected weights in [1, {_WEIGHT_MAX}]")
        for name, values, size in (
            ("public_key", self.public_keys, 96),
            ("proof_of_possession", self.proofs, 48),
            ("attestation_key", self.attestation_keys, 32),
        ):
            if any(len(value) != size for value in values):
                raise ReceiptError(f"trust: {name}: expected {size} bytes")

    @classmethod
    def from_json(cls, data: bytes | str, *, independent: bool = False) -> Trust:
        """Read the trust file that a ledger writes beside its genesis."""
        try:
            fields = json.loads(data)
            if (fields["format"], fields["version"]) != ("pyledger-trust", 1):
                raise ReceiptError("trust file: expected format pyledger-trust, version 1")
            validators = fields["validators"]
            attesting = fields.get("attestation_keys")  # apart, where validators are no institutions of the genesis
            if attesting is None:
                attesting = [validator["attestation_key"] for validator in validators]
            return cls(
                bytes.fromhex(fields["chain_id"]),
                tuple(bytes.fromhex(validator["public_key"]) for validator in validators),
                tuple(bytes.fromhex(validator["proof_of_possession"]) for validator in validators),
                tuple(int(validator["weight"]) for validator in validators),
                tuple(bytes.fromhex(key) for key in attesting),
                independent,
                int(fields.get("epoch", 0)),
            )
        except KeyError as error:
            raise ReceiptError(f"trust file: expected a field {error}") from None
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise ReceiptError(f"trust file: not valid: {type(error).__name__}: {error}") from None

    @classmethod
    def read(cls, path: str | Path, *, independent: bool = False) -> Trust:
        """Read a trust file; OSError if it can't be read."""
        return cls.from_json(Path(path).read_bytes(), independent=independent)

    def to_json(self) -> str:
        """Write a trust file, also of validators who are not the institutions of the genesis."""
        columns = zip(self.public_keys, self.proofs, self.weights, strict=True)
        fields = {
            "format": "pyledger-trust",
            "version": 1,
            "chain_id": self.chain_id.hex(),
            "epoch": self.epoch,
            "validators": [
                {"public_key": key.hex(), "proof_of_possession": proof.hex(), "weight": weight}
                for key, proof, weight in columns
            ],
            "attestation_keys": [key.hex() for key in self.attestation_keys],
        }
        return json.dumps(fields, indent=2) + "\n"

    def quorum_weight(self) -> int:
        """Smallest weight above two thirds of the total."""
        return sum(self.weights) * 2 // 3 + 1


@dataclass(frozen=True)
class VerifiedTransfer:
    """What a receipt proves. Amounts in minor units, times in nanoseconds since 1970 UTC."""

    id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    posted_amount: int
    pending_id: int
    ledger: int
    code: int
    flags: int
    timestamp: int
    height: int
    block_time_ns: int
    block_hash: bytes
    public_key: bytes
    attested_by: int | None
    controller: bytes | None  # public key of who alone may post or void it, as its signer named him


@dataclass(frozen=True)
class VerifiedBalance:
    """What a balance proof proves of an account after a final block. Amounts in minor units of its ledger."""

    account_id: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    user_data_128: int
    user_data_64: int
    user_data_32: int
    ledger: int
    code: int
    flags: int
    timestamp: int  # when it was opened
    owner_key: int  # index
    institution: int
    height: int
    block_time_ns: int
    block_hash: bytes


@dataclass(frozen=True)
class VerifiedAbsence:
    """That no account of this id had been opened up to a final block."""

    account_id: int
    height: int
    block_time_ns: int
    block_hash: bytes


@dataclass(frozen=True)
class VerifiedHistory:
    """That the chain up to one final block is the beginning of the chain up to another.

    The roots are those of the history log of so many entries as the height says: compare them with checkpoints.
    """

    old_height: int
    old_block_time_ns: int
    old_block_hash: bytes
    old_root: bytes
    height: int
    block_time_ns: int
    block_hash: bytes
    root: bytes


@dataclass(frozen=True)
class Header:
    """The fields of a block header that matter here."""

    chain_id: bytes
    epoch: int
    height: int
    round: int
    time_ns: int
    parent: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    transfers_count: int
    transfers_root: bytes
    outcomes_root: bytes
    state_root: bytes
    history_root: bytes
    hash: bytes

    @property
    def is_closing(self) -> bool:
        """Whether it only shows that the end of an epoch is final."""
        return self.next_validators_hash == bytes(32)

    @property
    def ends_epoch(self) -> bool:
        """Whether other validators vote on what follows."""
        return self.next_validators_hash != self.validators_hash


class Segment(NamedTuple):
    """Headers in a row with their certificates, and the validators who take over (as bytes) if an epoch ends there."""

    entries: tuple[tuple[bytes, bytes], ...]
    next_validators: bytes = b""


class _Reader:
    """Takes bytes off the front; all of them must be used up."""

    def __init__(self, data: bytes, what: str = "receipt") -> None:
        self._data, self._at, self._what = data, 0, what

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise ReceiptError(f"{self._what}: ends at byte {len(self._data)}, expected at least {self._at + size}")
        self._at += size
        return part

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def path(self) -> list[bytes]:
        return [self.take(32) for _ in range(self.take(1)[0])]

    def optional(self, size: int, what: str) -> bytes:
        present = self.take(1)[0]
        if present > 1:
            raise ReceiptError(f"{self._what}: expected 0 or 1 for {what}, got {present}")
        return self.take(size) if present else b""

    def sized(self) -> bytes:
        return self.take(self.unpack("<I")[0])

    def segments(self) -> list[Segment]:
        return [self._segment() for _ in range(self.unpack("<H")[0])]

    def _segment(self) -> Segment:
        count = self.unpack("<H")[0]
        entries = tuple((self.take(_HEADER.size), self.sized()) for _ in range(count))
        return Segment(entries, self.sized())

    def end(self) -> None:
        if self._at != len(self._data):
            raise ReceiptError(f"{self._what}: {len(self._data) - self._at} bytes too many")


def verify_receipt(receipt: bytes, trust: Trust, follow: Follow | None = None) -> VerifiedTransfer:
    """Check every claim of a receipt.

    Parameters
    ----------
    receipt : bytes
    trust : Trust
    follow : callable, optional
        Used instead of `follow`.

    Raises
    ------
    ReceiptError
        Names the first claim that does not hold.
    """
    if len(receipt) > _RECEIPT_SIZE_MAX:
        raise ReceiptError(f"receipt: expected at most {_RECEIPT_SIZE_MAX} bytes, got {len(receipt)}")
    reader = _Reader(receipt)
    magic, version, reserved, index = reader.unpack("<8sHHI")
    if (magic, version, reserved) != (b"PLRECPT\0", 2, 0):
        raise ReceiptError("receipt: expected a pyledger receipt, version 2")
    record = reader.take(_TRANSFER.size)
    controller = reader.optional(32, "a controller")
    leaf = _leaf_hash(trust.chain_id + record + controller)
    path = reader.path()
    outcome, outcome_path = reader.take(_OUTCOME.size), reader.path()
    _check_authority(reader, trust, leaf, outcome)
    segments = reader.segments()
    reader.end()

    header, _ = _proven(segments, trust, follow)
    count = header.transfers_count
    _check_inclusion(leaf, index, count, path, header.transfers_root, "transfer")
    _check_inclusion(_leaf_hash(outcome), index, count, outcome_path, header.outcomes_root, "outcome")
    return _verified(record, controller, outcome, header)


def verify_balance(proof: bytes, trust: Trust, follow: Follow | None = None) -> VerifiedBalance | VerifiedAbsence:
    """Check every claim of a balance proof.

    Parameters
    ----------
    proof : bytes
    trust : Trust
    follow : callable, optional
        Used instead of `follow`.

    Raises
    ------
    ProofError
        Names the first claim that does not hold.
    """
    if len(proof) > _RECEIPT_SIZE_MAX:
        raise ProofError(f"balance proof: expected at most {_RECEIPT_SIZE_MAX} bytes, got {len(proof)}")
    reader = _Reader(proof, "balance proof")
    if reader.unpack("<8sHHI") != (_BALANCE_MAGIC, 2, 0, 0):
        raise ProofError("balance proof: expected a pyledger balance proof, version 2")
    account_id = int.from_bytes(reader.take(16), "little")
    state_proof = reader.sized()
    segments = reader.segments()
    reader.end()
    header, _ = _proven(segments, trust, follow)
    payload = verify_state_proof(header.state_root, account_id, state_proof)
    if payload is None:
        return VerifiedAbsence(account_id, header.height, header.time_ns, header.hash)
    return _account(account_id, payload, header)


def verify_history(proof: bytes, trust: Trust, follow: Follow | None = None) -> VerifiedHistory:
    """Check every claim of a consistency proof.

    Parameters
    ----------
    proof : bytes
    trust : Trust
    follow : callable, optional
        Used instead of `follow`.

    Raises
    ------
    ProofError
        Names the first claim that does not hold.
    """
    if len(proof) > _RECEIPT_SIZE_MAX:
        raise ProofError(f"consistency proof: expected at most {_RECEIPT_SIZE_MAX} bytes, got {len(proof)}")
    reader = _Reader(proof, "consistency proof")
    if reader.unpack("<8sHHI") != (_HISTORY_MAGIC, 2, 0, 0):
        raise ProofError("consistency proof: expected a pyledger consistency proof, version 2")
    path = reader.path()
    old, new = reader.segments(), reader.segments()
    reader.end()
    # A header names the root of the log of all headers before it: a block's child, the root up to the block.
    (old_header, old_child), (header, child) = _proven(old, trust, follow), _proven(new, trust, follow)
    verify_consistency(old_header.height, old_child.history_root, header.height, child.history_root, path)
    return VerifiedHistory(
        old_header.height,
        old_header.time_ns,
        old_header.hash,
        old_child.history_root,
        header.height,
        header.time_ns,
        header.hash,
        child.history_root,
    )


def _account(account_id: int, payload: bytes, header: Header) -> VerifiedBalance:
    if len(payload) != _ACCOUNT.size:
        raise ProofError(f"balance proof: expected an account of {_ACCOUNT.size} bytes, got {len(payload)}")
    *wide, data_64, data_32, reserved, ledger, code, flags, timestamp, owner, institution = _ACCOUNT.unpack(payload)
    stated_id, *totals, data_128 = (int.from_bytes(number, "little") for number in wide)
    if stated_id != account_id or reserved:
        raise ProofError(f"balance proof: the leaf of account {account_id} holds account {stated_id}")
    return VerifiedBalance(
        account_id=account_id,
        debits_pending=totals[0],
        debits_posted=totals[1],
        credits_pending=totals[2],
        credits_posted=totals[3],
        user_data_128=data_128,
        user_data_64=data_64,
        user_data_32=data_32,
        ledger=ledger,
        code=code,
        flags=flags,
        timestamp=timestamp,
        owner_key=owner,
        institution=institution,
        height=header.height,
        block_time_ns=header.time_ns,
        block_hash=header.hash,
    )


def verify_state_proof(state_root: bytes, key: int, proof: bytes) -> bytes | None:
    """Check what a state proof says of a key; there is one encoding of a proof (docs/decisions/005-state-tree.md).

    Parameters
    ----------
    state_root : bytes
        32 bytes, of a header that is believed: from a certified block.
    key : int
        In [1, 2**128 - 2].
    proof : bytes

    Returns
    -------
    bytes or None
        The key's payload; None if the key is proven absent.

    Raises
    ------
    ProofError
        If the proof says nothing of this key under this root.
    """
    if len(state_root) != 32 or not 1 <= key <= (1 << 128) - 2:
        raise ProofError("state proof: expected a root of 32 bytes and a key in [1, 2**128 - 2]")
    leaf, slot, size, path = _split_state_proof(proof)
    root = _root_from_path(_leaf_hash(leaf), slot, size, path, "state proof")
    if hashlib.sha256(b"\2" + size.to_bytes(8, "little") + root).digest() != state_root:
        raise ProofError(f"state proof: it does not lead from slot {slot} of {size} to the state root")
    own, following = int.from_bytes(leaf[-32:-16], "little"), int.from_bytes(leaf[-16:], "little")
    if own == key:
        return leaf[:-32]
    if own < key < following:
        return None
    raise ProofError(f"state proof: expected key {key} or the gap around it, got {own} and its next key {following}")


def _split_state_proof(proof: bytes) -> tuple[bytes, int, int, list[bytes]]:
    """Leaf data, slot, size and path; exact length, every field in its range."""
    if len(proof) < _STATE_PROOF.size:
        raise ProofError(f"state proof: expected at least {_STATE_PROOF.size} bytes, got {len(proof)}")
    scheme, payload_size, size, slot = _STATE_PROOF.unpack_from(proof)
    if scheme != 1 or payload_size > _STATE_PAYLOAD_MAX or size > _STATE_SLOTS_MAX:
        raise ProofError("state proof: expected scheme 1 and sizes in their ranges")
    path_at = _STATE_PROOF.size + payload_size + 32
    leaf, path = proof[_STATE_PROOF.size : path_at], proof[path_at:]
    if len(leaf) != payload_size + 32 or len(path) % 32:
        raise ProofError(f"state proof: {len(proof)} bytes are no leaf of {payload_size} bytes payload with a path")
    if int.from_bytes(leaf[-32:-16], "little") >= int.from_bytes(leaf[-16:], "little"):
        raise ProofError("state proof: expected a key below its next key")
    return leaf, slot, size, [path[at : at + 32] for at in range(0, len(path), 32)]


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that a log of `new_size` entries goes on from one of `old_size` (RFC 9162 section 2.1.4.2).

    Parameters
    ----------
    old_size, new_size : int
        Entries; 0 < old_size <= new_size.
    old_root, new_root : bytes
        32 bytes each.
    proof : sequence of bytes
        Hashes of 32 bytes, none if the sizes are equal.

    Raises
    ------
    ProofError
        If the proof does not lead to both roots.
    """
    if not 0 < old_size <= new_size or any(len(node) != 32 for node in proof):
        raise ProofError("consistency proof: expected 0 < old size <= new size and hashes of 32 bytes")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofError("consistency proof: expected one root and no hashes for logs of one size")
        return
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    # A power of two is a whole subtree, whose hash the proof leaves out.
    path = [old_root, *proof] if place == 0 else list(proof)
    if not path:
        raise ProofError("consistency proof: the path is too short")
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("consistency proof: the path is too long")
        if place & 1 or place == last:
            old = hashlib.sha256(b"\1" + sibling + old).digest()
            new = hashlib.sha256(b"\1" + sibling + new).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = hashlib.sha256(b"\1" + new + sibling).digest()
        place, last = place >> 1, last >> 1
    if last != 0 or (old, new) != (old_root, new_root):
        raise ProofError("consistency proof: it does not lead to both roots")


def _check_authority(reader: _Reader, trust: Trust, leaf: bytes, outcome: bytes) -> None:
    """The key that the block names must have signed the transfer, its linked chain, or a batch with it."""
    _timestamp, _amount, kind, _zero, institution, sequence, public_key = _OUTCOME.unpack(outcome)
    signature = reader.take(64)
    if kind == 1:
        linked = reader.optional(32, "a linked chain")
        chain = b"pyledger/lk/v1\0" + hashlib.sha256(leaf + linked).digest() if linked else b""
        _check_ed25519(public_key, chain or b"pyledger/tx/v1\0" + leaf, signature)
        return
    if kind != 2:
        raise ReceiptError(f"receipt: expected authority 1 or 2, got {kind}")
    size, position = reader.unpack("<II")
    root = _root_from_path(leaf, position, size, reader.path(), "attested batch")
    fields = struct.pack("<B16sIQI32s", 3, trust.chain_id, institution, sequence, size, root)
    _check_ed25519(public_key, b"pyledger/batch/v1\0" + fields, signature)


def read_header(data: bytes) -> Header:
    """Decode a header; ReceiptError for another size, version or scheme."""
    if len(data) != _HEADER.size:
        raise ReceiptError(f"block header: expected {_HEADER.size} bytes, got {len(data)}")
    fields = _HEADER.unpack(data)
    if fields[:3] != (1, 1, 0):
        raise ReceiptError(f"block header: expected version 1, scheme 1, got {fields[:3]}")
    chain_id, epoch, height, round_, time_ns, parent, validators_hash, next_hash = fields[3:11]
    _accounts_count, transfers_count, _commands_count, zero = fields[11:15]
    if zero:
        raise ReceiptError(f"block header: expected zero behind the counts, got {zero}")
    _accounts_root, transfers_root, _commands_root, outcomes_root, state_root, history_root = fields[15:]
    return Header(
        chain_id,
        epoch,
        height,
        round_,
        time_ns,
        parent,
        validators_hash,
        next_hash,
        transfers_count,
        transfers_root,
        outcomes_root,
        state_root,
        history_root,
        _leaf_hash(data),
    )


# Finality: certified headers, from the trusted validators through those who took over from them --------------------

Follow = Callable[[Trust, Sequence[Segment]], Header]


def follow(trust: Trust, segments: Sequence[Segment]) -> Header:
    """Check certified headers from the trusted validators on, through changes of validators.

    Parameters
    ----------
    trust : Trust
    segments : sequence of Segment
        Each ends an epoch, but for the last, which begins with the header that is to be shown.

    Returns
    -------
    Header
        The first header of the last segment; it is final.

    Raises
    ------
    ReceiptError
        Names the first claim that does not hold.
    """
    office = _Office(trust)
    for segment in segments:
        office.advance([read_header(header) for header, _ in segment.entries], segment)
    return read_header(segments[-1].entries[0][0])


def _proven(segments: list[Segment], trust: Trust, follow_: Follow | None) -> tuple[Header, Header]:
    """The header that the last segment begins with, if it is final, and its child.

    Segments before those of the trusted epoch are left; none may stand behind.
    """
    if not all(len(each.entries) > 1 for each in segments):
        raise ReceiptError("finality: expected two headers or more in each segment")
    needed = list(dropwhile(lambda each: read_header(each.entries[0][0]).epoch < trust.epoch, segments))
    if not needed:
        raise ReceiptError(f"finality: expected headers of epoch {trust.epoch} or later")
    header = (follow_ or follow)(trust, needed)
    return header, read_header(needed[-1].entries[1][0])


class _Office:
    """Who votes, and the last final header, while certified headers are followed."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._height, self._hash = -1, b""

    def advance(self, headers: list[Header], segment: Segment) -> None:
        """Check a segment and go on to its last final header; the rules are those of docs/consensus.md, epochs."""
        self._check_links(headers)
        for header, (_, certificate) in zip(headers, segment.entries, strict=True):
            _check_certificate(header, certificate, self._trust)
        pairs = [place for place in range(len(headers) - 1) if headers[place].round + 1 == headers[place + 1].round]
        final = [header for header in headers[: pairs[-1] + 1] if not header.is_closing] if pairs else []
        if not final:
            raise ReceiptError("finality: nothing is certified in two successive rounds")
        last = final[-1]
        if last.ends_epoch != bool(segment.next_validators):
            raise ReceiptError(f"block {last.height}: expected the next validators where an epoch ends, and only there")
        self._height, self._hash = last.height, last.hash
        if last.ends_epoch:
            self._trust = _successor(self._trust, segment.next_validators, last)

    def _check_links(self, headers: list[Header]) -> None:
        if len(headers) < 2:
            raise ReceiptError("finality: expected two headers or more")
        first, trust = headers[0], self._trust
        if first.height <= self._height or (first.height == self._height + 1 and first.parent != self._hash):
            raise ReceiptError(f"block {first.height}: does not stand on the final block {self._height}")
        closing = False
        for place, header in enumerate(headers):
            if (header.chain_id, header.epoch) != (trust.chain_id, trust.epoch):
                raise ReceiptError(f"block {header.height}: of another chain or epoch")
            before = headers[place - 1]
            if place and (header.parent != before.hash or header.height != before.height + 1):
                raise ReceiptError(f"block {header.height}: does not stand on the header before")
            if header.is_closing != closing:
                raise ReceiptError(f"block {header.height}: closing headers stand behind the end of an epoch, only")
            closing = header.ends_epoch


def _successor(trust: Trust, encoded: bytes, last: Header) -> Trust:
    """Trust in the validators who took over: the header names them, and each key proves its possession."""
    reader = _Reader(encoded, f"validators behind block {last.height}")
    scheme, count = reader.unpack("<BH")
    if scheme != 1 or not 1 <= count <= _VALIDATORS_MAX:
        raise ReceiptError(f"block {last.height}: the next validators are no set")
    rows = [reader.unpack("<Q96s48s") for _ in range(count)]
    reader.end()
    weights, keys, proofs = (tuple(column) for column in zip(*rows, strict=True))
    successor = replace(trust, public_keys=keys, proofs=proofs, weights=weights, epoch=trust.epoch + 1)
    if _validators_hash(successor) != last.next_validators_hash:
        raise ReceiptError(f"block {last.height}: the next validators are not those that its header names")
    _check_possession(successor)
    return successor


def _verified(record: bytes, controller: bytes, outcome: bytes, header: Header) -> VerifiedTransfer:
    raw_id, debit, credit, amount, pending, _user_128, _user_64, _user_32, _timeout, ledger, code, flags, _own_time = (
        _TRANSFER.unpack(record)
    )
    timestamp, taken, kind, _zero, institution, _sequence, public_key = _OUTCOME.unpack(outcome)

    def number(data: bytes) -> int:
        return int.from_bytes(data, "little")

    return VerifiedTransfer(
        id=number(raw_id),
        debit_account_id=number(debit),
        credit_account_id=number(credit),
        amount=number(amount),
        posted_amount=0 if flags & (_PENDING | _VOID) else number(taken),
        pending_id=number(pending),
        ledger=ledger,
        code=code,
        flags=flags,
        timestamp=timestamp,
        height=header.height,
        block_time_ns=header.time_ns,
        block_hash=header.hash,
        public_key=public_key,
        attested_by=institution if kind == 2 else None,
        controller=controller or None,
    )


# RFC 6962 section 2.1: hashes with a prefix that tells leaves from nodes; RFC 9162 section 2.1.3.2: paths. ---------


def _leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _root_from_path(leaf: bytes, index: int, size: int, path: list[bytes], what: str) -> bytes:
    if index >= size:
        raise ReceiptError(f"{what}: index {index} in a tree of {size}")
    node, place, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            raise ReceiptError(f"{what}: the path is too long")
        if place & 1 or place == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ReceiptError(f"{what}: the path is too short")
    return node


def _check_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes, what: str) -> None:
    if _root_from_path(leaf, index, size, path, what) != root:
        raise ReceiptError(f"{what}: the path does not lead to the root in the block header")


# Ed25519, RFC 8032 section 5.1.7 as written: canonical A and R, S < L, cofactored equation; no A of small order. --

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
_IDENTITY: _Point = (0, 1, 1, 0)


def _point_add(p: _Point, q: _Point) -> _Point:
    """Extended coordinates, RFC 8032 section 5.1.4."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _point_mul(scalar: int, point: _Point) -> _Point:
    total = _IDENTITY
    while scalar:
        if scalar & 1:
            total = _point_add(total, point)
        point = _point_add(point, point)
        scalar >>= 1
    return total


def _point_equal(p: _Point, q: _Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % _P == 0 and (p[1] * q[2] - q[1] * p[2]) % _P == 0


def _decode_point(data: bytes) -> _Point | None:
    """RFC 8032 section 5.1.3; None unless the encoding is canonical and on the curve."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x + u) % _P == 0:
        x = x * _SQRT_M1 % _P
    if (v * x * x - u) % _P != 0 or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


_BASE = _decode_point(bytes([0x58] + [0x66] * 31))


def _ed25519_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    a, r = _decode_point(public_key), _decode_point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L or _point_equal(_point_mul(8, a), _IDENTITY):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % _L
    assert _BASE is not None
    left = _point_mul(8 * s, _BASE)
    right = _point_mul(8, _point_add(r, _point_mul(k, a)))
    return _point_equal(left, right)


def _check_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    if not _ed25519_valid(public_key, message, signature):
        raise ReceiptError("authority: the Ed25519 signature is not valid")


# BLS12-381 quorum certificates, min-sig suite: signatures in G1, keys in G2, proof-of-possession scheme. --

_VOTE_TAG = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
_PROOF_TAG = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"


def _check_certificate(header: Header, certificate: bytes, trust: Trust) -> None:
    """The certificate must be for exactly this block, by a quorum of the trusted validators."""
    reader = _Reader(certificate)
    scheme, purpose, count, message_size = reader.unpack("<BBHH")
    if (scheme, purpose, count, message_size) != (1, 0, len(trust.public_keys), _STATEMENT.size):
        raise ReceiptError(f"certificate of block {header.height}: not a vote of the trusted validators")
    message = reader.take(message_size)
    bitmap, signature = reader.take((count + 7) // 8), reader.take(48)
    reader.end()
    if header.chain_id != trust.chain_id or header.validators_hash != _validators_hash(trust):
        raise ReceiptError(f"block {header.height}: of another chain or of other validators")
    if message != _statement(header):
        raise ReceiptError(f"certificate of block {header.height}: it is for something else")
    signers = [index for index in range(8 * len(bitmap)) if bitmap[index // 8] >> index % 8 & 1]
    if signers and signers[-1] >= count:
        raise ReceiptError(f"certificate of block {header.height}: a padding bit is set")
    if sum(trust.weights[index] for index in signers) < trust.quorum_weight():
        raise ReceiptError(f"certificate of block {header.height}: the signers are no quorum")
    if not _bls_valid([trust.public_keys[index] for index in signers], message, signature, certificate, trust):
        raise ReceiptError(f"certificate of block {header.height}: the aggregate signature is not valid")


def _validators_hash(trust: Trust) -> bytes:
    return hashlib.sha256(b"pyledger/validators/v1\0" + _validators_bytes(trust)).digest()


def _validators_bytes(trust: Trust) -> bytes:
    parts = [struct.pack("<BH", 1, len(trust.public_keys))]
    for weight, key, proof in zip(trust.weights, trust.public_keys, trust.proofs, strict=True):
        parts += [struct.pack("<Q", weight), key, proof]
    return b"".join(parts)


def _statement(header: Header) -> bytes:
    return _STATEMENT.pack(
        1,
        1,
        0,
        header.chain_id,
        header.epoch,
        header.round,
        header.height,
        header.validators_hash,
        header.parent,
        header.hash,
        header.state_root,
    )


def _bls_valid(keys: list[bytes], message: bytes, signature: bytes, certificate: bytes, trust: Trust) -> bool:
    """Through pyledger's binding if it is there and not declined, else through py_ecc."""
    if not trust.independent:
        try:
            return _bls_valid_binding(certificate, trust)
        except ImportError:
            pass
    return _bls_valid_py_ecc(keys, message, signature)


def _bls_valid_binding(certificate: bytes, trust: Trust) -> bool:
    from pyledger.crypto import bls
    from pyledger.errors import LedgerError

    try:
        validators = bls.ValidatorSet.from_bytes(_validators_bytes(trust))
        bls.QuorumCertificate.from_bytes(certificate).verify(validators)
    except LedgerError:
        return False
    return True


def _check_possession(trust: Trust) -> None:
    """The keys of validators who take over: all different, each with a proof of possession."""
    if len(set(trust.public_keys)) != len(trust.public_keys):
        raise ReceiptError("next validators: expected different keys")
    if not trust.independent:
        try:
            _check_possession_binding(trust)
            return
        except ImportError:
            pass
    for index, (key, proof) in enumerate(zip(trust.public_keys, trust.proofs, strict=True)):
        if not _bls_valid_py_ecc([key], key, proof, _PROOF_TAG):
            raise ReceiptError(f"next validators: validator {index}: the proof of possession is not valid")


def _check_possession_binding(trust: Trust) -> None:
    from pyledger.crypto import bls
    from pyledger.errors import LedgerError

    try:
        bls.ValidatorSet.from_bytes(_validators_bytes(trust))
    except LedgerError as error:
        raise ReceiptError(f"next validators: {error}") from None


def _bls_valid_py_ecc(keys: list[bytes], message: bytes, signature: bytes, tag: bytes = _VOTE_TAG) -> bool:
    """e(SUM of keys, H(message)) = e(generator of G2, signature), every point in its subgroup and not infinity."""
    try:
        from py_ecc.bls.g2_primitives import subgroup_check
        from py_ecc.bls.hash_to_curve import hash_to_G1
        from py_ecc.bls.point_compression import decompress_G1, decompress_G2
        from py_ecc.optimized_bls12_381 import FQ12, G2, Z2, add, final_exponentiate, is_inf, neg, pairing
    except ModuleNotFoundError:
        raise VerifierError("pairings need py_ecc: pip install 'pyledger[verify]', or py_ecc") from None

    try:
        point = decompress_G1(int.from_bytes(signature, "big"))
        total = Z2
        for key in keys:
            halves = (int.from_bytes(key[:48], "big"), int.from_bytes(key[48:], "big"))
            decoded = decompress_G2(halves)
            if is_inf(decoded) or not subgroup_check(decoded):
                return False
            total = add(total, decoded)
    except ValueError:
        return False
    if is_inf(point) or not subgroup_check(point) or is_inf(total):
        return False
    hashed = hash_to_G1(message, tag, hashlib.sha256)
    product = pairing(total, hashed, final_exponentiate=False) * pairing(G2, neg(point), final_exponentiate=False)
    return bool(final_exponentiate(product) == FQ12.one())


def main(arguments: Sequence[str] | None = None) -> int:
    """Check files of proofs; exit status 0 if all hold, 1 if not, 2 if one can't be read."""
    parser = argparse.ArgumentParser(prog="verifier", description="Check proofs offline against a trust file.")
    parser.add_argument("--trust", required=True, type=Path, help="trust.json of the chain")
    parser.add_argument("--independent", action="store_true", help="compute pairings with py_ecc, not with blst")
    parser.add_argument("--json", action="store_true", help="print one JSON object a receipt on stdout")
    parser.add_argument("receipts", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    try:
        trust = Trust.read(options.trust, independent=options.independent)
        return max(_check_file(path, trust, options.json) for path in options.receipts)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except (ReceiptError, VerifierError) as error:
        print(f"{options.trust}: {error}", file=sys.stderr)
        return 2


def _check_file(path: Path, trust: Trust, as_json: bool) -> int:
    receipt = path.read_bytes()
    verify = {_BALANCE_MAGIC: verify_balance, _HISTORY_MAGIC: verify_history}.get(receipt[:8], verify_receipt)
    try:
        proven = verify(receipt, trust)
    except ProofError as error:
        if as_json:
            print(json.dumps({"file": str(path), "valid": False, "reason": str(error)}))
        print(f"{path}: NOT VALID: {error}", file=sys.stderr)
        return 1
    fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in vars(proven).items()}
    if as_json:
        print(json.dumps({"file": str(path), "valid": True, **fields}))
    else:
        print(f"{path}: valid" + (", there is no such account" if isinstance(proven, VerifiedAbsence) else ""))
        for name, value in fields.items():
            print(f"  {name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
