"""What shows somebody who trusts a validator set that a block is final: the headers that a receipt carries."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from pyledger.errors import InputError, StateError
from pyledger.ledger.blocks import Header
from pyledger.ledger.proofs import Finality
from pyledger.node.certified import Evidence

__all__ = ["changes_since", "finality_of"]

_Segment = tuple[Sequence[tuple[bytes, bytes]], bytes]


def finality_of(
    headers: Sequence[Header], read: Callable[[int], Evidence], height: int, trusted_epoch: int
) -> Finality:
    """Put together what shows that a block is final.

    Parameters
    ----------
    headers : sequence of Header
        Of all blocks, from height 1.
    read : callable
        Gives the certificate of the block at a height and what closes its epoch.
    height : int
    trusted_epoch : int
        Epoch of the validators that the reader trusts; changes of validators from there on are shown.

    Raises
    ------
    InputError
        If the block is of an earlier epoch than the reader's, or that is below 0.
    StateError
        If no two blocks from it on are certified in successive rounds yet.
    """
    epoch = headers[height - 1].epoch
    if not 0 <= trusted_epoch <= epoch:
        raise InputError(f"trusted_epoch: expected 0 to {epoch}, that of block {height}, got {trusted_epoch}")
    changes = changes_since(headers, read, trusted_epoch, epoch)
    return [*changes, _up_to_finality(headers, read, height)]


def changes_since(
    headers: Sequence[Header], read: Callable[[int], Evidence], trusted_epoch: int, epoch: int
) -> list[_Segment]:
    """What shows who took over, for each change of the validators from one epoch up to another."""
    return [_end_of_epoch(headers, read, each) for each in range(trusted_epoch, epoch)]


def _end_of_epoch(headers: Sequence[Header], read: Callable[[int], Evidence], epoch: int) -> _Segment:
    last = bisect_right(headers, epoch, key=lambda header: header.epoch)
    return _up_to_finality(headers, read, last)


def _up_to_finality(headers: Sequence[Header], read: Callable[[int], Evidence], height: int) -> _Segment:
    """Headers with certificates from a height on, up to two in successive rounds or through the end of the epoch."""
    entries: list[tuple[bytes, bytes]] = []
    for header in headers[height - 1 :]:
        certificate, closing = read(header.height)
        entries.append((header.to_bytes(), certificate))
        if header.height > height and header.round == headers[header.height - 2].round + 1:
            return entries, b""
        if closing is not None:
            return [*entries, *closing.entries], closing.next_validators
    raise StateError(
        f"block {height}: no two blocks from it on are certified in successive rounds, so it is not final yet"
        " (a ledger that is open read-only appends none)"
    )
