"""One server of each kind for the folder's tests, and nodes on it."""

import pytest
from servers import NatsServer, PostgresServer
from transport_kit import Network


def _serve(kind):
    if not kind.available:
        pytest.skip(kind.missing)
    server = kind()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres():
    yield from _serve(PostgresServer)


@pytest.fixture(scope="session")
def nats():
    yield from _serve(NatsServer)


@pytest.fixture(params=["memory", "postgres", "jetstream"])
def network(request):
    servers = {"postgres": "postgres", "jetstream": "nats"}
    server = request.getfixturevalue(servers[request.param]) if request.param in servers else None
    network = Network(request.param, server)
    yield network
    network.close()
