"""Tests and benches run against the installed pyledger, never against the source tree beside them."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
