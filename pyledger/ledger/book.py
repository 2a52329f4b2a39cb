"""The book: the replicated state and how a block changes it.

`prepare` hashes a submission and checks its signatures; nothing changes, so it may run in any thread. `begin`,
`execute` and `finish` form a block from what takes effect of prepared submissions, one thread at a time; `propose` is
all of it in one call. `commit` takes the block as the chain's last. `finish` is `close_block`, after which the next
block may be begun, and `link`, which gives the block its roots and may run beside. `apply` executes a block from the
journal and checks that the same roots come out. The book knows nothing of votes or files.

Who may do what is decided in one place each: whether a signature is valid, by `pyledger.ledger.authority`; whether the
signer may debit, by the posting engine; the book brings the two together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto import merkle
from pyledger.crypto.state_tree import StateTree
from pyledger.errors import AuthorisationError, InputError, LedgerError, StateError
from pyledger.ledger.authority import Authority
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    ChangeBatch,
    HeldKey,
    KeyBatch,
    OrderedBy,
    OwnerOrder,
    Submission,
    TransferBatch,
    batch_kind,
    record_count,
)
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block, Header
from pyledger.ledger.changes import apply_change, apply_order
from pyledger.ledger.commands import (
    KIND_ACCOUNTS,
    KIND_KEYS,
    KIND_MANDATE,
    KIND_TRANSFERS,
    KIND_VALIDATORS,
    ORDER_KINDS,
    ChangeValidators,
    RegisterKeys,
)
from pyledger.ledger.forming import Forming
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.mismatch import Mismatch, Progress, require_same_body, require_same_header
from pyledger.ledger.preparing import Prepared, Preparing, names_key_above
from pyledger.ledger.replay import order_command, submissions_of
from pyledger.ledger.row_buffers import RowBuffers
from pyledger.ledger.undo import Mark
from pyledger.ledger.validators import Office, Roster
from pyledger.types import (
    AuthorityResult,
    CreateTransferResult,
    KeyRole,
    u128_array,
)

__all__ = ["Book", "Closed", "Execution", "Prepared", "Resumed", "new_state_tree"]

_EXPIRIES_PER_BLOCK_MAX = 65_536
_TIME_MAX_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Closed:
    """A block that takes nothing more, before it has its roots.

    Parameters
    ----------
    height : int
    forming : Forming
        What took effect.
    slots : NDArray[uint32], shape (k,)
        Accounts that changed, rising; without those that are in the state tree already.
    payloads : NDArray[uint8], shape (k, 136)
        Their leaves in the state tree.
    office : Office
        Who votes, as of this block.
    """

    height: int
    forming: Forming
    slots: NDArray[np.uint32]
    payloads: NDArray[np.uint8]
    office: Office


@dataclass(frozen=True, slots=True)
class Execution:
    """A block, and for each submission a result code for each record (key indexes for keys) or why it was refused.

    `block` is None if nothing took effect.
    """

    block: Block | None
    results: tuple[NDArray[np.uint32] | LedgerError, ...]


@dataclass(frozen=True, slots=True)
class Resumed:
    """All that a book is, between two blocks."""

    height: int
    tip: bytes
    next_time_ns: int
    history: merkle.Log
    engine: _core.Engine
    authority: Authority
    state: StateTree


class Book(Preparing):
    """The state of a chain after its last block.

    Parameters
    ----------
    genesis : Genesis
    resumed : Resumed, optional
        Where a snapshot says that it stood; before the first block by default.

    Attributes
    ----------
    height : int
        Height of the last block that was committed, 0 before the first.
    posted_height : int
        Height of the last block that was closed: the engine holds the state after it.
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
        Wall time spent so far in each stage: hash, verify, post, state, roots.
    """

    def __init__(self, genesis: Genesis, resumed: Resumed | None = None) -> None:
        genesis.check()
        begin = resumed or _before_the_first_block(genesis)
        super().__init__(genesis, begin.authority)
        self.dirty = False
        self._forming: Forming | None = None
        self._payloads = RowBuffers(ACCOUNT_ENTRY.itemsize)
        self._marks: deque[Mark] = deque()
        self.height = self.posted_height = begin.height
        self.tip = begin.tip
        self.next_time_ns = begin.next_time_ns
        self.history = begin.history
        self.engine = begin.engine
        self.state = begin.state
        if resumed is None:
            self._register_institutions()

    def _register_institutions(self) -> None:
        for index, institution in enumerate(self.genesis.institutions):
            key = np.frombuffer(institution.attestation_key, np.uint8).reshape(1, 32)
            self._add_keys(index, key, KeyRole.HOLDER | KeyRole.ATTESTER | KeyRole.GOVERNOR)

    @property
    def records_count(self) -> int:
        """Number of accounts and transfers that took effect."""
        return self.engine.transfer_count + self.state.size - 1

    def public_key(self, index: int) -> bytes:
        """Ed25519 public key at a key index; 32 bytes."""
        if not 0 <= index < self.keys_count:
            raise IndexError(f"key index: expected [0, {self.keys_count}), got {index}")
        return bytes(self.authority.public_keys[index])

    def next_sequence(self, number: int, kind: int) -> int:
        """Sequence that an institution's next batch of a kind must carry (from 1), or a key's next order."""
        if kind == KIND_TRANSFERS:
            return int(self.engine.attestation_sequence(number))
        if kind in ORDER_KINDS:
            return self.authority.last_sequence(number, KIND_MANDATE) + 1
        return self.authority.last_sequence(number, kind) + 1

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

    def begin(self, time_ns: int) -> None:
        """Begin the next block; its time is at least `next_time_ns`, and no record's leaves 63 bits."""
        time_max_ns = _TIME_MAX_NS - self.genesis.block_transfers_max
        if not self.next_time_ns <= time_ns <= time_max_ns:
            expected = f"expected {self.next_time_ns} to {time_max_ns}"
            raise InputError(f"block time: {expected}, got {time_ns}", field="time_ns")
        self.dirty = True
        self._forming = Forming(time_ns, time_ns, time_ns + self.genesis.block_transfers_max)
        self.engine.set_height(self.posted_height + 1)
        self._forming.expired_count = len(self.engine.expire(time_ns, _EXPIRIES_PER_BLOCK_MAX)[0])

    def has_room(self, submission: Submission, beside: int = 0) -> bool:
        """Whether the block being formed can still take a submission, and so many records beside it.

        It can if it is not full, and nothing comes too late.

        Keys and accounts stand before transfers, for that is the order in which a block is executed again.
        """
        forming = self._open_block
        if forming.transfers_submitted and not isinstance(submission, TransferBatch):
            return False
        return forming.submitted + record_count(submission) + beside <= self.genesis.block_transfers_max

    def execute(self, prepared: Prepared) -> NDArray[np.uint32]:
        """Let a submission take effect in the block being formed; gives a code for each record, key indexes for keys.

        Raises
        ------
        AuthorisationError, SignatureError, InputError
            If a batch of keys or accounts is not authorised or can't be taken; nothing has changed.
        """
        if prepared.keys_count != self.keys_count and names_key_above(prepared.submission, prepared.keys_count):
            prepared = self.prepare(prepared.submission)  # it may name a key that came since
        submission = prepared.submission
        if isinstance(submission, TransferBatch):
            return self._execute_transfers(submission, prepared)
        if self._open_block.transfers_submitted:
            raise StateError("keys, accounts and changes of authority stand before the transfers of a block")
        if isinstance(submission, OwnerOrder):
            return self._execute_order(submission, prepared)
        if isinstance(submission, ChangeValidators):
            return self._execute_validators(submission, bool(prepared.valid))
        attest, valid = self._attestation(prepared)
        self._require_authorised(attest, batch_kind(submission), valid)
        if isinstance(submission, KeyBatch):
            return self._execute_keys(submission, attest)
        if isinstance(submission, ChangeBatch):
            return self._execute_change(submission, attest)
        return self._execute_accounts(submission, attest, prepared.hashes)

    def finish(self, *, epoch: int, round: int, validators_hash: bytes, keep_empty: bool = False) -> Block | None:
        """Put the block together; None if nothing took effect and it need not be kept empty. `commit` must follow."""
        closed = self.close_block(keep_empty=keep_empty)
        if closed is None:
            return None
        return self.link(closed, epoch=epoch, round=round, validators_hash=validators_hash)

    def close_block(self, *, keep_empty: bool = False) -> Closed | None:
        """Let the block being formed take nothing more; None if nothing took effect and it need not be kept empty.

        The next block may be begun at once. `link` and `commit` must follow for each closed block, in their order.
        """
        forming = self._open_block
        self._forming = None
        if forming.is_empty and not keep_empty:
            self.dirty = self.posted_height != self.height
            return None
        forming.end_refusals()
        with self.stage("post"):
            if self.posted_height == self.height and not forming.accounts_count:  # the tree is as before this block
                self.engine.take_touched_into(self.state.native, 0)
            slots = self.engine.slots_touched()
            payloads = self.engine.payloads_at(slots, out=self._payloads.take(len(slots)))
        self.posted_height += 1
        self.next_time_ns = forming.last_time_ns + 1
        return Closed(self.posted_height, forming, slots, payloads, self.authority.office)

    def link(self, closed: Closed, *, epoch: int, round: int, validators_hash: bytes) -> Block:
        """Give a closed block its roots and its place behind the last one committed; may run beside the forming."""
        if closed.height != self.height + 1:
            raise StateError(f"expected block {self.height + 1} to be linked, got {closed.height}")
        forming = closed.forming
        with self.stage("state"):
            self._update_state(closed)
            self._payloads.give_back(closed.payloads)
            state_root = self.state.root()
        with self.stage("roots"):
            body = forming.body()
            header = Header(
                chain_id=self.chain_id,
                epoch=epoch,
                height=closed.height,
                round=round,
                time_ns=forming.time_ns,
                parent=self.tip,
                validators_hash=validators_hash,
                next_validators_hash=_successor(closed) or validators_hash,
                accounts_count=forming.accounts_count,
                transfers_count=forming.transfers_count,
                commands_count=len(forming.commands),
                state_root=state_root,
                history_root=self.history.root(),
                **forming.roots(),
            )
        return Block(header, body)

    def commit(self, block: Block) -> None:
        """Take the block that was formed or applied here as the last one."""
        self.history.append(block.hash)
        self.height = block.header.height
        self.tip = block.hash
        self.dirty = self._forming is not None or self.posted_height != self.height

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
        try:
            self.begin(header.time_ns)
        except InputError as error:
            raise Mismatch(header.height, None, "time_ns", str(error)) from error
        progress = Progress(header.height)
        for name, submission, refused in _parts(block):
            try:
                results = self.execute(self.prepare(submission, trusted=trusted))
            except (LedgerError, ValueError, IndexError, OverflowError) as error:
                raise progress.refused(name, submission, error, refused) from error
            progress.executed(name, submission, results, refused)
        formed = self.finish(
            epoch=header.epoch, round=header.round, validators_hash=header.validators_hash, keep_empty=True
        )
        assert formed is not None
        require_same_body(header.height, formed.body, block.body)
        require_same_header(formed.header, header)
        self.commit(block)

    # Blocks that may be taken back ----------------------------------------------------------------------------------

    def mark(self) -> None:
        """Make the next block one that `roll_back` can take back, until `release`; marks may stand on each other."""
        self.engine.begin_block()
        self.state.begin_block()
        powers = (self.authority.sequences.copy(), self.authority.office)
        self._marks.append(Mark(self.height, self.tip, self.next_time_ns, self.keys_count, *powers))

    def release(self) -> None:
        """Make the block behind the oldest mark one that stays."""
        self.engine.commit_block()
        self.state.commit_block()
        self._marks.popleft()

    def roll_back(self) -> None:
        """Take back everything since the newest mark: a block, or what was executed of one that was not finished."""
        self.engine.roll_back_block()
        self.state.roll_back_block()
        mark = self._marks.pop()
        mark.put_back(self)
        self._forming, self.dirty = None, False

    def prove_account(self, account_id: int) -> bytes:
        """State proof that an account is, or is not, in the state after the last block."""
        if not 1 <= account_id < (1 << 128) - 1:
            raise InputError(f"account_id: expected an integer in [1, 2**128 - 2], got {account_id}")
        if self.state.slots_of(u128_array([account_id]))[0]:
            return self.state.prove_membership(account_id)
        return self.state.prove_absence(account_id)

    def check_invariants(self) -> None:
        """Scan the accounts, and all transfers while they are in memory; StateError names what does not hold first.

        Once old transfers are on disk they are left out: one by one they would be read at random.
        """
        everything = self.engine.sealed_count == 0
        violation = self.engine.check_invariants() if everything else self.engine.check_accounts_and_totals()
        if violation is not None:
            raise StateError(f"after block {self.height}: {violation}")

    # Authority -------------------------------------------------------------------------------------------------------

    def _attestation(self, prepared: Prepared) -> tuple[Attest, bool]:
        """The attestation and whether it is valid; made now if the key is held here."""
        assert not isinstance(prepared.submission, OwnerOrder | ChangeValidators)
        attest, kind = prepared.submission.attest, batch_kind(prepared.submission)
        if isinstance(attest, HeldKey):
            size, root = prepared.signed_count, prepared.signed_root
            sequence = self.next_sequence(attest.institution, kind)
            message = self.authority.message(kind, attest.institution, sequence, size, root)
            attest = Attest(attest.institution, sequence, attest.sign(message), signer=attest.signer)
            return attest, self.authority.attestation_valid(attest, kind, size, root)
        assert attest is not None
        return attest, bool(prepared.valid)

    def _require_authorised(self, attest: Attest, kind: int, valid: bool) -> None:
        """A batch of keys, accounts or changes that is not authorised changes nothing."""
        bic = self.authority.institution_name(attest.institution)
        expected = self.next_sequence(attest.institution, kind)
        if attest.sequence != expected:
            raise AuthorisationError(
                f"{bic}: expected sequence {expected}, got {attest.sequence}: an attestation counts once"
            )
        self.require_attester(attest.institution, attest.key, valid)

    def require_attester(self, institution: int, key: int, valid: bool = True) -> None:
        """Refuse a key that may not attest for an institution in the next block, or a signature that is not valid.

        Raises
        ------
        AuthorisationError
        """
        bic = self.authority.institution_name(institution)
        code = self.engine.check_attester(institution, key, valid)
        if code == CreateTransferResult.ATTESTATION_INVALID:
            raise AuthorisationError(f"{bic}: the attestation's signature is not valid for this batch")
        if code:
            reason = CreateTransferResult(code).name.lower()
            raise AuthorisationError(f"{bic}: key {key} does not attest for it: {reason}")

    def require_governor(self, institution: int, key: int, valid: bool = True) -> None:
        """Refuse a key that may not govern for an institution in the next block, or a signature that is not valid.

        Raises
        ------
        AuthorisationError
        """
        bic = self.authority.institution_name(institution)
        code = self.engine.check_governor(institution, key, valid)
        if code == CreateTransferResult.ATTESTATION_INVALID:
            raise AuthorisationError("change of validators: the signature of an approval is not valid")
        if code:
            reason = CreateTransferResult(code).name.lower()
            raise AuthorisationError(f"{bic}: key {key} does not govern for it: {reason}")

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
        if batch.roles & KeyRole.GOVERNOR:
            self.require_governor(attest.institution, attest.key)
        forming = self._open_block
        indexes = self._add_keys(attest.institution, batch.public_keys, batch.roles, batch.valid_from)
        self.authority.set_sequence(attest.institution, KIND_KEYS, attest.sequence)
        forming.submitted += len(indexes)
        by = (attest.institution, attest.sequence, attest.key)
        columns = (batch.public_keys.tobytes(), batch.proofs.tobytes())
        forming.commands.append(RegisterKeys(*by, batch.roles, batch.valid_from, *columns, attest.signature))
        return indexes

    def _execute_validators(self, change: ChangeValidators, valid: bool) -> NDArray[np.uint32]:
        """A change of the validators that is refused is not in the block and uses up no number."""
        expected = self.next_sequence(0, KIND_VALIDATORS)
        if change.number != expected:
            raise AuthorisationError(f"change of validators: expected sequence {expected}, got {change.number}")
        self.authority.require_approvals(change)
        for approval in change.approvals:
            self.require_governor(approval.institution, approval.signer, valid)
        height, office = self.posted_height + 1, self.authority.office
        self.authority.office = office.scheduled(height, change.from_height, Roster(change.validators))
        self.authority.set_sequence(0, KIND_VALIDATORS, change.number)
        self._open_block.commands.append(change)
        self._open_block.submitted += 1
        return np.zeros(1, np.uint32)

    def _execute_change(self, batch: ChangeBatch, attest: Attest) -> NDArray[np.uint32]:
        results = apply_change(self.engine, batch.kind, batch.rows, attest.institution)
        self._open_block.add_change(batch, attest, results)
        self.authority.set_sequence(attest.institution, batch.kind, attest.sequence)
        return results

    def _execute_order(self, order: OwnerOrder, prepared: Prepared) -> NDArray[np.uint32]:
        """An order that is refused is not in the block and uses up no sequence."""
        by, valid = order.by, bool(prepared.valid)
        expected = self.next_sequence(by.key, order.kind)
        if isinstance(by, HeldKey):
            by = OrderedBy(by.key, expected, by.sign(self.authority.order_message(order, expected)))
            valid = self.authority.order_valid(order, by)
        if by.sequence != expected:
            found = f"expected sequence {expected}, got {by.sequence}"
            raise AuthorisationError(f"key {by.key}: {found}: an order counts once")
        terms = (order.amount, order.until_height)
        results = apply_order(self.engine, order.kind, order.account_id, order.subject, *terms, by.key, valid)
        if results[0] == AuthorityResult.OK:
            self.authority.set_sequence(by.key, KIND_MANDATE, by.sequence)
            self._open_block.commands.append(order_command(replace(order, by=by)))
            self._open_block.submitted += 1
        return results

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
        assert not isinstance(valid, bool)
        with self.stage("post"):
            results, effects = self.engine.create_transfers(
                batch.records,
                batch.signers,
                valid,
                forming.time_ns,
                controllers=batch.controllers,
                timestamps=timestamps,
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
                signer=attest.key,
                controllers=batch.controllers,
                timestamps=timestamps,
            )
        if self.engine.attestation_sequence(institution) != expected:  # else it was refused, and with it every record
            key = self.authority.public_keys[attest.key : attest.key + 1]
            hashes, root = prepared.hashes, prepared.signed_root
            forming.add_attested(batch, attest, timestamps, hashes, results, effects, key, root)
        return results

    def _add_keys(
        self, institution: int, public_keys: NDArray[np.uint8], roles: int, valid_from: int = 0
    ) -> NDArray[np.uint32]:
        institutions, all_roles = (np.full(len(public_keys), value, np.uint32) for value in (institution, roles))
        first = self.engine.register_keys(institutions, max(valid_from, self.posted_height + 1), all_roles)
        indexes = self.authority.add_keys(public_keys)
        assert not len(indexes) or int(indexes[0]) == first
        return indexes

    def _update_state(self, closed: Closed) -> None:
        leaf_slots = closed.slots + np.uint32(1)  # slot 0 of the state tree is the head of its list
        old = int(np.searchsorted(leaf_slots, self.state.size))  # slots rise, new ones come last
        self.state.update(leaf_slots[:old], closed.payloads[:old])
        new = closed.payloads[old:]
        self.state.insert(np.ascontiguousarray(new.view(ACCOUNT_ENTRY)["record"]["id"].reshape(-1)), new)


def _parts(block: Block) -> Iterator[tuple[str, Submission, tuple[int, ...]]]:
    try:
        yield from submissions_of(block.body)
    except (LedgerError, ValueError, IndexError, OverflowError) as error:
        field = error.field if isinstance(error, InputError) and error.field else "commands"
        raise Mismatch(block.header.height, None, field, str(error)) from error


def new_state_tree() -> StateTree:
    """A state tree for leaves of accounts, which begin with their ids."""
    return StateTree(ACCOUNT_ENTRY.itemsize, key_in_payload=True)


def _before_the_first_block(genesis: Genesis) -> Resumed:
    parts = (merkle.Log(), _core.Engine(), Authority(genesis), new_state_tree())
    return Resumed(0, genesis.hash, genesis.time_ns + 1, *parts)


def _successor(closed: Closed) -> bytes | None:
    """Hash of the set that takes over behind a block, if one does."""
    now, following = closed.office.at(closed.height), closed.office.at(closed.height + 1)
    return following.roster.hash if following.epoch != now.epoch else None
