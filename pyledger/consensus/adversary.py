"""The faulty validators of the simulator: they see all that is sent, share what they know, and break every rule.

They can't forge a signature. They may vote for everything, propose several blocks in a round on any certificate they
have seen or put together, sign two bodies behind one header, leave honest nodes out, hold certificates back and show
them late, report old certificates when they give up, choose which timeouts go into a certificate, lie about the
state, and repeat old messages. Some also impersonate: votes in the names of others, with signatures that are none,
and other bytes behind headers that are certified or proposed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Final

import msgspec

from pyledger.consensus.application import Draft, Signing
from pyledger.consensus.certificates import Epoch, bitmap_of, combine_timeouts
from pyledger.consensus.messages import (
    Certificate,
    Message,
    Proposal,
    ProposalStatement,
    Status,
    SyncEntry,
    SyncResponse,
    Timeout,
    TimeoutCertificate,
    TimeoutStatement,
    Vote,
    VoteStatement,
    statement_of,
)
from pyledger.consensus.stand_ins import CHAIN_ID, Shared

__all__ = ["Adversary"]

_REMEMBERED = 12


class Adversary:
    """All faulty validators together.

    Parameters
    ----------
    rng : random.Random
    shared : Shared
    signings : dict
        Address of each faulty validator with its key.
    send : callable
        `send(from address, to address, message)`.
    addresses : list of bytes
        Everybody honest.
    impersonates : bool
        Whether they send what needs no key at all.
    """

    def __init__(
        self,
        rng: random.Random,
        shared: Shared,
        signings: dict[bytes, Signing],
        send: Callable[[bytes, bytes, Message], None],
        addresses: list[bytes],
        impersonates: bool,
    ) -> None:
        self._rng: Final = rng
        self._shared = shared
        self._signings = signings
        self._send = send
        self._honest = addresses
        self._impersonates: Final = impersonates
        self._votes: dict[VoteStatement, dict[int, bytes]] = {}
        self._certificates: list[Certificate] = []
        self._timeouts: dict[tuple[int, int], dict[int, Timeout]] = {}
        self._log: list[Message] = []
        self._proposed: dict[int, int] = {}
        self._eagerness: Final = rng.choice((0.2, 0.5, 0.9))
        self._forgery: Final = rng.choice((0.0, 0.0, 0.1, 0.3))
        middle = rng.randrange(1, len(addresses)) if len(addresses) > 1 and rng.random() < 0.5 else 0
        shuffled = rng.sample(addresses, len(addresses))
        self._camps: Final = [shuffled[:middle], shuffled[middle:]] if middle else []
        self._tips: dict[bytes, int] = {}

    # seeing ----------------------------------------------------------------------------------------------------------

    def observe(self, epoch: Epoch, message: Message) -> None:
        """See a message that an honest node of this epoch sends to anybody."""
        if isinstance(message, Vote):
            self._see_vote(epoch, message)
        elif isinstance(message, Timeout):
            statement = message.statement
            self._timeouts.setdefault((statement.epoch, statement.round), {})[message.validator] = message
            self._see_certificate(message.high)
        elif isinstance(message, Proposal):
            self._see_certificate(message.parent)
        if len(self._log) < 200:
            self._log.append(message)

    def _see_certificate(self, certificate: Certificate) -> None:
        known = self._certificates
        if certificate not in known[-_REMEMBERED:]:
            known.append(certificate)

    def _see_vote(self, epoch: Epoch, vote: Vote) -> None:
        """Add the faulty votes to the honest ones as soon as that makes a quorum."""
        statement = vote.statement
        if statement.validators_hash != epoch.hash:
            return
        voters = self._votes.setdefault(statement, {})
        if vote.validator in voters:
            return
        voters[vote.validator] = vote.signature
        for index, key in enumerate(epoch.addresses):
            if key in self._signings:
                voters[index] = self._signings[key].sign(statement)
        if epoch.weight_of(voters) >= epoch.quorum:
            signing = next(iter(self._signings.values()))
            total, _ = signing.aggregate(epoch.validators, statement, voters)
            certificate = Certificate(statement, bitmap_of(epoch, voters), total)
            self._see_certificate(certificate)
            self._show(epoch, certificate)

    def _show(self, epoch: Epoch, certificate: Certificate) -> None:
        """Show a certificate to the camp whose branch it is on."""
        camp = self._tips.get(certificate.statement.block_hash)
        sender = next((key for key in epoch.addresses if key in self._signings), None)
        if camp is not None and sender is not None:
            for to in self._camps[camp]:
                self._send(sender, to, Status(certificate, None))

    # acting ----------------------------------------------------------------------------------------------------------

    def act(self, address: bytes, epoch: Epoch, message: Message) -> None:
        """Do something now that `message` has reached the faulty validator at `address`."""
        if address not in epoch.addresses or self._rng.random() > self._eagerness:
            return
        own = epoch.addresses.index(address)
        if isinstance(message, Proposal):
            header = self._shared.headers[message.block]
            self._vote(own, address, epoch, header.hash)
            self._propose(own, address, epoch, header.round + 1)
        elif isinstance(message, Timeout):
            self._give_up(own, address, epoch, message.statement.round)
            self._propose(own, address, epoch, message.statement.round + 1)
        elif isinstance(message, Vote):
            self._propose(own, address, epoch, message.statement.round + 1)
        if self._rng.random() < 0.1:
            self._repeat(address)
        if self._impersonates:
            self._impersonate(address, epoch, message)

    def _some(self) -> list[bytes]:
        """Some of the honest nodes."""
        rng, honest = self._rng, self._honest
        return honest if rng.random() < 0.3 else rng.sample(honest, rng.randrange(1, len(honest) + 1))

    def _vote(self, own: int, address: bytes, epoch: Epoch, block_hash: bytes) -> None:
        header = self._shared.headers[block_hash]
        statement = statement_of(header)
        if self._rng.random() >= 0.8:
            statement = msgspec.structs.replace(statement, state_root=bytes(32))
        vote = Vote(statement, own, self._signings[address].sign(statement))
        for to in self._some() if self._rng.random() < 0.3 else (epoch.addresses[epoch.leader(header.round + 1)],):
            self._send(address, to, vote)

    def _give_up(self, own: int, address: bytes, epoch: Epoch, round: int) -> None:
        timeout = self._make_timeout(own, address, epoch, round + self._rng.choice((0, 0, 0, 1)))
        for to in self._some():
            self._send(address, to, timeout)

    def _make_timeout(self, own: int, address: bytes, epoch: Epoch, round: int) -> Timeout:
        """A timeout that reports an old certificate, mostly."""
        usable = [each for each in self._usable(epoch) if each.statement.round < round]
        high = epoch.start if not usable or self._rng.random() < 0.6 else self._rng.choice(usable)
        statement = TimeoutStatement(CHAIN_ID, epoch.number, round, high.statement.round, epoch.hash)
        return Timeout(statement, high, own, self._signings[address].sign(statement))

    def _usable(self, epoch: Epoch) -> list[Certificate]:
        recent = self._certificates[-_REMEMBERED:]
        return [each for each in recent if each.statement.epoch == epoch.number]

    def _propose(self, own: int, address: bytes, epoch: Epoch, round: int) -> None:
        """Up to three blocks in one round, each shown to some."""
        if epoch.leader(round) != own or round < self._proposed.get(epoch.number, 0) or self._rng.random() < 0.2:
            return
        self._proposed[epoch.number] = round
        failed = self._failed_round(own, address, epoch, round - 1)
        if self._camps:
            for camp, members in enumerate(self._camps):
                parent = self._branch_of(camp, epoch, round) or self._choose_parent(epoch, round, failed)
                self._send_proposal(own, address, epoch, round, parent, failed, members, camp)
            return
        for _ in range(self._rng.choice((1, 2, 2, 3))):
            parent = self._choose_parent(epoch, round, failed)
            self._send_proposal(own, address, epoch, round, parent, failed, self._some(), None)

    def _branch_of(self, camp: int, epoch: Epoch, round: int) -> Certificate | None:
        """The newest certificate on a camp's branch."""
        own = [
            each
            for each in self._usable(epoch)
            if each.statement.round < round and self._tips.get(each.statement.block_hash) == camp
        ]
        return max(own, key=lambda each: each.statement.round) if own else None

    def _forged(self, epoch: Epoch, block_hash: bytes) -> Certificate:
        """A certificate that claims signatures which were not given, or is not by a quorum."""
        statement = statement_of(self._shared.headers[block_hash])
        signers = [index for index, key in enumerate(epoch.addresses) if key in self._signings]
        signatures = {index: self._signings[epoch.addresses[index]].sign(statement) for index in signers}
        claimed = list(range(epoch.size)) if self._rng.random() < 0.5 else signers
        total, _ = next(iter(self._signings.values())).aggregate(epoch.validators, statement, signatures)
        return Certificate(statement, bitmap_of(epoch, claimed), total)

    def _failed_round(self, own: int, address: bytes, epoch: Epoch, round: int) -> TimeoutCertificate | None:
        """A timeout certificate of those timeouts that report the oldest certificates."""
        seen = self._timeouts.get((epoch.number, round), {})
        if not seen:
            return None
        chosen = {**seen, own: self._make_timeout(own, address, epoch, round)}
        ordered = sorted(chosen.values(), key=lambda each: (each.statement.high_round, each.validator))
        if self._rng.random() < 0.3:
            self._rng.shuffle(ordered)
        for count in range(1, len(ordered) + 1):
            if epoch.weight_of([each.validator for each in ordered[:count]]) >= epoch.quorum:
                return combine_timeouts(epoch, self._signings[address], ordered[:count])
        return None

    def _choose_parent(self, epoch: Epoch, round: int, failed: TimeoutCertificate | None) -> Certificate:
        """Mostly one that the rules allow."""
        rng = self._rng
        below = [each for each in (epoch.start, *self._usable(epoch)) if each.statement.round < round]
        if rng.random() < 0.15:
            return rng.choice(below)
        least = round - 1 if failed is None else failed.high.statement.round
        allowed = [each for each in below if each.statement.round >= least]
        return rng.choice(allowed or below)

    def _send_proposal(
        self,
        own: int,
        address: bytes,
        epoch: Epoch,
        round: int,
        parent: Certificate,
        failed: TimeoutCertificate | None,
        receivers: list[bytes],
        camp: int | None,
    ) -> None:
        proposal = self._make_proposal(own, address, epoch, round, parent, failed)
        if camp is not None:
            self._tips[proposal.block] = camp
        other = self._sign_proposal(own, address, epoch, round, proposal.block + b"wrong", parent, failed)
        two_bodies = self._forgery > 0 and round % 3 == 0
        for place, to in enumerate(receivers):
            self._send(address, to, other if two_bodies and place % 2 else proposal)
        if self._rng.random() < self._forgery:
            forged = self._forged(epoch, proposal.block)
            self._certificates.append(forged)
            for to in receivers:
                self._send(address, to, Status(forged, None))

    def _make_proposal(
        self,
        own: int,
        address: bytes,
        epoch: Epoch,
        round: int,
        parent: Certificate,
        failed: TimeoutCertificate | None,
    ) -> Proposal:
        below = parent.statement
        header = self._shared.headers.get(below.block_hash)
        changes = header is not None and below.round > 0 and header.next_validators_hash != header.validators_hash
        closing = changes and self._rng.random() < 0.9
        time_ns = (header.time_ns if header is not None else 0) + self._rng.choice((0, 1, 1, 1000, 10**9))
        draft = Draft(epoch.number, below.height + 1, round, time_ns, below.block_hash, epoch.hash, closing)
        payload = 0 if closing and self._rng.random() < 0.9 else self._rng.choice((-1, *range(1, 12)))
        made = self._shared.make_block(draft, payload, below.state_root, lies=self._rng.random() < 0.1)
        return self._sign_proposal(own, address, epoch, round, made.hash, parent, failed)

    def _sign_proposal(
        self,
        own: int,
        address: bytes,
        epoch: Epoch,
        round: int,
        content: bytes,
        parent: Certificate,
        failed: TimeoutCertificate | None,
    ) -> Proposal:
        """A proposal of these bytes, right ones or not; they begin with the block's hash."""
        block_hash, content_hash = content[:32], hashlib.sha256(content).digest()
        statement = ProposalStatement(CHAIN_ID, epoch.number, round, epoch.hash, block_hash, content_hash)
        return Proposal(content, parent, failed, own, self._signings[address].sign(statement))

    def _impersonate(self, address: bytes, epoch: Epoch, message: Message) -> None:
        """What needs no key: garbage for everybody else's vote, now or a round ahead, and wrong bodies."""
        rng = self._rng
        if isinstance(message, Proposal):
            statement = statement_of(self._shared.headers[message.block])
            later = msgspec.structs.replace(statement, round=statement.round + 1)
            for to in self._honest:
                for validator in range(epoch.size):
                    self._send(address, to, Vote(rng.choice((statement, later)), validator, b"garbage"))
                self._send(address, to, msgspec.structs.replace(message, block=message.block + b"wrong"))
        usable = self._usable(epoch)
        if usable and rng.random() < 0.3:
            count = rng.randrange(1, len(usable) + 1)
            chosen = sorted(usable[-count:], key=lambda each: each.statement.height)
            entries = [SyncEntry(each.statement.block_hash + b"wrong", each) for each in chosen]
            for to in self._some():
                self._send(address, to, SyncResponse(tuple(entries)))

    def _repeat(self, address: bytes) -> None:
        """An old message, or a certificate held back."""
        rng = self._rng
        for to in self._some():
            if rng.random() < 0.5 and self._certificates:
                self._send(address, to, Status(rng.choice(self._certificates[-_REMEMBERED:]), None))
            elif self._log:
                self._send(address, to, rng.choice(self._log))
