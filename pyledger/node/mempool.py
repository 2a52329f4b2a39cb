"""Submissions that wait for a block, each prepared once: hashed, its signatures checked.

A batch stays until a final block shows that it was executed, or until this node executed it itself and nothing took
effect. Blocks don't name the batches they were formed from: an attested one is known again by its attestation, signed
transfers by their signatures. Anybody can copy signed transfers from one batch into another, so that one of them in a
block says nothing about the rest of its batch: that waits on until the fate of each is known.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.messages import BATCH_BYTES_MAX
from pyledger.errors import InputError
from pyledger.ledger.batches import (
    Attest,
    OrderedBy,
    OwnerOrder,
    Submission,
    TransferBatch,
    batch_kind,
    counted_as,
    record_count,
)
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Prepared
from pyledger.ledger.commands import (
    KIND_KEYS,
    KIND_VALIDATORS,
    ORDER_KINDS,
    ChangeValidators,
    Command,
    Order,
    RegisterKeys,
    SignedRefusals,
)
from pyledger.node.outcomes import is_closed
from pyledger.node.touching import signature_keys, touched
from pyledger.types import CreateTransferResult

__all__ = ["REASON_UNKNOWN", "Mempool", "Waiting"]

REASON_UNKNOWN: Final = 0xFFFF_FFFF
"""Result of a record that another node executed: it did not take effect, and the block does not say why."""

_ORDERS_PART: Final = 16
_KEY_PART: Final = 4
_ATTESTED_PART: Final = 4
_SIGNED_PART: Final = 2
_EQUAL_PARTS: Final = 3
"""Of an equal share of the room an institution's batches have 4/3, and the transfers that its keys sign 2/3."""
_Share = tuple[str, int | None]
"""Whose room a batch takes: what for, and the number of the institution or key."""
_ORDERS: Final[_Share] = ("orders and changes of the validators", None)
_OF_KEY: Final = "signed transfers of key"
_OF_INSTITUTION: Final = "signed transfers of institution"
_NOTHING_NEW: Final[_Share] = ("signed transfers that bring nothing new", None)
_Mark = tuple[int, int, int, bytes]


@dataclass(slots=True)
class Waiting:
    """A batch that waits.

    Parameters
    ----------
    digest : bytes
    content : bytes
        Its encoding.
    prepared : Prepared
    branch : int
        How many blocks had been taken back when it was prepared: on another branch, other keys may be registered.
    """

    digest: bytes
    content: bytes
    prepared: Prepared
    branch: int
    mark: _Mark | None = field(init=False)
    """Kind, institution (key of an order), sequence and signature; number and content of a change of the validators."""
    shares: Counter[_Share] = field(init=False)
    """The bytes that it takes of each share."""
    key: int | None = field(init=False, default=None)
    """One that signed transfers which may take effect and are new."""
    rows: list[int] = field(init=False, default_factory=list)
    """Short keys of those that may take effect."""

    def __post_init__(self) -> None:
        self.mark = _mark_of(self.submission)
        share = _NOTHING_NEW if _is_signed(self.submission) else _share_of(self.submission)
        self.shares = Counter({share: len(self.content)})

    @property
    def submission(self) -> Submission:
        """What was submitted."""
        return self.prepared.submission

    @property
    def signed(self) -> TransferBatch:
        """What was submitted, where it is signed transfers."""
        assert isinstance(self.submission, TransferBatch)
        return self.submission

    @property
    def count(self) -> int:
        """Number of its records."""
        return record_count(self.submission)


class Mempool:
    """Batches in the order they came, bounded.

    Parameters
    ----------
    bytes_max : int
        Batches above this are refused.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._part_of_orders = min(bytes_max // _ORDERS_PART, BATCH_BYTES_MAX)
        self._waiting: dict[bytes, Waiting] = {}
        self._by_mark: dict[_Mark, Waiting] = {}
        self._bytes_of: Counter[_Share] = Counter()
        self._rows: Counter[int] = Counter()
        self.bytes = 0
        self.records_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._waiting

    def get(self, digest: bytes) -> Waiting | None:
        """The batch of this digest, if it waits."""
        return self._waiting.get(digest)

    def require_room(self, submission: Submission, content: bytes, institutions: int) -> None:
        """Raise InputError unless there is room for a batch, and left of the share that it counts for.

        Each institution's batches have four thirds of an equal share, and the transfers that its keys sign two thirds
        (`require_room_of_signed`). So those of a third of the institutions leave room. Orders and changes of the
        validators have a sixteenth of the whole, so that transfers always find room, and no more than a batch may hold:
        many changes of the validators would not fit into a block beside its records.
        """
        if self.bytes + len(content) > self._bytes_max:
            raise InputError(f"{self._bytes_max} bytes of batches wait already: submit again later")
        if _is_signed(submission):
            return
        share = _share_of(submission)
        part = self._part_of_orders if share == _ORDERS else self._part(_ATTESTED_PART, institutions)
        if institutions > 1 or share == _ORDERS:
            self._require_part(share, part, len(content))

    def require_room_of_signed(self, waiting: Waiting, institutions: int) -> None:
        """Raise InputError unless there is room in the shares of the keys that signed, and in those of their banks.

        A bank registers as many keys as it likes, so that a share for each key alone would bound nothing; one has a
        quarter of the bank's. What brings nothing new has as much as one bank.
        """
        part = self._part(_SIGNED_PART, institutions)
        for share, size in waiting.shares.items():
            self._require_part(share, part // _KEY_PART if share[0] == _OF_KEY else part, size)

    def _part(self, thirds: int, institutions: int) -> int:
        return thirds * self._bytes_max // (_EQUAL_PARTS * (institutions + 1))

    def _require_part(self, share: _Share, part: int, size: int) -> None:
        if self._bytes_of[share] + size > part:
            owner = " ".join(str(each) for each in share if each is not None)
            raise InputError(f"{owner}: so many batches wait already: submit again later")

    def note_hopes(self, waiting: Waiting, hopeful: NDArray[np.bool_], institutions: NDArray[np.uint32]) -> None:
        """Note which signed transfers of a batch may take effect; those that are new here count for their own keys.

        Anybody can make new batches of the transfers that wait already, of those that took effect, or of rubbish in
        somebody's name. So a key's share is charged with what that key signed, once, and never with what is beside it.

        Parameters
        ----------
        waiting : Waiting
        hopeful : NDArray[bool], shape (n,)
        institutions : NDArray[uint32]
            Those of the keys, by key index.
        """
        batch = waiting.signed
        assert batch.signers is not None
        assert batch.signatures is not None
        waiting.rows = signature_keys(batch.signatures[hopeful]).tolist()
        new = np.array([row not in self._rows for row in waiting.rows], np.bool_)
        keys, counts = np.unique(batch.signers[hopeful][new], return_counts=True)
        waiting.key = int(keys[0]) if len(keys) else None
        row_size = -(-len(waiting.content) // waiting.count)
        waiting.shares = Counter()
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            waiting.shares[_OF_KEY, key] += count * row_size
            waiting.shares[_OF_INSTITUTION, int(institutions[key])] += count * row_size
        waiting.shares[_NOTHING_NEW] = (waiting.count - int(counts.sum())) * row_size
        waiting.shares = +waiting.shares

    def require_new(self, waiting: Waiting) -> None:
        """Raise InputError if a batch under the same signature waits already."""
        if waiting.mark in self._by_mark:
            raise InputError("a batch under the same signature waits already")

    def add(self, waiting: Waiting) -> None:
        """Take a batch; of those under one signature, the first."""
        if waiting.digest in self._waiting or waiting.mark in self._by_mark:
            return
        self._waiting[waiting.digest] = waiting
        self._count(waiting, 1)
        if waiting.mark is not None:
            self._by_mark[waiting.mark] = waiting

    def remove(self, digest: bytes) -> None:
        """Forget a batch; one that does not wait is no matter."""
        waiting = self._waiting.pop(digest, None)
        if waiting is not None:
            self._count(waiting, -1)
            if waiting.mark is not None:
                del self._by_mark[waiting.mark]

    def _count(self, waiting: Waiting, sign: int) -> None:
        size = sign * len(waiting.content)
        self.bytes += size
        self.records_count += sign * waiting.count
        for share, bytes_of_it in waiting.shares.items():
            self._bytes_of[share] += sign * bytes_of_it
        if sign > 0:
            self._rows.update(waiting.rows)
        else:
            self._forget_rows(waiting.rows)

    def _forget_rows(self, rows: list[int]) -> None:
        for row in rows:
            self._rows[row] -= 1
            if not self._rows[row]:
                del self._rows[row]

    def next_sequence(self, number: int, kind: int, first: int) -> int:
        """First sequence from one on that no batch of an institution, or order of a key, of this kind waits under."""
        kinds = ORDER_KINDS if kind in ORDER_KINDS else (kind,)
        taken = {mark[2] for mark in self._by_mark if mark[0] in kinds and mark[1] == number}
        while first in taken:
            first += 1
        return first

    def in_order(self, due: Collection[bytes] = ()) -> list[Waiting]:
        """All batches as a block takes them: keys and accounts before transfers, due ones first, else as they came.

        Parameters
        ----------
        due : collection of bytes, optional
            Digests.
        """
        return sorted(
            self._waiting.values(),
            key=lambda waiting: (isinstance(waiting.submission, TransferBatch), waiting.digest not in due),
        )

    def executed_in(
        self, block: Block, keys_count: int, codes_after: Callable[[Waiting], NDArray[np.uint32] | None]
    ) -> dict[bytes, NDArray[np.uint32]]:
        """Batches that are settled by a block, by digest, with their results as far as the block shows them.

        Parameters
        ----------
        block : Block
        keys_count : int
            Registered keys before the block.
        codes_after : callable
            Gives the results that a batch of signed transfers would have behind the block; None if it can't be taken.
        """
        found: dict[bytes, NDArray[np.uint32]] = {}
        for command in block.body.commands:
            if isinstance(command, SignedRefusals):
                continue
            waiting = self._by_mark.get(_mark_in_block(command))
            if isinstance(command, RegisterKeys):
                count = len(command.public_keys) // 32
                results = np.arange(keys_count, keys_count + count, dtype=np.uint32)
                keys_count += count
            elif waiting is not None:
                results = np.zeros(waiting.count, np.uint32)
                refused = () if isinstance(command, Order | ChangeValidators) else command.refused_positions
                results[list(refused)] = REASON_UNKNOWN
            if waiting is not None:
                found[waiting.digest] = results
        return found | self._signed_in(block, codes_after)

    def _signed_in(
        self, block: Block, codes_after: Callable[[Waiting], NDArray[np.uint32] | None]
    ) -> dict[bytes, NDArray[np.uint32]]:
        """Batches of signed transfers of which some took effect in a block or were burnt in it, and none is open."""
        signed = [waiting for waiting in self._waiting.values() if _is_signed(waiting.submission)]
        found = {}
        for place, taken, failed in touched(block, [waiting.signed for waiting in signed]):
            results = _settled(taken, failed, signed[place], codes_after)
            if results is not None:
                found[signed[place].digest] = results
        return found


def _settled(
    taken: NDArray[np.bool_],
    failed: NDArray[np.bool_],
    waiting: Waiting,
    codes_after: Callable[[Waiting], NDArray[np.uint32] | None],
) -> NDArray[np.uint32] | None:
    """Results of signed transfers of which some took effect in a block; None if one of the rest may yet.

    Of those that failed in it the whole chain did, as it waits here, and one of the chain burnt its id there.
    """
    results = np.where(taken, 0, REASON_UNKNOWN).astype(np.uint32)
    rest = ~(taken | failed)
    if rest.any():
        codes = codes_after(waiting)
        if codes is None or not is_closed(codes[rest]).all():
            return None
        rest &= codes != CreateTransferResult.ID_ALREADY_FAILED  # why it failed, whoever executed it knows
        results[rest] = codes[rest]
    return results


def _is_signed(submission: Submission) -> bool:
    """Whether it is of signed transfers."""
    return isinstance(submission, TransferBatch) and submission.attest is None


def _share_of(submission: Submission) -> _Share:
    """Whose share of the room a batch counts for that is not of signed transfers."""
    return _ORDERS if submission.attest is None else ("institution", submission.attest.institution)


def _mark_of(submission: Submission) -> _Mark | None:
    if isinstance(submission, ChangeValidators):
        return _mark_of_change(submission)
    place = counted_as(submission)
    signed = submission.by if isinstance(submission, OwnerOrder) else submission.attest
    if place is None or not isinstance(signed, Attest | OrderedBy):
        return None
    return (batch_kind(submission), *place, signed.signature)


def _mark_in_block(command: Command) -> _Mark:
    """The mark of the batch or order that a command was made from."""
    assert not isinstance(command, SignedRefusals)
    if isinstance(command, ChangeValidators):
        return _mark_of_change(command)
    kind = KIND_KEYS if isinstance(command, RegisterKeys) else command.kind
    number = command.signer if isinstance(command, Order) else command.institution
    return (kind, number, command.sequence, command.signature)


def _mark_of_change(change: ChangeValidators) -> _Mark:
    """The same whoever approves it: one change with other approvals is not another."""
    content = msgspec.msgpack.encode(msgspec.structs.replace(change, approvals=()))
    return (KIND_VALIDATORS, 0, change.number, hashlib.sha256(content).digest())
