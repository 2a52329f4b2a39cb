"""The tree of blocks above the final one: certificates, rounds, finality, the change of validators."""

from __future__ import annotations

import msgspec

from pyledger.consensus.application import VoteRecord
from pyledger.consensus.certificates import are_certified, is_timeout_certified
from pyledger.consensus.events import Discard, EpochBegan, Execute, Finalise, Persist, Send, SetTimer
from pyledger.consensus.inclusion import spread_again
from pyledger.consensus.messages import Certificate, Message, SyncEntry, SyncRequest, TimeoutCertificate
from pyledger.consensus.state import (
    EXECUTED,
    EXECUTING,
    WAITING,
    Anchor,
    Block,
    State,
    make_epoch,
    require_own_votes_known,
)
from pyledger.errors import ConsensusError

__all__ = [
    "add_block",
    "ask",
    "branch",
    "check_final",
    "drop_block",
    "execute_ready",
    "learn_certificate",
    "persist",
    "set_timer",
    "take_certificate",
    "take_timeout_certificate",
]

_BLOCKS_MAX = 64


def add_block(state: State, block: Block) -> Block:
    """Put a block into the tree, or give the one that is there."""
    known = state.blocks.get(block.hash)
    if known is not None:
        return known
    if len(state.blocks) >= _BLOCKS_MAX:
        _forget_failed(state)
    state.blocks[block.hash] = block
    return block


def drop_block(state: State, block: Block) -> None:
    """Forget a block, and the certified ones that wait on top of it: these come again with it.

    Not those of the block store, which nobody else may have.
    """
    dropped = {block.hash}
    for each in sorted(state.blocks.values(), key=lambda each: each.height):
        if each.parent in dropped and each.certificate is not None and not each.stored:
            dropped.add(each.hash)
    for block_hash in dropped:
        del state.blocks[block_hash]
        state.effects.append(Discard(block_hash))


def execute_ready(state: State, block: Block) -> None:
    """Have a block executed once its parent is; so it can be voted on.

    One that is further ahead than clocks may differ is not, unless others certified it: a certified block is never held
    against the local clock.
    """
    parent = state.blocks.get(block.parent)
    if block.certificate is None and block.time_ns > state.now_ns + state.parameters.skew_ns:
        return
    if block.status == WAITING and parent is not None and parent.status == EXECUTED:
        block.status = EXECUTING
        state.effects.append(
            Execute(block.hash, block.content, state.inclusion.due(state.round - state.parameters.include_rounds))
        )


def take_certificate(state: State, certificate: Certificate, sender: bytes | None) -> Certificate | None:
    """Learn from a certificate, if it is right: the highest one, finality, the round.

    Gives one for the same statement that was checked, which is the one to pass on: what comes for a statement that is
    certified already is not looked at, and may be garbage. None if it is wrong.
    """
    statement = certificate.statement
    block = state.blocks.get(statement.block_hash)
    if block is not None and block.certificate is not None and block.certificate.statement == statement:
        return block.certificate
    if statement == state.epoch.start.statement:
        return state.epoch.start
    if not are_certified(state.epoch, state.signing, (certificate,)):
        return None
    learn_certificate(state, certificate, sender)
    return certificate


def learn_certificate(state: State, certificate: Certificate, sender: bytes | None) -> None:
    """The same for a certificate that was checked."""
    require_own_votes_known(state, certificate)
    statement = certificate.statement
    block = state.blocks.get(statement.block_hash)
    if statement.round > state.high.statement.round:
        state.high = certificate
    if block is not None:
        _certify(state, block, certificate)
    elif statement.height > state.final.height and sender is not None:
        ask(state, sender, statement.block_hash)
    if statement.epoch == state.epoch.number and statement.round >= state.round:
        enter_round(state, statement.round + 1, None)


def _certify(state: State, block: Block, certificate: Certificate) -> None:
    if certificate.statement != block.statement:
        raise ConsensusError(f"height {block.height}: a quorum certified what this block's header does not say")
    if block.certificate is None:
        block.certificate = certificate
        execute_ready(state, block)
        check_final(state, block)


def take_timeout_certificate(state: State, certificate: TimeoutCertificate, sender: bytes | None) -> bool:
    """Enter the round after one that failed, if the certificate is right."""
    if certificate == state.entered_by:
        return True
    epoch = state.epoch
    if not is_timeout_certified(epoch, state.signing, certificate):
        return False
    high = take_certificate(state, certificate.high, sender)
    if high is None:
        return False
    if state.epoch is epoch and certificate.round >= state.round:
        enter_round(state, certificate.round + 1, msgspec.structs.replace(certificate, high=high))
    return True


def enter_round(state: State, round: int, entered_by: TimeoutCertificate | None) -> None:
    """Go on to a round because the one before was certified or failed."""
    state.round = round
    state.entered_by = entered_by
    if entered_by is not None:
        state.failures += 1
    state.asked.clear()
    state.helped.clear()
    state.current = {each.validator: each for each in state.timeouts.values() if each.statement.round == round}
    set_timer(state)
    spread_again(state)


def set_timer(state: State) -> None:
    """Half as long again after each round that failed; a new final block halves the count of failures.

    A certificate alone must not shorten it: where rounds take longer than the shortest time, one would be certified
    now and then, but never two in a row.
    """
    parameters = state.parameters
    failures = min(state.failures, 32)
    delay_ns = min(parameters.timeout_ns * 3**failures // 2**failures, parameters.timeout_max_ns)
    state.effects.append(SetTimer(state.epoch.number, state.round, delay_ns))


def check_final(state: State, block: Block) -> None:
    """Two-chain rule: certified in rounds r and r + 1, the parent is final."""
    parent = state.blocks.get(block.parent)
    if block.certificate is None or block.status != EXECUTED or parent is None or parent.certificate is None:
        return
    if parent.round + 1 == block.round and parent.height > state.final.height:
        _finalise(state, parent, block)


def branch(state: State, block: Block) -> list[Block]:
    """The blocks above the final one up to `block`, rising."""
    path = []
    here: Block | None = block
    while here is not None and here.height > state.final.height:
        path.append(here)
        here = state.blocks.get(here.parent)
    if here is not state.final:
        return []
    path.reverse()
    return path


def _finalise(state: State, last: Block, child: Block) -> None:
    path = branch(state, last)
    if not path:
        raise ConsensusError(f"height {last.height}: two branches are final; more than a third must be faulty")
    count = next((place + 1 for place, block in enumerate(path) if block.ends_epoch), len(path))
    entries, tail = path[:count], [*path[count:], child]
    state.effects.append(Finalise(tuple(map(_entry, entries)), tuple(map(_entry, tail))))
    finished = {state.final.hash, *(block.hash for block in entries)}
    state.final = entries[-1]
    state.failures //= 2
    _prune(state, finished)
    if state.final.ends_epoch:
        _begin_epoch(state)


def _entry(block: Block) -> SyncEntry:
    if block.certificate is None:
        raise ConsensusError(f"height {block.height}: final without a certificate")
    return SyncEntry(block.content, block.certificate)


def _prune(state: State, finished: set[bytes]) -> None:
    """Keep what stands on the final block, or may turn out to; discard what does not and is not final."""
    kept = {state.final.hash: state.final}
    for block in sorted(state.blocks.values(), key=lambda block: block.height):
        stands = block.parent in kept or block.parent not in state.blocks
        if block.height > state.final.height and stands:
            kept[block.hash] = block
    for block_hash in state.blocks:
        if block_hash not in kept and block_hash not in finished:
            state.effects.append(Discard(block_hash))
    state.blocks = kept


def _forget_failed(state: State) -> None:
    """Drop blocks of past rounds that nobody certified, as long as nothing stands on them.

    What was restored after a crash is kept: it is in no other node's memory if all of them crashed.
    """
    parents = {block.parent for block in state.blocks.values()}
    for block in list(state.blocks.values()):
        failed = block.certificate is None and block.round < state.round
        if failed and not block.stored and block.hash not in parents:
            del state.blocks[block.hash]
            state.effects.append(Discard(block.hash))


def _begin_epoch(state: State) -> None:
    """The set that the final block names takes over; rounds begin again."""
    last = state.final
    next_hash = state.read_header(last.content).next_validators_hash
    validators = state.validators_of(next_hash)
    number = state.epoch.number + 1
    anchor = Anchor(number, last.height, last.hash, last.statement.state_root, last.time_ns, validators)
    state.epoch = make_epoch((state.chain_id, state.signing, state.parameters), anchor)
    for block_hash in state.blocks:
        if block_hash != last.hash:
            state.effects.append(Discard(block_hash))
    state.blocks = {last.hash: last}
    last.certificate = state.high = state.epoch.start
    last.ends_epoch = False
    state.record = VoteRecord(epoch=number)
    state.votes.clear()
    state.timeouts.clear()
    state.current = {}
    state.proposal = None
    state.preparing = 0
    state.inclusion.begin_epoch()
    state.effects.append(EpochBegan(number, next_hash))
    enter_round(state, 1, None)
    if state.helper is not None:
        ask(state, state.helper, last.hash)


def persist(
    state: State, block: tuple[bytes, Certificate] | None, messages: list[tuple[bytes | None, Message]]
) -> None:
    """Send these once the record is durable, and the block with it."""
    state.next_number += 1
    state.pending[state.next_number] = messages
    state.effects.append(Persist(state.next_number, state.record, block))


def ask(state: State, address: bytes, wanted: bytes, above: int | None = None) -> None:
    """Ask for blocks above a height, by default that of the final one; once in a round."""
    question = SyncRequest((state.final.height if above is None else above) + 1, wanted)
    if (address, question) not in state.asked:
        state.asked.add((address, question))
        state.effects.append(Send(address, question))
