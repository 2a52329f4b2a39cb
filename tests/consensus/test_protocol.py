"""Each rule of the protocol, on one node that is told all kinds of things."""

import msgspec
import pytest
from consensus_node import NOW, Enough, Node

from pyledger.consensus import driver
from pyledger.consensus.application import Verdict, VoteRecord
from pyledger.consensus.certificates import combine
from pyledger.consensus.messages import (
    Certificate,
    Status,
    SyncEntry,
    SyncRequest,
    SyncResponse,
    Timeout,
    TimeoutCertificate,
    Vote,
)
from pyledger.consensus.stand_ins import Disk
from pyledger.consensus.state import EXECUTED, WAITING, Block
from pyledger.errors import ConsensusError


@pytest.fixture
def node():
    return Node()


# voting


def test_a_proposal_that_obeys_the_rules_gets_one_vote_for_the_next_leader(node):
    block, answer = node.propose(1)
    assert answer == [node.vote(0, block)]
    assert node.sent[-1][0] == node.parts.address(2)


def test_a_vote_leaves_after_its_block_and_record_are_durable(node):
    block, _ = node.propose(1)
    assert [what for what, _ in node.log] == ["put", "save", "send"]
    assert node.record == VoteRecord(0, 1, 0, 0, block.hash, node.start)


def test_one_vote_a_round(node):
    block, _ = node.propose(1)
    assert node.receive(node.proposal(block)) == []
    assert node.propose(1, payload=99)[1] == []
    assert node.votes() == [1]


def test_no_vote_in_a_round_that_was_given_up(node):
    node.time_out()
    assert node.propose(1)[1] == []


def test_no_vote_again_after_a_restart(node):
    block, _ = node.propose(1)
    again = Node(disk=node.disk, shared=node.shared)
    assert again.record.voted == 1
    assert again.receive(again.proposal(block)) == []
    assert again.propose(1, payload=99)[1] == []


def test_no_vote_after_a_restart_in_a_round_given_up_before(node):
    node.time_out()
    again = Node(disk=node.disk, shared=node.shared)
    assert again.propose(1)[1] == []
    assert again.time_out() == [again.timeout(0, 1)]


def test_a_restarted_node_starts_in_the_round_that_it_gave_up():
    node = Node()
    node.receive(Status(node.start, node.timeout_certificate(4)))
    node.time_out()
    again = Node(disk=node.disk, shared=node.shared)
    assert again.time_out() == [again.timeout(0, 5)]


def test_a_crash_leaves_no_doubt_about_a_later_round(node):
    """After voting in round 5 nothing of rounds before 5 is entered or voted in again."""
    node.certified_chain(1, 2, 3)
    again = Node(disk=node.disk, shared=node.shared)
    assert again.state.round >= 3
    assert again.propose(2, again.certificate(again.shared.headers[node.record.block_hash]))[1] == []


def test_only_the_leader_proposes(node):
    block = node.block(1)
    assert node.receive(node.proposal(block, by=2)) == []
    assert node.receive(node.proposal(block, signed_by=2)) == []
    assert node.votes() == []


def test_a_block_of_another_chain_epoch_or_set_is_not_voted_for(node):
    for draft in ({"validators_hash": node.sets[1].hash}, {"epoch": 1}):
        assert Vote not in map(type, node.propose(1, **draft)[1])
    foreign = msgspec.structs.replace(node.block(1), chain_id=b"another chain\0\0\0")
    node.shared.headers[foreign.hash] = foreign
    assert node.receive(node.proposal(foreign)) == []
    assert node.votes() == []


def test_a_block_stands_on_the_block_that_its_certificate_is_for(node):
    first, other = node.block(1), node.block(1, payload=77)
    block = node.block(2, node.certificate(first))
    assert node.receive(node.proposal(block, node.certificate(other))) == []
    assert node.record.voted == 0


def test_heights_are_not_left_out(node):
    first, _ = node.propose(1)
    parent = node.certificate(first)
    assert node.votes() == [1]
    assert node.propose(2, parent, height=3)[1] == []


def test_rounds_rise_along_the_chain(node):
    first, _ = node.propose(1)
    parent = node.certificate(first)
    block = node.block(2, parent)
    backwards = msgspec.structs.replace(block, round=1, hash=b"backwards".ljust(32))
    node.shared.headers[backwards.hash] = backwards
    assert node.receive(node.proposal(backwards, parent)) == []


@pytest.mark.parametrize("signers", [(), (1,), (1, 2)])
def test_a_certificate_needs_a_quorum(node, signers):
    first, _ = node.propose(1)
    assert node.propose(2, node.certificate(first, signers))[1] == []


def test_a_certificate_needs_its_signatures(node):
    first, _ = node.propose(1)
    claimed = Certificate(node.statement(first), b"\x07", b"sum")
    assert node.propose(2, claimed)[1] == []


@pytest.mark.parametrize("bitmap", [b"\x1e", b"\xff", b"\x0e\x00", b""])
def test_a_bitmap_has_its_length_and_no_padding(node, bitmap):
    first, _ = node.propose(1)
    right = node.certificate(first)
    assert node.propose(2, Certificate(right.statement, bitmap, right.signature))[1] == []


def test_weights_count_not_heads():
    node = Node(weights=(1, 1, 1, 7))
    first, _ = node.propose(1)
    assert node.propose(2, node.certificate(first, (0, 1, 2)))[1] == []
    assert node.propose(2, node.certificate(first, (3,)))[1] != []


def test_two_thirds_are_no_quorum():
    node = Node(weights=(1, 1, 1, 3))
    first, _ = node.propose(1)
    assert node.epoch.quorum == 5
    assert node.propose(2, node.certificate(first, (3, 1)))[1] == []
    assert node.propose(2, node.certificate(first, (3, 1, 2)))[1] != []


def test_after_a_gap_in_rounds_a_timeout_certificate_is_needed(node):
    first, _ = node.propose(1)
    parent = node.certificate(first)
    assert node.propose(3, parent)[1] == []
    block, _ = node.propose(3, parent, node.timeout_certificate(2, {1: parent}))
    assert node.record.block_hash == block.hash


def test_the_timeout_certificate_is_of_the_round_before(node):
    first, _ = node.propose(1)
    parent = node.certificate(first)
    for round in (1, 2, 4):
        assert node.propose(4, parent, node.timeout_certificate(round, {1: parent}))[1] == []


def test_an_older_timeout_certificate_excuses_nothing_in_a_later_round():
    other = Node()
    (first,), certificate = other.certified_chain(1)
    node = Node(shared=other.shared)
    node.receive(SyncResponse((SyncEntry(first.hash, certificate),)))
    old = node.timeout_certificate(1)
    node.receive(Status(node.start, node.timeout_certificate(4, {1: certificate})))
    assert node.state.round == 5
    block = node.block(5)
    node.receive(node.proposal(block, node.start, old))
    assert node.record.voted == 0
    node.receive(node.proposal(block, node.start, node.timeout_certificate(4)))
    assert node.record.voted == 5


def test_a_block_does_not_go_behind_the_highest_certificate_that_timeouts_report():
    other = Node()
    (first, _), certificate = other.certified_chain(1, 2)
    older = other.certificate(first)
    node = Node(shared=other.shared)
    node.receive(SyncResponse((SyncEntry(first.hash, older),)))
    failed = node.timeout_certificate(4, {1: certificate, 2: older, 3: older})
    block = node.block(5, older)
    node.receive(node.proposal(block, older, failed))
    assert (node.state.round, node.record.voted) == (5, 0)
    enough = node.timeout_certificate(4, {1: older, 2: older, 3: older})
    node.receive(node.proposal(block, older, enough))
    assert node.record.voted == 5


def test_the_lock_is_kept_though_a_timeout_certificate_would_allow_less(node):
    (_, second), certificate = node.certified_chain(1, 2)
    first = node.certificate(node.shared.headers[second.parent])
    third, _ = node.propose(3, certificate)
    assert (node.record.block_hash, node.record.lock) == (third.hash, certificate)
    allowed = node.timeout_certificate(4, dict.fromkeys((1, 2, 3), first))
    node.propose(5, first, allowed)
    assert (node.state.round, node.record.voted) == (5, 3)


def test_a_timeout_certificate_needs_a_quorum_its_signatures_and_its_certificate(node):
    first, _ = node.propose(1)
    parent = node.certificate(first)
    right = node.timeout_certificate(2, {1: parent})
    replace = msgspec.structs.replace
    wrong = [
        node.timeout_certificate(2, {1: parent}, signers=(1, 2)),
        replace(right, high_rounds=((1, 1), (1, 1), (2, 0), (3, 0))),
        replace(right, high_rounds=((2, 0), (1, 1), (3, 0))),
        replace(right, high_rounds=((1, 1), (2, 1), (3, 0))),
        replace(right, high_rounds=((1, 1), (2, 0), (4, 0))),
        replace(right, high_rounds=()),
        replace(right, high=node.start),
        replace(right, epoch=1),
    ]
    for failed in wrong:
        node.propose(3, parent, failed)
        assert (node.state.round, node.record.voted) == (2, 1)
    node.propose(3, parent, right)
    assert node.record.voted == 3


def test_the_certificate_in_a_timeout_certificate_is_checked(node):
    first = node.block(1)
    weak = node.certificate(first, (1, 2))
    node.receive(Status(node.start, node.timeout_certificate(2, {1: weak})))
    assert (node.state.round, node.state.high) == (1, node.start)


def test_a_quorum_of_one_signer_counted_often_is_none(node):
    failed = node.timeout_certificate(1, signers=(1,))
    often = msgspec.structs.replace(failed, high_rounds=((1, 0),) * 4)
    node.receive(Status(node.start, often))
    assert node.state.round == 1


def test_a_wrong_state_root_is_not_voted_for(node):
    assert node.propose(1, lies=True)[1] == []
    assert node.votes() == []


def test_a_block_that_is_not_valid_is_not_voted_for(node):
    assert node.propose(1, payload=-1)[1] == []
    assert node.votes() == []


def test_a_quorum_that_certifies_what_execution_denies_stops_the_node(node):
    block = node.block(1, lies=True)
    with pytest.raises(ConsensusError, match="not what executing the block gives"):
        node.receive(SyncResponse((SyncEntry(block.hash, node.certificate(block)),)))


def wrong_body(block, certificate):
    """What any peer can put together: the block's header and its certificate with other bytes behind them."""
    return SyncEntry(block.hash + b"anything", certificate)


@pytest.mark.parametrize("own", [0, None])
def test_a_wrong_body_behind_a_certified_header_is_dropped_and_another_peer_asked(own):
    node = Node(own=own)
    blocks, certificate = Node(shared=node.shared).certified_chain(1, 2)
    wrong = SyncResponse((wrong_body(blocks[0], node.certificate(blocks[0])), wrong_body(blocks[1], certificate)))
    asked = set()
    for _ in range(8):
        node.receive(wrong)
        asked |= {address for address, message in node.sent if isinstance(message, SyncRequest)}
        assert list(node.state.blocks) == [node.state.final.hash]
        node.time_out()
    assert node.state.high == certificate
    assert {node.parts.address(validator) for validator in (1, 2, 3)} <= asked
    entries = SyncEntry(blocks[0].hash, node.certificate(blocks[0])), SyncEntry(blocks[1].hash, certificate)
    node.receive(SyncResponse(entries))
    assert node.finals() == [1]


def test_another_peer_is_asked_at_once_for_a_block_with_a_wrong_body(node):
    block = node.block(1)
    certificate = node.certificate(block)
    assert node.receive(SyncResponse((wrong_body(block, certificate),))) == [SyncRequest(1, block.hash)]


def test_a_wrong_body_of_a_proposal_stops_nobody_once_its_block_is_certified(node):
    """It waits for its parent, so it is looked at only when a quorum has certified the block."""
    (first, second), certificate = Node(shared=node.shared).certified_chain(1, 2)
    proposal = node.proposal(second, node.certificate(first))
    node.receive(msgspec.structs.replace(proposal, block=second.hash + b"anything"))
    node.receive(Status(certificate, None))
    node.receive(SyncResponse((SyncEntry(first.hash, node.certificate(first)),)))
    assert second.hash not in node.state.blocks
    node.receive(SyncResponse((SyncEntry(second.hash, certificate),)))
    assert node.finals() == [1]


def altered(proposal):
    """What any peer can make of a proposal: its signature is on the header, not on the body."""
    return msgspec.structs.replace(proposal, block=proposal.block + b"anything")


def test_a_copy_with_another_body_does_not_keep_the_proposal_out(node):
    block = node.block(1)
    proposal = node.proposal(block)
    for _ in range(3):
        assert node.receive(altered(proposal), sender=3) == []
    assert node.receive(proposal) == [node.vote(0, block)]
    assert node.receive(altered(proposal), sender=3) == []
    assert node.votes() == [1]
    assert node.evidence == []


def test_a_copy_that_waits_makes_room_for_the_one_that_the_leader_sends(node):
    first = node.block(1)
    parent = node.certificate(first)
    second = node.block(2, parent)
    proposal = node.proposal(second, parent)
    node.receive(altered(proposal), sender=3)
    node.receive(proposal, sender=2)
    node.receive(altered(proposal), sender=3)
    node.receive(SyncResponse((SyncEntry(first.hash, parent),)), sender=2)
    assert node.votes() == [2]


def test_a_body_that_was_executed_is_not_exchanged(node):
    block, _ = node.propose(1)
    certificate = node.certificate(block)
    node.receive(altered(node.proposal(block)), sender=1)
    node.receive(Status(certificate, None))
    assert node.receive(SyncRequest(1, block.hash)) == [SyncResponse((SyncEntry(block.hash, certificate),))]


def test_a_second_proposal_is_evidence_after_a_copy_with_another_body_too(node):
    node.receive(altered(node.proposal(node.block(1))), sender=3)
    assert node.propose(1, payload=99)[1] == []
    (evidence,) = node.evidence
    evidence.verify(node.sets[0], node.parts.signing(None))


def test_a_body_that_was_not_executed_is_not_passed_on(node):
    (first, second), certificate = Node(shared=node.shared).certified_chain(1, 2)
    proposal = node.proposal(second, node.certificate(first))
    node.receive(msgspec.structs.replace(proposal, block=second.hash + b"anything"))
    node.receive(Status(certificate, None))
    node.state.blocks[first.hash] = Block(first.hash, first)
    node.state.blocks[first.hash].certificate = node.certificate(first)
    assert node.receive(SyncRequest(1, second.hash)) == []


def test_a_quorum_that_certifies_what_the_header_does_not_say_stops_the_node(node):
    block, _ = node.propose(1)
    with pytest.raises(ConsensusError, match="header does not say"):
        node.receive(Status(node.certificate(block, state_root=b"x" * 32), None))


@pytest.mark.parametrize(("time_ns", "voted"), [(0, False), (1, True), (NOW + 1000, True), (NOW + 1001, False)])
def test_time_rises_and_is_not_ahead(node, time_ns, voted):
    assert (node.propose(1, time_ns=time_ns)[1] != []) == voted


def test_time_is_not_held_against_a_block_that_others_certified(node):
    first = node.block(1, time_ns=NOW + 10**9)
    node.receive(node.proposal(first))
    assert node.votes() == []
    assert node.state.blocks[first.hash].status == WAITING
    parent = node.certificate(first)
    second = node.block(2, parent, time_ns=NOW + 10**9 + 1)
    node.receive(node.proposal(second, parent))
    third = node.block(3, node.certificate(second), time_ns=NOW + 10**9 + 2)
    node.receive(node.proposal(third, node.certificate(second)))
    assert node.finals() == [1]


def test_an_observer_follows_and_never_signs():
    node = Node(own=None)
    node.certified_chain(1, 2, 3, 4)
    node.time_out()
    assert node.finals() == [1, 2]
    assert {type(message) for _, message in node.sent} <= {SyncRequest}


def test_a_validator_does_not_start_without_its_record():
    node = Node(own=None)
    from pyledger.consensus.state import Anchor, recover

    with pytest.raises(ConsensusError, match="vote record"):
        recover(
            node.state.chain_id,
            node.application,
            node.parts.signing(0),
            node.parameters,
            Anchor(0, 0, b"", b"", 0, node.sets[0]),
        )


def test_a_record_of_a_later_epoch_than_the_chain_is_refused():
    disk = Disk()
    disk.record = VoteRecord(epoch=1)
    with pytest.raises(ConsensusError, match="of epoch 1, but the blocks here end with block 0 in epoch 0"):
        Node(disk=disk)


# finality


def test_a_block_is_final_when_it_and_its_child_are_certified_in_successive_rounds(node):
    (_, _, _), certificate = node.certified_chain(1, 2, 3)
    assert node.finals() == [1]
    node.receive(Status(certificate, None))
    assert node.finals() == [1, 2]


def test_rounds_that_do_not_follow_make_nothing_final(node):
    _, certificate = node.certified_chain(1, 3, 5)
    node.receive(Status(certificate, None))
    assert node.finals() == []


def test_a_final_block_takes_its_ancestors_along(node):
    _, certificate = node.certified_chain(1, 3, 5, 6)
    node.receive(Status(certificate, None))
    assert node.finals() == [1, 2, 3]


def test_one_certificate_is_not_final(node):
    _, certificate = node.certified_chain(1)
    node.receive(Status(certificate, None))
    assert node.finals() == []


def test_two_final_branches_stop_the_node(node):
    """Only if more than a third are faulty: here all three others sign for both branches."""
    first, one = [node.block(1, payload=payload) for payload in (1, 2)]
    node.receive(node.proposal(first))
    parent = node.certificate(first)
    second = node.block(2, parent)
    node.receive(node.proposal(second, parent))
    node.receive(Status(node.certificate(second), None))
    assert node.finals() == [1]
    other = node.certificate(one)
    two = node.block(2, other)
    entries = [SyncEntry(one.hash, other), SyncEntry(two.hash, node.certificate(two))]
    node.receive(SyncResponse(tuple(entries)))
    assert node.finals() == [1]
    assert node.state.final.hash == first.hash


def test_what_does_not_stand_on_the_final_block_is_forgotten(node):
    first, other = node.block(1), node.block(1, payload=50)
    node.receive(node.proposal(first))
    certificate = node.certificate(other)
    above = node.block(2, certificate, payload=51)
    node.receive(SyncResponse((SyncEntry(other.hash, certificate),)))
    node.state.blocks[above.hash] = Block(above.hash, above)
    assert other.hash in node.state.blocks
    parent = node.certificate(first)
    second, _ = node.propose(2, parent)
    node.receive(Status(node.certificate(second), None))
    assert set(node.state.blocks) == {first.hash, second.hash}
    with pytest.raises(KeyError):
        node.application.root_of(other.hash)


def test_blocks_that_nobody_certified_do_not_pile_up(node):
    for round in range(1, 300):
        failed = node.timeout_certificate(round - 1) if round > 1 else None
        if node.epoch.leader(round) == 0:
            node.receive(Status(node.start, failed))
        else:
            node.propose(round, None, failed)
    assert len(node.state.blocks) <= 80


def test_one_institution_alone_is_the_same_protocol(monkeypatch):
    monkeypatch.setattr(Node, "blocks_max", 6)
    disk = Disk()
    with pytest.raises(Enough):
        Node(weights=(1,), disk=disk)
    assert len(disk.finals) == 5
    assert disk.record.voted == 6


# proposing


def test_the_leader_proposes_once_on_the_highest_certificate(node):
    blocks, certificate = node.certified_chain(1, 2, 3)
    node.receive(Status(certificate, None))
    (proposal,) = node.proposals()
    header = node.read_header(proposal.block)
    assert (header.round, header.parent, proposal.parent) == (4, blocks[-1].hash, certificate)
    assert node.record.proposed == node.record.voted == 4
    node.receive(Status(certificate, None))
    assert len(node.proposals()) == 1


def test_a_proposal_leaves_after_its_record_is_durable(node):
    _, certificate = node.certified_chain(1, 2, 3)
    node.log.clear()
    node.receive(Status(certificate, None))
    assert [what for what, _ in node.log if what != "final"][:3] == ["put", "save", "send"]


def test_the_leader_does_not_propose_again_after_a_restart(node):
    _, certificate = node.certified_chain(1, 2, 3)
    node.receive(Status(certificate, None))
    again = Node(disk=node.disk, shared=node.shared)
    again.receive(Status(certificate, None))
    assert again.proposals() == []


def test_after_a_failed_round_the_leader_carries_the_proof(node):
    _blocks, certificate = node.certified_chain(1, 2)
    failed = node.timeout_certificate(3, {1: certificate})
    node.receive(Status(certificate, failed))
    (proposal,) = node.proposals()
    assert (proposal.parent, proposal.timeout) == (certificate, failed)


def test_the_leader_does_not_propose_in_a_round_that_it_gave_up(node):
    node.driver.state.round = 4
    node.time_out()
    node.receive(Status(node.start, node.timeout_certificate(3)))
    assert node.proposals() == []


# timeouts


def test_giving_up_is_durable_before_it_is_said_and_reports_the_highest_certificate(node):
    _, certificate = node.certified_chain(1, 2)
    node.receive(Status(certificate, None))
    node.log.clear()
    assert node.time_out() == [node.timeout(0, 3, certificate)]
    assert [what for what, _ in node.log] == ["save", "send"]
    assert (node.record.timed_out, node.record.lock) == (3, certificate)
    timers = len(node.timers)
    assert node.time_out() == [node.timeout(0, 3, certificate)]  # and again until the round is over
    assert len(node.timers) == timers + 1


def test_after_a_restart_no_lower_certificate_is_reported(node):
    _, certificate = node.certified_chain(1, 2)
    node.receive(Status(certificate, None))
    node.time_out()
    again = Node(disk=node.disk, shared=node.shared)
    assert again.time_out() == [node.timeout(0, 3, certificate)]


def test_after_a_restart_a_certificate_for_a_block_that_never_came_is_reported_still():
    other = Node()
    _, certificate = other.certified_chain(1, 2)
    node = Node(shared=other.shared)
    node.receive(Status(certificate, None))
    node.time_out()
    again = Node(disk=node.disk, shared=node.shared)
    assert again.time_out() == [node.timeout(0, 3, certificate)]


def test_after_a_restart_blocks_that_were_voted_for_become_final(node):
    """Their certificates are needed too, and some of them were in later proposals only."""
    _, certificate = node.certified_chain(1, 3, 5)
    again = Node(disk=node.disk, shared=node.shared)
    block, _ = again.propose(6, certificate)
    again.receive(Status(again.certificate(block), None))
    assert again.finals() == [1, 2, 3]


def restarted_without(node, height):
    """The node after a restart that cost it a block which it had not voted for, so had not stored."""
    headers = node.shared.headers
    node.disk.blocks = [stored for stored in node.disk.blocks if headers[stored[0]].height != height]
    return Node(disk=node.disk, shared=node.shared)


def test_after_a_restart_a_block_that_was_voted_for_is_kept_until_its_parent_comes(node):
    blocks, certificate = node.certified_chain(1, 2, 3)
    again = restarted_without(node, 2)
    again.receive(SyncResponse((SyncEntry(blocks[1].hash, node.certificate(blocks[1])),)))
    again.receive(Status(certificate, None))
    assert again.state.blocks[blocks[2].hash].status == EXECUTED
    assert again.finals() == [2]


def test_a_block_that_was_voted_for_is_kept_though_its_parent_comes_with_a_wrong_body(node):
    """The other voters may have restarted, too: then nobody else has it."""
    blocks, certificate = node.certified_chain(1, 2, 3)
    again = restarted_without(node, 2)
    again.receive(Status(certificate, None))
    certified = node.certificate(blocks[1])
    again.receive(SyncResponse((wrong_body(blocks[1], certified), wrong_body(blocks[2], certificate))))
    assert (blocks[1].hash in again.state.blocks, blocks[2].hash in again.state.blocks) == (False, True)
    again.receive(SyncResponse((SyncEntry(blocks[1].hash, certified),)))
    assert again.finals() == [2]


def test_a_block_that_was_voted_for_is_kept_when_one_below_it_becomes_final(node):
    blocks, _ = node.certified_chain(1, 3, 5, 7)
    again = restarted_without(node, 3)
    certified = node.certificate(blocks[1])
    beside = node.block(4, certified)
    entries = SyncEntry(blocks[1].hash, certified), SyncEntry(beside.hash, node.certificate(beside))
    again.receive(SyncResponse(entries))
    assert again.finals() == [1, 2]
    assert blocks[3].hash in again.state.blocks


def test_after_a_restart_no_block_below_the_final_one_is_kept(node):
    blocks, _ = node.certified_chain(1, 2, 3)
    node.disk.blocks += [(blocks[0].hash, node.start)]
    again = Node(disk=node.disk, shared=node.shared)
    assert list(again.state.blocks)[:2] == [blocks[0].hash, blocks[1].hash]
    beside = node.block(2)
    node.disk.blocks += [(beside.hash, node.start)]
    assert beside.hash not in Node(disk=node.disk, shared=node.shared).state.blocks


def test_a_timer_of_a_round_that_is_over_does_nothing(node):
    node.certified_chain(1, 2)
    assert node.time_out(round=1) == []


def test_timeouts_grow_while_rounds_fail_and_shrink_when_blocks_are_final(node):
    delays = [node.timers[-1][2]]
    for round in range(1, 4):
        node.receive(Status(node.start, node.timeout_certificate(round)))
        delays.append(node.timers[-1][2])
    base = node.parameters.timeout_ns
    assert delays == [base, base * 3 // 2, base * 9 // 4, base * 27 // 8]
    for round in range(4, 40):
        node.receive(Status(node.start, node.timeout_certificate(round)))
    assert node.timers[-1][2] == node.parameters.timeout_max_ns
    node.state.failures = 5
    block, _ = node.propose(41, node.start, node.timeout_certificate(40))
    certificate = node.certificate(block)
    node.receive(Status(certificate, None))
    assert node.timers[-1] == (0, 42, base * 3**6 // 2**6)  # one certificate is not enough
    child, _ = node.propose(42, certificate)
    node.receive(Status(node.certificate(child), None))
    assert node.finals() == [1]
    assert node.timers[-1] == (0, 43, base * 3**3 // 2**3)


def test_a_quorum_of_timeouts_ends_the_round(node):
    node.receive(node.timeout(1, 1), 1)
    assert node.record.timed_out == 0
    node.receive(node.timeout(2, 1), 2)
    assert node.state.round == 2
    failed = node.state.entered_by
    assert isinstance(failed, TimeoutCertificate)
    assert failed.round == 1


def test_timeouts_are_added_up_only_once_they_are_a_quorum(node, monkeypatch):
    """Below it a certificate could not be right, and each try costs signatures of the whole set."""
    signing, added = type(node.state.signing), []
    whole = signing.aggregate_timeouts
    monkeypatch.setattr(signing, "aggregate_timeouts", lambda self, each: added.append(len(each)) or whole(self, each))
    for validator, count in ((1, 0), (2, 1)):  # its own timeout is the third
        node.receive(node.timeout(validator, 1))
        assert len(added) == count
    assert added == [3]


def test_a_timeout_certificate_carries_the_highest_certificate_reported(node):
    block, _ = node.propose(1)
    high = node.certificate(block)
    for validator, reported in ((1, node.start), (2, high), (3, node.start)):
        node.receive(node.timeout(validator, 2, reported), validator)
    assert node.state.entered_by.high == high
    assert 1 in [reported for _, reported in node.state.entered_by.high_rounds]


def mangled(certificate):
    """Garbage under a statement that is certified elsewhere."""
    return msgspec.structs.replace(certificate, signers=b"\0", signature=b"garbage")


def test_a_node_puts_the_certificate_that_it_has_checked_into_a_timeout_certificate(node):
    _, high = node.certified_chain(1, 2)
    node.receive(Status(high, None))
    for validator, reported in ((1, mangled(high)), (2, high)):
        node.receive(node.timeout(validator, 3, reported), validator)
    assert node.state.timeouts[1].high == high
    assert (node.state.round, node.state.entered_by.high) == (4, high)
    straggler = Node(own=1, shared=node.shared)
    straggler.receive(Status(node.start, node.state.entered_by))
    assert straggler.state.round == 4


def test_the_same_for_the_certificate_that_an_epoch_starts_from(node):
    for validator in (1, 2, 3):
        node.receive(node.timeout(validator, 1, mangled(node.start)), validator)
    assert (node.state.round, node.state.entered_by.high) == (2, node.start)


def test_a_node_passes_a_timeout_certificate_on_with_the_certificate_that_it_has_checked(node):
    _, high = node.certified_chain(1, 2)
    node.receive(Status(high, None))
    failed = node.timeout_certificate(3, dict.fromkeys((1, 2, 3), high))
    node.receive(Status(high, msgspec.structs.replace(failed, high=mangled(high))))
    assert (node.state.round, node.state.entered_by) == (4, failed)


def test_timeouts_of_a_third_draw_nobody_along_and_of_more_do(node):
    node.receive(node.timeout(1, 7), 1)
    assert node.state.round == 1
    answer = node.receive(node.timeout(2, 7), 2)
    assert (node.state.round, node.record.timed_out) == (8, 7)
    assert any(isinstance(each, Timeout) for each in answer)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (2, 1, 1, 1), (3, 2, 2, 2)])
def test_those_who_draw_along_cannot_all_be_faulty(weights):
    epoch = Node(weights=weights).epoch
    total = sum(weights)
    assert 3 * epoch.blocking >= total
    assert epoch.quorum + epoch.blocking == total + 1


def test_timeouts_are_signed_and_of_this_epoch(node):
    right = [node.timeout(validator, 1) for validator in (1, 2, 3)]
    replace = msgspec.structs.replace
    for timeout in right:
        node.receive(replace(timeout, signature=b"wrong"))
        node.receive(replace(timeout, validator=0))
        node.receive(replace(timeout, validator=4))
        node.receive(node.timeout(timeout.validator, 1, epoch=1))
        node.receive(node.timeout(timeout.validator, 1, validators_hash=b"x" * 32))
        node.receive(node.timeout(timeout.validator, 1, chain_id=b"x" * 16))
    assert (node.state.round, node.record.timed_out) == (1, 0)


def test_a_timeout_proves_the_certificate_that_it_reports(node):
    block, _ = node.propose(1)
    for validator in (1, 2, 3):
        node.receive(node.timeout(validator, 3, node.certificate(block, (1, 2))))
        node.receive(node.timeout(validator, 3, node.start, high_round=2))
        node.receive(node.timeout(validator, 1, node.certificate(block)))
    assert (node.state.round, node.record.timed_out, node.state.timeouts) == (1, 0, {})


def test_a_straggler_is_shown_where_the_others_are(node):
    _, _certificate = node.certified_chain(1, 2, 3)
    assert Status(node.state.high, None) in node.receive(node.timeout(2, 1), 2)


def test_a_straggler_is_helped_once_until_the_round_or_the_timer_is_over(node):
    """Anybody can repeat old timeouts, and a node that can only give up writes to disk for each answer."""
    node.certified_chain(1, 2, 3)
    late = node.timeout(2, 1)
    assert [len(node.receive(late, 2)) for _ in range(3)] == [1, 0, 0]
    node.time_out()
    assert [len(node.receive(late, 2)) for _ in range(3)] == [1, 0, 0]
    assert len(node.receive(node.timeout(2, 2), 2)) == 1
    node.receive(Status(node.start, node.timeout_certificate(node.state.round)))
    assert [len(node.receive(late, 2)) for _ in range(3)] == [1, 0, 0]


def test_a_node_that_cannot_show_what_ended_a_round_gives_it_up_too(node):
    """As after a restart: it was in round 5 and does not hold the certificates that led there."""
    node.receive(Status(node.start, node.timeout_certificate(4)))
    node.time_out()
    again = Node(disk=node.disk, shared=node.shared)
    assert again.receive(again.timeout(2, 3), 2) == [again.timeout(0, 3)]
    assert again.sent[-1][0] == again.parts.address(2)
    assert again.record.timed_out == 5


def test_the_round_of_the_others_is_found_in_any_order_of_their_timeouts():
    for order in ((1, 2), (2, 1)):
        node = Node()
        rounds = {1: 4, 2: 9}
        for validator in order:
            node.receive(node.timeout(validator, rounds[validator]), validator)
        assert (node.state.round, node.record.timed_out) == (4, 4)


def test_an_old_timeout_does_not_hide_a_newer_one(node):
    for validator, round in ((1, 9), (1, 4), (2, 9)):
        node.receive(node.timeout(validator, round), validator)
    assert node.record.timed_out == 9


def test_a_round_ends_by_timeouts_of_that_round(node):
    node.receive(node.timeout(2, 2), 2)
    node.receive(node.timeout(1, 1), 1)
    assert (node.state.round, node.record.timed_out) == (1, 1)
    node.receive(node.timeout(3, 1), 3)
    assert node.state.round == 2


# collecting votes


def test_votes_become_a_certificate_and_the_next_round(node):
    blocks, _ = node.certified_chain(1, 2, 3)
    node.receive(node.vote(1, blocks[-1]), 1)
    assert node.state.round == 3
    node.receive(node.vote(2, blocks[-1]), 2)
    assert node.state.round == 4
    assert node.proposals()[0].parent.statement == node.statement(blocks[-1])


def test_wrong_votes_do_not_count_and_are_dropped(node):
    blocks, _ = node.certified_chain(1, 2, 3)
    replace = msgspec.structs.replace
    node.state.votes.clear()
    for validator in (1, 2, 3):
        node.receive(replace(node.vote(validator, blocks[-1]), signature=b"wrong"))
    assert node.state.round == 3
    for validator in (1, 2, 3):
        node.receive(node.vote(validator, blocks[-1]), validator)
    assert node.state.round == 4
    assert node.state.high.signers == b"\x0e"


def test_wrong_signatures_are_left_out_of_a_certificate(node):
    block = node.block(1)
    signatures = {validator: node.vote(validator, block).signature for validator in range(4)}
    signatures[1] = b"wrong"
    made, wrong = combine(node.epoch, node.state.signing, node.statement(block), signatures)
    assert (made, wrong) == ((b"\x0d", b"sum"), (1,))
    signatures[2] = b"wrong"
    assert combine(node.epoch, node.state.signing, node.statement(block), signatures) == (None, (1, 2))


def test_nobody_shuts_a_vote_out_by_sending_another_in_its_name(node):
    blocks, _ = node.certified_chain(1, 2, 3)
    other = node.block(3, node.certificate(blocks[1]), payload=99)
    replace = msgspec.structs.replace
    for validator in (1, 2, 3):
        node.receive(replace(node.vote(validator, other), signature=b"wrong", validator=validator))
        node.receive(node.vote(validator, blocks[-1]), validator)
    assert node.state.round == 4
    assert node.evidence == []


@pytest.mark.parametrize("garbage_first", [True, False])
def test_unsigned_votes_of_the_next_round_neither_push_votes_of_this_one_out_nor_keep_them_out(garbage_first):
    node = Node(own=2)  # collects the votes of round 1
    block, _ = node.propose(1)
    for validator in (1, 3):
        later = node.statement(block, round=2, block_hash=bytes([validator]) * 32)
        both = [Vote(later, validator, b"garbage"), node.vote(validator, block)]
        for vote in both if garbage_first else reversed(both):
            node.receive(vote, 3)
    assert (node.state.round, node.state.high.statement) == (2, node.statement(block))


def test_a_vote_of_the_next_round_takes_the_place_of_one_of_this_round(node):
    blocks, certificate = node.certified_chain(1, 2, 3)
    later = node.block(4, certificate)
    node.receive(node.vote(1, later), 1)
    node.receive(node.vote(1, blocks[-1]), 1)
    assert node.state.votes[1] == node.vote(1, later)
    node.receive(node.vote(2, blocks[-1]), 2)
    node.receive(node.vote(2, later), 2)
    assert node.state.votes[2] == node.vote(2, later)
    assert node.evidence == []


def test_votes_of_another_epoch_set_or_chain_do_not_count(node):
    blocks, _ = node.certified_chain(1, 2, 3)
    for changed in ({"epoch": 1}, {"validators_hash": b"x" * 32}, {"chain_id": b"x" * 16}):
        for validator in (1, 2, 3):
            node.receive(node.vote(validator, blocks[-1], **changed))
    node.receive(msgspec.structs.replace(node.vote(1, blocks[-1]), validator=4))
    assert node.state.round == 3
    for validator in (1, 2, 3):
        node.receive(node.vote(validator, blocks[-1]), validator)
    assert (node.state.round, node.evidence) == (4, [])


def test_two_votes_in_one_round_are_evidence(node):
    blocks, _ = node.certified_chain(1, 2, 3)
    other = node.block(3, node.certificate(blocks[1]), payload=99)
    node.receive(node.vote(2, blocks[-1]), 2)
    node.receive(node.vote(2, other), 2)
    (evidence,) = node.evidence
    assert evidence.validator == 2
    evidence.verify(node.sets[0], node.parts.signing(None))


def test_two_proposals_in_one_round_are_evidence(node):
    node.propose(1)
    node.propose(1, payload=99)
    assert len(node.state.blocks) == 2  # the second one is not even executed
    (evidence,) = node.evidence
    assert evidence.validator == 1
    evidence.verify(node.sets[0], node.parts.signing(None))


# catching up


def test_a_node_that_lacks_a_block_asks_the_sender(node):
    other = Node(shared=node.shared)
    blocks, certificate = other.certified_chain(1, 2, 3)
    answer = node.receive(Status(certificate, None), 2)
    assert answer == [SyncRequest(1, blocks[-1].hash)]
    (response,) = [each for each in other.receive(answer[0]) if isinstance(each, SyncResponse)]
    node.receive(response, 2)
    assert node.finals() == [1]
    assert blocks[1].hash in node.state.blocks


def test_a_node_that_misses_a_block_asks_again_and_somebody_else(node):
    other = Node(shared=node.shared)
    _, certificate = other.certified_chain(1, 2)
    node.receive(Status(certificate, None), 3)
    asked = []
    for _ in range(4):
        node.time_out()
        asked += [address for address, message in node.sent if isinstance(message, SyncRequest)]
        node.sent.clear()
    assert {node.parts.address(validator) for validator in (1, 2, 3)} <= set(asked)


def test_synced_blocks_need_right_certificates(node):
    block = node.block(1)
    node.receive(SyncResponse((SyncEntry(block.hash, node.certificate(block, (1, 2))),)))
    other = node.block(1, payload=99)
    node.receive(SyncResponse((SyncEntry(block.hash, node.certificate(other)),)))
    assert block.hash not in node.state.blocks


def test_synced_blocks_stand_on_what_is_known(node):
    blocks, certificate = Node(shared=node.shared).certified_chain(1, 2)
    node.receive(SyncResponse((SyncEntry(blocks[1].hash, certificate),)))
    assert list(node.state.blocks) == [node.state.final.hash]


def test_a_request_is_answered_with_certified_blocks_only(node):
    blocks, _certificate = node.certified_chain(1, 2, 3)
    (response,) = node.receive(SyncRequest(1, blocks[-1].hash))
    assert [entry.block for entry in response.entries] == [block.hash for block in blocks[:2]]
    assert node.receive(SyncRequest(9, blocks[-1].hash)) == []


def test_an_answer_is_cut_by_bytes_above_the_final_block_too_and_the_rest_asked_for(node, monkeypatch):
    """Rounds that do not follow one another: nothing is final."""
    monkeypatch.setattr(driver, "SYNC_BYTES_MAX", 64)
    other = Node(shared=node.shared)
    blocks, certificate = other.certified_chain(1, 3, 5, 7, 9)
    other.receive(Status(certificate, None))
    node.receive(Status(certificate, None), 2)
    answers = []
    for _ in range(4):
        question = node.sent[-1][1]
        answers += other.receive(question)
        node.receive(answers[-1], 2)
    assert [[entry.block for entry in answer.entries] for answer in answers[:3]] == [
        [block.hash for block in pair] for pair in (blocks[:2], blocks[2:4], blocks[4:])
    ]
    assert [node.state.blocks[block.hash].status for block in blocks] == [EXECUTED] * 5


def test_the_first_block_of_an_answer_may_be_longer_than_all_may_be_together(node, monkeypatch):
    monkeypatch.setattr(driver, "SYNC_BYTES_MAX", 31)
    blocks, certificate = node.certified_chain(1, 3)
    node.receive(Status(certificate, None))
    (answer,) = [each for each in node.receive(SyncRequest(1, bytes(32))) if isinstance(each, SyncResponse)]
    assert [entry.block for entry in answer.entries] == [blocks[0].hash]


def test_a_block_missing_below_one_that_waits_is_asked_for_at_once(node):
    (first, second, third), certificate = Node(shared=node.shared).certified_chain(1, 3, 4)
    node.receive(node.proposal(third, node.certificate(second)))
    node.receive(Status(certificate, None))
    answer = node.receive(SyncResponse((SyncEntry(first.hash, node.certificate(first)),)), 3)
    assert answer == [SyncRequest(2, third.hash)]


# epochs


def epoch_ends(node):
    """Blocks at heights 1 and 2, of which 2 ends the epoch, and two closing ones."""
    blocks, certificate = node.certified_chain(1, 2)
    closing = node.block(3, certificate, closing=True)
    node.receive(node.proposal(closing, certificate))
    return blocks, certificate, closing


def test_new_validators_take_over_when_the_last_block_of_the_epoch_is_final():
    node = Node(last_heights=(2,))
    _, _, closing = epoch_ends(node)
    assert (node.finals(), node.epoch.number) == ([1], 0)
    node.receive(Status(node.certificate(closing), None))
    assert (node.finals(), node.epoch.number, node.epoch.validators) == ([1, 2], 1, node.sets[1])
    assert (node.state.round, node.state.final.height, node.state.record) == (1, 2, VoteRecord(epoch=1))
    block, answer = node.propose(1)
    assert (block.epoch, block.height) == (1, 3)
    assert answer == [node.vote(0, block)]


def test_behind_the_last_block_of_an_epoch_come_closing_blocks_only():
    node = Node(last_heights=(2,))
    _, certificate = node.certified_chain(1, 2)
    node.propose(3, certificate)
    assert (node.state.round, node.record.voted) == (3, 2)


def test_a_closing_block_changes_nothing():
    node = Node(last_heights=(2,))
    _, certificate = node.certified_chain(1, 2)
    for wrong in ({"payload": 5}, {"lies": True}):
        node.propose(3, certificate, closing=True, **wrong)
        assert node.record.voted == 2


def test_consensus_itself_sees_that_a_closing_block_changes_nothing(monkeypatch):
    """Whatever the application says."""
    node = Node(last_heights=(2,))
    _, certificate = node.certified_chain(1, 2)
    closing = node.block(3, certificate, closing=True, payload=5)
    monkeypatch.setattr(node, "process", lambda block, due: Verdict(node.read_header(block).state_root))
    node.driver._application = node
    node.receive(node.proposal(closing, certificate))
    assert (node.state.blocks[closing.hash].status, node.record.voted) == (2, 2)


def test_closing_blocks_come_nowhere_else(node):
    assert node.propose(1, closing=True)[1] == []


def test_votes_and_certificates_of_the_old_validators_mean_nothing_in_the_new_epoch():
    node = Node(last_heights=(2,))
    _, _, closing = epoch_ends(node)
    node.receive(Status(node.certificate(closing), None))
    block = node.block(1)
    forged = node.certificate(block, validators_hash=node.sets[0].hash)
    node.receive(Status(forged, None))
    assert (node.state.round, node.state.high) == (1, node.start)


def test_a_node_that_is_an_epoch_behind_asks(node):
    block = node.block(1, epoch=1, validators_hash=node.sets[1].hash)
    assert [type(each) for each in node.receive(node.proposal(block))] == [SyncRequest]


def test_a_peer_that_is_an_epoch_behind_is_shown_the_way_once_until_the_timer_is_over():
    node = Node(last_heights=(2,))
    _, _, closing = epoch_ends(node)
    vote = node.vote(2, closing)
    node.receive(Status(node.certificate(closing), None))
    assert node.epoch.number == 1
    assert [len(node.receive(vote, 2)) for _ in range(3)] == [1, 0, 0]
    assert node.sent[-1] == (node.parts.address(2), Status(node.start, None))
    node.time_out()
    assert [len(node.receive(vote, 2)) for _ in range(2)] == [1, 0]


def test_the_tail_that_proves_the_end_of_an_epoch_is_handed_over():
    node = Node(last_heights=(2,))
    _, _, closing = epoch_ends(node)
    node.receive(Status(node.certificate(closing), None))
    assert [entry.block for entry in node.disk.tails[2]] == [closing.hash]
