"""What a node knows between two steps of the protocol, and how it knows it again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pyledger.consensus.application import Application, Header, Signing, Validators, VoteRecord
from pyledger.consensus.certificates import ZERO_HASH, Epoch
from pyledger.consensus.events import Effect
from pyledger.consensus.inclusion import Inclusion
from pyledger.consensus.messages import (
    Certificate,
    Message,
    ProposalStatement,
    SyncEntry,
    SyncRequest,
    Timeout,
    TimeoutCertificate,
    Vote,
    VoteStatement,
    statement_of,
)
from pyledger.errors import ConsensusError

__all__ = [
    "EXECUTED",
    "EXECUTING",
    "WAITING",
    "Anchor",
    "Block",
    "Parameters",
    "State",
    "make_epoch",
    "recover",
    "require_own_votes_known",
]

WAITING, EXECUTING, EXECUTED = range(3)


class Parameters(NamedTuple):
    """What all validators of a chain set alike; only liveness depends on it.

    Parameters
    ----------
    timeout_ns, timeout_max_ns : int
        How long a round may take; half as long again after each round that failed, up to the maximum; shorter again
        when blocks become final.
    skew_ns : int
        How far a fresh block's time may be ahead of the local clock when it is voted on.
    rounds_per_leader : int
        See `Epoch`.
    include_rounds : int
        A batch that a quorum holds must be in a block after this many rounds.
    """

    timeout_ns: int = 2_000_000_000
    timeout_max_ns: int = 60_000_000_000
    skew_ns: int = 5_000_000_000
    rounds_per_leader: int = 3
    include_rounds: int = 6


class Anchor(NamedTuple):
    """A final block that an epoch is built on; the genesis for epoch 0, with height 0."""

    epoch: int
    height: int
    hash: bytes
    state_root: bytes
    time_ns: int
    validators: Validators


class Block:
    """A block that is not final yet, or the last final one, with what is known about it."""

    __slots__ = (
        "certificate",
        "closing",
        "content",
        "ends_epoch",
        "hash",
        "height",
        "justified",
        "omits",
        "parent",
        "round",
        "statement",
        "status",
        "stored",
        "support",
        "time_ns",
    )

    content: bytes
    hash: bytes
    parent: bytes
    height: int
    round: int
    time_ns: int
    statement: VoteStatement
    """What a vote for it says."""
    ends_epoch: bool
    closing: bool
    certificate: Certificate | None
    status: int
    justified: bool
    """It came as a proposal that obeys the rules, so it may be voted on."""
    support: int
    """Round of the certificate that its proposal carries."""
    omits: bool
    stored: bool
    """It comes from the block store, where it was put after it had been executed: its content is the right one."""

    def __init__(self, content: bytes, header: Header) -> None:
        self.content = content
        self.hash = header.hash
        self.parent = header.parent
        self.height = header.height
        self.round = header.round
        self.time_ns = header.time_ns
        self.ends_epoch = header.next_validators_hash != header.validators_hash
        self.closing = header.next_validators_hash == ZERO_HASH
        self.statement = statement_of(header)
        self.certificate = None
        self.status = WAITING
        self.justified = False
        self.support = 0
        self.omits = self.stored = False


class State:
    """Everything that a step reads and changes. A step uses its state up: go on with the one it returns."""

    __slots__ = (
        "asked",
        "asked_last",
        "blocks",
        "chain_id",
        "current",
        "effects",
        "entered_by",
        "epoch",
        "failures",
        "final",
        "helped",
        "helper",
        "high",
        "inclusion",
        "next_number",
        "now_ns",
        "parameters",
        "pending",
        "preparing",
        "proposal",
        "read_header",
        "record",
        "round",
        "signing",
        "timeouts",
        "validators_of",
        "votes",
    )

    def __init__(
        self,
        chain_id: bytes,
        application: Application,
        signing: Signing,
        parameters: Parameters,
        epoch: Epoch,
        final: Block,
    ) -> None:
        self.chain_id: Final = chain_id
        self.read_header: Final[Callable[[bytes], Header]] = application.read_header
        self.validators_of: Final[Callable[[bytes], Validators]] = application.validators
        self.signing: Final = signing
        self.parameters: Final = parameters
        self.now_ns = 0
        self.effects: list[Effect] = []
        self.epoch = epoch
        self.round = 1
        self.entered_by: TimeoutCertificate | None = None
        self.failures = 0
        self.high = epoch.start
        self.final = final
        self.blocks: dict[bytes, Block] = {final.hash: final}
        self.record = VoteRecord(epoch=epoch.number)
        self.next_number = 0
        self.pending: dict[int, list[tuple[bytes | None, Message]]] = {}
        self.votes: dict[int, Vote] = {}
        self.timeouts: dict[int, Timeout] = {}
        self.current: dict[int, Timeout] = {}
        self.proposal: tuple[ProposalStatement, bytes] | None = None
        self.preparing = 0
        self.asked: set[tuple[bytes, SyncRequest]] = set()
        self.asked_last = 0
        self.helped: set[tuple[bytes, int]] = set()
        self.helper: bytes | None = None
        self.inclusion = Inclusion()


def make_epoch(state_parts: tuple[bytes, Signing, Parameters], anchor: Anchor) -> Epoch:
    """The epoch that stands on an anchor."""
    chain_id, signing, parameters = state_parts
    start = VoteStatement(
        chain_id,
        anchor.epoch,
        0,
        anchor.height,
        anchor.validators.hash,
        ZERO_HASH,
        anchor.hash,
        anchor.state_root,
    )
    return Epoch(chain_id, anchor.epoch, anchor.validators, signing.public_key, start, parameters.rounds_per_leader)


def recover(
    chain_id: bytes,
    application: Application,
    signing: Signing,
    parameters: Parameters,
    anchor: Anchor,
    final: SyncEntry | None = None,
    record: VoteRecord | None = None,
    blocks: Sequence[tuple[bytes, Certificate]] = (),
) -> State:
    """Make the state of a node that starts.

    Parameters
    ----------
    chain_id : bytes
    application : Application
        Only `read_header` and `validators` are kept.
    signing : Signing
    parameters : Parameters
    anchor : Anchor
        What the current epoch is built on.
    final : SyncEntry, optional
        The last final block, if it is above the anchor.
    record : VoteRecord, optional
        From the vote store. None for an observer only.
    blocks : sequence of (bytes, Certificate)
        What the block store holds above the final block, in any order: each block with its parent's certificate. They
        will be executed again.

    Raises
    ------
    ConsensusError
        If a validator comes without its record, or the record is of a later epoch than the chain.
    """
    epoch = make_epoch((chain_id, signing, parameters), anchor)
    if record is None and signing.public_key is not None:
        raise ConsensusError("a validator starts with its vote record only")
    root = _anchor_block(epoch, anchor) if final is None else _final_block(application, final)
    state = State(chain_id, application, signing, parameters, epoch, root)
    if final is not None:
        state.high = final.certificate
    _restore_record(state, record)
    _restore_blocks(state, blocks)
    known = [state.record.lock, *(block.certificate for block in state.blocks.values())]
    for certificate in known:
        if certificate is not None:
            require_own_votes_known(state, certificate)
        if certificate is not None and certificate.statement.round > state.high.statement.round:
            state.high = certificate
    state.round = max(state.record.voted, state.record.timed_out, state.record.proposed, state.high.statement.round + 1)
    return state


def require_own_votes_known(state: State, certificate: Certificate) -> None:
    """Raise ConsensusError if this validator's key has signed a vote that its record does not know of.

    A vote is recorded before it is sent. So the record is an old copy, or another process votes with this key.
    """
    own, statement = state.epoch.own, certificate.statement
    if own is None or statement.epoch != state.epoch.number or statement.round <= state.record.voted:
        return
    if certificate.is_signed_by(own):
        raise ConsensusError(
            f"round {statement.round}: this validator's key has voted in it, but its vote record ends with round "
            f"{state.record.voted}: the record is an old copy or was made anew, or another process has the key. Take a "
            "new key"
        )


def _restore_record(state: State, record: VoteRecord | None) -> None:
    if record is None:
        return
    if record.epoch > state.epoch.number:
        raise ConsensusError(
            f"the vote record is of epoch {record.epoch}, but the blocks here end with block {state.final.height} in "
            f"epoch {state.epoch.number}: later ones are missing. Restore the journal from a copy"
        )
    if record.epoch == state.epoch.number:
        state.record = record


def _restore_blocks(state: State, blocks: Sequence[tuple[bytes, Certificate]]) -> None:
    """Take the blocks above the final one, and the certificates they stood on.

    A node votes for a block whose parent it need not have stored. It keeps such a block until the parent comes: those
    who voted are the only ones sure to have it.
    """
    found = [(Block(content, state.read_header(content)), parent) for content, parent in blocks]
    for block, certificate in sorted(found, key=lambda pair: pair[0].height):
        if block.height <= state.final.height or not state.epoch.concerns(block.statement):
            continue
        block.stored = True
        state.blocks.setdefault(block.hash, block)
        parent = state.blocks.get(block.parent)
        if parent is not None and parent.certificate is None:
            parent.certificate = certificate
    lock = state.record.lock
    locked = state.blocks.get(lock.statement.block_hash) if lock is not None else None
    if locked is not None and locked.certificate is None:
        locked.certificate = lock


def _anchor_block(epoch: Epoch, anchor: Anchor) -> Block:
    block = Block.__new__(Block)
    block.content = b""
    block.hash = anchor.hash
    block.parent = ZERO_HASH
    block.height = anchor.height
    block.round = 0
    block.time_ns = anchor.time_ns
    block.statement = epoch.start.statement
    block.ends_epoch = block.closing = False
    block.certificate = epoch.start
    block.status = EXECUTED
    block.justified = block.omits = block.stored = False
    block.support = 0
    return block


def _final_block(application: Application, final: SyncEntry) -> Block:
    block = Block(final.block, application.read_header(final.block))
    block.certificate = final.certificate
    block.status = EXECUTED
    return block
