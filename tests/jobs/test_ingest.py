"""Bank exports posted as attested batches: once, whole, netted, and refused with file, row and column."""

import csv
from pathlib import Path

import pytest

import pyledger as pl
from pyledger.jobs.ingest import ingest_export

EXPORTS = Path(__file__).resolve().parents[2] / "examples" / "exports"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Key files that open quickly; ingest makes slower ones where there are none."""
    folder = tmp_path_factory.mktemp("keys")
    pl.keys.generate(folder / "BANKAAXX.attestation.key", "a passphrase", work_factor=14)
    pl.keys.generate(folder / "BANKAAXX.validator.key", "a passphrase", scheme="bls12381-min-sig", work_factor=14)
    return folder


@pytest.fixture
def ingest(tmp_path, keys):
    def run(export, mapping, **options):
        return ingest_export(export, mapping, tmp_path / "ledger", "BANKAAXX", keys, "a passphrase", **options)

    return run


def orders():
    with (EXPORTS / "orders.tsv").open() as file:
        return [[cell.strip() for cell in row] for row in csv.reader(file, delimiter="\t")]


def minor(text):
    """Amounts of orders.tsv: tens of crowns with two decimals, so a hundredth is ten hellers."""
    whole, _, fraction = text.partition(".")
    return (int(whole or 0) * 100 + int(fraction.ljust(2, "0") or 0)) * 10


def test_orders_are_posted_and_netted_by_bank(ingest, tmp_path):
    summary = ingest(EXPORTS / "orders.tsv", EXPORTS / "orders.toml", settlement_path=tmp_path / "net.csv")
    rows = orders()
    assert (summary.rows, summary.posted, summary.rows_bad, summary.refused) == (len(rows), len(rows), 0, {})
    assert summary.debits_minor == {"CZK": sum(minor(row[4]) for row in rows)}
    owed = {}
    for row in rows:
        owed[row[2]] = owed.get(row[2], 0) + minor(row[4])
    with (tmp_path / "net.csv").open() as file:
        paid = {row["payee_bic"]: int(row["amount_minor"]) for row in csv.DictReader(file)}
    assert paid == owed


def test_a_mixed_export_keeps_both_directions(ingest):
    summary = ingest(EXPORTS / "transactions.csv", EXPORTS / "transactions.toml")
    with (EXPORTS / "transactions.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    for word, totals in (("VYDAJ", summary.debits_minor), ("PRIJEM", summary.credits_minor)):
        expected = sum(round(float(row["amount"]) * 100) for row in rows if row["type"] == word)
        assert totals == {"CZK": expected}


def test_an_export_ingested_twice_posts_once(ingest):
    first = ingest(EXPORTS / "orders.tsv", EXPORTS / "orders.toml")
    again = ingest(EXPORTS / "orders.tsv", EXPORTS / "orders.toml")
    assert again.posted == 0
    assert again.already_posted == first.posted
    assert again.accounts_opened == 0
    assert again.debits_minor == first.debits_minor


def test_the_same_id_with_another_amount_is_refused_by_name(ingest, tmp_path):
    ingest(EXPORTS / "orders.tsv", EXPORTS / "orders.toml")
    rows = orders()
    changed = tmp_path / "orders.tsv"
    changed.write_text("\t".join([*rows[0][:4], "999.00", rows[0][5]]) + "\n")
    summary = ingest(changed, EXPORTS / "orders.toml")
    assert summary.refused == {"exists_with_different_amount": 1}
    assert summary.posted == 0


def test_a_bad_row_refuses_the_file_and_posts_nothing(ingest, tmp_path):
    bad = tmp_path / "orders.tsv"
    bad.write_text((EXPORTS / "orders.tsv").read_text() + "77\t1\tYZ\t5\t12.3456\tHH\n")
    with pytest.raises(pl.InputError) as caught:
        ingest(bad, EXPORTS / "orders.toml")
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(bad), len(orders()) + 1, "5")
    assert not (tmp_path / "ledger").exists()


def test_bad_rows_can_be_listed_while_the_good_ones_are_posted(ingest, tmp_path):
    bad = tmp_path / "orders.tsv"
    bad.write_text((EXPORTS / "orders.tsv").read_text() + "77\t1\tYZ\t5\t-1.00\tHH\n78\t1\tYZ\n")
    summary = ingest(bad, EXPORTS / "orders.toml", bad_rows_path=tmp_path / "bad.csv")
    assert (summary.posted, summary.rows_bad) == (len(orders()), 2)
    with (tmp_path / "bad.csv").open() as file:
        listed = [(int(row["row"]), row["column"]) for row in csv.DictReader(file)]
    assert listed == [(len(orders()) + 1, "5"), (len(orders()) + 2, "")]


def test_a_currency_that_the_ledger_does_not_have_is_named(ingest, tmp_path):
    ingest(EXPORTS / "orders.tsv", EXPORTS / "orders.toml")
    mapping = tmp_path / "orders.toml"
    mapping.write_text((EXPORTS / "orders.toml").read_text().replace("CZK", "EUR"))
    with pytest.raises(pl.InputError, match=r"currencies\.EUR.*no EUR"):
        ingest(EXPORTS / "orders.tsv", mapping)


def test_keys_are_made_with_a_new_ledger_and_kept(tmp_path):
    for posted in (10, 0):
        summary = ingest_export(
            EXPORTS / "orders.tsv",
            EXPORTS / "orders.toml",
            tmp_path / "ledger",
            "BANKAAXX",
            tmp_path / "keys",
            "a passphrase",
        )
        assert summary.posted == posted
    assert len(list((tmp_path / "keys").iterdir())) == 2


def test_each_transfer_is_attested_and_provable(ingest, keys, tmp_path):
    ingest(EXPORTS / "orders.tsv", EXPORTS / "orders.toml")
    held = pl.InstitutionKeys(
        "BANKAAXX",
        pl.keys.load(keys / "BANKAAXX.attestation.key", "a passphrase"),
        pl.keys.load(keys / "BANKAAXX.validator.key", "a passphrase"),
    )
    with pl.Ledger.open(tmp_path / "ledger", keys=[held]) as ledger:
        trust = pl.Trust.from_json((tmp_path / "ledger" / "trust.json").read_bytes())
        ids = [int.from_bytes(key) for batch in ledger.transfers() for key in batch["id"].to_pylist()]
        verified = pl.verify_receipt(ledger.prove(ids[3]), trust)
        assert verified.id == ids[3]
        assert verified.attested_by == 0
        assert verified.public_key == held.attestation.public_key
        assert ledger.audit().ok
