"""The command line: ``pyledger COMMAND``, a file for each topic. Progress and messages go to stderr, results to stdout.

Exit status: 0 done; 1 a check failed (audit, receipt, unexplained differences); 2 wrong usage; 3 input is not as
expected; 4 files can't be read or written; 5 not authorised or a wrong signature; 6 any other refusal of the ledger;
130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from pyledger.cli import day, nodes, past, proofs
from pyledger.errors import (
    AuthorisationError,
    InputError,
    LedgerError,
    ProofError,
    SignatureError,
    StorageError,
)

__all__ = ["main"]

_STATUS = (
    (InputError, 3),
    (StorageError, 4),
    (AuthorisationError, 5),
    (SignatureError, 5),
    (ProofError, 1),
    (LedgerError, 6),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except LedgerError as error:
        print(f"pyledger: {error}", file=sys.stderr)
        return next(status for kind, status in _STATUS if isinstance(error, kind))
    except ModuleNotFoundError as error:
        print(f"pyledger: the command line needs '{error.name}': pip install 'pyledger[cli]'", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or flushing it at the end would fail again
        return 0
    except KeyboardInterrupt:
        print("pyledger: interrupted; what a ledger acknowledged is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pyledger", description="A ledger that institutions share: signed, proven and certified double entry."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for topic in (day, proofs, past, nodes):
        topic.add(commands)
    return parser


def _version() -> str:
    return f"pyledger {importlib.metadata.version('pyledger')}"
