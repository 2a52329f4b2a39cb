"""Nodes of each kind of transport."""

import pytest
from transport_kit import Network


@pytest.fixture(params=["memory", "postgres", "jetstream"])
def network(request):
    servers = {"postgres": "postgres", "jetstream": "nats"}
    server = request.getfixturevalue(servers[request.param]) if request.param in servers else None
    network = Network(request.param, server)
    yield network
    network.close()
