"""What a reconciliation gives out: Arrow tables, the list of breaks, the summary."""

import csv
import json

import numpy as np
import pytest
from planted_breaks import numpy_columns, plant

from pyledger.errors import StorageError
from pyledger.reconciliation.breaks import BreakKind
from pyledger.reconciliation.matching import reconcile
from pyledger.reconciliation.report import write_breaks, write_summary


def result_and_breaks():
    ledger, statement, agreeing, breaks = plant(np.random.default_rng(4), [None] * 5 + list(BreakKind) * 2)
    return reconcile(numpy_columns(ledger), numpy_columns(statement)), agreeing, breaks


def test_labels_and_kinds_are_one_to_one():
    assert [BreakKind.from_label(kind.label) for kind in BreakKind] == list(BreakKind)
    assert sorted(BreakKind) == list(range(1, 11))
    with pytest.raises(ValueError, match="expected one of missing_in_statement"):
        BreakKind.from_label("AMOUNT_DIFFERS")


def test_arrow_tables_hold_the_pairs_and_breaks():
    pytest.importorskip("pyarrow", reason="results are given out as Arrow tables")
    result, agreeing, breaks = result_and_breaks()
    table = result.breaks.to_arrow()
    found = [(b["kind"], b["row_ledger"] or 0, tuple(b["rows_statement"]), b["suggested"]) for b in table.to_pylist()]
    assert sorted(found) == breaks
    assert table.column("row_ledger").null_count == 2
    assert table.column("expected").to_pylist() == result.breaks.expected
    pairs = result.pairs_to_arrow()
    exact = [p for p in pairs.to_pylist() if p["rule"] == "exact"]
    assert [(p["row_ledger"], p["row_statement"], "exact", p["suggested"]) for p in exact] == agreeing
    assert {p["evidence"] for p in exact} == {"all fields equal"}
    by_rule = {p["rule"]: p["evidence"] for p in pairs.to_pylist()}
    assert by_rule["value_date"] == "all fields equal but value_date"
    assert by_rule["split"].endswith("the parts sum to the amount")


def test_empty_results_are_empty_tables():
    pytest.importorskip("pyarrow", reason="results are given out as Arrow tables")
    result = reconcile(numpy_columns([]), numpy_columns([]))
    assert result.breaks.to_arrow().num_rows == result.pairs_to_arrow().num_rows == 0


def test_the_list_of_breaks_is_read_back(tmp_path):
    result, _, breaks = result_and_breaks()
    path = tmp_path / "breaks.csv"
    write_breaks(path, result.breaks)
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = [
        (
            row["kind"],
            int(row["row_ledger"] or 0),
            tuple(map(int, row["rows_statement"].split())),
            row["suggested"] == "true",
        )
        for row in rows
    ]
    assert sorted(found) == breaks
    assert [row["expected"] for row in rows] == result.breaks.expected
    assert [row["found"] for row in rows] == result.breaks.found
    assert [row["detail"] for row in rows] == result.breaks.detail
    assert [BreakKind.from_label(row["kind"]) for row in rows] == result.breaks.kind.tolist()


def test_the_summary_is_json(tmp_path):
    result, agreeing, breaks = result_and_breaks()
    write_summary(tmp_path / "summary.json", result)
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert summary == result.summary()
    assert summary["pairs"]["exact"] == len(agreeing)
    assert summary["breaks"] == {kind.label: 2 for kind in BreakKind}
    assert summary["breaks_total"] == len(breaks)


def test_a_failed_write_is_told(tmp_path):
    result, _, _ = result_and_breaks()
    for write, content in ((write_breaks, result.breaks), (write_summary, result)):
        with pytest.raises(StorageError):
            write(tmp_path / "none" / "file", content)
