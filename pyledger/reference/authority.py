"""Who may do what: registered keys, mandates and attestation sequences, in plain Python.

The part of the engine's twin that knows nothing of postings. A key is an index; its Ed25519 bytes live in the
verifier's registry in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

from pyledger.types import NO_KEY, AuthorityResult, KeyRole
from pyledger.types import CreateTransferResult as R

__all__ = ["NO_END", "Authority", "Key", "Mandate"]

NO_END = (1 << 64) - 1
"""Height that stands for "no end"."""


class Key(NamedTuple):
    """A registered key; valid while valid_from <= height < valid_until."""

    institution: int
    roles: int
    valid_from: int
    valid_until: int


class Mandate(NamedTuple):
    """What a holder may still take from an account; live while height < until_height."""

    remaining: int
    until_height: int


class Authority:
    """Keys and the next attestation sequence of each institution."""

    def __init__(self) -> None:
        self.height = 0
        self.keys: list[Key] = []
        self.sequences: dict[int, int] = {}

    def register(self, key: Key) -> int:
        """Add a key and return its index."""
        if not key.valid_from < key.valid_until:
            raise ValueError(f"valid_until: expected more than height {key.valid_from}, got {key.valid_until}")
        self.keys.append(key)
        return len(self.keys) - 1

    def revoke(self, index: int, height: int) -> None:
        """End a key's validity at height, unless it ends earlier."""
        if not 0 <= index < len(self.keys):
            raise ValueError(f"index: expected a registered key, got {index}")
        if height < self.height:
            raise ValueError(f"height: expected at least the current {self.height}, got {height}")
        key = self.keys[index]
        self.keys[index] = key._replace(valid_until=min(key.valid_until, height))

    def set_height(self, height: int) -> None:
        """Go to a block's height; never back."""
        if height < self.height:
            raise ValueError(f"height: expected at least the current {self.height}, got {height}")
        self.height = height

    def known(self, index: int) -> bool:
        """Whether the index is a registered key."""
        return index < len(self.keys)

    def valid(self, index: int) -> bool:
        """Whether a registered key is valid at the current height."""
        key = self.keys[index]
        return key.valid_from <= self.height < key.valid_until

    def has_role(self, index: int, role: KeyRole) -> bool:
        """Whether a registered key has a role."""
        return bool(self.keys[index].roles & role)

    def institution(self, index: int) -> int:
        """Institution of a registered key."""
        return self.keys[index].institution

    def usable(self, index: int) -> bool:
        """Whether the key is registered, valid at the current height and may sign."""
        return self.known(index) and self.valid(index) and self.has_role(index, KeyRole.HOLDER)

    def check_signature(self, signer: int, signature_ok: bool) -> int:
        """First look at a signed event: somebody known signed exactly these bytes."""
        if signer == NO_KEY:
            return R.SIGNATURE_MISSING
        if not self.known(signer):
            return R.SIGNER_UNKNOWN
        return R.CREATED if signature_ok else R.SIGNATURE_INVALID

    def check_key(self, signer: int) -> int:
        """The signer's key counts at this height and may sign."""
        if not self.valid(signer):
            return R.KEY_NOT_VALID_AT_HEIGHT
        return R.CREATED if self.has_role(signer, KeyRole.HOLDER) else R.SIGNER_LACKS_ROLE

    def check_attestation(self, institution: int, sequence: int, ok: bool, signer: int) -> int:
        """Whether an attestation is the institution's next one."""
        code = self.check_role(institution, signer, ok, KeyRole.ATTESTER)
        if code != R.CREATED:
            return code
        expected = self.sequences.get(institution, 1)
        if sequence != expected:
            return R.ATTESTATION_REPLAYED if sequence < expected else R.ATTESTATION_OUT_OF_ORDER
        return R.CREATED

    def check_role(self, institution: int, signer: int, ok: bool, role: KeyRole) -> int:
        """Whether a key may act for an institution in a role at this height: attest, or govern."""
        if signer == NO_KEY:
            return R.SIGNATURE_MISSING
        if not self.known(signer):
            return R.SIGNER_UNKNOWN
        if self.institution(signer) != institution:
            return R.ATTESTATION_SIGNER_OF_OTHER_INSTITUTION
        if not ok:
            return R.ATTESTATION_INVALID
        if not self.valid(signer):
            return R.KEY_NOT_VALID_AT_HEIGHT
        return R.CREATED if self.has_role(signer, role) else R.SIGNER_LACKS_ROLE

    def check_revocation(self, index: int, registrar: int) -> int:
        """Whether an institution may revoke a key: its own, and not the last that attests or governs without an end."""
        if not self.known(index):
            return AuthorityResult.KEY_UNKNOWN
        if self.institution(index) != registrar:
            return AuthorityResult.REGISTRAR_OF_OTHER_INSTITUTION
        if self._lasting(registrar, KeyRole.ATTESTER) == [index]:
            return AuthorityResult.LAST_ATTESTATION_KEY
        if self._lasting(registrar, KeyRole.GOVERNOR) == [index]:
            return AuthorityResult.LAST_GOVERNANCE_KEY
        return AuthorityResult.OK

    def _lasting(self, institution: int, role: KeyRole) -> list[int]:
        """Keys of an institution that have a role without an end."""
        return [
            number
            for number, key in enumerate(self.keys)
            if key.institution == institution and key.roles & role and key.valid_until == NO_END
        ]
