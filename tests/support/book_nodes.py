"""A node's book without a network: batches go in, blocks are proposed and made final one by one."""

import time

from book_worlds import GENESIS, World, certified

from pyledger.consensus.application import Draft
from pyledger.ledger.validators import Roster
from pyledger.node.application import BookApplication
from pyledger.node.keeping import Keeping
from pyledger.node.submissions import encode_submission

VALIDATORS = Roster.of(GENESIS).keys


class Node:
    """A node's application and what consensus would ask of it."""

    def __init__(self, folder, keeping=None, bytes_max=1 << 24):
        self.folder = folder
        self.application = BookApplication(folder, GENESIS, bytes_max, keeping or Keeping())

    @property
    def world(self):
        """Makes batches under the sequences that are next here."""
        world = World()
        world.book = self.application.branches.book
        return world

    def submit(self, *batches):
        for batch in batches:
            self.application.submit(encode_submission(batch))

    def propose(self, parent, round):
        """A block on the parent, which is the last final one or undecided."""
        found = self.application.branches.find(parent)  # not by the book, which the keeper's thread may be moving
        height = (self.application.height if found is None else found.header.height) + 1
        time_ns = GENESIS.time_ns + round * 10**9
        return self.application.prepare(Draft(0, height, round, time_ns, parent, VALIDATORS.hash, False), ())

    @property
    def tip(self):
        return self.application.branches.final_tip

    def hash(self, block):
        return self.application.read_header(block).hash

    def settle(self, *batches):
        """Hand in batches and make a final block of them."""
        self.submit(*batches)
        self.finalise(self.propose(self.tip, self.application.height + 1))

    def finalise(self, *blocks):
        self.application.finalise([certified(block) for block in blocks], [])

    @property
    def state_root(self):
        return self.application.header(self.application.height).state_root

    @property
    def snapshots(self):
        return sorted(int(file.name.split(".")[0]) for file in (self.folder / "snapshots").glob("*.snapshot"))

    def wait_for_snapshot(self, above=0):
        deadline = time.monotonic() + 30
        while not any(height > above for height in self.snapshots):
            assert time.monotonic() < deadline, f"no snapshot above {above}: {self.snapshots}"
            time.sleep(0.005)

    def close(self):
        self.application.close()
