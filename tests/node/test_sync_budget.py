"""Questions for blocks: a few answers a second for each peer, and the newest question is never lost."""

from types import SimpleNamespace

import pytest
from book_worlds import GENESIS, KEYS

from pyledger.consensus.messages import SyncRequest, encode
from pyledger.consensus.vote_store import VoteStore
from pyledger.node import replica
from pyledger.node.application import BookApplication
from pyledger.node.config import Limits
from pyledger.node.replica import Replica, peer_names
from pyledger.node.sync_budget import ANSWERS_PER_SECOND, SyncBudget
from pyledger.node.transports.mailbox import Mailbox
from pyledger.node.transports.memory import MemoryHub, MemoryTransport

NOW = 1000.0
QUESTIONS = [SyncRequest(height, bytes(32)) for height in range(1, 50)]


@pytest.fixture
def exhausted():
    budget = SyncBudget()
    taken = [budget.take("A", question, NOW) for question in QUESTIONS]
    assert taken == [True] * ANSWERS_PER_SECOND + [False] * (len(QUESTIONS) - ANSWERS_PER_SECOND)
    return budget


def test_a_peer_gets_its_answers_of_a_second_at_once_and_then_one_after_the_other(exhausted):
    answers = [place for place in range(300) if exhausted.take("A", QUESTIONS[0], NOW + place / 100)]
    assert answers == list(range(25, 300, 25))


def test_a_peer_that_kept_quiet_has_no_more_than_the_answers_of_a_second(exhausted):
    later = NOW + 1000
    assert [exhausted.take("A", question, later) for question in QUESTIONS].count(True) == ANSWERS_PER_SECOND


def test_one_peer_does_not_use_up_what_others_may_ask(exhausted):
    assert exhausted.take("B", QUESTIONS[0], NOW)


def test_the_newest_question_waits_for_its_time_and_is_answered_once(exhausted):
    assert exhausted.next_time() == NOW + 0.25
    assert exhausted.due(NOW + 0.24) == []
    assert exhausted.due(NOW + 0.25) == [("A", QUESTIONS[-1])]
    assert (exhausted.due(NOW + 9), exhausted.next_time()) == ([], float("inf"))


def test_a_question_that_is_answered_leaves_none_of_the_same_peer_waiting(exhausted):
    assert exhausted.take("A", QUESTIONS[0], NOW + 1)
    assert exhausted.due(NOW + 9) == []


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A node whose clock the test moves, and the questions that it has looked at."""
    clock = SimpleNamespace(now=NOW)
    monkeypatch.setattr(replica, "time", SimpleNamespace(monotonic=lambda: clock.now, time_ns=lambda: 1))
    key, own = KEYS[3].validator, GENESIS.institutions[3].bic
    application = BookApplication(tmp_path / "book", GENESIS, 1 << 24)
    transport = MemoryTransport(MemoryHub(), own, Mailbox(peer_names(GENESIS, [], own)))
    votes = VoteStore.create(tmp_path / "votes", GENESIS.chain_id, key.public_key)
    node = Replica(own, GENESIS, application, transport, key, votes, Limits())
    looked_at = []
    monkeypatch.setattr(node._driver, "feed", lambda event: looked_at.append(event.message))
    yield node, clock, looked_at
    application.close()


def test_a_node_looks_at_a_few_questions_a_second_and_at_the_last_one_in_time(asked):
    node, clock, looked_at = asked
    for question in QUESTIONS:
        node._take_message("BANKAAXXXXX", encode(question))
    assert looked_at == QUESTIONS[:ANSWERS_PER_SECOND]
    assert node._seconds_to_next() == 0.25
    node._act_on_time()
    assert len(looked_at) == ANSWERS_PER_SECOND
    clock.now += 0.25
    node._act_on_time()
    assert looked_at[ANSWERS_PER_SECOND:] == QUESTIONS[-1:]
