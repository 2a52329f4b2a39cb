"""A node's configuration: one TOML file, read strictly. docs/node.md explains every key.

Secrets are never in it: keys lie in key files, their passphrase in a file or an environment variable, passwords of
servers in PGPASSFILE or a credentials file.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec

from pyledger.crypto import bls, keys
from pyledger.errors import InputError, StorageError
from pyledger.ledger.genesis import Genesis
from pyledger.node.transports.interface import check_name

__all__ = ["Config", "JetStream", "Keys", "Limits", "Postgres", "load_config"]

_CONFIG_BYTES_MAX: Final = 1 << 20
_PASSWORD: Final = re.compile(r"(^|\s|[?&])password\s*=", re.IGNORECASE)
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; an unknown key is an error."""


class Keys(_Section, frozen=True):
    """Where the validator's key is and how it is opened.

    Parameters
    ----------
    validator : str
        Key file of the BLS key that votes.
    votes : str
        What the key has promised (`VoteStore`). Beside the key, not in the data folder: a ledger can be fetched again
        from peers, this can't.
    passphrase_file : str, optional
        Its first line is the passphrase; others may not be able to read the file.
    passphrase_env : str, optional
        Without such a file: the environment variable that holds it.
    """

    validator: str
    votes: str = "votes"
    passphrase_file: str | None = None
    passphrase_env: str = "PYLEDGER_PASSPHRASE"


class Postgres(_Section, tag_field="kind", tag="postgres", frozen=True):
    """A database that carries messages.

    Parameters
    ----------
    conninfo : str
        libpq connection string without a password.
    """

    conninfo: str
    retention_seconds: _Count = 120
    table_bytes_max: _Count = 2 << 30


class JetStream(_Section, tag_field="kind", tag="jetstream", frozen=True):
    """A NATS server or cluster that carries messages.

    Parameters
    ----------
    servers : list of str
        Such as ``nats://host:4222``, without user and password.
    sync : {"always", "any"}
        "always": refuse a server that acknowledges before it has synced; needs `monitor_url`.
    monitor_url : str, optional
        The server's monitoring endpoint.
    credentials_file : str, optional
        NATS credentials.
    ca_file : str, optional
        Certificate authority of the servers; turns TLS on.
    """

    servers: Annotated[list[str], msgspec.Meta(min_length=1)]
    sync: Literal["always", "any"] = "always"
    monitor_url: str | None = None
    credentials_file: str | None = None
    ca_file: str | None = None
    replicas: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    retention_seconds: _Count = 120
    stream_bytes_max: _Count = 2 << 30


class Limits(_Section, frozen=True):
    """Bounds on time and memory.

    Parameters
    ----------
    block_interval_ms : int
        How long a leader without work, or with less than a full block, waits for batches.
    round_timeout_ms : int
        How long a round may take before its leader is given up; longer while rounds fail.
    mempool_bytes_max : int
        Batches that wait for a block; more are refused.
    clients_max : int
        Connections of clients at a time.
    snapshot_every : int
        Transfers and accounts between two snapshots: at most about so many are executed again at a start.
    """

    block_interval_ms: _Milliseconds = 50
    round_timeout_ms: _Milliseconds = 2_000
    mempool_bytes_max: Annotated[int, msgspec.Meta(ge=1 << 20)] = 512 << 20
    clients_max: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    snapshot_every: _Count = 1 << 21


class Config(_Section, frozen=True):
    """What a node is and whom it talks to. Paths are relative to the file's folder.

    Parameters
    ----------
    name : str
        A validator's BIC in the genesis; an observer's free name.
    role : {"validator", "observer"}
    genesis : str
        Genesis file of the chain.
    data : str
        Folder of this node's ledger; made if it is not there.
    transport : Postgres or JetStream
    keys : Keys, optional
        For validators.
    observers : list of str, optional
        Names of the observers that may ask this node for blocks.
    limits : Limits, optional
    metrics : str, optional
        ``address:port`` of the Prometheus endpoint; none without it.
    log_level : str, optional
    """

    name: str
    role: Literal["validator", "observer"]
    genesis: str
    data: str
    transport: Postgres | JetStream
    keys: Keys | None = None
    observers: list[str] = []
    limits: Limits = Limits()
    metrics: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    folder: Path = Path()
    """Folder of the file; set by `load_config`."""

    @property
    def data_folder(self) -> Path:
        """Folder of this node's ledger."""
        return self.folder / self.data

    @property
    def votes_path(self) -> Path:
        """The validator's vote store."""
        assert self.keys is not None
        return self.folder / self.keys.votes

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the metrics endpoint."""
        if self.metrics is None:
            return None
        host, _, port = self.metrics.rpartition(":")
        return host, int(port)

    def read_genesis(self) -> Genesis:
        """Genesis of the chain; StorageError if it can't be read, InputError if it is none."""
        return Genesis.read(self.folder / self.genesis)

    def open_validator_key(self) -> bls.SecretKey:
        """The key that votes.

        Raises
        ------
        InputError, StorageError, AuthorisationError
            If passphrase or key file are not there, are not what they should be or don't fit each other.
        """
        assert self.keys is not None
        path = self.folder / self.keys.validator
        key = keys.load(path, _passphrase(self.keys, self.folder))
        if not isinstance(key, bls.SecretKey):
            raise InputError("expected a key of scheme bls12381-min-sig", file=path, field="scheme")
        return key


def load_config(path: str | Path) -> Config:
    """Read a configuration.

    Raises
    ------
    StorageError
        If the file can't be read.
    InputError
        If it is not as expected: names file, key and expectation.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StorageError(f"{file}: cannot be read: {error.strerror}") from error
    if len(content) > _CONFIG_BYTES_MAX:
        raise InputError(f"expected at most {_CONFIG_BYTES_MAX} bytes, got {len(content)}", file=file)
    try:
        tree = tomllib.loads(content.decode())
        if "folder" in tree:
            raise InputError("is no key of this file", file=file, field="folder")
        config = msgspec.structs.replace(msgspec.convert(tree, Config), folder=file.parent)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not TOML: {error}", file=file) from None
    except msgspec.ValidationError as error:
        raise _field_error(file, tree, str(error)) from None
    _check(config, file)
    return config


def _field_error(file: Path, tree: dict[str, Any], text: str) -> InputError:
    """msgspec says ``Expected `int`, got `str` - at `$.limits.clients_max```: the key goes in front."""
    reason, _, place = text.partition(" - at `")
    field = place.rstrip("`").removeprefix("$").removeprefix(".")
    allowed = _allowed(reason, field, tree)
    expected = f"; expected {', '.join(allowed)}" if allowed else ""
    return InputError(reason.replace("`", "'") + expected, file=file, field=field or None)


def _allowed(reason: str, field: str, tree: dict[str, Any]) -> tuple[str, ...]:
    """The keys of a section or values of a key, where msgspec says that one is not among them and no more."""
    transports: dict[str, type[_Section]] = {"postgres": Postgres, "jetstream": JetStream}
    if reason.startswith("Invalid value"):
        return tuple(transports)  # the only key of that kind: transport.kind
    section, _, key = field.rpartition(".") if reason.startswith("Invalid enum value") else (field, "", "")
    if not key and not reason.startswith("Object contains unknown field"):
        return ()
    tables: dict[str, type[_Section]] = {"": Config, "keys": Keys, "limits": Limits}
    table = transports[tree["transport"]["kind"]] if section == "transport" else tables[section]
    if key:
        return get_args(get_type_hints(table)[key])
    return tuple(name for name in table.__struct_fields__ if name != "folder")


def _check(config: Config, file: Path) -> None:
    for field, name in [("name", config.name), *(("observers", name) for name in config.observers)]:
        try:
            check_name(name)
        except InputError as error:
            raise InputError(error.reason, file=file, field=field) from None
    if (config.role == "validator") != (config.keys is not None):
        expected = "expected for a validator" if config.keys is None else "an observer has no keys"
        raise InputError(expected, file=file, field="keys")
    if config.metrics is not None and not _is_address(config.metrics):
        raise InputError(
            f"expected 'address:port' with a port up to 65535, got '{config.metrics}'", file=file, field="metrics"
        )
    _check_transport(config.transport, file)


def _is_address(text: str) -> bool:
    found = re.fullmatch(r"[^\s:]+:(\d{1,5})", text)
    return found is not None and int(found[1]) <= 65535


def _check_transport(transport: Postgres | JetStream, file: Path) -> None:
    if isinstance(transport, Postgres):
        url = urlsplit(transport.conninfo)
        if _PASSWORD.search(transport.conninfo) or (url.scheme.startswith("postgres") and url.password):
            raise InputError("holds a password: it belongs into PGPASSFILE", file=file, field="transport.conninfo")
        return
    if any("@" in server for server in transport.servers):
        raise InputError("holds a user: it belongs into credentials_file", file=file, field="transport.servers")
    if transport.sync == "always" and transport.monitor_url is None:
        expected = 'expected with sync = "always": the server\'s monitoring endpoint, to see its sync_interval'
        raise InputError(expected, file=file, field="transport.monitor_url")


def _passphrase(section: Keys, folder: Path) -> str:
    if section.passphrase_file is None:
        given = os.environ.get(section.passphrase_env)
        if given is None:
            raise InputError(f"expected the key file's passphrase in the environment variable {section.passphrase_env}")
        return given
    path = folder / section.passphrase_file
    try:
        if path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise InputError("others can read it or change it: expected mode 0600 or 0640", file=path)
        return path.read_text().partition("\n")[0]
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
