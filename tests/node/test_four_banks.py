"""docs/four-banks.md, run as it stands, on ports that are free."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import NatsServer, free_port

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "four-banks.md"


@pytest.mark.skipif(not NatsServer.available, reason=NatsServer.missing)
def test_the_example_runs_as_it_stands(tmp_path):
    script = "\n".join(re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
    for port in ("4222", "8222", "9460"):
        assert port in script
        script = script.replace(port, str(free_port()))
    # The programs of this environment; its last command's status is that of the whole.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    with subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            shown, _ = process.communicate(timeout=240)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, shown
    assert "results [0, 0, 0]" in shown
    assert shown.count("final in block") == 2
