"""`pyledger node`: everything of a node opened in order, run until a signal, and closed in order."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from pyledger.consensus.vote_store import VoteStore
from pyledger.crypto import bls
from pyledger.errors import InputError, StateError
from pyledger.ledger.genesis import Genesis
from pyledger.node.application import BookApplication
from pyledger.node.config import Config, JetStream, Postgres
from pyledger.node.ingress import Ingress
from pyledger.node.keeping import Keeping
from pyledger.node.observe import MetricsServer, log_event, start_logging
from pyledger.node.replica import Replica, peer_names
from pyledger.node.transports.interface import Transport
from pyledger.node.transports.mailbox import Mailbox

__all__ = ["open_transport", "run_node"]

_LOG: Final = logging.getLogger(__name__)


def run_node(config: Config, *, new_key: bool = False) -> None:
    """Run a node until SIGTERM or SIGINT: the event under way is finished, files are synced, locks released.

    Parameters
    ----------
    config : Config
    new_key : bool, optional
        The validator's key has never voted on this chain: make its vote store.

    Raises
    ------
    LedgerError
        If something of it can't be opened, or the node must not go on.
    """
    start_logging(config.log_level)
    genesis = config.read_genesis()
    if config.role == "observer" and config.name in genesis.institution_index:
        raise InputError(f"is a member's: '{config.name}'", field="name")
    key = config.open_validator_key() if config.role == "validator" else None
    with ExitStack() as stack:
        limits = config.limits
        keeping = Keeping(snapshot_every=limits.snapshot_every)
        application = BookApplication(config.data_folder, genesis, limits.mempool_bytes_max, keeping)
        stack.callback(application.close)
        if key is not None:
            _check_key(config.name, key, application)
        votes = None if key is None else _open_votes(config, application, key, new_key)
        if votes is not None:
            stack.callback(votes.close)
        peers = peer_names(genesis, [*config.observers, *application.epochs.names], config.name)
        mailbox = Mailbox(peers)
        transport = open_transport(config, genesis, mailbox, peers)
        stack.callback(transport.close)
        replica = Replica(config.name, genesis, application, transport, key, votes, config.limits)
        _serve_metrics(config, genesis, replica, stack)
        stack.enter_context(_stopping_on_signals(replica.stop))  # before anybody is answered
        ingress = Ingress(config.data_folder, replica.take_request, config.limits.clients_max)
        stack.callback(ingress.close)
        replica.clients_count = lambda: ingress.clients_count
        replica.run()


def _open_votes(config: Config, application: BookApplication, key: bls.SecretKey, new_key: bool) -> VoteStore:
    path = config.votes_path
    if new_key and not path.exists() and application.has_voted(key.public_key):
        raise StateError(
            f"{path}: --new-key is for a key that has never voted on this chain, and blocks here have votes of this "
            "one. Its vote store is gone: take a new validator key"
        )
    opener = VoteStore.create if new_key else VoteStore
    return opener(path, application.genesis.chain_id, key.public_key)


def _check_key(name: str, key: bls.SecretKey, application: BookApplication) -> None:
    """Refuse a validator that is neither in office nor takes over, and another key than its own there.

    A member that is not in office may hand in batches still; it follows then.
    """
    rosters = application.epochs.ahead
    keys = {key for roster in rosters for key, holder in roster.names.items() if holder == name}
    if not keys and name not in application.genesis.institution_index:
        raise InputError(f"expected the BIC of an institution of the genesis or of a validator: '{name}'", field="name")
    if keys and key.public_key not in keys:
        raise InputError(f"the validator key is not that of {name} on this chain", field="keys.validator")
    if key.public_key not in rosters[0].names:
        log_event(_LOG, "not in office: this node follows", logging.WARNING)


def open_transport(config: Config, genesis: Genesis, mailbox: Mailbox, peers: frozenset[str]) -> Transport:
    """Open the transport that a configuration names; a missing extra or server setting is an error."""
    chain = genesis.chain_id.hex()[:16]
    section = config.transport
    try:
        if isinstance(section, Postgres):
            from pyledger.node.transports.postgres import PostgresTransport

            limits = {"retention_seconds": section.retention_seconds, "table_bytes_max": section.table_bytes_max}
            return PostgresTransport(section.conninfo, chain, config.name, mailbox, **limits)
        return _open_jetstream(config, section, chain, mailbox, peers)
    except ModuleNotFoundError as error:
        extra = "postgres" if isinstance(section, Postgres) else "nats"
        raise InputError(f"this transport needs '{error.name}': pip install 'pyledger[{extra}]'") from error


def _open_jetstream(
    config: Config, section: JetStream, chain: str, mailbox: Mailbox, peers: frozenset[str]
) -> Transport:
    from pyledger.node.transports.jetstream import JetStreamTransport, check_sync

    if section.sync == "always":
        assert section.monitor_url is not None
        check_sync(section.monitor_url)
    options: dict[str, Any] = {}
    if section.credentials_file is not None:
        options["user_credentials"] = str(config.folder / section.credentials_file)
    if section.ca_file is not None:
        import ssl

        options["tls"] = ssl.create_default_context(cafile=str(config.folder / section.ca_file))
    return JetStreamTransport(
        section.servers,
        chain,
        config.name,
        mailbox,
        peers,
        retention_seconds=section.retention_seconds,
        stream_bytes_max=section.stream_bytes_max,
        replicas=section.replicas,
        options=options,
    )


def _serve_metrics(config: Config, genesis: Genesis, replica: Replica, stack: ExitStack) -> None:
    if config.metrics_address is None:
        return
    try:
        labels = {"node": config.name, "chain": genesis.chain_id.hex()[:16]}
        server = MetricsServer(config.metrics_address, replica.numbers, labels)
    except ModuleNotFoundError as error:
        raise InputError(f"metrics need '{error.name}': pip install 'pyledger[node]'", field="metrics") from error
    except OSError as error:
        raise InputError(f"can't listen on {config.metrics}: {error.strerror}", field="metrics") from error
    stack.callback(server.close)


@contextmanager
def _stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    def handle(number: int, _frame: object) -> None:
        log_event(_LOG, "stopping", signal=signal.Signals(number).name)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
