"""No block is too long for the messages that bring it: neither what is formed of all that waits nor what is taken."""

import contextlib
import dataclasses
import itertools
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from book_nodes import Node
from book_worlds import GENESIS, World, entries

from pyledger.consensus.messages import (
    BLOCK_BYTES_MAX,
    Certificate,
    Proposal,
    SyncEntry,
    SyncResponse,
    TimeoutCertificate,
    VoteStatement,
    encode,
)
from pyledger.crypto.bls import VALIDATORS_MAX
from pyledger.errors import InputError
from pyledger.ledger.batches import AccountBatch, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY, CONTROLLED, Block, Body
from pyledger.ledger.commands import (
    KIND_ACCOUNTS,
    KIND_MANDATE,
    KIND_OWNERS,
    KIND_TRANSFERS,
    Approval,
    Attestation,
    Change,
    ChangeValidators,
    Order,
    RegisterKeys,
    SignedRefusals,
    Validator,
)
from pyledger.node.mempool import Mempool, Waiting
from pyledger.node.submissions import encode_submission
from pyledger.node.validity import require_within
from pyledger.types import TRANSFER, U128

RECORDS_MAX = 1 << 17
U32, U63, ROUND = (1 << 32) - 1, (1 << 63) - 1, (1 << 63) - 1
SIGNATURE, BLS_SIGNATURE = bytes(64), bytes(48)
COUNTED = (U32, U63, U32)
"""Institution, sequence and key, as long as they get."""


def refused(kind, size):
    return Attestation(*COUNTED, kind, U32, 0, U63, (0,), bytes(size), SIGNATURE)


# Each record in a batch of its own, which takes most room.
COMMANDS = {
    "refused transfers": refused(KIND_TRANSFERS, 164),
    "transfers that burn their ids": SignedRefusals(U32, 0, (0,), bytes(208)),
    "refused accounts": refused(KIND_ACCOUNTS, 136),
    "keys": RegisterKeys(*COUNTED, 7, U63, bytes(32), bytes(64), SIGNATURE),
    "changes": Change(*COUNTED, KIND_OWNERS, b"", (0,), bytes(20), SIGNATURE),
    "orders": Order(KIND_MANDATE, U32, U63, bytes(16), U32, bytes(16), U63, SIGNATURE),
}
CREATED = Attestation(*COUNTED, KIND_ACCOUNTS, U32, 1, U63, (), b"", SIGNATURE)
POSTED = Attestation(*COUNTED, KIND_TRANSFERS, U32, 1, U63, (), b"", SIGNATURE)


def columns(commands, signatures):
    return Body(
        commands,
        transfers=np.zeros(RECORDS_MAX, TRANSFER),
        signers=np.zeros(RECORDS_MAX, np.uint32),
        signatures=np.zeros((signatures, 64), np.uint8),
        effects=np.zeros(RECORDS_MAX, U128),
        controllers=np.zeros(RECORDS_MAX, CONTROLLED),
    )


def body_of(content):
    if content == "created accounts":
        return Body((CREATED,) * RECORDS_MAX, accounts=np.zeros(RECORDS_MAX, ACCOUNT_ENTRY))
    if content == "attested transfers":
        return columns((POSTED,) * (RECORDS_MAX - 1), 1)
    if content == "signed transfers":
        return columns((), RECORDS_MAX)
    return Body((COMMANDS[content],) * RECORDS_MAX)


def changes_that_may_wait():
    """As many of the largest changes of the validators as a node with much room lets wait."""
    validators = (Validator("BANKAAXXXXX", U32, bytes(96), BLS_SIGNATURE),) * VALIDATORS_MAX
    approvals = tuple(Approval(U32, U32, SIGNATURE) for _ in range(1000))
    pool, found = Mempool(1 << 30), []
    with contextlib.suppress(InputError):
        for number in itertools.count(1):
            change = ChangeValidators(number, U63, validators, approvals)
            content = encode_submission(change)
            pool.require_room(change, content, 4)
            pool.add(Waiting(number.to_bytes(32, "big"), content, SimpleNamespace(submission=change), 0))
            found.append(change)
    return tuple(found)


@pytest.fixture(scope="module")
def changes():
    return changes_that_may_wait()


@pytest.fixture(scope="module")
def certificates():
    """The longest ones."""
    statement = VoteStatement(bytes(16), U63, ROUND, U63, bytes(32), bytes(32), bytes(32), bytes(32))
    certificate = Certificate(statement, bytes(VALIDATORS_MAX // 8), BLS_SIGNATURE)
    rounds = tuple((validator, ROUND) for validator in range(VALIDATORS_MAX))
    return certificate, TimeoutCertificate(U63, ROUND, rounds, BLS_SIGNATURE, certificate)


def test_a_block_of_a_chain_has_no_more_records_than_are_tried_here():
    msgspec.structs.replace(GENESIS, block_transfers_max=RECORDS_MAX).check()
    with pytest.raises(InputError, match=f"1 to {RECORDS_MAX}"):
        msgspec.structs.replace(GENESIS, block_transfers_max=RECORDS_MAX + 1).check()


@pytest.mark.parametrize("content", [*COMMANDS, "created accounts", "attested transfers", "signed transfers"])
def test_the_largest_blocks_that_can_be_formed_fit_into_messages(content, changes):
    body = body_of(content)
    block = bytes(360) + dataclasses.replace(body, commands=(*body.commands, *changes)).to_bytes()
    assert len(changes) > 1
    assert len(block) <= BLOCK_BYTES_MAX


def test_a_block_of_the_greatest_length_fits_into_messages_beside_the_longest_certificates(certificates):
    certificate, gave_up = certificates
    block = bytes(BLOCK_BYTES_MAX)
    encode(Proposal(block, certificate, gave_up, VALIDATORS_MAX - 1, BLS_SIGNATURE))
    encode(SyncResponse((SyncEntry(block, certificate),)))


def test_a_longer_block_is_not_valid(tmp_path, monkeypatch):
    leader, other = Node(tmp_path / "a"), Node(tmp_path / "b")
    leader.submit(leader.world.attested(AccountBatch, entries([1, 2])))
    block = leader.propose(leader.tip, 1)
    for limit, valid in ((len(block) - 1, False), (len(block), True)):
        monkeypatch.setattr("pyledger.node.validity.BLOCK_BYTES_MAX", limit)
        assert (other.application.process(block, ()).state_root is not None) == valid
    leader.close()
    other.close()


@pytest.mark.parametrize(("kind", "row"), [(AccountBatch, ACCOUNT_ENTRY), (TransferBatch, TRANSFER)])
def test_batches_without_records_count_as_one_of_a_block(kind, row):
    """Their bank would sign as many as a leader wants: each costs whoever executes the block a check."""
    world = World()
    block = world.block(*(world.attested(kind, np.empty(0, row), ahead=number) for number in range(3)))
    assert [command.size for command in block.body.commands] == [0, 0, 0]
    require_within(block, 3)
    with pytest.raises(InputError, match="expected at most 2"):
        require_within(block, 2)


def test_commands_without_rows_count_as_one_record_of_a_block():
    keys, change = (
        RegisterKeys(0, 1, 0, 1, 0, b"", b"", SIGNATURE),
        Change(0, 1, 0, KIND_OWNERS, b"", (), b"", SIGNATURE),
    )
    block = Block(World().block().header, Body((keys, keys, change)))
    require_within(block, 3)
    with pytest.raises(InputError, match="expected at most 2"):
        require_within(block, 2)


def test_batches_that_took_effect_count_once():
    world = World()
    block = world.block(
        world.attested(AccountBatch, entries([1, 2])), world.attested(AccountBatch, entries([3, 4], 1), 1)
    )
    require_within(block, 4)
