"""Who votes on which block of a node's branches, and the blocks that close an epoch (docs/consensus.md, epochs).

The book says who votes at a height; consensus asks by the hash that a header names. Closing blocks are no part of the
chain: they are kept here until the last block of their epoch is final, and then stand behind it in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyledger.consensus.application import Draft, Verdict
from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.light_client import Segment
from pyledger.consensus.messages import Certificate, SyncEntry
from pyledger.consensus.signing import certificate_bytes
from pyledger.consensus.state import Anchor
from pyledger.crypto import bls
from pyledger.errors import InputError, StateError
from pyledger.ledger.blocks import Block, Header
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.validators import Roster
from pyledger.node.branches import Branches
from pyledger.node.certified import closing_block, ends_epoch

__all__ = ["Epochs"]


class Epochs:
    """The validator sets of a node's branches.

    Parameters
    ----------
    genesis : Genesis
    genesis_root : bytes
        State root before the first block.
    branches : Branches
    headers : iterable of Header
        Of the final blocks.

    Attributes
    ----------
    rosters : dict of bytes to Roster
        Sets that were, are or will be in office on some branch, by their hashes.
    """

    def __init__(self, genesis: Genesis, genesis_root: bytes, branches: Branches, headers: Iterable[Header]) -> None:
        self._genesis, self._genesis_root, self._branches = genesis, genesis_root, branches
        self.rosters = {(roster := Roster.of(genesis)).hash: roster}
        self._closing: dict[bytes, Block] = {}
        self._last: Header | None = None
        for header in headers:
            self.note_final(header)
        self._learn(branches.final_height + 1)

    @property
    def ahead(self) -> list[Roster]:
        """The validators that vote on the next block, then those who take over, if that is known to the book."""
        book = self._branches.book
        office = book.authority.office.at(book.height + 1)
        return [office.roster, *([office.successor] if office.successor else [])]

    @property
    def names(self) -> set[str]:
        """Names of these validators."""
        return {name for roster in self.ahead for name in roster.names.values()}

    @property
    def anchor(self) -> Anchor:
        """What the epoch in office is built on: the genesis, or the last final block that ended an epoch."""
        last, genesis = self._last, self._genesis
        if last is None:
            validators = Roster.of(genesis).keys
            return Anchor(0, 0, genesis.hash, self._genesis_root, genesis.time_ns, validators)
        validators = self.validators(last.next_validators_hash)
        return Anchor(last.epoch + 1, last.height, last.hash, last.state_root, last.time_ns, validators)

    def validators(self, validators_hash: bytes) -> bls.ValidatorSet:
        """The set of this hash, which the genesis or a block that was executed names; StateError if none does."""
        if validators_hash not in self.rosters:
            raise StateError(f"validators {validators_hash.hex()[:16]}: no such set on this chain")
        return self.rosters[validators_hash].keys

    def note_executed(self, header: Header) -> None:
        """Remember the set that takes over behind a block, if one does; the book stands on that block."""
        if ends_epoch(header):
            self._learn(header.height + 1)

    def note_final(self, header: Header) -> None:
        """Take a block as final."""
        if ends_epoch(header):
            self._last = header

    def discard(self, block_hash: bytes) -> None:
        """Forget a closing block; any other is no matter."""
        self._closing.pop(block_hash, None)

    # Closing blocks --------------------------------------------------------------------------------------------------

    def is_closing(self, header: Header) -> bool:
        """Whether a block closes an epoch, or stands on one that does."""
        return header.next_validators_hash == ZERO_HASH or header.parent in self._closing

    def prepare_closing(self, draft: Draft) -> bytes:
        """Make a closing block."""
        parent = self._open_end(draft.parent)
        assert parent is not None
        return self._keep(self._closing_on(parent, draft.round, draft.time_ns))

    def process_closing(self, block: Block) -> Verdict:
        """Take another node's; InputError unless it is right.

        Closing blocks change nothing, so each is wholly given by its parent, round and time.
        """
        header, parent = block.header, self._open_end(block.header.parent)
        if parent is None or block.to_bytes() != self._closing_on(parent, header.round, header.time_ns).to_bytes():
            raise InputError(f"block {header.height}: not the closing block that stands on its parent")
        self._keep(block)
        return Verdict(header.state_root)

    def certificate(self, signed: Certificate) -> bytes:
        """A certificate as it stands in the journal."""
        size = self.validators(signed.statement.validators_hash).size
        return certificate_bytes(size, signed.statement, signed.signers, signed.signature)

    def segment(self, last: Header, tail: Sequence[SyncEntry]) -> Segment | None:
        """What shows a block that ends its epoch to be final: the closing blocks behind it. None for any other."""
        if not ends_epoch(last):
            return None
        entries = tuple((entry.block[: Header.SIZE], self.certificate(entry.certificate)) for entry in tail)
        return Segment(entries, self.validators(last.next_validators_hash).to_bytes())

    # Inside ----------------------------------------------------------------------------------------------------------

    def _learn(self, height: int) -> None:
        """Remember the set that votes at a height, as the book has it."""
        roster = self._branches.book.authority.office.at(height).roster
        self.rosters[roster.hash] = roster

    def _open_end(self, block_hash: bytes) -> Header | None:
        """Header of an undecided block that ends its epoch, or of a closing one; None for any other."""
        block = self._closing.get(block_hash) or self._branches.find(block_hash)
        return block.header if block is not None and ends_epoch(block.header) else None

    def _closing_on(self, parent: Header, round: int, time_ns: int) -> Block:
        history_root = parent.history_root
        if parent.next_validators_hash != ZERO_HASH:
            history_root = self._branches.book_on(parent.hash).history.root()
        return closing_block(parent, history_root, round, time_ns)

    def _keep(self, block: Block) -> bytes:
        self._closing[block.hash] = block
        return block.to_bytes()
