"""Builds each mutant of a list in a scratch copy of the tree and runs the list's tests: a mutant that passes is a hole.

    python tests/mutants/run_native.py tests/mutants/bls.py [part of a name ...]

Needs what a build without isolation needs (see pyproject.toml), doctest for the native test, and some minutes.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(command, folder, **environment):
    """Run quietly; give success and the last lines of what it said."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )
    return done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[-4:])


class Scratch:
    """A copy of the tree with a build of its own, rebuilt in place for each mutant."""

    def __init__(self, folder, tests, native_test):
        self.tree, self.site, self.native = folder / "tree", folder / "site", folder / "native"
        self.tests, self.native_test = tests, native_test
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns("build", ".git", ".*_cache", "__pycache__"))
        shutil.copytree(self.tree / "tests", folder / "tests")
        shutil.copy(ROOT / "pyproject.toml", folder)
        self.folder = folder

    def passes(self):
        """Build and test; give whether all passed and what was said, or raise if it does not build."""
        for command in self.build_commands():
            built, said = run(command, self.tree)
            if not built:
                raise RuntimeError(f"does not build:\n{said}")
        passed, said = run([str(self.native / "csrc" / "bls" / self.native_test)], self.folder)
        if not passed:
            return False, said
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *self.tests]
        return run(command, self.folder, PYTHONPATH=str(self.site))

    def build_commands(self):
        """Install into the scratch site; build the native test."""
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--upgrade"]
        yield [*install, "--target", str(self.site), "."]
        yield ["cmake", "-S", ".", "-B", str(self.native), "-DPYLEDGER_NATIVE_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release"]
        yield ["cmake", "--build", str(self.native), "--target", self.native_test]


def main(list_file, wanted):
    """Print one line a mutant; exit 1 if one survives."""
    listed = runpy.run_path(list_file)
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder), listed["TESTS"], listed["NATIVE_TEST"])
        passed, said = scratch.passes()
        if not passed:
            raise SystemExit(f"the tree itself does not pass:\n{said}")
        mutants = [m for m in listed["MUTANTS"] if not wanted or any(part in m[0] for part in wanted)]
        for name, file, old, new in mutants:
            survived = survives(scratch, file, old, new)
            print(f"{'SURVIVED' if survived else 'killed'}  {name}", flush=True)
            survivors += [name] * survived
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} killed")
    return 1 if survivors else 0


def survives(scratch, file, old, new):
    """Apply, test, restore."""
    path = scratch.tree / file
    text = path.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file}: expected once, found {text.count(old)} times: {old}")
    path.write_text(text.replace(old, new))
    try:
        return scratch.passes()[0]
    finally:
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
