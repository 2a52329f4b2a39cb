"""What is JetStream's own: the check of its sync setting, hostile pieces, a stream that vanishes."""

import asyncio
import http.server
import threading

import nats
import pytest
from networks import wait_until
from transport_kit import connect, receive_until, talk

from pyledger.errors import StorageError
from pyledger.node.transports.jetstream import check_sync


@pytest.fixture
def monitor():
    """A monitoring endpoint that answers what it is told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.answer)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_syncs_before_it_acknowledges_is_accepted(nats):
    check_sync(nats.monitor_url)


def test_a_server_with_the_default_setting_is_refused(late_nats):
    with pytest.raises(StorageError, match="acknowledges before it syncs; expected 'sync_interval: always'"):
        check_sync(late_nats.monitor_url)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"config": {"sync_interval": 120000000000}}',
        b'{"config": {"sync_always": false}}',
        b'{"config": {"sync_always": "true"}}',
        b'{"config": []}',
        b"{}",
        b"[]",
        b"not json",
        b"",
    ],
)
def test_an_answer_that_does_not_say_so_is_refused(monitor, answer):
    monitor.answer = answer
    with pytest.raises(StorageError, match="sync"):
        check_sync(monitor.url)


def test_an_endpoint_that_is_not_there_is_refused():
    with pytest.raises(StorageError, match="can't see"):
        check_sync("http://127.0.0.1:9")


async def _publish(url, subject, payloads):
    client = await nats.connect(url)
    for payload in payloads:
        await client.jetstream().publish(subject, payload)
    await client.close()


@pytest.mark.parametrize("network", ["jetstream"], indirect=True)
def test_hostile_pieces_are_dropped(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    spoilt = [b"", b"x", b"PLMP" + bytes(60), b"\xff" * 100, bytes(500_000)]
    asyncio.run(_publish(network.server.url, f"pyledger.{network.chain}.all", spoilt))
    a.send("B", b"still here")
    receive_until(b, {("A", b"still here")})
    wait_until(lambda: b.receive(0.1) is None and b.counters.dropped_incoming >= len(spoilt))  # another subject's
    assert b.counters.dropped_incoming == len(spoilt)


async def _delete_stream(url, name):
    client = await nats.connect(url)
    await client.jetstream().delete_stream(name)
    await client.close()


@pytest.mark.parametrize("network", ["jetstream"], indirect=True)
def test_a_stream_that_vanishes_is_made_again(network):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    asyncio.run(_delete_stream(network.server.url, f"PYLEDGER_{network.chain}"))
    talk(a, b, b"on a new stream")
