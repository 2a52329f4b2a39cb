"""An audit names block, command or record, and field of the first thing about rights that does not hold."""

from __future__ import annotations

import dataclasses
import re

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rights_kit import (
    ACCOUNT_A1,
    ACCOUNT_A2,
    ACCOUNT_B1,
    BANK_A,
    BANK_B,
    HOLDER_A1,
    HOLDER_A2,
    HOLDER_B1,
    NOTARY,
    PENDING,
    Banks,
    secret,
)

import pyledger as pl
from pyledger.ledger.audit import audit_blocks
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.ledger.commands import (
    KIND_CONTROLLERS,
    KIND_OWNERS,
    KIND_REVOCATIONS,
    KIND_ROTATION,
    SignedRefusals,
    decode_commands,
)


@pytest.fixture(scope="module")
def banks():
    """A book whose last blocks hold one of each command that changes rights; then one pledge signed, one attested."""
    banks = Banks()
    banks.register([secret("next"), secret("other")], BANK_A)
    banks.run(banks.change(KIND_REVOCATIONS, [(7, 30), (99, 0)], BANK_A))
    banks.run(banks.change(KIND_OWNERS, [(ACCOUNT_A2, HOLDER_A2), (99, HOLDER_A2)], BANK_A))
    banks.mandate(ACCOUNT_A1, HOLDER_B1, 100, 99, HOLDER_A1)
    banks.rotate(ACCOUNT_A2, 6, HOLDER_A2)
    amounts = ((7, 0), (70, PENDING))
    pair = np.concatenate([banks.payment(ACCOUNT_A1, ACCOUNT_B1, amount, flags) for amount, flags in amounts])
    signatures = pl.signing.sign_transfers(
        [banks.secrets[HOLDER_A1]] * 2, banks.chain_id, pair, [None, banks.secrets[NOTARY].public_key]
    )
    batch = banks.signed(pair, HOLDER_A1)
    controllers = np.array([pl.NO_KEY, NOTARY], np.uint32)
    assert not banks.run(dataclasses.replace(batch, signatures=signatures, controllers=controllers)).any()
    banks.post_attested(banks.payment(ACCOUNT_B1, ACCOUNT_A1, 3, PENDING), BANK_B, controller=NOTARY)
    banks.run(banks.change(KIND_CONTROLLERS, [(banks.last_id, HOLDER_B1)], BANK_B))
    assert [len(block.body.commands) for block in banks.blocks[-8:]] == [1, 1, 1, 1, 1, 0, 1, 1]
    return banks


KEYS, REVOCATION, OWNERS, MANDATE, ROTATION, SIGNED, ATTESTED, CONTROLLERS = range(-8, 0)


def audit(banks, place, edit):
    """Audit with the body of one block edited; what its header says is left."""
    blocks = [(block, b"") for block in banks.blocks]
    block = banks.blocks[place]
    blocks[place] = (Block(block.header, edit(block.body)), b"")
    return block.header.height, audit_blocks(Book(banks.genesis), blocks, lambda *_: None)


def with_command(**changes):
    def edit(body):
        (command,) = body.commands
        return dataclasses.replace(body, commands=(msgspec.structs.replace(command, **changes),))

    return edit


def with_controllers(rows):
    def edit(body):
        return dataclasses.replace(body, controllers=np.array(rows, body.controllers.dtype))

    return edit


def u128(value):
    return value.to_bytes(16, "little")


FIELD = r"field '\w+': "
NO_PROOF = rf", command 0 \(keys\): {FIELD}row 1: the key's proof of possession"
INVALID = "the attestation's signature is not valid for this batch"
NOT_AGAIN = "does not take effect again"
CASES = {
    "keys: roles": (KEYS, with_command(roles=3), NO_PROOF),
    "keys: institution": (
        KEYS,
        with_command(institution=1),
        NO_PROOF,
    ),
    "keys: proofs": (
        KEYS,
        with_command(proofs=bytes(128)),
        NO_PROOF,
    ),
    "keys: valid_from": (KEYS, with_command(valid_from=9), rf", command 0 \(keys\): {FIELD}BANKAAXX: {INVALID}"),
    "keys: sequence": (
        KEYS,
        with_command(sequence=1),
        rf", command 0 \(keys\): {FIELD}BANKAAXX: expected sequence 2, got 1",
    ),
    "keys: signer": (
        KEYS,
        with_command(signer=1),
        rf", command 0 \(keys\): {FIELD}.*attestation_signer_of_other_institution",
    ),
    "keys: signature": (KEYS, with_command(signature=bytes(64)), rf", command 0 \(keys\): {FIELD}BANKAAXX: {INVALID}"),
    "revocation: rows": (
        REVOCATION,
        with_command(rows=bytes(12)),
        rf", command 0 \(change\): {FIELD}BANKAAXX: {INVALID}",
    ),
    "revocation: refused": (
        REVOCATION,
        with_command(refused=bytes(12)),
        rf", command 0 \(change\): {FIELD}BANKAAXX: {INVALID}",
    ),
    "revocation: positions": (
        REVOCATION,
        with_command(refused_positions=()),
        rf", command 0 \(change\): {FIELD}BANKAAXX: {INVALID}",
    ),
    "owners: kind": (
        OWNERS,
        with_command(kind=KIND_CONTROLLERS),
        rf", command 0 \(change\): {FIELD}BANKAAXX: {INVALID}",
    ),
    "owners: rows": (OWNERS, with_command(rows=bytes(20)), rf", command 0 \(change\): {FIELD}BANKAAXX: {INVALID}"),
    "mandate: amount": (
        MANDATE,
        with_command(amount=u128(101)),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "mandate: holder": (
        MANDATE,
        with_command(key=NOTARY),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "mandate: until_height": (
        MANDATE,
        with_command(until_height=98),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "mandate: signer": (
        MANDATE,
        with_command(signer=HOLDER_B1),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "mandate: sequence": (
        MANDATE,
        with_command(sequence=2),
        rf", command 0 \(order\): {FIELD}key 2: expected sequence 1, got 2",
    ),
    "mandate: kind": (
        MANDATE,
        with_command(kind=KIND_ROTATION, amount=u128(0), until_height=0),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "rotation: owner": (
        ROTATION,
        with_command(key=HOLDER_A1),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "rotation: account": (
        ROTATION,
        with_command(account_id=u128(ACCOUNT_A1)),
        rf", command 0 \(order\): {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "signed: controller swapped": (
        SIGNED,
        with_controllers([(1, HOLDER_B1)]),
        rf", transfer 1: {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "signed: controller stripped": (
        SIGNED,
        with_controllers([]),
        rf", transfer 1: {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "signed: controller moved": (
        SIGNED,
        with_controllers([(0, NOTARY)]),
        rf", transfer 0: {FIELD}{NOT_AGAIN}: signature_invalid",
    ),
    "attested: controller swapped": (
        ATTESTED,
        with_controllers([(0, HOLDER_B1)]),
        rf", transfer 0: {FIELD}{NOT_AGAIN}: attestation_invalid",
    ),
    "attested: signer": (
        ATTESTED,
        with_command(signer=HOLDER_B1),
        rf", transfer 0: {FIELD}{NOT_AGAIN}: attestation_invalid",
    ),
    "controllers: sequence": (
        CONTROLLERS,
        with_command(sequence=2),
        rf", command 0 \(change\): {FIELD}BANKBBXX: expected sequence 1, got 2",
    ),
    "left out": (
        MANDATE,
        lambda body: dataclasses.replace(body, commands=()),
        ": field 'commands_count': executing it gives 0, the block says 1",
    ),
    "twice": (
        MANDATE,
        lambda body: dataclasses.replace(body, commands=body.commands * 2),
        rf", command 1 \(order\): {FIELD}key 2: expected sequence 2, got 1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_difference_is_named_by_block_command_and_reason(banks, name):
    place, edit, message = CASES[name]
    height, report = audit(banks, place, edit)
    assert not report.ok
    assert report.blocks == height - 1
    assert re.match(rf"block {height}{message}", report.difference), report.difference


def test_an_untouched_book_passes(banks):
    _, report = audit(banks, MANDATE, lambda body: body)
    assert report.difference is None
    assert report.blocks == len(banks.blocks)


@pytest.mark.parametrize("place", range(-8, 0))
def test_a_trusting_replay_notices_a_changed_command_by_its_root(banks, place):
    """Opening the own journal does not check signatures again, yet what was changed there shows in a root."""
    block = banks.blocks[place]
    edit = with_command(signature=bytes(64)) if block.body.commands else with_controllers([(1, HOLDER_B1)])
    blocks = [*banks.blocks]
    blocks[place] = Block(block.header, edit(block.body))
    fake = Banks.__new__(Banks)
    fake.genesis, fake.blocks = banks.genesis, blocks
    with pytest.raises(pl.StorageError, match=rf"block {block.header.height}: field '(commands|transfers)_root'"):
        fake.replay(trusted=True)


# The bytes of commands -----------------------------------------------------------------------------------------------


REFUSED = SignedRefusals(3, 2, (0, 3), bytes(range(208)) * 2)


def all_commands(banks):
    return (*(command for block in banks.blocks[-8:] for command in block.body.commands), REFUSED)


def test_commands_have_one_encoding(banks):
    commands = all_commands(banks)
    data = msgspec.msgpack.encode(commands)
    assert decode_commands(data) == commands
    for end in range(len(data)):
        with pytest.raises(pl.InputError):
            decode_commands(data[:end])
    with pytest.raises(pl.InputError):
        decode_commands(data + b"\0")
    for command in commands:
        for other in (widened(command), lengthened(command)):
            with pytest.raises(pl.InputError):
                decode_commands(other)


def widened(command):
    """The same array of one command with its first integer in nine bytes instead of as few as it takes."""
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(command))
    place = next(place for place, value in enumerate(values) if isinstance(value, int))
    parts = [msgspec.msgpack.encode(value) for value in values]
    parts[place] = b"\xcf" + values[place].to_bytes(8)
    return bytes([0x91, 0x90 + len(values)]) + b"".join(parts)


def lengthened(command):
    """The same array of one command with one field more."""
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(command))
    return msgspec.msgpack.encode([[*values, 0]])


@pytest.mark.parametrize(
    "data", [b"\x91\x93\xa4\xff\xff\xff\xff\x01\x02", b"\x91" * 100_000, b"", b"\x90\x90", b"\xc0"]
)
def test_bytes_that_are_no_commands_are_refused_by_one_kind_of_error(data):
    with pytest.raises(pl.InputError, match="block commands"):
        decode_commands(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_of_commands_is_refused_or_other_commands_in_their_one_encoding(banks, data):
    content = bytearray(msgspec.msgpack.encode(all_commands(banks)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_commands(bytes(content))
    except pl.InputError:
        return
    assert msgspec.msgpack.encode(found) == bytes(content)


OUT_OF_RANGE = {
    "keys": [{"roles": 8}, {"roles": -1}, {"proofs": bytes(64)}, {"public_keys": bytes(33)}, {"valid_from": -1}],
    "change": [{"kind": 3}, {"kind": 7}, {"rows": bytes(13)}, {"signer": 1 << 32}, {"institution": -1}],
    "order": [
        {"kind": 4},
        {"kind": 9},
        {"account_id": bytes(15)},
        {"amount": bytes(17)},
        {"key": -1},
        {"until_height": -1},
        {"signature": bytes(63)},
        {"sequence": -1},
        {"kind": KIND_ROTATION},
    ],
    "attest": [{"kind": 4}, {"signer": -1}, {"first": -1}, {"taken": 1 << 32}],
    "refused": [
        {"first": -1},
        {"first": 1 << 32},
        {"taken": 1 << 32},
        {"taken": 1},
        {"refused_positions": (), "refused": b""},
        {"refused_positions": (0,)},
        {"refused_positions": (3, 0)},
        {"refused_positions": (3, 3)},
        {"refused_positions": (-1, 3)},
        {"refused_positions": (0, 4)},
        {"refused": bytes(415)},
        {"refused": bytes(417)},
    ],
}


@pytest.mark.parametrize("tag", OUT_OF_RANGE)
def test_fields_out_of_range_are_refused(banks, tag):
    command = next(item for item in all_commands(banks) if item.__struct_config__.tag == tag)
    for changes in OUT_OF_RANGE[tag]:
        changed = msgspec.structs.replace(command, **changes)
        with pytest.raises(pl.InputError, match="command 0 has a field out of range"):
            decode_commands(msgspec.msgpack.encode((changed,)))


@pytest.mark.parametrize(
    "rows", [[(2, NOTARY)], [(1, NOTARY), (0, NOTARY)], [(1, NOTARY), (1, NOTARY)], [(1, pl.NO_KEY)]]
)
def test_a_controllers_column_is_canonical(banks, rows):
    block = banks.blocks[SIGNED]
    data = Block(block.header, with_controllers(rows)(block.body)).to_bytes()
    with pytest.raises(pl.InputError, match="block controllers: expected rising positions"):
        Block.from_bytes(data)


def test_more_controllers_than_transfers_are_refused(banks):
    block = banks.blocks[SIGNED]
    data = Block(block.header, with_controllers([(0, 1), (1, 1), (2, 1)])(block.body)).to_bytes()
    with pytest.raises(pl.InputError, match="sizes out of range"):
        Block.from_bytes(data)
