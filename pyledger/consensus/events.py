"""What goes into a step of the protocol, and what comes out of it.

Times are nanoseconds of the local clock. They set timers and bound the time of fresh blocks; nothing else depends on
them.
"""

from __future__ import annotations

import msgspec

from pyledger.consensus.application import Draft, Verdict, VoteRecord
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import Certificate, Message, SyncEntry

__all__ = [
    "Admit",
    "Admitted",
    "Discard",
    "Effect",
    "EpochBegan",
    "Event",
    "Execute",
    "Executed",
    "Finalise",
    "Persist",
    "Persisted",
    "Prepare",
    "Prepared",
    "Received",
    "Report",
    "Send",
    "Serve",
    "SetTimer",
    "Settled",
    "Spread",
    "Start",
    "Submitted",
    "TimerFired",
]


class Start(msgspec.Struct, frozen=True, gc=False):
    """The process begins or begins again."""

    now_ns: int


class Received(msgspec.Struct, frozen=True):
    """A message came; `sender` is where an answer goes, and is not proven."""

    now_ns: int
    sender: bytes
    message: Message


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """The timer set for this round has run out."""

    now_ns: int
    epoch: int
    round: int


class Prepared(msgspec.Struct, frozen=True):
    """The application made the block that `Prepare` asked for, and has processed it."""

    now_ns: int
    block: bytes


class Executed(msgspec.Struct, frozen=True):
    """The application has processed a block."""

    now_ns: int
    block_hash: bytes
    verdict: Verdict


class Persisted(msgspec.Struct, frozen=True, gc=False):
    """The record of this number, and the block with it, are durable."""

    now_ns: int
    number: int


class Submitted(msgspec.Struct, frozen=True):
    """A client gave a batch to this node, and the application admitted it under this digest."""

    now_ns: int
    digest: bytes


class Admitted(msgspec.Struct, frozen=True):
    """What the application said to a batch of `sender`: its digest, or None if it is refused."""

    now_ns: int
    sender: bytes
    digest: bytes | None


class Settled(msgspec.Struct, frozen=True):
    """These batches are in final blocks, or can never take effect."""

    now_ns: int
    digests: tuple[bytes, ...]


Event = Start | Received | TimerFired | Prepared | Executed | Persisted | Submitted | Admitted | Settled


class Persist(msgspec.Struct, frozen=True):
    """Make a block (if any) with its parent's certificate, then the record, durable; then say `Persisted`.

    In the order of the effects.
    """

    number: int
    record: VoteRecord
    block: tuple[bytes, Certificate] | None


class Send(msgspec.Struct, frozen=True):
    """Send to one address, or to everybody else if it is None."""

    address: bytes | None
    message: Message


class Prepare(msgspec.Struct, frozen=True):
    """Have a block made; then say `Prepared`."""

    draft: Draft
    due: tuple[bytes, ...]


class Execute(msgspec.Struct, frozen=True):
    """Have a block processed; then say `Executed`."""

    block_hash: bytes
    block: bytes
    due: tuple[bytes, ...]


class Finalise(msgspec.Struct, frozen=True):
    """These blocks are final; see `Application.finalise`."""

    entries: tuple[SyncEntry, ...]
    tail: tuple[SyncEntry, ...]


class Discard(msgspec.Struct, frozen=True):
    """This block is forgotten."""

    block_hash: bytes


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Fire `TimerFired` for this round after a while. It takes the place of the timer set before."""

    epoch: int
    round: int
    delay_ns: int


class Serve(msgspec.Struct, frozen=True):
    """Send a `SyncResponse`: final blocks from a height on, and behind them, if they are all, these."""

    address: bytes
    from_height: int
    above: tuple[SyncEntry, ...]


class Admit(msgspec.Struct, frozen=True):
    """Ask the application to keep a batch; then say `Admitted`."""

    sender: bytes
    content: bytes


class Spread(msgspec.Struct, frozen=True):
    """Send a batch that the application keeps, to one address or to everybody else."""

    digest: bytes
    address: bytes | None


class Report(msgspec.Struct, frozen=True):
    """A validator contradicted itself, and this proves it."""

    evidence: Evidence


class EpochBegan(msgspec.Struct, frozen=True):
    """Another set of validators has taken over."""

    epoch: int
    validators_hash: bytes


Effect = (
    Persist | Send | Prepare | Execute | Finalise | Discard | SetTimer | Serve | Admit | Spread | Report | EpochBegan
)
