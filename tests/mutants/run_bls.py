"""Builds each mutant of BLS and runs its tests: a mutant that passes them is a hole in the tests.

    python tests/mutants/run_bls.py [part of a name ...]

A scratch project holds copies of the sources and builds a pyledger._core of BLS alone, so that a mutant takes seconds.
Needs what a build without isolation needs (see pyproject.toml), doctest, py_ecc and pytest-xdist.
"""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from runner import CMAKE_PARTS, ROOT, build, configure, hunt, run

PROJECT = f"""
cmake_minimum_required(VERSION 3.26)
project(mutants LANGUAGES C CXX ASM)
set(CMAKE_C_STANDARD 11)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
{CMAKE_PARTS}
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 3 CONFIG REQUIRED)
add_subdirectory(csrc/dispatch)
add_subdirectory(csrc/parallel)
add_subdirectory(csrc/bls)
pybind11_add_module(_core MODULE NO_EXTRAS csrc/bindings/register_bls.cpp csrc/bindings/register_dispatch.cpp
                core.cpp)
target_link_libraries(_core PRIVATE pyledger_bls)
set_target_properties(_core PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${{PROJECT_SOURCE_DIR}}/pyledger")
"""

CORE = """
#include "bindings/bindings.h"
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  pyledger::bindings::register_dispatch(module);
  pyledger::bindings::register_bls(module);
}
"""


def prepare(folder):
    """Copy what BLS needs; the package root names nothing else."""
    for name in ("csrc", "cmake", "pyledger", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "pyledger/__init__.py").write_text("from pyledger import _core as _core\n")
    (folder / "core.cpp").write_text(CORE)
    pybind11 = subprocess.check_output([sys.executable, "-m", "pybind11", "--cmakedir"], text=True).strip()
    configure(folder, PROJECT, f"-Dpybind11_DIR={pybind11}", f"-DPython_EXECUTABLE={sys.executable}")


def killer(folder, _files):
    """Build and test; what failed."""
    build(folder, "--target", "_core", "test_bls")
    passed, said = run(["build/csrc/bls/test_bls"], folder)
    if passed:
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *LISTED["TESTS"]]
        passed, said = run(command, folder, PYTHONPATH=str(folder))
    return None if passed else said


if __name__ == "__main__":
    LISTED = runpy.run_path(str(Path(__file__).parent / "bls.py"))
    sys.exit(hunt(LISTED["MUTANTS"], sys.argv[1:], prepare, killer))
