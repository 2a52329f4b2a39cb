"""The interfaces that consensus stands on: what executes blocks, signs, stores and carries bytes.

The protocol itself (`protocol.step`) does none of that. `driver.Driver` runs it against these interfaces; a node gives
the real ones, the simulator light stand-ins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pyledger.consensus.messages import Certificate, Message, Statement, SyncEntry, Timeout

__all__ = [
    "Application",
    "BlockStore",
    "Draft",
    "Header",
    "RecordStore",
    "Signing",
    "Transport",
    "Validators",
    "Verdict",
    "VoteRecord",
]


class Header(Protocol):
    """What consensus reads of a block's header; `pyledger.ledger.blocks.Header` is one."""

    @property
    def chain_id(self) -> bytes:
        """16 bytes."""
        ...

    @property
    def epoch(self) -> int:
        """Counts validator sets from 0."""
        ...

    @property
    def height(self) -> int:
        """Counts blocks from 1."""
        ...

    @property
    def round(self) -> int:
        """Round in which it was proposed."""
        ...

    @property
    def time_ns(self) -> int:
        """Block time."""
        ...

    @property
    def parent(self) -> bytes:
        """Hash of the block before."""
        ...

    @property
    def validators_hash(self) -> bytes:
        """Who votes on this block."""
        ...

    @property
    def next_validators_hash(self) -> bytes:
        """Who votes on the next; 32 zero bytes in a closing block."""
        ...

    @property
    def state_root(self) -> bytes:
        """Root of the state after it."""
        ...

    @property
    def hash(self) -> bytes:
        """Hash of the header."""
        ...


class Validators(Protocol):
    """A validator set; `pyledger.crypto.bls.ValidatorSet` is one. A public key is also its holder's address."""

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """Keys, in order."""
        ...

    @property
    def weights(self) -> tuple[int, ...]:
        """Voting weights, in order."""
        ...

    @property
    def hash(self) -> bytes:
        """Hash of the set, 32 bytes."""
        ...


class Draft(msgspec.Struct, frozen=True):
    """What the header of a block to be proposed must say.

    With `closing`, the block ends an epoch whose last block is already chosen: nothing may take effect in it, and its
    next validators hash is 32 zero bytes.
    """

    epoch: int
    height: int
    round: int
    time_ns: int
    parent: bytes
    validators_hash: bytes
    closing: bool


class Verdict(msgspec.Struct, frozen=True):
    """What came of executing a block.

    Parameters
    ----------
    state_root : bytes or None
        Root of the state after it, as computed here; None if the block is not valid. One that is not the header's says
        that the content is the one that the header commits to, and yet leads to another state.
    omitted : bool
        A batch that was due is neither in this block or its ancestors, nor refused by the state after it, though the
        block had room.
    """

    state_root: bytes | None
    omitted: bool = False


class Application(Protocol):
    """Executes blocks. Blocks are bytes; consensus reads their headers only.

    Several blocks may stand on one parent until one of them is final. `process` is called for a block only after its
    parent was processed or is final. A block that was processed is later either final or discarded. At most a few
    blocks are undecided at a time, so an application with a single state may execute the branch again that turns out
    to be needed.
    """

    def read_header(self, block: bytes) -> Header:
        """Decode the header; InputError if the bytes are no block. A pure function."""
        ...

    def validators(self, validators_hash: bytes) -> Validators:
        """Give the set of this hash, which a block that was processed named as the next."""
        ...

    def prepare(self, draft: Draft, due: Sequence[bytes]) -> bytes:
        """Make a block on top of `draft.parent` and process it.

        `due` are digests of batches that must be included if they can take effect, oldest first.
        """
        ...

    def process(self, block: bytes, due: Sequence[bytes]) -> Verdict:
        """Execute a block on top of its parent, without making it final. Never reads a clock."""
        ...

    def discard(self, block_hash: bytes) -> None:
        """Forget a processed block that will never be final."""
        ...

    def finalise(self, entries: Sequence[SyncEntry], tail: Sequence[SyncEntry]) -> Sequence[bytes]:
        """Make processed blocks final, durably; parents first.

        Gives the digests of admitted batches that are settled by these blocks: in them, or never to take effect.

        `tail` are the certified blocks above the last one that show that it is final. Where the last one ends an
        epoch, the tail must be kept as long as the block, since later blocks don't stand on it.
        """
        ...

    def admit(self, content: bytes) -> bytes | None:
        """Take a submitted batch and keep it, durably; give its digest (32 bytes), or None if it is refused.

        A batch that is settled is refused.
        """
        ...

    def batch(self, digest: bytes) -> bytes | None:
        """Give a batch that was admitted and is not settled."""
        ...


class VoteRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a validator must remember to be safe. Rounds are those of `epoch`; 0 for none.

    Parameters
    ----------
    epoch : int
    voted, timed_out, proposed : int
        Highest round in which it voted, gave up, proposed.
    block_hash : bytes
        What it voted for in round `voted`; empty if it has not voted in this epoch.
    lock : Certificate or None
        Highest certificate that it voted on top of, or reported when it gave up.
    """

    epoch: int = 0
    voted: int = 0
    timed_out: int = 0
    proposed: int = 0
    block_hash: bytes = b""
    lock: Certificate | None = None


class RecordStore(Protocol):
    """Keeps the vote record."""

    def load(self) -> VoteRecord:
        """Give the record last saved."""
        ...

    def save(self, record: VoteRecord) -> None:
        """Make the record durable before returning."""
        ...


class BlockStore(Protocol):
    """Keeps blocks that are not final yet, and gives final ones to peers that ask."""

    def put(self, block: bytes, parent: Certificate) -> None:
        """Make a block, and the certificate that it stands on, durable before returning."""
        ...

    def entries(self, from_height: int) -> tuple[Sequence[SyncEntry], bool]:
        """Final blocks from a height on, in order, with their certificates, a limited number at a time.

        After a block that ends an epoch comes the tail that `Application.finalise` was given with it, and nothing
        else. The flag says whether the entries reach the last final block, and it ends no epoch.
        """
        ...


class Transport(Protocol):
    """Carries messages; may lose, repeat, delay and reorder them, and is not trusted with anything."""

    def send(self, address: bytes, message: Message) -> None:
        """Send to one peer."""
        ...

    def broadcast(self, message: Message) -> None:
        """Send to every other validator and observer."""
        ...


class Signing(Protocol):
    """Makes and checks signatures. Quorums are counted by the caller (`certificates.py`)."""

    @property
    def public_key(self) -> bytes | None:
        """Key of this validator; None for an observer."""
        ...

    def sign(self, statement: Statement) -> bytes:
        """Sign as this validator."""
        ...

    def is_signed(self, validators: Validators, validator: int, statement: Statement, signature: bytes) -> bool:
        """Check one signature."""
        ...

    def aggregate(
        self, validators: Validators, statement: Statement, signatures: dict[int, bytes]
    ) -> tuple[bytes, tuple[int, ...]]:
        """Add up signatures on one statement; give the sum of the right ones, and whose were wrong."""
        ...

    def aggregate_timeouts(self, timeouts: Sequence[Timeout]) -> bytes:
        """Add up the signatures of timeouts, each of which was checked."""
        ...

    def are_signed_by_all(self, validators: Validators, certificates: Sequence[tuple[Statement, bytes, bytes]]) -> bool:
        """Check (statement, bitmap of signers, sum of signatures), all together."""
        ...

    def are_timeouts_signed(
        self, validators: Validators, statements: Sequence[tuple[int, Statement]], signature: bytes
    ) -> bool:
        """Check the sum of one signature by each validator on a statement of its own."""
        ...
