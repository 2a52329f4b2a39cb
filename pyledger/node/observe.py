"""What a node shows of itself: log lines, and numbers for Prometheus.

Log lines are JSON objects on stderr. They name blocks, rounds, peers and places; nothing that is logged or counted
comes from inside a submission or a key.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["MetricsServer", "log_event", "start_logging"]

_FIELDS: Final = "pyledger_fields"

_METRICS: Final = {
    "height": ("gauge", "Height of the last final block"),
    "round": ("gauge", "Round the node is in"),
    "epoch": ("gauge", "Epoch the node is in"),
    "votes": ("counter", "Votes that this node has cast"),
    "certificates": ("counter", "Blocks whose quorum certificate this node has seen"),
    "timeouts": ("counter", "Rounds that this node has given up"),
    "transfers": ("counter", "Transfers in final blocks since the node started"),
    "blocks": ("counter", "Final blocks since the node started"),
    "blocks_taken_back": ("counter", "Executed blocks that were taken back because a branch was abandoned"),
    "evidence": ("counter", "Proofs that a validator contradicted itself"),
    "mempool_batches": ("gauge", "Batches that wait for a block"),
    "mempool_bytes": ("gauge", "Bytes of batches that wait for a block"),
    "clients": ("gauge", "Connections of clients"),
    "messages_waiting": ("gauge", "Messages of peers that wait"),
    "messages_sent": ("counter", "Messages sent to peers"),
    "messages_received": ("counter", "Messages taken from peers"),
    "messages_dropped": ("counter", "Messages dropped: too large, malformed, of strangers, or too many"),
    "reconnects": ("counter", "Connections to the transport's server that were made anew"),
    "fsync_seconds_last": ("gauge", "Duration of the last write that had to be durable"),
    "fsyncs": ("counter", "Writes that had to be durable: of blocks, and of batches"),
    "fsync_seconds": ("counter", "Time spent in writes that had to be durable"),
}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return json.dumps(line, default=str)


def start_logging(level: str) -> None:
    """Write log lines of this level and above to stderr, those of libraries from "warning" on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pyledger").setLevel(level.upper())


def log_event(logger: logging.Logger, message: str, level: int = logging.INFO, **fields: object) -> None:
    """Log a line with fields of its own; bytes are shown as hexadecimal."""
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    logger.log(level, message, extra={_FIELDS: shown})


class MetricsServer:
    """The Prometheus endpoint, in a thread of its own.

    Parameters
    ----------
    address : tuple of (host, port)
    read : callable
        Gives the numbers of `_METRICS` by name.
    labels : dict of str to str
        Node and chain.
    """

    def __init__(self, address: tuple[str, int], read: Callable[[], dict[str, Any]], labels: dict[str, str]) -> None:
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        registry.register(_Collector(read, labels))
        host, port = address
        self._server, self._thread = start_http_server(port, host, registry)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector:
    def __init__(self, read: Callable[[], dict[str, Any]], labels: dict[str, str]) -> None:
        self._read, self._labels = read, labels

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        numbers = self._read()
        for name, (kind, meaning) in _METRICS.items():
            if name in numbers:
                family = kinds[kind](f"pyledger_{name}", meaning, labels=list(self._labels))
                family.add_metric(list(self._labels.values()), numbers[name])
                yield family
