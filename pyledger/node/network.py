"""A network to try on one machine: keys, a genesis and a configuration for each of several fictional banks.

Real institutions make their keys each on their own machine (`pyledger key new`) and agree on a genesis.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyledger.consensus.vote_store import VoteStore
from pyledger.crypto import keys
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, StorageError
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.ledger.genesis import Currency, Genesis, Institution
from pyledger.node.folder import GENESIS_FILE

__all__ = ["NetworkFiles", "bank_name", "init_network"]

_EURO: Final = Currency(978, "EUR", 2)


@dataclass(frozen=True, slots=True)
class NetworkFiles:
    """What `init_network` made.

    Parameters
    ----------
    genesis : str
    chain : str
    configs : tuple of str
        One for each bank, then the observers'.
    """

    genesis: str
    chain: str
    configs: tuple[str, ...]


def bank_name(index: int) -> str:
    """BIC of a fictional bank: BANKAAXX, BANKBBXX, ..."""
    letter = chr(ord("A") + index)
    return f"BANK{letter}{letter}XX"


def init_network(
    folder: str | Path,
    banks: int,
    transport: dict[str, object],
    passphrase: str,
    *,
    observers: Sequence[str] = ("REGULATOR",),
    metrics_port: int | None = None,
    block_transfers_max: int = 65_536,
) -> NetworkFiles:
    """Make the files of a network in a new or empty folder.

    Parameters
    ----------
    folder : str or Path
    banks : int
        1 to 26.
    transport : dict
        The table `transport` of the configurations.
    passphrase : str
        Seals all key files.
    observers : sequence of str, optional
        Names of nodes that follow, each with a configuration of its own.
    metrics_port : int, optional
        Give each node a metrics endpoint on the loopback interface, from this port on.
    block_transfers_max : int, optional

    Raises
    ------
    InputError, StorageError
        If an argument is out of range, or the folder is not empty or can't be written.
    """
    if not 1 <= banks <= 26:
        raise InputError(f"expected 1 to 26, got {banks}", field="banks")
    root = make_folder(folder)
    if any(root.iterdir()):
        raise StorageError(f"{root}: not empty; a new network needs a folder of its own")
    names = [bank_name(index) for index in range(banks)]
    institutions = tuple(_make_institution(make_folder(root / name), name, passphrase) for name in names)
    genesis = Genesis(root.name[:64] or "network", time.time_ns(), (_EURO,), institutions, block_transfers_max)
    write_atomic(root / GENESIS_FILE, genesis.to_bytes())
    for institution in institutions:
        VoteStore.create(root / institution.bic / "votes", genesis.chain_id, institution.validator_key).close()
    configs = []
    for index, name in enumerate([*names, *observers]):
        make_folder(root / name)
        path = root / name / "node.toml"
        port = None if metrics_port is None else metrics_port + index
        write_atomic(path, _config_text(name, observers, transport, port).encode())
        configs.append(str(path))
    return NetworkFiles(str(root / GENESIS_FILE), genesis.chain_id.hex(), tuple(configs))


def _make_institution(folder: Path, name: str, passphrase: str) -> Institution:
    validator = keys.generate(folder / "validator.key", passphrase, scheme="bls12381-min-sig", work_factor=14)
    attestation: SigningKey = keys.generate(folder / "attestation.key", passphrase, work_factor=14)
    return Institution(name, validator.public_key, validator.proof_of_possession, attestation.public_key)


def _config_text(name: str, observers: Sequence[str], transport: dict[str, object], metrics_port: int | None) -> str:
    is_observer = name in observers
    lines = [
        f'name = "{name}"',
        f'role = "{"observer" if is_observer else "validator"}"',
        'genesis = "../genesis"',
        'data = "ledger"',
        f"observers = {json.dumps(list(observers))}",
        *([] if metrics_port is None else [f'metrics = "127.0.0.1:{metrics_port}"']),
        "",
        *([] if is_observer else ["[keys]", 'validator = "validator.key"', ""]),
        "[transport]",
        *(f"{key} = {json.dumps(value)}" for key, value in transport.items()),
        "",
    ]
    return "\n".join(lines)
