"""libsodium in a C loop over arrays: the peer without Python's cost a call. Compiled when a bench asks for it."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SOURCE = """
#include <sodium.h>
void verify_loop(size_t count, const unsigned char* keys, const unsigned char* messages, size_t message_bytes,
                 const unsigned char* signatures, unsigned char* valid) {
  for (size_t i = 0; i < count; i++)
    valid[i] = 0 == crypto_sign_verify_detached(signatures + 64 * i, messages + message_bytes * i, message_bytes,
                                                keys + 32 * i);
}
int start(void) { return sodium_init(); }
"""


class Unavailable(Exception):
    """No C compiler, or no libsodium to compile against."""


def load():
    """Return verify(keys, messages, signatures) -> bool array; raises Unavailable with the compiler's reason."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler named cc")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "loop.c", Path(folder) / "loop.so"
        source.write_text(SOURCE)
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(target), str(source), "-lsodium"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"no libsodium to compile against: {done.stderr.strip().splitlines()[0]}")
        library = ctypes.CDLL(str(target))
    if library.start() < 0:
        raise Unavailable("libsodium does not start")

    def verify(keys, messages, signatures):
        valid = np.empty(len(keys), bool)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (keys, messages, signatures, valid)]
        sizes = [ctypes.c_size_t(size) for size in messages.shape]
        library.verify_loop(sizes[0], pointers[0], pointers[1], sizes[1], pointers[2], pointers[3])
        return valid

    return verify
