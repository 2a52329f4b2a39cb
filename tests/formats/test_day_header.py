"""``day.json`` is exactly what its layout says, and binds the files beside it."""

import datetime
import json

import pytest

from pyledger.errors import InputError, StorageError
from pyledger.formats.day_header import DAY_FORMAT, DayHeader, Member, file_digest, read_day, write_day
from pyledger.formats.money import DEFAULT_CURRENCIES


@pytest.fixture
def folder(tmp_path):
    files = []
    for table in ("keys", "accounts", "transfers", "statement"):
        path = tmp_path / "BANKAAXX" / f"{table}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(table)
        files.append(file_digest(path, f"BANKAAXX/{table}.csv"))
    header = DayHeader(
        format=DAY_FORMAT,
        chain_name="Test",
        business_date=datetime.date(2026, 1, 5),
        file_format="csv",
        currencies=DEFAULT_CURRENCIES,
        institutions=(Member(0, "BANKAAXX", "ab" * 96, "cd" * 48, "ef" * 32),),
        files=tuple(files),
    )
    write_day(tmp_path, header)
    return tmp_path


def edit(folder, change):
    path = folder / "day.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_header_survives_its_file(folder):
    header = read_day(folder)
    assert header.business_date == datetime.date(2026, 1, 5)
    assert header.genesis_time_ns == 1_767_571_200 * 10**9
    assert header.ledgers == {"JPY": 392, "EUR": 978, "KWD": 414}
    assert header.table_path(0, "keys") == "BANKAAXX/keys.csv"
    header.verify_files(folder)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda day: day.update(format="pyledger/day/v2"), "format"),
        (lambda day: day.update(currencies=[]), "currencies"),
        (lambda day: day["currencies"][0].update(code="EUR"), "currencies.code"),
        (lambda day: day["currencies"][0].update(ledger=414), "currencies.ledger"),
        (lambda day: day.update(institutions=[]), "institutions"),
        (lambda day: day["institutions"][0].update(index=1), "institutions.index"),
        (lambda day: day["institutions"][0].update(bic="../../etc"), "institutions.bic"),
        (lambda day: day["institutions"][0].update(validator_key="ab"), "institutions.validator_key"),
        (lambda day: day["institutions"][0].update(attestation_key="EF" * 32), "institutions.attestation_key"),
        (lambda day: day["files"].pop(), "files"),
        (lambda day: day["files"].append(day["files"][0]), "files.path"),
        (lambda day: day["files"][0].update(path="../secret"), "files.path"),
        (lambda day: day["files"][0].update(path="/etc/passwd"), "files.path"),
        (lambda day: day["files"][0].update(sha256="00"), "files.sha256"),
        (lambda day: day["files"][0].update(size_bytes=-1), "files.size_bytes"),
    ],
)
def test_field_out_of_range_is_refused_by_name(folder, change, field):
    edit(folder, change)
    with pytest.raises(InputError) as caught:
        read_day(folder)
    assert (caught.value.file, caught.value.field) == (str(folder / "day.json"), field)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda day: day.update(comment="hello"), "unknown field `comment`"),
        (lambda day: day.pop("business_date"), "missing required field `business_date`"),
        (lambda day: day.update(business_date="05.01.2026"), "Invalid RFC3339"),
        (lambda day: day.update(file_format="xml"), "Invalid enum value 'xml'"),
        (lambda day: day["currencies"][0].update(decimals=2.0), "Expected `int`, got `float`"),
        (lambda day: day["currencies"][0].update(code="yen"), "expected three capital letters"),
    ],
)
def test_other_shapes_are_refused(folder, change, message):
    edit(folder, change)
    with pytest.raises(InputError, match=message) as caught:
        read_day(folder)
    assert str(caught.value).startswith(str(folder / "day.json"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "\xff"}'])
def test_file_that_is_no_json_object_is_refused(folder, content):
    (folder / "day.json").write_bytes(content)
    with pytest.raises(InputError, match=r"not a valid day\.json"):
        read_day(folder)


def test_folder_without_a_header_is_no_day(tmp_path):
    with pytest.raises(InputError, match=r"day\.json is missing"):
        read_day(tmp_path)
    with pytest.raises(InputError, match=r"day\.json is missing"):
        read_day(tmp_path / "none")


def test_changed_file_is_refused_with_both_digests(folder):
    path = folder / "BANKAAXX" / "transfers.csv"
    path.write_text("Transfers")
    with pytest.raises(
        InputError, match=r"transfers\.csv: differs from day\.json: expected 9 bytes with SHA-256 .*got 9"
    ):
        read_day(folder).verify_files(folder)


def test_removed_file_is_refused(folder):
    (folder / "BANKAAXX" / "keys.csv").unlink()
    with pytest.raises(InputError, match=r"keys\.csv: the file is missing; day\.json lists it"):
        read_day(folder).verify_files(folder)


def test_header_is_not_written_into_a_missing_folder(folder, tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_day(tmp_path / "none", read_day(folder))
