"""Four nodes in four processes on this machine: final attested transfers a second, through each transport.

Wall time, as the work is in other processes: from the first batch handed in until the last one is final at the bank
that handed it in. Batches are signed beforehand, by one process; the nodes check, execute, hash, vote, and sync to
disk, all four of them on the cores of this machine.
"""

import numpy as np
import pytest
from networks import ProcessNetwork, assert_one_chain, wait_until
from servers import NatsServer, PostgresServer

import pyledger as pl
from pyledger.ledger.batches import TransferBatch

ACCOUNTS = 10_000
BLOCK_TRANSFERS = 65_536
BATCHES = 6
LIMITS = "round_timeout_ms = 20000\nblock_interval_ms = 20"


def server_of(kind):
    server = {"postgres": PostgresServer, "jetstream": NatsServer}[kind]
    if not server.available:
        pytest.skip(server.missing)
    server = server()
    server.start()
    return server


def signed_batches(client, first_id, count):
    """Transfers between the bank's own accounts, attested under the sequences that follow."""
    draw = np.random.default_rng(first_id)
    sequence = client.next_sequence(3)
    for number in range(count):
        records = np.zeros(BLOCK_TRANSFERS, pl.TRANSFER)
        records["id"]["lo"] = first_id + number * BLOCK_TRANSFERS + np.arange(BLOCK_TRANSFERS)
        debit = draw.integers(0, ACCOUNTS, BLOCK_TRANSFERS)
        records["debit_account_id"]["lo"] = 1 + debit
        records["credit_account_id"]["lo"] = 1 + (debit + draw.integers(1, ACCOUNTS, BLOCK_TRANSFERS)) % ACCOUNTS
        records["amount"]["lo"] = draw.integers(1, 10_000, BLOCK_TRANSFERS)
        records["ledger"], records["code"] = 978, 1
        yield client.attest(TransferBatch(records), sequence + number)


@pytest.mark.parametrize("kind", ["postgres", "jetstream"])
@pytest.mark.benchmark(group="node: final attested transfers, four processes")
def bench_final_transfers(benchmark, kind, tmp_path):
    server = server_of(kind)
    network = ProcessNetwork(tmp_path / "net", server.transport, limits=LIMITS, observers=())
    try:
        with network, network.nodes[0].client() as client:
            client.create_accounts(pl.make_accounts(id=range(1, ACCOUNTS + 1), ledger=978, code=1))
            first_ids = iter(range(1, 1 << 60, BATCHES * BLOCK_TRANSFERS))

            def sign():
                return (list(signed_batches(client, next(first_ids), BATCHES)),), {}

            def post(batches):
                numbers = [client.submit(batch) for batch in batches]
                results = [client.wait(number) for number in numbers]
                assert not any(result.results.any() for result in results)

            benchmark.pedantic(post, setup=sign, rounds=2, warmup_rounds=1)
            status = client.status()
            height = status["height"]
            wait_until(lambda: min(node.height for node in network.nodes) >= height)
            assert [node.stop() for node in network.nodes] == [0] * 4
            assert_one_chain(network.nodes, height)
        benchmark.extra_info |= {
            "contender": f"pyledger, {kind}",
            "items": BATCHES * BLOCK_TRANSFERS,
            "threads": 4,
            "kernel": "native",
            "fsync_ms_mean": round(1000 * status["fsync_seconds"] / status["fsyncs"], 2),
            "rounds_given_up": status["timeouts"],
        }
    finally:
        server.close()
