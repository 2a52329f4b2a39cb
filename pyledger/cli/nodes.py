"""key, node, status, network, simulate: institutions' nodes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyledger.cli.shared import (
    Options,
    command,
    node_count,
    print_fields,
    progress_bars,
    read_passphrase,
    whole_number,
)

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    for declare in (_add_key, _add_node, _add_status, _add_network, _add_simulate):
        declare(commands)


def _add_key(commands: Any) -> None:
    parser = command(commands, "key", _key, "Make a key file, or show the public key of one.")
    parser.add_argument("action", choices=("new", "show"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--scheme", choices=("ed25519", "bls12381-min-sig"), default="ed25519")


def _key(options: Options) -> int:
    from pyledger.crypto import keys

    if options.action == "new":
        key = keys.generate(options.file, read_passphrase(confirm=True), scheme=options.scheme)
    else:
        key = keys.load(options.file, read_passphrase())
    print_fields({"file": str(options.file), "public_key": key.public_key.hex()}, options.json)
    return 0


def _add_node(commands: Any) -> None:
    parser = commands.add_parser("node", help="Run an institution's node until SIGTERM or SIGINT.")
    parser.set_defaults(run=_node)
    parser.add_argument("--config", type=Path, required=True, help="the node's TOML file")
    parser.add_argument("--new-key", action="store_true", help="the key has never voted on this chain: note its votes")


def _node(options: Options) -> int:
    from pyledger.node.config import load_config
    from pyledger.node.service import run_node

    run_node(load_config(options.config), new_key=options.new_key)
    return 0


def _add_status(commands: Any) -> None:
    parser = command(commands, "status", _status, "Show how a running node is.")
    parser.add_argument("--config", type=Path, required=True, help="the node's TOML file")


def _status(options: Options) -> int:
    from pyledger.node.client import NodeClient
    from pyledger.node.config import load_config

    with NodeClient(load_config(options.config).data_folder) as client:
        print_fields(client.status(), options.json)
    return 0


def _add_network(commands: Any) -> None:
    parser = command(commands, "network", _network, "Make keys, genesis and configurations of banks on one machine.")
    parser.add_argument("action", choices=("init",))
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--banks", type=whole_number, default=4, help="default %(default)s")
    transports = parser.add_mutually_exclusive_group(required=True)
    transports.add_argument("--postgres", metavar="CONNINFO", help="libpq connection string of a database")
    transports.add_argument("--nats", metavar="URL", help="a NATS server with JetStream")
    parser.add_argument("--nats-monitor", metavar="URL", help="its monitoring endpoint, to check how it syncs")
    parser.add_argument("--metrics-port", type=whole_number, help="first of the ports for Prometheus; none by default")


def _network(options: Options) -> int:
    from pyledger.node.network import init_network

    if options.postgres is not None:
        transport: dict[str, object] = {"kind": "postgres", "conninfo": options.postgres}
    elif options.nats_monitor is not None:
        transport = {"kind": "jetstream", "servers": [options.nats], "monitor_url": options.nats_monitor}
    else:
        transport = {"kind": "jetstream", "servers": [options.nats], "sync": "any"}
    passphrase = read_passphrase(confirm=True)
    files = init_network(options.folder, options.banks, transport, passphrase, metrics_port=options.metrics_port)
    print_fields({"genesis": files.genesis, "chain": files.chain, "configs": list(files.configs)}, options.json)
    return 0


def _add_simulate(commands: Any) -> None:
    parser = command(
        commands, "simulate", _simulate, "Hunt for forks: run the consensus protocol through faulty schedules."
    )
    parser.add_argument("--seed", type=whole_number, default=0, help="of the first schedule; a seed replays exactly")
    parser.add_argument("--schedules", type=whole_number, default=1_000, help="default %(default)s")
    parser.add_argument("--nodes", type=node_count, default=4, help="validators, 4 to 100; default %(default)s")
    parser.add_argument("--real", action="store_true", help="with BLS keys and encoded messages; slower")


def _simulate(options: Options) -> int:
    from pyledger.consensus.simulator import run_schedules

    with progress_bars() as progress:
        summary = run_schedules(
            options.seed,
            options.schedules,
            options.nodes,
            options.real,
            lambda done: progress("schedules", done, options.schedules),
        )
    print_fields({**asdict(summary), "ok": summary.ok}, options.json)
    return 0 if summary.ok else 1
