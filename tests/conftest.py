"""Fixtures that several test folders share."""

import pytest
from days import make_day
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def day(tmp_path_factory):
    """A small day; copy it (days.copy_day) before changing it."""
    return make_day(tmp_path_factory.mktemp("day") / "files")


@pytest.fixture(scope="session")
def finished_day(day):
    """The same day after a whole run: (day folder, out folder, summary)."""
    from pyledger.jobs.day import run_day

    out = day.parent / "out"
    return day, out, run_day(day, out=out)
