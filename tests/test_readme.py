"""What README promises word for word."""

from pathlib import Path

import pyledger

ROOT = Path(__file__).resolve().parent.parent


def test_ci_calls_the_test_command_of_readme():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    command = next(line for line in readme.splitlines() if line.endswith("pytest -n auto"))
    assert command.replace("pip install", "pip install -q") in ci


def test_every_public_name_resolves():
    for name in pyledger.__all__:
        assert getattr(pyledger, name) is not None
