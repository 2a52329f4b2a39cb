"""Runs the protocol against the interfaces of `application.py`: feeds events in and carries effects out, in order.

One thread, no waiting: what an effect leads to is fed back before the next event from outside. That the record is
durable before a vote leaves is the order of two lines here, and the simulator runs these very lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, Protocol

from pyledger.consensus.application import Application, BlockStore, RecordStore, Transport
from pyledger.consensus.events import (
    Admit,
    Admitted,
    Discard,
    EpochBegan,
    Event,
    Execute,
    Executed,
    Finalise,
    Persist,
    Persisted,
    Prepare,
    Prepared,
    Report,
    Send,
    Serve,
    SetTimer,
    Settled,
    Spread,
)
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import SYNC_BYTES_MAX, Batch, SyncEntry, SyncResponse
from pyledger.consensus.protocol import step
from pyledger.consensus.state import State

__all__ = ["Driver", "Surroundings"]


class Surroundings(Protocol):
    """Clock, timer and ears of a node."""

    def now_ns(self) -> int:
        """Local time, nanoseconds since 1970 UTC."""
        ...

    def set_timer(self, epoch: int, round: int, delay_ns: int) -> None:
        """Have `TimerFired` fed after a while; takes the place of the timer before."""
        ...

    def report(self, evidence: Evidence) -> None:
        """Keep evidence against a validator."""
        ...

    def epoch_began(self, epoch: int, validators_hash: bytes) -> None:
        """Another set of validators has taken over."""
        ...


class Driver:
    """One node.

    Parameters
    ----------
    state : State
        From `recover`. Feed `Start` first.
    application : Application
    records : RecordStore
    blocks : BlockStore
    transport : Transport
    surroundings : Surroundings
    """

    def __init__(
        self,
        state: State,
        application: Application,
        records: RecordStore | None,
        blocks: BlockStore,
        transport: Transport,
        surroundings: Surroundings,
    ) -> None:
        self.state = state
        self._application = application
        self._records = records
        self._blocks = blocks
        self._transport = transport
        self._surroundings = surroundings
        self._events: deque[Event] = deque()
        self._actions: Final[dict[type, Callable[[Any], None]]] = {
            Persist: self._persist,
            Send: self._send,
            Prepare: self._prepare,
            Execute: self._execute,
            Finalise: self._finalise,
            Discard: self._discard,
            SetTimer: self._set_timer,
            Serve: self._serve,
            Admit: self._admit,
            Spread: self._spread,
            Report: self._report,
            EpochBegan: self._epoch_began,
        }

    def feed(self, event: Event) -> None:
        """Take an event and everything that follows from it.

        Whatever an interface raises comes through; the node must then stop, since the state may be ahead of the disk.
        """
        events, actions = self._events, self._actions
        events.append(event)
        while events:
            self.state, effects = step(self.state, events.popleft())
            for effect in effects:
                actions[type(effect)](effect)

    def _persist(self, effect: Persist) -> None:
        assert self._records is not None
        if effect.block is not None:
            self._blocks.put(*effect.block)
        self._records.save(effect.record)
        self._events.append(Persisted(self._surroundings.now_ns(), effect.number))

    def _send(self, effect: Send) -> None:
        if effect.address is None:
            self._transport.broadcast(effect.message)
        else:
            self._transport.send(effect.address, effect.message)

    def _prepare(self, effect: Prepare) -> None:
        block = self._application.prepare(effect.draft, effect.due)
        self._events.append(Prepared(self._surroundings.now_ns(), block))

    def _execute(self, effect: Execute) -> None:
        verdict = self._application.process(effect.block, effect.due)
        self._events.append(Executed(self._surroundings.now_ns(), effect.block_hash, verdict))

    def _finalise(self, effect: Finalise) -> None:
        settled = self._application.finalise(effect.entries, effect.tail)
        if settled:
            self._events.append(Settled(self._surroundings.now_ns(), tuple(settled)))

    def _discard(self, effect: Discard) -> None:
        self._application.discard(effect.block_hash)

    def _set_timer(self, effect: SetTimer) -> None:
        self._surroundings.set_timer(effect.epoch, effect.round, effect.delay_ns)

    def _serve(self, effect: Serve) -> None:
        """Final blocks, then those above them, as far as there is room."""
        entries, complete = self._blocks.entries(effect.from_height)
        if complete:
            entries = _within_bytes([*entries, *effect.above])
        if entries:
            self._transport.send(effect.address, SyncResponse(tuple(entries)))

    def _admit(self, effect: Admit) -> None:
        digest = self._application.admit(effect.content)
        self._events.append(Admitted(self._surroundings.now_ns(), effect.sender, digest))

    def _spread(self, effect: Spread) -> None:
        content = self._application.batch(effect.digest)
        if content is not None:
            self._send(Send(effect.address, Batch(content)))

    def _report(self, effect: Report) -> None:
        self._surroundings.report(effect.evidence)

    def _epoch_began(self, effect: EpochBegan) -> None:
        self._surroundings.epoch_began(effect.epoch, effect.validators_hash)


def _within_bytes(entries: Sequence[SyncEntry]) -> list[SyncEntry]:
    """The first ones, of `SYNC_BYTES_MAX` together; at least one."""
    found, size = list(entries[:1]), 0
    for before, entry in pairwise(entries):
        size += len(before.block)
        if size + len(entry.block) > SYNC_BYTES_MAX:
            break
        found.append(entry)
    return found
