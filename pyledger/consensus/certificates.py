"""Quorums: who may vote in an epoch, who leads a round, and what makes a certificate.

Weights are counted here; that the signatures are right is for `Signing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from pyledger.consensus.application import Signing, Validators
from pyledger.consensus.messages import (
    BatchCertificate,
    Certificate,
    Statement,
    Timeout,
    TimeoutCertificate,
    TimeoutStatement,
    VoteStatement,
)

__all__ = [
    "ZERO_HASH",
    "Epoch",
    "are_certified",
    "bitmap_of",
    "combine",
    "combine_timeouts",
    "is_timeout_certified",
]

ZERO_HASH: Final = bytes(32)


class Epoch:
    """A validator set in office.

    Parameters
    ----------
    chain_id : bytes
    number : int
    validators : Validators
    public_key : bytes or None
        Key of this node, if it may be a validator.
    anchor : VoteStatement
        Statement about the final block that the epoch is built on; round 0.
    rounds_per_leader : int
        Rounds in a row that one validator leads. With three, any leader that is honest makes a block final by itself:
        it proposes, collects the votes, proposes on top and collects again.

    Attributes
    ----------
    quorum : int
        Smallest weight above two thirds of the total.
    blocking : int
        Smallest weight that the faulty can't have alone, if they have less than a third.
    own : int or None
        Index of this node.
    start : Certificate
        What the first proposal extends.
    """

    __slots__ = (
        "addresses",
        "blocking",
        "chain_id",
        "hash",
        "number",
        "own",
        "quorum",
        "rounds_per_leader",
        "size",
        "start",
        "validators",
        "weights",
    )

    def __init__(
        self,
        chain_id: bytes,
        number: int,
        validators: Validators,
        public_key: bytes | None,
        anchor: VoteStatement,
        rounds_per_leader: int,
    ) -> None:
        self.chain_id = chain_id
        self.number = number
        self.validators = validators
        self.hash = validators.hash
        self.weights = validators.weights
        self.addresses = validators.public_keys
        self.size = len(self.weights)
        total = sum(self.weights)
        self.quorum = total * 2 // 3 + 1
        self.blocking = total - self.quorum + 1
        self.own = self.addresses.index(public_key) if public_key in self.addresses else None
        self.start = Certificate(anchor, b"", b"")
        self.rounds_per_leader = rounds_per_leader

    def leader(self, round: int) -> int:
        """Index of the validator that proposes in a round."""
        return round // self.rounds_per_leader % self.size

    def weight_of(self, validators: Iterable[int]) -> int:
        """Sum of the weights."""
        weights = self.weights
        return sum([weights[index] for index in validators])

    def weight_of_bitmap(self, bitmap: bytes) -> int:
        """Weight of a bitmap's validators; 0 if its length or its padding is wrong."""
        bits = int.from_bytes(bitmap, "little")
        if len(bitmap) != (self.size + 7) // 8 or bits >> self.size:
            return 0
        return sum([weight for index, weight in enumerate(self.weights) if bits >> index & 1])

    def concerns(self, statement: Statement) -> bool:
        """Whether a statement is of this chain, epoch and validator set."""
        return (
            statement.epoch == self.number
            and statement.validators_hash == self.hash
            and statement.chain_id == self.chain_id
        )


def bitmap_of(epoch: Epoch, validators: Iterable[int]) -> bytes:
    """Bit i % 8 of byte i / 8 for validator i."""
    return sum([1 << index for index in validators]).to_bytes((epoch.size + 7) // 8, "little")


def are_certified(epoch: Epoch, signing: Signing, certificates: Sequence[Certificate | BatchCertificate]) -> bool:
    """Whether a quorum signed each of the statements, in this epoch."""
    parts = []
    for certificate in certificates:
        if not epoch.concerns(certificate.statement) or epoch.weight_of_bitmap(certificate.signers) < epoch.quorum:
            return False
        parts.append((certificate.statement, certificate.signers, certificate.signature))
    return signing.are_signed_by_all(epoch.validators, parts)


def combine(
    epoch: Epoch, signing: Signing, statement: Statement, signatures: dict[int, bytes]
) -> tuple[tuple[bytes, bytes] | None, tuple[int, ...]]:
    """Make (bitmap, signature) of a quorum's signatures; drop and name the validators whose signature is wrong."""
    if epoch.weight_of(signatures) < epoch.quorum:
        return None, ()
    total, wrong = signing.aggregate(epoch.validators, statement, signatures)
    right = [index for index in signatures if index not in wrong]
    if epoch.weight_of(right) < epoch.quorum:
        return None, wrong
    return (bitmap_of(epoch, right), total), wrong


def combine_timeouts(epoch: Epoch, signing: Signing, timeouts: Sequence[Timeout]) -> TimeoutCertificate:
    """Make the certificate of a quorum's timeouts of one round, each of which was checked."""
    ordered = sorted(timeouts, key=lambda timeout: timeout.validator)
    return TimeoutCertificate(
        epoch.number,
        ordered[0].statement.round,
        tuple([(timeout.validator, timeout.statement.high_round) for timeout in ordered]),
        signing.aggregate_timeouts(ordered),
        max(ordered, key=lambda timeout: timeout.statement.high_round).high,
    )


def is_timeout_certified(epoch: Epoch, signing: Signing, certificate: TimeoutCertificate) -> bool:
    """Whether a quorum gave up on the round and `high` is of the highest round reported; `high` is not checked."""
    signers = [index for index, _ in certificate.high_rounds]
    rising = all(before < after for before, after in pairwise(signers))
    if certificate.epoch != epoch.number or not rising or not signers or signers[-1] >= epoch.size:
        return False
    if epoch.weight_of(signers) < epoch.quorum:
        return False
    if max([high for _, high in certificate.high_rounds]) != certificate.high.statement.round:
        return False
    statements = [
        (index, TimeoutStatement(epoch.chain_id, epoch.number, certificate.round, high, epoch.hash))
        for index, high in certificate.high_rounds
    ]
    return signing.are_timeouts_signed(epoch.validators, statements, certificate.signature)
