"""Files are whole or not there."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pyledger.errors import InputError, StorageError
from pyledger.formats.atomic import atomic_file, make_folder, write_atomic
from pyledger.formats.day_files import KEYS
from pyledger.formats.tables import write_table


def test_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "out.bin"
    with atomic_file(path) as stream:
        stream.write(b"content")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["out.bin"]


def write_half(path, error):
    with atomic_file(path) as stream:
        stream.write(b"half")
        raise error


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "out.bin"
    write_atomic(path, b"old")
    with pytest.raises(InputError, match="bad row"):
        write_half(path, InputError("bad row"))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_missing_folder_is_a_storage_error_naming_the_path(tmp_path):
    with pytest.raises(StorageError, match=r"none/out\.bin: cannot be written: No such file or directory"):
        write_atomic(tmp_path / "none" / "out.bin", b"x")


@pytest.fixture
def locked_folder():
    """A folder that this process may read and not write to; root steps down for the while."""
    with tempfile.TemporaryDirectory() as name:
        user = os.geteuid()
        os.chmod(name, 0o555)
        if user == 0:
            os.seteuid(65534)
        yield Path(name)
        os.seteuid(user)
        os.chmod(name, 0o755)


def test_folder_that_is_not_writable_is_a_storage_error(locked_folder):
    with pytest.raises(StorageError, match=r"out\.bin: cannot be written: Permission denied"):
        write_atomic(locked_folder / "out.bin", b"x")
    with pytest.raises(StorageError, match="inner: folder cannot be made: Permission denied"):
        make_folder(locked_folder / "inner")


def test_file_in_the_place_of_a_folder_is_a_storage_error(tmp_path):
    write_atomic(tmp_path / "file", b"x")
    with pytest.raises(StorageError, match="folder cannot be made"):
        make_folder(tmp_path / "file" / "inner")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_is_a_storage_error_at_whatever_call_it_shows(tmp_path, monkeypatch, call):
    def full(*_args: object) -> None:
        raise OSError(28, os.strerror(28))

    path = tmp_path / "out.bin"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match=r"out\.bin: cannot be written: No space left on device"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.bin"]


def write_with_little_room(path: str) -> None:
    """Write a table in a process whose files may not grow past 4 KiB: a short write, as a full disk shows first."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    keys = np.random.default_rng(1).integers(0, 256, (5000, 32), np.uint8)
    columns = {
        "key_id": pa.array(np.arange(5000, dtype=np.uint32)),
        "public_key": pa.array([key.tobytes() for key in keys], pa.binary(32)),
        "proof": pa.array([key.tobytes() * 2 for key in keys], pa.binary(64)),
    }
    try:
        write_table(path, KEYS, columns)
    except StorageError as error:
        print(error)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_table_that_does_not_fit_on_the_disk_leaves_nothing_behind(tmp_path, suffix):
    program = f"import runpy; runpy.run_path({__file__!r})['write_with_little_room']('keys.{suffix}')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.stdout == f"keys.{suffix}: cannot be written: File too large\n", run.stderr
    assert os.listdir(tmp_path) == []
