"""``day.json``: what a day folder is about, who takes part, and the digest of every file in it.

It is written last, so a folder that has it is whole. The layout is described in docs/day-files.md.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
from pathlib import Path

import msgspec

from pyledger.errors import InputError, StorageError
from pyledger.formats.atomic import write_atomic
from pyledger.formats.checks import require
from pyledger.formats.money import Currency, ledger_numbers
from pyledger.formats.tables import FileFormat

__all__ = [
    "DAY_FORMAT",
    "DayHeader",
    "FileDigest",
    "Generator",
    "Member",
    "file_digest",
    "midnight_ns",
    "read_day",
    "write_day",
]

DAY_FORMAT = "pyledger/day/v1"

_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?")
_SIZE_MAX = 16 << 20
_INSTITUTIONS_MAX = 1000
_INSTITUTION_TABLES = ("keys", "accounts", "transfers", "statement")


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An institution of the day.

    Parameters
    ----------
    index : int
        Its number, from 0; also its place in the list.
    bic : str
        Business identifier code, 8 or 11 characters; the name of its folder.
    validator_key, proof_of_possession, attestation_key : str
        BLS12-381 public key (96 bytes, min-sig), its proof (48 bytes) and the Ed25519 key (32 bytes) of the
        institution's own batches, in lower-case hexadecimal.
    """

    index: int
    bic: str
    validator_key: str
    proof_of_possession: str
    attestation_key: str


class Generator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sample was made from. Its keys are no secrets: the passphrase of the key files stands here."""

    seed: int
    accounts: int
    transfers: int
    key_passphrase: str
    parameters: dict[str, int | float | str]


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the day: its path from the day's folder (with ``/``), size and SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


class DayHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of ``day.json``.

    Parameters
    ----------
    format : str
        ``pyledger/day/v1``.
    chain_name : str
        Name of the chain in its genesis.
    business_date : datetime.date
        The day. The genesis' time is its midnight, UTC.
    file_format : str
        ``parquet`` or ``csv``: the suffix of the institutions' tables.
    currencies : tuple of Currency
    institutions : tuple of Member
    files : tuple of FileDigest
        Every other file of the folder.
    block_transfers_max : int
        Transfers that a block of the chain may hold; part of its genesis.
    generator : Generator, optional
        Only for samples.
    """

    format: str
    chain_name: str
    business_date: datetime.date
    file_format: FileFormat
    currencies: tuple[Currency, ...]
    institutions: tuple[Member, ...]
    files: tuple[FileDigest, ...]
    block_transfers_max: int = 65_536
    generator: Generator | None = None

    @property
    def ledgers(self) -> dict[str, int]:
        """Ledger number of each currency code."""
        return ledger_numbers(self.currencies)

    @property
    def genesis_time_ns(self) -> int:
        """Midnight of the business date, nanoseconds since 1970-01-01 UTC."""
        return midnight_ns(self.business_date)

    def table_path(self, institution: int, table: str) -> str:
        """Path of an institution's table (``keys``, ``accounts``, ``transfers``, ``statement``) from the folder."""
        return f"{self.institutions[institution].bic}/{table}.{self.file_format}"

    def check(self, file: str = "day.json") -> None:
        """Raise InputError, naming the field, unless every field is in range and fits the others."""
        require(self.format == DAY_FORMAT, file, "format", f"expected {DAY_FORMAT}", self.format)
        count = len(self.institutions)
        require(1 <= count <= _INSTITUTIONS_MAX, file, "institutions", f"expected 1 to {_INSTITUTIONS_MAX}", count)
        require(bool(self.currencies), file, "currencies", "expected at least one", 0)
        for field in ("code", "ledger"):
            values = [getattr(currency, field) for currency in self.currencies]
            require(len(set(values)) == len(values), file, f"currencies.{field}", "expected each once", values)
        for place, member in enumerate(self.institutions):
            _check_member(member, place, file)
        bics = [member.bic for member in self.institutions]
        require(len(set(bics)) == count, file, "institutions.bic", "expected each once", bics)
        for entry in self.files:
            _check_digest(entry, file)
        listed = {entry.path for entry in self.files}
        require(len(listed) == len(self.files), file, "files.path", "expected each once", len(self.files))
        for institution in range(count):
            for table in _INSTITUTION_TABLES:
                path = self.table_path(institution, table)
                require(path in listed, file, "files", f"expected an entry for {path}", "none")

    def verify_files(self, folder: str | os.PathLike[str]) -> None:
        """Check that every listed file is there with its size and digest.

        Raises
        ------
        InputError
            Naming the first file that is missing or differs.
        StorageError
            If a file cannot be read.
        """
        for entry in self.files:
            path = Path(folder) / entry.path
            found = file_digest(path, entry.path)
            if found != entry:
                message = f"differs from day.json: expected {entry.size_bytes} bytes with SHA-256 {entry.sha256}, "
                raise InputError(f"{message}got {found.size_bytes} bytes with {found.sha256}", file=path)


def read_day(folder: str | os.PathLike[str]) -> DayHeader:
    """Read and check ``day.json`` of a day folder; the other files are not opened.

    Raises
    ------
    InputError
        If it is missing, or not exactly what the layout says; names the field.
    StorageError
        If it cannot be read.
    """
    path = Path(folder) / "day.json"
    try:
        if path.stat().st_size > _SIZE_MAX:
            raise InputError(f"expected at most {_SIZE_MAX} bytes, got {path.stat().st_size}", file=path)
        header = msgspec.json.decode(path.read_bytes(), type=DayHeader)
        header.check(str(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("not a day folder: day.json is missing (it is written last)", file=path) from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not a valid day.json: {error}", file=path) from error
    return header


def write_day(folder: str | os.PathLike[str], header: DayHeader) -> None:
    """Write ``day.json``, whole or not at all, after the files that it lists.

    Raises
    ------
    InputError
        If a field is out of range.
    StorageError
        If it cannot be written.
    """
    path = Path(folder) / "day.json"
    header.check(str(path))
    write_atomic(path, msgspec.json.format(msgspec.json.encode(header), indent=2) + b"\n")


def file_digest(path: Path, name: str) -> FileDigest:
    """Hash a file; `name` is its path from the day's folder.

    Raises
    ------
    InputError
        If there is no such file.
    StorageError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return FileDigest(name, stream.tell(), digest)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError("the file is missing; day.json lists it", file=path) from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def midnight_ns(date: datetime.date) -> int:
    """Midnight at the beginning of a day, nanoseconds since 1970-01-01 UTC."""
    return (date - datetime.date(1970, 1, 1)).days * 86_400 * 10**9


def _check_member(member: Member, place: int, file: str) -> None:
    require(member.index == place, file, "institutions.index", f"expected {place}", member.index)
    require(bool(_BIC.fullmatch(member.bic)), file, "institutions.bic", "expected a BIC of 8 or 11", member.bic)
    for field, size in (("validator_key", 96), ("proof_of_possession", 48), ("attestation_key", 32)):
        text: str = getattr(member, field)
        whole = re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text) is not None
        require(whole, file, f"institutions.{field}", f"expected {2 * size} lower-case hexadecimal digits", text)


def _check_digest(entry: FileDigest, file: str) -> None:
    parts = entry.path.split("/")
    inside = all(part not in ("", ".", "..") and "\\" not in part and "\0" not in part for part in parts)
    require(inside, file, "files.path", "expected a path inside the folder", entry.path)
    require(entry.size_bytes >= 0, file, "files.size_bytes", "expected 0 or more", entry.size_bytes)
    whole = re.fullmatch("[0-9a-f]{64}", entry.sha256) is not None
    require(whole, file, "files.sha256", "expected 64 lower-case hexadecimal digits", entry.sha256)
