"""A world in one process: nodes, a bad network, crashes, faulty validators; a seed replays it exactly.

Every schedule has a time of trouble (loss, delay, repetition, partitions, crashes at the instants that matter, clocks
that jump) and then heals, all but the faulty validators. After each event the invariants of the design are checked;
after healing, every honest node must make more blocks final within a bound. The nodes run the real protocol and the
real driver on light stand-ins.
"""

from __future__ import annotations

import gc
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyledger.consensus.adversary import Adversary
from pyledger.consensus.application import VoteRecord
from pyledger.consensus.certificates import Epoch
from pyledger.consensus.driver import Driver
from pyledger.consensus.events import Event, Received, Start, Submitted, TimerFired
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import Certificate, Message, SyncEntry
from pyledger.consensus.monitor import Monitor, Violation
from pyledger.consensus.plan import draw_plan, memberships
from pyledger.consensus.stand_ins import (
    CHAIN_ID,
    GENESIS,
    BlsParts,
    Disk,
    LightApplication,
    LightParts,
    Shared,
)
from pyledger.consensus.state import Anchor, Parameters, recover
from pyledger.errors import ConsensusError

__all__ = ["BlsParts", "LightParts", "Outcome", "Summary", "Violation", "run_schedule", "run_schedules"]

_MS = 1_000_000
_TIMEOUT_NS = 60 * _MS
_PATIENCE_NS = 40_000 * _MS
_EVENTS_MAX = 60_000
Parts = LightParts | BlsParts


class Outcome(NamedTuple):
    """What came of a schedule.

    Parameters
    ----------
    events : int
    faults : int
        Crashes, partitions and jumps of a clock.
    height : int
        Highest final block.
    epochs : int
        Changes of the validator set that were made.
    live : bool
        Whether every honest node made progress after healing.
    digest : int
        Of the whole run: equal for equal seeds.
    """

    events: int
    faults: int
    height: int
    epochs: int
    live: bool
    digest: int


class _Crash(Exception):
    """The process of a node ends here."""


class _Host:
    """One honest node: its process, its disk, and the interfaces that its driver stands on."""

    def __init__(self, world: _World, index: int) -> None:
        self.world = world
        self.index = index
        self.address = world.parts.address(index)
        self.disk = Disk()
        self.up = False
        self.clock_ns = 0
        self.life = 0
        self.timer: tuple[int, int] | None = None
        self.others = [other for other in range(len(world.addresses)) if other != index]
        self.is_member = index <= world.plan.validators

    def start(self) -> None:
        """Begin, from what is on disk."""
        world = self.world
        self.up, self.life = True, self.life + 1
        application = LightApplication(world.shared, self.disk)
        signing = world.parts.signing(self.index if self.is_member else None)
        anchor = world.anchor_of(self.disk.finals)
        finals = self.disk.finals
        state = recover(
            CHAIN_ID,
            application,
            signing,
            world.parameters,
            anchor,
            finals[-1] if finals and world.shared.headers[finals[-1].block].height > anchor.height else None,
            self.disk.record if self.is_member else None,
            self.disk.blocks,
        )
        self.application = application
        self.driver = Driver(state, self, self, self, self, self)  # type: ignore[arg-type]
        self.process, self.prepare, self.discard = application.process, application.prepare, application.discard
        self.read_header, self.validators = application.read_header, application.validators
        self.batch = application.batch
        self.feed(Start(self.now_ns()))

    def feed(self, event: Event) -> None:
        """Let the driver take an event; it may crash on the way."""
        try:
            self.driver.feed(event)
        except _Crash:
            self.crash()
        except ConsensusError as error:
            raise Violation(f"node {self.index} stopped: {error}") from error

    def crash(self) -> None:
        """End the process; it will come back."""
        self.disk.crash()
        self.up = False
        self.world.faults += 1
        self.world.push(self.world.rng.randrange(1, 200) * _MS, self, "start", None)

    def _danger(self) -> None:
        world = self.world
        if world.danger and world.rng.random() < world.danger:
            raise _Crash

    # what the driver stands on

    def now_ns(self) -> int:
        return self.world.now + self.clock_ns

    def set_timer(self, epoch: int, round: int, delay_ns: int) -> None:
        self.timer = (epoch, round)
        self.world.push(delay_ns, self, "timer", (self.life, epoch, round))

    def report(self, evidence: Evidence) -> None:
        self.world.monitor.on_evidence(self.driver.state.epoch, evidence)

    def epoch_began(self, epoch: int, validators_hash: bytes) -> None:
        pass

    def load(self) -> VoteRecord:
        return self.disk.record

    def save(self, record: VoteRecord) -> None:
        self._danger()
        self.disk.unsynced_record = record
        self._danger()
        self.disk.sync()
        self._danger()

    def put(self, block: bytes, parent: Certificate) -> None:
        self._danger()
        self.disk.unsynced_blocks.append((block, parent))
        self._danger()
        self.disk.sync()

    def finalise(self, entries: tuple[SyncEntry, ...], tail: tuple[SyncEntry, ...]) -> Sequence[bytes]:
        self._danger()
        self.world.monitor.on_final(self.index, self.application, entries)
        settled = self.application.finalise(entries, tail)
        self.world.on_progress(len(self.disk.finals))
        self._danger()
        return settled

    def admit(self, content: bytes) -> bytes | None:
        self._danger()
        return self.application.admit(content)

    def entries(self, from_height: int) -> tuple[list[SyncEntry], bool]:
        finals, headers = self.disk.finals, self.world.shared.headers
        found: list[SyncEntry] = []
        for entry in finals[max(from_height - 1, 0) : from_height + 15]:
            found.append(entry)
            height = headers[entry.block].height
            if height in self.disk.tails:
                return [*found, *self.disk.tails[height]], False
        return found, from_height + len(found) > len(finals)

    def send(self, address: bytes, message: Message) -> None:
        self._say(message)
        self._danger()
        to = self.world.index_of.get(address)
        if to is not None:
            self.world.carry(self.index, to, message)

    def broadcast(self, message: Message) -> None:
        self._say(message)
        carry = self.world.carry
        for index in self.others:
            self._danger()
            carry(self.index, index, message)

    def _say(self, message: Message) -> None:
        """What it is about to send is checked, and seen by the adversary."""
        world = self.world
        world.monitor.on_send(self.index, self.disk.record, message)
        if world.adversary is not None:
            world.adversary.observe(self.driver.state.epoch, message)


class _World:
    def __init__(self, seed: int, validators: int, parts: Parts) -> None:
        self.parts = parts
        self.rng = random.Random(seed)
        self.plan = draw_plan(self.rng, validators)
        plan = self.plan
        self.now = 0
        self.faults = 0
        self.events = 0
        self.goal = 0
        self.digest = 0
        self.batches: set[bytes] = set()
        self._queue: list[tuple[int, int, Any, Any, Any]] = []
        self._pushed = 0
        self._random = self.rng.random
        self._cut: frozenset[int] = frozenset()
        self.parameters = Parameters(
            timeout_ns=_TIMEOUT_NS,
            timeout_max_ns=8 * _TIMEOUT_NS,
            skew_ns=500 * _MS,
            rounds_per_leader=plan.rounds_per_leader,
            include_rounds=4,
        )
        sets = [
            parts.validators(number, members, [plan.weights[index] for index in members])
            for number, members in enumerate(memberships(validators))
        ]
        self.shared = Shared(sets, plan.last_heights)
        self._first = sets[0]
        self.monitor = Monitor(self.shared, parts.signing(None))
        self.index_of: dict[bytes, int] = {}
        count = validators + plan.observers + (1 if plan.last_heights else 0)
        self.addresses = [parts.address(index) for index in range(count)]
        self.index_of.update({address: index for index, address in enumerate(self.addresses)})
        self.danger, self.loss, self.repetition, self.delay_ns = plan.danger, plan.loss, plan.repetition, plan.delay_ns
        self.hosts: list[_Host | None] = [
            None if index in plan.faulty else _Host(self, index) for index in range(count)
        ]
        self.honest = [host for host in self.hosts if host is not None]
        self.monitor.honest = {host.address for host in self.honest}
        self.adversary = self._make_adversary(impersonates=seed % 2 == 0) if plan.faulty else None

    def _make_adversary(self, impersonates: bool) -> Adversary:
        parts = self.parts
        signings = {parts.address(index): parts.signing(index) for index in sorted(self.plan.faulty)}

        def send(sender: bytes, to: bytes, message: Message) -> None:
            self.carry(self.index_of[sender], self.index_of[to], message)

        honest = [host.address for host in self.honest]
        return Adversary(self.rng, self.shared, signings, send, honest, impersonates)

    def anchor_of(self, finals: list[SyncEntry]) -> Anchor:
        """Where the epoch began that a node with this journal is in."""
        headers = self.shared.headers
        for entry in reversed(finals):
            header = headers[entry.block]
            if header.next_validators_hash != header.validators_hash:
                validators = self.shared.sets[header.next_validators_hash]
                return Anchor(
                    header.epoch + 1, header.height, header.hash, header.state_root, header.time_ns, validators
                )
        return Anchor(0, 0, GENESIS, bytes(32), 0, self._first)

    def push(self, delay_ns: int, host: Any, kind: str | int, data: Any) -> None:
        """Have something happen later: what `kind` says, or a message of the node with this number."""
        self._pushed += 1
        heapq.heappush(self._queue, (self.now + delay_ns, self._pushed, host, kind, data))

    def carry(self, sender: int, to: int, message: Message) -> None:
        """The network."""
        random = self._random
        if random() < self.loss or (sender in self._cut) != (to in self._cut):
            return
        delay = 1 + int(random() * self.delay_ns)
        if random() < self.repetition:
            self.push(delay + int(random() * 6 * self.delay_ns), to, sender, message)
        self._pushed += 1
        heapq.heappush(self._queue, (self.now + delay, self._pushed, to, sender, message))

    def run(self) -> bool:
        """Give whether the world was live."""
        for host in self.honest:
            host.start()
        self.push(0, None, "trouble", None)
        for number in range(self.plan.batches):
            self.push(self.rng.randrange(self.plan.heal_ns), None, "submit", (b"batch %d" % number).ljust(32, b"\0"))
        self.push(self.plan.heal_ns, None, "heal", None)
        limit = self.plan.heal_ns + _PATIENCE_NS
        queue = self._queue
        while queue and self.events < _EVENTS_MAX:
            self.now, _, host, kind, data = heapq.heappop(queue)
            self.events += 1
            if self.now > limit:
                break
            if type(kind) is int:
                self._deliver(host, kind, data)
            else:
                self._happen(host, kind, data)
            if self.goal < 0:
                return True
        return False

    def _happen(self, host: Any, kind: str, data: Any) -> None:
        if kind == "timer":
            life, epoch, round = data
            if host.up and host.life == life and host.timer == (epoch, round):
                host.feed(TimerFired(host.now_ns(), epoch, round))
        elif kind == "start":
            if not host.up:
                host.start()
        elif kind == "submit":
            self._submit(data)
        elif kind == "heal":
            self._heal()
        elif self.now < self.plan.heal_ns:
            self._trouble()

    def _deliver(self, to: int, sender: int, message: Message) -> None:
        host = self.hosts[to]
        if host is None:
            assert self.adversary is not None
            self.adversary.act(self.addresses[to], self._latest_epoch(), message)
        elif host.up:
            self.digest = (self.digest * 1000003 + self.now * 31 + to) & 0xFFFFFFFFFFFFFFFF
            host.feed(Received(self.now + host.clock_ns, self.addresses[sender], self.parts.carry(message)))

    def _latest_epoch(self) -> Epoch:
        return max([host.driver.state.epoch for host in self.honest], key=lambda epoch: epoch.number)

    def _trouble(self) -> None:
        """A crash, a partition, the end of one, a clock that jumps."""
        rng = self.rng
        choice = rng.randrange(4)
        if choice == 0:
            host = rng.choice(self.honest)
            if host.up:
                host.crash()
        elif choice == 1:
            self._cut = frozenset(rng.sample(range(len(self.hosts)), rng.randrange(1, len(self.hosts))))
        elif choice == 2:
            self._cut = frozenset()
        else:
            host = rng.choice(self.honest)
            for other in self.honest:
                other.clock_ns = 0  # at most one clock is wrong, or a quorum could agree on a time far ahead
            host.clock_ns = rng.randrange(-5000, 5000) * _MS
        self.faults += 1
        self.push(1 + int(rng.random() * 2 * self.plan.trouble_every_ns), None, "trouble", None)

    def _submit(self, content: bytes) -> None:
        """A client gives a batch to a node, and again when the world heals."""
        self.batches.add(content)
        host = self.rng.choice(self.honest)
        if host.up and host.application.admit(content) is not None:
            host.feed(Submitted(host.now_ns(), content))

    def _heal(self) -> None:
        self._cut = frozenset()
        self.loss = self.repetition = self.danger = 0.0
        self.delay_ns = self.plan.healed_delay_ns
        for host in self.honest:
            host.clock_ns = 0
            if not host.up:
                host.start()
        for content in sorted(self.batches):
            self._submit(content)
        highest = max([len(host.disk.finals) for host in self.honest])
        self.goal = max([highest + 2, *[height + 1 for height in self.plan.last_heights]])

    def on_progress(self, height: int) -> None:
        """Done when all honest nodes are at the goal, and all batches in final blocks everywhere."""
        if self.goal and height >= self.goal and all(self._is_done(host) for host in self.honest):
            self.goal = -1

    def _is_done(self, host: _Host) -> bool:
        return len(host.disk.finals) >= self.goal and host.application.has_settled(self.batches)


def run_schedule(seed: int, validators: int = 4, parts: Parts | None = None) -> Outcome:
    """Run one schedule.

    Parameters
    ----------
    seed : int
    validators : int
        4 to 100.
    parts : LightParts or BlsParts
        Ideal signatures by default.

    Raises
    ------
    Violation
        If an invariant does not hold; the message names it.
    """
    collecting = gc.isenabled()
    gc.disable()  # worlds are small and full of cycles: collected between schedules, a third of the time is saved
    try:
        world = _World(seed, validators, parts or LightParts())
        live = world.run()
    finally:
        if collecting:
            gc.enable()
    height = max([len(host.disk.finals) for host in world.honest])
    epochs = max([host.driver.state.epoch.number for host in world.honest])
    return Outcome(world.events, world.faults, height, epochs, live, world.digest)


@dataclass
class Summary:
    """What came of many schedules.

    Parameters
    ----------
    schedules, events, faults, blocks, epochs : int
        How many were run, and sums over all of them.
    not_live : list of int
        Seeds of schedules in which an honest node made no progress after healing.
    violation : str
        The first invariant that did not hold, with its seed; empty if all hold. Nothing is run after it.
    """

    schedules: int = 0
    events: int = 0
    faults: int = 0
    blocks: int = 0
    epochs: int = 0
    not_live: list[int] = field(default_factory=list)
    violation: str = ""

    @property
    def ok(self) -> bool:
        """Whether all were safe and live."""
        return not self.violation and not self.not_live


def run_schedules(
    first: int,
    count: int,
    validators: int = 4,
    real: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Run the schedules of successive seeds.

    Parameters
    ----------
    first, count : int
        Seeds `first` to `first + count - 1`.
    validators : int
        4 to 100.
    real : bool
        With BLS keys and encoded messages.
    progress : callable
        Told how many are done.
    """
    summary = Summary()
    keys = BlsParts() if real else None  # ideal signatures are made anew, else what other worlds signed would count
    for seed in range(first, first + count):
        try:
            outcome = run_schedule(seed, validators, keys)
        except Violation as violation:
            summary.violation = f"seed {seed}, {validators} validators: {violation}"
            return summary
        summary.schedules += 1
        summary.events += outcome.events
        summary.faults += outcome.faults
        summary.blocks += outcome.height
        summary.epochs += outcome.epochs
        if not outcome.live:
            summary.not_live.append(seed)
        progress(summary.schedules)
    return summary
