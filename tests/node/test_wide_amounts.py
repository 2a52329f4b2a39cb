"""Amounts and totals of more than 38 digits are valid: every read shows them, exactly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ledgers import EUR, JPY, accounts, genesis, members, transfers

import pyledger as pl

pa = pytest.importorskip("pyarrow", reason="rows are Arrow tables")
pq = pytest.importorskip("pyarrow.parquet", reason="exports are written by pyarrow")
from pyledger.ledger.parquet import check_file  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "queries"
SECOND = 10**9
NOON = 1_000_036_800 * SECOND  # 2001-09-09T12:00
DAY = "2001-09-09"
WIDE, WIDEST, PART = 1 << 127, (1 << 128) - 1, 6 * 10**37
VOIDED, EXPIRED = 3 << 126, 10**38
PENDING, VOID = int(pl.TransferFlags.PENDING), int(pl.TransferFlags.VOID_PENDING_TRANSFER)
TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


class Times:
    """A clock that moves a second at each look."""

    def __init__(self):
        self.now_ns = NOON

    def __call__(self):
        self.now_ns += SECOND
        return self.now_ns


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A ledger with the largest amounts and totals there are, posted, pending, voided and expired."""
    keys, clock = members(1), Times()
    folder = tmp_path_factory.mktemp("wide") / "ledger"
    with pl.Ledger.create(folder, genesis(keys), keys=keys, clock=clock) as ledger:
        ledger.create_accounts(accounts([1, 2, 5, 6, 7, 8]))
        ledger.create_accounts(accounts([3, 4], JPY))
        post(ledger, transfers((10, 1, 2, WIDE), (11, 1, 2, 5)))
        post(ledger, transfers((12, 3, 4, PART), (13, 3, 4, PART), ledger=JPY))
        post(ledger, transfers((14, 5, 6, VOIDED), flags=PENDING))
        post(ledger, transfers((15, 0, 0, 0), ledger=0, flags=VOID), pending_id=14, code=0)
        post(ledger, transfers((16, 5, 6, EXPIRED), flags=PENDING), timeout=30)
        post(ledger, transfers((17, 5, 6, EXPIRED), flags=PENDING))
        clock.now_ns += 60 * SECOND
        post(ledger, transfers((18, 7, 8, WIDEST)))
        yield ledger


def post(ledger, records, **fields):
    for name, value in fields.items():
        records[name] = pl.u128_array([value] * len(records)) if name == "pending_id" else value
    assert ledger.post(records).results.tolist() == [0] * len(records)


def exact(table, name):
    return [int.from_bytes(value) for value in table[f"{name}_u128"].to_pylist()]


def narrow(numbers):
    return [number if number < 10**38 else None for number in numbers]


def assert_amounts(table, **columns):
    """Both columns of each amount: the exact one, and the decimal one where there is room."""
    for name, expected in columns.items():
        assert exact(table, name) == expected
        assert table[name].to_pylist() == narrow(expected)
        assert table.schema.field(name).type == pa.decimal128(38, 0)


def test_transfers_hold_amounts_of_any_size(wide):
    assert_amounts(
        wide.transfers().read_all(),
        amount=[WIDE, 5, PART, PART, VOIDED, 0, EXPIRED, EXPIRED, WIDEST],
        posted_amount=[WIDE, 5, PART, PART, 0, 0, 0, 0, WIDEST],
        reserved_amount=[0, 0, 0, 0, VOIDED, 0, EXPIRED, EXPIRED, 0],
        released_amount=[0, 0, 0, 0, 0, VOIDED, 0, 0, 0],
    )
    assert_amounts(wide.transfers_by_id([18, 11]), posted_amount=[WIDEST, 5])


def test_accounts_hold_totals_of_any_size(wide):
    table = wide.accounts()
    numbers = [int.from_bytes(account) for account in table["id"].to_pylist()]
    for name in TOTALS:
        assert_amounts(table, **{name: [getattr(wide.balance(number), name) for number in numbers]})
    assert exact(table, "debits_posted") == [WIDE + 5, 0, 0, 0, WIDEST, 0, 2 * PART, 0]
    assert exact(table, "credits_pending") == [0, 0, 0, EXPIRED, 0, 0, 0, 0]


def test_a_history_holds_amounts_and_totals_of_any_size(wide):
    assert_amounts(wide.history(2), posted_amount=[5, WIDE], credits_posted=[WIDE + 5, WIDE])
    assert_amounts(wide.history(4), posted_amount=[PART, PART], credits_posted=[2 * PART, PART])
    pending = wide.history(5)
    assert pending["kind"].to_pylist() == ["expired", "pending", "pending", "void", "pending"]
    assert_amounts(
        pending,
        reserved_amount=[0, EXPIRED, EXPIRED, 0, VOIDED],
        released_amount=[EXPIRED, 0, 0, VOIDED, 0],
        debits_pending=[EXPIRED, 2 * EXPIRED, EXPIRED, 0, VOIDED],
    )


def test_the_feed_goes_on_behind_an_amount_of_any_size(wide):
    blocks = list(wide.tail(1, wait=0))
    assert [block.height for block in blocks] == list(range(1, wide.height + 1))
    assert [amount for block in blocks for amount in exact(block.transfers, "posted_amount")].count(WIDE) == 1
    assert_amounts(blocks[-1].expired, released_amount=[EXPIRED])


def command(*arguments):
    result = subprocess.run(
        [sys.executable, "-P", "-m", "pyledger.cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command_line_shows_whole_numbers_of_any_size(wide):
    lines = [json.loads(line) for line in command("tail", wide.path, "--wait", "0", "--json").splitlines()]
    posted = [line["posted_amount"] for line in lines if line["type"] == "transfer"]
    assert posted == exact(wide.transfers().read_all(), "posted_amount")
    assert [line["released_amount"] for line in lines if line["type"] == "expired"] == [EXPIRED]
    assert not any(name.endswith("_u128") for line in lines for name in line)
    assert command("tail", wide.path, "--wait", "0").count("height ") == wide.height
    entries = json.loads(command("history", wide.path, "4", "--json"))["entries"]
    assert [entry["credits_posted"] for entry in entries] == [2 * PART, PART]
    assert "newest first" in command("history", wide.path, "4")


def test_an_export_holds_amounts_of_any_size_and_goes_on(wide, tmp_path):
    first = json.loads(command("export", wide.path, tmp_path / "out", "--json"))
    assert (first["last"], first["transfers"]) == (wide.height, 9)
    assert json.loads(command("export", wide.path, tmp_path / "out", "--json"))["files"] == 0
    table = pq.read_table(tmp_path / "out" / "transfers")
    assert table.drop_columns("record").replace_schema_metadata(None).equals(wide.transfers().read_all())
    assert_amounts(pq.read_table(tmp_path / "out" / "expiries"), released_amount=[EXPIRED])
    assert sum(check_file(path) for path in (tmp_path / "out" / "transfers").iterdir()) == 9


@pytest.mark.parametrize("library", ["duckdb", "polars"])
def test_the_examples_sum_amounts_of_any_size_exactly(wide, tmp_path, library):
    pytest.importorskip(library, reason="the example is for it")
    wide.export_parquet(tmp_path)
    for account in (1, 4, 5, 7):
        script = [sys.executable, "-P", EXAMPLES / f"{library}_queries.py", tmp_path, f"{account:032x}", DAY]
        result = subprocess.run(list(map(str, script)), capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        balance, *turnover = result.stdout.splitlines()
        assert balance == " ".join(str(getattr(wide.balance(account), name)) for name in TOTALS)
        euro = WIDE + 5 + WIDEST
        assert turnover == [f"BANKAAXX {JPY} {2 * PART} {2 * PART}", f"BANKAAXX {EUR} {euro} {euro}"]


def test_an_export_of_the_version_before_is_refused_as_that(wide, tmp_path):
    wide.export_parquet(tmp_path)
    chain = tmp_path / "chain.json"
    chain.write_text(chain.read_text().replace('"version": "2"', '"version": "1"'))
    with pytest.raises(pl.InputError, match="columns of an earlier version: expected a new folder"):
        wide.export_parquet(tmp_path)
