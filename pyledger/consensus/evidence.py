"""Proof that a validator contradicted itself: two statements for one round, both signed by it.

Anyone who has the validator set can check it alone. It is kept and shown; what follows from it (removal, a penalty) is
for the institutions' governance.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, NamedTuple

import msgspec

from pyledger.consensus.application import Signing, Validators
from pyledger.consensus.messages import ProposalStatement, VoteStatement
from pyledger.consensus.wire import read_canonical
from pyledger.errors import InputError, ProofError

__all__ = ["EVIDENCE_MAGIC", "Contradiction", "Evidence"]

EVIDENCE_MAGIC: Final = b"PLEVDNC\0"
_HEAD: Final = struct.pack("<8sHHI", EVIDENCE_MAGIC, 1, 0, 0)  # magic, version, zeros
_EVIDENCE_BYTES_MAX: Final = 2048


class Contradiction(NamedTuple):
    """What evidence proves.

    Parameters
    ----------
    kind : str
        Twice a 'vote', or twice a 'proposal'.
    epoch, round : int
    validator : int
        Index in the validator set of the epoch.
    public_key : bytes
        Of the validator.
    """

    kind: Literal["vote", "proposal"]
    epoch: int
    round: int
    validator: int
    public_key: bytes


class Evidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Two votes, or two proposals, of one validator for different blocks (or contents of one) in one round.

    Parameters
    ----------
    validator : int
        Index in the validator set that both statements name.
    first, second : bytes
        Both vote statements, or both proposal statements, in their fixed layout.
    first_signature, second_signature : bytes
    """

    validator: int
    first: bytes
    first_signature: bytes
    second: bytes
    second_signature: bytes

    def to_bytes(self) -> bytes:
        """Give its one encoding: 16 bytes of head, then the fields in msgpack."""
        return _HEAD + msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Evidence:
        """Read evidence; InputError unless the bytes are exactly one, in its one encoding."""
        if data[: len(_HEAD)] != _HEAD:
            raise InputError("evidence: expected the head of an evidence file, version 1")
        fields = data[len(_HEAD) :]
        evidence: Evidence = read_canonical(fields, msgspec.msgpack.Decoder(cls), _EVIDENCE_BYTES_MAX, "evidence")
        return evidence

    def verify(self, chain_id: bytes, validators: Validators, signing: Signing) -> Contradiction:
        """Give what it proves; ProofError unless the validator contradicted itself.

        Parameters
        ----------
        chain_id : bytes
            Of the chain that it is said to be of.
        validators : Validators
            The set that the statements name.
        signing : Signing
            Anyone's; it only checks here.
        """
        first, second = _read_statement(self.first), _read_statement(self.second)
        if type(first) is not type(second) or _place(first) != _place(second):
            raise ProofError("evidence: the statements are not for one round of one chain")
        if first.chain_id != chain_id:
            raise ProofError("evidence: the statements are of another chain")
        if first.validators_hash != validators.hash:
            raise ProofError("evidence: the statements are of another validator set")
        if first == second:
            raise ProofError("evidence: the statements do not differ")
        if not 0 <= self.validator < len(validators.weights):
            raise ProofError(f"evidence: there is no validator {self.validator}")
        for statement, signature in ((first, self.first_signature), (second, self.second_signature)):
            if not signing.is_signed(validators, self.validator, statement, signature):
                raise ProofError("evidence: a signature is not valid")
        key = validators.public_keys[self.validator]
        kind: Literal["vote", "proposal"] = "vote" if isinstance(first, VoteStatement) else "proposal"
        return Contradiction(kind, first.epoch, first.round, self.validator, key)


def _place(statement: VoteStatement | ProposalStatement) -> tuple[object, ...]:
    return (statement.chain_id, statement.epoch, statement.round, statement.validators_hash)


def _read_statement(data: bytes) -> VoteStatement | ProposalStatement:
    try:
        kind = VoteStatement if len(data) == VoteStatement.LAYOUT.size else ProposalStatement
        return kind.from_bytes(data)
    except InputError as error:
        raise ProofError(f"evidence: {error}") from None
