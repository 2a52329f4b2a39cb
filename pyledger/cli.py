"""The command line: ``pyledger COMMAND``. Progress and messages go to stderr, results to stdout.

Exit status: 0 done; 1 a check failed (audit, receipt, unexplained differences); 2 wrong usage; 3 input is not as
expected; 4 files can't be read or written; 5 not authorised or a wrong signature; 6 any other refusal of the ledger;
130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import getpass
import importlib.metadata
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pyledger.errors import (
    AuthorisationError,
    InputError,
    LedgerError,
    ProofError,
    SignatureError,
    StorageError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pyledger.verifier import Trust

__all__ = ["main"]

_STATUS = (
    (InputError, 3),
    (StorageError, 4),
    (AuthorisationError, 5),
    (SignatureError, 5),
    (ProofError, 1),
    (LedgerError, 6),
)
_Options = argparse.Namespace
_TIME_HELP = "a date (its end, UTC), a date and time in ISO 8601, or nanoseconds since 1970 UTC"


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
    adders = (_add_sample, _add_day, _add_ingest, _add_prove, _add_trust, _add_verify, _add_audit, _add_key)
    for add in (*adders, _add_node, _add_status, _add_network, _add_simulate):
        add(commands)
    for add in (_add_balance, _add_history, _add_export, _add_tail):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[[_Options], int], summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return parser


# sample --------------------------------------------------------------------------------------------------------------


def _add_sample(commands: Any) -> None:
    parser = _command(commands, "sample", _sample, "Make the day files of several fictional institutions from a seed.")
    parser.add_argument("out", type=Path, help="a new or empty folder")
    _add_sample_options(parser, accounts=20_000, transfers=1_000_000)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")


def _add_sample_options(parser: argparse._ActionsContainer, accounts: int, transfers: int) -> None:
    parser.add_argument("--institutions", type=int, default=5, help="default %(default)s")
    parser.add_argument("--accounts", type=int, default=accounts, help="default %(default)s")
    parser.add_argument("--transfers", type=int, default=transfers, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--date", type=_date, help="business date, YYYY-MM-DD")
    parser.add_argument("--break-share", type=float, help="planted breaks for each statement row")
    parser.add_argument("--block-transfers", type=int, help="transfers that a block may hold; default 65536")


def _sample(options: _Options) -> int:
    with _progress() as progress:
        summary = _write_sample(options, options.out, options.format, progress)
    _print_fields(asdict(summary), options.json)
    return 0


def _write_sample(options: _Options, out: Path, file_format: Any, progress: Any) -> Any:
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


# day -----------------------------------------------------------------------------------------------------------------


def _add_day(commands: Any) -> None:
    parser = _command(
        commands, "day", _day, "Run a bank day: verify, post, commit, net, reconcile, prove and audit its files."
    )
    parser.add_argument("folder", type=Path, nargs="?", help="day folder; with --sample it is made first")
    parser.add_argument("--sample", action="store_true", help="make a small sample day first (see the options below)")
    parser.add_argument("--out", type=Path, help="folder for ledger and reports; default FOLDER/out")
    parser.add_argument(
        "--receipts", type=_count, default=20, help="transfers to prove and verify; default %(default)s"
    )
    _add_sample_options(parser.add_argument_group("with --sample"), accounts=2_000, transfers=100_000)


def _day(options: _Options) -> int:
    from pyledger.jobs.day import run_day
    from pyledger.jobs.tables import print_day

    if options.folder is None and not options.sample:
        raise InputError("expected a day folder, or --sample")
    folder = options.folder or Path("day-sample")
    out = options.out or folder / "out"
    with _progress() as progress:
        if options.sample and (folder / "day.json").exists():
            print(f"pyledger: {folder} holds a day already: it is used as it is", file=sys.stderr)
        elif options.sample:
            _write_sample(options, folder, "parquet", progress)
        passphrase = os.environ.get("PYLEDGER_PASSPHRASE")
        summary = run_day(folder, out=out, receipts=options.receipts, passphrase=passphrase, progress=progress)
    if options.json:
        print(json.dumps(msgspec.to_builtins(summary)))
    else:
        print_day(summary, _console())
        print(f"Ledger, settlement instructions, breaks, refusals and receipts: {out}")
    return 0 if summary.ok else 1


# ingest --------------------------------------------------------------------------------------------------------------


def _add_ingest(commands: Any) -> None:
    parser = _command(commands, "ingest", _ingest, "Post a bank's CSV export as that institution's attested batches.")
    parser.add_argument("export", type=Path, help="the bank's file")
    parser.add_argument("--mapping", type=Path, required=True, help="TOML file that says what its columns are")
    parser.add_argument("--ledger", type=Path, required=True, help="ledger folder; made if it is not there")
    parser.add_argument("--bic", required=True, help="the institution whose export it is")
    parser.add_argument("--keys", type=Path, help="folder of its key files; default LEDGER.keys, made if needed")
    parser.add_argument("--settlement", type=Path, help="write what it and other banks owe each other, netted, as CSV")
    parser.add_argument("--ids", type=Path, help="list the transfer id of each row in this CSV file, for prove")
    parser.add_argument("--bad-rows", type=Path, help="post the good rows and list the bad ones in this CSV file")


def _ingest(options: _Options) -> int:
    from pyledger.jobs.ingest import ingest_export

    with _progress() as progress:
        summary = ingest_export(
            options.export,
            options.mapping,
            options.ledger,
            options.bic,
            options.keys or options.ledger.with_name(options.ledger.name + ".keys"),
            _passphrase(),
            settlement_path=options.settlement,
            bad_rows_path=options.bad_rows,
            ids_path=options.ids,
            progress=progress,
        )
    _print_fields(asdict(summary), options.json)
    return 1 if summary.rows_bad or summary.refused else 0


# prove, verify, audit ------------------------------------------------------------------------------------------------


def _add_prove(commands: Any) -> None:
    summary = "Write the receipt of a transfer in a final block, an account's balance proof, or a consistency proof."
    parser = _command(commands, "prove", _prove, summary)
    parser.add_argument("ledger", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("id", type=_id, nargs="?", help="of the transfer: 32 hexadecimal digits, or a number")
    what.add_argument(
        "--consistency",
        type=_count,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="prove that the chain up to one height is the beginning of the chain up to another",
    )
    parser.add_argument(
        "--balance", action="store_true", help="the id is an account's: prove what it holds, or that there is none"
    )
    parser.add_argument(
        "--trusted-epoch",
        type=_count,
        default=0,
        metavar="N",
        help="epoch of the reader's trust file: changes of the validators before it are left out; default 0",
    )
    parser.add_argument("--out", type=Path, help="file; default ID.receipt, ID.balance or OLD-NEW.consistency")


def _prove(options: _Options) -> int:
    from pyledger.formats.atomic import write_atomic
    from pyledger.node.embedded import Ledger

    kind = "consistency" if options.consistency else "balance" if options.balance else "receipt"
    if options.consistency and options.balance:
        raise InputError("--balance goes with an id, not with --consistency")
    epoch = options.trusted_epoch
    with Ledger.open(options.ledger, read_only=True) as ledger:
        if options.consistency:
            proof = ledger.prove_history(*options.consistency, trusted_epoch=epoch)
            name = "{}-{}".format(*options.consistency)
        else:
            prove = ledger.prove_balance if options.balance else ledger.prove
            proof, name = prove(options.id, trusted_epoch=epoch), f"{options.id:032x}"
    out = options.out or Path(f"{name}.{kind}")
    write_atomic(out, proof)
    _print_fields({kind: str(out), "bytes": len(proof), "trust": str(options.ledger / "trust.json")}, options.json)
    return 0


def _add_trust(commands: Any) -> None:
    summary = "Follow the changes of the validators and write the trust file of those in office now."
    parser = _command(commands, "trust", _trust, summary)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--trust", type=Path, required=True, help="trust file of the chain that is trusted so far")
    parser.add_argument("--out", type=Path, required=True, help="the new trust file")


def _trust(options: _Options) -> int:
    from pyledger.formats.atomic import write_atomic
    from pyledger.node.embedded import Ledger
    from pyledger.node.verification import trust_after

    trust = _read_trust(options.trust)
    with Ledger.open(options.ledger, read_only=True) as ledger:
        if ledger.genesis.chain_id != trust.chain_id:
            raise InputError("is of another chain than the ledger", file=options.trust)
        reached = trust_after(trust, ledger.changes_of_validators(trust.epoch))
    write_atomic(options.out, reached.to_json().encode())
    fields = {"trust": str(options.out), "epoch": reached.epoch, "validators": len(reached.weights)}
    _print_fields(fields, options.json)
    return 0


def _read_trust(path: Path) -> Trust:
    from pyledger.verifier import ReceiptError, Trust

    try:
        return Trust.read(path)
    except ReceiptError as error:
        raise InputError(str(error), file=path) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _add_verify(commands: Any) -> None:
    parser = _command(commands, "verify", _verify, "Check proofs and evidence offline, or tiled logs.")
    parser.add_argument(
        "proofs",
        type=Path,
        nargs="+",
        help="files of prove, evidence of a node; with --log-key folders of export --tiles",
    )
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--trust", type=Path, help="trust.json of the chain")
    against.add_argument("--log-key", metavar="NAME+ID+KEY", help="verifier key of the logs, as export --tiles prints")
    parser.add_argument("--independent", action="store_true", help="compute pairings with py_ecc, not with blst")


def _verify(options: _Options) -> int:
    from pyledger import verifier

    if options.log_key is not None:
        return _verify_logs(options)
    flags = [*(["--independent"] if options.independent else []), *(["--json"] if options.json else [])]
    evidence = list(filter(_is_evidence, options.proofs))
    proofs = [str(path) for path in options.proofs if path not in evidence]
    status = verifier.main(["--trust", str(options.trust), *flags, *proofs]) if proofs else 0
    status = max([status, *(_verify_evidence(path, options) for path in evidence)])
    return 4 if status == 2 else status  # 2 is wrong usage on this command line


def _is_evidence(path: Path) -> bool:
    from pyledger.consensus.evidence import EVIDENCE_MAGIC

    if not path.is_file():
        return False  # the verifier says so
    with path.open("rb") as stream:
        return stream.read(len(EVIDENCE_MAGIC)) == EVIDENCE_MAGIC


def _verify_evidence(path: Path, options: _Options) -> int:
    from pyledger.node.verification import verify_evidence
    from pyledger.verifier import Trust

    try:
        proven = verify_evidence(path.read_bytes(), Trust.read(options.trust))
    except ProofError as error:
        print(f"{path}: NOT VALID: {error}", file=sys.stderr)
        return 1
    fields = {**proven._asdict(), "public_key": proven.public_key.hex()}
    _print_fields({"file": str(path), "valid": True, "contradiction": True, **fields}, options.json)
    return 0


def _verify_logs(options: _Options) -> int:
    from pyledger.ledger.history import VerifierKey
    from pyledger.ledger.tiles import check_log

    key = VerifierKey.parse(options.log_key)
    for folder in options.proofs:
        checkpoint = check_log(folder, key)
        _print_fields({"log": str(folder), "valid": True, **asdict(checkpoint)}, options.json)
    return 0


def _add_audit(commands: Any) -> None:
    parser = _command(commands, "audit", _audit, "Replay a ledger from genesis and check everything in it.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument(
        "--reach",
        action="append",
        default=[],
        metavar="PROOF|HEIGHT[:HASH]",
        help="a receipt or other proof that you hold, a header, or the height and block hash that an earlier audit "
        "printed: the ledger must hold that block; may be given several times",
    )


def _audit(options: _Options) -> int:
    from pyledger.jobs.lookups import reach_from
    from pyledger.node.embedded import Ledger

    genesis = Ledger.read_genesis(options.ledger)
    reach = [reach_from(text, genesis) for text in options.reach]
    with _progress() as progress:
        report = Ledger.audit_folder(options.ledger, lambda height, last: progress("audit", height, last), reach=reach)
    fields = {**asdict(report), "tip": report.tip.hex(), "ok": report.ok}
    _print_fields(fields, options.json)
    return 0 if report.ok else 1


# balance, history, export, tail --------------------------------------------------------------------------------------


def _add_balance(commands: Any) -> None:
    parser = _command(commands, "balance", _balance, "Show an account's totals, now or in the past, in minor units.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("account_id", type=_id, help="32 hexadecimal digits as in reports, or a number")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", help=_TIME_HELP)
    when.add_argument("--height", type=_count, help="after the block at this height")


def _balance(options: _Options) -> int:
    from pyledger.jobs.lookups import moment_ns
    from pyledger.node.embedded import Ledger

    time_ns = None if options.at is None else moment_ns(options.at)
    with Ledger.open(options.ledger, read_only=True) as ledger:
        balance = ledger.balance(options.account_id, height=options.height, time_ns=time_ns)
    _print_fields({"account_id": f"{options.account_id:032x}", **asdict(balance)}, options.json)
    return 0


def _add_history(commands: Any) -> None:
    parser = _command(commands, "history", _history, "List an account's entries, newest first, with its balances.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("account_id", type=_id, help="32 hexadecimal digits as in reports, or a number")
    parser.add_argument("--first", metavar="TIME", help=f"of the oldest entry; {_TIME_HELP}")
    parser.add_argument("--last", metavar="TIME", help="of the newest entry")
    parser.add_argument("--limit", type=_count, default=50, help="entries at most; default %(default)s")


def _history(options: _Options) -> int:
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
        print_history(rows, _console())
    return 0


def _add_export(commands: Any) -> None:
    summary = "Write blocks as Parquet files, or the history log as a tiled log; goes on where it stopped."
    parser = _command(commands, "export", _export, summary)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("out", type=Path, help="a new folder, or one of an earlier export of this ledger")
    parser.add_argument("--heights", type=_count, nargs=2, metavar=("FIRST", "LAST"), help="default: all blocks")
    parser.add_argument("--blocks-per-file", type=_count, default=64, help="default %(default)s")
    log = parser.add_argument_group("the history log, for web servers (C2SP tlog-tiles)")
    log.add_argument("--tiles", type=Path, metavar="KEY_FILE", help="write it; this Ed25519 key signs its checkpoint")
    log.add_argument("--origin", help="the log's name: where it is served, without https://; default pyledger/CHAIN_ID")


def _export(options: _Options) -> int:
    from pyledger.node.embedded import Ledger

    if options.tiles is not None:
        return _export_log(options)
    heights = None if options.heights is None else tuple(options.heights)
    with _progress() as progress, Ledger.open(options.ledger, read_only=True) as ledger:
        last = heights[1] if heights else ledger.height
        exported = ledger.export_parquet(
            options.out,
            heights,
            blocks_per_file=options.blocks_per_file,
            progress=lambda height: progress("export", height, last),
        )
    _print_fields({"folder": str(options.out), **asdict(exported)}, options.json)
    return 0


def _export_log(options: _Options) -> int:
    from pyledger.crypto import keys
    from pyledger.node.embedded import Ledger

    if options.heights is not None:
        raise InputError("--heights goes with Parquet files: a log begins at the first block")
    key = keys.load(options.tiles, _passphrase())
    if not isinstance(key, keys.SigningKey):
        raise InputError("expected an Ed25519 key", file=options.tiles)
    with _progress() as progress, Ledger.open(options.ledger, read_only=True) as ledger:
        last = ledger.final_height
        published = ledger.export_log(
            options.out, key, origin=options.origin, progress=lambda height: progress("export", height, last)
        )
    _print_fields({"folder": str(options.out), **asdict(published)}, options.json)
    return 0


def _add_tail(commands: Any) -> None:
    parser = _command(commands, "tail", _tail, "Follow a ledger: each block once it is durable; with --json every row.")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--from", type=_count, default=1, dest="height", help="first height; default %(default)s")
    parser.add_argument("--wait", type=float, help="seconds to wait for a further block; default: for ever")


def _tail(options: _Options) -> int:
    from pyledger.jobs.lookups import feed_lines, feed_summary
    from pyledger.node.embedded import Ledger

    with Ledger.open(options.ledger, read_only=True) as ledger:
        for block in ledger.tail(options.height, wait=options.wait):
            summary = feed_summary(block)
            text = ", ".join(f"{name} {value}" for name, value in summary.items())
            print("\n".join(feed_lines(block)) if options.json else text, flush=True)
    return 0


# key -----------------------------------------------------------------------------------------------------------------


def _add_key(commands: Any) -> None:
    parser = _command(commands, "key", _key, "Make a key file, or show the public key of one.")
    parser.add_argument("action", choices=("new", "show"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--scheme", choices=("ed25519", "bls12381-min-sig"), default="ed25519")


def _key(options: _Options) -> int:
    from pyledger.crypto import keys

    if options.action == "new":
        key = keys.generate(options.file, _passphrase(confirm=True), scheme=options.scheme)
    else:
        key = keys.load(options.file, _passphrase())
    _print_fields({"file": str(options.file), "public_key": key.public_key.hex()}, options.json)
    return 0


# node, status, network -----------------------------------------------------------------------------------------------


def _add_node(commands: Any) -> None:
    parser = commands.add_parser("node", help="Run an institution's node until SIGTERM or SIGINT.")
    parser.set_defaults(run=_node)
    parser.add_argument("--config", type=Path, required=True, help="the node's TOML file")
    parser.add_argument("--new-key", action="store_true", help="the key has never voted on this chain: note its votes")


def _node(options: _Options) -> int:
    from pyledger.node.config import load_config
    from pyledger.node.service import run_node

    run_node(load_config(options.config), new_key=options.new_key)
    return 0


def _add_status(commands: Any) -> None:
    parser = _command(commands, "status", _status, "Show how a running node is.")
    parser.add_argument("--config", type=Path, required=True, help="the node's TOML file")


def _status(options: _Options) -> int:
    from pyledger.node.client import NodeClient
    from pyledger.node.config import load_config

    with NodeClient(load_config(options.config).data_folder) as client:
        _print_fields(client.status(), options.json)
    return 0


def _add_network(commands: Any) -> None:
    parser = _command(commands, "network", _network, "Make keys, genesis and configurations of banks on one machine.")
    parser.add_argument("action", choices=("init",))
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--banks", type=_count, default=4, help="default %(default)s")
    transports = parser.add_mutually_exclusive_group(required=True)
    transports.add_argument("--postgres", metavar="CONNINFO", help="libpq connection string of a database")
    transports.add_argument("--nats", metavar="URL", help="a NATS server with JetStream")
    parser.add_argument("--nats-monitor", metavar="URL", help="its monitoring endpoint, to check how it syncs")
    parser.add_argument("--metrics-port", type=_count, help="first of the ports for Prometheus; none by default")


def _network(options: _Options) -> int:
    from pyledger.node.network import init_network

    if options.postgres is not None:
        transport: dict[str, object] = {"kind": "postgres", "conninfo": options.postgres}
    elif options.nats_monitor is not None:
        transport = {"kind": "jetstream", "servers": [options.nats], "monitor_url": options.nats_monitor}
    else:
        transport = {"kind": "jetstream", "servers": [options.nats], "sync": "any"}
    passphrase = _passphrase(confirm=True)
    files = init_network(options.folder, options.banks, transport, passphrase, metrics_port=options.metrics_port)
    _print_fields({"genesis": files.genesis, "chain": files.chain, "configs": list(files.configs)}, options.json)
    return 0


# simulate ------------------------------------------------------------------------------------------------------------


def _add_simulate(commands: Any) -> None:
    parser = _command(
        commands, "simulate", _simulate, "Hunt for forks: run the consensus protocol through faulty schedules."
    )
    parser.add_argument("--seed", type=_count, default=0, help="of the first schedule; a seed replays exactly")
    parser.add_argument("--schedules", type=_count, default=1_000, help="default %(default)s")
    parser.add_argument("--nodes", type=_node_count, default=4, help="validators, 4 to 100; default %(default)s")
    parser.add_argument("--real", action="store_true", help="with BLS keys and encoded messages; slower")


def _simulate(options: _Options) -> int:
    from pyledger.consensus.simulator import run_schedules

    with _progress() as progress:
        summary = run_schedules(
            options.seed,
            options.schedules,
            options.nodes,
            options.real,
            lambda done: progress("schedules", done, options.schedules),
        )
    _print_fields({**asdict(summary), "ok": summary.ok}, options.json)
    return 0 if summary.ok else 1


# shared --------------------------------------------------------------------------------------------------------------


def _id(text: str) -> int:
    """An id as reports write it (32 hexadecimal digits), or as a number: decimal, or hexadecimal with 0x."""
    try:
        number = int(text, 16) if len(text) == 32 else int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 128:
        raise argparse.ArgumentTypeError(f"expected 32 hexadecimal digits or a number below 2^128, got '{text}'")
    return number


def _count(text: str) -> int:
    """A number that is not negative."""
    return _integer(text, "a whole number from 0 on", 0)


def _node_count(text: str) -> int:
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


def _date(text: str) -> datetime.date:
    """A business date."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date, YYYY-MM-DD, got '{text}'") from None


def _version() -> str:
    return f"pyledger {importlib.metadata.version('pyledger')}"


def _passphrase(*, confirm: bool = False) -> str:
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


def _console() -> Console:
    from rich.console import Console

    return Console()


def _print_fields(fields: dict[str, Any], as_json: bool) -> None:
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
def _progress() -> Iterator[Callable[[str, int, int], None]]:
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


if __name__ == "__main__":
    sys.exit(main())
