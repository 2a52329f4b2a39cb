"""Builds each mutant of BLS and runs its tests: a mutant that passes them is a hole in the tests.

    python tests/mutants/run_bls.py [part of a name ...]

A scratch project holds copies of the sources and builds a pyledger._core of BLS alone, so that a mutant takes seconds.
Needs what a build without isolation needs (see pyproject.toml), doctest, py_ecc and pytest-xdist.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROJECT = """
cmake_minimum_required(VERSION 3.26)
project(mutants LANGUAGES C CXX ASM)
set(CMAKE_C_STANDARD 11)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
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
  add_executable(test_${name} ${source})
  target_link_libraries(test_${name} PRIVATE ${library})
endfunction()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(PYLEDGER_X86 ON)
endif()
find_package(Threads REQUIRED)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 3 CONFIG REQUIRED)
add_subdirectory(csrc/dispatch)
add_subdirectory(csrc/parallel)
add_subdirectory(csrc/bls)
pybind11_add_module(_core MODULE NO_EXTRAS csrc/bindings/register_bls.cpp csrc/bindings/register_dispatch.cpp
                core.cpp)
target_link_libraries(_core PRIVATE pyledger_bls)
set_target_properties(_core PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_SOURCE_DIR}/pyledger")
"""

CORE = """
#include "bindings/bindings.h"
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  pyledger::bindings::register_dispatch(module);
  pyledger::bindings::register_bls(module);
}
"""


def run(command, folder, **environment):
    """Run quietly; give success and the last lines of what it said."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )
    return done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[-8:])


def make_project(folder):
    """Copy what BLS needs; the package root names nothing else."""
    for name in ("csrc", "cmake", "pyledger", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "pyledger/__init__.py").write_text("from pyledger import _core as _core\n")
    (folder / "CMakeLists.txt").write_text(PROJECT)
    (folder / "core.cpp").write_text(CORE)
    pybind11 = subprocess.check_output([sys.executable, "-m", "pybind11", "--cmakedir"], text=True).strip()
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-Dpybind11_DIR={pybind11}", f"-DPython_EXECUTABLE={sys.executable}"]
    done, said = run(["cmake", "-S", ".", "-B", "build", *options], folder)
    if not done:
        raise SystemExit(said)


def passes(folder, tests):
    """Build and test; give whether all passed and what was said."""
    built, said = run(["cmake", "--build", "build"], folder)
    if not built:
        raise SystemExit(f"does not build:\n{said}")
    passed, said = run(["build/csrc/bls/test_bls"], folder)
    if not passed:
        return False, said
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return run(command, folder, PYTHONPATH=str(folder))


def survives(folder, tests, file, old, new):
    """Apply, test, restore."""
    text = (folder / file).read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file}: expected once, found {text.count(old)} times: {old}")
    (folder / file).write_text(text.replace(old, new))
    try:
        return passes(folder, tests)[0]
    finally:
        (folder / file).write_text(text)


def main(wanted):
    """Print one line a mutant; give 1 if one survives."""
    listed = runpy.run_path(str(Path(__file__).parent / "bls.py"))
    mutants = [m for m in listed["MUTANTS"] if not wanted or any(part in m[0] for part in wanted)]
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_project(folder)
        passed, said = passes(folder, listed["TESTS"])
        if not passed:
            raise SystemExit(f"the tree itself does not pass:\n{said}")
        for name, file, old, new in mutants:
            survived = survives(folder, listed["TESTS"], file, old, new)
            print(f"{'SURVIVED' if survived else 'killed'}  {name}", flush=True)
            survivors += survived
    print(f"{len(mutants) - survivors} of {len(mutants)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
