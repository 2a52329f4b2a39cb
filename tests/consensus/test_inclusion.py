"""The include-by rule: what a quorum holds gets into a block, or there is no block."""

import msgspec
import pytest
from consensus_node import Node

from pyledger.consensus.events import Submitted
from pyledger.consensus.messages import (
    Acknowledgement,
    Batch,
    BatchCertificate,
    BatchRequest,
    BatchStatement,
    Status,
)
from pyledger.consensus.stand_ins import sum_of

CONTENT = b"a batch".ljust(32, b"\0")


def statement_of(node, digest=CONTENT, **changed):
    fields = {"chain_id": node.state.chain_id, "epoch": node.epoch.number, "validators_hash": node.epoch.hash}
    return BatchStatement(**{**fields, "digest": digest, **changed})


def acknowledge(node, validator, **changed):
    statement = statement_of(node, **changed)
    return Acknowledgement(statement, validator, node.parts.signing(validator).sign(statement))


def held(node, signers=(1, 2, 3), **changed):
    for validator in signers:
        acknowledge(node, validator, **changed)
    bits = sum(1 << validator for validator in signers)
    return BatchCertificate(statement_of(node, **changed), bytes([bits]), sum_of(signers))


def submit(node):
    node.application.admit(CONTENT)
    before = len(node.sent)
    node.driver.feed(Submitted(1, CONTENT))
    return node.sent[before:]


def rounds_pass(node, first, last):
    for round in range(first, last + 1):
        node.receive(Status(node.start, node.timeout_certificate(round)))


def test_a_batch_is_spread_and_acknowledged():
    node = Node()
    assert submit(node) == [(None, Batch(CONTENT))]
    assert Node(shared=node.shared).receive(Batch(CONTENT)) == [acknowledge(node, 0)]


def test_a_batch_that_is_refused_is_not_acknowledged():
    node = Node()
    node.application._settled.add(CONTENT)
    assert node.receive(Batch(CONTENT)) == []


def test_an_observer_acknowledges_nothing():
    assert Node(own=None).receive(Batch(CONTENT)) == []


def test_a_quorum_of_acknowledgements_is_a_certificate_for_all():
    node = Node()
    submit(node)
    assert node.receive(acknowledge(node, 1)) == []
    (certificate,) = node.receive(acknowledge(node, 2))
    assert certificate == held(node, (0, 1, 2))
    assert node.receive(acknowledge(node, 3)) == []


def test_wrong_acknowledgements_do_not_count():
    node = Node()
    submit(node)
    wrong = [
        msgspec.structs.replace(acknowledge(node, 1), signature=b"wrong"),
        msgspec.structs.replace(acknowledge(node, 1), validator=2),
        msgspec.structs.replace(acknowledge(node, 1), validator=4),
        acknowledge(node, 3, epoch=1),
        acknowledge(node, 3, chain_id=b"x" * 16),
        acknowledge(node, 3, digest=b"x" * 32),
    ]
    for message in wrong:
        assert node.receive(message) == []
    assert node.receive(acknowledge(node, 1)) == []
    assert [type(each) for each in node.receive(acknowledge(node, 2))] == [BatchCertificate]


@pytest.mark.parametrize("garbage_first", [True, False])
def test_nobody_pushes_an_acknowledgement_out_by_sending_another_in_its_name(garbage_first):
    node = Node()
    submit(node)
    for validator in (1, 2):
        right = acknowledge(node, validator)
        both = [msgspec.structs.replace(right, signature=b"garbage"), right]
        for message in both if garbage_first else reversed(both):
            node.receive(message, 3)
    assert node.state.inclusion.certified[CONTENT][0].signers == b"\x07"


def test_a_quorum_for_another_epoch_certifies_nothing():
    node = Node()
    submit(node)
    for changed in ({"epoch": 1}, {"validators_hash": b"x" * 32}, {"chain_id": b"x" * 16}):
        for validator in (1, 2, 3):
            assert node.receive(acknowledge(node, validator, **changed)) == []
    assert node.receive(acknowledge(node, 1)) == []
    assert [type(each) for each in node.receive(acknowledge(node, 2))] == [BatchCertificate]


def make_due(node):
    node.receive(Batch(CONTENT))
    node.receive(held(node))
    rounds_pass(node, 1, 5)


def propose(node, **block):
    node.propose(6, node.start, node.timeout_certificate(5), **block)
    return node.record.voted


def test_a_block_that_leaves_out_what_is_due_gets_no_vote():
    node = Node()
    make_due(node)
    before = len(node.sent)
    assert propose(node) != 6
    assert (None, held(node)) in node.sent[before:]  # everybody is shown why


def test_a_block_that_includes_it_gets_a_vote():
    node = Node()
    make_due(node)
    assert propose(node, batches=(CONTENT,)) == 6


def test_a_block_on_top_of_one_that_includes_it_gets_a_vote():
    node = Node()
    first, _ = node.propose(1, batches=(CONTENT,))
    make_due(node)
    parent = node.certificate(first)
    node.propose(6, parent, node.timeout_certificate(5, {1: parent}))
    assert node.record.voted == 6


def test_it_is_not_due_before_its_time():
    node = Node(include_rounds=6)
    make_due(node)
    assert propose(node) == 6


def test_it_is_not_due_without_a_certificate_of_a_quorum():
    for wrong in ((1, 2), (1,)):
        node = Node()
        node.receive(Batch(CONTENT))
        node.receive(held(node, wrong))
        rounds_pass(node, 1, 5)
        assert propose(node) == 6
    node = Node()
    node.receive(Batch(CONTENT))
    node.receive(BatchCertificate(statement_of(node), b"\x0e", sum_of((1, 2, 3))))
    node.receive(held(node, epoch=1))
    rounds_pass(node, 1, 5)
    assert propose(node) == 6


def test_a_node_does_not_insist_on_what_it_does_not_hold():
    node = Node()
    assert node.receive(held(node), 2) == [BatchRequest(CONTENT)]
    rounds_pass(node, 1, 5)
    assert propose(node) == 6


def test_a_holder_gives_the_batch_to_who_asks():
    node = Node()
    assert node.receive(BatchRequest(CONTENT)) == []
    node.receive(Batch(CONTENT))
    assert node.receive(BatchRequest(CONTENT)) == [Batch(CONTENT)]


def test_the_leader_includes_it_at_once():
    node = Node()
    node.receive(Batch(CONTENT))
    node.receive(held(node))
    rounds_pass(node, 1, 3)
    (proposal,) = node.proposals()
    assert node.read_header(proposal.block).batches == (CONTENT,)


def test_what_is_in_a_final_block_is_done_with():
    node = Node()
    submit(node)
    node.receive(held(node))
    first, _ = node.propose(1, batches=(CONTENT,))
    second, _ = node.propose(2, node.certificate(first))
    node.receive(Status(node.certificate(second), None))
    inclusion = node.state.inclusion
    assert (inclusion.own, inclusion.held, inclusion.certified) == ({}, set(), {})
    assert node.receive(Batch(CONTENT)) == []


def test_what_was_lost_on_the_way_is_sent_again():
    node = Node()
    submit(node)
    node.sent.clear()
    rounds_pass(node, 1, 8)
    assert (None, Batch(CONTENT)) in node.sent


def test_new_validators_acknowledge_again():
    node = Node(last_heights=(2,))
    submit(node)
    node.receive(acknowledge(node, 1))
    node.receive(acknowledge(node, 2))
    _, certificate = node.certified_chain(1, 2)
    closing = node.block(3, certificate, closing=True)
    node.receive(node.proposal(closing, certificate))
    node.receive(Status(node.certificate(closing), None))
    assert node.epoch.number == 1
    assert node.state.inclusion.certified == {}
    rounds_pass(node, 1, 4)
    assert node.receive(acknowledge(node, 1)) == []
    assert [type(each) for each in node.receive(acknowledge(node, 2))] == [BatchCertificate]


def test_certificates_do_not_pile_up(monkeypatch):
    from pyledger.consensus import inclusion

    monkeypatch.setattr(inclusion, "_CERTIFICATES_MAX", 10)
    node = Node()
    for number in range(30):
        node.receive(held(node, digest=b"%032d" % number))
    assert len(node.state.inclusion.certified) == 10
