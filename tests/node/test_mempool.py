"""Batches that wait: bounded, shared fairly, known again in blocks that others made."""

import dataclasses

import numpy as np
import pytest
from book_worlds import GENESIS, KEYS, OWNER, World, entries, signed
from ledgers import transfers

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
from pyledger.ledger.commands import CHANGE_ROWS, KIND_MANDATE, KIND_REVOCATIONS, KIND_ROTATION
from pyledger.node.application import BookApplication
from pyledger.node.mempool import REASON_UNKNOWN, Mempool
from pyledger.node.submissions import digest_of, encode_submission


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
    found = pool.executed_in(world.block(other, batch), world.book.keys_count)
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
    found = pool.executed_in(world.block(batch), before)
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
    found = pool.executed_in(world.block(change, *orders), world.book.keys_count)
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
    found = pool.executed_in(world.block(partly, burnt), world.book.keys_count)
    assert {digest: results.tolist() for digest, results in found.items()} == {
        digest_of(encode_submission(partly)): [0, REASON_UNKNOWN],
        digest_of(encode_submission(burnt)): [REASON_UNKNOWN],
    }


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
    found = pool.executed_in(world.block(genuine), world.book.keys_count)
    assert list(found) == [digest_of(encode_submission(genuine))]


def test_room_is_bounded_for_all_and_for_each_bank(world):
    batches = [world.waiting(world.attested(TransferBatch, transfers((n, 1, 2, 5)), ahead=n)) for n in range(1, 30)]
    size = len(batches[0].content)
    pool = Mempool(20 * size)
    for waiting in batches[:8]:  # twice a fifth
        pool.require_room(waiting.submission, waiting.content, 4)
        pool.add(waiting)
    with pytest.raises(InputError, match="institution"):
        pool.require_room(batches[8].submission, batches[8].content, 4)
    other = world.waiting(world.attested(AccountBatch, entries([7], 1), bank=1))
    pool.require_room(other.submission, other.content, 4)
    with pytest.raises(InputError, match=f"{20 * size} bytes of batches"):
        pool.require_room(other.submission, bytes(13 * size), 4)
    for waiting in batches[:8]:
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
