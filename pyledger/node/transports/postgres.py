"""Messages through a PostgreSQL database that the nodes share.

Small messages (votes, timeouts) are the text of a NOTIFY and touch no table. What does not fit there is a row, and the
NOTIFY says only that there is one. Rows are kept for minutes, not for good: the table is unlogged, because a message
that a crash of the database loses is one more lost message, and a node that was away fetches blocks from its peers.

Rows become visible when their transactions commit, in any order of their ids and however late. So a reader goes by
transactions: each row has the number of the one that wrote it, and a snapshot's xmin says below which number all are
over (PostgreSQL manual, "Transaction ID and Snapshot Information Functions"). What was written below is never looked at
again; of what was written from there on, the ids that were read are remembered. A lock around inserts would do, too,
but then one bank that holds it open stops them all; here it only makes the others remember more.

Give each institution a database role of its own that may only INSERT and SELECT here if the names of senders are to
mean anything; the protocol does not depend on it. Passwords belong into PGPASSFILE or a client certificate.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import sql

from pyledger.node.transports.backoff import Backoff
from pyledger.node.transports.interface import check_chain_name, check_name
from pyledger.node.transports.mailbox import Mailbox, Outbox, Receiver

__all__ = ["PostgresTransport"]

_LOG: Final = logging.getLogger(__name__)
_Connection = psycopg.Connection[tuple[object, ...]]

# A NOTIFY takes less than 8000 bytes (PostgreSQL manual, NOTIFY); base64 makes four bytes of three.
_NOTIFY_BYTES_MAX: Final = 5700
_ROW_NOTICE: Final = "row"
_POLL_SECONDS: Final = 1.0
_CLEAN_SECONDS: Final = 15.0
_SCHEMA_LOCK: Final = 0x706C6564676572  # "pledger": creating is not atomic in PostgreSQL even with IF NOT EXISTS

_SCHEMA: Final = """
CREATE UNLOGGED TABLE IF NOT EXISTS pyledger_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain text NOT NULL,
    recipient text NOT NULL,
    sender text NOT NULL,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    written xid8 NOT NULL DEFAULT pg_current_xact_id(),
    payload bytea NOT NULL
);
ALTER TABLE pyledger_message ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS pyledger_message_unread ON pyledger_message (chain, recipient, written);
CREATE INDEX IF NOT EXISTS pyledger_message_age ON pyledger_message (chain, created);
"""
_INSERT: Final = """
WITH message AS (
    INSERT INTO pyledger_message (chain, recipient, sender, payload) VALUES (%s, %s, %s, %s) RETURNING id
) SELECT pg_notify(%s, %s) FROM message
"""
_ROWS_AT_ONCE: Final = 1000
_SEEN_MANY: Final = 256
_ALL_OVER_BELOW: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
_UNREAD: Final = f"""
SELECT id, sender, octet_length(payload), written::text FROM pyledger_message
WHERE chain = %s AND recipient = ANY(%s) AND written >= %s::xid8 AND sender <> %s AND NOT id = ANY(%s)
ORDER BY written, id LIMIT {_ROWS_AT_ONCE}
"""
_DELETE_OLD: Final = """
DELETE FROM pyledger_message WHERE chain = %s AND (
    created < clock_timestamp() - make_interval(secs => %s)
    OR id <= (SELECT max(id) FROM (
        SELECT id, sum(octet_length(payload)) OVER (ORDER BY id DESC) AS newer_bytes
        FROM pyledger_message WHERE chain = %s) AS sized WHERE newer_bytes > %s))
"""


class PostgresTransport(Receiver):
    """A node's connection to the others through a database.

    Parameters
    ----------
    conninfo : str
        libpq connection string, without a password.
    chain : str
        Hexadecimal name of the chain: databases may serve several.
    name : str
        This node's name.
    mailbox : Mailbox
    retention_seconds : int, optional
        Rows older than this are deleted.
    table_bytes_max : int, optional
        So are the oldest ones of the chain where there is more than this.
    """

    def __init__(
        self,
        conninfo: str,
        chain: str,
        name: str,
        mailbox: Mailbox,
        *,
        retention_seconds: int = 120,
        table_bytes_max: int = 2 << 30,
    ) -> None:
        check_chain_name(chain)
        check_name(name)
        super().__init__(mailbox)
        self._conninfo, self._chain, self._name = conninfo, chain, name
        self._retention_seconds, self._table_bytes_max = retention_seconds, table_bytes_max
        self._outbox = Outbox(self.counters)
        self._unsent: tuple[str | None, bytes] | None = None
        self._stopping = threading.Event()
        self._mark = 0  # rows of transactions below were read, or are not for this node
        self._seen: dict[int, int] = {}  # ids of the other rows that were read, with their transactions
        self._seen_many = _SEEN_MANY
        self._server_start: object = None
        self._threads = [
            threading.Thread(target=self._keep, args=(work,), name=f"postgres-{what}-{name}", daemon=True)
            for what, work in (("send", self._send_messages), ("receive", self._receive_messages))
        ]
        for thread in self._threads:
            thread.start()

    def send(self, peer: str, payload: bytes) -> None:
        """Send to one peer."""
        self._outbox.put(peer, payload)

    def broadcast(self, payload: bytes) -> None:
        """Send to every other node of the chain."""
        self._outbox.put(None, payload)

    def close(self) -> None:
        """Send what waits if the server takes it now, then let go of it."""
        self._stopping.set()
        self._outbox.close()
        self._mailbox.close()
        for thread in self._threads:
            thread.join(3 * _POLL_SECONDS)

    # Both threads ----------------------------------------------------------------------------------------------------

    def _keep(self, work: Callable[[_Connection, Backoff], None]) -> None:
        """Do a thread's work on a connection; after an error on another one, until closed."""
        backoff = Backoff()
        while True:
            try:
                with self._connect() as connection:
                    work(connection, backoff)
            except psycopg.Error as error:
                _LOG.warning("postgres: %s", str(error).strip().partition("\n")[0])
            if self._stopping.is_set():
                return
            self.counters.reconnects += 1
            self._stopping.wait(backoff.next_seconds())

    def _connect(self) -> _Connection:
        connection: _Connection = psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
            application_name=f"pyledger {self._name}",
            options="-c statement_timeout=30000 -c synchronous_commit=off",
        )
        try:
            _ensure_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    # Sending ---------------------------------------------------------------------------------------------------------

    def _send_messages(self, connection: _Connection, backoff: Backoff) -> None:
        cleaned = float("-inf")
        while True:
            if time.monotonic() - cleaned > _CLEAN_SECONDS:
                self._delete_old(connection)
                backoff.reset()
                cleaned = time.monotonic()
            self._unsent = self._unsent or self._outbox.take(_POLL_SECONDS)
            if self._unsent is not None:
                self._send_one(connection, *self._unsent)
                self._unsent = None
                self.counters.sent += 1
            elif self._stopping.is_set():
                return

    def _send_one(self, connection: _Connection, peer: str | None, payload: bytes) -> None:
        channel = self._channel(peer)
        if len(payload) <= _NOTIFY_BYTES_MAX:
            text = f"{self._name} {base64.b64encode(payload).decode()}"
            connection.execute("SELECT pg_notify(%s, %s)", (channel, text))
        else:
            row = (self._chain, peer or "", self._name, payload)
            connection.execute(_INSERT, (*row, channel, _ROW_NOTICE), binary=True)

    def _channel(self, peer: str | None) -> str:
        return f"pyledger_{self._chain}" + ("" if peer is None else f"_{peer}")

    def _delete_old(self, connection: _Connection) -> None:
        limits = (self._chain, self._retention_seconds, self._chain, self._table_bytes_max)
        connection.execute(_DELETE_OLD, limits)

    # Receiving -------------------------------------------------------------------------------------------------------

    def _receive_messages(self, connection: _Connection, backoff: Backoff) -> None:
        for channel in (self._channel(None), self._channel(self._name)):
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        self._find_place(connection)
        backoff.reset()
        polled = float("-inf")
        rows = True
        while not self._stopping.is_set():
            if rows or time.monotonic() - polled > _POLL_SECONDS:
                self._read_rows(connection)
                polled = time.monotonic()
            notices = [notice.payload for notice in connection.notifies(timeout=_POLL_SECONDS / 2, stop_after=1)]
            rows = _ROW_NOTICE in notices
            for notice in notices:
                self._take_notice(notice)

    def _find_place(self, connection: _Connection) -> None:
        """After a restart of the server every row is new (a crash empties the table and begins ids anew)."""
        (start,) = _one(connection, "SELECT pg_postmaster_start_time()")
        if self._server_start is None:
            self._mark = _number(connection, _ALL_OVER_BELOW)
        elif start != self._server_start:
            self._mark, self._seen = 0, {}
        self._server_start = start

    def _take_notice(self, notice: str) -> None:
        """A small message; whatever else anybody notifies here is dropped."""
        sender, _, text = notice.partition(" ")
        if notice == _ROW_NOTICE or sender == self._name:
            return
        try:
            self._mailbox.put(sender, base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            self.counters.dropped_incoming += 1

    def _read_rows(self, connection: _Connection) -> None:
        over = _number(connection, _ALL_OVER_BELOW)  # asked first: what is over now is seen by the next statement
        recipients = ["", self._name]
        unread = connection.execute(
            _UNREAD, (self._chain, recipients, str(self._mark), self._name, list(self._seen))
        ).fetchall()
        for row_id, sender, size, written in unread:
            assert isinstance(row_id, int)
            assert isinstance(size, int)
            self._seen[row_id] = int(str(written))
            if size > self._mailbox.message_bytes_max:  # before it is fetched
                self.counters.dropped_incoming += 1
                continue
            found = connection.execute(
                "SELECT payload FROM pyledger_message WHERE id = %s", (row_id,), binary=True
            ).fetchone()
            if found is not None:
                self._mailbox.put(str(sender), bytes(found[0]))  # type: ignore[call-overload]
        if len(unread) < _ROWS_AT_ONCE:
            self._forget_seen(connection, over)

    def _forget_seen(self, connection: _Connection, over: int) -> None:
        """All rows of transactions below a number were read: go on from there."""
        self._mark = over
        self._seen = {row_id: written for row_id, written in self._seen.items() if written >= over}
        if len(self._seen) >= self._seen_many:  # a transaction has been open for long; rows that are gone don't matter
            query = "SELECT id FROM pyledger_message WHERE id = ANY(%s)"
            there = {row_id for (row_id,) in connection.execute(query, (list(self._seen),))}
            self._seen = {row_id: written for row_id, written in self._seen.items() if row_id in there}
            self._seen_many = max(_SEEN_MANY, 2 * len(self._seen))


def _ensure_schema(connection: _Connection) -> None:
    """Create what is missing; a role that may not create finds everything in place."""
    (found,) = _one(connection, "SELECT to_regclass('pyledger_message_age') IS NOT NULL")
    if found:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
        connection.execute(_SCHEMA)


def _one(connection: _Connection, query: str, parameters: tuple[object, ...] = ()) -> tuple[object, ...]:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row


def _number(connection: _Connection, query: str) -> int:
    return int(str(_one(connection, query)[0]))
