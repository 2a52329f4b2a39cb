"""One server of each kind for the tests of nodes."""

import pytest
from servers import NatsServer, PostgresServer


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
