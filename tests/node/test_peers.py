"""What a node sends to its peers: a message that is too long stops nobody."""

from dataclasses import dataclass, field

import pytest
from book_worlds import GENESIS, KEYS, World, certified

from pyledger.consensus.messages import MESSAGE_BYTES_MAX, Batch, SyncEntry, SyncResponse, decode
from pyledger.ledger.validators import Roster
from pyledger.node.replica import _Peers


@dataclass
class Sent:
    """A transport that keeps what it is given."""

    messages: list = field(default_factory=list)

    def send(self, peer, payload):
        self.messages.append((peer, payload))

    def broadcast(self, payload):
        self.messages.append((None, payload))


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def peers(sent):
    return _Peers(sent, [Roster.of(GENESIS)])


ADDRESS = KEYS[1].validator.public_key
BIC = KEYS[1].bic


def test_a_message_that_is_too_long_is_left_out(peers, sent):
    long = Batch(bytes(MESSAGE_BYTES_MAX))
    peers.broadcast(long)
    peers.send(ADDRESS, long)
    assert sent.messages == []
    peers.broadcast(Batch(b"1"))
    peers.send(ADDRESS, Batch(b"2"))
    assert [(peer, decode(payload)) for peer, payload in sent.messages] == [(None, Batch(b"1")), (BIC, Batch(b"2"))]


def test_of_final_blocks_as_many_are_sent_as_fit(peers, sent):
    certificate = certified(World().block().to_bytes()).certificate
    third = MESSAGE_BYTES_MAX // 3
    peers.send(ADDRESS, SyncResponse(tuple(SyncEntry(bytes([number]) * third, certificate) for number in range(5))))
    ((peer, payload),) = sent.messages
    assert peer == BIC
    assert [entry.block[0] for entry in decode(payload).entries] == [0, 1]
