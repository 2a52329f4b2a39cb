"""How rounds that fail come to an end, on one node that is told all kinds of things."""

import msgspec
import pytest
from consensus_node import Node

from pyledger.consensus.messages import (
    Status,
    Timeout,
    TimeoutCertificate,
)


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
    straggler = Node(own=None, shared=node.shared)
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
