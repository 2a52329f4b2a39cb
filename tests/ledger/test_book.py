"""The book without votes and files: one block gathers many submissions and is executed again to the same bytes."""

import numpy as np
import pytest
from ledgers import EUR, accounts, genesis, key_batch, members, sign, transfers

import pyledger as pl
from pyledger.ledger.batches import AccountBatch, Attest, HeldKey, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block, Body
from pyledger.ledger.book import Book
from pyledger.reference import blocks as reference
from pyledger.reference import merkle

R = pl.CreateTransferResult
CUSTOMER = pl.keys.SigningKey.from_seed(b"c" * 32)


@pytest.fixture
def keys():
    return members(2)


@pytest.fixture
def chain(keys):
    return genesis(keys)


@pytest.fixture
def book(chain):
    return Book(chain)


def held(keys, place):
    return HeldKey(place, keys[place].attestation.sign)


def entries(ids, owner, institution, ledger=EUR):
    rows = np.zeros(len(ids), ACCOUNT_ENTRY)
    rows["record"], rows["owner_key"], rows["institution"] = accounts(ids, ledger=ledger), owner, institution
    return rows


def signed(chain, records, index=2):
    signatures = sign(chain.chain_id, records, [CUSTOMER] * len(records))
    return TransferBatch(records, np.full(len(records), index, np.uint32), signatures)


def customers_key(keys, attest):
    return key_batch([CUSTOMER], genesis(keys).chain_id, 0, attest)


def opening(keys):
    """A customer's key and his accounts 1 to 3 at the first bank, account 4 of the second bank itself."""
    return [
        customers_key(keys, held(keys, 0)),
        AccountBatch(entries([1, 2, 3], 2, 0), held(keys, 0)),
        AccountBatch(entries([4], 1, 1), held(keys, 1)),
    ]


def propose(book, submissions, **options):
    execution = book.propose(
        submissions, time_ns=book.next_time_ns, epoch=1, round=book.height + 1, validators_hash=bytes(32), **options
    )
    if execution.block is not None:
        book.commit(execution.block)
    return execution


def replayed(chain, blocks):
    """A second book that executed the blocks from their bytes."""
    book = Book(chain)
    for block in blocks:
        book.apply(Block.from_bytes(block.to_bytes()))
    book.check_invariants()
    return book


def test_one_block_holds_keys_accounts_and_batches_of_all_kinds(book, chain, keys):
    records = [transfers((10 + place, 1, 4, 5), (20 + place, 9, 1, 5)) for place in range(4)]
    submissions = [
        *opening(keys),
        signed(chain, records[0]),
        TransferBatch(records[1], attest=held(keys, 0)),
        signed(chain, records[2]),
        signed(chain, records[3]),
        TransferBatch(transfers((30, 4, 2, 1)), attest=held(keys, 1)),
    ]
    execution = propose(book, submissions)
    codes = [results.tolist() for results in execution.results[3:]]
    not_found = R.DEBIT_ACCOUNT_NOT_FOUND
    assert codes == [[0, not_found], [0, not_found], [0, not_found], [0, not_found], [0]]
    assert execution.block.header.transfers_count == 5
    assert replayed(chain, [execution.block]).tip == book.tip


WHOLE, MORE = transfers((10, 1, 4, 5), (11, 2, 4, 5)), transfers((12, 1, 4, 5))
IN_PART = transfers((10, 1, 4, 5), (20, 9, 1, 5))


@pytest.mark.parametrize(
    "batches",
    [
        [("attested", WHOLE)],
        [("attested", IN_PART)],
        [("attested", WHOLE), ("attested", MORE)],
        [("attested", IN_PART), ("attested", MORE)],
        [("attested", WHOLE), ("signed", MORE)],
        [("signed", MORE), ("attested", WHOLE)],
        [("signed", WHOLE)],
    ],
)
def test_transfers_root_is_that_of_the_block_s_transfers_however_they_came(book, chain, keys, batches):
    propose(book, opening(keys))
    submissions = [
        signed(chain, records) if kind == "signed" else TransferBatch(records, attest=held(keys, 0))
        for kind, records in batches
    ]
    block = propose(book, submissions).block
    records = block.body.transfers.copy()
    records["timestamp"] = 0
    leaves = [reference.transfer_leaf_hash(chain.chain_id, record.tobytes()) for record in records]
    assert block.header.transfers_root == merkle.root(leaves)


def test_a_refused_batch_does_not_touch_the_others(book, chain, keys):
    bad_key = Attest(0, 1, bytes(64))
    submissions = [
        customers_key(keys, bad_key),
        *opening(keys),
        AccountBatch(entries([7], 2, 0, ledger=1), held(keys, 0)),
        TransferBatch(transfers((10, 1, 2, 5)), attest=Attest(0, 1, bytes(64))),
        TransferBatch(transfers((11, 1, 2, 5)), attest=held(keys, 0)),
    ]
    execution = propose(book, submissions)
    refused = [place for place, result in enumerate(execution.results) if isinstance(result, pl.LedgerError)]
    assert refused == [0, 4]
    assert execution.results[5].tolist() == [R.ATTESTATION_INVALID]
    assert execution.results[6].tolist() == [0]
    assert replayed(chain, [execution.block]).tip == book.tip


def test_nothing_that_takes_effect_makes_no_block(book, chain, keys):
    propose(book, opening(keys))
    for submission in (
        TransferBatch(transfers((10, 1, 2, 5)), attest=Attest(0, 1, bytes(64))),
        signed(chain, transfers((11, 1, 2, 5))[:0]),
        signed(chain, transfers((12, 1, 2, 5)), index=99),
    ):
        assert propose(book, [submission]).block is None
    assert (book.height, book.dirty) == (1, False)
    assert propose(book, [], keep_empty=True).block.header.height == 2


def test_a_pending_transfer_that_expires_is_an_effect(book, chain, keys):
    reserve = transfers((10, 1, 2, 50), flags=pl.TransferFlags.PENDING)
    reserve["timeout"] = 1
    first = propose(book, [*opening(keys), signed(chain, reserve)]).block
    book.next_time_ns += 2 * 10**9
    second = propose(book, [TransferBatch(transfers((11, 1, 2, 5)), attest=Attest(0, 1, bytes(64)))]).block
    assert second.header.state_root != first.header.state_root
    assert replayed(chain, [first, second]).tip == book.tip


def test_a_block_has_room_up_to_its_limit_and_keys_come_before_transfers(book, chain, keys):
    limit = chain.block_transfers_max
    book.begin(book.next_time_ns)
    for submission in opening(keys):
        assert book.has_room(submission)
        book.execute(book.prepare(submission))
    batch = signed(chain, transfers((10, 1, 2, 5)))
    book.execute(book.prepare(batch))
    assert not book.has_room(customers_key(keys, held(keys, 0)))
    taken = 1 + 3 + 1 + 1  # a key, the accounts, a transfer
    attest = held(keys, 0)
    assert book.has_room(TransferBatch(np.zeros(limit - taken, pl.TRANSFER), attest=attest))
    assert not book.has_room(TransferBatch(np.zeros(limit - taken + 1, pl.TRANSFER), attest=attest))


def test_a_key_registered_after_the_signature_was_checked_counts(book, chain, keys):
    early = book.prepare(signed(chain, transfers((10, 1, 2, 5))))
    book.begin(book.next_time_ns)
    for submission in opening(keys):
        book.execute(book.prepare(submission))
    assert book.execute(early).tolist() == [0]


def test_a_body_without_signatures_has_no_signers_column(book, chain, keys):
    propose(book, opening(keys))
    attested = propose(book, [TransferBatch(transfers((10, 1, 2, 5)), attest=held(keys, 0))]).block.body
    mixed = propose(book, [signed(chain, transfers((11, 1, 2, 5)))]).block.body
    for body in (attested, mixed):
        again = Body.from_bytes(body.to_bytes())
        assert again.signers.tolist() == body.signers.tolist()
        assert again.to_bytes() == body.to_bytes()
    assert attested.signers.tolist() == [pl.NO_KEY]
    commands_size = int.from_bytes(attested.to_bytes()[:8], "little")
    assert len(attested.to_bytes()) == 28 + commands_size + 128
