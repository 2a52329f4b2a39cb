"""Hunts each mutant of consensus with simulated schedules, then with the tests: one that passes both is a hole.

    python tests/mutants/run_consensus.py [--schedules N] [part of a name ...]

Works on a copy of the installed pyledger, over which this tree's Python files are laid. Prints for each mutant what
killed it: the number of schedules that were run, or a test.
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
        sys.exit(1)
    if not outcome.live:
        print(f"schedule {number + 1}: not live")
        sys.exit(1)
"""
TREE_SCHEDULES_MAX = 200


def prepare(folder):
    """The installed package with this tree's Python files over it."""
    found = subprocess.check_output(
        [sys.executable, "-P", "-c", "import pyledger; print(pyledger.__file__)"], text=True
    )
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(found.strip()).parent, folder / "site/pyledger", ignore=ignored)
    shutil.copytree(ROOT / "pyledger", folder / "site/pyledger", ignore=ignored, dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, folder)


def killer(folder, file, schedules, listed):
    """What fails: schedules, where they can notice the file, then tests."""
    environment = {"PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    if file is None or file in listed["HUNTED"]:
        count = schedules if file else min(schedules, TREE_SCHEDULES_MAX)
        clean, said = run([sys.executable, "-P", "-c", HUNT, str(count)], folder, **environment)
        if not clean:
            return said
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    tests = tests_of(file, folder, listed)
    passed, said = run([*command, *tests], folder, passing=(0, 5), **environment)
    return None if passed else said


def tests_of(file, folder, listed):
    """Tests to ask, those first that are nearest to the file."""
    named = "" if file is None else listed["TESTS"].get(file, "consensus/test_protocol.py")
    first = [f"tests/{name}" for name in named.split()]
    if file is not None and not file.startswith("pyledger/consensus/"):
        return first
    rest = [str(path.relative_to(folder)) for path in sorted((folder / "tests/consensus").glob("test_*.py"))]
    return [*first, *(path for path in rest if path not in first)]


def main(arguments):
    """Hunt those that are wanted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("wanted", nargs="*")
    options = parser.parse_args(arguments)
    listed = runpy.run_path(str(Path(__file__).parent / "consensus.py"))
    return hunt(
        listed["MUTANTS"],
        options.wanted,
        prepare,
        lambda folder, file: killer(folder, file, options.schedules, listed),
        below="site",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
