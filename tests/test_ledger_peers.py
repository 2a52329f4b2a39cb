"""The contender of the benchmarks that has a client of several versions: what it sends, counts and leaves."""

import enum
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tigerbeetle as tb
from ledger_peers import TigerBeetle, effects_count
from networks import wait_until

import pyledger as pl


class Status(enum.IntEnum):
    CREATED = 0xFFFFFFFF
    EXCEEDS_CREDITS = 54


SINCE_0_17 = SimpleNamespace(CreateAccountStatus=Status, CreateTransferStatus=Status)
BEFORE_0_17 = SimpleNamespace()


def answer(*statuses):
    """As a client of 0.17 gives it."""
    return [SimpleNamespace(timestamp=1, status=status) for status in statuses]


def test_a_client_that_answers_each_event_is_counted_by_status():
    assert effects_count(SINCE_0_17, 3, answer(Status.CREATED, Status.EXCEEDS_CREDITS, Status.CREATED)) == 2
    with pytest.raises(AssertionError):
        effects_count(SINCE_0_17, 3, answer(Status.CREATED))


def test_a_client_that_answers_refusals_only_is_counted_by_what_is_left():
    assert effects_count(BEFORE_0_17, 3, [SimpleNamespace(index=1, result=54)]) == 2
    assert effects_count(BEFORE_0_17, 3, []) == 3


def test_the_installed_client_answers_in_types_that_are_counted():
    if hasattr(tb, "CreateTransferStatus"):
        accounts = [tb.CreateAccountResult(1, status) for status in tb.CreateAccountStatus]
        transfers = [tb.CreateTransferResult(1, status) for status in tb.CreateTransferStatus]
        assert [effects_count(tb, len(results), results) for results in (accounts, transfers)] == [1, 1]
    else:
        refused = [tb.CreateTransfersResult(0, tb.CreateTransferResult.EXCEEDS_CREDITS)]
        assert effects_count(tb, 3, refused) == 2


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client that creates what it is given, and a server's binary that does nothing until it is stopped."""
    binary, told = tmp_path / "tigerbeetle", tmp_path / "pid"
    binary.write_text(
        f'#!/bin/sh\n[ "$1" = format ] || {{ echo $$ > {told}.part; mv {told}.part {told}; exec sleep 60; }}\n'
    )
    binary.chmod(0o755)
    client = SimpleNamespace(sent=[], status=Status.CREATED, closed=0)

    def take(events):
        client.sent.append(len(events))
        return answer(*[client.status] * len(events))

    def connect(**_):
        wait_until(told.exists)
        client.pid = int(told.read_text())
        return client

    def close():
        client.closed += 1

    client.create_accounts, client.create_transfers, client.close = take, take, close
    record = {"Account": SimpleNamespace, "AccountFlags": int, "Transfer": SimpleNamespace}
    module = SimpleNamespace(ClientSync=connect, **record, **vars(SINCE_0_17))
    monkeypatch.setitem(sys.modules, "tigerbeetle", module)
    monkeypatch.setenv("PYLEDGER_TIGERBEETLE", str(binary))
    return client


def assert_is_gone(client):
    assert client.closed == 1
    with pytest.raises(ProcessLookupError):
        os.kill(client.pid, 0)


def test_no_request_is_larger_than_the_client_takes(tmp_path, client):
    peer = TigerBeetle(tmp_path, np.zeros(10_000, pl.ACCOUNT))
    assert client.sent == [8189, 1811]
    client.sent.clear()
    batches = [np.zeros(8190, pl.TRANSFER)] * 2
    peer.prepare(batches)
    assert peer.post_all(batches) == 2 * 8190
    assert sorted(client.sent) == [2, 8189, 8189]
    client.status = Status.EXCEEDS_CREDITS
    assert peer.post_all(batches) == 0
    peer.close()
    assert_is_gone(client)


def test_accounts_that_are_refused_leave_no_server_behind(tmp_path, client):
    client.status = Status.EXCEEDS_CREDITS
    with pytest.raises(AssertionError):
        TigerBeetle(tmp_path, np.zeros(1, pl.ACCOUNT))
    assert_is_gone(client)
