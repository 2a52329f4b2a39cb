"""balance, history, export, tail: what a ledger holds and held."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyledger.cli.shared import (
    Options,
    command,
    console,
    print_fields,
    progress_bars,
    read_passphrase,
    record_id,
    whole_number,
)
from pyledger.errors import InputError

__all__ = ["add"]

_TIME_HELP = "a date (its end, UTC), a date and time in ISO 8601, or nanoseconds since 1970 UTC"


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    for declare in (_add_balance, _add_history, _add_export, _add_tail):
        declare(commands)


def _add_balance(commands: Any) -> None:
    parser = command(commands, "balance", _balance, "Show an account's totals, now or in the past, in minor units.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("account_id", type=record_id, help="32 hexadecimal digits as in reports, or a number")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", help=_TIME_HELP)
    when.add_argument("--height", type=whole_number, help="after the block at this height")


def _balance(options: Options) -> int:
    from pyledger.jobs.lookups import moment_ns
    from pyledger.node.embedded import Ledger

    time_ns = None if options.at is None else moment_ns(options.at)
    with Ledger.open(options.ledger, read_only=True) as ledger:
        balance = ledger.balance(options.account_id, height=options.height, time_ns=time_ns)
    print_fields({"account_id": f"{options.account_id:032x}", **asdict(balance)}, options.json)
    return 0


def _add_history(commands: Any) -> None:
    parser = command(commands, "history", _history, "List an account's entries, newest first, with its balances.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("account_id", type=record_id, help="32 hexadecimal digits as in reports, or a number")
    parser.add_argument("--first", metavar="TIME", help=f"of the oldest entry; {_TIME_HELP}")
    parser.add_argument("--last", metavar="TIME", help="of the newest entry")
    parser.add_argument("--limit", type=whole_number, default=50, help="entries at most; default %(default)s")


def _history(options: Options) -> int:
    from pyledger.jobs.lookups import moment_ns, plain_rows
    from pyledger.jobs.tables import print_history
    from pyledger.node.embedded import Ledger

    first, last = (None if text is None else moment_ns(text) for text in (options.first, options.last))
    with Ledger.open(options.ledger, read_only=True) as ledger:
        table = ledger.history(options.account_id, first_time_ns=first, last_time_ns=last, limit=options.limit)
    rows = list(plain_rows(table))
    if options.json:
        print(json.dumps({"account_id": f"{options.account_id:032x}", "entries": rows}))
    else:
        print_history(rows, console())
    return 0


def _add_export(commands: Any) -> None:
    summary = "Write blocks as Parquet files, or the history log as a tiled log; goes on where it stopped."
    parser = command(commands, "export", _export, summary)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("out", type=Path, help="a new folder, or one of an earlier export of this ledger")
    parser.add_argument("--heights", type=whole_number, nargs=2, metavar=("FIRST", "LAST"), help="default: all blocks")
    parser.add_argument("--blocks-per-file", type=whole_number, default=64, help="default %(default)s")
    log = parser.add_argument_group("the history log, for web servers (C2SP tlog-tiles)")
    log.add_argument("--tiles", type=Path, metavar="KEY_FILE", help="write it; this Ed25519 key signs its checkpoint")
    log.add_argument("--origin", help="the log's name: where it is served, without https://; default pyledger/CHAIN_ID")


def _export(options: Options) -> int:
    from pyledger.node.embedded import Ledger

    if options.tiles is not None:
        return _export_log(options)
    heights = None if options.heights is None else tuple(options.heights)
    with progress_bars() as progress, Ledger.open(options.ledger, read_only=True) as ledger:
        last = heights[1] if heights else ledger.height
        exported = ledger.export_parquet(
            options.out,
            heights,
            blocks_per_file=options.blocks_per_file,
            progress=lambda height: progress("export", height, last),
        )
    print_fields({"folder": str(options.out), **asdict(exported)}, options.json)
    return 0


def _export_log(options: Options) -> int:
    from pyledger.crypto import keys
    from pyledger.node.embedded import Ledger

    if options.heights is not None:
        raise InputError("--heights goes with Parquet files: a log begins at the first block")
    key = keys.load(options.tiles, read_passphrase())
    if not isinstance(key, keys.SigningKey):
        raise InputError("expected an Ed25519 key", file=options.tiles)
    with progress_bars() as progress, Ledger.open(options.ledger, read_only=True) as ledger:
        last = ledger.final_height
        published = ledger.export_log(
            options.out, key, origin=options.origin, progress=lambda height: progress("export", height, last)
        )
    print_fields({"folder": str(options.out), **asdict(published)}, options.json)
    return 0


def _add_tail(commands: Any) -> None:
    parser = command(commands, "tail", _tail, "Follow a ledger: each block once it is durable; with --json every row.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--from", type=whole_number, default=1, dest="height", help="first height; default %(default)s")
    parser.add_argument("--wait", type=float, help="seconds to wait for a further block; default: for ever")


def _tail(options: Options) -> int:
    from pyledger.jobs.lookups import feed_lines, feed_summary
    from pyledger.node.embedded import Ledger

    with Ledger.open(options.ledger, read_only=True) as ledger:
        for block in ledger.tail(options.height, wait=options.wait):
            summary = feed_summary(block)
            text = ", ".join(f"{name} {value}" for name, value in summary.items())
            print("\n".join(feed_lines(block)) if options.json else text, flush=True)
    return 0
