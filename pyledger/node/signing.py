"""BLS signatures as consensus asks for them (`pyledger.consensus.application.Signing`), over blst."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pyledger.consensus.application import Validators
from pyledger.consensus.messages import Statement, Timeout, TimeoutStatement
from pyledger.crypto import bls
from pyledger.errors import ProofError, SignatureError

__all__ = ["BlsSigning"]


class BlsSigning:
    """Signs with a validator's key, and checks the others'.

    Parameters
    ----------
    key : SecretKey, optional
        None for an observer.
    """

    def __init__(self, key: bls.SecretKey | None) -> None:
        self._key = key

    @property
    def public_key(self) -> bytes | None:
        """Key of this validator; None for an observer."""
        return None if self._key is None else self._key.public_key

    def sign(self, statement: Statement) -> bytes:
        """Sign a statement."""
        assert self._key is not None
        return self._key.sign(statement.to_bytes(), _purpose(statement))

    def is_signed(self, validators: Validators, validator: int, statement: Statement, signature: bytes) -> bool:
        """Whether a validator signed a statement."""
        try:
            bls.Vote(statement.to_bytes(), validator, signature).verify(_set(validators), _purpose(statement))
        except SignatureError:
            return False
        return True

    def aggregate(
        self, validators: Validators, statement: Statement, signatures: dict[int, bytes]
    ) -> tuple[bytes, tuple[int, ...]]:
        """Add up signatures on one statement; give the sum of the right ones, and whose were wrong."""
        collector = bls.VoteCollector(_set(validators), statement.to_bytes(), _purpose(statement))
        wrong = []
        for validator, signature in signatures.items():
            try:
                collector.add(validator, signature)
            except SignatureError:
                wrong.append(validator)
        certificate = collector.certificate()
        wrong += collector.rejected
        return (b"" if certificate is None else certificate.signature), tuple(wrong)

    def aggregate_timeouts(self, timeouts: Sequence[Timeout]) -> bytes:
        """Add up the signatures of timeouts, each of which was checked."""
        return bls.aggregate_signatures([timeout.signature for timeout in timeouts])

    def are_signed_by_all(self, validators: Validators, certificates: Sequence[tuple[Statement, bytes, bytes]]) -> bool:
        """Check (statement, bitmap of signers, sum of signatures), all together."""
        try:
            encoded = [_encode(validators, *certificate) for certificate in certificates]
            bls.verify_chain(encoded, _set(validators))
        except (ProofError, ValueError):
            return False
        return True

    def are_timeouts_signed(
        self, validators: Validators, statements: Sequence[tuple[int, Statement]], signature: bytes
    ) -> bool:
        """Check the sum of one signature by each validator on a statement of its own."""
        keys = validators.public_keys
        messages = [statement.to_bytes() for _, statement in statements]
        try:
            bls.verify_aggregate([keys[index] for index, _ in statements], messages, signature, "timeout")
        except (SignatureError, ValueError):
            return False
        return True


def _purpose(statement: Statement) -> bls.Purpose:
    return "timeout" if isinstance(statement, TimeoutStatement) else "vote"


def _set(validators: Validators) -> bls.ValidatorSet:
    assert isinstance(validators, bls.ValidatorSet)
    return validators


def _encode(validators: Validators, statement: Statement, signers: bytes, signature: bytes) -> bls.QuorumCertificate:
    message = statement.to_bytes()
    head = struct.pack("<BBHH", 1, 0, len(validators.weights), len(message))
    return bls.QuorumCertificate(head + message + signers + signature)
