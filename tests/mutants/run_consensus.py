"""Hunts each mutant of consensus with simulated schedules, then with the tests: one that passes both is a hole.

    python tests/mutants/run_consensus.py [--schedules N] [--jobs N] [part of a name ...]

Works on copies of the installed pyledger, over which this tree's Python files are laid. The tree as it is has to pass
every schedule and test file that the mutants are judged by. Prints for each mutant what killed it: the number of
schedules that were run, or a test. What can be neither killed nor let live (a mutant that cannot be imported, say) has
no answer.
"""

import argparse
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from runner import ROOT, hunt, run

HUNT = """
import sys
from pyledger.consensus.simulator import run_schedule
for number in range(int(sys.argv[1])):
    try:
        outcome = run_schedule(number, 7 if number % 10 == 9 else 4)
    except Exception as error:
        print(f"schedule {number + 1}: {type(error).__name__}: {error}")
        sys.exit(3)
    if not outcome.live:
        print(f"schedule {number + 1}: not live")
        sys.exit(3)
"""
HUNT_FOUND = 3
TESTS_FAILED, NO_TESTS = 1, 5
SECONDS_MAX = 3600


def prepare(folder):
    """The installed package with this tree's Python files over it."""
    found = subprocess.check_output(
        [sys.executable, "-P", "-c", "import pyledger; print(pyledger.__file__)"], text=True
    )
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(found.strip()).parent, folder / "site/pyledger", ignore=ignored)
    shutil.copytree(ROOT / "pyledger", folder / "site/pyledger", ignore=ignored, dirs_exist_ok=True)
    for name in ("tests", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "conftest.py", "README.md"):
        shutil.copy(ROOT / name, folder)


def killer(folder, files, schedules, listed):
    """What fails: schedules, where they can notice the files, then tests."""
    environment = {"PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    if not set(files).isdisjoint(listed["HUNTED"]):
        command = [sys.executable, "-P", "-c", HUNT, str(schedules)]
        passed, said = run(command, folder, SECONDS_MAX, failing=(HUNT_FOUND,), **environment)
        if not passed:
            return said
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += tests_of(files, folder, listed)
    statuses = {"passing": (0, NO_TESTS), "failing": (TESTS_FAILED,)}
    passed, said = run(command, folder, SECONDS_MAX, **statuses, **environment)
    return None if passed else said


def tests_of(files, folder, listed):
    """Tests to ask, those first that are nearest to the files."""
    named = " ".join(listed["TESTS"].get(file, "consensus/test_protocol.py") for file in files)
    tests = [f"tests/{name}" for name in named.split()]
    if any(file.startswith("pyledger/consensus/") for file in files):
        tests += [str(path.relative_to(folder)) for path in sorted((folder / "tests/consensus").glob("test_*.py"))]
    return list(dict.fromkeys(tests))


def main(arguments):
    """Hunt those that are wanted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("wanted", nargs="*")
    options = parser.parse_args(arguments)
    listed = runpy.run_path(str(Path(__file__).parent / "consensus.py"))
    return hunt(
        listed["MUTANTS"],
        options.wanted,
        prepare,
        lambda folder, files: killer(folder, files, options.schedules, listed),
        below="site",
        jobs=options.jobs,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
