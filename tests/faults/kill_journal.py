"""Kills a process that writes a journal and snapshots, again and again, and checks what it left.

    python tests/faults/kill_journal.py [--loops 10000] [--seed 1] [--folder FOLDER]

A child submits groups of blocks and tells each height that it was told is durable; after a few milliseconds it gets
SIGKILL. Then the folder is opened: every height that the child told must be there, each block as it was submitted, and
the newest snapshot told must be there whole. The next child goes on from what is left. A kill leaves what the system
was given, so a missing sync goes unseen here: journal_crash_states looks for those.
"""

import argparse
import os
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pyledger.ledger.journal import Journal
from pyledger.ledger.snapshots import find_snapshot, write_snapshot

GENESIS = bytes(range(32))
SEGMENT_SIZE = 400_000
LOOPS_PER_FOLDER = 100
TELL = struct.Struct("<cQQ")  # what, height, number of the child


@dataclass
class Findings:
    """What the loops saw; `lost` and `wrong` must be 0."""

    loops: int = 0
    acknowledged: int = 0
    unacknowledged_kept: int = 0
    torn: int = 0
    snapshots: int = 0
    lost: int = 0
    wrong: int = 0


def block(height: int, child: int) -> bytes:
    """Payload of a height, by the child that wrote it."""
    draw = random.Random(height << 32 | child)
    return struct.pack("<QQ", height, child) + draw.randbytes(draw.choice([0, 100, 4000, 9000, 40_000]))


def write_until_killed(folder: Path, child: int, pipe: int) -> None:
    """The child: never returns."""
    journal = Journal(folder, GENESIS, segment_size=SEGMENT_SIZE, queue_size=200_000, threads=1)
    draw = random.Random(child)
    while True:
        for _ in range(draw.randint(1, 6)):
            height = journal.submitted_height + 1
            payload = block(height, child)
            cut = draw.randrange(len(payload))
            journal.submit(height, [payload[:cut], payload[cut:]])
        journal.wait(journal.submitted_height)
        os.write(pipe, TELL.pack(b"B", journal.submitted_height, child))
        if draw.random() < 0.2:
            height = journal.durable_height
            write_snapshot(folder, height, {"rows": block(height, child)}, threads=1)
            os.write(pipe, TELL.pack(b"S", height, child))


def run_child(folder: Path, child: int, milliseconds: float) -> list[tuple[bytes, int, int]]:
    """Start a child, kill it so long after it told something, or now and then after its start; give what it told."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            write_until_killed(folder, child, writing)
        except BaseException as error:  # nothing of the parent may run on here
            os.write(2, f"child {child}: {error}\n".encode())
        os._exit(1)
    os.close(writing)
    if child % 5:
        select.select([reading], [], [], 60)
    time.sleep(milliseconds / 1000)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise SystemExit(f"child {child} ended by itself")
    return [TELL.unpack_from(told, at) for at in range(0, len(told) - TELL.size + 1, TELL.size)]


def check(
    folder: Path, told: list[tuple[bytes, int, int]], expected: dict[int, int], child: int, found: Findings
) -> None:
    """Compare what is there with what was told; `expected` holds who wrote each height that must be there."""
    before = len(expected)
    durable = max([before] + [height for what, height, _ in told if what == b"B"])
    reader = Journal(folder, GENESIS, read_only=True, threads=1)
    found.torn += reader.torn_bytes > 0
    reader.close()
    with_close = Journal(folder, GENESIS, segment_size=SEGMENT_SIZE, threads=1)
    found.lost += with_close.height < durable
    for height in range(1, with_close.height + 1):
        expected.setdefault(height, child)
        if height > before - 20:
            found.wrong += with_close.read(height) != block(height, expected[height])
    found.acknowledged += durable - before
    found.unacknowledged_kept += with_close.height > durable
    if child % 2:
        with_close.close()  # otherwise the next child finds no close mark
    else:
        del with_close
    snapshots = [height for what, height, _ in told if what == b"S"]
    newest, damaged = find_snapshot(folder, threads=1)
    found.lost += bool(snapshots) and (newest is None or newest.height < snapshots[-1])
    found.wrong += len(damaged)
    found.snapshots += len(snapshots)


def run_loops(folder: Path, loops: int, seed: int, longest_ms: float = 12) -> Findings:
    """Run so many loops and give what they saw."""
    draw = random.Random(seed)
    found, expected = Findings(), dict[int, int]()
    for child in range(1, loops + 1):
        if child % LOOPS_PER_FOLDER == 1:
            shutil.rmtree(folder / "journal", ignore_errors=True)
            (folder / "journal").mkdir()
            expected.clear()
        told = run_child(folder / "journal", child, draw.uniform(0.5, longest_ms))
        check(folder / "journal", told, expected, child, found)
        found.loops = child
        if child % 500 == 0:
            print(f"{child} of {loops} kills", file=sys.stderr, flush=True)
        if found.lost or found.wrong:
            break
    return found


def main() -> int:
    """Run the command; 1 if anything was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the file system to be tried; a temporary one by default")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = run_loops(Path(folder), options.loops, options.seed)
    print(f"{found} in {time.monotonic() - start:.0f} s")
    return 1 if found.lost or found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
