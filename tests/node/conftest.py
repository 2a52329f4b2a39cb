"""One server of each kind for the tests of nodes."""

import pytest
from servers import NatsServer, PostgresServer


def _serve(kind, *arguments, start=True):
    if not kind.available:  # a program of its own; transports in memory take the same tests without one
        pytest.skip(kind.missing)
    server = kind(*arguments)
    try:
        if start:
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


@pytest.fixture
def late_nats():
    """A server that acknowledges up to two minutes before it syncs: the default."""
    yield from _serve(NatsServer, "2m")


@pytest.fixture(params=["always", "2m"])
def absent_nats(request):
    """A server with each setting that is not up until it is started."""
    yield from _serve(NatsServer, request.param, start=False)
