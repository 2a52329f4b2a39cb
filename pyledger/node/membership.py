"""Who takes part in a chain: the institutions' secret keys, the validators that they make up, what outsiders trust."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pyledger.crypto import bls
from pyledger.crypto.keys import SigningKey
from pyledger.errors import AuthorisationError
from pyledger.ledger.book import Book
from pyledger.ledger.genesis import Genesis, Institution
from pyledger.types import CreateTransferResult

__all__ = [
    "InstitutionKeys",
    "attestation_keys",
    "find_attester",
    "require_attesters",
    "require_genesis_keys",
    "trust_json",
]


@dataclass(frozen=True, slots=True)
class InstitutionKeys:
    """The secret keys of an institution that this process acts for.

    Parameters
    ----------
    bic : str
    attestation : SigningKey
        Ed25519; signs the institution's batches.
    validator : pyledger.bls.SecretKey
        BLS12-381; votes on blocks.
    """

    bic: str
    attestation: SigningKey
    validator: bls.SecretKey

    @classmethod
    def generate(cls, bic: str) -> Self:
        """Make new keys from the operating system's randomness."""
        return cls(bic, SigningKey.from_seed(secrets.token_bytes(32)), bls.SecretKey.generate())

    def institution(self) -> Institution:
        """The public side, for a genesis."""
        return Institution(
            self.bic, self.validator.public_key, self.validator.proof_of_possession, self.attestation.public_key
        )


def attestation_keys(genesis: Genesis, keys: Sequence[InstitutionKeys]) -> dict[int, SigningKey]:
    """Attestation keys by institution; AuthorisationError if one is of no member."""
    for key in keys:
        if key.bic not in genesis.institution_index:
            raise AuthorisationError(f"{key.bic}: not a member of this chain")
    return {genesis.institution_index[key.bic]: key.attestation for key in keys}


def require_genesis_keys(genesis: Genesis, keys: Sequence[InstitutionKeys]) -> None:
    """Refuse attestation keys that a new chain does not begin with."""
    for index, key in attestation_keys(genesis, keys).items():
        if genesis.institutions[index].attestation_key != key.public_key:
            raise AuthorisationError(f"{genesis.institutions[index].bic}: this attestation key is not in the genesis")


def require_attesters(book: Book, held: dict[int, SigningKey]) -> None:
    """Refuse keys that were never registered to attest for their institution; they may be valid later, or revoked."""
    for institution, key in held.items():
        index = book.authority.find_key(key.public_key)
        if index is None or not _attests(book, institution, index):
            bic = book.genesis.institutions[institution].bic
            raise AuthorisationError(f"{bic}: this attestation key is not registered to attest for it")


def find_attester(book: Book, public_key: bytes) -> tuple[int, int]:
    """Institution that a key was registered to attest for, and the key's index; it may be valid later, or revoked.

    Raises
    ------
    AuthorisationError
        If it attests for nobody.
    """
    index = book.authority.find_key(public_key)
    if index is not None:
        for institution in range(len(book.genesis.institutions)):
            if _attests(book, institution, index):
                return institution, index
    raise AuthorisationError(f"at height {book.height} this attestation key is registered for no member of this chain")


def _attests(book: Book, institution: int, index: int) -> bool:
    passing = (CreateTransferResult.CREATED, CreateTransferResult.KEY_NOT_VALID_AT_HEIGHT)
    return book.engine.check_attester(institution, index, True) in passing


def trust_json(genesis: Genesis) -> bytes:
    """What an offline verifier must trust: the chain id and who votes."""
    trust = {
        "format": "pyledger-trust",
        "version": 1,
        "chain_id": genesis.chain_id.hex(),
        "name": genesis.name,
        "validators": [
            {
                "bic": institution.bic,
                "public_key": institution.validator_key.hex(),
                "proof_of_possession": institution.proof_of_possession.hex(),
                "weight": 1,
                "attestation_key": institution.attestation_key.hex(),
            }
            for institution in genesis.institutions
        ],
    }
    return (json.dumps(trust, indent=2) + "\n").encode()
