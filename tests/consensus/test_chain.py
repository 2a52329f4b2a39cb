"""What becomes final and when new validators take over, on one node that is told all kinds of things."""

import pytest
from consensus_node import Enough, Node

from pyledger.consensus.application import Verdict, VoteRecord
from pyledger.consensus.messages import (
    Status,
    SyncEntry,
    SyncRequest,
    SyncResponse,
)
from pyledger.consensus.stand_ins import Disk
from pyledger.consensus.state import Block

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
