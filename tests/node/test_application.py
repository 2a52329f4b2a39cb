"""Blocks of other nodes, right and wrong, against the book as consensus sees it."""

from dataclasses import replace

import numpy as np
import pytest
from book_worlds import GENESIS, KEYS, OWNER, World, certified, entries, key_of, signed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import transfers

from pyledger.consensus.application import Draft
from pyledger.errors import InputError
from pyledger.ledger.batches import AccountBatch, ChangeBatch, HeldKey, TransferBatch
from pyledger.ledger.blocks import Block, Body, Header
from pyledger.ledger.commands import CHANGE_ROWS, KIND_REVOCATIONS
from pyledger.ledger.validators import Roster
from pyledger.node.application import BookApplication
from pyledger.node.submissions import encode_submission
from pyledger.node.validity import require_within

VALIDATORS = Roster.of(GENESIS).keys


@pytest.fixture
def make(tmp_path):
    made = []

    def open_application(name):
        made.append(BookApplication(tmp_path / name, GENESIS, 1 << 24))
        return made[-1]

    yield open_application
    for application in made:
        application.close()


def draft(parent=None, height=1, round=1):
    return Draft(0, height, round, GENESIS.time_ns + height * 10**9, parent or GENESIS.hash, VALIDATORS.hash, False)


def opening(ids=(1, 2), bank=0, ahead=0):
    return encode_submission(World().attested(AccountBatch, entries(list(ids), bank), bank, ahead))


def test_a_block_of_one_node_executes_to_the_same_state_at_another(make):
    a, b = make("a"), make("b")
    outcomes = []
    b.on_outcome = outcomes.append
    digest = a.submit(opening())
    assert b.admit(opening()) == digest
    block = a.prepare(draft(), ())
    header = b.read_header(block)
    verdict = b.process(block, (digest,))
    assert (verdict.state_root, verdict.omitted) == (header.state_root, False)
    assert b.finalise([certified(block)], []) == [digest]
    assert [(outcome.height, outcome.results.tolist()) for outcome in outcomes] == [(1, [0, 0])]
    assert b.batch(digest) is None
    assert b.final_entry().block == block
    assert b.entries(1) == ([b.final_entry()], True)


def test_what_was_final_is_there_after_a_restart_and_pending_blocks_too(make):
    a = make("a")
    a.submit(opening())
    first = a.prepare(draft(), ())
    entry = certified(first)
    a.finalise([entry], [])
    second = a.prepare(draft(a.read_header(first).hash, 2, 2), ())
    a.put(second, entry.certificate)
    a.close()
    again = make("a")
    assert again.height == 1
    assert again.final_entry() == entry
    assert again.pending.contents() == [(second, entry.certificate)]
    assert again.process(second, ()).state_root == again.read_header(second).state_root


def test_a_discarded_block_leaves_its_batches_waiting(make):
    a = make("a")
    digest = a.submit(opening())
    block = a.prepare(draft(), ())
    a.put(block, certified(block).certificate)
    a.discard(a.read_header(block).hash)
    assert a.pending.contents() == []
    assert a.batch(digest) is not None
    again = a.prepare(draft(round=2), ())
    assert a.finalise([certified(again)], []) == [digest]


def test_a_batch_is_in_one_block_of_a_branch_only(make):
    a = make("a")
    a.submit(opening())
    first = a.prepare(draft(), ())
    second = a.prepare(draft(a.read_header(first).hash, 2, 2), ())
    assert a.read_header(first).accounts_count == 2
    assert a.read_header(second).accounts_count == 0


def test_batches_are_taken_in_the_order_of_their_sequences(make):
    a = make("a")
    later = a.submit(opening((3, 4), ahead=1))
    assert a.read_header(a.prepare(draft(), ())).accounts_count == 0
    earlier = a.submit(opening((1, 2)))
    first = a.prepare(draft(round=2), ())
    second = a.prepare(draft(a.read_header(first).hash, 2, 3), ())
    entries_ = [certified(first), certified(second)]
    assert sorted(a.finalise(entries_, [])) == sorted([earlier, later])


def test_leaving_out_a_batch_that_is_due_is_noticed(make):
    a, b = make("a"), make("b")
    digest = b.submit(opening())
    ahead = b.submit(opening((5, 6), ahead=1))
    empty = a.prepare(draft(), ())
    assert not b.process(empty, ()).omitted
    b.discard(b.read_header(empty).hash)
    assert b.process(empty, (digest,)).omitted
    assert not b.process(empty, (ahead,)).omitted  # its time has not come
    assert not b.process(empty, (bytes(32),)).omitted  # not held here


def test_a_block_full_of_burnt_ids_leaves_nothing_out(make):
    """What burns an id stands in the block and takes its room, though it is among no transfers that took effect."""
    a, b = make("a"), make("b")
    world, tip, count = World(), None, GENESIS.block_transfers_max
    owned = entries([1, 2])
    owned["owner_key"] = len(GENESIS.institutions)
    burning = signed(transfers(*((number, 1, 99, 1) for number in range(100, 100 + count))))
    for height, batches in ((1, [world.keys(OWNER)]), (2, [world.attested(AccountBatch, owned)]), (3, [burning])):
        for batch in batches:
            a.submit(encode_submission(batch))
        due = [b.submit(encode_submission(signed(transfers((9, 1, 2, 5)))))] if height == 3 else []
        block = a.prepare(draft(tip, height, height), ())
        assert not b.process(block, due).omitted
        for application in (a, b):
            application.finalise([certified(block)], [])
        tip = a.read_header(block).hash
    assert require_within(Block.from_bytes(block), count) is None
    with pytest.raises(InputError, match="records"):
        require_within(Block.from_bytes(block), count - 1)


def test_a_due_batch_as_large_as_a_block_is_not_kept_out_by_smaller_ones(make):
    a = make("a")
    world, tip = World(), None
    owned = entries([1, 2])
    owned["owner_key"] = len(GENESIS.institutions)
    for height, batch in ((1, world.keys(OWNER)), (2, world.attested(AccountBatch, owned))):
        a.submit(encode_submission(batch))
        block = a.prepare(draft(tip, height, height), ())
        a.finalise([certified(block)], [])
        tip = a.read_header(block).hash
    a.submit(opening((10, 11), 1))
    large = signed(transfers(*((number, 1, 2, 1) for number in range(1, 1 + GENESIS.block_transfers_max))))
    due = a.submit(encode_submission(large))
    header = a.read_header(a.prepare(draft(tip, 3, 3), (due,)))
    assert (header.accounts_count, header.transfers_count) == (0, GENESIS.block_transfers_max)


def test_a_due_batch_comes_before_older_ones(make):
    a = make("a")
    for bank in range(1, 4):
        a.submit(opening((10 * bank, 10 * bank + 1), bank))
    due = a.submit(opening())
    accounts = Block.from_bytes(a.prepare(draft(), (due,))).body.accounts
    assert accounts["record"]["id"]["lo"].tolist() == [1, 2, 10, 11, 20, 21, 30, 31]


def test_accounts_are_opened_though_transfers_came_before_them_or_are_due(make):
    a = make("a")
    world = World()
    a.submit(opening())
    first = a.prepare(draft(), ())
    a.finalise([certified(first)], [])
    due = a.submit(encode_submission(world.attested(TransferBatch, transfers((10, 1, 2, 5)))))
    a.submit(opening((3, 4), ahead=1))
    header = a.read_header(a.prepare(draft(a.read_header(first).hash, 2, 2), (due,)))
    assert (header.accounts_count, header.transfers_count) == (2, 1)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_block_never_passes_for_the_right_one_and_never_harms(make_once, data):
    application, block = make_once
    changed = bytearray(block)
    place = data.draw(st.integers(0, len(block) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        found = application.read_header(bytes(changed))
    except ValueError:
        return
    if found.parent != GENESIS.hash:
        return  # consensus never asks for a block before its parent
    application.process(bytes(changed), ())
    application.discard(found.hash)
    header = application.read_header(block)
    assert application.process(block, ()).state_root == header.state_root
    application.discard(header.hash)


@pytest.fixture
def make_once(make):
    a, b = make("a"), make("b")
    a.submit(opening())
    a.submit(encode_submission(World().attested(TransferBatch, transfers((9, 1, 2, 5)))))
    return b, a.prepare(draft(), ())


def block_on_accounts(make):
    """A node that has executed a block of accounts, and another one's block of transfers on top of it."""
    a, b = make("a"), make("b")
    a.submit(opening())
    first = a.prepare(draft(), ())
    b.process(first, ())
    a.submit(encode_submission(World().attested(TransferBatch, transfers((9, 1, 2, 5)))))
    return b, a.prepare(draft(a.read_header(first).hash, 2, 2), ())


def test_the_right_body_that_leads_to_another_state_is_told_from_a_wrong_body(make):
    application, block = block_on_accounts(make)
    header = application.read_header(block)
    lying = replace(header, state_root=b"x" * 32)
    verdict = application.process(lying.to_bytes() + block[Header.SIZE :], ())
    assert verdict.state_root == header.state_root
    for body in (b"", Body().to_bytes(), block[Header.SIZE : -1], block[Header.SIZE :] + b"x"):
        assert application.process(header.to_bytes() + body, ()).state_root is None
    assert application.process(block, ()).state_root == header.state_root


@pytest.mark.parametrize("only_accounts", [True, False])
def test_no_single_wrong_byte_of_a_body_computes_another_state(make, only_accounts):
    """Or whoever answers a node that catches up could stop it."""
    if only_accounts:
        a, application = make("a"), make("b")
        a.submit(opening())
        block = a.prepare(draft(), ())
    else:
        application, block = block_on_accounts(make)
    for place in range(Header.SIZE, len(block)):
        changed = bytearray(block)
        changed[place] ^= 1
        assert application.process(bytes(changed), ()).state_root is None


@pytest.mark.parametrize("cut", [0, 1, 100, 359, 360, -1])
def test_a_block_that_is_cut_is_not_valid(make_once, cut):
    application, block = make_once
    with_header = len(block[:cut]) >= 360
    if with_header:
        assert application.process(block[:cut], ()).state_root is None
    else:
        with pytest.raises(ValueError, match="header"):
            application.read_header(block[:cut])


def test_leaving_out_signed_transfers_is_noticed_only_where_they_would_take_effect(make):
    a, b = make("a"), make("b")
    world = World()
    owned = entries([1, 2])
    owned["owner_key"] = len(GENESIS.institutions)
    for batch in (
        world.keys(OWNER),
        world.attested(AccountBatch, owned),
    ):
        a.submit(encode_submission(batch))
    first = a.prepare(draft(), ())
    b.process(first, ())
    good = b.submit(encode_submission(signed(transfers((20, 1, 2, 5)))))
    hopeless = b.submit(encode_submission(signed(transfers((21, 1, 99, 5)))))
    empty = a.prepare(draft(a.read_header(first).hash, 2, 2), ())
    assert b.process(empty, (good,)).omitted
    assert not b.process(empty, (hopeless,)).omitted
    assert b.branches.book.state.root() == b.read_header(empty).state_root


def test_a_command_whose_name_is_no_text_is_refused(make_once):
    application, block = make_once
    place = block.index(b"\xa6attest")
    hostile = block[:place] + b"\xa6\x90\x90\x90\x90\x90\x90" + block[place + 7 :]
    assert application.process(hostile, ()).state_root is None


def test_a_block_with_more_records_than_the_genesis_allows_is_not_valid(make, monkeypatch):
    leader, other = make("leader"), make("other")
    world = World()
    world.block(world.attested(AccountBatch, entries([1, 2])))
    leader.submit(opening())
    first = leader.prepare(draft(), ())
    assert other.process(first, ()).state_root
    batches = [
        world.attested(TransferBatch, transfers(*((1000 * n + row, 1, credit, 1) for row in range(1, 601))), ahead=n)
        for n, credit in ((0, 2), (1, 99))  # the second is refused, and stands in the block all the same
    ]
    for batch in batches:
        leader.submit(encode_submission(batch))
    monkeypatch.setattr("pyledger.ledger.book.Book.has_room", lambda *_: True)
    block = leader.prepare(draft(leader.read_header(first).hash, 2), ())
    decoded = Block.from_bytes(block)
    assert (len(decoded.body.transfers), GENESIS.block_transfers_max) == (600, 1000)
    assert other.process(block, ()).state_root is None


def test_keys_changes_and_burnt_transfers_count_as_records_of_a_block():
    world = World()
    world.block(world.keys(OWNER))
    owned = entries([5, 6])
    owned["owner_key"] = 4
    world.block(world.attested(AccountBatch, owned))
    revoked = np.array([(4, 90), (77, 0)], CHANGE_ROWS[KIND_REVOCATIONS])
    change = world.attest(ChangeBatch(KIND_REVOCATIONS, revoked, HeldKey(0, KEYS[0].attestation.sign)))
    failing = signed(transfers((1, 5, 99, 1), (2, 5, 99, 1), (3, 5, 99, 1)))
    for batches, records in (
        ((world.keys(key_of(1), key_of(2)),), 2),
        ((change, signed(transfers((10, 5, 6, 1)))), 3),
        ((failing,), 3),
    ):
        block = world.block(*batches)
        require_within(block, records)
        with pytest.raises(InputError, match=f"expected at most {records - 1}"):
            require_within(block, records - 1)


def test_a_key_has_voted_where_a_block_waits_that_it_voted_for(make):
    application = make("a")
    keys = [validator.public_key for validator in Roster.of(GENESIS).validators]
    assert not any(map(application.has_voted, keys))
    block = application.prepare(draft(), ())
    application.put(block, certified(block).certificate)
    assert all(map(application.has_voted, keys))  # an institution has one key at a time: it was this node's
    assert not application.has_voted(bytes(96))


def test_a_key_has_voted_where_a_final_block_is_certified_with_it(make):
    application = make("a")
    application.submit(opening())
    block = application.prepare(draft(), ())
    entry = certified(block)
    application.finalise([entry], [])
    keys = [validator.public_key for validator in Roster.of(GENESIS).validators]
    assert list(map(application.has_voted, keys)) == [
        entry.certificate.is_signed_by(place) for place in range(len(keys))
    ]
    assert any(map(application.has_voted, keys))
