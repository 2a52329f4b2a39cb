"""What commands share: how one is declared, arguments read, results and progress shown."""

from __future__ import annotations

import argparse
import datetime
import getpass
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyledger.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Options",
    "business_date",
    "command",
    "console",
    "node_count",
    "print_fields",
    "progress_bars",
    "read_passphrase",
    "record_id",
    "whole_number",
]

Options = argparse.Namespace


def command(commands: Any, name: str, run: Callable[[Options], int], summary: str) -> argparse.ArgumentParser:
    """Declare a command with its --json; what it runs gives the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return parser


def record_id(text: str) -> int:
    """An id as reports write it (32 hexadecimal digits), or as a number: decimal, or hexadecimal with 0x."""
    try:
        number = int(text, 16) if len(text) == 32 else int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 128:
        raise argparse.ArgumentTypeError(f"expected 32 hexadecimal digits or a number below 2^128, got '{text}'")
    return number


def whole_number(text: str) -> int:
    """A number that is not negative."""
    return _integer(text, "a whole number from 0 on", 0)


def node_count(text: str) -> int:
    """A number of validators that can be simulated."""
    return _integer(text, "a whole number from 4 to 100", 4, 100)


def _integer(text: str, expected: str, lowest: int, highest: float = math.inf) -> int:
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
    return number


def business_date(text: str) -> datetime.date:
    """A business date."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date, YYYY-MM-DD, got '{text}'") from None


def read_passphrase(*, confirm: bool = False) -> str:
    """From PYLEDGER_PASSPHRASE, else asked at the terminal."""
    given = os.environ.get("PYLEDGER_PASSPHRASE")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError("expected a passphrase in PYLEDGER_PASSPHRASE, or a terminal to ask at")
    typed = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Again: ") != typed:
        raise InputError("the two passphrases differ")
    return typed


def console() -> Console:
    """Where tables are printed: stdout."""
    from rich.console import Console

    return Console()


def print_fields(fields: dict[str, Any], as_json: bool) -> None:
    """A result as one JSON object, or as two columns of text without the fields that are empty."""
    plain = {name: _plain(value) for name, value in fields.items()}
    if as_json:
        print(json.dumps(plain))
        return
    rows: list[tuple[str, str]] = []
    for name, value in plain.items():
        if value is None or value == {}:
            continue  # there is none: nothing to say to people
        if isinstance(value, dict):
            rows += [(name, ""), *((f"  {key}", str(item)) for key, item in value.items())]
        else:
            rows.append((name, str(value)))
    width = max(len(label) for label, _ in rows)
    for label, text in rows:  # not folded, so that hashes and keys can be copied
        print(f"{label.replace('_', ' '):<{width}}  {text}".rstrip())


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, int | float | dict | list | tuple) or value is None else str(value)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show
