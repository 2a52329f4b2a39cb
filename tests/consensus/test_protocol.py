"""The rules of proposing and voting, on one node that is told all kinds of things."""

import msgspec
import pytest
from consensus_node import NOW, Node

from pyledger.consensus.application import VoteRecord
from pyledger.consensus.certificates import combine
from pyledger.consensus.messages import (
    Certificate,
    Status,
    SyncEntry,
    SyncRequest,
    SyncResponse,
    Vote,
)
from pyledger.consensus.stand_ins import CHAIN_ID, Disk, sum_of
from pyledger.consensus.state import WAITING, Block
from pyledger.errors import ConsensusError

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


def test_a_validator_stops_where_its_key_has_voted_and_its_record_does_not_know(node):
    """The record is an old copy, or another process has the key: the next vote could be a second one in its round."""
    node.propose(1)
    block = node.block(2, node.certificate(node.shared.headers[node.record.block_hash]))
    with pytest.raises(ConsensusError, match="round 2: this validator's key has voted in it, but its vote record ends"):
        node.receive(Status(node.certificate(block, (0, 1, 2)), None))


def test_a_validator_does_not_start_with_an_older_record_than_the_certificates_it_holds(node):
    """One of them has its vote of round 3, which the record that was put back is too old for."""
    blocks, _ = node.certified_chain(1, 2)
    kept = node.record
    blocks.append(node.propose(3, node.certificate(blocks[1]))[0])
    node.propose(4, node.certificate(blocks[2], (0, 1, 2)))
    node.propose(5, node.certificate(node.shared.headers[node.record.block_hash]))
    Node(disk=node.disk, shared=node.shared)
    node.disk.record = kept
    with pytest.raises(ConsensusError, match="round 3: this validator's key has voted in it"):
        Node(disk=node.disk, shared=node.shared)


def test_certificates_without_its_key_mean_nothing_to_who_has_not_voted(node):
    blocks, certificate = node.certified_chain(1, 2)
    late = Node(shared=node.shared)
    late.receive(SyncResponse(tuple(SyncEntry(block.hash, node.certificate(block)) for block in blocks)))
    assert (late.state.high, late.record.voted) == (certificate, 0)


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
    claimed = Certificate(node.statement(first), b"\x07", sum_of((0, 1, 2)))
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


def test_a_wrong_body_of_a_proposal_stops_nobody_once_its_block_is_certified(node):
    """It waits for its parent, so it is looked at only when a quorum has certified the block."""
    (first, second), certificate = Node(shared=node.shared).certified_chain(1, 2)
    node.receive(node.proposal(second, node.certificate(first), content=second.hash + b"anything"))
    node.receive(Status(certificate, None))
    node.receive(SyncResponse((SyncEntry(first.hash, node.certificate(first)),)))
    assert second.hash not in node.state.blocks
    node.receive(SyncResponse((SyncEntry(second.hash, certificate),)))
    assert node.finals() == [1]


def test_a_copy_of_a_proposal_with_another_body_is_nobodys(node):
    """Its header is the leader's, and votes are on headers; but the leader signed the whole block."""
    block = node.block(1)
    proposal = node.proposal(block)
    altered = msgspec.structs.replace(proposal, block=proposal.block + b"anything")
    assert node.receive(altered, sender=1) == []
    assert block.hash not in node.state.blocks
    assert node.receive(proposal) == [node.vote(0, block)]
    assert node.receive(altered, sender=1) == []
    assert node.evidence == []


def test_a_copy_with_another_body_does_not_take_the_place_of_a_proposal_that_waits(node):
    first = node.block(1)
    parent = node.certificate(first)
    second = node.block(2, parent)
    proposal = node.proposal(second, parent)
    node.receive(proposal, sender=2)
    node.receive(msgspec.structs.replace(proposal, block=proposal.block + b"anything"), sender=2)
    node.receive(SyncResponse((SyncEntry(first.hash, parent),)), sender=2)
    assert node.votes() == [2]


def test_a_leader_that_signs_two_bodies_behind_one_header_is_found_out(node):
    block, _ = node.propose(1)
    node.receive(node.proposal(block, content=block.hash + b"anything"))
    assert node.state.blocks[block.hash].content == block.hash
    (evidence,) = node.evidence
    evidence.verify(CHAIN_ID, node.sets[0], node.parts.signing(None))


def test_a_proposal_that_comes_twice_is_no_evidence(node):
    block, _ = node.propose(1)
    assert node.receive(node.proposal(block)) == []
    assert (node.votes(), node.evidence) == ([1], [])


def test_a_body_that_was_not_executed_is_not_passed_on(node):
    (first, second), certificate = Node(shared=node.shared).certified_chain(1, 2)
    node.receive(node.proposal(second, node.certificate(first), content=second.hash + b"anything"))
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
    assert (made, wrong) == ((b"\x0d", sum_of((0, 2, 3))), (1,))
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
    evidence.verify(CHAIN_ID, node.sets[0], node.parts.signing(None))


def test_two_proposals_in_one_round_are_evidence(node):
    node.propose(1)
    node.propose(1, payload=99)
    assert len(node.state.blocks) == 2  # the second one is not even executed
    (evidence,) = node.evidence
    assert evidence.validator == 1
    evidence.verify(CHAIN_ID, node.sets[0], node.parts.signing(None))
