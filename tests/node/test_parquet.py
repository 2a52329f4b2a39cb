"""Parquet exports: the ledger's rows, whole files only, going on where they stopped; and what queries make of them."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ledgers import accounts, genesis, members, transfers
from traffic import ACCOUNTS, SECOND, Clock, Traffic

import pyledger as pl

pa = pytest.importorskip("pyarrow", reason="exports are Arrow tables")
pq = pytest.importorskip("pyarrow.parquet", reason="exports are written by pyarrow")
from pyledger.ledger.parquet import check_file  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "queries"
DAY = 86_400 * SECOND


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """A ledger of two banks with three days of traffic."""
    keys, clock = members(2), Clock()
    with pl.Ledger.create(tmp_path_factory.mktemp("days") / "ledger", genesis(keys), keys=keys, clock=clock) as ledger:
        traffic = Traffic(ledger, clock, 5)
        traffic.open_accounts()
        for _ in range(3):
            traffic.post(25)
            clock.now_ns += DAY
        ledger.seal()
        yield ledger


@pytest.fixture(scope="module")
def exported(days, tmp_path_factory):
    """Its export, in files of seven blocks."""
    folder = tmp_path_factory.mktemp("export") / "out"
    days.export_parquet(folder, blocks_per_file=7)
    return folder


def ranges(folder, table="transfers"):
    return sorted(tuple(int(part) for part in path.stem.split("-")) for path in (folder / table).glob("*.parquet"))


def rows_of(folder, table="transfers"):
    return pq.read_table(folder / table)


def test_the_rows_are_those_of_the_ledger(days, exported):
    table = rows_of(exported)
    assert table.drop_columns("record").replace_schema_metadata(None).equals(days.transfers().read_all())
    records = [bytes(record) for height in range(1, days.height + 1) for record in days.block(height).body.transfers]
    assert table["record"].to_pylist() == records
    assert rows_of(exported, "accounts").num_rows == len(ACCOUNTS)
    expired = [block.expired for block in days.tail(wait=0)]
    assert rows_of(exported, "expiries").num_rows == sum(batch.num_rows for batch in expired) > 10


def test_files_name_chain_blocks_and_roots_and_can_be_checked(days, exported):
    checked = 0
    for low, high in ranges(exported):
        path = exported / "transfers" / f"{low:012d}-{high:012d}.parquet"
        metadata = pq.read_schema(path).metadata
        headers = [days.header(height) for height in range(low, high + 1)]
        assert metadata[b"chain_id"].decode() == days.genesis.chain_id.hex()
        assert json.loads(metadata[b"block_hashes"]) == [header.hash.hex() for header in headers]
        assert json.loads(metadata[b"transfers_roots"]) == [header.transfers_root.hex() for header in headers]
        checked += check_file(path)
    assert checked == days.transfers().read_all().num_rows
    assert json.loads((exported / "chain.json").read_text())["institutions"] == ["BANKAAXX", "BANKBBXX"]


@pytest.mark.parametrize("damage", ["record", "dropped", "header"])
def test_a_file_that_was_changed_does_not_pass_the_check(days, tmp_path, damage):
    days.export_parquet(tmp_path, (1, 30), blocks_per_file=30)
    path = next((tmp_path / "transfers").iterdir())
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    heights = table["height"].to_numpy()
    if damage == "record":
        place = len(table) // 2
        records = table["record"].to_pylist()
        changed = np.frombuffer(records[place], pl.TRANSFER).copy()
        changed["amount"]["lo"] += 1
        records[place] = changed.tobytes()
        column = table.schema.get_field_index("record")
        field = table.schema.field("record")
        table = table.set_column(column, field, [pa.array(records, field.type)])
        expected = f"block {heights[place]}: field 'transfers_root'"
    elif damage == "dropped":
        table, heights = table.slice(0, len(table) - 1), heights[:-1]
        expected = f"block {heights[-1]}"
    else:
        hashes = json.loads(metadata[b"block_hashes"])
        hashes[3] = "00" * 32
        metadata[b"block_hashes"] = json.dumps(hashes)
        expected = "a header does not have the hash"
    with pq.ParquetWriter(path, table.schema.with_metadata(metadata)) as writer:
        for height in np.unique(heights):
            rows = np.flatnonzero(heights == height)
            writer.write_table(table.replace_schema_metadata(metadata).slice(rows[0], len(rows)))
    with pytest.raises(pl.ProofError, match=expected):
        check_file(path)


def test_an_export_goes_on_as_the_ledger_grows(tmp_path):
    keys = members(1)
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        ledger.create_accounts(accounts([1, 2]))
        for number in range(9):
            ledger.post(transfers((100 + number, 1, 2, 5)))
            exported = ledger.export_parquet(tmp_path / "out", blocks_per_file=3) if number % 4 == 0 else None
        assert exported == type(exported)(1, 10, 6, 4)
        assert ledger.export_parquet(tmp_path / "out").files == 0
        assert ranges(tmp_path / "out") == [(1, 2), (3, 5), (6, 6), (7, 9), (10, 10)]
        assert rows_of(tmp_path / "out")["height"].to_pylist() == list(range(2, 11))


def test_an_export_that_was_stopped_leaves_whole_files_and_goes_on(days, exported, tmp_path):
    class Stop(Exception):
        pass

    for stop_at in (5, 7, 16, 40):

        def progress(height, stop_at=stop_at):
            if height == stop_at:
                raise Stop

        with pytest.raises(Stop):
            days.export_parquet(tmp_path, blocks_per_file=7, progress=progress)
        for table in ("transfers", "accounts", "expiries"):
            assert [path.name for path in (tmp_path / table).iterdir() if path.suffix != ".parquet"] == []
            assert len(ranges(tmp_path, table)) == (stop_at - 1) // 7
    days.export_parquet(tmp_path, blocks_per_file=7)
    for table in ("transfers", "accounts", "expiries"):
        assert rows_of(tmp_path, table).equals(rows_of(exported, table))


def test_what_a_kill_left_of_an_unfinished_range_is_replaced(days, exported, tmp_path):
    days.export_parquet(tmp_path, (1, 14), blocks_per_file=7)
    (tmp_path / "transfers" / "000000000008-000000000014.parquet").unlink()
    (tmp_path / "transfers" / ".000000000008-000000000014.parquet.ab12cd34.tmp").write_bytes(b"half")
    days.export_parquet(tmp_path, blocks_per_file=9)
    for table in ("transfers", "accounts", "expiries"):
        assert ranges(tmp_path, table)[:3] == [(1, 7), (8, 16), (17, 25)]
        assert rows_of(tmp_path, table).equals(rows_of(exported, table))
    assert [path.name for path in (tmp_path / "transfers").glob(".*")] == []


def test_a_folder_with_something_else_is_refused(days, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(pl.InputError, match="not empty"):
        days.export_parquet(tmp_path / "mine")
    days.export_parquet(tmp_path / "part", (4, 6))
    with pytest.raises(pl.InputError, match="expected a file from height 1 on"):
        days.export_parquet(tmp_path / "part")
    keys = members(1)
    with (
        pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as other,
        pytest.raises(pl.InputError, match="another chain"),
    ):
        other.export_parquet(tmp_path / "part")
    with pytest.raises(pl.InputError, match="height: expected"):
        days.export_parquet(tmp_path / "far", (1, days.height + 1))
    with pytest.raises(pl.InputError, match="blocks_per_file"):
        days.export_parquet(tmp_path / "none", blocks_per_file=0)


@pytest.mark.parametrize("library", ["duckdb", "polars"])
def test_the_examples_answer_what_the_ledger_answers(days, exported, library):
    pytest.importorskip(library, reason="the example is for it")
    dates = [datetime.date(2001, 9, 9) + datetime.timedelta(days=day) for day in range(3)]
    for account, date in ((1, dates[0]), (6, dates[1]), (12, dates[2])):
        end = datetime.datetime.combine(date + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
        balance = days.balance(account, time_ns=int(end.timestamp()) * SECOND - 1)
        lines = run_example(library, exported, f"{account:032x}", str(date))
        named = (balance.debits_pending, balance.debits_posted, balance.credits_pending, balance.credits_posted)
        assert lines[0] == " ".join(map(str, named))
        assert lines[1:] == [" ".join(map(str, row)) for row in turnover_of(days)]
    assert days.balance(1) != days.balance(1, time_ns=int(end.timestamp()) * SECOND - 2 * DAY)


def run_example(library, *arguments):
    command = [sys.executable, "-P", str(EXAMPLES / f"{library}_queries.py"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def turnover_of(ledger):
    """(BIC, ledger, debits, credits) from the accounts' totals."""
    sums = {}
    for row in range((table := ledger.accounts()).num_rows):
        key = (table["institution"][row].as_py(), table["ledger"][row].as_py())
        debits, credits = (int(table[name][row].as_py()) for name in ("debits_posted", "credits_posted"))
        before = sums.get(key, (0, 0))
        sums[key] = (before[0] + debits, before[1] + credits)
    names = [institution.bic for institution in ledger.genesis.institutions]
    return [(names[index], currency, *sides) for (index, currency), sides in sorted(sums.items())]
