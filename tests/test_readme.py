"""What README promises word for word."""

import subprocess
import sys
from pathlib import Path

import pyledger

ROOT = Path(__file__).resolve().parent.parent


def test_ci_calls_the_test_command_of_readme():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    command = next(line for line in readme.splitlines() if line.endswith("pytest -n auto"))
    assert command.replace("pip install", "pip install -q") in ci


def test_the_tour_runs_as_it_stands(tmp_path):
    readme = (ROOT / "README.md").read_text()
    tour = readme.split("```python\n")[1].split("```")[0]
    result = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", tour], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "2500"


def test_every_public_name_resolves():
    for name in pyledger.__all__:
        assert getattr(pyledger, name) is not None
