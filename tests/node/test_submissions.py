"""Submissions as bytes: one encoding each, everything else refused before it is believed."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import accounts, transfers

from pyledger.errors import InputError
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    ChangeBatch,
    KeyBatch,
    OrderedBy,
    OwnerOrder,
    TransferBatch,
)
from pyledger.ledger.blocks import ACCOUNT_ENTRY
from pyledger.ledger.commands import CHANGE_ROWS, KIND_MANDATE, KIND_ROTATION
from pyledger.node.submissions import decode_submission, digest_of, encode_submission

ATTEST = Attest(2, 7, bytes(range(64)))


def entries():
    rows = np.zeros(2, ACCOUNT_ENTRY)
    rows["record"] = accounts([1, 2])
    return rows


CASES = {
    "keys": KeyBatch(
        np.arange(64, dtype=np.uint8).reshape(2, 32), np.arange(128, dtype=np.uint8).reshape(2, 64), ATTEST, 3, 77
    ),
    "accounts": AccountBatch(entries(), ATTEST),
    "attested": TransferBatch(transfers((1, 2, 3, 4), (5, 6, 7, 8)), attest=ATTEST),
    "signed": TransferBatch(
        transfers((1, 2, 3, 4)), np.array([9], np.uint32), np.arange(64, dtype=np.uint8).reshape(1, 64)
    ),
    "attested by a rotated key": TransferBatch(transfers((1, 2, 3, 4)), attest=Attest(2, 7, bytes(64), signer=12)),
    "attested, with controllers": TransferBatch(
        transfers((1, 2, 3, 4)), attest=ATTEST, controllers=np.array([9], np.uint32)
    ),
    "signed, with controllers": TransferBatch(
        transfers((1, 2, 3, 4)),
        np.array([9], np.uint32),
        np.arange(64, dtype=np.uint8).reshape(1, 64),
        controllers=np.array([8], np.uint32),
    ),
    **{f"change {kind}": ChangeBatch(kind, np.zeros(2, rows), ATTEST) for kind, rows in CHANGE_ROWS.items()},
    "mandate": OwnerOrder(KIND_MANDATE, 1 << 100, 3, OrderedBy(2, 1, bytes(range(64))), 1 << 90, 99),
    "rotation": OwnerOrder(KIND_ROTATION, 7, 3, OrderedBy(2, 1, bytes(range(64)))),
}


@pytest.mark.parametrize("name", CASES)
def test_decoding_gives_what_was_encoded(name):
    content = encode_submission(CASES[name])
    again = decode_submission(content)
    assert type(again) is type(CASES[name])
    assert again.attest == CASES[name].attest
    assert encode_submission(again) == content


def test_digests_tell_all_submissions_apart():
    assert len({digest_of(encode_submission(case)) for case in CASES.values()}) == len(CASES)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_a_changed_byte_is_refused_or_another_submission_in_its_one_encoding(name, data):
    content = bytearray(encode_submission(CASES[name]))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_submission(bytes(content))
    except InputError:
        return
    assert encode_submission(found) == bytes(content)


@pytest.mark.parametrize("name", CASES)
def test_what_is_cut_short_or_longer_is_refused(name):
    content = encode_submission(CASES[name])
    for wrong in (content[:-1], content + b"\0", b"", content[1:]):
        with pytest.raises(InputError):
            decode_submission(wrong)


@pytest.mark.parametrize(
    "parts",
    [
        [3, 0, 1, bytes(64), b""],
        [3, 0, 1, bytes(64), bytes(127)],
        [3, 0, 1, bytes(63), bytes(128)],
        [3, -1, 1, bytes(64), bytes(128)],
        [3, 1 << 32, 1, bytes(64), bytes(128)],
        [1, 0, 1, bytes(64), bytes(33)],
        [4, bytes(128), bytes(8), bytes(64)],
        [4, bytes(128), bytes(4), bytes(128)],
        [5, b""],
        [],
        "text",
    ],
)
def test_wrong_shapes_are_refused(parts):
    with pytest.raises(InputError):
        decode_submission(msgspec.msgpack.encode(parts))


def test_another_encoding_of_the_same_is_refused():
    content = encode_submission(CASES["keys"])
    assert content[1:4] == bytes([1, 2, 7])  # tag, institution, sequence
    wider = content[:1] + bytes([1, 0xCC, 2, 7]) + content[4:]
    with pytest.raises(InputError, match="one encoding"):
        decode_submission(wider)


def test_a_batch_above_the_limit_is_refused_before_it_is_read():
    with pytest.raises(InputError, match="at most"):
        decode_submission(bytes((1 << 24) + 1))
