"""Random signed batches that burn ids: whoever executes their blocks burns the same ones, as the plain twin does.

Chains that break in the middle or are left open, imported and mixed batches, forged tails, limits, closed accounts and
pending transfers: what a block keeps of them is enough, and no more than that.
"""

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from book_worlds import GENESIS, OWNER, World, entries, key_of
from ledgers import sign, transfers

import pyledger as pl
from pyledger.ledger.batches import AccountBatch, TransferBatch
from pyledger.ledger.blocks import Block, linked_chains
from pyledger.ledger.book import Book
from pyledger.ledger.burnt import PASSING
from pyledger.ledger.commands import REFUSED_SIGNED, SignedRefusals
from pyledger.ledger.replay import submissions_of
from pyledger.reference.engine import Engine
from pyledger.reference.posting_checks import TRANSIENT
from pyledger.types import NO_KEY, u128_ints
from pyledger.types import AccountFlags as AF
from pyledger.types import CreateTransferResult as R
from pyledger.types import TransferFlags as TF

WORLDS, BLOCKS, FLOOR = 20, 25, 20
OWNER_KEY, OTHER_KEY = 4, 5
OTHER = key_of(77)
STEP = 1000


class BurningWorld(World):
    """Draws signed batches of which much fails for a passing reason."""

    def __init__(self, seed):
        super().__init__()
        self.random = random.Random(seed)
        self.number = 0
        self.pending = [1]
        rows = entries(range(1, 9))
        rows["owner_key"][:] = [OWNER_KEY, OWNER_KEY, OWNER_KEY, OWNER_KEY, OTHER_KEY, OTHER_KEY, 0, 0]
        rows["record"]["flags"][2:6] = AF.DEBITS_MUST_NOT_EXCEED_CREDITS
        self.blocks = [self.block(self.keys(OWNER, OTHER)), self.block(self.attested(AccountBatch, rows))]

    def chance(self, part):
        return self.random.random() < part

    def draw_block(self):
        """Submissions for one block, at most one of them attested."""
        self.imported_ns = self.book.next_time_ns
        batches = [self.draw_signed() for _ in range(self.random.randrange(1, 5))]
        if self.chance(0.4):
            rows = self.draw_records(self.random.randrange(1, 4))
            rows["debit_account_id"]["lo"] = 7
            batches.insert(self.random.randrange(len(batches) + 1), self.attested(TransferBatch, rows))
        return batches

    def draw_signed(self):
        records = self.draw_records(self.random.randrange(1, 9))
        self.import_some(records)
        signers = np.where(np.isin(records["debit_account_id"]["lo"], (5, 6)), OTHER_KEY, OWNER_KEY).astype(np.uint32)
        controllers = np.full(len(records), NO_KEY, np.uint32)
        controllers[(records["flags"] & TF.PENDING != 0) & (self.random.random() < 0.5)] = OTHER_KEY
        signatures = self.sign(records, signers, controllers).copy()
        for row in range(len(records)):
            if self.chance(0.08):
                signatures[row, 40] ^= 1
        return TransferBatch(records, signers, signatures, controllers=controllers if self.chance(0.7) else None)

    def sign(self, records, signers, controllers):
        keys = [OTHER if signer == OTHER_KEY else OWNER for signer in signers]
        if (controllers == NO_KEY).all():
            return sign(GENESIS.chain_id, records, keys)
        names = [None if key == NO_KEY else OTHER.public_key for key in controllers]
        return pl.signing.sign_transfers(keys, GENESIS.chain_id, records, controllers=names)

    def draw_records(self, count):
        records = np.concatenate([self.draw_transfer() for _ in range(count)])
        for row in range(count):
            if self.chance(0.35):
                records["flags"][row] |= TF.LINKED
        return records

    def draw_transfer(self):
        self.number += 1
        number = self.number if self.chance(0.85) else max(1, self.number - self.random.randrange(1, 20))
        debit, credit = self.random.sample(range(1, 9 if self.chance(0.8) else 12), 2)
        record = transfers((number, debit, credit, self.random.randrange(1, 60)))
        kind = self.random.random()
        if kind < 0.15:
            record["flags"] = TF.PENDING
            self.pending.append(number)
        elif kind < 0.3:
            pending = self.random.choice(self.pending) if self.chance(0.8) else 10**6
            record = transfers((number, 0, 0, (1 << 128) - 1), flags=TF.POST_PENDING_TRANSFER)
            record["pending_id"], record["ledger"], record["code"] = pl.u128_array([pending]), 0, 0
        elif kind < 0.34:
            record["flags"] = TF.PENDING | TF.CLOSING_DEBIT
            self.pending.append(number)
        return record

    def import_some(self, records):
        """All of a batch, or one of it, which is refused for that."""
        kind = self.random.random()
        rows = range(len(records)) if kind < 0.2 else [self.random.randrange(len(records))] if kind < 0.5 else []
        for row in rows:
            self.imported_ns += 1
            records["flags"][row] |= TF.IMPORTED
            records["timestamp"][row] = self.imported_ns


def twin_book():
    """A book over the plain engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyledger.ledger.book._core", SimpleNamespace(Engine=Engine))
        return Book(GENESIS)


def kept_rows(batch, results):
    """Rows that a block keeps of what was refused, plainly: the ids that burn and the chains that these break."""
    burnt = [row for row, code in enumerate(results.tolist()) if code in TRANSIENT]
    chains = [range(start, end) for start, end in linked_chains(batch.records)]
    whole = {row: next((chain for chain in chains if row in chain), [row]) for row in burnt}
    return sorted({row for chain in whole.values() for row in chain})


def kept_groups(submissions, results):
    """What each command stands for, plainly: (batch, row, whether refused), of one batch or of several side by side."""
    groups, group = [], None
    for batch, codes in zip(submissions, results, strict=True):
        if batch.attest is not None:
            group = group if int(codes[0]) in range(1020, 1024) else None  # refused as a whole, it is not in the block
            continue
        rows = kept_rows(batch, codes)
        in_block = sorted([*rows, *np.flatnonzero(codes == 0).tolist()])
        imported = bool(batch.records["flags"][0] & TF.IMPORTED)
        if in_block and imported:
            group = None
        if rows and group is None:
            groups.append(group := [])
        if group is not None:
            group += [(batch, row, row in rows) for row in in_block]
        if rows and (imported or batch.records["flags"][in_block[-1]] & TF.LINKED):
            group = None
    return groups


def require_kept(counts, block, submissions, results):
    """The block's commands hold exactly these rows, as they were submitted."""
    kept = [command for command in block.body.commands if isinstance(command, SignedRefusals)]
    for command, group in zip(kept, kept_groups(submissions, results), strict=True):
        positions = [place for place, (_batch, _row, is_refused) in enumerate(group) if is_refused]
        assert command.refused_positions == tuple(positions)
        last = group[positions[-1]][0]
        size = 1 + max(place for place, (batch, _row, _is_refused) in enumerate(group) if batch is last)
        assert command.taken == size - len(positions)
        refused = np.frombuffer(command.refused, REFUSED_SIGNED)
        for kept_row, place in zip(refused, positions, strict=True):
            batch, row, _is_refused = group[place]
            assert kept_row["record"].tobytes() == batch.records[row].tobytes()
            assert kept_row["signature"].tobytes() == batch.signatures[row].tobytes()
            assert kept_row["signer"] == batch.signers[row]
        counts["several batches"] += len({id(group[place][0]) for place in positions}) > 1


def count(counts, batch, codes):
    if batch.attest is not None:
        return
    counts.update(R(code).name for code in codes.tolist())
    kept = kept_rows(batch, codes)
    alone = sum(code in TRANSIENT for code in codes[kept].tolist())
    counts["chains"] += len(kept) > alone
    imported = batch.records["flags"] & TF.IMPORTED != 0
    if kept:
        counts["left open"] += R.LINKED_EVENT_CHAIN_OPEN in codes[kept].tolist()
        counts["imported"] += bool(imported.all())
        counts["mixed"] += len(set(imported[kept].tolist())) == 2
        counts["beside what takes effect"] += bool((codes == 0).any())
        counts["controlled"] += batch.controllers is not None and bool((batch.controllers[kept] != NO_KEY).any())


def failed_of(book):
    return u128_ints(book.engine.failed_ids())


def run_world(seed, counts):
    world = BurningWorld(seed)
    twin, other, trusting = twin_book(), Book(GENESIS), Book(GENESIS)
    followers = ((twin, False), (other, False), (trusting, True))
    for block in world.blocks:
        for book, trusted in followers:
            book.apply(block, trusted=trusted)
    for _ in range(BLOCKS):
        submissions = world.draw_block()
        made = world.book.propose(
            submissions, time_ns=world.book.next_time_ns + STEP, epoch=0, round=1, validators_hash=bytes(32)
        )
        if made.block is None:
            continue
        world.book.commit(made.block)
        require_kept(counts, made.block, submissions, made.results)
        for batch, codes in zip(submissions, made.results, strict=True):
            count(counts, batch, codes)
        block = Block.from_bytes(made.block.to_bytes())
        for book, trusted in followers:
            book.apply(block, trusted=trusted)
            assert failed_of(book) == failed_of(world.book)
    assert other.tip == twin.tip == world.book.tip
    assert other.engine.dump().keys() == world.book.engine.dump().keys()
    counts["burnt"] += len(failed_of(world.book))


def test_who_executes_a_block_burns_the_ids_that_its_leader_burnt():
    counts = Counter()
    for seed in range(WORLDS):
        run_world(seed, counts)
    expected = [R(code).name for code in TRANSIENT - {R.EXCEEDS_DEBITS}]
    expected += ["CREATED", "LINKED_EVENT_FAILED", "SIGNATURE_INVALID", "ID_ALREADY_FAILED", "chains", "left open"]
    expected += ["several batches", "imported", "mixed", "beside what takes effect", "controlled", "burnt"]
    rare = {name: counts[name] for name in expected if counts[name] < FLOOR}
    assert not rare, f"drawn fewer than {FLOOR} times: {rare}; all: {sorted(counts.items())}"


def test_the_results_that_burn_an_id_are_the_twin_s():
    assert set(PASSING.tolist()) == {int(code) for code in TRANSIENT}


def test_nothing_is_kept_where_all_take_effect_or_fail_for_good():
    world = BurningWorld(0)
    records = transfers((1, 1, 2, 5), (2, 1, 1, 5), (3, 1, 2, 5))
    signers = np.full(3, OWNER_KEY, np.uint32)
    batch = TransferBatch(records, signers, sign(GENESIS.chain_id, records, [OWNER] * 3))
    forged = replace(batch, signatures=np.zeros((3, 64), np.uint8))
    assert world.block(batch, forged).body.commands == ()


def test_a_block_of_which_every_signed_transfer_burns_its_id_is_executed_again():
    world, other = BurningWorld(0), Book(GENESIS)
    records = transfers(*((number, 1, 99, 1) for number in range(1, GENESIS.block_transfers_max + 1)))
    signers = np.full(len(records), OWNER_KEY, np.uint32)
    batch = TransferBatch(records, signers, sign(GENESIS.chain_id, records, [OWNER] * len(records)))
    for block in (*world.blocks, world.block(batch)):
        other.apply(Block.from_bytes(block.to_bytes()))
    assert failed_of(other) == list(range(1, GENESIS.block_transfers_max + 1))


def test_single_transfers_that_burn_their_ids_stand_in_the_block_as_one_batch():
    """What a batch costs whoever executes it is paid once, however many they came in."""
    world, other = BurningWorld(0), Book(GENESIS)
    records = transfers(*((number, 1, 2 if number % 3 == 0 else 99, 1) for number in range(1, 101)))
    signers = np.full(len(records), OWNER_KEY, np.uint32)
    signatures = sign(GENESIS.chain_id, records, [OWNER] * len(records))
    singles = [TransferBatch(records[n : n + 1], signers[n : n + 1], signatures[n : n + 1]) for n in range(100)]
    block = world.block(*singles)
    (command,) = block.body.commands
    assert (command.first, command.taken) == (0, 33)
    for each in (*world.blocks, block):
        other.apply(Block.from_bytes(each.to_bytes()))
    assert failed_of(other) == [number for number in range(1, 101) if number % 3]
    names = [name for name, _batch, _refused in submissions_of(Block.from_bytes(block.to_bytes()).body)]
    assert names == ["command 0 (refused)"]
