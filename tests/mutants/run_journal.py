"""Builds each mutant of the journal and runs its native tests: a mutant that passes them is a hole in the tests.

    python tests/mutants/run_journal.py [part of a name ...]

A scratch project holds copies of the sources and builds the journal alone. Needs Linux, cmake, a C++ compiler and
doctest.
"""

import runpy
import shutil
import sys
from pathlib import Path

from runner import CMAKE_PARTS, ROOT, build, configure, hunt, run

TESTS = ("test_system_calls", "test_journal")  # the short one first
TEST_SECONDS_MAX = 240

PROJECT = f"""
cmake_minimum_required(VERSION 3.26)
project(mutants LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
set(PYLEDGER_NATIVE_TESTS ON)
{CMAKE_PARTS}
foreach(folder dispatch parallel hash merkle journal)
  add_subdirectory(csrc/${{folder}})
endforeach()
"""


def prepare(folder):
    """Copy what the journal needs."""
    shutil.copytree(ROOT / "csrc", folder / "csrc")
    configure(folder, PROJECT)


def killer(folder, _files):
    """Build and test; what failed."""
    build(folder, "--target", *TESTS, "-j", "2")
    for test in TESTS:
        passed, said = run([f"build/csrc/journal/{test}", "--abort-after=1"], folder, TEST_SECONDS_MAX)
        if not passed:
            return said
    return None


if __name__ == "__main__":
    MUTANTS = runpy.run_path(str(Path(__file__).parent / "journal.py"))["MUTANTS"]
    sys.exit(hunt(MUTANTS, sys.argv[1:], prepare, killer))
