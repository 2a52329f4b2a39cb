"""The commands of a block: what institutions attested, what owners ordered, who is to vote, what burnt its id.

Tagged msgpack arrays with one canonical encoding each; docs/block-format.md gives the bytes. Kind numbers are part of
what is signed and are never used again for something else.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyledger.crypto.bls import VALIDATORS_MAX, WEIGHT_MAX
from pyledger.errors import InputError
from pyledger.types import ACCOUNT, TRANSFER, U128, KeyRole

__all__ = [
    "CHANGE_ROWS",
    "CONTROLLER_CHANGE",
    "KIND_ACCOUNTS",
    "KIND_CONTROLLERS",
    "KIND_KEYS",
    "KIND_MANDATE",
    "KIND_OWNERS",
    "KIND_REVOCATIONS",
    "KIND_ROTATION",
    "KIND_TRANSFERS",
    "KIND_VALIDATORS",
    "ORDER_KINDS",
    "OWNER_CHANGE",
    "REFUSED_SIGNED",
    "REFUSED_TRANSFER",
    "REVOCATION",
    "Approval",
    "Attestation",
    "Change",
    "ChangeValidators",
    "Command",
    "Order",
    "RegisterKeys",
    "SignedRefusals",
    "Validator",
    "command_leaf_hashes",
    "decode_commands",
    "in_range",
]

KIND_KEYS, KIND_ACCOUNTS, KIND_TRANSFERS = 1, 2, 3
KIND_REVOCATIONS, KIND_OWNERS, KIND_CONTROLLERS = 4, 5, 6
KIND_MANDATE, KIND_ROTATION = 7, 8
KIND_VALIDATORS = 9
ORDER_KINDS: Final = (KIND_MANDATE, KIND_ROTATION)
"""Orders of a key count together."""

REVOCATION = np.dtype([("key", "<u4"), ("height", "<u8")])
"""A key that counts no more from a height on (at once if the height has passed); 12 bytes."""
OWNER_CHANGE = np.dtype([("account_id", U128), ("owner", "<u4")])
"""An account and the key index of its new owner; 20 bytes."""
CONTROLLER_CHANGE = np.dtype([("pending_id", U128), ("controller", "<u4")])
"""A pending transfer and the key index of its new controller; 20 bytes."""
CHANGE_ROWS: Final = {
    KIND_REVOCATIONS: REVOCATION,
    KIND_OWNERS: OWNER_CHANGE,
    KIND_CONTROLLERS: CONTROLLER_CHANGE,
}

REFUSED_TRANSFER = np.dtype([("record", TRANSFER), ("controller", "<u4"), ("leaf", "u1", (32,))])
"""A refused transfer of an attested batch, key index of its controller (NO_KEY: none), leaf hash; 164 bytes."""
REFUSED_SIGNED = np.dtype(
    [("record", TRANSFER), ("timestamp", "<u8"), ("signer", "<u4"), ("controller", "<u4"), ("signature", "u1", (64,))]
)
"""A refused signed transfer, its timestamp (0 in an imported batch), signer, controller (NO_KEY: none); 208 bytes."""

_REFUSED_SIZES: Final = {KIND_ACCOUNTS: ACCOUNT.itemsize + 8, KIND_TRANSFERS: REFUSED_TRANSFER.itemsize}
_COMMANDS_SIZE_MAX: Final = 1 << 28
_ROLES: Final = int(KeyRole.HOLDER | KeyRole.ATTESTER | KeyRole.GOVERNOR)
_VALIDATOR_SIZES: Final = (96, 48)


class RegisterKeys(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="keys"):
    """An institution registers Ed25519 keys; they get the next key indexes in order.

    `signature` is that of the institution's key `signer`, over `batch_message` with the RFC 6962 root of `key_leaves`.
    `proofs` are signatures of the new keys, 64 bytes each, over `key_proof_messages`.
    """

    institution: int
    sequence: int
    signer: int
    roles: int
    valid_from: int
    public_keys: bytes
    proofs: bytes
    signature: bytes


class Attestation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="attest"):
    """An institution stands for a batch of accounts or transfers with one signature over the batch's root.

    What took effect stands at [first, first + taken) of the block's column; what was refused is kept here as it was
    submitted, with its positions in the batch (rows of `REFUSED_TRANSFER`, or of accounts' entries). So whoever
    executes the block executes the whole batch, and nobody can leave out what would have taken effect. `time_ns` is
    the timestamp of the batch's first record; `signer` is the index of the key that signed.
    """

    institution: int
    sequence: int
    signer: int
    kind: int
    first: int
    taken: int
    time_ns: int
    refused_positions: tuple[int, ...]
    refused: bytes
    signature: bytes

    @property
    def size(self) -> int:
        """Number of records in the batch as it was submitted."""
        return self.taken + len(self.refused_positions)


class Change(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="change"):
    """An institution changes who may do what; `rows` are those that took effect, of the kind's dtype (`CHANGE_ROWS`).

    Refused rows are kept, too, with their positions in the batch.
    """

    institution: int
    sequence: int
    signer: int
    kind: int
    rows: bytes
    refused_positions: tuple[int, ...]
    refused: bytes
    signature: bytes


class Order(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="order"):
    """An account's owner gives or ends a mandate (KIND_MANDATE), or hands the account to a new key (KIND_ROTATION).

    `key` is the index of the mandate's holder or of the new owner; `account_id` and `amount` are 16 bytes,
    little-endian; amount and until_height are zero in a rotation. `signature` is that of the key `signer`, over
    `order_message`; `sequence` counts the orders of that key from 1.
    """

    kind: int
    signer: int
    sequence: int
    account_id: bytes
    key: int
    amount: bytes
    until_height: int
    signature: bytes


class Validator(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who votes on blocks.

    Parameters
    ----------
    name : str
        BIC, 8 or 11 characters; of an institution of the genesis or of another.
    weight : int
        Of its vote, 1 to 2**32 - 1 (`pyledger.bls.WEIGHT_MAX`).
    public_key : bytes
        BLS12-381, 96 bytes (min-sig suite).
    proof_of_possession : bytes
        Signature of that key on itself, 48 bytes.
    """

    name: str
    weight: int
    public_key: bytes
    proof_of_possession: bytes


class Approval(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An institution approves a change of the validators: signature of its key `signer` over `change_message`."""

    institution: int
    signer: int
    signature: bytes


class ChangeValidators(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="validators"):
    """Other validators vote from a height on; `number` counts the changes of the chain from 1."""

    number: int
    from_height: int
    validators: tuple[Validator, ...]
    approvals: tuple[Approval, ...]

    @property
    def attest(self) -> None:
        """No single institution attests it."""


class SignedRefusals(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="refused"):
    """Signed transfers of which some failed for a passing reason: their ids may not take effect later.

    What took effect stands at [first, first + taken) of the block's column. What burnt its id is kept here as it was
    submitted, with the whole chain that it was linked in and with its positions in the batch (rows of
    `REFUSED_SIGNED`). So whoever executes the block burns these ids himself, and nobody can burn the id of a transfer
    that would have taken effect, or that nobody signed. What was refused for a lasting reason is not counted.
    """

    first: int
    taken: int
    refused_positions: tuple[int, ...]
    refused: bytes


Command = RegisterKeys | Attestation | Change | Order | ChangeValidators | SignedRefusals


def command_leaf_hashes(commands: tuple[Command, ...]) -> NDArray[np.uint8]:
    """RFC 6962 leaf hashes of the commands' canonical bytes; shape (n, 32)."""
    hashes = [hashlib.sha256(b"\0" + msgspec.msgpack.encode(command)).digest() for command in commands]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def decode_commands(data: bytes) -> tuple[Command, ...]:
    """Decode the one encoding of a block's commands.

    Raises
    ------
    InputError
        If the bytes are too many, no commands, not canonical, or a field is out of range.
    """
    if len(data) > _COMMANDS_SIZE_MAX:
        raise InputError(f"block commands: expected at most {_COMMANDS_SIZE_MAX} bytes, got {len(data)}")
    try:
        commands = msgspec.msgpack.decode(data, type=tuple[Command, ...])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"block commands: not a valid encoding: {error}") from None
    if msgspec.msgpack.encode(commands) != data:
        raise InputError("block commands: the encoding is not canonical")
    for place, command in enumerate(commands):
        if not in_range(command):
            raise InputError(f"block commands: command {place} has a field out of range")
    return commands


def in_range(command: Command) -> bool:
    """Whether every number fits its width and every key and signature has its length."""
    if isinstance(command, SignedRefusals):
        numbers = _is_u32(command.first) and _is_u32(command.taken) and len(command.refused_positions) > 0
        return numbers and _refused_in_range(command, REFUSED_SIGNED.itemsize)
    if isinstance(command, ChangeValidators):
        return _validators_in_range(command)
    if len(command.signature) != 64 or not (_is_u64(command.sequence) and _is_u32(command.signer)):
        return False
    if isinstance(command, Order):
        return _order_in_range(command)
    if not _is_u32(command.institution):
        return False
    if isinstance(command, RegisterKeys):
        count, rest = divmod(len(command.public_keys), 32)
        known_roles = command.roles & ~_ROLES == 0
        return rest == 0 and len(command.proofs) == 64 * count and known_roles and _is_u64(command.valid_from)
    if isinstance(command, Change):
        return command.kind in CHANGE_ROWS and _change_in_range(command)
    numbers = _is_u32(command.first) and _is_u32(command.taken) and _is_u64(command.time_ns)
    return command.kind in _REFUSED_SIZES and numbers and _refused_in_range(command, _REFUSED_SIZES[command.kind])


def _change_in_range(change: Change) -> bool:
    width = CHANGE_ROWS[change.kind].itemsize
    return len(change.rows) % width == 0 and _refused_in_range(change, width)


def _refused_in_range(command: Attestation | Change | SignedRefusals, width: int) -> bool:
    """Whether positions rise within the batch, and each has its row."""
    positions = command.refused_positions
    taken = len(command.rows) // width if isinstance(command, Change) else command.taken
    rising = all(low < high for low, high in pairwise((-1, *positions, taken + len(positions))))
    return rising and len(command.refused) == width * len(positions)


def _order_in_range(order: Order) -> bool:
    if not (len(order.account_id) == len(order.amount) == 16 and _is_u32(order.key)):
        return False
    if order.kind == KIND_ROTATION:
        return order.amount == bytes(16) and order.until_height == 0
    return order.kind == KIND_MANDATE and _is_u64(order.until_height)


def _validators_in_range(change: ChangeValidators) -> bool:
    validators = all(
        0 < each.weight <= WEIGHT_MAX and (len(each.public_key), len(each.proof_of_possession)) == _VALIDATOR_SIZES
        for each in change.validators
    )
    approvals = all(
        _is_u32(each.institution) and _is_u32(each.signer) and len(each.signature) == 64 for each in change.approvals
    )
    count = 1 <= len(change.validators) <= VALIDATORS_MAX
    return count and validators and approvals and _is_u64(change.number) and _is_u64(change.from_height)


def _is_u32(value: int) -> bool:
    return 0 <= value < 1 << 32


def _is_u64(value: int) -> bool:
    return 0 <= value < 1 << 64
