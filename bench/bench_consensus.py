"""Consensus: simulated schedules a minute with all faults on, and a light client's way over a thousand headers.

There is no peer to set the simulator against: its figure is schedules a minute of one core. The light client's peer is
itself checking one certificate after another.
"""

import pytest
from consensus_chains import CHAIN, GENESIS, make_chain, make_keys, make_set

from pyledger.consensus.light_client import LightClient, Segment
from pyledger.consensus.simulator import run_schedules
from pyledger.crypto import bls
from pyledger.ledger.blocks import Header

SCHEDULES, HEADERS, VALIDATORS = 300, 1000, 21


@pytest.mark.parametrize("nodes", [4, 7])
@pytest.mark.benchmark(group="schedules")
def bench_schedules(benchmark, nodes):
    count = SCHEDULES if nodes == 4 else SCHEDULES // 4
    summary = benchmark.pedantic(run_schedules, (0, count, nodes), rounds=5, warmup_rounds=1)
    assert summary.ok
    assert summary.schedules == count
    per_minute = count * 60 / benchmark.stats.stats.min
    benchmark.extra_info |= {
        "contender": f"pyledger, {nodes} nodes",
        "items": count,
        "threads": 1,
        "kernel": "python",
        "schedules_per_minute": round(per_minute),
    }


@pytest.fixture(scope="module")
def chain():
    keys = make_keys(VALIDATORS)
    validators = make_set(keys)
    return validators, Segment(make_chain(validators, keys, range(1, HEADERS + 1))[1])


def follow_grouped(validators, segment):
    client = LightClient(CHAIN, validators, GENESIS, Header.from_bytes, threads=1)
    client.advance(segment)
    return client.height


def follow_one_by_one(validators, segment):
    for _, certificate in segment.entries:
        bls.QuorumCertificate(certificate).verify(validators)
    return len(segment.entries) - 1


@pytest.mark.parametrize("contender", [follow_grouped, follow_one_by_one], ids=["pyledger", "one by one"])
@pytest.mark.benchmark(group=f"light client, {HEADERS} headers")
def bench_light_client(benchmark, chain, contender, request):
    height = benchmark.pedantic(contender, chain, rounds=3)
    assert height == HEADERS - 1
    benchmark.extra_info |= {
        "contender": request.node.callspec.id,
        "items": HEADERS,
        "threads": 1,
        "kernel": "blst",
    }
