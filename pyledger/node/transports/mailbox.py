"""The two bounded queues that every transport stands on: messages that came in, messages that must go out.

A peer that floods pushes out its own oldest messages; the others' wait untouched and are taken in turn. A message that
waits already is not put in twice: that is all the deduplication here, because a peer that sends the same bytes again
later may have good reason (the first were lost on the way to the protocol).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

from pyledger.node.transports.interface import MESSAGE_BYTES_MAX, Counters, Message, check_name

__all__ = ["Mailbox", "Outbox", "Receiver"]

_MESSAGES_PER_PEER_MAX = 4096


class Mailbox:
    """Messages that came in from known peers and wait.

    Parameters
    ----------
    peers : iterable of str
        Names that may send here; what claims another one is dropped.
    message_bytes_max : int, optional
        Larger messages are dropped.
    bytes_max : int, optional
        Bytes that may wait; above it the peer that has most of them loses its oldest.
    """

    def __init__(
        self, peers: Iterable[str], message_bytes_max: int = MESSAGE_BYTES_MAX, bytes_max: int = 8 * MESSAGE_BYTES_MAX
    ) -> None:
        self.counters = Counters()
        self.message_bytes_max = message_bytes_max
        self._bytes_max = max(bytes_max, message_bytes_max)
        self._waiting: OrderedDict[str, OrderedDict[bytes, bytes]] = OrderedDict()
        self._bytes: dict[str, int] = {}
        for peer in peers:
            check_name(peer)
            self._waiting[peer], self._bytes[peer] = OrderedDict(), 0
        self._ready = threading.Condition()
        self._woken = False
        self._closed = False

    @property
    def count(self) -> int:
        """Number of messages that wait."""
        with self._ready:
            return sum(map(len, self._waiting.values()))

    def put(self, sender: str, payload: bytes) -> bool:
        """Add a message; False if it was dropped. Its size is looked at before anything else is done with it."""
        if len(payload) > self.message_bytes_max or sender not in self._waiting:
            self.counters.dropped_incoming += 1
            return False
        digest = hashlib.sha256(payload).digest()
        with self._ready:
            queue = self._waiting[sender]
            if self._closed or digest in queue:
                return False
            queue[digest] = payload
            self._bytes[sender] += len(payload)
            if len(queue) > _MESSAGES_PER_PEER_MAX:
                self._drop_oldest(sender)
            while sum(self._bytes.values()) > self._bytes_max:
                self._drop_oldest(max(self._bytes, key=self._bytes.__getitem__))
            self._ready.notify()
        return True

    def take(self, timeout_seconds: float) -> Message | None:
        """Oldest message of the peer whose turn it is; None after the timeout, after `wake` or once closed."""
        with self._ready:
            self._ready.wait_for(self._may_take, timeout_seconds)
            self._woken = False
            for sender, queue in self._waiting.items():
                if queue:
                    self._waiting.move_to_end(sender)
                    payload = queue.popitem(last=False)[1]
                    self._bytes[sender] -= len(payload)
                    self.counters.received += 1
                    return Message(sender, payload)
            return None

    def wake(self) -> None:
        """Have a waiting `take` return at once."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def close(self) -> None:
        """Drop what waits and take nothing more."""
        with self._ready:
            self._closed = True
            for sender, queue in self._waiting.items():
                queue.clear()
                self._bytes[sender] = 0
            self._ready.notify_all()

    def _drop_oldest(self, sender: str) -> None:
        self._bytes[sender] -= len(self._waiting[sender].popitem(last=False)[1])
        self.counters.dropped_incoming += 1

    def _may_take(self) -> bool:
        return self._woken or self._closed or any(self._waiting.values())


class Receiver:
    """The side of a transport that gives out what came in.

    Parameters
    ----------
    mailbox : Mailbox
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self.counters = mailbox.counters

    def receive(self, timeout_seconds: float) -> Message | None:
        """Next message, or None after the timeout, after `wake` or once closed."""
        return self._mailbox.take(timeout_seconds)

    @property
    def waiting_count(self) -> int:
        """Messages that came in and wait."""
        return self._mailbox.count

    def wake(self) -> None:
        """Have a waiting `receive` return at once."""
        self._mailbox.wake()


class Outbox:
    """Messages that must go out: (peer, payload), or (None, payload) for all. The oldest are dropped where it is full.

    Parameters
    ----------
    counters : Counters
    bytes_max : int, optional
    """

    def __init__(self, counters: Counters, bytes_max: int = 4 * MESSAGE_BYTES_MAX) -> None:
        self._counters = counters
        self._bytes_max = bytes_max
        self._queue: deque[tuple[str | None, bytes]] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._closed = False

    def put(self, peer: str | None, payload: bytes) -> None:
        """Add a message; never waits."""
        if peer is not None:
            check_name(peer)
        with self._ready:
            if self._closed:
                return
            self._queue.append((peer, payload))
            self._bytes += len(payload)
            while self._bytes > self._bytes_max and len(self._queue) > 1:
                self._bytes -= len(self._queue.popleft()[1])
                self._counters.dropped_outgoing += 1
            self._ready.notify()

    def take(self, timeout_seconds: float) -> tuple[str | None, bytes] | None:
        """Oldest message, or None after the timeout or once closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._queue or self._closed, timeout_seconds)
            if not self._queue:
                return None
            peer, payload = self._queue.popleft()
            self._bytes -= len(payload)
            return peer, payload

    def close(self) -> None:
        """Take nothing more; what waits can still be taken."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
