"""What is PostgreSQL's own: schema, retention, ids that become visible out of order, hostile rows and notices."""

import base64
import threading
import time
from pathlib import Path

import psycopg
import psycopg.sql
import pytest
from transport_kit import SECONDS, connect, receive_until

from pyledger.node.transports.postgres import _ensure_schema


@pytest.fixture
def database(postgres):
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        yield connection


pytestmark = pytest.mark.parametrize("network", ["postgres"], indirect=True)


def rows(database, chain):
    return database.execute("SELECT count(*) FROM pyledger_message WHERE chain = %s", (chain,)).fetchone()[0]


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_schema_can_be_created_by_many_at_once(network, database):
    database.execute("DROP TABLE IF EXISTS pyledger_message")
    errors = []

    def create():
        try:
            with psycopg.connect(network.server.conninfo, autocommit=True) as connection:
                _ensure_schema(connection)
        except psycopg.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert database.execute("SELECT to_regclass('pyledger_message_age')").fetchone()[0]


def test_small_messages_touch_no_table(network, database):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    a.send("B", bytes(5_700))
    receive_until(b, {("A", bytes(5_700))})
    assert rows(database, network.chain) == 0


def test_rows_above_the_limits_of_age_and_size_are_deleted(network, database):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    for number in range(6):
        a.send("B", bytes([number]) * 100_000)
    wait_for(lambda: rows(database, network.chain) == 6)
    a._table_bytes_max = 350_000
    a._delete_old(database)
    assert rows(database, network.chain) == 3
    a._retention_seconds = 0
    a._delete_old(database)
    assert rows(database, network.chain) == 0


INSERT = "INSERT INTO pyledger_message (chain, recipient, sender, payload) VALUES (%s, 'B', 'A', %s)"


def test_a_row_that_is_committed_after_a_later_one_is_not_overlooked(network, database):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    with psycopg.connect(network.server.conninfo) as slow:
        slow.execute(INSERT, (network.chain, b"first id, committed last"))
        database.execute(INSERT, (network.chain, b"second id, committed first"))
        receive_until(b, {("A", b"second id, committed first")})
        slow.commit()
    receive_until(b, {("A", b"first id, committed last")})


def test_a_row_is_not_overlooked_however_long_its_transaction_is_open(network, database):
    """The rows that come meanwhile look a minute older, as if that much time had passed."""
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    old = INSERT.replace("payload)", "payload, created)").replace("%s)", "%s, clock_timestamp() - interval '60 s')")
    payloads = [b"meanwhile %d" % number for number in range(600)]
    with psycopg.connect(network.server.conninfo) as slow:
        slow.execute(INSERT, (network.chain, b"open for long"))
        for payload in payloads:
            database.execute(old, (network.chain, payload))
        receive_until(b, {("A", payload) for payload in payloads})
        wait_for(lambda: len(b._seen) >= len(payloads))  # nothing may be forgotten yet
        slow.commit()
    receive_until(b, {("A", b"open for long")})
    wait_for(lambda: not b._seen)


def test_what_is_remembered_of_rows_goes_with_them_while_a_transaction_stays_open(network, database, monkeypatch):
    monkeypatch.setattr("pyledger.node.transports.postgres._SEEN_MANY", 4)
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    with psycopg.connect(network.server.conninfo) as slow:
        slow.execute(INSERT, (network.chain, b"open for long"))
        for first in (0, 10):
            database.execute("DELETE FROM pyledger_message WHERE chain = %s", (network.chain,))
            for number in range(first, first + 10):
                database.execute(INSERT, (network.chain, b"%d" % number))
            receive_until(b, {("A", b"%d" % number) for number in range(first, first + 10)})
        wait_for(lambda: len(b._seen) == 10)


def test_each_row_is_given_once_while_the_reader_forgets_old_ids(network, database):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    payloads = [number.to_bytes(2, "big") * 3000 for number in range(600)]
    found = []
    for part in (payloads[:300], payloads[300:]):
        for payload in part:
            a.send("B", payload)
        found += receive_until(b, {("A", payload) for payload in part})
        wait_for(lambda: not b._seen)
    assert sorted(payload for _, payload in found if not payload.startswith(b"hello")) == payloads


def test_hostile_notices_and_rows_are_dropped(network, database):
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    channel = f"pyledger_{network.chain}_B"
    spoilt = ["", " ", "A", "A !!!", "A ====", "A \u00e4", "row row", "X " + base64.b64encode(b"stranger").decode()]
    for text in spoilt:
        database.execute("SELECT pg_notify(%s, %s)", (channel, text))
    huge = (network.chain, bytes((16 << 20) + 1))
    database.execute("INSERT INTO pyledger_message (chain, recipient, sender, payload) VALUES (%s, '', 'A', %s)", huge)
    a.send("B", b"still here")
    found = receive_until(b, {("A", b"still here")})
    assert set(found) <= {("A", b"still here"), ("A", b"")}


def test_a_role_with_the_grants_that_the_documents_name_is_enough_and_sets_no_times(network, database, monkeypatch):
    """docs/node.md: the columns that say when a row came are the server's own."""
    _ensure_schema(database)
    documented = (Path(__file__).parents[3] / "docs" / "node.md").read_text().split("```sql\n")[1].split("```")[0]
    database.execute("DROP ROLE IF EXISTS bankaaxx")
    database.execute("CREATE ROLE bankaaxx LOGIN")
    database.execute(documented)
    conninfo = psycopg.conninfo.make_conninfo(network.server.conninfo, user="bankaaxx")
    with psycopg.connect(conninfo, autocommit=True) as role:
        for column, value in (("created", "clock_timestamp()"), ("written", "pg_current_xact_id()")):
            insert = (
                "INSERT INTO pyledger_message (chain, recipient, sender, payload, {}) VALUES ('c', 'B', 'A', '', {})"
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                role.execute(psycopg.sql.SQL(insert).format(psycopg.sql.Identifier(column), psycopg.sql.SQL(value)))
    monkeypatch.setattr(type(network.server), "conninfo", conninfo)
    a, b = network.join("A"), network.join("B")
    connect(a, b)
    a.send("B", bytes(100_000))
    receive_until(b, {("A", bytes(100_000))})
    with psycopg.connect(conninfo, autocommit=True) as role:
        a._table_bytes_max = 0
        a._delete_old(role)
    assert rows(database, network.chain) == 0
    monkeypatch.undo()
    database.execute("DROP OWNED BY bankaaxx")
    database.execute("DROP ROLE bankaaxx")
