"""Small days for tests: made once a session, copied where a test changes them."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from pyledger.formats.day_header import file_digest, read_day, write_day
from pyledger.jobs.sample import write_sample
from pyledger.jobs.sample_traffic import RefusalRates

RATES = RefusalRates(insufficient_funds=0.01, duplicate_id=0.01, bad_signature=0.01, unknown_account=0.01)


def make_day(folder, **changes):
    """A day of four banks with every kind of break and refusal, in blocks of 500."""
    options = {
        "institutions": 4,
        "accounts": 160,
        "transfers": 4000,
        "break_share": 0.02,
        "refusal_rates": RATES,
        "block_transfers_max": 500,
    }
    write_sample(folder, **(options | changes))
    return Path(folder)


def copy_day(day, folder):
    """A copy without what earlier runs left."""
    shutil.copytree(day, folder, ignore=shutil.ignore_patterns("out"))
    return Path(folder)


def redigest(folder):
    """Make day.json agree with files that a test changed, so that their content is what gets refused."""
    header = read_day(folder)
    files = tuple(file_digest(folder / entry.path, entry.path) for entry in header.files)
    write_day(folder, replace_struct(header, files=files))


def replace_struct(struct, **changes):
    """msgspec's replace, under a name that says so."""
    import msgspec

    return msgspec.structs.replace(struct, **changes)


def edit_parquet(path, edit):
    """Replace a Parquet file's table by what `edit` makes of it."""
    pq.write_table(edit(pq.read_table(path)), path)


def summary_of(out):
    """The summary that a run left."""
    return json.loads((out / "summary.json").read_text())
