"""A leader makes a block that says what did not happen: whoever executes it refuses it, and names what is wrong.

The liar's book is made to form such blocks in earnest: roots and header are those of what he executed.
"""

from dataclasses import replace
from itertools import combinations

import msgspec
import numpy as np
import pytest
from book_worlds import GENESIS, KEYS, OWNER, World, entries, signed
from ledgers import sign, transfers

import pyledger as pl
from pyledger.ledger.batches import AccountBatch, Attest, ChangeBatch, TransferBatch
from pyledger.ledger.blocks import Block, Body, transfer_leaf_hashes
from pyledger.ledger.commands import (
    KIND_REVOCATIONS,
    KIND_TRANSFERS,
    REFUSED_SIGNED,
    REFUSED_TRANSFER,
    REVOCATION,
    Attestation,
    SignedRefusals,
)
from pyledger.ledger.mismatch import Mismatch
from pyledger.types import NO_KEY
from pyledger.types import AccountFlags as AF
from pyledger.types import CreateTransferResult as R
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


# Transfers that burn their ids ---------------------------------------------------------------------------------------

CHAINED = [TF.LINKED, 0]


def signed_rows(world, *rows, key=OWNER, signer=BANK_KEYS, flags=0):
    """Signed transfers as a block keeps them when they burn their ids, from the block's second nanosecond on."""
    records = transfers(*rows)
    records["flags"] = flags
    kept = np.empty(len(records), REFUSED_SIGNED)
    kept["record"], kept["signer"], kept["controller"] = records, signer, NO_KEY
    kept["timestamp"] = world.book.next_time_ns + 1 + np.arange(len(records))
    kept["signature"] = sign(GENESIS.chain_id, records, [key] * len(records))
    return kept


def stating(kept, positions=None, *, first=0, taken=0):
    """State that these burnt their ids."""
    positions = tuple(range(len(kept))) if positions is None else positions

    def execute(_book, forming):
        forming.commands.append(SignedRefusals(first, taken, positions, kept.tobytes()))

    return execute


def refuses(world, execute, match, field="refused"):
    """The rest refuses the block that a liar forms, and burns nothing that the liar has not burnt."""
    other = honest(world)
    with pytest.raises(Mismatch, match=match) as caught:
        other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))
    assert caught.value.field == field


def test_an_id_that_would_take_effect_cannot_be_burnt(world):
    kept = signed_rows(world, (10, 1, 3, 5))
    refuses(world, stating(kept), "record 0 of the batch takes effect", "refused_positions")


def test_an_id_cannot_be_burnt_beside_transfers_that_take_effect(world):
    batch = signed(transfers((10, 1, 3, 5), (11, 1, 2, 5)), BANK_KEYS)
    kept = signed_rows(world, (12, 2, 3, 5))

    def execute(book, forming):
        times = forming.next_timestamp + np.array([0, 2], np.uint64)
        assert not book.execute(book.prepare(replace(batch, timestamps=times))).any()
        stating(kept, (1,), taken=2)(book, forming)

    refuses(world, execute, "record 1 of the batch takes effect", "refused_positions")


def forged(kept):
    kept["signature"][:, 40] ^= 1
    return kept


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signer": NO_KEY}, "signature_missing"),
        ({"signer": 999}, "signer_unknown"),
        ({"signer": 1}, "signature_invalid"),
        ({"signature": 0}, "signature_invalid"),
        ({"key": KEYS[1].attestation, "signer": 1}, "signer_not_authorised"),
    ],
    ids=["nobody", "unknown key", "another's key", "no signature", "a stranger"],
)
def test_an_id_cannot_be_burnt_but_by_who_may_debit(world, changes, reason):
    signature = changes.pop("signature", None)
    kept = signed_rows(world, (10, 1, 99, 5), **changes)
    if signature is not None:
        kept["signature"] = signature
    refuses(world, stating(kept), f"record 0 of the batch burns no id: {reason}")


def test_an_id_cannot_be_burnt_under_a_forged_signature(world):
    kept = forged(signed_rows(world, (10, 1, 99, 5)))
    refuses(world, stating(kept), "record 0 of the batch burns no id: signature_invalid")


@pytest.mark.parametrize("row", [(0, 1, 99, 5), ((1 << 128) - 1, 1, 99, 5), (10, 1, 1, 5), (10, 0, 2, 5)])
def test_what_was_refused_for_good_burns_no_id(world, row):
    refuses(world, stating(signed_rows(world, row)), "record 0 of the batch burns no id")


def test_an_id_is_burnt_once(world):
    kept = signed_rows(world, (10, 1, 99, 5), (10, 1, 99, 5))
    refuses(world, stating(kept), "record 1 of the batch burns no id: id_already_failed")


def test_an_id_that_took_effect_cannot_be_burnt(world):
    world.block(signed(transfers((10, 1, 2, 5)), BANK_KEYS))
    kept = signed_rows(world, (10, 1, 99, 5))
    refuses(world, stating(kept), "record 0 of the batch burns no id: exists_with_different_credit_account_id")


@pytest.mark.parametrize("left", [0, 1])
def test_of_a_chain_that_burnt_an_id_no_member_can_be_left_out(world, left):
    kept = signed_rows(world, (10, 1, 2, 5), (11, 1, 99, 5), flags=CHAINED)[[left]]
    reason = "linked_event_chain_open" if left == 0 else "signature_invalid"
    refuses(world, stating(kept), f"record 0 of the batch burns no id: {reason}")


def test_a_chain_cannot_be_put_together_of_others(world):
    failing = signed_rows(world, (10, 1, 2, 5), (11, 1, 99, 5), flags=CHAINED)
    kept = signed_rows(world, (12, 1, 2, 5), (13, 1, 2, 5), flags=CHAINED)
    for name in ("record", "signature"):
        kept[name][1] = failing[name][1]
    refuses(world, stating(kept), "record 0 of the batch burns no id: signature_invalid")


def world_with_empty_account(world):
    """Account 5 of OWNER's may not be overdrawn."""
    rows = entries([5])
    rows["owner_key"], rows["record"]["flags"] = BANK_KEYS, AF.DEBITS_MUST_NOT_EXCEED_CREDITS
    world.block(world.attested(AccountBatch, rows))


@pytest.mark.parametrize("place", [0, 1])
def test_what_burnt_its_id_stands_in_its_place(world, place):
    """Before account 5 is paid into it can't pay; behind that it can."""
    world_with_empty_account(world)
    batch, kept = signed(transfers((10, 1, 5, 100)), BANK_KEYS), signed_rows(world, (11, 5, 3, 100))
    kept["timestamp"] -= 1 - place
    other = honest(world)

    def execute(book, forming):
        times = np.array([forming.next_timestamp + 1 - place], np.uint64)
        assert not book.execute(book.prepare(replace(batch, timestamps=times))).any()
        stating(kept, (place,), taken=1)(book, forming)

    block = Block.from_bytes(formed(world.book, execute).to_bytes())
    if place == 0:
        other.apply(block)
        assert other.engine.failed_ids()["lo"].tolist() == [11]
        return
    with pytest.raises(Mismatch, match="record 1 of the batch takes effect"):
        other.apply(block)


@pytest.mark.parametrize("first", [1, (1 << 32) - 1])
def test_what_burnt_its_id_cannot_stand_behind_the_block(world, first):
    kept = signed_rows(world, (10, 1, 99, 5))
    refuses(world, stating(kept, first=first), "expected records from 0 on", "first")


@pytest.mark.parametrize("between", [False, True])
def test_batches_that_could_be_one_command_cannot_stand_in_two(world, between):
    """Each command is executed by itself: thousands of small ones would keep everybody busy for long."""

    def execute(book, forming):
        book.execute(book.prepare(signed(transfers((10, 1, 99, 5)), BANK_KEYS)))
        forming.end_refusals()
        if between:
            assert not book.execute(book.prepare(signed(transfers((11, 1, 2, 5)), BANK_KEYS))).any()
        book.execute(book.prepare(signed(transfers((12, 1, 99, 5)), BANK_KEYS)))

    refuses(world, execute, "expected one command with the refused ones before it", "first")


def test_what_burnt_its_id_cannot_stand_among_attested_transfers(world):
    batch = world.attested(TransferBatch, three_transfers())
    kept = signed_rows(world, (20, 1, 99, 5))
    kept["timestamp"] += 9

    def execute(book, forming):
        assert not book.execute(book.prepare(batch)).any()
        forming.commands.insert(0, SignedRefusals(0, 2, (2,), kept.tobytes()))

    refuses(world, execute, "got 0 signatures for 2 transfers", "signers")


@pytest.mark.parametrize("late", [GENESIS.block_transfers_max, 1 << 62, (1 << 63) - 3])
@pytest.mark.parametrize("flags", [[0, 0], [TF.LINKED, 0], [TF.LINKED, TF.IMPORTED]])
def test_the_time_of_what_burnt_its_id_stays_within_its_block(world, late, flags):
    """An imported record behind one that broke its chain is never looked at: its batch is not imported for that."""
    rows = [(10, 1, 99, 5), (11, 1, 99, 5)]
    kept = signed_rows(world, *rows, flags=flags)
    kept["timestamp"][1] = late if late > 1 << 60 else kept["timestamp"][0] - 1 + late
    refuses(world, stating(kept), r"timestamps: expected to rise from \d+ on and to stay below", "timestamp")


def imported_row(world, timestamp):
    """An imported transfer that burns its id: its own time is in the record, and signed."""
    records = transfers((10, 1, 99, 5), flags=TF.IMPORTED)
    records["timestamp"] = 1
    kept = signed_rows(world, (10, 1, 99, 5))
    kept["record"], kept["timestamp"] = records, timestamp
    kept["signature"] = sign(GENESIS.chain_id, records, [OWNER])
    return kept


def test_an_imported_transfer_burns_its_id(world):
    other = honest(world)
    other.apply(Block.from_bytes(formed(world.book, stating(imported_row(world, 0))).to_bytes()))
    assert other.engine.failed_ids()["lo"].tolist() == [10]


def test_an_imported_transfer_that_burns_its_id_has_no_time_of_the_block(world):
    refuses(world, stating(imported_row(world, 5)), "executing it gives")


def test_a_transfer_that_the_block_does_not_show_burns_nothing(world):
    """Whatever the liar answers: everybody else still lets it take effect."""
    world_with_empty_account(world)
    batch = signed(transfers((11, 5, 3, 100)), BANK_KEYS)
    other = honest(world)

    def execute(book, forming):
        assert book.execute(book.prepare(batch)).tolist() == [R.EXCEEDS_CREDITS]
        forming.end_refusals()
        assert forming.commands.pop().taken == 0

    other.apply(Block.from_bytes(formed(world.book, execute).to_bytes()))
    assert len(other.engine.failed_ids()) == 0
    other.begin(other.next_time_ns)
    paid = [other.execute(other.prepare(each)).tolist() for each in (signed(transfers((10, 1, 5, 100))), batch)]
    assert paid == [[0], [0]]


TIME = REFUSED_SIGNED.fields["timestamp"][1]


@pytest.mark.parametrize("flags", [[0], [TF.LINKED, 0]], ids=["alone", "chain"])
def test_no_byte_of_what_burnt_its_id_can_be_another(world, flags):
    """But of its timestamp, which the leader gives."""
    kept = signed_rows(world, *[(10, 1, 99, 5), (11, 1, 2, 5)][: len(flags)], flags=flags)
    other = honest(world)
    data = bytearray(kept.tobytes())
    for place in range(len(data)):
        if place % REFUSED_SIGNED.itemsize in range(TIME, TIME + 8) or not_looked_at(place):
            continue
        for book in (world.book, other):
            book.mark()
        data[place] ^= 1 << place % 8
        block = formed(world.book, stating(np.frombuffer(data, REFUSED_SIGNED)))
        data[place] ^= 1 << place % 8
        with pytest.raises(Mismatch):
            other.apply(Block.from_bytes(block.to_bytes()))
        for book in (world.book, other):
            book.roll_back()
    other.apply(Block.from_bytes(formed(world.book, stating(kept)).to_bytes()))
    assert other.engine.failed_ids()["lo"].tolist() == [10]


def not_looked_at(place):
    """Who signed behind the record that broke a chain does not matter: nothing of it takes effect."""
    row, byte = divmod(place, REFUSED_SIGNED.itemsize)
    names = [name for name, (_, start, *_) in REFUSED_SIGNED.fields.items() if start <= byte]
    return row == 1 and names[-1] in ("signer", "signature")


def test_a_block_that_only_names_ids_is_no_block(world):
    """As blocks did before they showed why an id is burnt."""
    commands = msgspec.msgpack.encode((("failed", (10).to_bytes(16, "little")),))
    sizes = np.array([len(commands)], "<u8").tobytes() + bytes(20)
    with pytest.raises(pl.InputError, match="Invalid value 'failed'"):
        Body.from_bytes(sizes + commands)


@pytest.mark.parametrize("time_ns", [(1 << 63) - GENESIS.block_transfers_max, 1 << 63, (1 << 64) - 1])
def test_a_block_of_a_time_that_its_records_could_not_have_is_refused(world, time_ns):
    other = honest(world)
    block = world.block()
    late = replace(block, header=replace(block.header, time_ns=time_ns))
    with pytest.raises(Mismatch, match=f"block time: expected {other.next_time_ns} to .*, got {time_ns}"):
        other.apply(late)


def test_an_empty_attested_batch_behind_a_refused_record_is_executed_again(world):
    refused = signed(transfers((10, 1, 1, 5)), BANK_KEYS)  # for a lasting reason: it leaves nothing but a gap
    other = honest(world)
    block = world.block(refused, world.attested(TransferBatch, transfers((11, 1, 2, 5))[:0]))
    other.apply(block)
    assert (other.tip, other.state.root()) == (world.book.tip, world.book.state.root())
