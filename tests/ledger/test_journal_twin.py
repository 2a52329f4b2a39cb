"""The journal and its plain Python twin write and read the same files."""

import random

import pytest

from pyledger.errors import StorageError
from pyledger.ledger.journal import Journal
from pyledger.reference import journal as reference

GENESIS = bytes(range(32))
SIZES = [0, 1, 127, 3967, 3968, 3969, 4096, 8064, 8065, 20_000]


def draw_groups(draw):
    return [[draw.randbytes(draw.choice(SIZES)) for _ in range(draw.randint(1, 4))] for _ in range(draw.randint(1, 5))]


def outcome(read):
    """What a reader finds: payloads and torn bytes, or that it refuses."""
    try:
        return read()
    except StorageError:
        return "refused"


def native(folder, **options):
    journal = Journal(folder, GENESIS, read_only=True, **options)
    found = [payload for _, payload in journal.payloads()], journal.torn_bytes
    journal.close()
    return found


def plain(folder, **options):
    found = reference.read(folder, GENESIS, **options)
    return found.payloads, found.torn_bytes


@pytest.mark.parametrize("seed", range(20))
def test_the_twin_reads_what_the_journal_wrote(tmp_path, seed):
    draw = random.Random(seed)
    payloads = [payload for group in draw_groups(draw) for payload in group]
    segment_size = draw.choice([1, 30_000, 1 << 20])
    journal = Journal(tmp_path, GENESIS, segment_size=segment_size)
    for height, payload in enumerate(payloads, 1):
        journal.submit(height, [payload[:100], payload[100:]])
    journal.wait(len(payloads))
    assert reference.read(tmp_path, GENESIS) == reference.Contents(payloads, closed=False, torn_bytes=0)
    journal.close()
    assert reference.read(tmp_path, GENESIS) == reference.Contents(payloads, closed=True, torn_bytes=0)


@pytest.mark.parametrize("seed", range(20))
def test_the_journal_reads_and_continues_what_the_twin_wrote(tmp_path, seed):
    draw = random.Random(seed)
    groups = draw_groups(draw)
    payloads = [payload for group in groups for payload in group]
    segment_size, closed = draw.choice([1, 30_000, 1 << 20]), draw.random() < 0.5
    reference.write(tmp_path, GENESIS, groups, segment_size=segment_size, closed=closed, salt=draw.randbytes(16))
    assert native(tmp_path) == (payloads, 0)
    journal = Journal(tmp_path, GENESIS, segment_size=segment_size)
    journal.append(len(payloads) + 1, b"more")
    journal.close()
    assert native(tmp_path) == plain(tmp_path) == ([*payloads, b"more"], 0)


def test_files_of_one_writer_and_of_the_twin_are_equal(tmp_path):
    """Appended one by one, every block is a group of its own; only the salt is drawn."""
    payloads = [bytes([size % 251]) * size for size in SIZES]
    (tmp_path / "native").mkdir()
    (tmp_path / "plain").mkdir()
    journal = Journal(tmp_path / "native", GENESIS)
    for height, payload in enumerate(payloads, 1):
        journal.append(height, payload)
    journal.close()
    written = (tmp_path / "native" / "000000000001.blocks").read_bytes()
    reference.write(tmp_path / "plain", GENESIS, [[payload] for payload in payloads], salt=written[88:104])
    assert written == (tmp_path / "plain" / "000000000001.blocks").read_bytes()


DAMAGES = ["flip", "zero sectors", "cut", "swap pages", "unlink", "random bytes behind"]


def damage(draw, kind, folder):
    path = draw.choice(sorted(folder.glob("*.blocks")))
    data = bytearray(path.read_bytes())
    pages = max(1, len(data) // 4096)
    place = draw.randrange(pages) * 4096
    if kind == "flip":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == "zero sectors":
        data[place : place + 512 * draw.randint(1, 8)] = bytes(512 * draw.randint(1, 8))
    elif kind == "cut":
        del data[draw.randrange(len(data)) :]
    elif kind == "swap pages":
        other = draw.randrange(pages) * 4096
        data[place : place + 4096], data[other : other + 4096] = data[other : other + 4096], data[place : place + 4096]
    elif kind == "random bytes behind":
        data += bytes(4096 * draw.randint(0, 2)) + draw.randbytes(draw.randint(1, 9000))
    path.unlink()
    if kind != "unlink":
        path.write_bytes(data)


@pytest.mark.parametrize("kind", DAMAGES)
def test_both_judge_damage_alike(tmp_path, kind):
    draw = random.Random(kind)
    verdicts = {"refused": 0, "cut": 0, "whole": 0}
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        groups = draw_groups(draw)
        count = sum(map(len, groups))
        options = {"segment_size": draw.choice([1, 30_000, 1 << 20]), "closed": draw.random() < 0.3}
        reference.write(folder, GENESIS, groups, salt=draw.randbytes(16), **options)
        damage(draw, kind, folder)
        known = draw.choice([0, 0, 0, count - 1, count])
        found = outcome(lambda: native(folder, known_height=known))  # noqa: B023
        assert found == outcome(lambda: plain(folder, known_height=known))  # noqa: B023
        verdicts["refused" if found == "refused" else "whole" if len(found[0]) == count else "cut"] += 1
    assert verdicts["refused"] >= 5
    assert verdicts["cut"] + verdicts["whole"] >= 5
