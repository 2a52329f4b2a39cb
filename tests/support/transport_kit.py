"""Nodes on a transport for tests, and what they say to each other."""

import itertools
import time

from pyledger.node.transports.jetstream import JetStreamTransport
from pyledger.node.transports.mailbox import Mailbox
from pyledger.node.transports.memory import MemoryHub, MemoryTransport
from pyledger.node.transports.postgres import PostgresTransport

PEERS = ("A", "B", "C")
MESSAGE_BYTES_MAX = 16 << 20
_chains = itertools.count(0xA0)

SECONDS = 30


def receive_until(transport, wanted, seconds=SECONDS):
    """Messages that came, as (sender, payload), until all of `wanted` are among them."""
    found, deadline = [], time.monotonic() + seconds
    while not wanted <= set(found):
        assert time.monotonic() < deadline, f"{len(wanted - set(found))} of {len(wanted)} messages did not come"
        message = transport.receive(0.5)
        if message is not None:
            found.append((message.sender, message.payload))
    return found


def connect(*transports):
    """Wait until each hears each: a transport may lose what is sent before the other side listens."""
    for number, transport in enumerate(transports):
        for other in transports:
            if other is not transport:
                talk(transport, other, b"hello %d" % number)


def talk(sender, receiver, payload):
    """Send until it arrives, as the protocol does."""
    for _ in range(4 * SECONDS):
        sender.broadcast(payload)
        deadline = time.monotonic() + 0.25
        while time.monotonic() < deadline:
            message = receiver.receive(0.25)
            if message is not None and message.payload == payload:
                return
    raise AssertionError("nothing arrives")


def drain(transport):
    while transport.receive(0.3) is not None:
        pass


class Network:
    """Transports of one kind on one chain, all closed at the end."""

    def __init__(self, kind, server):
        self.kind, self.server = kind, server
        self.chain = f"{next(_chains):x}"
        self._hub = MemoryHub()
        self._open = []

    def join(self, name, **limits):
        mailbox = Mailbox(PEERS, MESSAGE_BYTES_MAX, **limits)
        if self.kind == "memory":
            transport = MemoryTransport(self._hub, name, mailbox)
        elif self.kind == "postgres":
            transport = PostgresTransport(self.server.conninfo, self.chain, name, mailbox)
        else:
            transport = JetStreamTransport([self.server.url], self.chain, name, mailbox, frozenset(PEERS))
        self._open.append(transport)
        return transport

    def close(self):
        for transport in self._open:
            transport.close()
