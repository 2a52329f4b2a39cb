"""Who votes on blocks: the validator sets of a chain, and how its members change them.

A change names the whole next set, counts from 1 and says from which height on it is in office. It takes effect if more
than two thirds of the institutions approve it, each with a key that governs (`KeyRole.GOVERNOR`), and if less than a
third of the weight in office leaves by it. The block below that height names the set in its header, and the protocol
does the rest (docs/consensus.md, epochs).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

import msgspec

from pyledger.crypto import bls
from pyledger.errors import InputError
from pyledger.ledger.commands import KIND_VALIDATORS, Validator
from pyledger.ledger.genesis import Genesis, check_bic

__all__ = ["Office", "Roster", "approvals_needed", "change_message"]

DOMAIN: Final = b"pyledger/governance/v1\0"
_MESSAGE: Final = struct.Struct("<B16sQQ32s")


@dataclass(frozen=True)
class Roster:
    """A validator set with the names of its validators, in order.

    Parameters
    ----------
    validators : tuple of Validator
    """

    validators: tuple[Validator, ...]

    @classmethod
    def of(cls, genesis: Genesis) -> Self:
        """The set that a chain begins with: its institutions, each with weight one."""
        members = genesis.institutions
        return cls(tuple(Validator(each.bic, 1, each.validator_key, each.proof_of_possession) for each in members))

    @cached_property
    def keys(self) -> bls.ValidatorSet:
        """The set without names; SignatureError or InputError if a key, proof or weight is not valid."""
        return bls.ValidatorSet(
            [validator.public_key for validator in self.validators],
            [validator.weight for validator in self.validators],
            [validator.proof_of_possession for validator in self.validators],
        )

    @property
    def hash(self) -> bytes:
        """Hash of the set as headers name it, 32 bytes."""
        return self.keys.hash

    @property
    def names(self) -> dict[bytes, str]:
        """BIC of each validator by its public key."""
        return {validator.public_key: validator.name for validator in self.validators}

    def check(self) -> None:
        """Refuse names that are none or stand twice, keys that stand twice, and keys, proofs and weights not valid."""
        for validator in self.validators:
            check_bic(validator.name)
        for field in ("name", "public_key"):
            seen: set[object] = set()
            for row, validator in enumerate(self.validators, 1):
                if getattr(validator, field) in seen:
                    raise InputError("expected each validator once", row=row, field=field)
                seen.add(getattr(validator, field))
        if self.keys.size != len(self.validators):
            raise InputError(f"validators: expected a set of {len(self.validators)}, got one of {self.keys.size}")

    def require_continuity(self, successor: Roster) -> None:
        """Refuse a successor without validators that have a third of the weight.

        A name that stays with another key stays: so even a single validator can take a new key.
        """
        staying = {validator.name for validator in successor.validators}
        leaving = sum(validator.weight for validator in self.validators if validator.name not in staying)
        total = sum(validator.weight for validator in self.validators)
        if 3 * leaving >= total:
            raise InputError(f"validators: weight {leaving} of {total} leaves at once, expected less than a third")


class Office(NamedTuple):
    """Who is in office, and who takes over: as it stands after a block.

    Parameters
    ----------
    roster : Roster
        In office at any height below `from_height`.
    epoch : int
        How many sets were in office before it.
    from_height : int
        First height on which the successor votes.
    successor : Roster or None
    """

    roster: Roster
    epoch: int = 0
    from_height: int = 0
    successor: Roster | None = None

    def at(self, height: int) -> Office:
        """The office as it is once blocks have this height: a successor whose time has come is in it."""
        if self.successor is None or height < self.from_height:
            return self
        return Office(self.successor, self.epoch + 1)

    def scheduled(self, height: int, from_height: int, successor: Roster) -> Office:
        """The office after a change in the block at a height; it takes the place of one that is still to come.

        Raises
        ------
        InputError
            If it comes too late, changes nothing, or too much.
        """
        now = self.at(height)
        if from_height <= height:
            raise InputError(f"from_height: expected a height above {height}, got {from_height}", field="from_height")
        if successor.hash == now.roster.hash:
            raise InputError("validators: expected another set than the one in office", field="validators")
        now.roster.require_continuity(successor)
        return Office(now.roster, now.epoch, from_height, successor)

    def to_bytes(self) -> bytes:
        """Encode for a snapshot."""
        successor = () if self.successor is None else self.successor.validators
        return msgspec.msgpack.encode((self.roster.validators, self.epoch, self.from_height, successor))

    @classmethod
    def from_bytes(cls, data: bytes) -> Office:
        """Decode what `to_bytes` wrote."""
        fields = msgspec.msgpack.decode(data, type=tuple[tuple[Validator, ...], int, int, tuple[Validator, ...]])
        roster, epoch, from_height, successor = fields
        return cls(Roster(roster), epoch, from_height, Roster(successor) if successor else None)


def approvals_needed(institutions: int) -> int:
    """How many of a chain's institutions must approve a change: more than two thirds."""
    return institutions * 2 // 3 + 1


def change_message(chain_id: bytes, number: int, from_height: int, validators: tuple[Validator, ...]) -> bytes:
    """Bytes that an institution signs to approve a change of the validators.

    `pyledger/governance/v1` and a zero byte, kind u8, chain id, number u64, from_height u64, SHA-256 of the validators'
    msgpack bytes as they stand in the command.
    """
    digest = hashlib.sha256(msgspec.msgpack.encode(validators)).digest()
    return DOMAIN + _MESSAGE.pack(KIND_VALIDATORS, chain_id, number, from_height, digest)
