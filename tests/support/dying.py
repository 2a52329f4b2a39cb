"""A child process that takes snapshots and dies at a named instant of that; the test that waits for its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pyledger.ledger.snapshots import SnapshotWriter
from pyledger.node.keeping import BookCheckpoint


def run_until_killed(script, folder, instant, skip):
    """Run Python text with the other arguments as its own; the words of the last line that it printed."""
    command = [sys.executable, "-P", "-c", script, str(folder), instant, str(skip)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split("\n")[-2].split()


def hook_snapshots(instant, skip):
    """Have this process die when it has reached an instant `skip` times before; called with others by their name.

    Returns
    -------
    callable
        Says that an instant is reached. "state was taken", "half is written" and "snapshot is there" say so themselves.
    """
    left = int(skip)
    write_checkpoint, append_part = BookCheckpoint.write, SnapshotWriter.append

    def die_at(name):
        nonlocal left
        if name == instant:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def write(checkpoint, folder):
        die_at("state was taken")
        write_checkpoint(checkpoint, folder)
        die_at("snapshot is there")

    def append(writer, name, data):
        append_part(writer, name, data)
        if name == "engine.owners":  # the events behind it are missing
            die_at("half is written")

    BookCheckpoint.write, SnapshotWriter.append = write, append
    return die_at
