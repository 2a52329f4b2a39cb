"""Bounded queues: who floods harms himself, what waits is not put in twice, nothing is unbounded."""

import threading

import pytest

from pyledger.errors import InputError
from pyledger.node.transports.interface import Counters, check_chain_name, check_name
from pyledger.node.transports.mailbox import Mailbox, Outbox


def take_all(mailbox):
    messages = []
    while (message := mailbox.take(0)) is not None:
        messages.append((message.sender, message.payload))
    return messages


def test_peers_are_taken_in_turn():
    mailbox = Mailbox(["A", "B"])
    for number in range(3):
        mailbox.put("A", b"a%d" % number)
    mailbox.put("B", b"b0")
    assert take_all(mailbox) == [("A", b"a0"), ("B", b"b0"), ("A", b"a1"), ("A", b"a2")]


def test_a_flood_pushes_out_only_its_own_oldest_messages():
    mailbox = Mailbox(["A", "B"], message_bytes_max=100, bytes_max=250)
    mailbox.put("B", b"quiet")
    for number in range(1000):
        mailbox.put("A", number.to_bytes(2, "big") * 50)
    assert mailbox.counters.dropped_incoming == 998
    kept = [(999).to_bytes(2, "big") * 50, (998).to_bytes(2, "big") * 50]
    assert sorted(take_all(mailbox)) == sorted([("B", b"quiet"), *(("A", payload) for payload in kept)])


def test_a_flood_of_tiny_messages_is_bounded_in_number():
    mailbox = Mailbox(["A"])
    for number in range(10_000):
        mailbox.put("A", number.to_bytes(4, "big"))
    assert mailbox.count == 4096


def test_what_waits_is_not_put_in_twice_but_what_was_taken_may_come_again():
    mailbox = Mailbox(["A", "B"])
    assert mailbox.put("A", b"vote")
    assert not mailbox.put("A", b"vote")
    assert mailbox.put("B", b"vote")  # of another sender: claims must not shut anybody out
    assert len(take_all(mailbox)) == 2
    assert mailbox.put("A", b"vote")


def test_too_large_and_unknown_senders_are_refused():
    mailbox = Mailbox(["A"], message_bytes_max=10)
    assert not mailbox.put("A", bytes(11))
    assert not mailbox.put("X", b"x")
    assert mailbox.put("A", bytes(10))
    assert mailbox.counters.dropped_incoming == 2


def test_a_waiting_take_sees_a_message_from_another_thread():
    mailbox = Mailbox(["A"])
    threading.Timer(0.05, mailbox.put, ("A", b"late")).start()
    message = mailbox.take(30)
    assert message is not None
    assert message.payload == b"late"


def test_an_outbox_drops_its_oldest_and_keeps_the_newest_whatever_its_size():
    counters = Counters()
    outbox = Outbox(counters, bytes_max=100)
    for number in range(5):
        outbox.put("A", bytes([number]) * 40)
    outbox.put(None, bytes(500))
    assert counters.dropped_outgoing == 5
    assert outbox.take(0) == (None, bytes(500))
    assert outbox.take(0) is None


def test_a_closed_outbox_still_gives_what_waits():
    outbox = Outbox(Counters())
    outbox.put("A", b"last")
    outbox.close()
    outbox.put("A", b"too late")
    assert outbox.take(0) == ("A", b"last")
    assert outbox.take(30) is None


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a>", "ä", "x" * 33, "a\n", "*"])
def test_names_that_could_change_a_subject_or_channel_are_refused(name):
    with pytest.raises(InputError):
        check_name(name)
    with pytest.raises(InputError):
        check_chain_name(name)
