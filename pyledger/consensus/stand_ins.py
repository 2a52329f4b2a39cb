"""Light stand-ins for keys, application and disk, with which the simulator runs thousands of schedules a minute.

Signatures are ideal: a registry knows what was signed, and nothing else verifies. A block's content is a ticket into a
table of headers, behind which a right body has nothing and a wrong one anything; its state is a number that depends on
every block before it. Disks lose on a crash what was not synced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from pyledger.consensus.application import Draft, Signing, Validators, Verdict, VoteRecord
from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.messages import Certificate, Message, Statement, SyncEntry, Timeout, decode, encode
from pyledger.consensus.signing import BlsSigning
from pyledger.crypto import bls
from pyledger.errors import InputError

__all__ = [
    "CHAIN_ID",
    "GENESIS",
    "BlsParts",
    "Disk",
    "LightApplication",
    "LightHeader",
    "LightParts",
    "LightSigning",
    "LightValidators",
    "Shared",
    "root_after",
    "sum_of",
]

CHAIN_ID = b"simulated chain\0"
GENESIS = b"genesis".ljust(32, b"\0")
_TICKET_SIZE = 32


class LightHeader(msgspec.Struct, frozen=True, gc=False):
    """A header; `payload` stands for what the block does, -1 for something that may not be done."""

    chain_id: bytes
    epoch: int
    height: int
    round: int
    time_ns: int
    parent: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    state_root: bytes
    hash: bytes
    payload: int
    batches: tuple[bytes, ...] = ()


class LightValidators(msgspec.Struct, frozen=True):
    """A validator set without keys: an address of one byte each."""

    public_keys: tuple[bytes, ...]
    weights: tuple[int, ...]
    hash: bytes


class LightParts:
    """Keys and wire of a world without cryptography."""

    def __init__(self) -> None:
        self._signed: set[tuple[bytes, Statement]] = set()

    def address(self, index: int) -> bytes:
        """Address of a node."""
        return bytes([index])

    def signing(self, index: int | None) -> Signing:
        """Key of a node; None for who only checks."""
        return LightSigning(self._signed, None if index is None else self.address(index))

    def validators(self, number: int, members: Sequence[int], weights: Sequence[int]) -> Validators:
        """A validator set; each number gives another one."""
        addresses = tuple([self.address(index) for index in members])
        return LightValidators(addresses, tuple(weights), (b"validators %d" % number).ljust(32, b"\0"))

    def carry(self, message: Message) -> Message:
        """What arrives of a message."""
        return message


class BlsParts:
    """Real keys, and messages as bytes: a few hundred times slower."""

    def __init__(self) -> None:
        self._keys: dict[int, bls.SecretKey] = {}

    def _key(self, index: int) -> bls.SecretKey:
        if index not in self._keys:
            self._keys[index] = bls.SecretKey.from_seed((b"simulated validator %d" % index).ljust(32, b"\0"))
        return self._keys[index]

    def address(self, index: int) -> bytes:
        """Address of a node."""
        return self._key(index).public_key

    def signing(self, index: int | None) -> Signing:
        """Key of a node; None for who only checks."""
        return BlsSigning(None if index is None else self._key(index), threads=1)

    def validators(self, number: int, members: Sequence[int], weights: Sequence[int]) -> Validators:
        """A validator set; `number` makes sets of the same members differ."""
        keys = [self._key(index) for index in members]
        return bls.ValidatorSet(
            [key.public_key for key in keys],
            [weight * (1000 + number) for weight in weights],
            [key.proof_of_possession for key in keys],
            threads=1,
        )

    def carry(self, message: Message) -> Message:
        """What arrives of a message."""
        return decode(encode(message))


class Shared:
    """What all nodes of one simulated world have in common: the table of blocks, and who takes office when.

    Parameters
    ----------
    sets : sequence of Validators
        The validator sets in the order in which they take office.
    last_heights : sequence of int
        At which heights epochs end, in order.
    """

    def __init__(self, sets: Sequence[Validators], last_heights: Sequence[int]) -> None:
        self.headers: dict[bytes, LightHeader] = {}
        self.sets = {validators.hash: validators for validators in sets}
        self.next_set = dict(zip(last_heights, [validators.hash for validators in sets[1:]], strict=False))

    def make_block(
        self, draft: Draft, payload: int, parent_root: bytes, batches: tuple[bytes, ...] = (), lies: bool = False
    ) -> LightHeader:
        """Add a block to the table; with `lies`, its state root is not what executing it gives."""
        block_hash = b"%032d" % len(self.headers)
        header = LightHeader(
            CHAIN_ID,
            draft.epoch,
            draft.height,
            draft.round,
            draft.time_ns,
            draft.parent,
            draft.validators_hash,
            self.successor(draft.validators_hash, draft.height, draft.closing),
            bytes(32) if lies else root_after(parent_root, payload, batches),
            block_hash,
            payload,
            batches,
        )
        self.headers[block_hash] = header
        return header

    def successor(self, validators_hash: bytes, height: int, closing: bool) -> bytes:
        """Hash of the set that the header of a block must name as the next."""
        return ZERO_HASH if closing else self.next_set.get(height, validators_hash)


def root_after(root: bytes, payload: int, batches: tuple[bytes, ...]) -> bytes:
    """State root: a number that depends on every payload and batch before."""
    if payload == 0 and not batches:
        return root
    mixed = int.from_bytes(root[:8], "little") * 6364136223846793005 + payload + 1442695040888963407
    for batch in batches:
        mixed = mixed * 3935559000370003845 + int.from_bytes(batch[:8], "little")
    return (mixed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little") + root[8:]


def sum_of(validators: Iterable[int]) -> bytes:
    """Sum of these validators' ideal signatures: it tells whose are in it.

    Nobody adds up what was never sent, though it was signed and is in the registry: a vote that a crash swallowed.
    """
    bits = 0
    for index in validators:
        bits |= 1 << index
    return _sum(bits)


def _sum(bits: int) -> bytes:
    return b"sum" + bits.to_bytes((bits.bit_length() + 7) // 8, "little")


class LightSigning:
    """Ideal signatures: what a key signed verifies, and nothing else does."""

    def __init__(self, signed: set[tuple[bytes, Statement]], public_key: bytes | None) -> None:
        self._signed = signed
        self.public_key = public_key

    def sign(self, statement: Statement) -> bytes:
        """Register; the signature itself is the signer's name."""
        assert self.public_key is not None
        self._signed.add((self.public_key, statement))
        return self.public_key

    def is_signed(self, validators: Validators, validator: int, statement: Statement, signature: bytes) -> bool:
        """Look it up."""
        key = validators.public_keys[validator]
        return signature == key and (key, statement) in self._signed

    def aggregate(
        self, validators: Validators, statement: Statement, signatures: dict[int, bytes]
    ) -> tuple[bytes, tuple[int, ...]]:
        """Add up the right ones, and name the wrong."""
        wrong = [index for index, each in signatures.items() if not self.is_signed(validators, index, statement, each)]
        return sum_of(signatures.keys() - wrong), tuple(wrong)

    def aggregate_timeouts(self, timeouts: Sequence[Timeout]) -> bytes:
        """Add up theirs."""
        return sum_of([timeout.validator for timeout in timeouts])

    def are_signed_by_all(self, validators: Validators, certificates: Sequence[tuple[Statement, bytes, bytes]]) -> bool:
        """Look up each signer of each statement."""
        keys, signed = validators.public_keys, self._signed
        for statement, bitmap, signature in certificates:
            bits = int.from_bytes(bitmap, "little")
            if signature != _sum(bits):
                return False
            for index, key in enumerate(keys):
                if bits >> index & 1 and (key, statement) not in signed:
                    return False
        return True

    def are_timeouts_signed(
        self, validators: Validators, statements: Sequence[tuple[int, Statement]], signature: bytes
    ) -> bool:
        """Look up each."""
        keys, signed = validators.public_keys, self._signed
        if signature != sum_of([index for index, _ in statements]):
            return False
        return all((keys[index], statement) in signed for index, statement in statements)


class Disk:
    """What a node has written, and how much of it survives a crash."""

    __slots__ = ("batches", "blocks", "finals", "record", "tails", "unsynced_blocks", "unsynced_record")

    def __init__(self) -> None:
        self.record = VoteRecord()
        self.batches: set[bytes] = set()
        self.blocks: list[tuple[bytes, Certificate]] = []
        self.finals: list[SyncEntry] = []
        self.tails: dict[int, tuple[SyncEntry, ...]] = {}
        self.unsynced_record: VoteRecord | None = None
        self.unsynced_blocks: list[tuple[bytes, Certificate]] = []

    def sync(self) -> None:
        """Make durable what was written."""
        self.blocks += self.unsynced_blocks
        self.unsynced_blocks = []
        if self.unsynced_record is not None:
            self.record = self.unsynced_record
            self.unsynced_record = None

    def crash(self) -> None:
        """Lose what was not synced."""
        self.unsynced_blocks = []
        self.unsynced_record = None


class LightApplication:
    """State as a number for each block that is not discarded."""

    def __init__(self, shared: Shared, disk: Disk) -> None:
        self._shared = shared
        self._disk = disk
        self._headers = shared.headers
        self._roots = {GENESIS: bytes(32)}
        self._payloads = 0
        self._batches = disk.batches
        self._settled: set[bytes] = set()
        for entry in disk.finals:
            self.process(entry.block, ())
            self._settle(entry)

    def read_header(self, block: bytes) -> LightHeader:
        """Look it up; whatever the body is."""
        header = self._headers.get(block[:_TICKET_SIZE])
        if header is None:
            raise InputError("no block")
        return header

    def validators(self, validators_hash: bytes) -> Validators:
        """Look it up."""
        return self._shared.sets[validators_hash]

    def prepare(self, draft: Draft, due: Sequence[bytes]) -> bytes:
        """Make a block with a payload of its own."""
        root = self._roots[draft.parent]
        self._payloads += 1
        payload = 0 if draft.closing else draft.round * 1000 + self._payloads
        batches = () if draft.closing else self._missing(draft.parent, due)
        header = self._shared.make_block(draft, payload, root, batches)
        self._roots[header.hash] = header.state_root
        return header.hash

    def process(self, block: bytes, due: Sequence[bytes]) -> Verdict:
        """Compute the root; refuse what may not be done, and a wrong body."""
        header = self._headers[block[:_TICKET_SIZE]]
        if block != header.hash:
            return Verdict(None)
        parent_root = self._roots[header.parent]
        closing = header.next_validators_hash == ZERO_HASH
        expected = self._shared.successor(header.validators_hash, header.height, closing)
        changes = header.payload != 0 or bool(header.batches)
        if header.payload < 0 or header.next_validators_hash != expected or (closing and changes):
            return Verdict(None)
        self._roots[header.hash] = root = root_after(parent_root, header.payload, header.batches)
        return Verdict(root, bool(self._missing(header.hash, due)) and not closing)

    def _missing(self, block_hash: bytes, due: Sequence[bytes]) -> tuple[bytes, ...]:
        """Batches that are due and in no block up to this one."""
        missing = list(due)
        while missing and block_hash in self._headers:
            header = self._headers[block_hash]
            missing = [batch for batch in missing if batch not in header.batches]
            block_hash = header.parent
        return tuple(missing)

    def admit(self, content: bytes) -> bytes | None:
        """Take any batch; its content is its digest."""
        if content in self._settled:
            return None
        self._batches.add(content)
        return content

    def batch(self, digest: bytes) -> bytes | None:
        """Give a batch that was admitted."""
        return digest if digest in self._batches else None

    def discard(self, block_hash: bytes) -> None:
        """Forget its root."""
        self._roots.pop(block_hash, None)

    def finalise(self, entries: Sequence[SyncEntry], tail: Sequence[SyncEntry]) -> Sequence[bytes]:
        """Append to the journal."""
        self._disk.finals += entries
        last = self._headers[entries[-1].block]
        if last.next_validators_hash != last.validators_hash:
            self._disk.tails[last.height] = tuple(tail)
        headers = self._headers
        self._disk.blocks = [stored for stored in self._disk.blocks if headers[stored[0]].height > last.height]

        return [digest for entry in entries for digest in self._settle(entry)]

    def _settle(self, entry: SyncEntry) -> Sequence[bytes]:
        batches = self._headers[entry.block].batches
        self._settled.update(batches)
        self._batches.difference_update(batches)
        return batches

    def has_settled(self, batches: set[bytes]) -> bool:
        """Whether all these are in final blocks."""
        return batches <= self._settled

    def root_of(self, block_hash: bytes) -> bytes:
        """State root as computed here."""
        return self._roots[block_hash]
