"""Validators that live in one process: each votes on a block, the votes become a quorum certificate."""

from __future__ import annotations

from collections.abc import Sequence

from pyledger.consensus.messages import VoteStatement
from pyledger.crypto import bls
from pyledger.errors import ConsensusError

__all__ = ["Committee"]


class Committee:
    """The validators of a chain of which this process holds the keys.

    Parameters
    ----------
    validators : ValidatorSet
        All validators of the chain.
    secret_keys : sequence of SecretKey
        The keys held here, in any order; each must belong to one of the validators, and none may come twice.
    last_vote : tuple of (epoch, round), optional
        The newest certificate in the journal: this committee votes above it only.

    Raises
    ------
    ConsensusError
        If a key belongs to no validator, or if the keys held are no quorum.
    """

    def __init__(
        self,
        validators: bls.ValidatorSet,
        secret_keys: Sequence[bls.SecretKey],
        last_vote: tuple[int, int] = (-1, -1),
    ) -> None:
        self._validators = validators
        self._secret_keys = list(secret_keys)
        self._last_vote = last_vote
        weight_of = dict(zip(validators.public_keys, validators.weights, strict=True))
        for secret_key in secret_keys:
            if secret_key.public_key not in weight_of:
                raise ConsensusError(f"key {secret_key.public_key.hex()[:16]}…: no validator of this chain has it")
        keys = {secret_key.public_key for secret_key in secret_keys}
        if len(keys) != len(secret_keys):
            raise ConsensusError("a validator's key is given twice")
        held = sum(weight_of[key] for key in keys)
        if held < validators.quorum_weight:
            raise ConsensusError(f"the keys held have weight {held}: a quorum needs {validators.quorum_weight}")

    @property
    def validators(self) -> bls.ValidatorSet:
        """All validators of the chain."""
        return self._validators

    def certify(self, statement: VoteStatement) -> bls.QuorumCertificate:
        """Have each validator vote and combine the votes.

        One vote a round, rounds strictly rising: the votes leave this process only inside the certificate, and the
        caller makes the block durable together with it, so a crash in between leaves no vote behind.

        Raises
        ------
        ConsensusError
            If the statement's (epoch, round) is not above that of the last one, or if no quorum came together.
        """
        at = (statement.epoch, statement.round)
        if at <= self._last_vote:
            raise ConsensusError(f"epoch {at[0]}, round {at[1]}: this committee voted up to {self._last_vote} already")
        self._last_vote = at
        message = statement.to_bytes()
        collector = bls.VoteCollector(self._validators, message)
        for secret_key in self._secret_keys:
            collector.sign(secret_key)
        certificate = collector.certificate()
        if certificate is None:
            raise ConsensusError(f"epoch {at[0]}, round {at[1]}: no quorum came together")
        return certificate
