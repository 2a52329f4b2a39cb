"""What every transport must do, on real servers: deliver, carry blocks, survive its server, shrug at hostile bytes."""

import secrets
import time

import pytest
from transport_kit import SECONDS, connect, drain, receive_until, talk


def test_a_message_for_one_reaches_only_that_peer(network):
    a, b, c = (network.join(name) for name in "ABC")
    connect(a, b, c)
    drain(c)
    a.send("B", b"for b")
    receive_until(b, {("A", b"for b")})
    assert c.receive(0.3) is None


def test_a_broadcast_reaches_every_other_node_and_not_its_sender(network):
    a, b, c = (network.join(name) for name in "ABC")
    connect(a, b, c)
    drain(a)
    a.broadcast(b"for all")
    receive_until(b, {("A", b"for all")})
    receive_until(c, {("A", b"for all")})
    assert a.receive(0.3) is None


def test_empty_small_and_block_sized_messages_arrive_whole(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    payloads = [b"", b"x", *(secrets.token_bytes(size) for size in (5_700, 5_701, 600_000, 8 << 20, 16 << 20))]
    for payload in payloads:
        a.send("B", payload)
        receive_until(b, {("A", payload)})


def test_thousands_of_messages_all_arrive(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    payloads = [number.to_bytes(4, "big") * 100 for number in range(2000)]
    for payload in payloads:
        a.send("B", payload)
    receive_until(b, {("A", payload) for payload in payloads})
    assert b.counters.dropped_incoming == 0


def test_what_is_larger_than_allowed_never_reaches_the_node(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    a.send("B", bytes((16 << 20) + 1))
    a.send("B", b"after")
    receive_until(b, {("A", b"after")})
    deadline = time.monotonic() + SECONDS
    while not b.counters.dropped_incoming:
        assert time.monotonic() < deadline
        assert b.receive(0.1) is None


def test_what_claims_an_unknown_sender_is_dropped(network):
    stranger, b = network.join("STRANGER"), network.join("B")
    a = network.join("A")
    connect(a, b)
    stranger.send("B", b"let me in")
    stranger.send("B", secrets.token_bytes(100_000))
    deadline = time.monotonic() + SECONDS
    while b.counters.dropped_incoming < 2:
        assert time.monotonic() < deadline
        message = b.receive(0.2)
        assert message is None or message.sender == "A"


def test_messages_to_a_peer_that_is_away_do_no_harm(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    for _ in range(50):
        a.send("C", bytes(100_000))
    a.send("B", b"after")
    came = receive_until(b, {("A", b"after")})
    assert max(len(payload) for _, payload in came) < 100_000


def test_a_closed_transport_gives_nothing_and_takes_nothing(network):
    a = network.join("A")
    a.close()
    a.close()
    a.broadcast(b"x")
    assert a.receive(5) is None


def test_wake_ends_a_receive(network):
    a = network.join("A")
    a.wake()
    started = time.monotonic()
    assert a.receive(60) is None
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("network", ["postgres", "jetstream"], indirect=True)
def test_a_killed_server_that_comes_back_is_found_again(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    network.server.kill()
    a.broadcast(b"while it is away")  # may be lost
    time.sleep(0.5)
    network.server.start()
    talk(a, b, b"it is back")
    talk(b, a, b"for both")
    block = secrets.token_bytes(8 << 20)
    talk(a, b, block)


@pytest.mark.parametrize("network", ["postgres", "jetstream"], indirect=True)
def test_a_node_may_start_before_its_server(network):
    network.server.kill()
    a, b = network.join("A"), network.join("B")
    time.sleep(0.5)
    network.server.start()
    connect(a, b)
