"""Large messages in pieces, for a transport that caps what it carries.

A piece is a 64-byte head and bytes: magic, version, index, count, message id, sender. Pieces of one message share an id
drawn at random by the sender. Whoever puts them together holds a bounded number of bytes for each sender: unfinished
messages are given up, oldest first.
"""

from __future__ import annotations

import secrets
import struct
from collections import OrderedDict
from typing import Final

__all__ = ["HEAD_BYTES", "Assembler", "split"]

_HEAD: Final = struct.Struct("<4sHHII16s32s")  # magic, version, 0, index, count, message id, sender
HEAD_BYTES: Final = _HEAD.size
_MAGIC: Final = b"PLMP"
_VERSION: Final = 1
_UNFINISHED_PER_SENDER_MAX: Final = 8
_PIECE_BYTES_MIN: Final = 4096
"""Smaller pieces of a larger message would cost more memory than they bring."""


def split(sender: str, payload: bytes, piece_bytes_max: int) -> list[bytes]:
    """Cut a message into pieces of at most `piece_bytes_max` bytes, heads included."""
    step = piece_bytes_max - HEAD_BYTES
    if step < _PIECE_BYTES_MIN:
        raise ValueError(f"piece_bytes_max: expected at least {_PIECE_BYTES_MIN + HEAD_BYTES}, got {piece_bytes_max}")
    count = max(1, -(-len(payload) // step))
    message_id, name = secrets.token_bytes(16), sender.encode()
    return [
        _HEAD.pack(_MAGIC, _VERSION, 0, index, count, message_id, name) + payload[index * step : (index + 1) * step]
        for index in range(count)
    ]


class _Unfinished:
    def __init__(self, count: int) -> None:
        self.count = count
        self.pieces: dict[int, bytes] = {}
        self.bytes = 0


class Assembler:
    """Puts messages together from pieces that come in any order, repeated or never.

    Parameters
    ----------
    message_bytes_max : int
        A message that grows beyond this is given up.
    senders : frozenset of str
        Pieces of others are refused.
    own_name : str, optional
        Pieces from here are passed over: a broadcast comes back to who sent it.
    bytes_max : int, optional
        Bytes of all that is unfinished; above it the sender that has most of them loses its oldest message.
    """

    def __init__(
        self, message_bytes_max: int, senders: frozenset[str], own_name: str = "", bytes_max: int = 512 << 20
    ) -> None:
        self._message_bytes_max = message_bytes_max
        self._bytes_max = max(bytes_max, message_bytes_max)
        self._bytes = dict.fromkeys(senders, 0)
        self._own_name = own_name
        self._unfinished: dict[str, OrderedDict[bytes, _Unfinished]] = {name: OrderedDict() for name in senders}

    def add(self, piece: bytes) -> tuple[str, bytes] | None:
        """Take a piece; returns (sender, payload) when it completes a message.

        Raises
        ------
        ValueError
            If it is no piece of an allowed message.
        """
        if len(piece) < HEAD_BYTES:
            raise ValueError("shorter than a head")
        magic, version, zero, index, count, message_id, name = _HEAD.unpack_from(piece)
        sender = name.rstrip(b"\0").decode("ascii", "replace")
        if sender == self._own_name:
            return None
        if magic != _MAGIC or version != _VERSION or zero or index >= count or sender not in self._unfinished:
            raise ValueError("not a piece of a known sender's message")
        if count == 1:
            return sender, piece[HEAD_BYTES:]
        if count > self._message_bytes_max // _PIECE_BYTES_MIN + 1:
            raise ValueError("more pieces than an allowed message has")
        return self._collect(sender, message_id, index, count, piece[HEAD_BYTES:])

    def _collect(self, sender: str, message_id: bytes, index: int, count: int, body: bytes) -> tuple[str, bytes] | None:
        waiting = self._unfinished[sender]
        message = waiting.setdefault(message_id, _Unfinished(count))
        if message.count != count:
            raise ValueError("pieces of one message differ in their count")
        if index not in message.pieces:
            message.pieces[index] = body
            message.bytes += len(body)
            self._bytes[sender] += len(body)
        if message.bytes > self._message_bytes_max:
            self._forget(sender, message_id)
            raise ValueError("a message larger than allowed")
        if len(message.pieces) == count:
            self._forget(sender, message_id)
            return sender, b"".join(message.pieces[place] for place in range(count))
        if len(waiting) > _UNFINISHED_PER_SENDER_MAX:
            self._forget(sender, next(iter(waiting)))
        while sum(self._bytes.values()) > self._bytes_max:
            largest = max(self._bytes, key=self._bytes.__getitem__)
            self._forget(largest, next(iter(self._unfinished[largest])))
        return None

    def _forget(self, sender: str, message_id: bytes) -> None:
        self._bytes[sender] -= self._unfinished[sender].pop(message_id).bytes
