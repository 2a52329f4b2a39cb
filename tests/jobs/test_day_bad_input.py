"""What a day refuses: a clear message naming file, row and field, a documented exit status, and nothing lost."""

import json
import os
import re
import resource
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from days import copy_day, edit_parquet, redigest
from small_disks import make_room, small_disk

import pyledger as pl
from pyledger.ledger.journal import Journal

BANK = "BANKBBXX"


def run_day(folder, *arguments, **options):
    command = [sys.executable, "-P", "-m", "pyledger.cli", "day", str(folder), "--json", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def replace_cell(name, row, value):
    """An edit that puts a value into one cell (row from 1) and leaves the type."""

    def edit(table):
        place = table.column_names.index(name)
        values = table[name].to_pylist() if name != "submitted_at" else table[name].cast(pa.int64()).to_pylist()
        values[row - 1] = value
        plain = table[name].type.value_type if pa.types.is_dictionary(table[name].type) else table[name].type
        return table.set_column(place, name, pa.array(values, plain))

    return edit


def retype(name, arrow, convert):
    """An edit that gives a column another type."""

    def edit(table):
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array([convert(v) for v in table[name].to_pylist()], arrow))

    return edit


CASES = {
    "missing column": ("transfers", lambda t: t.drop_columns("amount_minor"), r"transfers\.parquet.*'amount_minor'"),
    "unknown column": (
        "transfers",
        lambda t: t.append_column("memo", pa.array(["x"] * t.num_rows)),
        r"transfers\.parquet.*'memo'",
    ),
    "wrong type": ("transfers", retype("amount_minor", pa.string(), str), r"transfers\.parquet.*'amount_minor'"),
    "fractional amount": (
        "transfers",
        retype("amount_minor", pa.float64(), lambda v: v + 0.5),
        r"transfers\.parquet.*'amount_minor'",
    ),
    "negative amount": (
        "transfers",
        replace_cell("amount_minor", 7, -5),
        r"transfers\.parquet, row 7, field 'amount_minor'",
    ),
    "null": ("transfers", replace_cell("code", 3, None), r"transfers\.parquet, row 3, field 'code'"),
    "unknown currency": (
        "transfers",
        replace_cell("currency", 9, "XXX"),
        r"transfers\.parquet, row 9, field 'currency'.*XXX",
    ),
    "time runs back": (
        "transfers",
        replace_cell("submitted_at", 5, 0),
        r"transfers\.parquet, row 5, field 'submitted_at'",
    ),
    "account of no key": ("accounts", replace_cell("key_id", 4, 9999), r"accounts\.parquet, row 4, field 'key_id'"),
    "account twice": (
        "accounts",
        lambda t: pa.concat_tables([t, t.slice(0, 1)]),
        r"accounts\.parquet, row \d+, field 'id'",
    ),
    "key not on the curve": (
        "keys",
        replace_cell("public_key", 2, b"\x02" + bytes(31)),
        r"keys\.parquet, row 2, field 'public_key'",
    ),
    "key that did not agree": (
        "keys",
        replace_cell("proof", 3, bytes(64)),
        r"keys\.parquet, row 3, field 'proof'.*proof of possession",
    ),
    "statement of an unknown bank": (
        "statement",
        replace_cell("counterparty_institution", 6, "BANKZZXX"),
        r"statement\.parquet, row 6, field 'counterparty_institution'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_named_with_row_and_field(day, tmp_path, case):
    table, edit, message = CASES[case]
    folder = copy_day(day, tmp_path / "day")
    edit_parquet(folder / BANK / f"{table}.parquet", edit)
    redigest(folder)
    result = run_day(folder)
    assert (result.returncode, result.stdout) == (3, ""), result.stderr
    assert re.search(message, flat(result.stderr)), result.stderr
    assert "Traceback" not in result.stderr


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_a_truncated_file_is_named(day, tmp_path, keep):
    folder = copy_day(day, tmp_path / "day")
    path = folder / BANK / "transfers.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    redigest(folder)
    result = run_day(folder)
    assert result.returncode == 3, result.stderr
    assert str(path) in result.stderr


def test_a_file_that_differs_from_the_header_is_refused_before_anything_is_posted(day, tmp_path):
    folder = copy_day(day, tmp_path / "day")
    edit_parquet(folder / BANK / "transfers.parquet", lambda table: table.slice(1))
    result = run_day(folder)
    assert result.returncode == 3
    assert "differs from day.json" in result.stderr
    assert not (folder / "out" / "ledger").exists()


def test_a_missing_day_is_named(tmp_path):
    result = run_day(tmp_path / "nothing")
    assert result.returncode == 3
    assert "day.json" in result.stderr


def test_work_before_a_bad_row_stays_and_the_mended_file_goes_on(day, finished_day, tmp_path):
    """A bad amount far down one file: blocks before it stay; with the right file the day ends with the same root."""
    folder = copy_day(day, tmp_path / "day")
    path = folder / BANK / "transfers.parquet"
    right = path.read_bytes()
    table = pq.read_table(path)
    row_group = 1 << 10
    pq.write_table(replace_cell("amount_minor", table.num_rows - 1, -1)(table), path, row_group_size=row_group)
    redigest(folder)
    assert run_day(folder).returncode == 3
    path.write_bytes(right)
    redigest(folder)
    result = run_day(folder)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["final_block"] == finished_day[2].final_block


def test_wrong_signatures_and_foreign_accounts_are_refused_and_the_rest_is_posted(day, tmp_path):
    """Signature of another key, key of another account's owner, account of another institution: codes, not errors."""
    folder = copy_day(day, tmp_path / "day")
    path = folder / BANK / "transfers.parquet"

    def edit(table):
        signatures = table["signature"].to_pylist()
        debits = table["debit_account"].to_pylist()
        accounts = pq.read_table(folder / "BANKCCXX" / "accounts.parquet")["id"].to_pylist()
        signatures[100], signatures[101] = signatures[101], signatures[100]
        debits[102] = accounts[20]
        table = table.set_column(
            table.column_names.index("signature"), "signature", pa.array(signatures, pa.binary(64))
        )
        return table.set_column(
            table.column_names.index("debit_account"), "debit_account", pa.array(debits, pa.binary(16))
        )

    edit_parquet(path, edit)
    redigest(folder)
    result = run_day(folder)
    summary = json.loads(result.stdout)
    assert result.returncode == 1, "the day differs from its truth"
    assert summary["audit"] == "ok"
    refused = (folder / "out" / "refusals.csv").read_text().splitlines()
    for row in (101, 102, 103):
        assert any(line.startswith(f"{BANK},{row},") and line.endswith("signature_invalid") for line in refused)


def test_an_output_that_cannot_be_a_folder_is_named(day, tmp_path):
    (tmp_path / "out").write_text("a file")
    result = run_day(day, "--out", tmp_path / "out")
    assert result.returncode == 4
    assert str(tmp_path / "out") in result.stderr
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("limit", [20_000, 150_000, 600_000])
def test_a_file_system_that_takes_no_more_ends_the_day_and_a_later_run_goes_on(day, finished_day, tmp_path, limit):
    """RLIMIT_FSIZE stands in for a full disk: the write fails in the middle of a block or a report."""
    out = tmp_path / "out"

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    stopped = run_day(day, "--out", out, preexec_fn=limit_files, env=environment)
    assert stopped.returncode == 4, stopped.stderr
    assert "File too large" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    result = run_day(day, "--out", out)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["final_block"] == finished_day[2].final_block


def test_a_full_disk_ends_the_day_and_room_lets_it_go_on(day, finished_day, tmp_path):
    """A real file system without room."""
    with small_disk(tmp_path, "400k") as disk:
        stopped = run_day(day, "--out", disk / "out")
        assert stopped.returncode == 4, stopped.stderr
        assert "No space left on device" in stopped.stderr
        make_room(disk, "64m")
        result = run_day(day, "--out", disk / "out")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["final_block"] == finished_day[2].final_block


def test_a_second_run_beside_a_running_one_is_refused(finished_day):
    day, out, _ = finished_day
    journal = Journal(out / "ledger" / "journal", pl.Ledger.read_genesis(out / "ledger").hash)
    try:
        result = run_day(day, "--out", out)
    finally:
        journal.close()
    assert result.returncode == 4
    assert "another process" in result.stderr
