"""Small networks for tests: banks, their nodes in this process or in processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ledgers import CURRENCIES, members

import pyledger as pl
from pyledger.consensus.vote_store import VoteStore
from pyledger.crypto import keys as key_files
from pyledger.errors import StorageError
from pyledger.node.application import BookApplication
from pyledger.node.client import NodeClient
from pyledger.node.config import Limits
from pyledger.node.ingress import Ingress
from pyledger.node.network import init_network
from pyledger.node.replica import Replica, peer_names
from pyledger.node.transports.mailbox import Mailbox
from pyledger.node.transports.memory import MemoryHub, MemoryTransport

OBSERVER = "REGULATOR"


def make_genesis(keys, block_transfers_max=1000):
    return pl.Genesis(
        "network", time.time_ns(), CURRENCIES, tuple(key.institution() for key in keys), block_transfers_max
    )


class ThreadNode:
    """A node whose loop runs in a thread of this process."""

    def __init__(self, network, name, key):
        self.network, self.name, self.key = network, name, key
        self.folder = network.folder / name
        self.error = None

    def start(self):
        self.application = BookApplication(self.folder, self.network.genesis, 64 << 20)
        peers = peer_names(self.network.genesis, [OBSERVER, *self.network.newcomers], self.name)
        self.transport = self.network.transport(self.name, Mailbox(peers))
        self.votes, secret = None, None
        if self.key:
            secret, path = self.key.validator, self.folder / "votes"
            make = VoteStore if path.exists() else VoteStore.create
            self.votes = make(path, self.network.genesis.chain_id, secret.public_key)
        self.replica = Replica(
            self.name, self.network.genesis, self.application, self.transport, secret, self.votes, self.network.limits
        )
        self.ingress = Ingress(self.folder, self.replica.take_request, 8)
        self.thread = threading.Thread(target=self._run, name=f"node-{self.name}")
        self.thread.start()

    def _run(self):
        try:
            self.replica.run()
        except Exception as error:
            self.error = error

    def stop(self):
        self.replica.stop()
        self.thread.join(30)
        self.ingress.close()
        self.transport.close()
        self.application.close()
        if self.votes is not None:
            self.votes.close()
        if self.error is not None:
            raise self.error

    def client(self):
        return NodeClient(self.folder, self.key.attestation if self.key else None)

    @property
    def height(self):
        return self.application.height

    def headers(self):
        with pl.Ledger.open(self.folder, read_only=True) as ledger:
            return [ledger.header(height).hash for height in range(1, ledger.height + 1)]


class ThreadNetwork:
    """Banks and an observer on a hub in memory; newcomers run nodes, but are not in the genesis."""

    def __init__(self, folder, banks=4, observer=False, limits=None, newcomers=0):
        self.folder = folder
        self.keys = members(banks + newcomers)
        self.newcomers = [key.bic for key in self.keys[banks:]]
        self.genesis = make_genesis(self.keys[:banks])
        self.limits = limits or Limits(round_timeout_ms=700, block_interval_ms=5)
        self.hub = MemoryHub()
        self.nodes = [ThreadNode(self, key.bic, key) for key in self.keys]
        if observer:
            self.nodes.append(ThreadNode(self, OBSERVER, None))

    def transport(self, name, mailbox):
        return MemoryTransport(self.hub, name, mailbox)

    def __enter__(self):
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node.thread.is_alive():
                node.replica.stop()
        for node in self.nodes:
            if node.thread is not None:
                node.stop()


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


PASSPHRASE = "only for tests"


class ProcessNode:
    """A node in a process of its own, as `pyledger node` runs it."""

    def __init__(self, config):
        self.config = config
        self.name = config.parent.name
        self.folder = config.parent / "ledger"
        self.log = config.parent / "log"
        self.process = None

    def start(self, *options):
        environment = {**os.environ, "PYLEDGER_PASSPHRASE": PASSPHRASE}
        command = [sys.executable, "-P", "-W", "error", "-m", "pyledger.cli", "node", "--config", self.config, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """A clean stop; gives the exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def client(self, seconds=90):
        """A client that attests with the bank's key, as soon as the node answers."""
        path = self.config.parent / "attestation.key"
        key = key_files.load(path, PASSPHRASE) if path.exists() else None
        deadline = time.monotonic() + seconds
        while True:
            try:
                return NodeClient(self.folder, key)
            except StorageError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)

    def status(self):
        with self.client() as client:
            return client.status()

    @property
    def height(self):
        return self.status()["height"]

    def headers(self):
        with pl.Ledger.open(self.folder, read_only=True) as ledger:
            return [ledger.header(height).hash for height in range(1, ledger.height + 1)]


class ProcessNetwork:
    """Four banks and observers, a process each; the transport is a table of the configuration."""

    def __init__(self, folder, transport, limits="round_timeout_ms = 700\nblock_interval_ms = 5", **options):
        files = init_network(folder, 4, transport, PASSPHRASE, **options)
        self.nodes = []
        for path in map(Path, files.configs):
            path.write_text(path.read_text() + f"\n[limits]\n{limits}\n")
            self.nodes.append(ProcessNode(path))

    def __enter__(self):
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.kill()


def assert_one_chain(nodes, height_min):
    """Every two nodes have the same final blocks as far as both go, and each has so many."""
    chains = [node.headers() for node in nodes]
    longest = max(chains, key=len)
    for node, chain in zip(nodes, chains, strict=True):
        assert len(chain) >= height_min, node.name
        assert chain == longest[: len(chain)], f"{node.name} forked"
