"""A disk that is full soon: a tmpfs of its own. Only a real file system without room fails in every way of one."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(folder, size):
    """Mount one of this size (as mount's option takes it) below the folder. Skips where nobody may mount.

    What needs no mount has tests beside those that use this: a limit on a file's size, and faults at each system call
    (docs/faults.md).
    """
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root and the program mount")
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"root may not mount here, as in most containers: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def make_room(disk, size):
    """Let the file system grow to this size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
