"""What a block must keep to that executing it does not show: how many records and bytes it may hold.

The genesis says how many records. What these can be in bytes, with the changes of the validators that may wait, is less
than a message holds: a leader need not count them while it fills a block. A faulty one may bring other things.
"""

from __future__ import annotations

from pyledger.consensus.messages import BLOCK_BYTES_MAX
from pyledger.errors import InputError
from pyledger.ledger.blocks import Block
from pyledger.ledger.commands import CHANGE_ROWS, Attestation, Change, Command, RegisterKeys, SignedRefusals

__all__ = ["decode_within", "require_within", "shown_records_count"]


def decode_within(content: bytes, records_max: int) -> Block:
    """Decode a block; InputError if it holds more than it may, in bytes or in records."""
    if len(content) > BLOCK_BYTES_MAX:
        raise InputError(f"block: expected at most {BLOCK_BYTES_MAX} bytes, got {len(content)}")
    block = Block.from_bytes(content)
    require_within(block, records_max)
    return block


def require_within(block: Block, records_max: int) -> None:
    """Raise InputError if a block shows more records, refused ones among them, than it may hold."""
    records = shown_records_count(block)
    if records > records_max:
        raise InputError(f"block {block.header.height}: expected at most {records_max} records, got {records}")


def shown_records_count(block: Block) -> int:
    """Records that a block shows, refused ones among them."""
    body = block.body
    return len(body.accounts) + len(body.transfers) + sum(map(_records_of, body.commands))


def _records_of(command: Command) -> int:
    """Records of a command that stand in no column of the block; one without any counts, too, for it costs a check."""
    match command:
        case RegisterKeys():
            return max(1, len(command.public_keys) // 32)
        case Attestation() | SignedRefusals():
            return len(command.refused_positions) or int(command.taken == 0)
        case Change():
            rows = len(command.rows) // CHANGE_ROWS[command.kind].itemsize
            return max(1, rows + len(command.refused_positions))
    return 1
