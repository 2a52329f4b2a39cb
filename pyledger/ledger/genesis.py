"""The first page of a book: who takes part and which currencies it holds. Its hash is the chain id.

Everything signed or hashed on a chain carries the chain id, so a signature for one chain says nothing on another.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path

import msgspec

from pyledger.errors import InputError, StorageError

__all__ = ["Currency", "Genesis", "Institution", "check_bic"]

_DOMAIN = b"pyledger/genesis/v1\0"
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?\Z")
_CURRENCY_CODE = re.compile(r"[A-Z]{3}\Z")
_SIZE_MAX = 1 << 20
_BLOCK_TRANSFERS_MAX = 1 << 17
"""A record takes up to some 280 bytes of a block, signature and all; nodes pass on blocks of at most 64 MiB."""


class Currency(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A ledger of the book: one currency or asset.

    Parameters
    ----------
    ledger : int
        Number of the ledger in records, in [1, 2**32 - 1]; ISO 4217 numeric codes are a natural choice.
    code : str
        Three capital letters, ISO 4217.
    decimals : int
        Digits of the minor unit, in [0, 18].
    """

    ledger: int
    code: str
    decimals: int


class Institution(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member of the chain; its index in the genesis is its number in records.

    Parameters
    ----------
    bic : str
        Business identifier code, 8 or 11 characters (ISO 9362).
    validator_key : bytes
        BLS12-381 public key that votes on blocks, 96 bytes (min-sig suite).
    proof_of_possession : bytes
        Signature of the validator key on itself, 48 bytes.
    attestation_key : bytes
        Ed25519 public key that signs the institution's own batches, 32 bytes. Key index i belongs to institution i.
    """

    bic: str
    validator_key: bytes
    proof_of_possession: bytes
    attestation_key: bytes


class Genesis(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """What a chain starts from.

    Parameters
    ----------
    name : str
        What people call the chain; 1 to 64 characters.
    time_ns : int
        Time of the genesis, nanoseconds since 1970-01-01 UTC; blocks are later.
    currencies : tuple of Currency
    institutions : tuple of Institution
    block_transfers_max : int, optional
        Transfers a block may hold, at most 2**17: nodes must be able to pass it on in one message.
    version : int, optional
        Version of this encoding; 1.

    Raises
    ------
    InputError
        By `check`, `to_bytes`, `from_bytes` and `chain_id` if a field is out of range or stands twice.
    """

    name: str
    time_ns: int
    currencies: tuple[Currency, ...]
    institutions: tuple[Institution, ...]
    block_transfers_max: int = 65_536
    version: int = 1

    def check(self) -> None:
        """Raise InputError unless every field is of its kind and in range and nothing stands twice."""
        try:
            msgspec.convert(msgspec.to_builtins(self, builtin_types=(bytes,)), Genesis)
        except (msgspec.ValidationError, TypeError) as error:
            raise InputError(str(error), file="genesis") from None
        _require(self.version == 1, "version", "expected 1", self.version)
        _require(1 <= len(self.name) <= 64, "name", "expected 1 to 64 characters", self.name)
        _require(0 <= self.time_ns < 1 << 63, "time_ns", "expected nanoseconds in [0, 2**63)", self.time_ns)
        _require(
            1 <= self.block_transfers_max <= _BLOCK_TRANSFERS_MAX,
            "block_transfers_max",
            f"expected 1 to {_BLOCK_TRANSFERS_MAX}",
            self.block_transfers_max,
        )
        _require(1 <= len(self.currencies) <= 1024, "currencies", "expected 1 to 1024", len(self.currencies))
        _require(1 <= len(self.institutions) <= 1000, "institutions", "expected 1 to 1000", len(self.institutions))
        for currency in self.currencies:
            _check_currency(currency)
        for institution in self.institutions:
            _check_institution(institution)
        _require_distinct("currencies.ledger", [c.ledger for c in self.currencies])
        _require_distinct("currencies.code", [c.code for c in self.currencies])
        _require_distinct("institutions.bic", [i.bic for i in self.institutions])
        _require_distinct("institutions.validator_key", [i.validator_key for i in self.institutions])
        _require_distinct("institutions.attestation_key", [i.attestation_key for i in self.institutions])

    def to_bytes(self) -> bytes:
        """Encode canonically (msgpack of arrays in field order)."""
        self.check()
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Genesis:
        """Decode what `to_bytes` wrote; any other bytes are refused."""
        if len(data) > _SIZE_MAX:
            raise InputError(f"expected at most {_SIZE_MAX} bytes, got {len(data)}", file="genesis")
        try:
            genesis = msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"not a valid encoding: {error}", file="genesis") from None
        if genesis.to_bytes() != data:
            raise InputError("the encoding is not canonical", file="genesis")
        return genesis

    @classmethod
    def read(cls, path: Path) -> Genesis:
        """Read a genesis file; StorageError if it can't be read, InputError that names the file if it holds none."""
        try:
            return cls.from_bytes(path.read_bytes())
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        except InputError as error:
            raise InputError(error.reason, file=path, field=error.field) from None

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the domain and the canonical bytes; 32 bytes. Parent hash of block 1."""
        return hashlib.sha256(_DOMAIN + self.to_bytes()).digest()

    @property
    def chain_id(self) -> bytes:
        """First 16 bytes of the hash."""
        return self.hash[:16]

    @cached_property
    def currency_by_ledger(self) -> dict[int, Currency]:
        """Currency of each ledger number."""
        return {currency.ledger: currency for currency in self.currencies}

    @cached_property
    def institution_index(self) -> dict[str, int]:
        """Index of each institution by its BIC."""
        return {institution.bic: index for index, institution in enumerate(self.institutions)}


def _check_currency(currency: Currency) -> None:
    _require(1 <= currency.ledger < 1 << 32, "currencies.ledger", "expected 1 to 2**32 - 1", currency.ledger)
    _require(bool(_CURRENCY_CODE.match(currency.code)), "currencies.code", "expected three capitals", currency.code)
    _require(0 <= currency.decimals <= 18, "currencies.decimals", "expected 0 to 18", currency.decimals)


def check_bic(bic: str) -> None:
    """Raise InputError unless this is a business identifier code of 8 or 11 characters (ISO 9362)."""
    _require(bool(_BIC.match(bic)), "institutions.bic", "expected a BIC of 8 or 11 capitals and digits", bic)


def _check_institution(institution: Institution) -> None:
    check_bic(institution.bic)
    for field, size in (("validator_key", 96), ("proof_of_possession", 48), ("attestation_key", 32)):
        found = len(getattr(institution, field))
        _require(found == size, f"institutions.{field}", f"expected {size} bytes", found)


def _require(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        raise InputError(f"{expected}, got {found!r}", file="genesis", field=field)


def _require_distinct(field: str, values: list[object] | list[int] | list[str] | list[bytes]) -> None:
    seen: set[object] = set()
    for value in values:
        _require(value not in seen, field, "expected each value once", value)
        seen.add(value)
