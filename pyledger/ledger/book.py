"""The book: the replicated state and how a block changes it.

`prepare` hashes a submission and checks its signatures; nothing changes, so it may run in any thread. `begin`,
`execute` and `finish` form a block from what takes effect of prepared submissions, one thread at a time; `propose` is
all of it in one call. `commit` takes the block as the chain's last. `apply` executes a block from the journal and
checks that the same roots come out. The book knows nothing of votes or files.

Who may do what is decided in one place each: whether a signature is valid, by `pyledger.ledger.authority`; whether the
signer may debit, by the posting engine; the book brings the two together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto import merkle
from pyledger.crypto.state_tree import StateTree
from pyledger.errors import AuthorisationError, InputError, LedgerError, StateError, StorageError
from pyledger.ledger.authority import Authority
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    HeldKey,
    KeyBatch,
    Submission,
    TransferBatch,
    batch_kind,
    batch_leaf_hashes,
    check_form,
    record_count,
    submissions_of,
)
from pyledger.ledger.blocks import (
    ACCOUNT_ENTRY,
    KIND_ACCOUNTS,
    KIND_KEYS,
    KIND_TRANSFERS,
    Block,
    Body,
    FailedIds,
    Header,
    RegisterKeys,
    weave,
)
from pyledger.ledger.forming import Forming
from pyledger.ledger.genesis import Genesis
from pyledger.types import U128, AccountFlags, KeyRole, TransferFlags

__all__ = ["Book", "Execution", "Prepared"]

_EXPIRIES_PER_BLOCK_MAX = 65_536
_PAYLOAD_SIZE = ACCOUNT_ENTRY.itemsize


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission with what `Book.prepare` found out about it.

    Parameters
    ----------
    submission : Submission
    hashes : NDArray[uint8], shape (n, 32)
        Leaf hashes of its records.
    signed_count, signed_root : int, bytes
        Size and RFC 6962 root of the batch as its institution signed it; 0 and empty if each transfer is signed.
    valid : NDArray[bool] or bool
        Whether each signature is valid, or the attestation. Nothing yet if the key is held here.
    keys_count : int
        Keys that were registered then.
    """

    submission: Submission
    hashes: NDArray[np.uint8]
    signed_count: int
    signed_root: bytes
    valid: NDArray[np.bool_] | bool
    keys_count: int


@dataclass(frozen=True, slots=True)
class Execution:
    """A block, and for each submission a result code for each record (key indexes for keys) or why it was refused.

    `block` is None if nothing took effect.
    """

    block: Block | None
    results: tuple[NDArray[np.uint32] | LedgerError, ...]


class Book:
    """The state of a chain after its last block.

    Parameters
    ----------
    genesis : Genesis
    engine, authority, history, state : optional
        Those of a snapshot, all of them; `resume` must follow.

    Attributes
    ----------
    height : int
        Height of the last block, 0 before the first.
    tip : bytes
        Hash of the last block, the genesis hash before the first.
    next_time_ns : int
        Earliest time that the next block may have.
    dirty : bool
        Whether the state is ahead of the last committed block: a block is being formed, or forming one failed.
    history : pyledger.crypto.merkle.Log
        Hashes of all headers.
    authority : Authority
    state : StateTree
        One leaf an account, keyed by account id.
    stage_seconds : dict of str to float
        Wall time spent so far in each stage: hash, verify, post, state.
    """

    def __init__(
        self,
        genesis: Genesis,
        *,
        engine: _core.Engine | None = None,
        authority: Authority | None = None,
        history: merkle.Log | None = None,
        state: StateTree | None = None,
    ) -> None:
        genesis.check()
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.height = 0
        self.tip = genesis.hash
        self.next_time_ns = genesis.time_ns + 1
        self.dirty = False
        self.history = merkle.Log() if history is None else history
        self.stage_seconds: defaultdict[str, float] = defaultdict(float)
        self._stage_lock = Lock()
        self.engine = _core.Engine() if engine is None else engine
        self.authority = Authority(genesis) if authority is None else authority
        self.state = StateTree(_PAYLOAD_SIZE) if state is None else state
        self._forming: Forming | None = None
        self._failed_ids_count = 0
        if engine is None:
            self._register_institutions()

    def _register_institutions(self) -> None:
        for index, institution in enumerate(self.genesis.institutions):
            key = np.frombuffer(institution.attestation_key, np.uint8).reshape(1, 32)
            self._add_keys(index, key, KeyRole.HOLDER | KeyRole.ATTESTER)

    @property
    def keys_count(self) -> int:
        """Number of registered keys."""
        return self.authority.keys_count

    @property
    def failed_ids_taken(self) -> int:
        """How many failed ids blocks hold."""
        return self._failed_ids_count

    def resume(self, tip: Header, *, next_time_ns: int, failed_ids_taken: int) -> None:
        """Go on behind the block with a header, from parts that are as they were then."""
        self.height = tip.height
        self.tip = tip.hash
        self.next_time_ns = next_time_ns
        self._failed_ids_count = failed_ids_taken

    def public_key(self, index: int) -> bytes:
        """Ed25519 public key at a key index; 32 bytes."""
        if not 0 <= index < self.keys_count:
            raise IndexError(f"key index: expected [0, {self.keys_count}), got {index}")
        return bytes(self.authority.public_keys[index])

    def next_sequence(self, institution: int, kind: int) -> int:
        """Sequence that an institution's next batch of a kind must carry (from 1)."""
        if kind == KIND_TRANSFERS:
            return int(self.engine.attestation_sequence(institution))
        return self.authority.last_sequence(institution, kind) + 1

    # Forming a block -------------------------------------------------------------------------------------------------

    def propose(
        self,
        submissions: Sequence[Submission],
        *,
        time_ns: int,
        epoch: int,
        round: int,
        validators_hash: bytes,
        keep_empty: bool = False,
    ) -> Execution:
        """Execute submissions and form the next block from what took effect; `commit` must follow.

        Parameters
        ----------
        submissions : sequence of Submission
            Keys and accounts before transfers, all together no larger than a block.
        time_ns : int
            Block time, at least `next_time_ns`.
        epoch, round : int
        validators_hash : bytes
        keep_empty : bool, optional
            Form the block even if nothing took effect.
        """
        results: list[NDArray[np.uint32] | LedgerError] = []
        self.begin(time_ns)
        for submission in submissions:
            try:
                results.append(self.execute(self.prepare(submission)))
            except LedgerError as error:
                results.append(error)
        block = self.finish(epoch=epoch, round=round, validators_hash=validators_hash, keep_empty=keep_empty)
        return Execution(block, tuple(results))

    def prepare(self, submission: Submission, *, trusted: bool = False) -> Prepared:
        """Hash a submission's records and check its signatures. Nothing changes; calls may come from any thread.

        Parameters
        ----------
        submission : Submission
        trusted : bool, optional
            Take the signatures for valid.

        Raises
        ------
        InputError, AuthorisationError
            If it is malformed, or attested by none of the members.
        """
        check_form(submission, self.genesis.block_transfers_max)
        with self.stage("hash"):
            hashes = batch_leaf_hashes(self.chain_id, submission)
        if isinstance(submission, TransferBatch) and submission.attest is None:
            return self._prepare_signed(submission, hashes, trusted)
        return self._prepare_attested(submission, hashes, trusted)

    def begin(self, time_ns: int) -> None:
        """Begin the next block; its time is at least `next_time_ns`."""
        if time_ns < self.next_time_ns:
            raise InputError(f"block time: expected at least {self.next_time_ns}, got {time_ns}")
        self.dirty = True
        self._forming = Forming(time_ns, time_ns)
        self.engine.set_height(self.height + 1)
        self._forming.expired_count = len(self.engine.expire(time_ns, _EXPIRIES_PER_BLOCK_MAX)[0])

    def has_room(self, submission: Submission) -> bool:
        """Whether the block being formed can still take a submission: it is not full, and nothing comes too late.

        Keys and accounts stand before transfers, for that is the order in which a block is executed again.
        """
        forming = self._open_block
        if forming.transfers_submitted and not isinstance(submission, TransferBatch):
            return False
        return forming.submitted + record_count(submission) <= self.genesis.block_transfers_max

    def execute(self, prepared: Prepared) -> NDArray[np.uint32]:
        """Let a submission take effect in the block being formed; gives a code for each record, key indexes for keys.

        Raises
        ------
        AuthorisationError, SignatureError, InputError
            If a batch of keys or accounts is not authorised or can't be taken; nothing has changed.
        """
        submission = prepared.submission
        if isinstance(submission, TransferBatch):
            return self._execute_transfers(submission, prepared)
        attest, valid = self._attestation(prepared)
        self._require_authorised(attest, batch_kind(submission), valid)
        if isinstance(submission, KeyBatch):
            return self._execute_keys(submission, attest)
        return self._execute_accounts(submission, attest, prepared.hashes)

    def finish(self, *, epoch: int, round: int, validators_hash: bytes, keep_empty: bool = False) -> Block | None:
        """Put the block together; None if nothing took effect and it need not be kept empty.

        `commit` must follow before the next block is begun.
        """
        forming = self._open_block
        self._take_failed_ids(forming)
        if forming.is_empty and not keep_empty:
            self._forming, self.dirty = None, False
            return None
        return Block(self._header(forming, epoch, round, validators_hash), forming.body())

    def commit(self, block: Block) -> None:
        """Take the block that was formed or applied here as the last one."""
        header = block.header
        self.history.append(block.hash)
        self.height = header.height
        self.tip = block.hash
        self.next_time_ns = _last_time_ns(block) + 1
        self._forming, self.dirty = None, False

    def apply(self, block: Block, *, trusted: bool = False) -> None:
        """Execute a block that was formed elsewhere or earlier, and commit it.

        Parameters
        ----------
        block : Block
        trusted : bool, optional
            Don't check signatures again (blocks of the own journal, which were checked before they were written).
            Everything else is executed and compared.

        Raises
        ------
        StorageError
            If a record does not take effect again as the block says, or if a header field comes out different; the
            message names block, record and field. The book is unusable then.
        """
        header = block.header
        if header.time_ns < self.next_time_ns:
            raise StorageError(f"block {header.height}: its time is not after that of the block before")
        self.begin(header.time_ns)
        try:
            for submission in submissions_of(block.body):
                _require_effect(submission, self.execute(self.prepare(submission, trusted=trusted)))
        except (LedgerError, ValueError, IndexError, OverflowError) as error:
            raise StorageError(f"block {header.height}: {error}") from error
        self._restore_failed_ids(block.body)
        forming = self._open_block
        _require_same_header(self._header(forming, header.epoch, header.round, header.validators_hash), header)
        if forming.body().to_bytes() != block.body.to_bytes():
            raise StorageError(f"block {header.height}: the body comes out different when it is executed again")
        self.commit(block)

    def check_invariants(self) -> None:
        """Scan the whole state; StateError names the first invariant that does not hold."""
        violation = self.engine.check_invariants()
        if violation is not None:
            raise StateError(f"after block {self.height}: {violation}")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of the block of code to a stage."""
        started = perf_counter()
        try:
            yield
        finally:
            with self._stage_lock:
                self.stage_seconds[name] += perf_counter() - started

    # Preparing: nothing changes --------------------------------------------------------------------------------------

    def _prepare_signed(self, batch: TransferBatch, hashes: NDArray[np.uint8], trusted: bool) -> Prepared:
        keys_count = self.keys_count
        valid = np.ones(len(hashes), np.bool_) if trusted else self._signatures_valid(batch, hashes)
        return Prepared(batch, hashes, 0, b"", valid, keys_count)

    def _prepare_attested(self, submission: Submission, hashes: NDArray[np.uint8], trusted: bool) -> Prepared:
        attest, signed = submission.attest, hashes
        if isinstance(attest, Attest):
            signed = weave(hashes, attest.refused_positions, attest.refused_leaves)
        with self.stage("hash"):
            root = merkle.root_of_leaf_hashes(signed)
        valid = trusted
        if not trusted and isinstance(attest, Attest):
            with self.stage("verify"):
                valid = self.authority.attestation_valid(attest, batch_kind(submission), len(signed), root)
        return Prepared(submission, hashes, len(signed), root, valid, self.keys_count)

    # Authority -------------------------------------------------------------------------------------------------------

    def _signatures_valid(self, batch: TransferBatch, hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        with self.stage("verify"):
            return self.authority.signatures_valid(batch, hashes)

    def _attestation(self, prepared: Prepared) -> tuple[Attest, bool]:
        """The attestation and whether it is valid; made now if the key is held here."""
        attest, kind = prepared.submission.attest, batch_kind(prepared.submission)
        if isinstance(attest, HeldKey):
            size, root = prepared.signed_count, prepared.signed_root
            sequence = self.next_sequence(attest.institution, kind)
            message = self.authority.message(kind, attest.institution, sequence, size, root)
            attest = Attest(attest.institution, sequence, attest.sign(message))
            return attest, self.authority.attestation_valid(attest, kind, size, root)
        assert attest is not None
        return attest, bool(prepared.valid)

    def _require_authorised(self, attest: Attest, kind: int, valid: bool) -> None:
        """Keys and accounts come in whole batches: a batch that is not authorised changes nothing."""
        bic = self.authority.institution_name(attest.institution)
        expected = self.next_sequence(attest.institution, kind)
        if attest.sequence != expected:
            raise AuthorisationError(
                f"{bic}: expected sequence {expected}, got {attest.sequence}: an attestation counts once"
            )
        if not valid:
            raise AuthorisationError(f"{bic}: the attestation's signature is not valid for this batch")

    def _require_known_ledgers(self, ledgers: NDArray[np.uint32]) -> None:
        known = np.isin(ledgers, list(self.genesis.currency_by_ledger))
        if not known.all():
            row = int(np.argmin(known))
            expected = f"expected a ledger of this chain ({', '.join(map(str, self.genesis.currency_by_ledger))})"
            raise InputError(f"{expected}, got {ledgers[row]}", row=row + 1, field="ledger")

    # Executing: the state changes. -----------------------------------------------------------------------------------

    @property
    def _open_block(self) -> Forming:
        if self._forming is None:
            raise StateError("no block is being formed")
        return self._forming

    def _execute_keys(self, batch: KeyBatch, attest: Attest) -> NDArray[np.uint32]:
        self.authority.require_new_keys(batch.public_keys)
        forming = self._open_block
        indexes = self._add_keys(attest.institution, batch.public_keys)
        self.authority.set_sequence(attest.institution, KIND_KEYS, attest.sequence)
        forming.submitted += len(indexes)
        forming.commands.append(
            RegisterKeys(attest.institution, attest.sequence, batch.public_keys.tobytes(), attest.signature)
        )
        return indexes

    def _execute_accounts(self, batch: AccountBatch, attest: Attest, hashes: NDArray[np.uint8]) -> NDArray[np.uint32]:
        entries, forming = batch.entries, self._open_block
        self._require_known_ledgers(entries["record"]["ledger"])
        timestamps = forming.take_timestamps(batch, len(entries))
        with self.stage("post"):
            results = self.engine.create_accounts(
                np.ascontiguousarray(entries["record"]),
                np.ascontiguousarray(entries["owner_key"]),
                np.ascontiguousarray(entries["institution"]),
                forming.time_ns,
                attest.institution,
                timestamps=timestamps,
            )
        forming.add_accounts(batch, attest, timestamps, hashes, results)
        self.authority.set_sequence(attest.institution, KIND_ACCOUNTS, attest.sequence)
        return results

    def _execute_transfers(self, batch: TransferBatch, prepared: Prepared) -> NDArray[np.uint32]:
        forming = self._open_block
        timestamps = forming.take_timestamps(batch, len(batch.records))
        forming.transfers_submitted = True
        if batch.attest is None:
            return self._execute_signed(batch, prepared, timestamps)
        return self._execute_attested(batch, prepared, timestamps)

    def _execute_signed(
        self, batch: TransferBatch, prepared: Prepared, timestamps: NDArray[np.uint64]
    ) -> NDArray[np.uint32]:
        forming, valid = self._open_block, prepared.valid
        assert batch.signers is not None
        if self.keys_count != prepared.keys_count and (batch.signers >= prepared.keys_count).any():
            valid = self._signatures_valid(batch, prepared.hashes)  # keys came since it was prepared
        assert not isinstance(valid, bool)
        with self.stage("post"):
            results, effects = self.engine.create_transfers(
                batch.records, batch.signers, valid, forming.time_ns, timestamps=timestamps
            )
        forming.add_signed(batch, timestamps, prepared.hashes, results, effects, self.authority.public_keys)
        return results

    def _execute_attested(
        self, batch: TransferBatch, prepared: Prepared, timestamps: NDArray[np.uint64]
    ) -> NDArray[np.uint32]:
        forming = self._open_block
        attest, valid = self._attestation(prepared)
        institution = attest.institution
        expected = self.engine.attestation_sequence(institution)
        with self.stage("post"):
            results, effects = self.engine.create_transfers_attested(
                batch.records,
                institution,
                attest.sequence,
                valid,
                forming.time_ns,
                signer=institution,
                timestamps=timestamps,
            )
        if self.engine.attestation_sequence(institution) != expected:  # else it was refused, and with it every record
            key = self.authority.public_keys[institution : institution + 1]
            forming.add_attested(batch, attest, timestamps, prepared.hashes, results, effects, key)
        return results

    def _add_keys(
        self, institution: int, public_keys: NDArray[np.uint8], roles: KeyRole = KeyRole.HOLDER
    ) -> NDArray[np.uint32]:
        institutions = np.full(len(public_keys), institution, np.uint32)
        first = self.engine.register_keys(institutions, self.height + 1, np.full(len(public_keys), roles, np.uint32))
        indexes = self.authority.add_keys(public_keys)
        assert not len(indexes) or int(indexes[0]) == first
        return indexes

    def _take_failed_ids(self, forming: Forming) -> None:
        """Ids that were answered with a passing failure may not take effect later: state, so it goes into the block."""
        ids = self.engine.failed_ids(self._failed_ids_count)
        self._failed_ids_count += len(ids)
        if len(ids):
            forming.commands.append(FailedIds(ids.tobytes()))

    def _restore_failed_ids(self, body: Body) -> None:
        for command in body.commands:
            if isinstance(command, FailedIds):
                self.engine.add_failed_ids(np.frombuffer(command.ids, U128))
        self._take_failed_ids(self._open_block)

    def _header(self, forming: Forming, epoch: int, round: int, validators_hash: bytes) -> Header:
        """Bring the state tree up to date and put every root together."""
        with self.stage("state"):
            self._update_state()
            state_root = self.state.root()
        with self.stage("hash"):
            return Header(
                chain_id=self.chain_id,
                epoch=epoch,
                height=self.height + 1,
                round=round,
                time_ns=forming.time_ns,
                parent=self.tip,
                validators_hash=validators_hash,
                next_validators_hash=validators_hash,
                accounts_count=forming.accounts_count,
                transfers_count=forming.transfers_count,
                commands_count=len(forming.commands),
                state_root=state_root,
                history_root=self.history.root(),
                **forming.roots(),
            )

    def _update_state(self) -> None:
        slots = self.engine.slots_touched()
        rows = self.engine.payloads_at(slots)
        leaf_slots = slots + np.uint32(1)  # slot 0 of the state tree is the head of its list
        old = int(np.searchsorted(leaf_slots, self.state.size))  # slots rise, new ones come last
        self.state.update(leaf_slots[:old], rows[:old])
        new = rows[old:]
        self.state.insert(np.ascontiguousarray(new.view(ACCOUNT_ENTRY)["record"]["id"].reshape(-1)), new)


def _last_time_ns(block: Block) -> int:
    """Time of the block's last event; the next block is later."""
    last = block.header.time_ns
    for records, flag in (
        (block.body.accounts["record"], AccountFlags.IMPORTED),
        (block.body.transfers, TransferFlags.IMPORTED),
    ):
        rising = len(records) and not int(records["flags"][-1]) & flag  # imported times lie before the block's
        last = max(last, int(records["timestamp"][-1]) if rising else int(records["timestamp"].max(initial=0)))
    return last


def _require_effect(submission: Submission, results: NDArray[np.uint32]) -> None:
    if isinstance(submission, KeyBatch):
        return
    failed = np.flatnonzero(results != 0)
    if len(failed):
        kind = "account" if isinstance(submission, AccountBatch) else "transfer"
        raise StateError(
            f"{kind} {int(failed[0])} of its batch: does not take effect again, result {int(results[failed[0]])}"
        )


def _require_same_header(formed: Header, recorded: Header) -> None:
    for item in fields(Header):
        mine, theirs = getattr(formed, item.name), getattr(recorded, item.name)
        if mine != theirs:
            show = bytes.hex if isinstance(mine, bytes) else str
            place = f"block {recorded.height}: field '{item.name}'"
            raise StorageError(f"{place}: executing it gives {show(mine)}, the block says {show(theirs)}")
