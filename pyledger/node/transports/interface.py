"""What a node may expect of a transport, which is little.

A transport carries bytes between named nodes. It may lose them, repeat them, bring them late and in any order; it may
be run by somebody hostile. Nothing that comes out of one is believed: whoever receives a message checks its size, its
form and its signatures, and takes the sender's name for a claim. In return any queue can serve as one.

A transport has its own thread for its sockets, so it stays alive while the node's only thread executes a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from pyledger.errors import InputError

__all__ = ["MESSAGE_BYTES_MAX", "Counters", "Message", "Transport", "check_chain_name", "check_name"]

MESSAGE_BYTES_MAX: Final = 64 << 20
"""Default cap on one message: a signed block of 65,536 transfers needs 13 MiB, one of 2**18 needs 50 MiB."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_CHAIN: Final = re.compile(r"[0-9a-f]{1,16}\Z")


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes from a node.

    Parameters
    ----------
    sender : str
        Name that the sender gave; a claim.
    payload : bytes
    """

    sender: str
    payload: bytes


@dataclass(slots=True)
class Counters:
    """What a transport has done since it was opened."""

    sent: int = 0
    received: int = 0
    dropped_outgoing: int = 0
    dropped_incoming: int = 0
    reconnects: int = 0


class Transport(Protocol):
    """Carries bytes to and from peers. `send` and `broadcast` never wait and never raise for a network's sake."""

    counters: Counters

    def send(self, peer: str, payload: bytes) -> None:
        """Send to one peer; it may not arrive."""

    def broadcast(self, payload: bytes) -> None:
        """Send to every other node of the chain; it may not arrive everywhere."""

    def receive(self, timeout_seconds: float) -> Message | None:
        """Next message, or None after the timeout, after `wake` or once closed."""

    @property
    def waiting_count(self) -> int:
        """Messages that came in and wait."""

    def wake(self) -> None:
        """Have a `receive` that is waiting return at once; may be called from any thread."""

    def close(self) -> None:
        """Stop and release sockets and threads; what is not sent yet may be lost. Closing twice is harmless."""


def check_name(name: str) -> None:
    """Raise InputError unless this may be a node's name: 1 to 32 letters, digits, underscores and hyphens."""
    if not _NAME.match(name):
        raise InputError(f"expected 1 to 32 of A-Z, a-z, 0-9, _ and -, got {name!r}", field="node name")


def check_chain_name(chain: str) -> None:
    """Raise InputError unless this names a chain in subjects and channels: 1 to 16 hexadecimal digits."""
    if not _CHAIN.match(chain):
        raise InputError(f"expected 1 to 16 lower-case hexadecimal digits, got {chain!r}", field="chain")
