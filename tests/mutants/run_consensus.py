"""Hunts each mutant of consensus with simulated schedules, then with the tests: one that passes both is a hole.

    python tests/mutants/run_consensus.py [--schedules N] [part of a name ...]

Works on a copy of the installed pyledger, over which this tree's Python files are laid. Prints for each mutant what
killed it: the number of schedules that were run, or a test.
"""

import argparse
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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


def run(command, folder):
    """Run against the scratch copy; give (success, last line)."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=900
        )
    except subprocess.TimeoutExpired:
        return False, "runs for ever"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return done.returncode in (0, 5), (failed or lines or [""])[-1]


def make_copy(folder):
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


def killer(folder, schedules, tests):
    """What kills the tree as it stands in `folder`; None if nothing does."""
    clean, said = run([sys.executable, "-P", "-c", HUNT, str(schedules)], folder)
    if not clean:
        return said
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    passed, said = run([*command, *(f"tests/consensus/{name}" for name in tests)], folder)
    return None if passed else said


def main(arguments):
    """Print one line a mutant; give 1 if one survives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("wanted", nargs="*")
    options = parser.parse_args(arguments)
    listed = runpy.run_path(str(Path(__file__).parent / "consensus.py"))
    wanted, tests = options.wanted, listed["TESTS"]
    mutants = [each for each in listed["MUTANTS"] if not wanted or any(part in each[0] for part in wanted)]
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_copy(folder)
        if (found := killer(folder, min(options.schedules, 200), {"test_protocol.py", *tests.values()})) is not None:
            raise SystemExit(f"the tree itself does not pass: {found}")
        for name, file, old, new in mutants:
            place = folder / "site" / file
            text = place.read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{name}: {file}: expected once, found {text.count(old)} times: {old}")
            place.write_text(text.replace(old, new))
            schedules = options.schedules if file in listed["HUNTED"] else 0
            found = killer(folder, schedules, (tests.get(file, "test_protocol.py"),))
            place.write_text(text)
            survivors += found is None
            print(
                f"{'SURVIVED' if found is None else 'killed  '}  {name}{'' if found is None else ': ' + found}",
                flush=True,
            )
    print(f"{len(mutants) - survivors} of {len(mutants)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
