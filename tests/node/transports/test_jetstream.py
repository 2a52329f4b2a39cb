"""What is JetStream's own: the check of its sync setting, hostile pieces, a stream that vanishes."""

import asyncio
import http.server
import os
import signal
import threading

import nats
import pytest
from networks import wait_until
from transport_kit import connect, receive_until, talk

from pyledger.errors import StorageError
from pyledger.node.transports.jetstream import check_sync


@pytest.fixture
def monitor():
    """A monitoring endpoint that answers what it is told, `early` before anything else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, answer = self.server.early.pop(0) if self.server.early else (200, self.server.answer)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.early = []
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


ALWAYS = b'{"config": {"sync_always": true}}'
NOT_UP = b'{"disabled": true, "config": {"max_memory": 0, "max_storage": 0}}'  # while JetStream starts


def tries(caplog):
    return [record.message for record in caplog.records if "ask again" in record.message]


def test_a_server_that_starts_later_is_waited_for_and_then_held_to_its_setting(absent_nats, caplog):
    def start():
        wait_until(lambda: len(tries(caplog)) >= 2)
        absent_nats.start()

    starter = threading.Thread(target=start)
    starter.start()
    try:
        if absent_nats.sync_interval == "always":
            check_sync(absent_nats.monitor_url)
        else:
            with pytest.raises(StorageError, match="acknowledges before it syncs"):
                check_sync(absent_nats.monitor_url)
    finally:
        starter.join()
    assert len(tries(caplog)) >= 2
    assert "refused" in tries(caplog)[0]


@pytest.mark.parametrize("early", [(200, NOT_UP), (503, b"starting")])
def test_a_server_that_is_not_ready_is_asked_again(monitor, caplog, early):
    monitor.early, monitor.answer = [early] * 3, ALWAYS
    check_sync(monitor.url)
    assert len(tries(caplog)) == 3


def test_what_asking_again_does_not_mend_is_refused(monitor, nats, caplog):
    monitor.early = [(404, b"")]
    for url in (monitor.url, nats.url.replace("nats:", "http:"), "http://", "127.0.0.1:8222", "nats://127.0.0.1:8222"):
        with pytest.raises(StorageError, match="can't see how the server syncs"):
            check_sync(url)
    assert tries(caplog) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_waiting_for_a_server_ends_by_a_signal_to_stop(caplog, number):
    def stop():
        wait_until(lambda: tries(caplog))
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    stopper = threading.Thread(target=stop)
    stopper.start()
    with caplog.at_level("INFO", logger="pyledger"), pytest.raises(SystemExit) as left:
        check_sync("http://127.0.0.1:9")
    stopper.join()
    assert left.value.code == 0
    assert f"stopping before a server answered: {number.name}" in caplog.text
    assert signal.getsignal(number) == before


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
