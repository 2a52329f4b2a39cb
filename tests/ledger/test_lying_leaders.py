"""A leader makes a block that says what did not happen: whoever executes it refuses it, and names what is wrong.

The liar's book is made to form such blocks in earnest: roots and header are those of what he executed.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from book_worlds import GENESIS, KEYS, OWNER, World, entries, signed
from ledgers import transfers

import pyledger as pl
from pyledger.ledger.batches import AccountBatch, Attest, ChangeBatch, TransferBatch
from pyledger.ledger.blocks import Block, transfer_leaf_hashes
from pyledger.ledger.commands import (
    KIND_REVOCATIONS,
    KIND_TRANSFERS,
    REFUSED_TRANSFER,
    REVOCATION,
    Attestation,
    FailedIds,
)
from pyledger.ledger.mismatch import Mismatch
from pyledger.types import NO_KEY
from pyledger.types import TransferFlags as TF

BANK_KEYS = 4  # of the genesis; OWNER's is the next one


@pytest.fixture
def world():
    """Accounts 1 and 2 of OWNER's at the first bank, 3 and 4 of the first and second bank."""
    world = World()
    world.block(world.keys(OWNER))
    rows = entries([1, 2])
    rows["owner_key"] = BANK_KEYS
    world.block(world.attested(AccountBatch, rows))
    world.block(world.attested(AccountBatch, entries([3])), world.attested(AccountBatch, entries([4], 1), 1))
    return world


def honest(world):
    """Another book that has executed the same blocks."""
    other = World().book
    for block in world.blocks:
        other.apply(block)
    return other


@pytest.fixture(autouse=True)
def kept_blocks(monkeypatch):
    made = World.block

    def block(world, *batches):
        new = made(world, *batches)
        world.blocks = [*getattr(world, "blocks", []), new]
        return new

    monkeypatch.setattr(World, "block", block)


def formed(book, execute):
    """The block that a liar forms; `execute` is given his book and what is being formed."""
    book.begin(book.next_time_ns)
    execute(book, book._open_block)
    return book.finish(epoch=0, round=1, validators_hash=bytes(32), keep_empty=True)


def refused_rows(records, places):
    rows = np.empty(len(places), REFUSED_TRANSFER)
    rows["record"], rows["controller"] = records[list(places)], NO_KEY
    rows["leaf"] = transfer_leaf_hashes(GENESIS.chain_id, records[list(places)])
    return rows.tobytes()


def leaving_out(batch, left_out):
    """Execute the others under the bank's own signature, and state these as refused."""
    kept = [place for place in range(len(batch.records)) if place not in left_out]

    def execute(book, forming):
        first = forming.next_timestamp
        times = np.array([first + place for place in kept], np.uint64)
        part = TransferBatch(batch.records[kept].copy(), attest=batch.attest, timestamps=times)
        assert not book.execute(book.prepare(part, trusted=True)).any()
        said = {"refused_positions": tuple(left_out), "refused": refused_rows(batch.records, left_out)}
        forming.commands[-1] = replace_fields(forming.commands[-1], time_ns=first, **said)

    return execute


def replace_fields(command, **changes):
    values = {name: getattr(command, name) for name in command.__struct_fields__}
    return type(command)(**{**values, **changes})


def three_transfers():
    """A delivery linked to its payment, and a third one."""
    records = transfers((10, 1, 3, 100), (11, 2, 1, 90), (12, 2, 3, 1))
    records["flags"][0] = TF.LINKED
    return records


OPEN_CHAIN = (1, 2)  # the liar's own engine refuses what is left
SUBSETS = [each for count in (1, 2, 3) for each in combinations(range(3), count) if each != OPEN_CHAIN]


@pytest.mark.parametrize("left_out", SUBSETS)
def test_no_part_of_an_attested_batch_can_be_stated_as_refused(world, left_out):
    batch = world.attested(TransferBatch, three_transfers())
    other = honest(world)
    block = formed(world.book, leaving_out(batch, left_out))
    assert len(block.body.transfers) == 3 - len(left_out)
    with pytest.raises(Mismatch, match=rf"record {left_out[0]} of the batch takes effect, .* refused") as caught:
        other.apply(Block.from_bytes(block.to_bytes()))
    assert caught.value.field == "refused_positions"


def test_what_is_really_refused_is_kept_and_executed_again(world):
    records = np.concatenate([three_transfers(), transfers((13, 1, 77, 5), (14, 1, 4, 0))])
    other = honest(world)
    block = world.block(world.attested(TransferBatch, records))
    command = next(command for command in block.body.commands if isinstance(command, Attestation))
    rows = np.frombuffer(command.refused, REFUSED_TRANSFER)
    assert command.refused_positions == (3,)
    assert rows["record"].tobytes() == records[list(command.refused_positions)].tobytes()
    other.apply(Block.from_bytes(block.to_bytes()))
    assert other.tip == world.book.tip


def test_refused_accounts_and_named_controllers_are_executed_again(world):
    """The one that failed, and the key beside it, are part of what the bank signed."""
    records = transfers((13, 1, 3, 5), (14, 1, 77, 5))
    records["flags"] = TF.PENDING
    controllers = np.array([NO_KEY, BANK_KEYS], np.uint32)
    named = TransferBatch(records, attest=Attest(0, 1, bytes(64)), controllers=controllers)
    hashes = world.book.prepare(named, trusted=True).hashes
    signature = pl.signing.sign_batch(KEYS[0].attestation, KIND_TRANSFERS, GENESIS.chain_id, 0, 1, hashes)
    named = replace(named, attest=Attest(0, 1, signature))
    other = honest(world)
    block = world.block(world.attested(AccountBatch, entries([8, 1])), named)
    positions = [command.refused_positions for command in block.body.commands if isinstance(command, Attestation)]
    assert positions == [(1,), (1,)]
    other.apply(Block.from_bytes(block.to_bytes()))
    assert other.tip == world.book.tip


def test_a_refused_record_is_kept_as_it_was_submitted_without_a_time(world):
    """Its signature doesn't cover the time: else one batch could stand in blocks of different hashes."""
    batch = world.attested(TransferBatch, transfers((10, 1, 3, 5), (13, 1, 77, 5)))
    other = honest(world)

    def execute(book, forming):
        assert np.count_nonzero(book.execute(book.prepare(batch))) == 1
        rows = np.frombuffer(forming.commands[-1].refused, REFUSED_TRANSFER).copy()
        rows["record"]["timestamp"] = 5
        forming.commands[-1] = replace_fields(forming.commands[-1], refused=rows.tobytes())

    with pytest.raises(Mismatch, match="'timestamp': transfers: expected 0 unless imported, got 5"):
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))


def test_no_row_of_a_revocation_can_be_stated_as_refused(world):
    rows = np.zeros(1, REVOCATION)
    rows["key"] = BANK_KEYS
    batch = world.attested(lambda rows, attest: ChangeBatch(KIND_REVOCATIONS, rows, attest), rows)
    other = honest(world)

    def execute(book, forming):
        book.execute(book.prepare(ChangeBatch(KIND_REVOCATIONS, rows[:0].copy(), batch.attest), trusted=True))
        forming.commands[-1] = replace_fields(forming.commands[-1], refused_positions=(0,), refused=rows.tobytes())

    with pytest.raises(Mismatch, match="record 0 of the batch takes effect"):
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))


@pytest.mark.parametrize("first", [1, 7, (1 << 32) - 1])
@pytest.mark.parametrize("kind", ["transfers", "accounts"])
def test_a_command_that_names_records_elsewhere_is_no_crash(world, kind, first):
    batch = (
        world.attested(TransferBatch, three_transfers())
        if kind == "transfers"
        else world.attested(AccountBatch, entries([8, 9]))
    )
    other = honest(world)

    def execute(book, forming):
        assert not book.execute(book.prepare(batch)).any()
        forming.commands[-1] = replace_fields(forming.commands[-1], first=first)

    with pytest.raises(Mismatch, match="expected records from 0 on") as caught:
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))
    assert caught.value.field == "first"


def test_a_batch_does_not_name_records_of_the_one_before(world):
    batches = [world.attested(TransferBatch, transfers((number, 1, 3, 5)), ahead=number - 10) for number in (10, 11)]
    other = honest(world)

    def execute(book, forming):
        for batch in batches:
            assert not book.execute(book.prepare(batch)).any()
        forming.commands[-1] = replace_fields(forming.commands[-1], first=0)

    with pytest.raises(Mismatch, match="expected records from 1 on, of 2, got 0 to 1"):
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))


@pytest.mark.parametrize("far", [GENESIS.block_transfers_max, 1 << 62, (1 << 63) - 3])
@pytest.mark.parametrize("attested", [False, True])
def test_a_record_s_time_stays_within_its_block(world, far, attested):
    records = transfers((10, 1, 2, 5))
    batch = world.attested(TransferBatch, records) if attested else signed(records, BANK_KEYS)
    other = honest(world)

    def execute(book, forming):
        forming.next_timestamp = far if far > 1 << 60 else forming.time_ns + far
        assert not book.execute(book.prepare(batch)).any()

    with pytest.raises(Mismatch, match=r"timestamps: expected to rise from \d+ on and to stay below"):
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))


@pytest.mark.parametrize(
    "ids",
    [[0], [(1 << 128) - 1], list(range(1, GENESIS.block_transfers_max + 2)), [5, 5]],
    ids=["zero", "greatest", "too many", "twice"],
)
def test_ids_that_cannot_have_failed_are_refused(world, ids):
    other = honest(world)

    def execute(book, forming):
        forming.commands.append(FailedIds(pl.u128_array(ids).tobytes()))

    with pytest.raises(Mismatch, match="command 0"):
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))


def test_an_id_whose_failing_the_block_leaves_out_is_found(world):
    """What an attested record's failing burns follows from executing it."""
    batch = world.attested(TransferBatch, transfers((10, 1, 3, 5), (13, 1, 77, 5)))
    other = honest(world)
    block = world.block(batch)
    assert isinstance(block.body.commands[-1], FailedIds)
    body = replace(block.body, commands=block.body.commands[:-1])
    header = replace(block.header, commands_count=len(body.commands))
    with pytest.raises(Mismatch):
        other.apply(Block(header, body))
