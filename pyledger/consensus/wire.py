"""Reading msgpack that others wrote: capped before it is parsed, and in its one encoding or not at all."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pyledger.errors import InputError

__all__ = ["read_canonical"]

_encoder: Final = msgspec.msgpack.Encoder()


def read_canonical(data: bytes, decoder: msgspec.msgpack.Decoder[Any], bytes_max: int, what: str) -> Any:
    """Decode exactly one value.

    Parameters
    ----------
    data : bytes
    decoder : msgspec.msgpack.Decoder
        Of the type that is expected.
    bytes_max : int
    what : str
        Its name in messages.

    Raises
    ------
    InputError
        If it is too long, not of the type, or not in its one encoding.
    """
    if len(data) > bytes_max:
        raise InputError(f"{what}: expected at most {bytes_max} bytes, got {len(data)}")
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{what}: {error}") from None
    if _encoder.encode(value) != data:
        raise InputError(f"{what}: not in its one encoding")
    return value
