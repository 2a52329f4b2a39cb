"""The two-chain protocol (HotStuff-2, Jolteon) as one function: `step(state, event)` gives state and effects.

No clock, randomness, network or disk: they come in as events and go out as effects, so that a run can be repeated from
a seed. The rules that keep it safe are each one condition here; docs/consensus.md says why each is needed.

References: M. Gelashvili et al., "Jolteon and Ditto" (2022), section 3; D. Malkhi and K. Nayak, "Extended abstract:
HotStuff-2" (2023).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from pyledger.consensus.application import Draft
from pyledger.consensus.certificates import combine
from pyledger.consensus.chain import (
    add_block,
    ask,
    branch,
    check_final,
    drop_block,
    execute_ready,
    persist,
    set_timer,
    take_certificate,
    take_timeout_certificate,
)
from pyledger.consensus.events import (
    Admitted,
    Discard,
    Effect,
    Event,
    Executed,
    Persisted,
    Prepare,
    Prepared,
    Received,
    Report,
    Send,
    Settled,
    Start,
    Submitted,
    TimerFired,
)
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.inclusion import inclusion_handlers, insist, on_admitted, on_settled, on_submitted
from pyledger.consensus.messages import (
    Certificate,
    Message,
    Proposal,
    ProposalStatement,
    Timeout,
    TimeoutCertificate,
    Vote,
    VoteStatement,
)
from pyledger.consensus.pacemaker import on_timer, pacemaker_handlers
from pyledger.consensus.state import EXECUTED, EXECUTING, Block, State
from pyledger.consensus.sync import after_execution, ask_next, greet_other_epoch, sync_handlers
from pyledger.errors import ConsensusError, InputError

__all__ = ["step"]


def step(state: State, event: Event) -> tuple[State, list[Effect]]:
    """Take one event.

    Parameters
    ----------
    state : State
        Used up by the call.
    event : Event

    Returns
    -------
    state : State
        To go on with.
    effects : list of Effect
        What to do now, in this order.

    Raises
    ------
    ConsensusError
        If what a quorum signed contradicts itself or what this node executed. The node must stop.
    """
    effects: list[Effect] = []
    state.effects = effects
    state.now_ns = event.now_ns
    _ON_EVENT[type(event)](state, event)
    if state.preparing != state.round and state.epoch.leader(state.round) == state.epoch.own:
        _propose(state)
    return state, effects


def _on_start(state: State, _: Start) -> None:
    set_timer(state)
    for block in list(state.blocks.values()):
        execute_ready(state, block)


def _on_received(state: State, event: Received) -> None:
    handler = _ON_MESSAGE[type(event.message)]
    handler(state, event.sender, event.message)


# proposing -----------------------------------------------------------------------------------------------------------


def _propose(state: State) -> None:
    """Have a block made on top of the highest certificate, once in a round."""
    record, round = state.record, state.round
    if round <= max(record.proposed, record.voted, record.timed_out):
        return
    high = state.high.statement
    parent = state.blocks.get(high.block_hash)
    if parent is None or parent.status != EXECUTED or not _is_supported(round, state.high, state.entered_by):
        return
    state.preparing = round
    epoch = state.epoch
    draft = Draft(
        epoch.number,
        parent.height + 1,
        round,
        max(state.now_ns, parent.time_ns + 1),
        parent.hash,
        epoch.hash,
        parent.ends_epoch or parent.closing,
    )
    state.effects.append(Prepare(draft, state.inclusion.due(round)))


def _is_supported(round: int, parent: Certificate, failed: TimeoutCertificate | None) -> bool:
    """A block stands on the certificate of the round before, or on one that no quorum has gone beyond."""
    if parent.statement.round + 1 == round:
        return True
    return failed is not None and failed.round + 1 == round and parent.statement.round >= failed.high.statement.round


def _on_prepared(state: State, event: Prepared) -> None:
    block = Block(event.block, state.read_header(event.block))
    record = state.record
    current = block.round == state.round and block.statement.epoch == state.epoch.number
    if not current or block.parent != state.high.statement.block_hash or block.round <= record.timed_out:
        state.effects.append(Discard(block.hash))
        return
    own = state.epoch.own
    assert own is not None
    block.status, block.justified, block.support = EXECUTED, True, state.high.statement.round
    block = add_block(state, block)
    statement = _proposal_statement(state, block)
    proposal = Proposal(event.block, state.high, state.entered_by, own, state.signing.sign(statement))
    state.proposal = (statement, proposal.signature)
    _vote(state, block, proposal)


def _proposal_statement(state: State, block: Block) -> ProposalStatement:
    content_hash = hashlib.sha256(block.content).digest()
    return ProposalStatement(
        state.chain_id, state.epoch.number, block.round, state.epoch.hash, block.hash, content_hash
    )


# voting --------------------------------------------------------------------------------------------------------------


def _on_proposal(state: State, sender: bytes, proposal: Proposal) -> None:
    block = _read_proposal(state, sender, proposal)
    if block is None:
        return
    statement = _proposal_statement(state, block)
    if not state.signing.is_signed(state.epoch.validators, proposal.validator, statement, proposal.signature):
        return
    if _is_second(state, proposal, statement) or not _is_justified(state, sender, proposal, block):
        return
    state.proposal = (statement, proposal.signature)
    block = add_block(state, block)
    block.justified, block.support = True, proposal.parent.statement.round
    if block.status == EXECUTED:
        _try_vote(state, block)
    else:
        execute_ready(state, block)
        if not branch(state, block):
            ask(state, sender, block.hash)


def _read_proposal(state: State, sender: bytes, proposal: Proposal) -> Block | None:
    """The block, if it is said to be by the leader of a round that is not over."""
    try:
        header = state.read_header(proposal.block)
    except InputError:
        return None
    epoch = state.epoch
    if header.epoch != epoch.number:
        greet_other_epoch(state, sender, header.epoch)
        return None
    if header.round < state.round or proposal.validator != epoch.leader(header.round):
        return None
    block = Block(proposal.block, header)
    return block if epoch.concerns(block.statement) else None


def _is_second(state: State, proposal: Proposal, statement: ProposalStatement) -> bool:
    """One proposal a round; a second, different one is evidence."""
    if state.proposal is None or state.proposal[0].round != statement.round:
        return False
    first, signature = state.proposal
    if first != statement:
        _report(state, proposal.validator, (first.to_bytes(), signature), (statement.to_bytes(), proposal.signature))
    return True


def _is_justified(state: State, sender: bytes, proposal: Proposal, block: Block) -> bool:
    """Rules about what a block stands on; learns from the certificates on the way."""
    parent = proposal.parent.statement
    if parent.block_hash != block.parent or parent.height + 1 != block.height or parent.round >= block.round:
        return False
    if take_certificate(state, proposal.parent, sender) is None:
        return False
    if proposal.timeout is not None and not take_timeout_certificate(state, proposal.timeout, sender):
        return False
    return block.round == state.round and _is_supported(block.round, proposal.parent, proposal.timeout)


def _on_executed(state: State, event: Executed) -> None:
    block = state.blocks.get(event.block_hash)
    if block is None or block.status != EXECUTING:
        return
    verdict = event.verdict
    if verdict.state_root != block.statement.state_root:
        _refuse_block(state, block, verdict.state_root)
        return
    block.status, block.omits = EXECUTED, verdict.omitted
    if block.omits and block.justified and block.round == state.round:
        insist(state)
    for child in list(state.blocks.values()):
        if child.parent == block.hash:
            execute_ready(state, child)
    check_final(state, block)
    _try_vote(state, block)
    after_execution(state, block)


def _refuse_block(state: State, block: Block, state_root: bytes | None) -> None:
    """Forget what does not execute; stop where a quorum certified another state than the block's content gives.

    Votes are on headers, so anybody can put other bytes behind one that is certified. That these don't execute says
    nothing against the certificate: the right ones come from another peer, with their certificate.
    """
    certified = block.certificate is not None
    if certified and state_root is not None:
        raise ConsensusError(
            f"height {block.height}: a quorum certified state root {block.statement.state_root.hex()[:16]}…, which is "
            "not what executing the block gives here"
        )
    drop_block(state, block)
    if certified:
        ask_next(state, block.hash)


def _try_vote(state: State, block: Block) -> None:
    """All rules that a vote depends on, but for those of `_is_justified`."""
    if state.epoch.own is None or not block.justified or block.round != state.round:
        return
    parent = state.blocks.get(block.parent)
    if block.omits or parent is None or block.time_ns <= parent.time_ns or not _closes_rightly(parent, block):
        return
    record = state.record
    if block.round <= record.voted or block.round <= record.timed_out:
        return
    if record.lock is not None and block.support < record.lock.statement.round:
        return
    _vote(state, block, None)


def _closes_rightly(parent: Block, block: Block) -> bool:
    """Behind the last block of an epoch come closing blocks alone, which change nothing; elsewhere there are none."""
    if not (parent.ends_epoch or parent.closing):
        return not block.closing
    return block.closing and block.statement.state_root == parent.statement.state_root


def _vote(state: State, block: Block, proposal: Proposal | None) -> None:
    """Vote, and propose if it is the own block: recorded durably, then sent."""
    epoch, record = state.epoch, state.record
    assert epoch.own is not None
    parent = _support_of(state, block)
    vote = Vote(block.statement, epoch.own, state.signing.sign(block.statement))
    lock = record.lock
    if lock is None or parent.statement.round > lock.statement.round:
        lock = parent
    state.record = msgspec.structs.replace(
        record,
        voted=block.round,
        block_hash=block.hash,
        lock=lock,
        proposed=record.proposed if proposal is None else block.round,
    )
    next_leader = epoch.addresses[epoch.leader(block.round + 1)]
    messages: list[tuple[bytes | None, Message]] = [(next_leader, vote)]
    if proposal is not None:
        messages.insert(0, (None, proposal))
    persist(state, (block.content, parent), messages)


def _support_of(state: State, block: Block) -> Certificate:
    parent = state.blocks[block.parent].certificate
    assert parent is not None
    return parent


def _on_persisted(state: State, event: Persisted) -> None:
    epoch = state.epoch
    for address, message in state.pending.pop(event.number, ()):
        to_itself = epoch.own is not None and address == epoch.addresses[epoch.own]
        if not to_itself:
            state.effects.append(Send(address, message))
        if to_itself or (address is None and isinstance(message, Timeout)):
            _ON_MESSAGE[type(message)](state, epoch.addresses[epoch.own or 0], message)


# collecting votes ----------------------------------------------------------------------------------------------------


def _on_vote(state: State, sender: bytes, vote: Vote) -> None:
    statement, epoch = vote.statement, state.epoch
    if not epoch.concerns(statement):
        greet_other_epoch(state, sender, statement.epoch)
        return
    if not state.round <= statement.round <= state.round + 1 or vote.validator >= epoch.size:
        return
    before = state.votes.get(vote.validator)
    if before is not None and not _replaces(state, before, vote):
        return
    state.votes[vote.validator] = vote
    _count_votes(state, sender, statement)


def _replaces(state: State, before: Vote, vote: Vote) -> bool:
    """Whether a vote is the right one of two, or both are and it is of a later round.

    Both may count as long as the round of the first is not over, so nothing pushes it out, and it keeps nothing out,
    before the signatures are looked at. Two right ones in a round are evidence.
    """
    if before.statement.round < state.round:
        return True
    if before == vote or not _is_vote_signed(state, vote):
        return False
    if not _is_vote_signed(state, before):
        return True
    if before.statement.round != vote.statement.round:
        return before.statement.round < vote.statement.round
    if before.statement != vote.statement:
        _report(
            state,
            vote.validator,
            (before.statement.to_bytes(), before.signature),
            (vote.statement.to_bytes(), vote.signature),
        )
    return False


def _is_vote_signed(state: State, vote: Vote) -> bool:
    return state.signing.is_signed(state.epoch.validators, vote.validator, vote.statement, vote.signature)


def _count_votes(state: State, sender: bytes, statement: VoteStatement) -> None:
    """Votes are checked together, when there are enough of them."""
    signatures = {vote.validator: vote.signature for vote in state.votes.values() if vote.statement == statement}
    made, wrong = combine(state.epoch, state.signing, statement, signatures)
    for validator in wrong:
        del state.votes[validator]
    if made is not None:
        take_certificate(state, Certificate(statement, *made), sender)


def _report(state: State, validator: int, first: tuple[bytes, bytes], second: tuple[bytes, bytes]) -> None:
    state.effects.append(Report(Evidence(validator, *first, *second)))


_ON_MESSAGE: Final[dict[type, Callable[[State, bytes, Any], None]]] = {
    Proposal: _on_proposal,
    Vote: _on_vote,
    **pacemaker_handlers,
    **sync_handlers,
    **inclusion_handlers,
}
_ON_EVENT: Final[dict[type, Callable[[State, Any], None]]] = {
    Start: _on_start,
    Received: _on_received,
    TimerFired: on_timer,
    Prepared: _on_prepared,
    Executed: _on_executed,
    Persisted: _on_persisted,
    Submitted: on_submitted,
    Admitted: on_admitted,
    Settled: on_settled,
}
