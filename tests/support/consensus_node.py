"""One node under test among four validators, whose keys the test holds: feeds it messages, records what it does."""

import hashlib

from pyledger.consensus.application import Draft, VoteRecord
from pyledger.consensus.certificates import Epoch, bitmap_of, combine_timeouts
from pyledger.consensus.driver import Driver
from pyledger.consensus.events import Received, Start, TimerFired
from pyledger.consensus.messages import (
    Certificate,
    Proposal,
    ProposalStatement,
    Timeout,
    TimeoutStatement,
    Vote,
    VoteStatement,
)
from pyledger.consensus.stand_ins import CHAIN_ID, GENESIS, Disk, LightApplication, LightParts, Shared, sum_of
from pyledger.consensus.state import Anchor, Parameters, recover

NOW = 1_000_000


class Enough(Exception):
    """The node has made as many blocks as the test wants."""


class Node:
    """Validator 0 of four (or an observer); leads rounds 4, 8, ... Its driver stands on this object."""

    blocks_max = 1000

    def __init__(self, own=0, disk=None, shared=None, weights=(1, 1, 1, 1), last_heights=(), include_rounds=4):
        self.parts = LightParts() if shared is None else shared.parts
        sets = [self.parts.validators(number, range(len(weights)), weights) for number in range(3)]
        self.shared = shared or Shared(sets, last_heights)
        self.shared.parts = self.parts
        self.disk = disk or Disk()
        self.sets = sets
        self.parameters = Parameters(rounds_per_leader=1, skew_ns=1000, include_rounds=include_rounds)
        self.application = LightApplication(self.shared, self.disk)
        self.process, self.discard = self.application.process, self.application.discard
        self.read_header, self.validators = self.application.read_header, self.application.validators
        self.admit, self.batch = self.application.admit, self.application.batch
        self.sent, self.evidence, self.timers, self.log = [], [], [], []
        anchor = Anchor(0, 0, GENESIS, bytes(32), 0, sets[0])
        self.state = recover(
            CHAIN_ID,
            self.application,
            self.parts.signing(own),
            self.parameters,
            anchor,
            self.disk.finals[-1] if self.disk.finals else None,
            None if own is None else self.disk.record,
            self.disk.blocks,
        )
        self.driver = Driver(self.state, self, self, self, self, self)
        self.driver.feed(Start(NOW))

    # what its driver stands on

    def now_ns(self):
        return NOW

    def prepare(self, draft, due):
        if len(self.shared.headers) == self.blocks_max:
            raise Enough
        return self.application.prepare(draft, due)

    def set_timer(self, epoch, round, delay_ns):
        self.timers.append((epoch, round, delay_ns))

    def report(self, evidence):
        self.evidence.append(evidence)

    def epoch_began(self, epoch, validators_hash):
        self.log.append(("epoch", epoch))

    def save(self, record):
        self.log.append(("save", record))
        self.disk.unsynced_record = record
        self.disk.sync()

    def put(self, block, parent):
        self.log.append(("put", block))
        self.disk.unsynced_blocks.append((block, parent))

    def finalise(self, entries, tail):
        self.log += [("final", self.shared.headers[entry.block].height) for entry in entries]
        return self.application.finalise(entries, tail)

    def entries(self, from_height):
        found = self.disk.finals[from_height - 1 :]
        return found, not self.disk.tails

    def send(self, address, message):
        self.log.append(("send", type(message)))
        self.sent.append((address, message))

    def broadcast(self, message):
        self.send(None, message)

    # what a test does with it

    @property
    def epoch(self) -> Epoch:
        return self.state.epoch

    @property
    def record(self) -> VoteRecord:
        return self.disk.record

    def receive(self, message, sender=1):
        """Take a message; give what was sent in answer."""
        before = len(self.sent)
        self.driver.feed(Received(NOW, self.parts.address(sender), message))
        return [each for _, each in self.sent[before:]]

    def time_out(self, round=None):
        """Let the round's timer run out; give the timeouts sent."""
        before = len(self.sent)
        self.driver.feed(TimerFired(NOW, self.epoch.number, self.state.round if round is None else round))
        return [each for _, each in self.sent[before:] if isinstance(each, Timeout)]

    def votes(self):
        """Rounds in which it has sent a vote."""
        return [each.statement.round for _, each in self.sent if isinstance(each, Vote)]

    def proposals(self):
        return [each for _, each in self.sent if isinstance(each, Proposal)]

    def finals(self):
        return [height for what, height in self.log if what == "final"]

    # what the others say

    @property
    def start(self) -> Certificate:
        return self.epoch.start

    def block(self, round, parent=None, payload=None, time_ns=None, batches=(), lies=False, closing=False, **draft):
        """A block on top of a certificate."""
        below = (parent or self.start).statement
        header = self.shared.headers.get(below.block_hash)
        plain = {
            "epoch": self.epoch.number,
            "height": below.height + 1,
            "round": round,
            "time_ns": (header.time_ns + 1 if header else 1) if time_ns is None else time_ns,
            "parent": below.block_hash,
            "validators_hash": self.epoch.hash,
            "closing": closing,
        }
        payload = (0 if closing else round) if payload is None else payload
        return self.shared.make_block(Draft(**{**plain, **draft}), payload, below.state_root, batches, lies)

    def statement(self, block, **changed):
        fields = {
            "chain_id": block.chain_id,
            "epoch": block.epoch,
            "round": block.round,
            "height": block.height,
            "validators_hash": block.validators_hash,
            "parent": block.parent,
            "block_hash": block.hash,
            "state_root": block.state_root,
        }
        return VoteStatement(**{**fields, **changed})

    def vote(self, validator, block, **changed):
        statement = self.statement(block, **changed)
        return Vote(statement, validator, self.parts.signing(validator).sign(statement))

    def certificate(self, block, signers=(1, 2, 3), **changed):
        for validator in signers:
            self.vote(validator, block, **changed)
        return Certificate(self.statement(block, **changed), bitmap_of(self.epoch, signers), sum_of(signers))

    def proposal(self, block, parent=None, timeout=None, by=None, signed_by=None, content=None):
        by = self.epoch.leader(block.round) if by is None else by
        content = content or block.hash
        content_hash = hashlib.sha256(content).digest()
        statement = ProposalStatement(
            CHAIN_ID, block.epoch, block.round, block.validators_hash, block.hash, content_hash
        )
        signature = self.parts.signing(by if signed_by is None else signed_by).sign(statement)
        return Proposal(content, parent or self.start, timeout, by, signature)

    def propose(self, round, parent=None, timeout=None, **block):
        """Have a proposal made and received; give its block and what was sent in answer."""
        made = self.block(round, parent, **block)
        return made, self.receive(self.proposal(made, parent, timeout), sender=round % 4)

    def timeout(self, validator, round, high=None, **changed):
        high = high or self.start
        fields = {
            "chain_id": CHAIN_ID,
            "epoch": self.epoch.number,
            "round": round,
            "high_round": high.statement.round,
            "validators_hash": self.epoch.hash,
        }
        statement = TimeoutStatement(**{**fields, **changed})
        return Timeout(statement, high, validator, self.parts.signing(validator).sign(statement))

    def timeout_certificate(self, round, highs=None, signers=(1, 2, 3)):
        """`highs`: the certificate each signer reports; the start by default."""
        timeouts = [self.timeout(validator, round, (highs or {}).get(validator)) for validator in signers]
        return combine_timeouts(self.epoch, self.parts.signing(None), timeouts)

    def certified_chain(self, *rounds):
        """Propose and certify blocks in these rounds, each on the one before; rounds between have failed."""
        certificate, blocks = None, []
        for round in rounds:
            before = 0 if certificate is None else certificate.statement.round
            failed = None
            if before + 1 < round:
                failed = self.timeout_certificate(round - 1, dict.fromkeys((1, 2, 3), certificate or self.start))
            block, _ = self.propose(round, certificate, failed)
            certificate = self.certificate(block)
            blocks.append(block)
        return blocks, certificate
