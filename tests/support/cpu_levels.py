"""Kernel rows for tests: each CPU level in turn, native again afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyledger import _core


@contextmanager
def cpu_level(name: str) -> Iterator[str]:
    """Run with this CPU level. Skips only where the CPU lacks its instructions: an unknown name is an error."""
    try:
        _core.force_cpu_level(name)
    except ValueError as error:
        if "does not offer it" not in str(error):
            raise
        pytest.skip(f"this CPU lacks the row: {error}")
    try:
        yield name
    finally:
        _core.force_cpu_level("native")
