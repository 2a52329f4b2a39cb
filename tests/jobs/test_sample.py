"""A sample day is what its truth files say, found out by plain Python over its files."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pyledger.crypto import keys
from pyledger.errors import InputError, StorageError
from pyledger.formats.day_files import iter_transfers, read_accounts, read_keys
from pyledger.formats.day_header import read_day
from pyledger.formats.merge import concatenate, merge_transfers
from pyledger.formats.money import Currency
from pyledger.formats.statements import read_statement
from pyledger.jobs.day_genesis import day_genesis
from pyledger.jobs.sample import RefusalRates, write_sample
from pyledger.reconciliation.breaks import BreakKind

MANY_REFUSALS = RefusalRates(0.02, 0.02, 0.02, 0.02)
DATE = datetime.date(2026, 1, 5)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "day"
    summary = write_sample(
        folder, institutions=4, accounts=80, transfers=3000, seed=7, break_share=0.05, refusal_rates=MANY_REFUSALS
    )
    return folder, summary


def rows_of(path: Path) -> list[dict]:
    table = pq.read_table(path)
    return table.drop_columns([name for name in ("submitted_at",) if name in table.column_names]).to_pylist()


def times_of(path: Path) -> list[int]:
    return pq.read_table(path, columns=["submitted_at"])["submitted_at"].cast("int64").to_pylist()


def record_of(row: dict, ledgers: dict[str, int]) -> bytes:
    """Lay out the 128 bytes of a transfer by hand."""
    return (
        row["id"][::-1] + row["debit_account"][::-1] + row["credit_account"][::-1]
        + row["amount_minor"].to_bytes(16, "little")
        + bytes(16 + 16 + 8 + 4 + 4) + ledgers[row["currency"]].to_bytes(4, "little")
        + row["code"].to_bytes(2, "little") + row["flags"].to_bytes(2, "little") + bytes(8)
    )  # fmt: skip


class PlainBook:
    """The rules of the ledger for a sample's transfers, one by one."""

    def __init__(self, folder: Path) -> None:
        header = read_day(folder)
        self.ledgers = {currency.code: currency.ledger for currency in header.currencies}
        self.chain_id = day_genesis(header).chain_id
        self.accounts: dict[bytes, dict] = {}
        self.keys: dict[tuple[str, int], bytes] = {}
        self.balances: Counter[bytes] = Counter()
        self.seen: dict[bytes, dict] = {}
        self.bics = [member.bic for member in header.institutions]
        self.submissions = []
        for index, bic in enumerate(self.bics):
            for row in rows_of(folder / bic / "accounts.parquet"):
                self.accounts[row["id"]] = row | {"institution": bic}
            for row in rows_of(folder / bic / "keys.parquet"):
                self.keys[bic, row["key_id"]] = row["public_key"]
            path = folder / bic / "transfers.parquet"
            for number, (time, row) in enumerate(zip(times_of(path), rows_of(path), strict=True), 1):
                self.submissions.append((time, index, number, row))
        self.submissions.sort(key=lambda entry: entry[:3])

    def result(self, bic: str, row: dict) -> str:
        leaf = hashlib.sha256(b"\0" + self.chain_id + record_of(row, self.ledgers)).digest()
        key = Ed25519PublicKey.from_public_bytes(self.keys[bic, row["key_id"]])
        try:
            key.verify(row["signature"], b"pyledger/tx/v1\0" + leaf)
        except InvalidSignature:
            return "signature_invalid"
        debit, credit = self.accounts.get(row["debit_account"]), self.accounts.get(row["credit_account"])
        if debit is None:
            return "debit_account_not_found"
        if (debit["institution"], debit["key_id"]) != (bic, row["key_id"]):
            return "signer_not_authorised"
        if credit is None:
            return "credit_account_not_found"
        assert debit["currency"] == credit["currency"] == row["currency"]
        if row["id"] in self.seen:
            same = self.seen[row["id"]]["amount_minor"] == row["amount_minor"]
            return "exists" if same else "exists_with_different_amount"
        if debit["flags"] and self.balances[row["debit_account"]] < row["amount_minor"]:
            return "exceeds_credits"
        return "created"

    def run(self) -> dict[tuple[str, int], tuple[str, bytes]]:
        """Post every submission; return the result and id of those refused, by institution and row."""
        refused = {}
        for _, index, number, row in self.submissions:
            bic = self.bics[index]
            result = self.result(bic, row)
            if result != "created":
                refused[bic, number] = (result, row["id"])
                continue
            self.seen[row["id"]] = row
            self.balances[row["debit_account"]] -= row["amount_minor"]
            self.balances[row["credit_account"]] += row["amount_minor"]
        return refused


@pytest.fixture(scope="module")
def book(day):
    folder, _ = day
    book = PlainBook(folder)
    return book, book.run()


def test_refusals_are_exactly_the_planted_ones(day, book):
    folder, summary = day
    truth = {
        (row["institution"], row["row"]): (row["result"], row["transfer_id"])
        for row in rows_of(folder / "truth" / "refusals.parquet")
    }
    _, refused = book
    assert refused == truth
    assert Counter(result for result, _ in truth.values()) == summary.refusals
    assert len(summary.refusals) == 7
    assert min(summary.refusals.values()) >= 25


def test_every_kind_of_transfer_stays_within_its_account(day, book):
    plain, _ = book
    treasuries = {account for account, row in plain.accounts.items() if row["flags"] == 0}
    assert len(treasuries) == 4 * 3
    assert all(plain.balances[account] >= 0 for account in plain.accounts if account not in treasuries)
    for currency in plain.ledgers:
        assert (
            sum(plain.balances[account] for account, row in plain.accounts.items() if row["currency"] == currency) == 0
        )


def true_statement(plain: PlainBook, bic: str) -> list[tuple]:
    """Book what took effect between an institution and others, as its statement should."""
    rows = []
    for row in plain.seen.values():
        debit, credit = (plain.accounts[row[side]] for side in ("debit_account", "credit_account"))
        if debit["institution"] == credit["institution"]:
            continue
        for direction, own, other in (("D", debit, credit), ("C", credit, debit)):
            if own["institution"] == bic:
                rows.append(
                    (
                        row["id"], own["id"], other["institution"], other["id"],
                        row["currency"], direction, row["amount_minor"], DATE,
                    )
                )  # fmt: skip
    return rows


def statement_rows(folder: Path, bic: str) -> list[tuple]:
    names = (
        "reference", "account", "counterparty_institution", "counterparty_account",
        "currency", "direction", "amount_minor", "value_date",
    )  # fmt: skip
    return [tuple(row[name] for name in names) for row in rows_of(folder / bic / "statement.parquet")]


FIELDS_CHANGED = {
    "amount_differs": {6},
    "currency_differs": {4},
    "value_date_differs": {7},
    "reference_differs": {0},
    "account_differs": {1},
    "direction_reversed": {5},
}


def check_break(kind: str, true_row: tuple | None, shown: list[tuple]) -> None:
    """Check that the statement's rows differ from the true row in the way that the kind says, and in no other."""
    if kind == "missing_in_statement":
        assert shown == []
    elif kind == "missing_in_ledger":
        assert true_row is None
        assert len(shown) == 1
    elif kind == "duplicate_in_statement":
        assert shown == [true_row]
    elif kind == "split_in_statement":
        assert len(shown) == 2
        assert sum(row[6] for row in shown) == true_row[6]
        assert all(row[6] > 0 and row[:6] + row[7:] == true_row[:6] + true_row[7:] for row in shown)
    else:
        (row,) = shown
        assert {place for place in range(8) if row[place] != true_row[place]} == FIELDS_CHANGED[kind]
        assert row[6] > 0


@pytest.mark.parametrize("index", range(4))
def test_statement_differs_from_the_book_in_the_planted_breaks_alone(day, book, index):
    folder, _ = day
    plain, _ = book
    bic = plain.bics[index]
    expected = true_statement(plain, bic)
    by_id = {row[0]: row for row in expected}
    shown = statement_rows(folder, bic)
    breaks = [row for row in rows_of(folder / "truth" / "breaks.parquet") if row["institution"] == bic]
    assert breaks
    touched_ids, touched_rows = [], []
    for entry in breaks:
        rows = [shown[number - 1] for number in entry["statement_rows"]]
        check_break(entry["kind"], by_id.get(entry["transfer_id"]), rows)
        touched_ids.append(entry["transfer_id"])
        touched_rows += entry["statement_rows"]
    named = [transfer_id for transfer_id in touched_ids if transfer_id != bytes(16)]
    assert len(set(named)) == len(named), "at most one break a transfer side"
    assert len(set(touched_rows)) == len(touched_rows)
    repeated = {entry["transfer_id"] for entry in breaks if entry["kind"] == "duplicate_in_statement"}
    rest = [row for number, row in enumerate(shown, 1) if number not in set(touched_rows)]
    assert sorted(rest) == sorted(row for row in expected if row[0] not in set(named) - repeated)


def test_breaks_are_of_all_ten_kinds_in_like_numbers(day):
    folder, summary = day
    assert set(summary.breaks) == {kind.label for kind in BreakKind}
    assert max(summary.breaks.values()) - min(summary.breaks.values()) <= 4
    true_rows = sum(len(statement_rows(folder, bic)) for bic in ("BANKAAXX", "BANKBBXX", "BANKCCXX", "BANKDDXX"))
    assert sum(summary.breaks.values()) == pytest.approx(0.05 * true_rows, rel=0.05)


def test_traffic_has_hot_accounts_and_long_tailed_amounts(day, book):
    plain, _ = book
    payments = [row for row in plain.seen.values() if row["code"] == 2]
    paid = sorted(Counter(row["credit_account"] for row in payments).values(), reverse=True)
    assert paid[0] > 5 * paid[len(paid) // 2]
    amounts = sorted(row["amount_minor"] for row in payments)
    median = amounts[len(amounts) // 2]
    assert 3000 < median < 6500
    assert sum(amounts) / len(amounts) > 1.6 * median
    hours = Counter((time // (3600 * 10**9)) % 24 for time, _, _, row in plain.submissions if row["code"] == 2)
    assert set(hours) <= set(range(6, 21))
    assert hours[9] > 1.5 * hours[12] < hours[15]


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_day_is_read_back_by_the_strict_readers(tmp_path, file_format):
    folder = tmp_path / "day"
    summary = write_sample(folder, institutions=3, accounts=40, transfers=500, file_format=file_format)
    header = read_day(folder)
    header.verify_files(folder)
    bics = [member.bic for member in header.institutions]
    accounts = statement = 0
    for index in range(3):
        table = read_keys(folder / header.table_path(index, "keys"))
        accounts += len(read_accounts(folder / header.table_path(index, "accounts"), header.ledgers, table).records)
        path = folder / header.table_path(index, "statement")
        statement += read_statement(path, list(header.ledgers), bics).num_rows
    sources = [
        iter_transfers(folder / header.table_path(index, "transfers"), header.ledgers, institution=index)
        for index in range(3)
    ]
    merged = concatenate(list(merge_transfers(sources)))
    assert (len(merged), accounts, statement) == (summary.transfers, summary.accounts, summary.statement_rows)
    assert (summary.transfers, summary.accounts) == (500, 40)


def test_csv_and_parquet_hold_the_same_day(tmp_path):
    merged = []
    for file_format in ("parquet", "csv"):
        folder = tmp_path / file_format
        write_sample(folder, institutions=2, accounts=20, transfers=200, file_format=file_format)
        header = read_day(folder)
        sources = [
            iter_transfers(folder / header.table_path(index, "transfers"), header.ledgers, institution=index)
            for index in range(2)
        ]
        merged.append(concatenate(list(merge_transfers(sources))))
    assert merged[0].records.tobytes() == merged[1].records.tobytes()
    assert merged[0].signatures.tobytes() == merged[1].signatures.tobytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_same_arguments_give_the_same_bytes(tmp_path, file_format):
    folders = [tmp_path / name for name in ("first", "second", "other seed")]
    for folder, seed in zip(folders, (3, 3, 4), strict=True):
        write_sample(
            folder,
            institutions=2,
            accounts=20,
            transfers=300,
            seed=seed,
            file_format=file_format,
            break_share=0.1,
            refusal_rates=MANY_REFUSALS,
        )
    first, second, other = map(contents, folders)
    assert first == second
    assert first.keys() == other.keys()
    assert [name for name in first if first[name] == other[name]] == []


def test_known_seed_gives_the_known_day(tmp_path):
    folder = tmp_path / "day"
    write_sample(folder, institutions=2, accounts=20, transfers=100, file_format="csv")
    digest = hashlib.sha256((folder / "BANKAAXX" / "statement.csv").read_bytes()).hexdigest()
    assert digest == "9069559aedca4edbcd62bc55fdce6c2167c8252b68049fbb27b4b8c5aaf62d28"


def test_key_files_open_with_the_published_passphrase(day):
    folder, _ = day
    header = read_day(folder)
    passphrase = header.generator.key_passphrase
    for member in header.institutions:
        validator = keys.load(folder / "validators" / f"{member.bic}.key", passphrase)
        attestation = keys.load(folder / "validators" / f"{member.bic}.attestation.key", passphrase)
        assert validator.public_key.hex() == member.validator_key
        assert validator.proof_of_possession.hex() == member.proof_of_possession
        assert attestation.public_key.hex() == member.attestation_key


def test_one_currency_and_one_institution_are_enough(tmp_path):
    summary = write_sample(
        tmp_path / "day", institutions=1, accounts=6, transfers=60, currencies=(Currency(756, "CHF", 2),)
    )
    assert (summary.statement_rows, summary.breaks) == (0, {})


def test_largest_list_of_institutions_has_distinct_names(tmp_path):
    from pyledger.jobs.sample_members import bic_of

    names = [bic_of(index) for index in range(676)]
    assert len(set(names)) == 676
    assert names[:2] == ["BANKAAXX", "BANKBBXX"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"institutions": 0}, "institutions"),
        ({"institutions": 677}, "institutions"),
        ({"accounts": 19, "transfers": 100}, "accounts"),
        ({"accounts": 100, "transfers": 99}, "transfers"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"break_share": 0.6}, "break_share"),
        ({"break_share": float("nan")}, "break_share"),
        ({"refusal_rates": RefusalRates(bad_signature=0.2)}, "bad_signature"),
        ({"accounts_per_key": 0}, "accounts_per_key"),
        ({"file_format": "xml"}, "file_format"),
        ({"currencies": ()}, "currencies"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(tmp_path, arguments, field):
    with pytest.raises(InputError) as caught:
        write_sample(tmp_path / "day", **arguments)
    assert caught.value.field == field
    assert not (tmp_path / "day").exists()


def test_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match=r"expected a new or empty folder, it holds mine\.txt"):
        write_sample(tmp_path, accounts=100, transfers=200)
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/day: folder cannot be made"):
        write_sample(tmp_path / "file" / "day", accounts=100, transfers=200)


def test_interrupted_sample_is_not_taken_for_whole(tmp_path):
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "write" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "day", accounts=100, transfers=200, progress=stop)
    with pytest.raises(InputError, match=r"not a day folder: day\.json is missing"):
        read_day(tmp_path / "day")


def test_progress_ends_at_the_total_of_every_stage(tmp_path):
    seen = {}

    def note(stage: str, done: int, total: int) -> None:
        seen[stage] = (done, total)

    write_sample(tmp_path / "day", accounts=100, transfers=200, progress=note)
    assert seen == {"sign": (200, 200), "write": (5, 5)}
