"""Catching up, on one node whose peers answer all kinds of things, and after a restart."""

import pytest
from consensus_node import Node

from pyledger.consensus import driver
from pyledger.consensus.messages import (
    Status,
    SyncEntry,
    SyncRequest,
    SyncResponse,
)
from pyledger.consensus.state import EXECUTED


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


def test_a_block_that_was_voted_for_before_a_restart_is_kept_among_many_that_fail(node):
    blocks, _ = node.certified_chain(1, 3)
    again = restarted_without(node, 1)
    for round in range(5, 150):
        failed = again.timeout_certificate(round - 1)
        again.receive(again.proposal(again.block(round), timeout=failed), round % 4)
    assert len(again.state.blocks) <= 80
    assert blocks[1].hash in again.state.blocks


def test_nodes_that_each_lack_a_block_of_one_branch_give_each_other_what_they_have(node):
    """After restarts: this one has voted for the last of five and lacks the fourth, another lacks the last."""
    blocks, certificate = node.certified_chain(1, 3, 5, 7, 9)
    again = restarted_without(node, 4)
    again.receive(Status(certificate, None))
    first_three = SyncResponse(tuple(SyncEntry(block.hash, node.certificate(block)) for block in blocks[:3]))
    again.receive(first_three)
    assert again.receive(SyncRequest(1, blocks[4].hash)) == [first_three]
    other = Node(shared=node.shared)
    other.receive(SyncResponse((*first_three.entries, SyncEntry(blocks[3].hash, node.certificate(blocks[3])))))
    other.receive(Status(certificate, None))
    (answer,) = other.receive(SyncRequest(1, blocks[4].hash))
    assert [entry.block for entry in answer.entries] == [block.hash for block in blocks[:4]]
    again.receive(answer)
    assert again.state.blocks[blocks[4].hash].status == EXECUTED
