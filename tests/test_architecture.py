"""The shape of the tree: imports point down the layers, natives stay behind their doors, files keep the house rules."""

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pyledger"

# Each room with the rooms it may import (docs/ARCHITECTURE.md, "Layers"). What is not listed is forbidden.
BELOW = {
    "errors": set(),
    "types": {"errors"},
    "verifier": {"crypto", "errors"},  # only inside a function, where the binding is wanted
    "reference": {"types", "errors"},
    "crypto": {"types", "errors"},
    "formats": {"types", "errors"},
    "consensus": {"crypto", "formats", "types", "errors"},
    "ledger": {"crypto", "formats", "types", "errors"},
    "clearing": {"ledger", "crypto", "formats", "types", "errors"},
    "reconciliation": {"ledger", "crypto", "formats", "types", "errors"},
    "node": {"verifier", "consensus", "ledger", "crypto", "formats", "types", "errors"},
}
BELOW["jobs"] = {*BELOW, "verifier"} - {"reference"}
BELOW["cli"] = {*BELOW["jobs"], "jobs"}
MAY_IMPORT_CORE = {"crypto", "ledger", "clearing", "reconciliation", "formats", "jobs", "__init__"}


def python_files():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(module):
    return module.split(".")[1] if module.count(".") else "__init__"


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Modules of pyledger that a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [
                f"{node.module}.{alias.name}" if node.module == "pyledger" else node.module for alias in node.names
            ]
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}:{node.lineno}: relative import"
            continue
        yield from ((name, node.lineno) for name in names if name and name.split(".")[0] == "pyledger")


@pytest.mark.parametrize("path", python_files(), ids=module_of)
def test_imports_point_down_the_layers(path):
    module = module_of(path)
    room = room_of(module)
    if room in ("__init__", "__main__"):
        return  # the front door shows names of every room
    for name, line in imports_of(path):
        target = room_of(name) if name != "pyledger._core" else "_core"
        if target == room:
            continue
        if target == "_core":
            assert room in MAY_IMPORT_CORE, f"{path}:{line}: {room} may not import natives"
        else:
            assert target in BELOW[room], f"{path}:{line}: {room} may not import {target}"


def test_every_room_has_a_place_in_the_layers():
    rooms = {room_of(module_of(path)) for path in python_files()} - {"__init__", "__main__"}
    assert rooms == rooms & BELOW.keys()


def test_reference_is_for_tests_only():
    for path in python_files():
        if "reference" not in path.parts:
            assert not any(name.startswith("pyledger.reference") for name, _ in imports_of(path)), path


def test_only_bindings_include_pybind11():
    for path in (ROOT / "csrc").rglob("*"):
        if path.suffix in (".h", ".cpp") and path.parent.name != "bindings":
            assert "pybind11" not in path.read_text(), path


# Arrows between the folders of csrc, by their includes.
NATIVE_BELOW = {
    "dispatch": set(),
    "parallel": set(),
    "hash": {"dispatch", "parallel"},
    "merkle": {"hash", "dispatch", "parallel"},
    "ed25519": {"hash", "dispatch", "parallel"},
    "bls": {"hash", "dispatch", "parallel"},
    "store": set(),
    "engine": {"store", "merkle", "ed25519", "hash", "dispatch", "parallel"},
    "journal": {"merkle", "ed25519", "bls", "hash", "dispatch", "parallel"},
    "blocks": {"engine", "merkle", "hash", "dispatch", "parallel"},
}


def test_native_includes_point_down():
    for path in (ROOT / "csrc").rglob("*"):
        folder = path.relative_to(ROOT / "csrc").parts[0]
        if path.suffix not in (".h", ".cpp", ".inc") or folder == "bindings":
            continue
        for target in re.findall(r'#include "(\w+)/', path.read_text()):
            assert target == folder or target in NATIVE_BELOW[folder], f"{path}: includes {target}"


def test_each_file_tells_its_story():
    """A docstring first in Python, a comment first in C++: one file, one story."""
    for path in python_files():
        assert ast.get_docstring(ast.parse(path.read_text())), path
    for path in (ROOT / "csrc").rglob("*.h"):
        assert path.read_text().startswith("//"), path


def test_no_build_flag_reads_the_build_host():
    files = [ROOT / "CMakeLists.txt", *(ROOT / "cmake").rglob("*"), *(ROOT / "csrc").rglob("CMakeLists.txt")]
    for path in files:
        assert not re.search(r"-m(arch|tune)=", path.read_text()), path


def test_sources_name_no_machine():
    """No paths of a machine in sources, tests and docs."""
    place = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\w")
    for folder in ("pyledger", "csrc", "cmake", "tests", "bench", "docs", "examples", "fuzz"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".pyx", ".pyi", ".h", ".cpp", ".md", ".toml", ".cmake") and path != Path(
                __file__
            ):
                found = place.search(path.read_text(encoding="utf-8"))
                assert not found, f"{path}: {found}"


@pytest.mark.parametrize("family", ["bls", "consensus", "journal"])
def test_what_a_mutant_changes_stands_in_the_tree_once_and_compiles(family):
    for name, file, old, new in runpy.run_path(str(ROOT / "tests" / "mutants" / f"{family}.py"))["MUTANTS"]:
        text = (ROOT / file).read_text()
        assert (text.count(old), old == new) == (1, False), f"{name}: {file}"
        if file.endswith(".py"):
            ast.parse(text.replace(old, new), name)  # what does not compile says nothing of the tests
