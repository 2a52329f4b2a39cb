"""How rounds that fail come to an end: timers, signed timeouts, and help for who is in another round.

Two things are kept of each validator: its timeout for the round that this node is in, of which a quorum makes a
certificate, and its timeout for the highest round, which tells how far the others are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from pyledger.consensus.certificates import combine_timeouts
from pyledger.consensus.chain import persist, set_timer, take_certificate, take_timeout_certificate
from pyledger.consensus.events import Send, TimerFired
from pyledger.consensus.messages import Status, Timeout, TimeoutStatement
from pyledger.consensus.state import State
from pyledger.consensus.sync import ask_around, greet_other_epoch

__all__ = ["on_timer", "pacemaker_handlers"]


def on_timer(state: State, event: TimerFired) -> None:
    """The timer of a round has run out."""
    if event.epoch != state.epoch.number or event.round != state.round:
        return
    state.asked.clear()
    state.helped.clear()
    ask_around(state)
    if state.epoch.own is not None:
        _give_up(state, state.round, None)
    set_timer(state)


def _give_up(state: State, round: int, address: bytes | None) -> None:
    """Sign that a round has failed; from then on there is no vote in it. Said again until the round is over."""
    epoch, record, high = state.epoch, state.record, state.high
    assert epoch.own is not None
    if record.lock is None or high.statement.round > record.lock.statement.round:
        record = msgspec.structs.replace(record, lock=high)
    state.record = msgspec.structs.replace(record, timed_out=max(record.timed_out, round))
    statement = TimeoutStatement(state.chain_id, epoch.number, round, high.statement.round, epoch.hash)
    timeout = Timeout(statement, high, epoch.own, state.signing.sign(statement))
    persist(state, None, [(address, timeout)])


def _on_timeout(state: State, sender: bytes, timeout: Timeout) -> None:
    statement, epoch = timeout.statement, state.epoch
    if not epoch.concerns(statement):
        greet_other_epoch(state, sender, statement.epoch)
        return
    high = take_certificate(state, timeout.high, sender) if _is_right(state, timeout) else None
    if high is None or state.epoch is not epoch:
        return
    timeout = msgspec.structs.replace(timeout, high=high)
    if statement.round < state.round:
        _help(state, sender, statement.round)
        return
    before = state.timeouts.get(timeout.validator)
    if before is None or before.statement.round <= statement.round:
        state.timeouts[timeout.validator] = timeout
    if statement.round == state.round:
        state.current[timeout.validator] = timeout
    _count(state)


def _is_right(state: State, timeout: Timeout) -> bool:
    """Whether a timeout is one of this epoch's validators, or was checked before. Its certificate is not looked at."""
    statement, epoch = timeout.statement, state.epoch
    if timeout.validator >= epoch.size or statement.high_round != timeout.high.statement.round:
        return False
    if timeout in (state.timeouts.get(timeout.validator), state.current.get(timeout.validator)):
        return True
    return statement.high_round < statement.round and state.signing.is_signed(
        epoch.validators, timeout.validator, statement, timeout.signature
    )


def _help(state: State, sender: bytes, round: int) -> None:
    """Bring a straggler along: with what ended its round, or else by giving up that round too.

    A node that started again, or was drawn along, may not hold what ended the rounds before its own. If it only said
    which round it is in, nodes in two rounds could wait for each other's timeouts for ever.

    Once, until this node's round or timer is over: old timeouts can be repeated by anybody, as fast as the network can.
    """
    if sender == state.signing.public_key or (sender, round) in state.helped:
        return
    state.helped.add((sender, round))
    if state.entered_by is not None or state.high.statement.round >= round:
        state.effects.append(Send(sender, Status(state.high, state.entered_by)))
    elif state.epoch.own is not None:
        _give_up(state, round, sender)


def _count(state: State) -> None:
    """A quorum for the round ends it; those who can't all be faulty draw this node along."""
    epoch = state.epoch
    round = _round_of_the_others(state)
    if round > state.round or (round == state.round and state.record.timed_out < round):
        _join(state, round)
    if epoch.weight_of(state.current) >= epoch.quorum:
        take_timeout_certificate(state, combine_timeouts(epoch, state.signing, list(state.current.values())), None)


def _round_of_the_others(state: State) -> int:
    """The highest round that at least one honest validator has given up; 0 if that is not known."""
    weight = 0
    for timeout in sorted(state.timeouts.values(), key=lambda timeout: -timeout.statement.round):
        weight += state.epoch.weights[timeout.validator]
        if weight >= state.epoch.blocking:
            return timeout.statement.round
    return 0


def _join(state: State, round: int) -> None:
    """Give up a round because others have."""
    if round > state.round:
        state.round, state.entered_by = round, None
        state.current = {
            timeout.validator: timeout for timeout in state.timeouts.values() if timeout.statement.round == round
        }
    if state.epoch.own is not None:
        _give_up(state, round, None)
    set_timer(state)


def _on_status(state: State, sender: bytes, status: Status) -> None:
    if not state.epoch.concerns(status.high.statement):
        greet_other_epoch(state, sender, status.high.statement.epoch)
        return
    take_certificate(state, status.high, sender)
    if status.timeout is not None and status.timeout.round >= state.round:
        take_timeout_certificate(state, status.timeout, sender)


pacemaker_handlers: Final[dict[type, Callable[[State, bytes, Any], None]]] = {
    Timeout: _on_timeout,
    Status: _on_status,
}
