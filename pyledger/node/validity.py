"""What a block must keep to that executing it does not show: the genesis says how many records it may hold."""

from __future__ import annotations

from pyledger.errors import InputError
from pyledger.ledger.blocks import Block
from pyledger.ledger.commands import CHANGE_ROWS, Attestation, Change, Command, FailedIds, RegisterKeys

__all__ = ["require_within"]


def require_within(block: Block, records_max: int) -> None:
    """Raise InputError if a block shows more records, refused ones among them, or failed ids than it may hold."""
    body = block.body
    records = len(body.accounts) + len(body.transfers) + sum(map(_records_of, body.commands))
    failed = sum(len(command.ids) // 16 for command in body.commands if isinstance(command, FailedIds))
    if max(records, failed) > records_max:
        found = f"{records} records and {failed} failed ids"
        raise InputError(f"block {block.header.height}: expected at most {records_max}, got {found}")


def _records_of(command: Command) -> int:
    """Records of a command that stand in no column of the block."""
    match command:
        case FailedIds():
            return 0
        case RegisterKeys():
            return len(command.public_keys) // 32
        case Attestation():
            return len(command.refused_positions)
        case Change():
            return len(command.rows) // CHANGE_ROWS[command.kind].itemsize + len(command.refused_positions)
    return 1
