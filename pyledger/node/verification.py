"""Receipts and balance proofs checked with the light client: whoever trusts a validator set follows those after it.

The stand-alone verifier checks everything else, and with `Trust.independent` this, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from pyledger import verifier
from pyledger.consensus.evidence import Contradiction, Evidence
from pyledger.consensus.light_client import LightClient, Segment
from pyledger.consensus.signing import BlsSigning
from pyledger.crypto import bls
from pyledger.errors import InputError, LedgerError, ProofError
from pyledger.verifier import Trust, VerifiedAbsence, VerifiedBalance, VerifiedHistory, VerifiedTransfer

__all__ = ["trust_after", "trust_of", "verify_balance", "verify_evidence", "verify_history", "verify_receipt"]

_Proven = TypeVar("_Proven")


def verify_receipt(receipt: bytes, trust: Trust) -> VerifiedTransfer:
    """Check a receipt against the validators that the caller trusts, and those who took over from them.

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
    return _checked(verifier.verify_receipt, receipt, trust)


def verify_balance(proof: bytes, trust: Trust) -> VerifiedBalance | VerifiedAbsence:
    """Check a balance proof against the validators that the caller trusts, and those who took over from them.

    Parameters
    ----------
    proof : bytes
        What `Ledger.prove_balance` gave.
    trust : pyledger.Trust

    Returns
    -------
    pyledger.VerifiedBalance or pyledger.VerifiedAbsence
        The account as it stands after the block, or that no such account had been opened by then.

    Raises
    ------
    ProofError
        If any claim of the proof does not hold; the message says which.
    """
    return _checked(verifier.verify_balance, proof, trust)


def verify_history(proof: bytes, trust: Trust) -> VerifiedHistory:
    """Check a consistency proof against the validators that the caller trusts, and those who took over from them.

    Parameters
    ----------
    proof : bytes
        What `Ledger.prove_history` gave.
    trust : pyledger.Trust

    Returns
    -------
    pyledger.VerifiedHistory

    Raises
    ------
    ProofError
        If any claim of the proof does not hold; the message says which.
    """
    return _checked(verifier.verify_history, proof, trust)


def verify_evidence(evidence: bytes, trust: Trust) -> Contradiction:
    """Check that a validator whom the caller trusts contradicted itself: two votes, or two proposals, in one round.

    Parameters
    ----------
    evidence : bytes
        A file that a node keeps in the folder ``evidence`` of its ledger.
    trust : pyledger.Trust
        Of the epoch that the evidence is of (`trust_after` follows changes of the validators).

    Returns
    -------
    pyledger.Contradiction
        By whom, in which epoch and round, and what kind.

    Raises
    ------
    ProofError
        If it proves nothing, or is of other validators; the message says why.
    """
    try:
        read = Evidence.from_bytes(evidence)
    except InputError as error:
        raise ProofError(str(error)) from error
    validators = bls.ValidatorSet(trust.public_keys, trust.weights, trust.proofs)
    return read.verify(trust.chain_id, validators, BlsSigning(None))


def trust_after(trust: Trust, changes: Sequence[Segment]) -> Trust:
    """Trust in the validators who took over from those that the caller trusts.

    Parameters
    ----------
    trust : pyledger.Trust
    changes : sequence of Segment
        What `Ledger.changes_of_validators` gave for the epoch of `trust`.

    Returns
    -------
    pyledger.Trust
        For proofs of the epochs from there on; ``to_json`` makes a trust file of it.

    Raises
    ------
    ProofError
        If they do not show it.
    """
    client = _client(trust)
    for change in changes:
        client.advance(change)
    return trust_of(trust, client)


def trust_of(trust: Trust, client: LightClient) -> Trust:
    """Trust in the validators that a light client has reached, for proofs without the way there."""
    reached = client.validators
    return dataclasses.replace(
        trust,
        epoch=client.epoch,
        public_keys=reached.public_keys,
        proofs=reached.proofs,
        weights=reached.weights,
    )


def _checked(check: Callable[[bytes, Trust, verifier.Follow | None], _Proven], proof: bytes, trust: Trust) -> _Proven:
    try:
        return check(proof, trust, None if trust.independent else _follow)
    except verifier.ProofError as error:
        raise ProofError(str(error)) from error


def _client(trust: Trust) -> LightClient:
    """A light client that begins with these validators, wherever it is given headers of theirs."""
    validators = bls.ValidatorSet(trust.public_keys, trust.weights, trust.proofs)
    return LightClient(trust.chain_id, validators, b"", verifier.read_header, epoch=trust.epoch, height=-1)


def _follow(trust: Trust, segments: Sequence[verifier.Segment]) -> verifier.Header:
    """`verifier.follow`, by the light client; the first header may stand anywhere."""
    try:
        client = _client(trust)
        for segment in segments:
            client.advance(Segment(*segment))
    except LedgerError as error:
        raise verifier.ReceiptError(f"finality: {error}") from error
    return verifier.read_header(segments[-1].entries[0][0])
