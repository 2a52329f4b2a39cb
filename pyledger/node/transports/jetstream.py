"""Messages through a NATS JetStream server or cluster that the nodes share.

One stream for a chain, with limits on age and bytes; two durable consumers for a node (what is for all, what is for
it), so that what came while it was away for a moment still reaches it. Messages above the server's `max_payload` go in
pieces. What JetStream numbers and acknowledges means nothing here: heights are the chain's, and a lost message is sent
again by the protocol or fetched from a peer.

JetStream acknowledges before it has synced unless the server runs with `sync_interval: always` (nats-server 2.10 or
newer; its default is two minutes). Safety does not depend on it. A crash of the server's machine can lose
acknowledged messages without it, which costs the nodes time, so `check_sync` asks the server's monitoring endpoint and
a node refuses to start unless its configuration says that any interval will do. A node may start before its server: it
asks until there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig

from pyledger.errors import StorageError
from pyledger.node.transports.backoff import Backoff
from pyledger.node.transports.chunks import Assembler, split
from pyledger.node.transports.interface import check_chain_name, check_name
from pyledger.node.transports.mailbox import Mailbox, Outbox, Receiver

__all__ = ["JetStreamTransport", "check_sync"]

_LOG: Final = logging.getLogger(__name__)
_PIECE_BYTES_MAX: Final = 512 << 10
_PIECES_UNDER_WAY: Final = 16
_WATCH_SECONDS: Final = 2.0
_ATTEMPTS_MAX: Final = 20
_MONITOR_BYTES_MAX: Final = 1 << 20


def check_sync(monitor_url: str) -> None:
    """Ask a server's monitoring endpoint whether it syncs before it acknowledges; wait for a server that is not up.

    Each try that finds none is logged. SIGTERM and SIGINT end the waiting by `SystemExit`, status 0.

    Parameters
    ----------
    monitor_url : str
        Such as ``http://127.0.0.1:8222``.

    Raises
    ------
    StorageError
        If it does not, or answers something that does not say so.
    """
    place = f"{monitor_url.rstrip('/')}/jsz"
    backoff = Backoff()
    with _leaving_on_signals():
        while (settings := _jetstream_settings(place)) is None:
            time.sleep(backoff.next_seconds())
    if settings.get("sync_always") is not True:
        raise StorageError(f"{place}: the server acknowledges before it syncs; expected 'sync_interval: always' there")


def _jetstream_settings(place: str) -> dict[str, Any] | None:
    """How the server's JetStream is set; None, and a warning, where nothing is up that could say so."""
    try:
        with urllib.request.urlopen(place, timeout=5) as answer:
            told = json.loads(answer.read(_MONITOR_BYTES_MAX))
        if told.get("disabled") is not True:  # a server answers here before its JetStream has started
            return dict(told["config"])
        missing: object = "JetStream is not up there"
    except OSError as error:
        if not _may_pass(error):
            raise StorageError(f"{place}: can't see how the server syncs: {error}") from error
        missing = error
    except (http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{place}: can't see how the server syncs: {error}") from error
    _LOG.warning("jetstream: %s: can't see yet how the server syncs, and ask again: %s", place, missing)
    return None


def _may_pass(error: OSError) -> bool:
    """Whether it is for want of a server: nobody listens, or it is not ready; not what it answered, or a wrong URL."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return error.code >= 500
    return not isinstance(error, urllib.error.URLError) or isinstance(error.reason, OSError)


@contextlib.contextmanager
def _leaving_on_signals() -> Iterator[None]:
    """Have a signal to stop end the process by way of whoever has something open; in other threads there are none."""

    def leave(number: int, _frame: object) -> None:
        _LOG.info("jetstream: stopping before a server answered: %s", signal.Signals(number).name)
        raise SystemExit(0)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class JetStreamTransport(Receiver):
    """A node's connection to the others through a NATS server.

    Parameters
    ----------
    servers : sequence of str
        Such as ``nats://127.0.0.1:4222``; several of one cluster.
    chain : str
        Hexadecimal name of the chain.
    name : str
        This node's name.
    mailbox : Mailbox
    peers : frozenset of str
        Nodes whose messages are put together.
    retention_seconds, stream_bytes_max : int, optional
        The stream forgets what is older, and the oldest where there is more; used where the stream is new.
    replicas : int, optional
        Servers of a cluster that keep each message.
    options : dict, optional
        Further arguments of `nats.connect`: `user_credentials` (a file), `tls`.
    """

    def __init__(
        self,
        servers: list[str],
        chain: str,
        name: str,
        mailbox: Mailbox,
        peers: frozenset[str],
        *,
        retention_seconds: int = 120,
        stream_bytes_max: int = 2 << 30,
        replicas: int = 1,
        options: dict[str, Any] | None = None,
    ) -> None:
        check_chain_name(chain)
        check_name(name)
        super().__init__(mailbox)
        self._servers, self._chain, self._name = servers, chain, name
        self._options = options or {}
        self._stream = f"PYLEDGER_{chain}"
        self._stream_config = StreamConfig(
            name=self._stream,
            subjects=[f"pyledger.{chain}.>"],
            max_age=retention_seconds,
            max_bytes=stream_bytes_max,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            num_replicas=replicas,
        )
        self._assembler = Assembler(mailbox.message_bytes_max, peers, name)
        self._outbox = Outbox(self.counters)
        self._loop = asyncio.new_event_loop()
        self._outgoing = asyncio.Event()
        self._stopping = asyncio.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"jetstream-{name}", daemon=True)
        self._thread.start()

    def send(self, peer: str, payload: bytes) -> None:
        """Send to one peer."""
        self._put(peer, payload)

    def broadcast(self, payload: bytes) -> None:
        """Send to every other node of the chain."""
        self._put(None, payload)

    def close(self) -> None:
        """Send what waits if the server takes it now, then let go of it."""
        if self._closed:
            return
        self._closed = True
        self._outbox.close()
        self._mailbox.close()
        self._in_loop(self._stop)
        self._thread.join(5)

    def _put(self, peer: str | None, payload: bytes) -> None:
        self._outbox.put(peer, payload)
        self._in_loop(self._outgoing.set)

    def _in_loop(self, function: Callable[[], None]) -> None:
        """Have the transport's thread call this, unless it has ended."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def _stop(self) -> None:
        self._stopping.set()
        self._outgoing.set()

    # In the transport's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Hold a connection; the client reconnects by itself, what it can't mend is begun anew here."""
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                client = await nats.connect(
                    self._servers,
                    name=f"pyledger {self._name}",
                    connect_timeout=5,
                    reconnect_time_wait=0.25,
                    max_reconnect_attempts=-1,
                    ping_interval=10,
                    allow_reconnect=True,
                    error_cb=self._note_error,
                    reconnected_cb=self._note_reconnect,
                    **self._options,
                )
            except (nats.errors.Error, OSError) as error:
                _warn(error)
                self.counters.reconnects += 1
                await self._pause(backoff.next_seconds())
                continue
            backoff.reset()
            sender = asyncio.create_task(self._send_messages(client))
            try:
                await self._watch_consumers(client)
                await asyncio.wait([sender], timeout=1)
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
                await client.close()

    async def _note_error(self, error: Exception) -> None:
        _warn(error)

    async def _note_reconnect(self) -> None:
        self.counters.reconnects += 1

    async def _pause(self, seconds: float) -> None:
        """Wait, but not on when closing."""
        await asyncio.wait([asyncio.ensure_future(self._stopping.wait())], timeout=seconds)

    # Sending ---------------------------------------------------------------------------------------------------------

    async def _send_messages(self, client: Any) -> None:
        while True:
            item = self._outbox.take(0)
            if item is not None:
                await self._send_one(client, *item)
                continue
            if self._stopping.is_set():
                return
            await self._outgoing.wait()
            self._outgoing.clear()

    async def _send_one(self, client: Any, peer: str | None, payload: bytes) -> None:
        """Publish a message's pieces, each until it is acknowledged; given up after some attempts."""
        subject = self._subject(peer)
        pieces = split(self._name, payload, min(_PIECE_BYTES_MAX, client.max_payload))
        for start in range(0, len(pieces), _PIECES_UNDER_WAY):
            group = pieces[start : start + _PIECES_UNDER_WAY]
            done = await asyncio.gather(*(self._publish(client, subject, piece) for piece in group))
            if not all(done):
                self.counters.dropped_outgoing += 1
                return
        self.counters.sent += 1

    async def _publish(self, client: Any, subject: str, piece: bytes) -> bool:
        backoff = Backoff()
        for _ in range(_ATTEMPTS_MAX):
            try:
                await client.jetstream(timeout=2).publish(subject, piece)
                return True
            except (nats.errors.Error, TimeoutError):
                if self._stopping.is_set():
                    return False
                await self._pause(backoff.next_seconds())
        return False

    def _subject(self, peer: str | None) -> str:
        return f"pyledger.{self._chain}.all" if peer is None else f"pyledger.{self._chain}.to.{peer}"

    # Receiving -------------------------------------------------------------------------------------------------------

    async def _watch_consumers(self, client: Any) -> None:
        """See again and again that stream and consumers are there: a server may come back without them."""
        subscribed: dict[str, Any] = {}
        while not self._stopping.is_set():
            try:
                if client.is_connected:
                    await self._ensure_stream(client.jetstream(timeout=5))
                    for durable, peer in ((f"{self._name}-all", None), (f"{self._name}-own", self._name)):
                        await self._ensure_consumer(client.jetstream(timeout=5), durable, peer, subscribed)
            except (nats.errors.Error, TimeoutError) as error:
                _warn(error)
            await self._pause(_WATCH_SECONDS)

    async def _ensure_stream(self, stream_manager: Any) -> None:
        try:
            await stream_manager.stream_info(self._stream)
        except nats.js.errors.NotFoundError:
            await stream_manager.add_stream(self._stream_config)

    async def _ensure_consumer(
        self, jetstream: Any, durable: str, peer: str | None, subscribed: dict[str, Any]
    ) -> None:
        if durable in subscribed:
            try:
                await jetstream.consumer_info(self._stream, durable)
                return
            except nats.js.errors.NotFoundError:
                await subscribed.pop(durable).unsubscribe()
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.NEW, ack_wait=30)
        subscribed[durable] = await jetstream.subscribe(
            self._subject(peer),
            durable=durable,
            stream=self._stream,
            config=config,
            cb=self._take_piece,
            manual_ack=True,
        )

    async def _take_piece(self, piece: Any) -> None:
        try:
            whole = self._assembler.add(piece.data)
        except ValueError:
            self.counters.dropped_incoming += 1
            whole = None
        if whole is not None:
            self._mailbox.put(*whole)
        try:
            await piece.ack()
        except nats.errors.Error as error:  # it comes again, which does no harm
            _warn(error)


def _warn(error: Exception) -> None:
    _LOG.warning("jetstream: %s", str(error) or type(error).__name__)
