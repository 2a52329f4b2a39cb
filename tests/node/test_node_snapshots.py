"""A node's book sealed and kept in snapshots while blocks come, go and are taken back; and opened again from them."""

import shutil
import threading

import msgspec
import numpy as np
import pytest
from book_nodes import Node
from book_worlds import KEYS, certified, entries
from ledgers import transfers

import pyledger as pl
from pyledger.errors import StorageError
from pyledger.ledger.batches import AccountBatch, TransferBatch
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.node.keeping import Keeping

TINY = Keeping(window=4, segment=3, snapshot_every=12)
NEVER = Keeping(snapshot_every=1 << 40)
ACCOUNTS = tuple(range(1, 7))


def random_transfers(rng, first_id):
    rows = []
    for number in range(int(rng.integers(1, 6))):
        debit, credit = rng.choice(ACCOUNTS, 2, replace=False).tolist()
        rows.append((first_id + number, debit, credit, int(rng.integers(1, 100))))
    return transfers(*rows)


def grow(node, rounds, rng=None):
    """Final blocks, one a round, each with a few transfers."""
    rng = rng or np.random.default_rng(5)
    for round in rounds:
        if round == 1:
            node.submit(node.world.attested(AccountBatch, entries(ACCOUNTS)))
        else:
            node.submit(node.world.attested(TransferBatch, random_transfers(rng, round * 100)))
        node.finalise(node.propose(node.tip, round))


def grow_and_close(node, blocks, above=0):
    """Grow a new node, wait until it has a snapshot, and close it."""
    grow(node, range(1, blocks + 1))
    node.wait_for_snapshot(above)
    node.close()
    return node


@pytest.fixture
def nodes():
    """Opens nodes, and closes them in the end."""
    opened = []

    def open_node(folder, keeping=TINY):
        opened.append(Node(folder, keeping))
        return opened[-1]

    yield open_node
    for node in opened:
        node.close()


def executed_heights(monkeypatch):
    """Heights of the blocks that books execute from now on."""
    heights, apply = [], Book.apply

    def noting(book, block, **options):
        heights.append(block.header.height)
        return apply(book, block, **options)

    monkeypatch.setattr(Book, "apply", noting)
    return heights


def test_a_node_starts_from_its_newest_snapshot_and_executes_what_is_behind_it(tmp_path, nodes, monkeypatch):
    node = grow_and_close(nodes(tmp_path / "a"), 20, above=4)
    root, tip, newest = node.state_root, node.tip, node.snapshots[-1]
    executed = executed_heights(monkeypatch)
    again = nodes(tmp_path / "a")
    assert executed == list(range(newest + 1, 21))
    assert (again.state_root, again.tip, again.application.height) == (root, tip, 20)
    assert len(again.application.entries(1)[0]) == 20


def test_a_node_from_a_snapshot_makes_the_blocks_of_one_that_executed_all(tmp_path, nodes):
    grow_and_close(nodes(tmp_path / "a"), 15)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for folder in ("snapshots", "segments"):
        shutil.rmtree(tmp_path / "b" / folder)
    from_snapshot, from_genesis = nodes(tmp_path / "a"), nodes(tmp_path / "b", NEVER)
    assert not from_genesis.snapshots
    for each in (from_snapshot, from_genesis):
        grow(each, range(16, 40), np.random.default_rng(6))
    assert from_snapshot.tip == from_genesis.tip
    assert from_snapshot.state_root == from_genesis.state_root
    with pl.Ledger.open(tmp_path / "a", read_only=True) as ledger:
        assert ledger.audit().ok


@pytest.mark.parametrize("damage", ["snapshots", "segments", "both", "a bit of each snapshot", "a bit of the newest"])
def test_a_lost_or_damaged_snapshot_is_passed_over(tmp_path, nodes, damage):
    node = grow_and_close(nodes(tmp_path / "a"), 30, above=12)
    root, tip = node.state_root, node.tip
    for name in ("snapshots", "segments"):
        if damage in (name, "both"):
            shutil.rmtree(tmp_path / "a" / name)
    if damage.startswith("a bit"):
        files = sorted((tmp_path / "a" / "snapshots").iterdir())
        for file in files if damage.endswith("each snapshot") else files[-1:]:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
    again = nodes(tmp_path / "a")
    assert (again.state_root, again.tip) == (root, tip)
    grow(again, range(31, 41), np.random.default_rng(7))


@pytest.mark.parametrize("lost", [("journal",), ("journal", "segments")])
def test_a_journal_behind_its_snapshot_is_not_opened(tmp_path, nodes, lost):
    """Blocks that a snapshot stands for were durable: they are not missed quietly."""
    grow_and_close(nodes(tmp_path / "a"), 10)
    for name in lost:
        shutil.rmtree(tmp_path / "a" / name)
    with pytest.raises(StorageError):
        nodes(tmp_path / "a")


def test_what_a_start_executed_is_sealed_and_known_again(tmp_path, nodes):
    """The blocks behind the snapshot are told to the store, or the next ones would be taken for them."""
    grow_and_close(nodes(tmp_path / "a"), 20)
    node = nodes(tmp_path / "a", NEVER)
    grow(node, range(21, 26), np.random.default_rng(8))
    node.close()
    again = nodes(tmp_path / "a")
    grow(again, range(26, 41), np.random.default_rng(9))
    again.wait_for_snapshot(above=25)
    posted = np.concatenate([Block.from_bytes(entry.block).body.transfers for entry in again.application.entries(2)[0]])
    posted["timestamp"] = 0
    outcomes = []
    again.application.on_outcome = outcomes.append
    again.settle(again.world.attested(TransferBatch, posted))
    assert set(outcomes[0].results.tolist()) == {int(pl.CreateTransferResult.EXISTS)}
    assert len(outcomes[0].results) == len(posted) > 40


def test_a_snapshot_is_of_final_blocks_while_others_stand_above_them(tmp_path, nodes, monkeypatch):
    node, plain = nodes(tmp_path / "a"), nodes(tmp_path / "b", NEVER)
    rng = np.random.default_rng(8)
    for each in (node, plain):
        grow(each, [1])
    for round in range(2, 60, 2):
        batch = random_transfers(rng, round * 100)
        for each in (node, plain):
            each.submit(each.world.attested(TransferBatch, batch))
        first = node.propose(node.tip, round)
        second = node.propose(node.hash(first), round + 1)  # never decided before `first`
        for block in (first, second):
            assert plain.application.process(block, ()).state_root == node.application.read_header(block).state_root
        for each in (node, plain):
            each.finalise(first)
        if round % 6 == 0:
            node.wait_for_snapshot(above=max(0, node.application.height - 12))
        for each in (node, plain):
            if round % 4:
                each.finalise(second)
            else:
                each.application.discard(each.hash(second))
        assert node.state_root == plain.state_root
    assert node.tip == plain.tip
    node.close()
    executed = executed_heights(monkeypatch)
    again = nodes(tmp_path / "a")
    assert (again.tip, again.state_root) == (plain.tip, plain.state_root)
    assert executed == list(range(node.snapshots[-1] + 1, again.application.height + 1))
    assert len(executed) < again.application.height / 2


def test_a_snapshot_leaves_the_book_on_its_branch(tmp_path, nodes):
    """What waits was prepared there, and need not be prepared again."""
    node = nodes(tmp_path / "a", NEVER)
    grow(node, range(1, 4))
    first = node.propose(node.tip, 4)
    second = node.propose(node.hash(first), 5)
    branches = node.application.branches
    before = (branches.taken_back, branches.book.height, branches.book.tip)
    with node.application._resting() as headers:
        assert (branches.book.height, branches.book.tip, len(headers)) == (3, node.tip, 3)
    assert (branches.taken_back, branches.book.height, branches.book.tip) == before
    assert branches.book.tip == node.hash(second)


def test_the_book_is_left_alone_while_a_snapshot_begins(tmp_path, nodes):
    node = nodes(tmp_path / "a", NEVER)
    grow(node, range(1, 4))
    block = node.propose(node.tip, 4)
    discarding = threading.Thread(target=node.application.discard, args=(node.hash(block),))
    with node.application._resting():
        discarding.start()
        discarding.join(0.2)
        assert discarding.is_alive()
    discarding.join(30)
    assert not discarding.is_alive()
    assert node.application.branches.book.height == 3


def test_undecided_blocks_are_executed_again_behind_a_snapshot(tmp_path, nodes):
    node = nodes(tmp_path / "a")
    grow(node, range(1, 21))
    node.wait_for_snapshot()
    block = node.propose(node.tip, 21)
    node.application.put(block, certified(block).certificate)
    node.close()
    again = nodes(tmp_path / "a")
    ((kept, _),) = again.application.pending.contents()
    assert again.application.process(kept, ()).state_root == again.application.read_header(block).state_root
    again.finalise(kept)
    assert again.application.height == 21


def test_a_block_that_is_not_certified_is_not_opened(tmp_path, nodes):
    node = nodes(tmp_path / "a", NEVER)
    grow(node, range(1, 4))
    block = node.propose(node.tip, 4)
    entry = certified(block)
    certificate = entry.certificate
    forged = msgspec.structs.replace(
        entry, certificate=msgspec.structs.replace(certificate, signature=b"\xc0" + bytes(47))
    )
    node.application.finalise([forged], [])
    node.close()
    with pytest.raises(StorageError, match="not certified"):
        nodes(tmp_path / "a")


def test_keys_of_the_banks_attest_after_a_start_from_a_snapshot(tmp_path, nodes):
    grow_and_close(nodes(tmp_path / "a"), 20)
    again = nodes(tmp_path / "a")
    assert again.application.next_sequence(0, 3) == 20
    assert [again.application.next_sequence(bank, 2) for bank in range(len(KEYS))] == [2, 1, 1, 1]
