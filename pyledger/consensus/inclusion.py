"""The include-by rule against a leader that leaves somebody's batch out.

Whoever is given a batch spreads it; each validator that admits and keeps it says so, signed; a quorum of these makes a
certificate, which is spread too. Then enough honest validators hold the batch that no quorum comes together without
one of them, and every leader can get it. A validator that has had batch and certificate for `include_rounds` rounds
does not vote for a block that leaves the batch out, unless it can't take effect or the block is full (that is for the
application to say). Not voting is always safe; docs/decisions/013 says why this is live too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pyledger.consensus.certificates import are_certified, combine
from pyledger.consensus.events import Admit, Admitted, Send, Settled, Spread, Submitted
from pyledger.consensus.messages import Acknowledgement, Batch, BatchCertificate, BatchRequest, BatchStatement

if TYPE_CHECKING:
    from pyledger.consensus.state import State

__all__ = ["Inclusion", "inclusion_handlers", "insist", "on_admitted", "on_settled", "on_submitted", "spread_again"]

_CERTIFICATES_MAX: Final = 4096
_DUE_MAX: Final = 64


class Inclusion:
    """What a node knows of batches that wait for inclusion.

    Attributes
    ----------
    own : dict
        Digests given to this node, with the acknowledgements so far: {validator: signature}.
    held : set
        Digests of the batches that the application keeps.
    certified : dict
        Certificates by digest, with the round in which each came, oldest first.
    """

    __slots__ = ("certified", "held", "own")

    def __init__(self) -> None:
        self.own: dict[bytes, dict[int, bytes]] = {}
        self.held: set[bytes] = set()
        self.certified: dict[bytes, tuple[BatchCertificate, int]] = {}

    def due(self, last_round: int) -> tuple[bytes, ...]:
        """Digests of batches held and certified up to a round, oldest first."""
        if not self.certified:
            return ()
        found = [digest for digest, (_, round) in self.certified.items() if round <= last_round and digest in self.held]
        return tuple(found[:_DUE_MAX])

    def begin_epoch(self) -> None:
        """Other validators: what the old ones acknowledged must be acknowledged again."""
        self.certified.clear()
        for acknowledgements in self.own.values():
            acknowledgements.clear()


def on_submitted(state: State, event: Submitted) -> None:
    """A client gave this node a batch."""
    state.inclusion.own[event.digest] = {}
    state.effects.append(Spread(event.digest, None))
    _take(state, event.digest, None)


def spread_again(state: State) -> None:
    """Once in a while, for what was lost on the way."""
    own = state.inclusion.own
    if own and state.round % state.parameters.include_rounds == 0:
        for digest in own:
            state.effects.append(Spread(digest, None))
            known = state.inclusion.certified.get(digest)
            if known is not None:
                state.effects.append(Send(None, known[0]))
            else:
                _take(state, digest, None)


def insist(state: State) -> None:
    """Show everybody why this node does not vote for a block."""
    for digest in state.inclusion.due(state.round - state.parameters.include_rounds):
        state.effects.append(Send(None, state.inclusion.certified[digest][0]))


def _on_batch(state: State, sender: bytes, batch: Batch) -> None:
    state.effects.append(Admit(sender, batch.content))


def on_admitted(state: State, event: Admitted) -> None:
    """The application keeps a batch that came from a peer, or refused it."""
    if event.digest is not None:
        _take(state, event.digest, event.sender)


def _take(state: State, digest: bytes, sender: bytes | None) -> None:
    """Hold a batch, and say so to the one it came from (None: this node itself)."""
    state.inclusion.held.add(digest)
    epoch = state.epoch
    if epoch.own is None:
        return
    statement = BatchStatement(state.chain_id, epoch.number, epoch.hash, digest)
    acknowledgement = Acknowledgement(statement, epoch.own, state.signing.sign(statement))
    if sender is None:
        _on_acknowledgement(state, b"", acknowledgement)
    elif digest not in state.inclusion.certified:
        state.effects.append(Send(sender, acknowledgement))


def _on_acknowledgement(state: State, _sender: bytes, acknowledgement: Acknowledgement) -> None:
    statement, epoch = acknowledgement.statement, state.epoch
    collected = state.inclusion.own.get(statement.digest)
    if collected is None or statement.digest in state.inclusion.certified or not epoch.concerns(statement):
        return
    validator, signature = acknowledgement.validator, acknowledgement.signature
    if validator >= epoch.size:
        return
    before = collected.get(validator, signature)
    if before != signature and not state.signing.is_signed(epoch.validators, validator, statement, signature):
        return
    collected[validator] = signature
    made, wrong = combine(epoch, state.signing, statement, collected)
    for validator in wrong:
        del collected[validator]
    if made is not None:
        certificate = BatchCertificate(statement, *made)
        state.inclusion.certified[statement.digest] = (certificate, state.round)
        state.effects.append(Send(None, certificate))


def _on_certificate(state: State, sender: bytes, certificate: BatchCertificate) -> None:
    inclusion, digest = state.inclusion, certificate.statement.digest
    if digest not in inclusion.certified:
        if not are_certified(state.epoch, state.signing, (certificate,)):
            return
        if len(inclusion.certified) >= _CERTIFICATES_MAX:
            del inclusion.certified[next(iter(inclusion.certified))]
        inclusion.certified[digest] = (certificate, state.round)
    if digest not in inclusion.held:
        state.effects.append(Send(sender, BatchRequest(digest)))


def _on_request(state: State, sender: bytes, request: BatchRequest) -> None:
    if request.digest in state.inclusion.held:
        state.effects.append(Spread(request.digest, sender))


def on_settled(state: State, event: Settled) -> None:
    """These batches are in final blocks, or can never take effect."""
    for digest in event.digests:
        state.inclusion.own.pop(digest, None)
        state.inclusion.held.discard(digest)
        state.inclusion.certified.pop(digest, None)


inclusion_handlers: Final[dict[type, Callable[[Any, bytes, Any], None]]] = {
    Batch: _on_batch,
    Acknowledgement: _on_acknowledgement,
    BatchCertificate: _on_certificate,
    BatchRequest: _on_request,
}
