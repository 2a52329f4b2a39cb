"""`Signing` over BLS12-381: votes under the tag for votes, everything else under the tag for timeouts.

What a signature is for stands in the signed bytes too (the kind of statement), so that statements of different kinds
under one tag can't stand in for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from pyledger.consensus.application import Validators
from pyledger.consensus.messages import Statement, Timeout, VoteStatement
from pyledger.crypto import bls
from pyledger.errors import InputError, ProofError, SignatureError

__all__ = ["BlsSigning", "certificate_bytes"]


class BlsSigning:
    """A validator's key, or none for who only follows and checks.

    Parameters
    ----------
    secret_key : SecretKey, optional
    threads : int
        Threads for checks of many; 0 for all CPUs.
    """

    def __init__(self, secret_key: bls.SecretKey | None = None, *, threads: int = 0) -> None:
        self._secret_key = secret_key
        self._threads: Final = threads

    @property
    def public_key(self) -> bytes | None:
        """Key of this validator; None for an observer."""
        return None if self._secret_key is None else self._secret_key.public_key

    def sign(self, statement: Statement) -> bytes:
        """Sign as this validator; InputError if there is no key."""
        if self._secret_key is None:
            raise InputError("an observer holds no key to sign with")
        return self._secret_key.sign(statement.to_bytes(), _purpose(statement))

    def is_signed(self, validators: Validators, validator: int, statement: Statement, signature: bytes) -> bool:
        """Check one signature."""
        vote, members = bls.Vote(statement.to_bytes(), validator, signature), _set_of(validators)
        try:
            vote.verify(members, _purpose(statement))
        except (SignatureError, InputError):
            return False
        return True

    def aggregate(
        self, validators: Validators, statement: Statement, signatures: dict[int, bytes]
    ) -> tuple[bytes, tuple[int, ...]]:
        """Add up; the sum is checked first, each signature only if it is wrong."""
        collector = bls.VoteCollector(
            _set_of(validators), statement.to_bytes(), _purpose(statement), threads=self._threads
        )
        wrong = []
        for validator, signature in signatures.items():
            try:
                collector.add(validator, signature)
            except SignatureError:
                wrong.append(validator)
        certificate = collector.certificate()
        return (b"" if certificate is None else certificate.signature), (*wrong, *collector.rejected)

    def aggregate_timeouts(self, timeouts: Sequence[Timeout]) -> bytes:
        """Add up signatures that were checked one by one."""
        return bls.aggregate_signatures([timeout.signature for timeout in timeouts])

    def are_signed_by_all(self, validators: Validators, certificates: Sequence[tuple[Statement, bytes, bytes]]) -> bool:
        """Check all together, grouped."""
        members = _set_of(validators)
        try:
            read = [
                bls.QuorumCertificate(certificate_bytes(members.size, *certificate)) for certificate in certificates
            ]
            for purpose in ("vote", "timeout"):
                chosen = [each for each in read if each.purpose == purpose]
                bls.verify_chain(chosen, members, purpose=purpose, threads=self._threads)
        except (InputError, ProofError):
            return False
        return True

    def are_timeouts_signed(
        self, validators: Validators, statements: Sequence[tuple[int, Statement]], signature: bytes
    ) -> bool:
        """Check the sum of one signature by each validator on a statement of its own."""
        keys = validators.public_keys
        try:
            bls.verify_aggregate(
                [keys[index] for index, _ in statements],
                [statement.to_bytes() for _, statement in statements],
                signature,
                "timeout",
            )
        except (SignatureError, InputError):
            return False
        return True


def certificate_bytes(size: int, statement: Statement, signers: bytes, signature: bytes) -> bytes:
    """Encode a certificate as `bls.QuorumCertificate` and receipts have it."""
    message = statement.to_bytes()
    head = bytes([1, 0 if _purpose(statement) == "vote" else 1])
    return b"".join([head, size.to_bytes(2, "little"), len(message).to_bytes(2, "little"), message, signers, signature])


def _purpose(statement: Statement) -> bls.Purpose:
    return "vote" if isinstance(statement, VoteStatement) else "timeout"


def _set_of(validators: Validators) -> bls.ValidatorSet:
    return validators if isinstance(validators, bls.ValidatorSet) else _refuse(validators)


def _refuse(validators: object) -> NoReturn:
    raise InputError(f"validators: expected a bls.ValidatorSet, got {type(validators).__name__}")
