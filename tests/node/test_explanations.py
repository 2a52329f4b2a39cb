"""Why records were refused: only the leader is heard, and it cannot make a refused record look like one that exists."""

import numpy as np
import pytest
from book_nodes import Node
from book_worlds import entries
from ledgers import transfers

from pyledger.ledger.batches import AccountBatch, TransferBatch
from pyledger.node.application import Outcome
from pyledger.node.explanations import Explanations
from pyledger.node.mempool import REASON_UNKNOWN
from pyledger.types import CreateAccountResult as A
from pyledger.types import CreateTransferResult as R

DIGEST = bytes(range(32))


def said(*codes):
    return Explanations.encode(DIGEST, np.array(codes, np.uint32))


def applied(explanations, *results, leader="BANKAAXX", plausible=lambda _digest, _positions, codes: codes != 0):
    outcome = Outcome(DIGEST, 5, np.array(results, np.uint32))
    return explanations.apply(outcome, leader, plausible).results.tolist()


def test_only_the_leader_of_the_block_is_heard():
    explanations = Explanations()
    explanations.take("BANKBBXX", said(R.EXISTS))
    explanations.take("BANKAAXX", said(R.EXCEEDS_CREDITS))
    explanations.take("BANKCCXX", said(R.EXISTS))
    assert applied(explanations, REASON_UNKNOWN) == [R.EXCEEDS_CREDITS]
    explanations.take("BANKBBXX", said(R.EXISTS))
    assert applied(explanations, REASON_UNKNOWN) == [REASON_UNKNOWN]


def test_the_last_word_of_a_leader_counts_and_only_for_refused_records_without_a_code():
    explanations = Explanations()
    explanations.take("BANKAAXX", said(R.EXCEEDS_CREDITS, 0, 0, R.EXCEEDS_CREDITS, 7))
    explanations.take("BANKAAXX", said(R.EXCEEDS_DEBITS, R.EXCEEDS_DEBITS, 0, R.EXCEEDS_DEBITS, 7))
    assert applied(explanations, REASON_UNKNOWN, 0, REASON_UNKNOWN, 12) == [R.EXCEEDS_DEBITS, 0, REASON_UNKNOWN, 12]


def test_what_the_own_book_contradicts_is_not_shown():
    explanations = Explanations()
    explanations.take("BANKAAXX", said(R.EXISTS, R.EXCEEDS_DEBITS))
    results = applied(explanations, *[REASON_UNKNOWN] * 2, plausible=lambda _d, _p, codes: codes != R.EXISTS)
    assert results == [REASON_UNKNOWN, R.EXCEEDS_DEBITS]


def test_one_sender_does_not_push_out_what_another_said():
    explanations = Explanations()
    explanations.take("BANKAAXX", said(R.EXCEEDS_DEBITS))
    for number in range(600):
        explanations.take("BANKBBXX", Explanations.MARK + number.to_bytes(32, "big") + bytes(1 << 16))
    assert applied(explanations, REASON_UNKNOWN) == [R.EXCEEDS_DEBITS]


@pytest.mark.parametrize("message", [b"\xe0", b"\xe0" + bytes(31), b"\xe0" + bytes(32) + b"123"])
def test_malformed_messages_are_dropped(message):
    explanations = Explanations()
    explanations.take("BANKAAXX", message)
    assert applied(explanations, REASON_UNKNOWN) == [REASON_UNKNOWN]


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path / "node")
    node.settle(node.world.attested(AccountBatch, entries([1, 2])))
    node.settle(node.world.attested(TransferBatch, transfers((10, 1, 2, 5))))
    yield node
    node.close()


def plausible(node, batch, *codes):
    node.submit(batch)
    digest = node.application.mempool.in_order()[0].digest
    positions, codes = np.arange(len(codes)), np.array(codes, np.uint32)
    return node.application.plausible(digest, positions, codes).tolist()


def test_a_transfer_exists_only_if_the_own_book_has_it(node):
    batch = node.world.attested(TransferBatch, transfers((10, 1, 2, 5), (10, 1, 2, 6), (11, 1, 2, 5), (11, 1, 2, 5)))
    codes = (R.EXISTS, R.EXISTS, R.EXISTS, R.EXCEEDS_DEBITS)
    assert plausible(node, batch, *codes) == [True, False, False, True]
    different = [R.EXISTS_WITH_DIFFERENT_AMOUNT] * 4
    digest = node.application.mempool.in_order()[0].digest
    found = node.application.plausible(digest, np.arange(4), np.array(different, np.uint32))
    assert found.tolist() == [True, True, False, False]
    assert node.application.plausible(bytes(32), np.arange(4), np.array(codes, np.uint32)).tolist() == [False] * 4


def test_an_account_exists_only_if_the_own_book_has_it(node):
    again = entries([1, 2, 3, 3])
    again["owner_key"][1] = 1
    assert plausible(node, node.world.attested(AccountBatch, again), A.EXISTS, A.EXISTS, A.EXISTS, A.RESERVED_FLAG) == [
        True,
        False,
        False,
        True,
    ]
