"""A node is killed while it takes a snapshot, at each dangerous instant: it opens again with all that was final."""

import shutil

import pytest
from book_nodes import Node
from book_worlds import entries
from dying import run_until_killed
from ledgers import transfers

from pyledger.ledger.batches import AccountBatch, TransferBatch
from pyledger.node.keeping import Keeping

TINY = Keeping(window=4, segment=3, snapshot_every=20)

WRITER = """
import sys
from pathlib import Path
from book_nodes import Node
from dying import hook_snapshots
from ledgers import transfers
from pyledger.ledger.batches import TransferBatch
from pyledger.node.branches import Branches
from pyledger.node.keeping import Keeping

folder, instant, skip = sys.argv[1:]
die_at = hook_snapshots(instant, skip)

def finalise(branches, block_hash, made=Branches.finalise):
    block = made(branches, block_hash)
    die_at("block is in the journal")
    return block

Branches.finalise = finalise
node = Node(Path(folder), Keeping(window=4, segment=3, snapshot_every=20))
while True:
    height = node.application.height + 1
    batch = node.world.attested(TransferBatch, transfers(*((10 * height + place, 1, 2, 1) for place in range(4))))
    node.submit(batch)
    block = node.propose(node.tip, 2 * height)
    node.propose(node.hash(block), 2 * height + 1)  # stands above it, undecided, when the snapshot is taken
    node.finalise(block)
    print(height, node.tip.hex(), flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    node = Node(tmp_path / "node", TINY)
    node.settle(node.world.attested(AccountBatch, entries([1, 2])))
    node.close()
    return tmp_path / "node"


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize(
    "instant", ["state was taken", "half is written", "snapshot is there", "block is in the journal"]
)
def test_a_killed_node_opens_with_what_was_final_and_goes_on(folder, instant, skip):
    skip = skip if instant != "block is in the journal" else 17 + skip
    height, tip = run_until_killed(WRITER, folder, instant, skip)

    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    for derived in ("snapshots", "segments"):
        shutil.rmtree(copy / derived)
    node, plain = Node(folder, TINY), Node(copy, Keeping(snapshot_every=1 << 40))
    try:
        assert node.application.height == plain.application.height >= int(height)
        assert node.application._headers[int(height) - 1].hash.hex() == tip
        for each in (node, plain):
            each.settle(each.world.attested(TransferBatch, transfers((9_000_000, 2, 1, 3))))
        assert (node.tip, node.state_root) == (plain.tip, plain.state_root)
    finally:
        node.close()
        plain.close()
