"""An institution's node: protocol, book, transport and clients put together, one loop in one thread.

Whatever decides something happens in `Replica.run`, one event after the other. Threads around it (transport, clients,
metrics) put bytes into queues and read numbers.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.application import RecordStore
from pyledger.consensus.driver import Driver
from pyledger.consensus.events import Prepare, Prepared, Received, Start, Submitted, TimerFired
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import (
    MESSAGE_BYTES_MAX,
    Batch,
    Message,
    Status,
    SyncRequest,
    SyncResponse,
    decode,
    encode,
)
from pyledger.consensus.signing import BlsSigning
from pyledger.consensus.state import Parameters, recover
from pyledger.crypto import bls
from pyledger.errors import AuthorisationError, InputError, SignatureError
from pyledger.ledger.blocks import Header
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.validators import Roster
from pyledger.node.application import BookApplication, Outcome
from pyledger.node.config import Limits
from pyledger.node.contradictions import Contradictions
from pyledger.node.explanations import Explanations
from pyledger.node.folder import EVIDENCE_FOLDER
from pyledger.node.ingress import Client
from pyledger.node.mempool import REASON_UNKNOWN
from pyledger.node.observe import log_event
from pyledger.node.submissions import digest_of
from pyledger.node.sync_budget import SyncBudget
from pyledger.node.transports.interface import Transport
from pyledger.node.wire import (
    Attester,
    Failed,
    FindAttester,
    Finished,
    NextSequence,
    Request,
    Sequence,
    StatusAnswer,
    Submit,
)

__all__ = ["Replica", "peer_names"]

_LOG: Final = logging.getLogger(__name__)
_OUTCOMES_KEPT: Final = 256
_CERTIFICATE_BYTES_MAX: Final = 1024
_PATIENCE: Final = 0.4
"""Share of a round's timeout that a leader without work waits."""


def peer_names(genesis: Genesis, others: Iterable[str], own_name: str) -> frozenset[str]:
    """Names of all other nodes of a chain: institutions of the genesis by their BIC, the others by the names given."""
    return frozenset([*(institution.bic for institution in genesis.institutions), *others]) - {own_name}


class _Peers:
    """The transport as consensus sees it: messages to addresses. A validator's address is its key, else the name."""

    def __init__(self, transport: Transport, rosters: Iterable[Roster]) -> None:
        self._transport = transport
        self._names: dict[bytes, str] = {}
        self._addresses: dict[str, bytes] = {}
        for roster in rosters:
            self.learn(roster)

    def learn(self, roster: Roster) -> None:
        """Take in the names of a validator set; the newest key of a name counts."""
        for key, name in roster.names.items():
            self._names[key], self._addresses[name] = name, key

    def name_of(self, address: bytes) -> str:
        """Name of the node at an address."""
        return self._names.get(address) or address.decode()

    def send(self, address: bytes, message: Message) -> None:
        """Send to one node; of final blocks as many as fit."""
        if isinstance(message, SyncResponse):
            message = _cut(message)
        payload = _encoded(message)
        if payload is not None:
            self._transport.send(self.name_of(address), payload)

    def broadcast(self, message: Message) -> None:
        """Send to every other node."""
        payload = _encoded(message)
        if payload is not None:
            self._transport.broadcast(payload)

    def address_of(self, name: str) -> bytes:
        """Where an answer to a node of this name goes."""
        return self._addresses.get(name) or name.encode()


def _encoded(message: Message) -> bytes | None:
    """A message as bytes; None if it is too long, which is no reason to stop: others do without it."""
    try:
        return encode(message)
    except InputError as error:
        log_event(_LOG, "a message is not sent", logging.ERROR, kind=type(message).__name__, reason=str(error))
        return None


def _cut(answer: SyncResponse) -> SyncResponse:
    """The first blocks of an answer, as many as a message holds and at least one; whoever asked asks again."""
    sizes = accumulate(len(entry.block) + _CERTIFICATE_BYTES_MAX for entry in answer.entries)
    fitting = sum(size <= MESSAGE_BYTES_MAX for size in sizes)
    return SyncResponse(answer.entries[: max(1, fitting)])


class _PatientDriver(Driver):
    """Holds a proposal back while there is nothing to propose."""

    waiting: Prepare | None = None

    def __init__(self, has_work: Callable[[Prepare], bool], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._has_work = has_work

    def _prepare(self, effect: Prepare) -> None:
        if effect.draft.closing or self._has_work(effect):
            self.waiting = None
            super()._prepare(effect)
        else:
            self.waiting = effect
            # What the block would have told the others: that its parent is certified, and with it what is final.
            self._transport.broadcast(Status(self.state.high, self.state.entered_by))

    def propose_now(self) -> None:
        """Make the block that was held back, if its round is not over."""
        effect, self.waiting = self.waiting, None
        if effect is not None and effect.draft.round == self.state.round:
            block = self._application.prepare(effect.draft, effect.due)
            self.feed(Prepared(self._surroundings.now_ns(), block))


@dataclass(slots=True)
class _Counts:
    votes: int = 0
    certificates: int = 0
    timeouts: int = 0
    evidence: int = 0
    malformed: int = 0


class Replica:
    """A node of a chain; a validator if it has a key, else an observer.

    Parameters
    ----------
    name : str
    genesis : Genesis
    application : BookApplication
    transport : Transport
    key : SecretKey or None
    records : RecordStore or None
        The vote store of a validator.
    limits : Limits
    """

    def __init__(
        self,
        name: str,
        genesis: Genesis,
        application: BookApplication,
        transport: Transport,
        key: bls.SecretKey | None,
        records: RecordStore | None,
        limits: Limits,
    ) -> None:
        self.name, self.genesis, self.application = name, genesis, application
        self._transport, self._limits = transport, limits
        self._role = "observer" if key is None else "validator"
        self._peers = _Peers(transport, application.epochs.rosters.values())
        self._requests: queue.SimpleQueue[tuple[Client, Request]] = queue.SimpleQueue()
        self._waiting_clients: dict[bytes, list[tuple[Client, int]]] = {}
        self._outcomes: OrderedDict[bytes, Outcome] = OrderedDict()
        self._counts = _Counts()
        self._started = time.monotonic()
        self._timer: tuple[float, int, int] | None = None
        self._stopping = threading.Event()
        self.clients_count: Callable[[], int] = lambda: 0
        application.on_outcome = self._take_outcome
        application.on_refusals = self._explain_refusals
        self._explanations = Explanations()
        self._sync_budget = SyncBudget()
        self._contradictions = Contradictions(application.folder / EVIDENCE_FOLDER)
        signing = BlsSigning(key)
        self._parameters = Parameters(timeout_ns=limits.round_timeout_ms * 1_000_000)
        state = recover(
            genesis.chain_id,
            application,
            signing,
            self._parameters,
            application.anchor,
            application.final_entry(),
            None if records is None else records.load(),
            application.pending.contents(),
        )
        self._driver = _PatientDriver(self._has_work, state, application, records, application, self._peers, self)
        self._hold_until = float("inf")

    # Surroundings of the driver --------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Local time, nanoseconds since 1970 UTC."""
        return time.time_ns()

    def set_timer(self, epoch: int, round: int, delay_ns: int) -> None:
        """Fire for this round after a while, unless another timer is set before."""
        self._timer = (time.monotonic() + delay_ns / 1e9, epoch, round)

    def report(self, evidence: Evidence) -> None:
        """Keep the proof that a validator contradicted itself."""
        self._counts.evidence += 1
        state = self._driver.state
        found = evidence.verify(state.chain_id, state.epoch.validators, state.signing)
        name = self._peers.name_of(found.public_key)
        kept = self._contradictions.keep(name, found, evidence)
        if kept is not None:
            fields = {"validator": name, "epoch": found.epoch, "of_round": found.round, "kind": found.kind}
            log_event(_LOG, "a validator contradicted itself", logging.ERROR, **fields, file=str(kept))

    def epoch_began(self, epoch: int, validators_hash: bytes) -> None:
        """Note that another set of validators has taken over."""
        self._peers.learn(self.application.epochs.rosters[validators_hash])
        log_event(_LOG, "an epoch began", epoch=epoch, validators=validators_hash)

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take part until `stop`.

        Raises
        ------
        LedgerError
            If the node must not go on: a disk failed, or what a quorum signed contradicts what is computed here.
        """
        log_event(_LOG, "started", role=self._role, height=self.application.height, round=self._driver.state.round)
        with self._noting_progress():
            self._driver.feed(Start(self.now_ns()))
        while not self._stopping.is_set():
            message = self._transport.receive(self._seconds_to_next())
            if message is not None:
                self._take_message(message.sender, message.payload)
            self._take_requests()
            self._act_on_time()
        log_event(_LOG, "stopped", height=self.application.height)

    def stop(self) -> None:
        """Have `run` return after the event under way; may be called from any thread or a signal handler."""
        self._stopping.set()
        self._transport.wake()

    def take_request(self, client: Client, request: Request) -> None:
        """Take a client's request; called in the connections' threads."""
        self._requests.put((client, request))
        self._transport.wake()

    # Inside the loop -------------------------------------------------------------------------------------------------

    def _seconds_to_next(self) -> float:
        due = [self._hold_until] if self._driver.waiting else []
        due += [self._timer[0]] if self._timer else []
        return max(0.0, min([*due, self._sync_budget.next_time(), time.monotonic() + 1.0]) - time.monotonic())

    def _take_message(self, sender: str, payload: bytes) -> None:
        if payload[:1] == Explanations.MARK:
            self._explanations.take(sender, payload)
            return
        try:
            message = decode(payload)
        except InputError as error:
            self._counts.malformed += 1
            log_event(_LOG, "a message is refused", logging.DEBUG, sender=sender, reason=str(error))
            return
        if isinstance(message, SyncRequest) and not self._sync_budget.take(sender, message, time.monotonic()):
            return
        with self._noting_progress():
            self._driver.feed(Received(self.now_ns(), self._peers.address_of(sender), message))
            if isinstance(message, Batch):
                self._stop_waiting()

    def _take_requests(self) -> None:
        while True:
            try:
                client, request = self._requests.get_nowait()
            except queue.Empty:
                return
            with self._noting_progress():
                self._serve(client, request)

    def _serve(self, client: Client, request: Request) -> None:
        digest = None
        try:
            if isinstance(request, Submit):
                digest = self._accept(client, request)
            elif isinstance(request, NextSequence):
                sequence = self.application.next_sequence(request.institution, request.kind)
                client.answer(Sequence(request.number, sequence))
            elif isinstance(request, FindAttester):
                client.answer(Attester(request.number, *self.application.find_attester(request.public_key)))
            else:
                client.answer(StatusAnswer(request.number, self.status()))
        except (
            InputError,
            AuthorisationError,
            SignatureError,
        ) as error:  # others stop the node
            client.answer(Failed(request.number, type(error).__name__, str(error)))
        if digest is not None:
            self._driver.feed(Submitted(self.now_ns(), digest))
            self._stop_waiting()

    def _accept(self, client: Client, request: Submit) -> bytes | None:
        """Take a client's batch; gives its digest if it was not here yet."""
        if self._role == "observer":
            raise AuthorisationError("an observer can't submit")
        digest = digest_of(request.content)
        known = self._outcomes.get(digest)
        if known is not None:
            _answer(client, request.number, known)
            return None
        is_new = digest not in self.application.mempool
        self.application.submit(request.content)
        known = self._outcomes.get(digest)
        if known is not None:
            _answer(client, request.number, known)
            return None
        self._waiting_clients.setdefault(digest, []).append((client, request.number))
        return digest if is_new else None

    def _explain_refusals(self, digest: bytes, results: NDArray[np.uint32]) -> None:
        """Tell the others why records did not take effect in the block that this node makes."""
        self._transport.broadcast(Explanations.encode(digest, results))

    def _take_outcome(self, outcome: Outcome) -> None:
        if (outcome.results == REASON_UNKNOWN).any():
            leader = self._leader_of(self.application.header(outcome.height))
            outcome = self._explanations.apply(outcome, leader, self.application.plausible)
        self._outcomes[outcome.digest] = outcome
        if len(self._outcomes) > _OUTCOMES_KEPT:
            self._outcomes.popitem(last=False)
        for client, number in self._waiting_clients.pop(outcome.digest, ()):
            _answer(client, number, outcome)

    def _leader_of(self, header: Header) -> str:
        """Name of the node that proposed a final block."""
        addresses = self.application.validators(header.validators_hash).public_keys
        return self._peers.name_of(addresses[header.round // self._parameters.rounds_per_leader % len(addresses)])

    def _act_on_time(self) -> None:
        now = time.monotonic()
        with self._noting_progress():
            if self._timer is not None and self._timer[0] <= now:
                _, epoch, round = self._timer
                self._timer = None
                self._driver.feed(TimerFired(self.now_ns(), epoch, round))
            if self._driver.waiting is not None and self._hold_until <= now:
                self._driver.propose_now()
            for sender, question in self._sync_budget.due(now):
                self._driver.feed(Received(self.now_ns(), self._peers.address_of(sender), question))

    # When to propose -------------------------------------------------------------------------------------------------

    def _has_work(self, effect: Prepare) -> bool:
        """Whether a block is wanted now: something is not final yet, or a full block waits.

        Otherwise the leader waits, for the first batch and a little longer for others, or until its peers would grow
        uneasy; then an empty block shows them that it is there.
        """
        if self.application.has_undecided_work(effect.draft.parent):
            return True
        patience = self._parameters.timeout_ns / 1e9 * _PATIENCE
        if len(self.application.mempool):
            patience = min(patience, self._limits.block_interval_ms / 1000)
        self._hold_until = time.monotonic() + patience
        return self.application.mempool.records_count >= self.genesis.block_transfers_max

    def _stop_waiting(self) -> None:
        """A batch has come: a proposal that is held back waits for the block's interval at most."""
        if self._driver.waiting is not None:
            full = self.application.mempool.records_count >= self.genesis.block_transfers_max
            interval = 0.0 if full else self._limits.block_interval_ms / 1000
            self._hold_until = min(self._hold_until, time.monotonic() + interval)

    # What is shown ---------------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Any]:
        """Metrics by name; may be read from any thread."""
        application, state, counters = self.application, self._driver.state, self._transport.counters
        return {
            "height": application.height,
            "round": state.round,
            "epoch": state.epoch.number,
            "votes": self._counts.votes,
            "certificates": self._counts.certificates,
            "timeouts": self._counts.timeouts,
            "evidence": self._counts.evidence,
            "transfers": application.transfers_count,
            "blocks": application.blocks_count,
            "blocks_taken_back": application.branches.taken_back,
            "mempool_batches": len(application.mempool),
            "mempool_bytes": application.mempool.bytes,
            "clients": self.clients_count(),
            "messages_waiting": self._transport.waiting_count,
            "messages_sent": counters.sent,
            "messages_received": counters.received,
            "messages_dropped": counters.dropped_incoming + counters.dropped_outgoing + self._counts.malformed,
            "reconnects": counters.reconnects,
            "fsyncs": application.fsyncs_count,
            "fsync_seconds": round(application.fsync_seconds, 6),
            "fsync_seconds_last": round(application.fsync_seconds_last, 6),
        }

    def status(self) -> dict[str, Any]:
        """What `pyledger status` shows."""
        state = self._driver.state
        return {
            "name": self.name,
            "role": self._role,
            "chain": self.genesis.chain_id.hex(),
            "tip": self.application.branches.final_tip.hex(),
            "leader": self._peers.name_of(state.epoch.addresses[state.epoch.leader(state.round)]),
            "uptime_seconds": int(time.monotonic() - self._started),
            **self.numbers(),
        }

    @contextmanager
    def _noting_progress(self) -> Iterator[None]:
        """Count what an event brought about, and log final blocks."""
        before, height = self._driver.state, self.application.height
        record, certified = before.record, before.high.statement.round
        yield
        state, counts = self._driver.state, self._counts
        counts.votes += state.record.voted > record.voted
        counts.certificates += state.high.statement.round > certified
        if state.record.timed_out > record.timed_out:
            counts.timeouts += 1
            log_event(_LOG, "a round was given up", logging.WARNING, round=state.record.timed_out)
        if self.application.height > height:
            log_event(_LOG, "final", height=self.application.height, block=self.application.branches.final_tip)


def _answer(client: Client, number: int, outcome: Outcome) -> None:
    if outcome.reason:
        client.answer(Failed(number, "AuthorisationError", outcome.reason))
    else:
        client.answer(Finished(number, outcome.height, outcome.results.astype("<u4").tobytes()))
