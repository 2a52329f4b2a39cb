"""hashlib as it is on a CPU without SHA-NI: a loop in a process of its own whose OpenSSL has that bit masked.

OpenSSL reads OPENSSL_ia32cap once, when it loads: ":~0x20000000" clears bit 29 of EBX of cpuid leaf 7, SHA-NI, and
nothing else. The process measures its own CPU time; `MaskedHashlib.clock` adds that up, so that a bench can use it as
its timer and stand in one table with contenders that are timed in place.
"""

import hashlib
import os
import subprocess
import sys
import time

import numpy as np

MASK = ":~0x20000000"
SHA256 = hashlib.sha256


def make_leaves(count, size):
    """The same pseudo-random leaves in both processes."""
    return np.random.default_rng(1).integers(0, 256, (count, size), np.uint8)


def loop_digests(messages):
    """One hashlib call a message."""
    return [SHA256(message).digest() for message in messages]


def loop_root(leaves):
    """The RFC 6962 root, one hashlib call a leaf and a node."""
    level = [SHA256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [SHA256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return level[0]


class MaskedHashlib:
    """Runs the loops in the other process."""

    def __init__(self):
        self.seconds = 0.0
        environment = os.environ | {"OPENSSL_ia32cap": MASK}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def clock(self):
        """CPU seconds that the other process spent in the loops."""
        return self.seconds

    def run(self, what, count, size):
        """Run "digests" or "root" over `count` messages; return the last digest or the root."""
        self._process.stdin.write(f"{what} {count} {size}\n")
        self._process.stdin.flush()
        seconds, digest = self._process.stdout.readline().split()
        self.seconds += float(seconds)
        return bytes.fromhex(digest)

    def close(self):
        """End the other process."""
        self._process.communicate()


def serve():
    """Answer each line: CPU seconds, digest."""
    messages, shape = [], None
    for line in sys.stdin:
        what, count, size = line.split()
        if shape != (count, size):
            messages, shape = [row.tobytes() for row in make_leaves(int(count), int(size))], (count, size)
        start = time.process_time()
        result = loop_root(messages) if what == "root" else loop_digests(messages)[-1]
        print(time.process_time() - start, result.hex(), flush=True)


if __name__ == "__main__":
    serve()
