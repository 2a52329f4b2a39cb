"""The institutions of a sample day: names, keys drawn from the seed, and key files that anyone may open.

The keys of a sample protect nothing: they follow from the seed, and the passphrase of their files stands in day.json.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from string import ascii_uppercase

from pyledger.crypto import bls, keys
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.formats.day_header import Member

__all__ = ["KEY_PASSPHRASE", "bic_of", "draw_member", "secret", "write_key_files"]

KEY_PASSPHRASE = "sample"

_WORK_FACTOR = 14  # The least that key files allow: these secrets are public.
_DOMAIN = b"pyledger/sample/v1\0"
_BLS12381_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def secret(seed: int, *path: int | str) -> bytes:
    """Derive 32 bytes from the seed of the sample and a path of words and numbers."""
    return hashlib.sha256(_DOMAIN + "/".join(map(str, (seed, *path))).encode()).digest()


def bic_of(index: int) -> str:
    """Name a fictional bank: BANKAAXX, BANKBBXX, ..., BANKZZXX, then BANKABXX, BANKACXX, ... (676 in all)."""
    letters = ascii_uppercase
    pairs = [letter * 2 for letter in letters] + [a + b for a in letters for b in letters if a != b]
    return f"BANK{pairs[index]}XX"


def draw_member(seed: int, index: int) -> Member:
    """Derive an institution's public keys."""
    validator = bls.SecretKey.from_bytes(_validator_secret(seed, index))
    return Member(
        index=index,
        bic=bic_of(index),
        validator_key=validator.public_key.hex(),
        proof_of_possession=validator.proof_of_possession.hex(),
        attestation_key=keys.SigningKey.from_seed(secret(seed, "attestation", index)).public_key.hex(),
    )


def write_key_files(folder: Path, seed: int, member: Member) -> list[str]:
    """Write an institution's two key files and return their paths from `folder`; same seed, same bytes."""
    make_folder(folder / "validators")
    secrets = {
        f"validators/{member.bic}.key": ("bls12381-min-sig", _validator_secret(seed, member.index)),
        f"validators/{member.bic}.attestation.key": ("ed25519", secret(seed, "attestation", member.index)),
    }
    for path, (scheme, key_secret) in secrets.items():
        salt, nonce = secret(seed, "salt", path), secret(seed, "nonce", path)[:12]
        write_atomic(folder / path, keys._seal(key_secret, KEY_PASSPHRASE, scheme, _WORK_FACTOR, salt, nonce))
    return list(secrets)


def _validator_secret(seed: int, index: int) -> bytes:
    scalar = int.from_bytes(secret(seed, "validator", index)) % (_BLS12381_ORDER - 1) + 1
    return scalar.to_bytes(32, "big")
