"""More pending transfers end at one time than a block may release: it releases its share, the next ones the rest."""

import numpy as np
import pytest
from engine_twins import require_same_state, same
from ledgers import accounts, genesis, members, transfers

import pyledger as pl
from pyledger import _core
from pyledger.reference.engine import Engine as Twin
from pyledger.types import ACCOUNT, TRANSFER

PER_BLOCK = 65_536
COUNT = 70_000
SECOND = 1_000_000_000


def pending_records(count):
    """Pending transfers between accounts 1 to 3, of one to three seconds; ids not in the order of creation."""
    rng = np.random.default_rng(1)
    records = np.zeros(count, TRANSFER)
    records["id"]["lo"] = rng.permutation(count) + 1
    debit = rng.integers(0, 3, count)
    records["debit_account_id"]["lo"] = debit + 1
    records["credit_account_id"]["lo"] = (debit + rng.integers(1, 3, count)) % 3 + 1
    records["amount"]["lo"] = rng.integers(0, 1000, count)
    records["timeout"] = rng.integers(1, 4, count)
    records["flags"], records["ledger"], records["code"] = pl.TransferFlags.PENDING, 1, 1
    return records


def both(native, twin, name, *arguments):
    """The same call on both, with the same answer."""
    answer = getattr(native, name)(*arguments)
    assert same(answer, getattr(twin, name)(*arguments))
    return answer


@pytest.fixture(scope="module")
def held():
    """Engine and twin with 70,000 pending transfers, and the time at which the last one was made."""
    pair = _core.Engine(), Twin()
    both(*pair, "register_keys", np.array([1], np.uint32), 0)
    opened = np.zeros(3, ACCOUNT)
    opened["id"]["lo"], opened["ledger"], opened["code"] = [1, 2, 3], 1, 1
    owners, banks = np.zeros(3, np.uint32), np.ones(3, np.uint32)
    assert not both(*pair, "create_accounts", opened, owners, banks, 1000, 1).any()
    signers, signed = np.zeros(COUNT, np.uint32), np.ones(COUNT, np.bool_)
    codes, _ = both(*pair, "create_transfers", pending_records(COUNT), signers, signed, 10**6)
    assert not codes.any()
    return *pair, 10**6 + COUNT


def test_a_block_releases_so_many_in_the_order_of_their_time_and_the_next_ones_the_rest(held):
    native, twin, now = held
    released = []
    for height in (1, 2, 3):
        for engine in (native, twin):
            engine.set_height(height)
        ids, _ = both(native, twin, "expire", now + 3 * SECOND, PER_BLOCK)
        released.append(len(ids))
        require_same_state(native, twin, height)
    assert released == [PER_BLOCK, COUNT - PER_BLOCK, 0]
    assert sum(native.accounts()["debits_pending"]["lo"]) == 0


def test_a_ledger_releases_in_further_blocks_what_one_block_has_no_room_for(tmp_path):
    now, keys, path = [10], members(1), tmp_path / "ledger"
    chain = genesis(keys, block_transfers_max=PER_BLOCK)
    first = transfers(*((number, 1, 2, 3) for number in range(1, COUNT + 1)), flags=pl.TransferFlags.PENDING)
    first["timeout"] = 1
    with pl.Ledger.create(path, chain, keys=keys, clock=lambda: now[0]) as ledger:
        assert not ledger.create_accounts(accounts([1, 2])).any()
        for batch in (first[: COUNT // 2], first[COUNT // 2 :]):
            assert not ledger.post(batch).results.any()
        assert ledger.balance(1).debits_pending == 3 * COUNT
        now[0] += 2 * SECOND
        left = []
        for _ in range(3):
            ledger.seal()
            left.append(ledger.balance(1).debits_pending)
        assert left == [3 * (COUNT - PER_BLOCK), 0, 0]
        late = transfers((COUNT + 1, 0, 0, 3), ledger=0, flags=pl.TransferFlags.POST_PENDING_TRANSFER)
        late["pending_id"], late["code"] = pl.u128_array([COUNT]), 0
        assert ledger.post(late).results.tolist() == [pl.CreateTransferResult.PENDING_TRANSFER_EXPIRED]
        released = [len(rows.expired) for rows in ledger.tail(wait=0)]
        assert [count for count in released if count] == [PER_BLOCK, COUNT - PER_BLOCK]
        tip = ledger.tip
        report = ledger.audit()
        assert report.ok, report.difference
    with pl.Ledger.open(path, read_only=True) as ledger:
        assert (ledger.tip, ledger.balance(1).debits_pending) == (tip, 0)
