"""`pyledger node` and `pyledger network init` as commands: what is wrong gives a status and a message, not a run."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from ledgers import accounts
from networks import PASSPHRASE, ProcessNode, wait_until
from servers import free_port

import pyledger as pl
from pyledger.errors import StorageError
from pyledger.node import service
from pyledger.node.config import load_config
from pyledger.node.network import init_network

TRANSPORT = {"kind": "postgres", "conninfo": "host=127.0.0.1 port=1 dbname=none"}  # nobody listens: a node waits


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "net"
    init_network(folder, 1, TRANSPORT, PASSPHRASE, metrics_port=free_port())
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "n")


def run(config, monkeypatch, passphrase=PASSPHRASE, flags=()):
    monkeypatch.setenv("PYLEDGER_PASSPHRASE", passphrase)
    command = [sys.executable, "-P", "-m", "pyledger.cli", "node", "--config", config, *flags]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stderr


def change(config, old, new):
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return config


@pytest.mark.parametrize(
    ("old", "new", "status", "message"),
    [
        ('role = "validator"', 'role = "king"', 3, "role"),
        ('name = "BANKAAXX"', 'name = "BANKZZXX"', 3, "BANKZZXX"),
        ('genesis = "../genesis"', 'genesis = "../nowhere"', 4, "nowhere"),
        ('"validator.key"', '"attestation.key"', 3, "bls12381-min-sig"),
        ('"validator.key"', '"gone.key"', 4, "gone.key"),
    ],
)
def test_a_wrong_configuration_gives_its_status_and_says_where(folder, monkeypatch, old, new, status, message):
    config = change(folder / "BANKAAXX" / "node.toml", old, new)
    found, shown = run(config, monkeypatch)
    assert (found, message in shown) == (status, True), shown


def test_a_server_that_acknowledges_before_it_syncs_is_refused(tmp_path, monkeypatch, late_nats):
    files = init_network(tmp_path / "n", 1, late_nats.transport, PASSPHRASE)
    status, shown = run(files.configs[0], monkeypatch)
    assert (status, "expected 'sync_interval: always'" in shown) == (4, True), shown


@pytest.fixture
def waiting(tmp_path, absent_nats):
    """A node that was started before its server, and has told of it."""
    node = ProcessNode(Path(init_network(tmp_path / "n", 1, absent_nats.transport, PASSPHRASE).configs[0]))
    node.start()
    try:
        wait_until(lambda: "ask again" in node.log.read_text())
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


@pytest.mark.parametrize("absent_nats", ["always"], indirect=True)
def test_a_node_may_start_before_its_server(waiting, absent_nats):
    assert waiting.process.poll() is None
    absent_nats.start()
    with waiting.client() as client:
        assert not client.create_accounts(accounts([1])).any()
    assert waiting.stop() == 0


@pytest.mark.parametrize("absent_nats", ["2m"], indirect=True)
def test_a_server_of_another_setting_that_comes_later_is_refused(waiting, absent_nats):
    absent_nats.start()
    assert waiting.process.wait(30) == 4
    assert "expected 'sync_interval: always'" in waiting.log.read_text()


@pytest.mark.parametrize("absent_nats", ["always"], indirect=True)
def test_a_node_that_waits_for_its_server_stops_cleanly_on_a_signal(waiting):
    assert waiting.stop() == 0
    assert "stopping before a server answered" in waiting.log.read_text()
    with pl.Ledger.open(waiting.folder, read_only=True) as ledger:  # and has let go of it
        assert ledger.height == 0


def test_a_wrong_passphrase_is_a_matter_of_rights(folder, monkeypatch):
    status, shown = run(folder / "BANKAAXX" / "node.toml", monkeypatch, passphrase="wrong")
    assert status == 5
    assert "wrong passphrase" in shown


def test_a_validator_without_its_votes_does_not_start_unless_its_key_is_new(folder, monkeypatch):
    config, votes = folder / "BANKAAXX" / "node.toml", folder / "BANKAAXX" / "votes"
    status, shown = run(config, monkeypatch, flags=["--new-key"])
    assert (status, "already" in shown) == (6, True), shown
    votes.unlink()
    status, shown = run(config, monkeypatch)
    assert (status, "no vote store" in shown, "--new-key" in shown) == (4, True, True), shown


def test_a_key_that_has_voted_is_not_taken_for_a_new_one(folder, monkeypatch):
    """Its votes are in the certificates of its own blocks: a new store would let it vote in their rounds again."""
    node = ProcessNode(folder / "BANKAAXX" / "node.toml")
    node.start()
    with node.client() as client:
        client.create_accounts(accounts([1]))
    assert node.stop() == 0
    votes = folder / "BANKAAXX" / "votes"
    votes.unlink()
    status, shown = run(node.config, monkeypatch, flags=["--new-key"])
    assert (status, "take a new validator key" in shown) == (6, True), shown
    assert not votes.exists()


def test_a_folder_in_use_is_refused_and_signals_stop_cleanly(folder, monkeypatch):
    node = ProcessNode(folder / "BANKAAXX" / "node.toml")
    node.start()
    try:
        node.client().close()
        second = shutil.copy(node.config, node.config.with_name("second.toml"))
        status, shown = run(second, monkeypatch)
        assert (status, "another process" in shown) == (4, True), shown
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(30) == 0
        assert not (node.folder / "node.sock").exists()
    finally:
        if node.process.poll() is None:
            node.kill()


def test_a_node_that_answers_stops_cleanly_on_a_signal(folder, monkeypatch):
    """It does as soon as its socket is there, or who waits for that and stops it kills it."""

    def look(*_):
        raise StorageError(f"found {signal.getsignal(signal.SIGTERM)}")

    monkeypatch.setenv("PYLEDGER_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(service, "start_logging", lambda _: None)  # it is for a process
    monkeypatch.setattr(service, "Ingress", look)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StorageError, match="_stopping_on_signals"):
        service.run_node(load_config(folder / "BANKAAXX" / "node.toml"))
    assert signal.getsignal(signal.SIGTERM) == before


def test_metrics_are_those_of_the_node(folder):
    node = ProcessNode(folder / "BANKAAXX" / "node.toml")
    port = (
        next(line for line in node.config.read_text().splitlines() if "metrics" in line).rpartition(":")[2].strip('"')
    )
    node.start()
    try:
        node.client().close()
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
        numbers = {line.split("{")[0]: line for line in text.splitlines() if not line.startswith("#")}
        for name in ("height", "round", "votes_total", "certificates_total", "timeouts_total", "transfers_total"):
            assert 'node="BANKAAXX"' in numbers[f"pyledger_{name}"]
        assert {"pyledger_mempool_batches", "pyledger_messages_waiting", "pyledger_fsyncs_total"} <= numbers.keys()
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.kill()
    for line in node.log.read_text().splitlines():
        json.loads(line)


def test_a_network_is_made_in_an_empty_folder_only(folder, monkeypatch):
    monkeypatch.setenv("PYLEDGER_PASSPHRASE", PASSPHRASE)
    command = [sys.executable, "-P", "-m", "pyledger.cli", "network", "init", folder, "--nats", "nats://127.0.0.1:1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 4
    assert "not empty" in result.stderr
