"""``pyledger sample``: the day files of several institutions, made from a seed, with truth files beside them.

What the ledger must accept, refuse and find is known beforehand and written down (``truth/``), so that a run over the
day can be checked against it, row by row. Same arguments, same bytes (for one version of NumPy and Arrow).
"""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.structs import replace
from numpy.typing import NDArray

from pyledger.crypto.keys import SigningKey, sign_many
from pyledger.crypto.merkle import leaf_hashes
from pyledger.errors import InputError, StorageError
from pyledger.formats.atomic import make_folder
from pyledger.formats.columns import ROWS
from pyledger.formats.day_files import ACCOUNTS, KEYS, TRANSFERS
from pyledger.formats.day_header import DAY_FORMAT, DayHeader, Generator, file_digest, midnight_ns, write_day
from pyledger.formats.money import DEFAULT_CURRENCIES, Currency
from pyledger.formats.statements import BREAKS_TRUTH, REFUSALS_TRUTH, STATEMENT
from pyledger.formats.tables import FileFormat, Table, write_table
from pyledger.jobs.day_genesis import day_genesis
from pyledger.jobs.sample_members import KEY_PASSPHRASE, draw_member, secret, write_key_files
from pyledger.jobs.sample_statements import PlantedBreaks, StatementRows, draw_statement
from pyledger.jobs.sample_traffic import (
    Accounts,
    Outcome,
    RefusalRates,
    Traffic,
    draw_accounts,
    draw_traffic,
    generator,
)
from pyledger.ledger.blocks import transfer_leaves, transfer_messages
from pyledger.ledger.changes import key_proof_messages
from pyledger.types import U128, KeyRole, u128_to_bytes

__all__ = ["RefusalRates", "SampleSummary", "write_sample"]

DEFAULT_DATE = datetime.date(2026, 1, 5)
INSTITUTIONS_MAX = 676

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What ``write_sample`` made.

    Parameters
    ----------
    folder : Path
    institutions, accounts, keys, transfers, statement_rows : int
        Counts over all institutions; `transfers` holds the refused ones too.
    refusals : dict of str to int
        Planted refusals by the name of their result code.
    breaks : dict of str to int
        Planted breaks by label of their kind.
    chain_id : bytes
        16 bytes; what the transfers are signed for.
    size_bytes : int
        Of all files.
    """

    folder: Path
    institutions: int
    accounts: int
    keys: int
    transfers: int
    statement_rows: int
    refusals: dict[str, int]
    breaks: dict[str, int]
    chain_id: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """The arguments of ``write_sample``, checked."""

    folder: Path
    institutions: int
    accounts: int
    transfers: int
    seed: int
    business_date: datetime.date
    accounts_per_key: int
    break_share: float
    refusal_rates: RefusalRates
    file_format: FileFormat
    currencies: tuple[Currency, ...]
    block_transfers_max: int
    progress: Progress
    written: list[str] = field(default_factory=list)

    def check(self) -> None:
        customers_min = max(self.institutions, 2 * len(self.currencies))
        accounts_min = self.institutions * len(self.currencies) + customers_min
        rates = asdict(self.refusal_rates)
        _require(
            1 <= self.institutions <= INSTITUTIONS_MAX, "institutions", f"1 to {INSTITUTIONS_MAX}", self.institutions
        )
        _require(bool(self.currencies), "currencies", "at least one", 0)
        expected = f"at least {accounts_min} (treasuries and customers of {self.institutions} institutions)"
        _require(accounts_min <= self.accounts < 1 << 31, "accounts", expected, self.accounts)
        expected = f"at least {self.accounts}, an opening for each account"
        _require(self.accounts <= self.transfers < 1 << 31, "transfers", expected, self.transfers)
        _require(0 <= self.seed < 1 << 64, "seed", "0 to 2**64 - 1", self.seed)
        _require(self.accounts_per_key >= 1, "accounts_per_key", "1 or more", self.accounts_per_key)
        _require(0 <= self.break_share <= 0.5, "break_share", "0 to 0.5", self.break_share)
        for name, rate in rates.items():
            _require(0 <= rate <= 0.1, name, "a share from 0 to 0.1", rate)
        _require(self.file_format in ("parquet", "csv"), "file_format", "parquet or csv", self.file_format)

    @property
    def midnight_ns(self) -> int:
        return midnight_ns(self.business_date)

    def write(self, name: str, table: Table, columns: Mapping[str, pa.Array]) -> None:
        """Write a table under its name without suffix, and remember it for day.json."""
        path = f"{name}.{self.file_format}"
        make_folder((self.folder / path).parent)
        write_table(self.folder / path, table, columns)
        self.written.append(path)


def write_sample(
    out: str | os.PathLike[str],
    *,
    institutions: int = 5,
    accounts: int = 20_000,
    transfers: int = 1_000_000,
    seed: int = 1,
    business_date: datetime.date = DEFAULT_DATE,
    accounts_per_key: int = 4,
    break_share: float = 0.001,
    refusal_rates: RefusalRates = RefusalRates(),  # noqa: B008 - frozen
    file_format: FileFormat = "parquet",
    currencies: tuple[Currency, ...] = DEFAULT_CURRENCIES,
    block_transfers_max: int = 65_536,
    progress: Progress | None = None,
) -> SampleSummary:
    """Make the day files of several institutions.

    Parameters
    ----------
    out : path
        A folder that is new or empty. ``day.json`` is written last: a folder without it is not whole.
    institutions : int
        1 to 676.
    accounts : int
        Over all institutions, with one treasury for each institution and currency among them.
    transfers : int
        Rows over all transfers files: an opening for each customer, payments, and the refused ones.
    seed : int
        0 to 2**64 - 1. The signing keys follow from it: they are no secrets.
    business_date : datetime.date
        The day.
    accounts_per_key : int
        Customers' accounts for each of their signing keys, on average.
    break_share : float
        Planted breaks for each true statement row, 0 to 0.5; the ten kinds in equal parts.
    refusal_rates : RefusalRates
        Shares of the payments, each 0 to 0.1.
    file_format : {"parquet", "csv"}
    currencies : tuple of Currency
    block_transfers_max : int
        Transfers that a block of the day's chain may hold.
    progress : callable, optional
        Called with stage, done and total ("sign", 4096, 1000000).

    Returns
    -------
    SampleSummary

    Raises
    ------
    InputError
        If an argument is out of range or the folder holds something.
    StorageError
        If a file cannot be written; the folder then has no ``day.json``.

    Notes
    -----
    Memory about 0.6 kB a transfer; time goes into signing (some 50 µs of one core a transfer).
    """
    plan = _Plan(
        Path(out), institutions, accounts, transfers, seed, business_date, accounts_per_key, break_share,
        refusal_rates, file_format, currencies, block_transfers_max, progress or _silent,
    )  # fmt: skip
    plan.check()
    _require_empty(make_folder(plan.folder))
    header = _header(plan)
    chain_id = day_genesis(header).chain_id
    ledgers = [currency.ledger for currency in currencies]
    drawn = draw_accounts(generator(seed, "accounts"), institutions, accounts, ledgers, accounts_per_key)
    traffic = draw_traffic(generator(seed, "traffic"), drawn, transfers, refusal_rates, plan.midnight_ns)
    keys = _signing_keys(seed, drawn)
    signatures = _sign(plan, keys, drawn, traffic, chain_id)
    written = [
        _write_institution(plan, header, keys, drawn, traffic, signatures, index) for index in range(institutions)
    ]
    _write_truth(plan, header, traffic, written)
    return _finish(plan, header, drawn, traffic, written, chain_id)


def _silent(_stage: str, _done: int, _total: int) -> None:
    pass


def _require(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise InputError(f"expected {expected}, got {found!r}", field=name)


def _require_empty(folder: Path) -> None:
    try:
        found = next(folder.iterdir(), None)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if found is not None:
        raise InputError(f"expected a new or empty folder, it holds {found.name}", file=folder)


def _header(plan: _Plan) -> DayHeader:
    parameters: dict[str, int | float | str] = {
        "accounts_per_key": plan.accounts_per_key,
        "break_share": plan.break_share,
        **asdict(plan.refusal_rates),
    }
    return DayHeader(
        format=DAY_FORMAT,
        chain_name=f"Sample day {plan.business_date} from seed {plan.seed}",
        business_date=plan.business_date,
        file_format=plan.file_format,
        currencies=plan.currencies,
        institutions=tuple(draw_member(plan.seed, index) for index in range(plan.institutions)),
        files=(),
        block_transfers_max=plan.block_transfers_max,
        generator=Generator(plan.seed, plan.accounts, plan.transfers, KEY_PASSPHRASE, parameters),
    )


def _signing_keys(seed: int, accounts: Accounts) -> list[SigningKey]:
    """Derive every institution's keys, one institution after the other."""
    return [
        SigningKey.from_seed(secret(seed, "key", institution, key))
        for institution, count in enumerate(accounts.key_counts.tolist())
        for key in range(count)
    ]


def _sign(
    plan: _Plan, keys: list[SigningKey], accounts: Accounts, traffic: Traffic, chain_id: bytes
) -> NDArray[np.uint8]:
    """Sign every transfer with its signer's key; damage the signatures that shall not hold."""
    count = len(traffic.records)
    first_key = np.cumsum(accounts.key_counts) - accounts.key_counts
    signatures = sign_many(
        keys,
        first_key[traffic.institutions] + traffic.key_ids,
        transfer_messages(traffic.records, leaf_hashes(transfer_leaves(chain_id, traffic.records))),
        progress=lambda done: plan.progress("sign", done, count),
    )
    rng = generator(plan.seed, "damage")
    damaged = np.flatnonzero(traffic.outcomes == Outcome.SIGNATURE_DAMAGED)
    places = rng.integers(0, 64, len(damaged))
    signatures[damaged, places] ^= rng.integers(1, 256, len(damaged), np.uint8)
    return signatures


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of one institution: the global indices of its transfers, and its statement."""

    places: NDArray[np.int64]
    statement_rows: int
    breaks: PlantedBreaks


def _write_institution(
    plan: _Plan,
    header: DayHeader,
    keys: list[SigningKey],
    accounts: Accounts,
    traffic: Traffic,
    signatures: NDArray[np.uint8],
    index: int,
) -> _Written:
    bic = header.institutions[index].bic
    first_key = int(accounts.key_counts[:index].sum())
    own_keys = keys[first_key : first_key + int(accounts.key_counts[index])]
    plan.write(f"{bic}/keys", KEYS, _key_columns(own_keys, day_genesis(header).chain_id, index))
    plan.write(
        f"{bic}/accounts", ACCOUNTS, _account_columns(plan, accounts, np.flatnonzero(accounts.institutions == index))
    )
    places = np.flatnonzero(traffic.institutions == index)
    plan.write(f"{bic}/transfers", TRANSFERS, _transfer_columns(plan, accounts, traffic, signatures, places))
    rng = generator(plan.seed, f"statement {index}")
    rows, breaks = draw_statement(rng, accounts, traffic, index, plan.break_share)
    plan.write(f"{bic}/statement", STATEMENT, _statement_columns(plan, header, accounts, rows))
    plan.written.extend(write_key_files(plan.folder, plan.seed, header.institutions[index]))
    plan.progress("write", index + 1, plan.institutions)
    return _Written(places, len(rows.amounts), breaks)


def _key_columns(keys: list[SigningKey], chain_id: bytes, institution: int) -> dict[str, pa.Array]:
    public_keys = np.frombuffer(b"".join(key.public_key for key in keys), np.uint8).reshape(-1, 32)
    messages = key_proof_messages(chain_id, institution, int(KeyRole.HOLDER), public_keys)
    proofs = sign_many(keys, np.arange(len(keys)), messages)
    return {
        "key_id": pa.array(range(len(keys)), pa.uint32()),
        "public_key": pa.array(list(map(bytes, public_keys)), pa.binary(32)),
        "proof": pa.array(list(map(bytes, proofs)), pa.binary(64)),
    }


def _account_columns(plan: _Plan, accounts: Accounts, places: NDArray[np.int64]) -> dict[str, pa.Array]:
    records = accounts.records[places]
    return {
        "id": _fixed(records["id"]),
        "currency": _words(accounts.currencies[places], [currency.code for currency in plan.currencies]),
        "key_id": pa.array(accounts.key_ids[places].astype(np.uint32)),
        "code": pa.array(records["code"]),
        "flags": pa.array(records["flags"]),
    }


def _transfer_columns(
    plan: _Plan, accounts: Accounts, traffic: Traffic, signatures: NDArray[np.uint8], places: NDArray[np.int64]
) -> dict[str, pa.Array]:
    records = traffic.records[places]
    currencies = accounts.currencies[traffic.debit_accounts[places]]
    return {
        "id": _fixed(records["id"]),
        "debit_account": _fixed(records["debit_account_id"]),
        "credit_account": _fixed(records["credit_account_id"]),
        "currency": _words(currencies, [currency.code for currency in plan.currencies]),
        "amount_minor": pa.array(records["amount"]["lo"].astype(np.int64)),
        "code": pa.array(records["code"]),
        "flags": pa.array(records["flags"]),
        "key_id": pa.array(traffic.key_ids[places].astype(np.uint32)),
        "submitted_at": pa.array(traffic.submitted_at[places]).cast(pa.timestamp("ns", "UTC")),
        "signature": _fixed(signatures[places]),
    }


def _statement_columns(plan: _Plan, header: DayHeader, accounts: Accounts, rows: StatementRows) -> dict[str, pa.Array]:
    day = (plan.business_date - datetime.date(1970, 1, 1)).days
    bics = [member.bic for member in header.institutions]
    return {
        "row": pa.array(np.arange(1, len(rows.amounts) + 1, dtype=np.uint32)),
        "value_date": pa.array((day + rows.days).astype(np.int32)).cast(pa.date32()),
        "reference": _fixed(rows.references),
        "account": _fixed(accounts.records["id"][rows.accounts]),
        "counterparty_institution": _words(accounts.institutions[rows.counterparty_accounts], bics),
        "counterparty_account": _fixed(accounts.records["id"][rows.counterparty_accounts]),
        "currency": _words(rows.currencies, [currency.code for currency in plan.currencies]),
        "direction": _words(rows.is_debit, ["C", "D"]),
        "amount_minor": pa.array(rows.amounts),
    }


def _write_truth(plan: _Plan, header: DayHeader, traffic: Traffic, written: list[_Written]) -> None:
    bics = [member.bic for member in header.institutions]
    kinds = [kind.label for part in written for kind in part.breaks.kinds]
    plan.write(
        "truth/breaks",
        BREAKS_TRUTH,
        {
            "institution": _words(np.repeat(np.arange(len(bics)), [len(part.breaks.kinds) for part in written]), bics),
            "kind": pa.array(kinds, pa.string()).dictionary_encode(),
            "statement_rows": pa.array([rows for part in written for rows in part.breaks.statement_rows], ROWS.arrow),
            "transfer_id": _fixed(np.concatenate([part.breaks.transfer_ids for part in written])),
        },
    )
    refused = [part.places[~traffic.takes_effect[part.places]] for part in written]
    rows = [1 + np.flatnonzero(~traffic.takes_effect[part.places]) for part in written]
    places = np.concatenate(refused)
    results = [Outcome(outcome).result for outcome in traffic.outcomes[places].tolist()]
    plan.write(
        "truth/refusals",
        REFUSALS_TRUTH,
        {
            "institution": _words(traffic.institutions[places], bics),
            "row": pa.array(np.concatenate(rows).astype(np.uint32)),
            "transfer_id": _fixed(traffic.records["id"][places]),
            "result": pa.array(results, pa.string()).dictionary_encode(),
        },
    )


def _finish(
    plan: _Plan, header: DayHeader, accounts: Accounts, traffic: Traffic, written: list[_Written], chain_id: bytes
) -> SampleSummary:
    digests = tuple(file_digest(plan.folder / path, path) for path in sorted(plan.written))
    write_day(plan.folder, replace(header, files=digests))
    results = Counter(Outcome(outcome).result for outcome in traffic.outcomes[~traffic.takes_effect].tolist())
    labels = Counter(kind.label for part in written for kind in part.breaks.kinds)
    return SampleSummary(
        plan.folder,
        plan.institutions,
        len(accounts.records),
        int(accounts.key_counts.sum()),
        len(traffic.records),
        sum(part.statement_rows for part in written),
        dict(sorted(results.items())),
        dict(sorted(labels.items())),
        chain_id,
        sum(entry.size_bytes for entry in digests),
    )


def _fixed(values: NDArray[Any]) -> pa.Array:
    """Turn ids (U128) or rows of bytes into fixed-width Arrow bytes."""
    rows = u128_to_bytes(values) if values.dtype == U128 else np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(rows)])


def _words(indices: NDArray[Any], words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(indices.astype(np.int32), pa.array(words, pa.string()))
