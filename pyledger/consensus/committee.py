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
        index_by_key = {key: index for index, key in enumerate(validators.public_keys)}
        self._validators = validators
        self._voters: list[tuple[int, bls.SecretKey]] = []
        self._last_vote = last_vote
        for secret_key in secret_keys:
            if secret_key.public_key not in index_by_key:
                raise ConsensusError(f"key {secret_key.public_key.hex()[:16]}…: no validator of this chain has it")
            self._voters.append((index_by_key[secret_key.public_key], secret_key))
        if len({index for index, _ in self._voters}) != len(self._voters):
            raise ConsensusError("a validator's key is given twice")
        held = sum(validators.weights[index] for index, _ in self._voters)
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
        for index, secret_key in self._voters:
            collector.add(index, secret_key.sign(message))
        certificate = collector.certificate()
        if certificate is None:
            raise ConsensusError(f"epoch {at[0]}, round {at[1]}: no quorum came together")
        return certificate
