"""Builds each mutant of the journal and runs its native tests: a mutant that passes them is a hole in the tests.

    python tests/mutants/run_journal.py [part of a name ...]

A scratch project holds copies of the sources and builds the journal alone. Needs cmake, a C++ compiler and doctest.
"""

import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST_SECONDS_MAX = 240

PROJECT = """
cmake_minimum_required(VERSION 3.26)
project(mutants LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
set(PYLEDGER_NATIVE_TESTS ON)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(PYLEDGER_X86 ON)
endif()
find_package(Threads REQUIRED)
function(pyledger_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_library(pyledger_${name} STATIC ${arg_SOURCES})
  target_include_directories(pyledger_${name} PUBLIC "${PROJECT_SOURCE_DIR}/csrc")
  target_link_libraries(pyledger_${name} PUBLIC ${arg_LINKS})
endfunction()
function(pyledger_row file)
  set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${ARGN}")
endfunction()
function(pyledger_native_test name source library)
  add_executable(test_${name} EXCLUDE_FROM_ALL ${source})
  target_link_libraries(test_${name} PRIVATE ${library})
endfunction()
foreach(folder dispatch parallel hash merkle journal)
  add_subdirectory(csrc/${folder})
endforeach()
"""


def run(command, folder):
    """Run quietly; give success and the last lines of what it said. What does not end fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, text=True, capture_output=True, check=False, timeout=TEST_SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return False, f"{command[0]}: did not end"
    return done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[-8:])


def make_project(folder):
    """Copy what the journal needs."""
    shutil.copytree(ROOT / "csrc", folder / "csrc")
    (folder / "CMakeLists.txt").write_text(PROJECT)
    done, said = run(["cmake", "-S", ".", "-B", "build", "-DCMAKE_BUILD_TYPE=Release"], folder)
    if not done:
        raise SystemExit(said)


def passes(folder):
    """Build and test; give whether all passed and what was said."""
    built, said = run(["cmake", "--build", "build", "--target", "test_journal", "-j", "2"], folder)
    if not built:
        raise SystemExit(f"does not build:\n{said}")
    return run(["build/csrc/journal/test_journal", "--abort-after=1"], folder)


def survives(folder, file, old, new):
    """Apply, test, restore."""
    text = (folder / file).read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file}: expected once, found {text.count(old)} times: {old}")
    (folder / file).write_text(text.replace(old, new))
    try:
        return passes(folder)[0]
    finally:
        (folder / file).write_text(text)


def main(wanted):
    """Print one line a mutant; give 1 if one survives."""
    listed = runpy.run_path(str(Path(__file__).parent / "journal.py"))
    mutants = [m for m in listed["MUTANTS"] if not wanted or any(part in m[0] for part in wanted)]
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_project(folder)
        passed, said = passes(folder)
        if not passed:
            raise SystemExit(f"the tree itself does not pass:\n{said}")
        for name, file, old, new in mutants:
            survived = survives(folder, file, old, new)
            print(f"{'SURVIVED' if survived else 'killed'}  {name}", flush=True)
            survivors += survived
    print(f"{len(mutants) - survivors} of {len(mutants)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
