"""Batches that wait: bounded, shared fairly, known again in blocks that others made."""

import dataclasses

import numpy as np
import pytest
from book_nodes import Node
from book_worlds import GENESIS, KEYS, OWNER, World, entries, signed
from ledgers import sign, transfers

import pyledger as pl
from pyledger.errors import AuthorisationError, InputError
from pyledger.ledger.batches import (
    AccountBatch,
    ChangeBatch,
    HeldKey,
    OrderedBy,
    OwnerOrder,
    TransferBatch,
)
from pyledger.ledger.blocks import Block
from pyledger.ledger.commands import CHANGE_ROWS, KIND_MANDATE, KIND_REVOCATIONS, KIND_ROTATION
from pyledger.node.application import BookApplication
from pyledger.node.mempool import REASON_UNKNOWN, Mempool
from pyledger.node.submissions import digest_of, encode_submission
from pyledger.types import CreateTransferResult as R
from pyledger.types import TransferFlags as TF


@pytest.fixture
def world():
    world = World()
    world.block(world.attested(AccountBatch, entries([1, 2])))
    return world


def test_attested_batches_are_known_again_with_what_was_refused(world):
    pool = Mempool(1 << 30)
    batch = world.attested(TransferBatch, transfers((10, 1, 2, 5), (11, 1, 99, 5), (12, 2, 1, 5)))
    other = world.attested(AccountBatch, entries([3, 4]))
    for each in (batch, other):
        pool.add(world.waiting(each))
    found = pool.executed_in(world.block(other, batch), world.book.keys_count, world.codes)
    assert {digest: results.tolist() for digest, results in found.items()} == {
        digest_of(encode_submission(batch)): [0, REASON_UNKNOWN, 0],
        digest_of(encode_submission(other)): [0, 0],
    }


def test_of_two_batches_under_one_signature_the_first_waits(world):
    pool = Mempool(1 << 30)
    first = world.waiting(world.attested(AccountBatch, entries([3, 4])))
    second = dataclasses.replace(first, digest=b"x" * 32, content=first.content + b"x")
    pool.add(first)
    with pytest.raises(InputError, match="same signature"):
        pool.require_new(second)
    pool.add(second)
    assert (len(pool), pool.bytes) == (1, len(first.content))
    for each in (second, first):
        pool.remove(each.digest)
    pool.require_new(second)
    assert (len(pool), pool.bytes) == (0, 0)


def test_keys_are_known_again_with_their_indexes(world):
    pool = Mempool(1 << 30)
    batch = world.keys(OWNER)
    pool.add(world.waiting(batch))
    before = world.book.keys_count
    found = pool.executed_in(world.block(batch), before, world.codes)
    assert [results.tolist() for results in found.values()] == [[before]]


def test_changes_and_orders_are_known_again(world):
    world.block(world.keys(OWNER))
    owned = entries([5])
    owned["owner_key"] = 4
    world.block(world.attested(AccountBatch, owned))
    revocations = np.array([(4, 90), (77, 0)], CHANGE_ROWS[KIND_REVOCATIONS])
    change = world.attest(ChangeBatch(KIND_REVOCATIONS, revocations, HeldKey(0, KEYS[0].attestation.sign)))
    bank = KEYS[1].attestation.public_key
    given = pl.signing.sign_mandate(OWNER, GENESIS.chain_id, 1, 5, bank, 100, 50)
    rotated = pl.signing.sign_rotation(OWNER, GENESIS.chain_id, 2, 5, KEYS[0].attestation.public_key)
    orders = [
        OwnerOrder(KIND_MANDATE, 5, 1, OrderedBy(4, 1, given), 100, 50),
        OwnerOrder(KIND_ROTATION, 5, 0, OrderedBy(4, 2, rotated)),
    ]
    pool = Mempool(1 << 30)
    for each in (change, *orders):
        pool.add(world.waiting(each))
    assert pool.next_sequence(4, KIND_MANDATE, 1) == pool.next_sequence(4, KIND_ROTATION, 1) == 3
    assert pool.next_sequence(4, KIND_ROTATION, 4) == 4
    pool.remove(digest_of(encode_submission(orders[0])))
    assert pool.next_sequence(4, KIND_MANDATE, 1) == 1
    pool.add(world.waiting(orders[0]))
    found = pool.executed_in(world.block(change, *orders), world.book.keys_count, world.codes)
    assert {digest: results.tolist() for digest, results in found.items()} == {
        digest_of(encode_submission(change)): [0, REASON_UNKNOWN],
        **{digest_of(encode_submission(order)): [0] for order in orders},
    }
    for digest in found:
        pool.remove(digest)
    assert (pool.bytes, pool.records_count) == (0, 0)


def test_signed_batches_are_known_again_by_effect_and_by_burnt_ids(world):
    world.block(world.keys(OWNER))
    owned = entries([5])
    owned["owner_key"] = 4
    world.block(world.attested(AccountBatch, owned))
    pool = Mempool(1 << 30)
    partly, burnt, elsewhere = (
        signed(transfers((20, 5, 1, 5), (21, 5, 99, 5))),
        signed(transfers((22, 5, 99, 5))),
        signed(transfers((23, 5, 1, 5))),
    )
    for each in (partly, burnt, elsewhere):
        pool.add(world.waiting(each))
    found = pool.executed_in(world.block(partly, burnt), world.book.keys_count, world.codes)
    assert {digest: results.tolist() for digest, results in found.items()} == {
        digest_of(encode_submission(partly)): [0, REASON_UNKNOWN],
        digest_of(encode_submission(burnt)): [REASON_UNKNOWN],
    }


def test_a_chain_that_burnt_an_id_is_settled_as_a_whole(world):
    """Its first leg can't pay any more, and might again later; but it is linked with what never can."""
    world.block(world.keys(OWNER))
    owned = entries([5, 6])
    owned["owner_key"] = 4
    owned["record"]["flags"][1] = pl.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    world.block(world.attested(AccountBatch, owned))
    world.block(signed(transfers((10, 5, 6, 100))))
    legs = transfers((20, 6, 5, 100), (21, 5, 99, 1))
    legs["flags"][0] = TF.LINKED
    chain = signed(legs)
    pool = Mempool(1 << 30)
    pool.add(world.waiting(chain))
    block = world.block(chain, signed(transfers((22, 6, 5, 60))))
    found = pool.executed_in(block, world.book.keys_count, world.codes)
    assert {digest: results.tolist() for digest, results in found.items()} == {
        digest_of(encode_submission(chain)): [REASON_UNKNOWN, REASON_UNKNOWN]
    }


def test_an_id_that_an_attested_transfer_burnt_waits_no_more_under_a_signature(world):
    world.block(world.keys(OWNER))
    owned = entries([5, 6])
    owned["owner_key"][0] = 4
    world.block(world.attested(AccountBatch, owned))
    pool = Mempool(1 << 30)
    batch = signed(transfers((20, 5, 6, 5)))
    pool.add(world.waiting(batch))
    block = world.block(world.attested(TransferBatch, transfers((20, 6, 99, 5))))
    found = pool.executed_in(block, world.book.keys_count, world.codes)
    assert [results.tolist() for results in found.values()] == [[REASON_UNKNOWN]]


def test_who_copies_a_signature_onto_another_record_is_not_told_that_it_took_effect(world):
    world.block(world.keys(OWNER))
    owned = entries([5])
    owned["owner_key"] = 4
    world.block(world.attested(AccountBatch, owned))
    genuine = signed(transfers((20, 5, 1, 5)))
    copied = transfers((20, 5, 2, 5), (21, 5, 1, 1))  # the same id and signature, another payee
    signatures = np.concatenate([genuine.signatures, signed(copied).signatures[1:]])
    forged = TransferBatch(copied, np.full(2, 4, np.uint32), signatures)
    pool = Mempool(1 << 30)
    pool.add(world.waiting(genuine))
    pool.add(world.waiting(forged))
    found = pool.executed_in(world.block(genuine), world.book.keys_count, world.codes)
    assert list(found) == [digest_of(encode_submission(genuine))]


def test_room_is_bounded_for_all_and_for_each_bank(world):
    batches = [world.waiting(world.attested(TransferBatch, transfers((n, 1, 2, 5)), ahead=n)) for n in range(1, 30)]
    size = len(batches[0].content)
    pool = Mempool(20 * size)
    for waiting in batches[:5]:  # four thirds of a fifth
        pool.require_room(waiting.submission, waiting.content, 4)
        pool.add(waiting)
    with pytest.raises(InputError, match="institution"):
        pool.require_room(batches[5].submission, batches[5].content, 4)
    other = world.waiting(world.attested(AccountBatch, entries([7], 1), bank=1))
    pool.require_room(other.submission, other.content, 4)
    with pytest.raises(InputError, match=f"{20 * size} bytes of batches"):
        pool.require_room(other.submission, bytes(16 * size), 4)
    for waiting in batches[:5]:
        pool.remove(waiting.digest)
    assert (pool.bytes, pool.records_count, len(pool)) == (0, 0, 0)


@pytest.fixture
def application(tmp_path):
    application = BookApplication(tmp_path / "ledger", GENESIS, 1 << 24)
    yield application
    application.close()


def test_what_nobody_may_do_is_not_kept(application, world):
    stranger = signed(transfers((30, 1, 2, 5)), signers=0)
    far = world.attested(TransferBatch, transfers((31, 1, 2, 5)), ahead=5000)
    for batch, message in ((stranger, "not one of the signatures"), (far, "sequence below")):
        assert application.admit(encode_submission(batch)) is None
        with pytest.raises(AuthorisationError, match=message):
            application.submit(encode_submission(batch))
    assert len(application.mempool) == 0


def test_batches_that_waited_wait_again_after_a_restart(tmp_path):
    folder = tmp_path / "ledger"
    batch = encode_submission(World().attested(AccountBatch, entries([1, 2])))
    first = BookApplication(folder, GENESIS, 1 << 24)
    digest = first.submit(batch)
    first.close()
    (folder / "batches" / f"{'0' * 64}.batch").write_bytes(b"damaged")
    second = BookApplication(folder, GENESIS, 1 << 24)
    assert second.batch(digest) == batch
    assert len(second.mempool) == 1
    second.close()


# Copies of signed transfers ------------------------------------------------------------------------------------------


class Pair:
    """Two nodes that see the same blocks; the first one makes them. What clients of each are told is in `told`."""

    def __init__(self, folder):
        self.leader, self.other = self.nodes = [Node(folder / name) for name in ("leader", "other")]
        self.told = [{}, {}]
        for node, told in zip(self.nodes, self.told, strict=True):
            node.application.on_outcome = lambda outcome, told=told: told.update({outcome.digest: outcome.results})

    def block(self, *batches):
        self.leader.submit(*batches)
        block = self.leader.propose(self.leader.tip, self.leader.application.height + 1)
        assert self.other.application.process(block, ()).state_root
        for node in self.nodes:
            node.finalise(block)
        return Block.from_bytes(block)


@pytest.fixture
def pair(tmp_path):
    pair = Pair(tmp_path)
    pair.block(pair.leader.world.keys(OWNER))
    owned = entries([1, 2])
    owned["owner_key"] = 4
    pair.block(pair.leader.world.attested(AccountBatch, owned))
    yield pair
    for node in pair.nodes:
        node.close()


def part(batch, rows):
    return TransferBatch(batch.records[rows].copy(), batch.signers[rows].copy(), batch.signatures[rows].copy())


def test_a_copy_of_one_signed_transfer_settles_not_the_rest_of_its_batch(pair):
    victim = signed(transfers((10, 1, 2, 5), (11, 1, 2, 6), (12, 1, 2, 7)))
    content = encode_submission(victim)
    digest = pair.other.application.submit(content)
    pair.block(part(victim, [1]))
    assert digest not in pair.told[1]
    assert pair.other.application.batch(digest) == content
    block = pair.block(victim)
    assert block.body.transfers["id"]["lo"].tolist() == [10, 12]
    assert pair.told[0][digest].tolist() == pair.told[1][digest].tolist() == [0, R.EXISTS, 0]
    assert len(pair.other.application.mempool) == len(pair.leader.application.mempool) == 0


def test_a_copy_of_one_failing_transfer_settles_not_the_rest_of_its_batch(pair):
    victim = signed(transfers((10, 1, 2, 5), (11, 1, 99, 6)))
    digest = pair.other.application.submit(encode_submission(victim))
    pair.block(part(victim, [1]))
    assert digest not in pair.told[1]
    pair.block(victim)
    assert pair.told[0][digest].tolist() == [0, R.ID_ALREADY_FAILED]
    assert pair.told[1][digest].tolist() == [0, REASON_UNKNOWN]


def test_a_batch_whose_transfers_all_came_in_other_batches_is_settled_by_the_last_of_them(pair):
    whole = signed(transfers((10, 1, 2, 5), (11, 1, 2, 6)))
    digest = pair.other.application.submit(encode_submission(whole))
    pair.block(part(whole, [1]))
    pair.block(part(whole, [0]))
    assert pair.told[1][digest].tolist() == [0, R.EXISTS]
    assert len(pair.other.application.mempool) == 0


def test_a_transfer_that_can_never_take_effect_keeps_no_batch_waiting(pair):
    batch = signed(transfers((10, 1, 2, 5), (11, 1, 1, 6)))
    digest = pair.other.application.submit(encode_submission(batch))
    pair.block(batch)
    assert pair.told[1][digest].tolist() == [0, R.ACCOUNTS_MUST_BE_DIFFERENT]


def test_a_copy_behind_somebody_elses_broken_chain_settles_nothing(pair):
    """Behind the member that broke a chain no signature is looked at: what is copied there may still take effect."""
    victim = signed(transfers((10, 1, 2, 5)))
    digest = pair.other.application.submit(encode_submission(victim))
    records = np.concatenate([transfers((66, 1, 99, 1)), victim.records])
    records["flags"][0] = TF.LINKED
    signatures = np.concatenate([sign(GENESIS.chain_id, records, [OWNER] * 2)[:1], victim.signatures])
    pair.leader.submit(TransferBatch(records, np.full(2, 4, np.uint32), signatures))
    block = pair.leader.propose(pair.leader.tip, pair.leader.application.height + 1)
    assert pair.other.application.process(block, (digest,)).omitted
    for node in pair.nodes:
        node.finalise(block)
    assert len(Block.from_bytes(block).body.commands) == 1
    assert digest not in pair.told[1]
    pair.block(victim)
    assert pair.told[1][digest].tolist() == [0]


def test_a_part_of_a_broken_chain_settles_no_whole_one(pair):
    """Nor does the whole of it, behind a member of the attacker's own."""
    legs = transfers((10, 1, 2, 5), (11, 1, 2, 6))
    legs["flags"][0] = TF.LINKED
    victim = signed(legs)
    digest = pair.other.application.submit(encode_submission(victim))
    for burner, copied in ((66, [1]), (67, [0, 1])):
        records = np.concatenate([transfers((burner, 1, 99, 1), flags=TF.LINKED), legs[copied]])
        own = sign(GENESIS.chain_id, records, [OWNER] * len(records))[:1]
        signatures = np.concatenate([own, victim.signatures[copied]])
        block = pair.block(TransferBatch(records, np.full(len(records), 4, np.uint32), signatures))
        assert len(block.body.commands[0].refused_positions) == len(records)
        assert digest not in pair.told[1]
    pair.block(victim)
    assert pair.told[1][digest].tolist() == [0, 0]


def test_many_waiting_batches_are_found_in_one_look_at_a_block(world, monkeypatch):
    """As many may wait as a block burns: nobody pays for either."""
    world.block(world.keys(OWNER))
    owned = entries([5])
    owned["owner_key"] = 4
    world.block(world.attested(AccountBatch, owned))
    rows = signed(transfers(*((1000 + n, 5, 99 if n % 2 else 1, 1) for n in range(300))))
    pool = Mempool(1 << 30)
    for n in range(300):
        pool.add(world.waiting(part(rows, [n])))
    block = world.block(*(part(rows, [n]) for n in range(0, 300, 3)))
    looks = []
    monkeypatch.setattr(np, "isin", lambda *args, isin=np.isin: looks.append(1) or isin(*args))
    found = pool.executed_in(block, world.book.keys_count, world.codes)
    assert len(looks) == 1
    expected = {digest_of(encode_submission(part(rows, [n]))): n % 2 for n in range(0, 300, 3)}
    assert {digest: int(results[0] == REASON_UNKNOWN) for digest, results in found.items()} == expected
