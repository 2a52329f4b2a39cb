"""Closing blocks: each is wholly given by its parent, round and time, and anything else in one is refused."""

from dataclasses import replace

import pytest
from book_nodes import VALIDATORS, Node
from book_worlds import GENESIS, KEYS, entries

import pyledger as pl
from pyledger.consensus.application import Draft
from pyledger.ledger.batches import AccountBatch
from pyledger.ledger.blocks import Block
from pyledger.ledger.commands import ChangeValidators, Validator
from pyledger.ledger.validators import Roster

FIFTH = pl.bls.SecretKey.from_seed(b"fifth".ljust(32, b"\0"))


def change(from_height):
    joining = Validator("BANKEEXX", 1, FIFTH.public_key, FIFTH.proof_of_possession)
    terms = (1, from_height, (*Roster.of(GENESIS).validators, joining))
    approvals = (
        pl.signing.approve_validators(key.attestation, GENESIS.chain_id, bank, bank, *terms)
        for bank, key in enumerate(KEYS[:3])
    )
    return ChangeValidators(*terms, tuple(approvals))


@pytest.fixture
def ending(tmp_path):
    """Two nodes at the last block of an epoch, and the closing block that the first one makes."""
    nodes = Node(tmp_path / "a"), Node(tmp_path / "b")
    for node in nodes:
        node.settle(node.world.attested(AccountBatch, entries([1, 2])))
    first, second = nodes
    first.submit(change(from_height=3))
    last = first.propose(first.tip, 2)
    assert second.application.process(last, ()).state_root is not None
    draft = Draft(0, 3, 3, GENESIS.time_ns + 3 * 10**9, first.hash(last), VALIDATORS.hash, True)
    yield second, first.application.prepare(draft, ())
    for node in nodes:
        node.close()


def test_a_closing_block_changes_nothing_and_is_made_alike_by_all(ending):
    node, closing = ending
    header = node.application.read_header(closing)
    assert header.next_validators_hash == bytes(32)
    verdict = node.application.process(closing, ())
    assert verdict.state_root == header.state_root == node.application.branches.book.state.root()
    assert len(node.application.epochs.ahead[-1].validators) == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"state_root": b"s" * 32},
        {"history_root": b"h" * 32},
        {"transfers_root": b"t" * 32},
        {"height": 4},
        {"epoch": 1},
        {"validators_hash": b"v" * 32},
        {"parent": GENESIS.hash},
        {"parent": b"p" * 32},
        {"accounts_count": 1},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_a_closing_block_that_says_anything_else_is_refused(ending, fields):
    node, closing = ending
    block = Block.from_bytes(closing)
    changed = Block(replace(block.header, **fields), block.body).to_bytes()
    assert changed != closing
    assert node.application.process(changed, ()).state_root is None
    assert node.application.process(closing, ()).state_root is not None
