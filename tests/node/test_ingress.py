"""The node's socket: bounded, strict, closed to others; a client that misbehaves harms itself."""

import socket
import stat
import struct

import pytest

from pyledger.errors import StorageError
from pyledger.node.ingress import Ingress
from pyledger.node.wire import ANSWERS, Failed, StatusAnswer, StatusRequest, read_frame, write_frame


@pytest.fixture
def ingress(tmp_path):
    def answer(client, request):
        client.answer(StatusAnswer(request.number, {"asked": request.number}))

    ingress = Ingress(tmp_path, answer, clients_max=3)
    yield ingress
    ingress.close()


def connect(ingress):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(ingress.path))
    return connection


def test_nobody_else_may_open_the_socket(ingress):
    assert stat.S_IMODE(ingress.path.stat().st_mode) == 0o600


def test_many_requests_on_one_connection_are_all_answered(ingress):
    with connect(ingress) as connection:
        for number in range(2000):
            write_frame(connection, StatusRequest(number))
            if number % 100 == 99:
                answers = [read_frame(connection, ANSWERS).number for _ in range(100)]
                assert answers == list(range(number - 99, number + 1))


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", 0xFFFF_FFFF),
        struct.pack("<I", 3) + b"abc",
        struct.pack("<I", 0),
        struct.pack("<I", 2) + b"\x91\xc0",
        struct.pack("<I", 12) + b"\x92\xa6status\xd3" + bytes(3),
        struct.pack("<I", 41) + b"\x93\xa5whose\x01\xc4\x1f" + bytes(31),
    ],
    ids=["too long", "no msgpack", "empty", "no tag", "cut number", "short key"],
)
def test_a_malformed_frame_ends_its_connection_and_no_other(ingress, data):
    with connect(ingress) as bad, connect(ingress) as good:
        bad.sendall(data)
        answer = read_frame(bad, ANSWERS)
        assert isinstance(answer, Failed)
        assert answer.error == "InputError"
        assert read_frame(bad, ANSWERS) is None
        write_frame(good, StatusRequest(5))
        assert read_frame(good, ANSWERS).number == 5


def test_connections_above_the_limit_are_turned_away(ingress):
    held = [connect(ingress) for _ in range(3)]
    for number, connection in enumerate(held):
        write_frame(connection, StatusRequest(number))
        assert read_frame(connection, ANSWERS).number == number
    with connect(ingress) as fourth:
        assert fourth.recv(1) == b""
    for connection in held:
        connection.close()


def test_a_socket_left_from_before_is_replaced_and_none_is_left_behind(tmp_path):
    (tmp_path / "node.sock").touch()
    ingress = Ingress(tmp_path, lambda client, request: None, 1)
    assert stat.S_ISSOCK(ingress.path.stat().st_mode)
    ingress.close()
    assert not ingress.path.exists()


def test_a_folder_whose_path_is_too_long_for_a_socket_is_named(tmp_path):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(StorageError, match="107 bytes"):
        Ingress(folder, lambda client, request: None, 1)
