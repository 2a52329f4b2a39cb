"""Catching up: blocks with their certificates, from any peer. Everything in an answer proves itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyledger.consensus.certificates import are_certified
from pyledger.consensus.chain import add_block, ask, branch, execute_ready, learn_certificate
from pyledger.consensus.events import Send, Serve
from pyledger.consensus.messages import Status, SyncEntry, SyncRequest, SyncResponse
from pyledger.consensus.state import EXECUTED, Block, State
from pyledger.errors import InputError

__all__ = ["after_execution", "ask_around", "ask_next", "greet_other_epoch", "sync_handlers"]


def greet_other_epoch(state: State, sender: bytes, epoch: int) -> None:
    """Ask a peer that is ahead; show a peer that is behind where this node is, once until round or timer is over."""
    if sender == state.signing.public_key:
        return
    if epoch > state.epoch.number:
        ask(state, sender, state.final.hash)
    elif epoch < state.epoch.number and (sender, 0) not in state.helped:
        state.helped.add((sender, 0))
        state.effects.append(Send(sender, Status(state.high, state.entered_by)))


def ask_around(state: State) -> None:
    """Who misses a block, and an observer that heard nothing, asks the validators in turn."""
    high = state.blocks.get(state.high.statement.block_hash)
    if state.epoch.own is None or high is None or high.status != EXECUTED:
        ask_next(state, state.high.statement.block_hash)


def ask_next(state: State, wanted: bytes) -> None:
    """Ask the validator after the one that was asked last in this way."""
    addresses = state.epoch.addresses
    state.asked_last = (state.asked_last + 1) % len(addresses)
    if state.asked_last == state.epoch.own:
        state.asked_last = (state.asked_last + 1) % len(addresses)
    ask(state, addresses[state.asked_last], wanted)


def _on_request(state: State, sender: bytes, request: SyncRequest) -> None:
    above = []
    for block in _branch_for(state, request.wanted):
        if block.certificate is None or block.status != EXECUTED:
            break
        if block.height >= request.from_height:
            above.append(SyncEntry(block.content, block.certificate))
    state.effects.append(Serve(sender, request.from_height, tuple(above)))


def _branch_for(state: State, wanted: bytes) -> list[Block]:
    """The branch that is asked for; if this node lacks some of it, the one that it has executed furthest.

    After restarts each may hold blocks that the others lack, and none all of them.
    """
    known = state.blocks.get(wanted)
    if known is not None and (path := branch(state, known)):
        return path
    executed = [block for block in state.blocks.values() if block.certificate is not None and block.status == EXECUTED]
    return branch(state, max(executed, key=lambda block: block.round))


def _on_response(state: State, sender: bytes, response: SyncResponse) -> None:
    """Take the certified blocks that stand on what is known here."""
    found = _linked(state, response)
    if not found or not are_certified(state.epoch, state.signing, [entry.certificate for _, entry in found]):
        return
    state.helper = sender
    epoch = state.epoch
    for block, entry in found:
        if state.epoch is not epoch:
            return
        block = add_block(state, block)
        learn_certificate(state, entry.certificate, None)
        execute_ready(state, block)


def _linked(state: State, response: SyncResponse) -> list[tuple[Block, SyncEntry]]:
    """Blocks of the answer that are of this epoch, each on top of a certified one and matching its certificate.

    Who leaves out the certificate of a block that is known here without one would make its descendants final before it.
    """
    found: list[tuple[Block, SyncEntry]] = []
    parents = {block.hash for block in state.blocks.values() if block.certificate is not None}
    for entry in response.entries:
        try:
            header = state.read_header(entry.block)
        except InputError:
            break
        if header.height <= state.final.height:
            continue
        block = Block(entry.block, header)
        last = found[-1][0].hash if found else None
        if block.statement != entry.certificate.statement or not (block.parent == last or block.parent in parents):
            break
        known = state.blocks.get(block.hash)
        if known is None or known.certificate is None:
            found.append((block, entry))
    return found


def after_execution(state: State, block: Block) -> None:
    """Go on asking until the block of the highest certificate is executed: an answer holds as much as it may."""
    wanted = state.high.statement
    last = not any(other.parent == block.hash for other in state.blocks.values())
    known = state.blocks.get(wanted.block_hash)
    missing = (known is None or known.status != EXECUTED) and wanted.height > state.final.height
    if last and missing and state.helper is not None:
        ask(state, state.helper, wanted.block_hash, block.height)


sync_handlers: Final[dict[type, Callable[[State, bytes, Any], None]]] = {
    SyncRequest: _on_request,
    SyncResponse: _on_response,
}
