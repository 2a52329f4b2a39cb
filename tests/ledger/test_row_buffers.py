"""Rows that are lent are nobody else's until they are given back; then their memory is used again."""

import numpy as np

from pyledger.ledger.row_buffers import RowBuffers


def test_rows_that_are_out_share_nothing_and_come_again_once_given_back():
    buffers = RowBuffers(3)
    first, second = buffers.take(8), buffers.take(8)
    assert first.shape == second.shape == (8, 3)
    assert not np.shares_memory(first, second)
    buffers.give_back(first)
    again, third = buffers.take(5), buffers.take(5)
    assert np.shares_memory(again, first)
    assert not np.shares_memory(third, again)
    buffers.give_back(again)
    assert buffers.take(100).shape == (100, 3)
