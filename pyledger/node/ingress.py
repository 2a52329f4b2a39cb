"""The node's socket: clients of the institution hand in batches here and learn what became of them.

A Unix socket in the data folder. Who may open the file may submit; what a batch may do is decided by its signatures,
not by who hands it in. Each connection has a thread that reads and one that writes, so a slow client slows itself.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pyledger.errors import InputError, StorageError
from pyledger.node.wire import REQUESTS, Answer, Failed, Request, read_frame, write_frame

__all__ = ["SOCKET_NAME", "Client", "Ingress"]

SOCKET_NAME: Final = "node.sock"
_LOG: Final = logging.getLogger(__name__)
_PATH_BYTES_MAX: Final = 107  # sun_path, less its end mark
_UNDER_WAY_MAX: Final = 256


class Client:
    """A connection: requests come from it, answers go to it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._under_way = threading.BoundedSemaphore(_UNDER_WAY_MAX)

    def answer(self, answer: Answer) -> None:
        """Send an answer, sooner or later; never waits. Each request has exactly one."""
        self._answers.put(answer)

    def close(self) -> None:
        """Read no more, and end the connection behind the last answer."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)
        self._answers.put(None)

    def read(self, take: Callable[[Client, Request], None]) -> None:
        """Pass requests on until the client is gone."""
        with suppress(OSError):
            while True:
                try:
                    request = read_frame(self._connection, REQUESTS)
                except InputError as error:
                    self._answers.put(Failed(0, "InputError", str(error)))
                    return
                if request is None:
                    return
                self._under_way.acquire()
                take(self, request)

    def write(self) -> None:
        """Send answers until closed."""
        with self._connection, suppress(OSError):
            while (answer := self._answers.get()) is not None:
                write_frame(self._connection, answer)
                with suppress(ValueError):
                    self._under_way.release()


class Ingress:
    """Listens on the socket of a data folder.

    Parameters
    ----------
    folder : Path
        Nobody else may have the folder's ledger open for writing: a socket that is left from before is replaced.
    take : callable
        Called with client and request, in threads of the connections.
    clients_max : int
        More connections are turned away.

    Raises
    ------
    StorageError
        If the socket can't be made.
    """

    def __init__(self, folder: Path, take: Callable[[Client, Any], None], clients_max: int) -> None:
        self.path = folder / SOCKET_NAME
        self._take, self._clients_max = take, clients_max
        self._clients: set[Client] = set()
        self._mutex = threading.Lock()
        self._listener = _listen(self.path)
        self._thread = threading.Thread(target=self._accept, name="ingress", daemon=True)
        self._thread.start()

    @property
    def clients_count(self) -> int:
        """Number of connections."""
        return len(self._clients)

    def close(self) -> None:
        """Take no more connections and end those there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        with self._mutex:
            for client in self._clients:
                client.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._mutex:
                if len(self._clients) >= self._clients_max:
                    connection.close()
                    continue
                client = Client(connection)
                self._clients.add(client)
            threading.Thread(target=client.write, name="client-write", daemon=True).start()
            threading.Thread(target=self._serve, args=(client,), name="client-read", daemon=True).start()

    def _serve(self, client: Client) -> None:
        try:
            client.read(self._take)
        finally:
            client.close()
            with self._mutex:
                self._clients.discard(client)


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path.absolute())) > _PATH_BYTES_MAX:
        raise StorageError(f"{path}: a socket's path has at most {_PATH_BYTES_MAX} bytes: choose a shorter data folder")
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(str(path.absolute()))
        finally:
            os.umask(before)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise StorageError(f"{path}: {error.strerror}") from error
    return listener
