"""A bank's own export into its book: every row becomes a transfer of a batch that the institution attests.

The book is the institution's view. It has an account for each account of the export and one for each other bank, in
each currency; money that left goes from the first to the second, money that came the other way. So the balance of
another bank's account is what the institution owes it, and every debit is of an account of the institution itself.

Account and transfer ids follow from the export's own names (SHA-256), so an export ingested twice posts once.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pyledger.clearing import settlement
from pyledger.clearing.netting import Netting
from pyledger.crypto import keys as key_files
from pyledger.errors import InputError
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.formats.exports import Export, read_export
from pyledger.formats.mapping import Cell, Mapping, load_mapping
from pyledger.jobs.day_posting import Progress
from pyledger.ledger.genesis import Currency, Genesis, check_bic
from pyledger.node.embedded import Ledger
from pyledger.node.folder import GENESIS_FILE
from pyledger.node.membership import InstitutionKeys
from pyledger.types import ACCOUNT, TRANSFER, U128, CreateAccountResult, CreateTransferResult, u128_ints

__all__ = ["IngestSummary", "ingest_export"]

_ACCOUNT_DOMAIN = b"pyledger/ingest/account/v1\0"
_TRANSFER_DOMAIN = b"pyledger/ingest/transfer/v1\0"
_CODE = 1
_POSTED = (CreateTransferResult.CREATED, CreateTransferResult.EXISTS)


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What became of an export.

    Parameters
    ----------
    rows, rows_bad : int
        Rows of the file, and those left out because a cell is not as the mapping says.
    posted, already_posted : int
        Transfers that took effect now, and those that an earlier ingest had posted.
    refused : dict of str to int
        Other results by name.
    accounts_opened, banks : int
        Accounts new in the book; other banks that the export names.
    debits_minor, credits_minor : dict of str to int
        Money that left and came, by currency, over the rows that are in the book.
    settlement_instructions : int
    height : int
    block : str
        Height and hash of the ledger's last block.
    """

    rows: int
    rows_bad: int
    posted: int
    already_posted: int
    refused: dict[str, int]
    accounts_opened: int
    banks: int
    debits_minor: dict[str, int]
    credits_minor: dict[str, int]
    settlement_instructions: int
    height: int
    block: str


def ingest_export(
    export_path: Path,
    mapping_path: Path,
    ledger_path: Path,
    bic: str,
    keys_folder: Path,
    passphrase: str,
    *,
    settlement_path: Path | None = None,
    bad_rows_path: Path | None = None,
    ids_path: Path | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Post an export; see the module's text for how.

    Parameters
    ----------
    export_path, mapping_path : Path
        The bank's file and the TOML file that says what its columns mean (docs/mapping-files.md).
    ledger_path : Path
        A ledger of which this is a member, or a new folder: then a ledger of this one institution is made.
    bic : str
    keys_folder : Path
        Holds ``BIC.attestation.key`` and ``BIC.validator.key``; made with a new ledger.
    passphrase : str
        Of the key files.
    settlement_path : Path, optional
        CSV of what the institution and the other banks owe each other over this export, netted.
    bad_rows_path : Path, optional
        Post the good rows and list the bad ones here, instead of refusing the file at its first bad row.
    ids_path : Path, optional
        CSV of each row's number, its id in the export and its transfer id.
    progress : callable, optional
        Called with stage, done and total.

    Raises
    ------
    InputError
        If mapping or export are not as expected; names file, row and column. Nothing is posted then.
    """
    progress = progress or (lambda _stage, _done, _total: None)
    check_bic(bic)
    mapping = load_mapping(mapping_path)
    export = read_export(export_path, mapping, on_error="collect" if bad_rows_path else "refuse")
    if bad_rows_path is not None:
        write_atomic(bad_rows_path, _bad_rows_csv(export))
    with _open_ledger(ledger_path, bic, mapping, keys_folder, passphrase) as ledger:
        _require_currencies(ledger.genesis, mapping, mapping_path)
        rows = _Rows(export.table, bic, ledger.genesis)
        opened = _open_accounts(ledger, rows, bic)
        if ids_path is not None:
            write_atomic(ids_path, _ids_csv(rows))
        results = _post(ledger, rows, bic, progress)
        instructions = _settle(mapping, rows, np.isin(results, _POSTED))
        if settlement_path is not None:
            names, currencies = [bic, *rows.banks], ledger.genesis.currencies
            settlement.write_csv(settlement_path, instructions, names, currencies)
        return _summary(export, rows, opened, results, len(instructions), ledger)


class _Rows:
    """The export's rows in the numbers of the ledger; columns of shape (n,)."""

    def __init__(self, table: pa.Table, bic: str, genesis: Genesis) -> None:
        number_of = {currency.code: currency.ledger for currency in genesis.currencies}
        self.table = table
        self.currencies = _words(table["currency"])
        self.ledgers = np.array([number_of.get(code, 0) for code in self.currencies.words] or [0], np.uint32)[
            self.currencies.places
        ]
        self.is_debit = pc.equal(table["direction"], "D").to_numpy()
        self.amounts = table["amount_minor"].to_numpy().astype(np.uint64)
        bank_column = _words(table["counterparty_bank"])
        self.banks = bank_column.words
        self.bank_places = bank_column.places
        own = _words(table["account"])
        self.own_accounts = self._account_ids(bic, "own", own)
        self.bank_accounts = self._account_ids(bic, "bank", bank_column)
        self.transfer_ids = _hashed(_TRANSFER_DOMAIN, [(bic, name) for name in table["id"].to_pylist()])

    def _account_ids(self, bic: str, side: str, names: _Words) -> NDArray[Any]:
        """One account for each name and currency."""
        pairs = names.places * len(self.currencies.words) + self.currencies.places
        distinct, inverse = np.unique(pairs, return_inverse=True)
        parts = [
            (
                bic,
                side,
                names.words[pair // len(self.currencies.words)],
                self.currencies.words[pair % len(self.currencies.words)],
            )
            for pair in distinct.tolist()
        ]
        return _hashed(_ACCOUNT_DOMAIN, parts)[inverse]

    def accounts(self) -> NDArray[Any]:
        """Records of all accounts that the rows need, each once."""
        ids = np.concatenate([self.own_accounts, self.bank_accounts])
        ledgers = np.concatenate([self.ledgers, self.ledgers])
        _, first = np.unique(ids, return_index=True)
        records = np.zeros(len(first), ACCOUNT)
        records["id"], records["ledger"], records["code"] = ids[np.sort(first)], ledgers[np.sort(first)], _CODE
        return records

    def transfers(self) -> NDArray[Any]:
        """Records of all rows; the value date stands in user_data_32, in days since 1970-01-01."""
        records = np.zeros(len(self.amounts), TRANSFER)
        records["id"] = self.transfer_ids
        records["debit_account_id"] = np.where(self.is_debit, self.own_accounts, self.bank_accounts)
        records["credit_account_id"] = np.where(self.is_debit, self.bank_accounts, self.own_accounts)
        records["amount"]["lo"] = self.amounts
        records["ledger"] = self.ledgers
        records["code"] = _CODE
        records["user_data_32"] = self.table["value_date"].cast(pa.int32()).to_numpy().astype(np.uint32)
        return records

    def totals(self, direction: str, chosen: NDArray[np.bool_]) -> dict[str, int]:
        """Sum of the amounts by currency, over chosen rows of a direction."""
        rows = chosen & (self.is_debit == (direction == "D"))
        return {
            code: sum(self.amounts[rows & (self.currencies.places == place)].tolist())
            for place, code in enumerate(self.currencies.words)
        }


@dataclass(frozen=True, slots=True)
class _Words:
    """A text column as its distinct words and, for each row, the place of its word."""

    words: list[str]
    places: NDArray[np.int64]


def _words(column: pa.ChunkedArray) -> _Words:
    encoded = column.combine_chunks().dictionary_encode()
    return _Words(encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64))


def _hashed(domain: bytes, parts: Sequence[tuple[str, ...]]) -> NDArray[Any]:
    """The first 16 bytes of SHA-256 over domain and parts, each with its length before it, as U128."""
    digests = []
    for part in parts:
        texts = [text.encode() for text in part]
        content = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        digests.append(hashlib.sha256(domain + content).digest()[:16])
    return np.frombuffer(b"".join(digests), U128).copy()


def _bad_rows_csv(export: Export) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("row", "column", "error"))
    for error in export.errors:
        writer.writerow((error.row, error.field or "", error.reason))
    return text.getvalue().encode()


def _ids_csv(rows: _Rows) -> bytes:
    lines = ["row,id,transfer_id"]
    names = rows.table["id"].to_pylist()
    for row, name, number in zip(rows.table["row"].to_pylist(), names, u128_ints(rows.transfer_ids), strict=True):
        quoted = '"' + name.replace('"', '""') + '"'
        lines.append(f"{row},{quoted},{number:032x}")
    return ("\n".join(lines) + "\n").encode()


def _open_ledger(path: Path, bic: str, mapping: Mapping, keys_folder: Path, passphrase: str) -> Ledger:
    if (path / GENESIS_FILE).exists():
        return Ledger.open(path, keys=[_load_keys(keys_folder, bic, passphrase)])
    keys = _load_or_make_keys(keys_folder, bic, passphrase)
    currencies = tuple(
        Currency(int.from_bytes(code.encode()), code, decimals) for code, decimals in sorted(mapping.currencies.items())
    )
    genesis = Genesis(f"Book of {bic}", time.time_ns(), currencies, (keys.institution(),))
    return Ledger.create(path, genesis, keys=[keys])


def _key_paths(folder: Path, bic: str) -> tuple[Path, Path]:
    return folder / f"{bic}.attestation.key", folder / f"{bic}.validator.key"


def _load_keys(folder: Path, bic: str, passphrase: str) -> InstitutionKeys:
    attestation, validator = _key_paths(folder, bic)
    return InstitutionKeys(bic, key_files.load(attestation, passphrase), key_files.load(validator, passphrase))


def _load_or_make_keys(folder: Path, bic: str, passphrase: str) -> InstitutionKeys:
    attestation, validator = _key_paths(make_folder(folder), bic)
    if not attestation.exists():
        key_files.generate(attestation, passphrase)
    if not validator.exists():
        key_files.generate(validator, passphrase, scheme="bls12381-min-sig")
    return _load_keys(folder, bic, passphrase)


def _require_currencies(genesis: Genesis, mapping: Mapping, path: Path) -> None:
    known = {currency.code: currency.decimals for currency in genesis.currencies}
    for code, decimals in mapping.currencies.items():
        if known.get(code) != decimals:
            held = f"{code} with {known[code]} decimals" if code in known else f"no {code}"
            raise InputError(f"expected what the ledger has: {held}", file=path, field=f"currencies.{code}")


def _open_accounts(ledger: Ledger, rows: _Rows, bic: str) -> int:
    """Open the accounts that the book does not have yet; how many."""
    records = rows.accounts()
    _, held = ledger.account_places(np.ascontiguousarray(records["id"]))
    new = records[held == 0]
    if not len(new):
        return 0
    results = ledger.create_accounts(new, institution=bic)
    for code in set(results.tolist()) - {int(CreateAccountResult.CREATED)}:
        raise InputError(f"an account of the export was not opened: {CreateAccountResult(code).name.lower()}")
    return len(new)


def _post(ledger: Ledger, rows: _Rows, bic: str, progress: Progress) -> NDArray[np.uint32]:
    records = rows.transfers()
    size = ledger.genesis.block_transfers_max
    starts = range(0, len(records), size)
    answers = [ledger.submit(records[start : start + size], institution=bic) for start in starts]
    results = []
    for start, answer in zip(starts, answers, strict=True):
        results.append(answer.result().results)
        progress("post", min(start + size, len(records)), len(records))
    ledger.seal()  # so that the newest transfers are final and can be proven
    return np.concatenate([np.empty(0, np.uint32), *results])


def _settle(mapping: Mapping, rows: _Rows, in_book: NDArray[np.bool_]) -> list[settlement.Instruction]:
    """Net what is between the institution (0) and each other bank (from 1); rows without a bank don't settle."""
    source = mapping.columns.counterparty_bank
    no_bank = source.empty if isinstance(source, Cell) else None
    with_bank = np.array([name != no_bank for name in rows.banks] or [False])[rows.bank_places] & in_book
    banks = (rows.bank_places[with_bank] + 1).astype(np.uint32)
    own = np.zeros(len(banks), np.uint32)
    is_debit = rows.is_debit[with_bank]
    netting = Netting(len(rows.banks) + 1)
    payers, payees = np.where(is_debit, own, banks), np.where(is_debit, banks, own)
    netting.add(payers, payees, rows.ledgers[with_bank], rows.amounts[with_bank])
    dates = rows.table["value_date"]
    if not len(dates):
        return []
    return settlement.instructions(netting.positions(), "INGEST", pc.max(dates).as_py(), agent=0)


def _summary(
    export: Export, rows: _Rows, opened: int, results: NDArray[np.uint32], instructions: int, ledger: Ledger
) -> IngestSummary:
    in_book = np.isin(results, _POSTED)
    names_of = Counter(CreateTransferResult(code).name.lower() for code in results.tolist())
    return IngestSummary(
        rows=export.row_count,
        rows_bad=len({error.row for error in export.errors}),
        posted=names_of.pop("created", 0),
        already_posted=names_of.pop("exists", 0),
        refused=dict(sorted(names_of.items())),
        accounts_opened=opened,
        banks=len(rows.banks),
        debits_minor=rows.totals("D", in_book),
        credits_minor=rows.totals("C", in_book),
        settlement_instructions=instructions,
        height=ledger.height,
        block=ledger.tip.hex(),
    )
