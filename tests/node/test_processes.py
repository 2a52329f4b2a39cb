"""Four banks and an observer in processes of their own, over real servers: they agree, and nothing final is lost."""

import json
import subprocess
import sys

import pytest
from ledgers import accounts, transfers
from networks import PASSPHRASE, ProcessNetwork, assert_one_chain, wait_until

import pyledger as pl


@pytest.fixture(params=["postgres", "jetstream"])
def network(request, tmp_path_factory):
    server = request.getfixturevalue({"postgres": "postgres", "jetstream": "nats"}[request.param])
    with ProcessNetwork(tmp_path_factory.mktemp("net") / "n", server.transport) as network:
        network.server = server
        yield network


def open_accounts(network):
    """Two accounts at each bank: 1 and 2 at the first, 11 and 12 at the second, ..."""
    for number, node in enumerate(network.nodes[:4]):
        with node.client() as client:
            assert client.create_accounts(accounts([10 * number + 1, 10 * number + 2])).tolist() == [0, 0]


def test_four_nodes_agree_through_kills_of_a_node_and_of_the_server(network):
    open_accounts(network)
    first, *others, observer = network.nodes
    with first.client() as client:
        posted = [client.post(transfers((100 + n, 1, 11, 5))).height for n in range(5)]
        others[-1].kill()
        posted += [client.post(transfers((200 + n, 1, 2, 7))).height for n in range(5)]
        others[-1].start()
        wait_until(lambda: others[-1].height >= posted[-1])

        network.server.kill()
        submitted = client.submit_transfers(transfers((300, 1, 11, 9)))
        network.server.start()
        posted.append(client.wait(submitted).height)
    assert posted == sorted(posted)
    wait_until(lambda: min(node.height for node in network.nodes) >= posted[-1])
    assert [node.stop() for node in network.nodes] == [0] * 5
    assert_one_chain(network.nodes, posted[-1])
    for node in network.nodes:
        with pl.Ledger.open(node.folder, read_only=True) as ledger:
            assert ledger.balance(11).credits_posted == 5 * 5 + 9
            assert ledger.audit().ok
    assert observer.headers()


def test_status_and_logs_show_the_node_and_no_secret(network):
    open_accounts(network)
    node = network.nodes[0]
    command = [sys.executable, "-P", "-m", "pyledger.cli", "status", "--config", node.config, "--json"]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert shown["name"] == "BANKAAXX"
    assert shown["height"] >= 1
    assert shown["votes"] >= 1
    assert node.stop() == 0
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    assert {"started", "final", "stopping", "stopped"} <= {line["message"] for line in lines}
    assert PASSPHRASE not in node.log.read_text()
