"""What a client and its node say to each other over the node's socket: frames of a length and msgpack.

A request carries a number that its answer repeats, so several can be under way on a connection.
"""

from __future__ import annotations

import socket
import struct
from typing import Annotated, Any, Final

import msgspec

from pyledger.consensus.messages import BATCH_BYTES_MAX
from pyledger.errors import InputError

__all__ = [
    "ANSWERS",
    "REQUESTS",
    "Answer",
    "Attester",
    "Failed",
    "FindAttester",
    "Finished",
    "NextSequence",
    "Request",
    "Sequence",
    "StatusAnswer",
    "StatusRequest",
    "Submit",
    "read_frame",
    "write_frame",
]

_LENGTH: Final = struct.Struct("<I")
_FRAME_BYTES_MAX: Final = BATCH_BYTES_MAX + 4096
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: _Number


class Submit(_Frame, frozen=True, array_like=True, tag="submit"):
    """A batch; answered by `Finished` or `Failed` once its fate is final."""

    content: bytes


class NextSequence(_Frame, frozen=True, array_like=True, tag="next"):
    """Which sequence an institution's next batch of a kind must carry; answered by `Sequence`."""

    institution: _Number
    kind: _Number


class FindAttester(_Frame, frozen=True, array_like=True, tag="whose"):
    """For which institution an Ed25519 public key attests; answered by `Attester` or `Failed`."""

    public_key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class StatusRequest(_Frame, frozen=True, array_like=True, tag="status"):
    """How the node is; answered by `StatusAnswer`."""


Request = Submit | NextSequence | FindAttester | StatusRequest


class Finished(_Frame, frozen=True, array_like=True, tag="finished"):
    """A batch was executed; `results` are u32 little-endian, a code for each record."""

    height: _Number
    results: bytes


class Sequence(_Frame, frozen=True, array_like=True, tag="sequence"):
    """Answer to `NextSequence`."""

    sequence: _Number


class Attester(_Frame, frozen=True, array_like=True, tag="attester"):
    """Answer to `FindAttester`: the institution's number in the genesis, and the key's index."""

    institution: _Number
    key: _Number


class StatusAnswer(_Frame, frozen=True, array_like=True, tag="state"):
    """Answer to `StatusRequest`."""

    fields: dict[str, Any]


class Failed(_Frame, frozen=True, array_like=True, tag="failed"):
    """The request was refused; `error` is the name of an exception of `pyledger.errors`."""

    error: str
    reason: str


Answer = Finished | Sequence | Attester | StatusAnswer | Failed
_encoder: Final = msgspec.msgpack.Encoder()
REQUESTS: Final = msgspec.msgpack.Decoder(Request)
ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


def write_frame(connection: socket.socket, frame: Request | Answer) -> None:
    """Send a frame; OSError if the other side is gone."""
    data = _encoder.encode(frame)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def read_frame(connection: socket.socket, decoder: Any) -> Any:
    """Next frame, or None at the end.

    Raises
    ------
    InputError
        If it is too long or not what the decoder reads.
    OSError
        If the connection broke.
    """
    head = _read(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _FRAME_BYTES_MAX:
        raise InputError(f"frame: expected at most {_FRAME_BYTES_MAX} bytes, got {length}")
    data = _read(connection, length)
    if data is None:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"frame: {error}") from None


def _read(connection: socket.socket, count: int) -> bytes | None:
    """Exactly so many bytes, or None if the other side closed before."""
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
