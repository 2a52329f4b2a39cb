"""sample, day, ingest: files of institutions into a ledger."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from pyledger.cli.shared import (
    Options,
    business_date,
    command,
    console,
    print_fields,
    progress_bars,
    read_passphrase,
    whole_number,
)
from pyledger.errors import InputError

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    for declare in (_add_sample, _add_day, _add_ingest):
        declare(commands)


def _add_sample(commands: Any) -> None:
    parser = command(commands, "sample", _sample, "Make the day files of several fictional institutions from a seed.")
    parser.add_argument("out", type=Path, help="a new or empty folder")
    _add_sample_options(parser, accounts=20_000, transfers=1_000_000)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")


def _add_sample_options(parser: argparse._ActionsContainer, accounts: int, transfers: int) -> None:
    parser.add_argument("--institutions", type=int, default=5, help="default %(default)s")
    parser.add_argument("--accounts", type=int, default=accounts, help="default %(default)s")
    parser.add_argument("--transfers", type=int, default=transfers, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--date", type=business_date, help="business date, YYYY-MM-DD")
    parser.add_argument("--break-share", type=float, help="planted breaks for each statement row")
    parser.add_argument("--block-transfers", type=int, help="transfers that a block may hold; default 65536")


def _sample(options: Options) -> int:
    with progress_bars() as progress:
        summary = _write_sample(options, options.out, options.format, progress)
    print_fields(asdict(summary), options.json)
    return 0


def _write_sample(options: Options, out: Path, file_format: Any, progress: Any) -> Any:
    from pyledger.jobs.sample import write_sample

    chosen = {
        "institutions": options.institutions,
        "accounts": options.accounts,
        "transfers": options.transfers,
        "seed": options.seed,
        "business_date": options.date,
        "break_share": options.break_share,
        "block_transfers_max": options.block_transfers,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return write_sample(out, **given, file_format=file_format, progress=progress)


def _add_day(commands: Any) -> None:
    parser = command(
        commands, "day", _day, "Run a bank day: verify, post, commit, net, reconcile, prove and audit its files."
    )
    parser.add_argument("folder", type=Path, nargs="?", help="day folder; with --sample it is made first")
    parser.add_argument("--sample", action="store_true", help="make a small sample day first (see the options below)")
    parser.add_argument("--out", type=Path, help="folder for ledger and reports; default FOLDER/out")
    parser.add_argument(
        "--receipts", type=whole_number, default=20, help="transfers to prove and verify; default %(default)s"
    )
    _add_sample_options(parser.add_argument_group("with --sample"), accounts=2_000, transfers=100_000)


def _day(options: Options) -> int:
    from pyledger.jobs.day import run_day
    from pyledger.jobs.tables import print_day

    if options.folder is None and not options.sample:
        raise InputError("expected a day folder, or --sample")
    folder = options.folder or Path("day-sample")
    out = options.out or folder / "out"
    with progress_bars() as progress:
        if options.sample and (folder / "day.json").exists():
            print(f"pyledger: {folder} holds a day already: it is used as it is", file=sys.stderr)
        elif options.sample:
            _write_sample(options, folder, "parquet", progress)
        passphrase = os.environ.get("PYLEDGER_PASSPHRASE")
        summary = run_day(folder, out=out, receipts=options.receipts, passphrase=passphrase, progress=progress)
    if options.json:
        print(json.dumps(msgspec.to_builtins(summary)))
    else:
        print_day(summary, console())
        print(f"Ledger, settlement instructions, breaks, refusals and receipts: {out}")
    return 0 if summary.ok else 1


def _add_ingest(commands: Any) -> None:
    parser = command(commands, "ingest", _ingest, "Post a bank's CSV export as that institution's attested batches.")
    parser.add_argument("export", type=Path, help="the bank's file")
    parser.add_argument("--mapping", type=Path, required=True, help="TOML file that says what its columns are")
    parser.add_argument("--ledger", type=Path, required=True, help="ledger folder; made if it is not there")
    parser.add_argument("--bic", required=True, help="the institution whose export it is")
    parser.add_argument("--keys", type=Path, help="folder of its key files; default LEDGER.keys, made if needed")
    parser.add_argument("--settlement", type=Path, help="write what it and other banks owe each other, netted, as CSV")
    parser.add_argument("--ids", type=Path, help="list the transfer id of each row in this CSV file, for prove")
    parser.add_argument("--bad-rows", type=Path, help="post the good rows and list the bad ones in this CSV file")


def _ingest(options: Options) -> int:
    from pyledger.jobs.ingest import ingest_export

    with progress_bars() as progress:
        summary = ingest_export(
            options.export,
            options.mapping,
            options.ledger,
            options.bic,
            options.keys or options.ledger.with_name(options.ledger.name + ".keys"),
            read_passphrase(),
            settlement_path=options.settlement,
            bad_rows_path=options.bad_rows,
            ids_path=options.ids,
            progress=progress,
        )
    print_fields(asdict(summary), options.json)
    return 1 if summary.rows_bad or summary.refused else 0
