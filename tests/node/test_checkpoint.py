"""Books that go through a snapshot again and again while their keys, rights and transfers change: nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from ledgers import payload_of
from rights_kit import fingerprint
from rights_worlds import World

import pyledger as pl
from pyledger.ledger.checkpoint import BookCheckpoint, restore_book
from pyledger.ledger.journal import Journal
from pyledger.ledger.snapshots import find_snapshot
from pyledger.ledger.store import SealedTransfers
from pyledger.node.certified import columns_of, payload_parts

WORLDS, BLOCKS, EVERY = 12, 40, 6


class Kept:
    """The book of a world, its blocks in a journal, its old transfers on disk."""

    def __init__(self, folder, banks):
        self.banks, self.headers = banks, []
        self.segments, self.blocks, self.snapshots = folder / "segments", folder / "journal", folder / "snapshots"
        for each in (folder, self.segments, self.blocks, self.snapshots):
            each.mkdir()
        self.journal = Journal(self.blocks, banks.genesis.hash)
        self.sealed = self.sealing(opened=False)
        for block in banks.blocks:
            self.keep(block)

    def sealing(self, opened):
        return SealedTransfers(self.banks.book.engine, self.segments, window=4, segment=3, opened=opened)

    def keep(self, block):
        self.journal.append(block.header.height, payload_of(block, b""))
        path, offset = self.journal.place(block.header.height)
        columns = columns_of(payload_parts(block, b""), block)
        effects = columns.effects_offset and offset + columns.effects_offset
        self.sealed.add_block(path, offset + columns.records_offset, effects, columns.count)
        self.headers.append(block.header)

    def sections(self):
        """A snapshot, as a file gives it back."""
        with BookCheckpoint(self.banks.book, self.headers) as checkpoint:
            checkpoint.write(self.snapshots)
        snapshot, damaged = find_snapshot(self.snapshots)
        assert not damaged
        assert (snapshot.height, snapshot.binding) == (self.banks.book.height, self.banks.book.tip)
        return snapshot.sections

    def restored(self, sections):
        return restore_book(self.banks.genesis, sections, segments=self.segments, blocks=self.blocks)

    def go_on(self):
        """From now on with the book that a snapshot gives."""
        self.banks.book, self.headers = self.restored(self.sections())
        self.sealed = self.sealing(opened=True)


def state_of(book):
    """All that the book is; of its failed ids those that are still in memory."""
    (root, engine, keys_count), *rest = fingerprint(book)
    failed = np.frombuffer(engine.pop("failed_ids"), pl.U128).tolist()
    state = [root, engine, keys_count, *rest, book.height, book.next_time_ns]
    return [*state, book.history.root(), book.authority.public_keys.tolist(), book.engine.totals()], failed


def require_replayed(banks):
    """The same as a book that executed every block, and kept everything in memory."""
    (mine, failed), (replayed, every_failed) = state_of(banks.book), state_of(banks.replay(trusted=True))
    assert mine == replayed
    assert failed == every_failed[len(every_failed) - len(failed) :]
    banks.book.check_invariants()
    return len(every_failed)


def run_block(world, kept):
    banks = world.banks
    submissions = world.block()
    terms = {"time_ns": banks.book.next_time_ns + world.random.choice([0, 0, 2 * 10**9]), "epoch": 1}
    made = banks.book.propose(submissions, round=banks.book.height + 1, validators_hash=banks.validators_hash, **terms)
    for submission, result in zip(submissions, made.results, strict=True):
        world.learn(submission, result)
    if made.block is not None:
        banks.book.commit(made.block)
        banks.blocks.append(made.block)
        kept.keep(made.block)
        kept.sealed.seal()


def test_books_that_go_through_snapshots_are_those_that_executed_every_block(tmp_path):
    failed = sealed = mandates = revoked = 0
    for seed in range(WORLDS):
        world = World(seed)
        kept = Kept(tmp_path / str(seed), world.banks)
        for number in range(1, BLOCKS + 1):
            run_block(world, kept)
            if number % EVERY == 0:
                before = fingerprint(world.banks.book)
                kept.go_on()
                assert fingerprint(world.banks.book) == before
        failed += require_replayed(world.banks)
        engine = world.banks.book.engine
        sealed += engine.sealed_count
        mandates += len(engine.dump()["mandate_slots"])
        revoked += int((engine.keys()["key_valid_until"] < 1 << 63).sum())
        kept.journal.close()
    assert min(failed, sealed, mandates, revoked) > WORLDS, (failed, sealed, mandates, revoked)


def test_a_snapshot_without_one_of_its_parts_is_not_a_book(tmp_path):
    world = World(1)
    kept = Kept(tmp_path / "world", world.banks)
    for _ in range(12):
        run_block(world, kept)
    sections = kept.sections()
    for name in sections:
        with pytest.raises(pl.StorageError):
            kept.restored({other: data for other, data in sections.items() if other != name})
    kept.journal.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("engine.accounts", "state root|state:"),
        ("engine.owners", "state root|state:"),
        ("book.order", "order|state root"),
        ("book.tip", "headers"),
        ("book.headers", "headers|header"),
    ],
)
def test_what_the_last_header_commits_to_is_checked_against_it(tmp_path, name, says):
    world = World(2)
    kept = Kept(tmp_path / "world", world.banks)
    for _ in range(12):
        run_block(world, kept)
    sections = kept.sections()
    for place in (0, len(sections[name]) // 2, len(sections[name]) - 1):
        changed = sections[name].copy()
        changed[place] ^= 1
        with pytest.raises(pl.StorageError, match=says):
            kept.restored({**sections, name: changed})
    kept.journal.close()
