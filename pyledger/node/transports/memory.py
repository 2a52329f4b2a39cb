"""Nodes of one process: a message is put straight into the receiver's mailbox."""

from __future__ import annotations

import threading

from pyledger.errors import StateError
from pyledger.node.transports.interface import check_name
from pyledger.node.transports.mailbox import Mailbox, Receiver

__all__ = ["MemoryHub", "MemoryTransport"]


class MemoryHub:
    """Where the nodes of one process find each other."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}
        self._mutex = threading.Lock()

    def join(self, name: str, mailbox: Mailbox) -> None:
        """Take messages for a name; StateError if the name is taken."""
        check_name(name)
        with self._mutex:
            if name in self._mailboxes:
                raise StateError(f"{name}: a node of this name is on the hub already")
            self._mailboxes[name] = mailbox

    def leave(self, name: str, mailbox: Mailbox) -> None:
        """Take no more messages for a name."""
        with self._mutex:
            if self._mailboxes.get(name) is mailbox:
                del self._mailboxes[name]

    def deliver(self, sender: str, peer: str | None, payload: bytes) -> int:
        """Put a message into the mailbox of a peer, or of all others; returns how many were reached."""
        with self._mutex:
            if peer is None:
                targets = [mailbox for name, mailbox in self._mailboxes.items() if name != sender]
            else:
                targets = [self._mailboxes[peer]] if peer in self._mailboxes else []
        for mailbox in targets:
            mailbox.put(sender, payload)
        return len(targets)


class MemoryTransport(Receiver):
    """A node's place on a `MemoryHub`.

    Parameters
    ----------
    hub : MemoryHub
    name : str
        This node's name.
    mailbox : Mailbox
    """

    def __init__(self, hub: MemoryHub, name: str, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self._hub, self._name = hub, name
        hub.join(name, mailbox)

    def send(self, peer: str, payload: bytes) -> None:
        """Send to one peer; dropped if it is not on the hub."""
        check_name(peer)
        self.counters.sent += self._hub.deliver(self._name, peer, payload)

    def broadcast(self, payload: bytes) -> None:
        """Send to every other node on the hub."""
        self.counters.sent += self._hub.deliver(self._name, None, payload)

    def close(self) -> None:
        """Leave the hub."""
        self._hub.leave(self._name, self._mailbox)
        self._mailbox.close()
