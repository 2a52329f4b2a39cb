"""What must hold in every simulated schedule, checked from outside the nodes after each thing they do."""

from __future__ import annotations

from collections.abc import Sequence

from pyledger.consensus.application import Signing, VoteRecord
from pyledger.consensus.certificates import Epoch
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import Message, SyncEntry, Timeout, Vote
from pyledger.consensus.stand_ins import CHAIN_ID, GENESIS, LightApplication, Shared, root_after

__all__ = ["Monitor", "Violation"]


class Violation(Exception):
    """An invariant does not hold."""


class Monitor:
    """Sees what honest nodes send and make final, over all their lives.

    - One final block per height; final blocks form a chain; nothing final is lost.
    - One vote per epoch and round; never below one given before, nor in a round given up; durable before it is sent.
    - No vote and no timeout goes behind a certificate that its node voted on top of.
    - What is voted for and made final has the state root that executing the chain gives.
    - Evidence is never against an honest node.
    """

    def __init__(self, shared: Shared, checker: Signing) -> None:
        self._headers = shared.headers
        self._checker = checker
        self._finals: list[bytes] = []
        self._roots = {GENESIS: bytes(32)}
        self._heights: dict[int, int] = {}
        self._votes: dict[tuple[int, int, int], bytes] = {}
        self._last: dict[tuple[int, int], int] = {}
        self._given_up: dict[tuple[int, int], int] = {}
        self._locks: dict[tuple[int, int], int] = {}
        self.honest: set[bytes] = set()

    def true_root(self, block_hash: bytes) -> bytes:
        """State root after a block, computed from its payloads alone."""
        root = self._roots.get(block_hash)
        if root is None:
            header = self._headers[block_hash]
            root = self._roots[block_hash] = root_after(self.true_root(header.parent), header.payload, header.batches)
        return root

    def on_final(self, node: int, application: LightApplication, entries: Sequence[SyncEntry]) -> None:
        """A node makes blocks final."""
        for entry in entries:
            header = self._headers[entry.block]
            below = self._finals[header.height - 2] if header.height > 1 else GENESIS
            if header.parent != below or header.height > len(self._finals) + 1:
                raise Violation(f"height {header.height} final at node {node} does not stand on what is final below")
            if header.height == len(self._finals) + 1:
                self._finals.append(header.hash)
            elif self._finals[header.height - 1] != header.hash:
                raise Violation(f"two final blocks at height {header.height}")
            if self._heights.get(node, 0) + 1 < header.height:
                raise Violation(f"node {node} leaves out height {header.height - 1}")
            self._heights[node] = max(self._heights.get(node, 0), header.height)
            if not application.root_of(header.hash) == header.state_root == self.true_root(header.hash):
                raise Violation(f"wrong state root is final at height {header.height}")

    def on_send(self, node: int, durable: VoteRecord, message: Message) -> None:
        """A node sends a message."""
        if isinstance(message, Vote):
            self._check_vote(node, durable, message)
        elif isinstance(message, Timeout):
            self._check_timeout(node, durable, message)

    def _check_vote(self, node: int, durable: VoteRecord, vote: Vote) -> None:
        statement = vote.statement
        place, round = (node, statement.epoch), statement.round
        known = self._votes.setdefault((node, statement.epoch, round), statement.block_hash)
        if known != statement.block_hash:
            raise Violation(f"node {node} votes twice in epoch {statement.epoch}, round {round}")
        if round < self._last.get(place, 0) or round <= self._given_up.get(place, 0):
            raise Violation(f"node {node} votes in round {round}, which it has left")
        if (durable.epoch, durable.voted) < (statement.epoch, round):
            raise Violation(f"node {node} votes in round {round}, and its disk does not know")
        if statement.state_root != self.true_root(statement.block_hash):
            raise Violation(f"node {node} votes for a wrong state root")
        self._last[place] = round
        support = self._support(statement.parent, statement.epoch)
        if support < self._locks.get(place, 0):
            raise Violation(f"node {node} votes behind its lock in round {round}")
        self._locks[place] = support

    def _support(self, parent: bytes, epoch: int) -> int:
        """Round of the certificate that a block on this parent carries."""
        header = self._headers.get(parent)
        return header.round if header is not None and header.epoch == epoch else 0

    def _check_timeout(self, node: int, durable: VoteRecord, timeout: Timeout) -> None:
        statement = timeout.statement
        place = (node, statement.epoch)
        if statement.high_round < self._locks.get(place, 0):
            raise Violation(f"node {node} reports a certificate below its lock in round {statement.round}")
        if (durable.epoch, durable.timed_out) < (statement.epoch, statement.round):
            raise Violation(f"node {node} gives up round {statement.round}, and its disk does not know")
        self._given_up[place] = max(self._given_up.get(place, 0), statement.round)

    def on_evidence(self, epoch: Epoch, evidence: Evidence) -> None:
        """A node found evidence."""
        key = epoch.addresses[evidence.validator]
        if key in self.honest:
            raise Violation(f"evidence against honest validator {evidence.validator}")
        evidence.verify(CHAIN_ID, epoch.validators, self._checker)
