"""The book: the replicated state and how a block changes it.

`propose` executes submissions on the state and forms the block that holds what took effect; `commit` makes a certified
block durable. `apply` executes a block from the journal and checks that the same roots come out. The book knows nothing
of votes: a certificate is bytes to it.

Who may do what is decided in one place each: whether a signature is valid, by `pyledger.crypto.ed25519`; whether the
signer may debit, by the posting engine; the book brings the two together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyledger import _core
from pyledger.crypto import ed25519, merkle
from pyledger.crypto.state_tree import StateTree
from pyledger.errors import AuthorisationError, InputError, LedgerError, SignatureError, StateError, StorageError
from pyledger.ledger.blocks import (
    ACCOUNT_ENTRY,
    ATTESTED,
    KIND_ACCOUNTS,
    KIND_KEYS,
    KIND_TRANSFERS,
    OUTCOME_SIZE,
    SIGNED,
    Attestation,
    Block,
    Body,
    Command,
    FailedIds,
    Header,
    RegisterKeys,
    account_leaves,
    batch_message,
    command_leaf_hashes,
    outcome_leaves,
    transfer_leaves,
    transfer_messages,
    weave,
)
from pyledger.ledger.genesis import Genesis
from pyledger.types import (
    ACCOUNT,
    NO_KEY,
    TRANSFER,
    U128,
    AccountFlags,
    KeyRole,
    TransferFlags,
)

__all__ = ["AccountBatch", "Attest", "Book", "Execution", "KeyBatch", "Submission", "TransferBatch"]

_EXPIRIES_PER_BLOCK_MAX = 65_536
_PAYLOAD_SIZE = ACCOUNT_ENTRY.itemsize


@dataclass(frozen=True, slots=True)
class Attest:
    """An institution's signature over `batch_message`, for a whole batch.

    Parameters
    ----------
    institution : int
    sequence : int
        One above that of the institution's last batch of the same kind.
    signature : bytes
        64 bytes.
    refused_positions, refused_leaves : optional
        When a block is executed again: which records of the signed batch had been refused, and their leaf hashes.
    """

    institution: int
    sequence: int
    signature: bytes
    refused_positions: tuple[int, ...] = ()
    refused_leaves: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """An institution registers public keys, shape (n, 32)."""

    public_keys: NDArray[np.uint8]
    attest: Attest


@dataclass(frozen=True, slots=True)
class AccountBatch:
    """An institution opens accounts, dtype ACCOUNT_ENTRY, balances zero.

    `timestamps` are given when a block is executed again.
    """

    entries: NDArray[Any]
    attest: Attest
    timestamps: NDArray[np.uint64] | None = None


@dataclass(frozen=True, slots=True)
class TransferBatch:
    """Transfers, each signed by a key (`signers`, `signatures`) or all attested by an institution (`attest`).

    Parameters
    ----------
    records : NDArray, shape (n,), dtype TRANSFER
    signers : NDArray[uint32], shape (n,), optional
        Key index of each signature.
    signatures : NDArray[uint8], shape (n, 64), optional
    attest : Attest, optional
        Instead of the signatures.
    timestamps : NDArray[uint64], shape (n,), optional
        When a block is executed again: those of its records.
    """

    records: NDArray[Any]
    signers: NDArray[np.uint32] | None = None
    signatures: NDArray[np.uint8] | None = None
    attest: Attest | None = None
    timestamps: NDArray[np.uint64] | None = None


Submission = KeyBatch | AccountBatch | TransferBatch


@dataclass(frozen=True, slots=True)
class Execution:
    """A block formed from a submission, and one result code for each of its records (key indexes for keys)."""

    block: Block
    results: NDArray[np.uint32]


@dataclass
class _Columns:
    """What takes effect in the block being formed."""

    time_ns: int
    next_timestamp: int
    commands: list[Command] = field(default_factory=list)
    accounts: list[NDArray[Any]] = field(default_factory=list)
    account_hashes: list[NDArray[np.uint8]] = field(default_factory=list)
    transfers: list[NDArray[Any]] = field(default_factory=list)
    transfer_hashes: list[NDArray[np.uint8]] = field(default_factory=list)
    signers: list[NDArray[np.uint32]] = field(default_factory=list)
    signatures: list[NDArray[np.uint8]] = field(default_factory=list)
    effects: list[NDArray[Any]] = field(default_factory=list)
    outcomes: list[NDArray[np.uint8]] = field(default_factory=list)

    @property
    def accounts_count(self) -> int:
        return sum(map(len, self.accounts))

    @property
    def transfers_count(self) -> int:
        return sum(map(len, self.transfers))

    def take_timestamps(self, submission: AccountBatch | TransferBatch, count: int) -> NDArray[np.uint64]:
        """One for each record submitted, a nanosecond apart; or those the records had when they first took effect."""
        first, self.next_timestamp = self.next_timestamp, self.next_timestamp + count
        if submission.timestamps is not None:
            return submission.timestamps
        return np.arange(first, first + count, dtype=np.uint64)

    def body(self) -> Body:
        transfers = _join(self.transfers, TRANSFER)
        effects = _join(self.effects, U128)
        if np.array_equal(effects, transfers["amount"]):
            effects = effects[:0]
        return Body(
            tuple(self.commands),
            _join(self.accounts, ACCOUNT_ENTRY),
            transfers,
            _join(self.signers, np.dtype(np.uint32)),
            np.concatenate([np.empty((0, 64), np.uint8), *self.signatures]),
            effects,
        )


class Book:
    """The state of a chain after its last block.

    Parameters
    ----------
    genesis : Genesis

    Attributes
    ----------
    height : int
        Height of the last block, 0 before the first.
    tip : bytes
        Hash of the last block, the genesis hash before the first.
    next_time_ns : int
        Earliest time that the next block may have.
    dirty : bool
        Whether the state is ahead of the last committed block: a proposal is under way, or one failed.
    history : pyledger.crypto.merkle.Log
        Hashes of all headers.
    stage_seconds : dict of str to float
        Wall time spent so far in each stage: hash, verify, post, state.
    """

    def __init__(self, genesis: Genesis) -> None:
        genesis.check()
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.height = 0
        self.tip = genesis.hash
        self.next_time_ns = genesis.time_ns + 1
        self.dirty = False
        self.history = merkle.Log()
        self.stage_seconds: defaultdict[str, float] = defaultdict(float)
        self.engine = _core.Engine()
        self._keys = ed25519.KeyRegistry()
        self._known_keys: set[bytes] = set()
        self._public_keys = np.empty((0, 32), np.uint8)
        self._state = StateTree(_PAYLOAD_SIZE)
        self._failed_ids_count = 0
        self._sequences: Counter[tuple[int, int]] = Counter()
        for index, institution in enumerate(genesis.institutions):
            self._add_keys(index, _key_rows(institution.attestation_key), KeyRole.HOLDER | KeyRole.ATTESTER)

    @property
    def keys_count(self) -> int:
        """Number of registered keys."""
        return len(self._keys)

    def public_key(self, index: int) -> bytes:
        """Ed25519 public key at a key index; 32 bytes."""
        return bytes(self._keys.public_key(index))

    def next_sequence(self, institution: int, kind: int) -> int:
        """Sequence that an institution's next batch of a kind must carry (from 1)."""
        if kind == KIND_TRANSFERS:
            return int(self.engine.attestation_sequence(institution))
        return self._sequences[institution, kind] + 1

    @property
    def state(self) -> StateTree:
        """The state tree: one leaf an account, keyed by account id."""
        return self._state

    def propose(
        self,
        submission: Submission | None,
        *,
        time_ns: int,
        epoch: int,
        round: int,
        validators_hash: bytes,
    ) -> Execution:
        """Execute a submission and form the next block from what took effect.

        The state is that after the block when this returns; `commit` must follow, or the book must be thrown away.

        Parameters
        ----------
        submission : Submission or None
            None forms an empty block.
        time_ns : int
            Block time, at least `next_time_ns`.
        epoch, round : int
        validators_hash : bytes

        Raises
        ------
        AuthorisationError, SignatureError, InputError
            If a batch of keys or accounts is not authorised, or it is malformed; the state is unchanged.
        """
        if time_ns < self.next_time_ns:
            raise InputError(f"block time: expected at least {self.next_time_ns}, got {time_ns}")
        prepared = None if submission is None else self._prepare(submission, trusted=False)
        columns = _Columns(time_ns, time_ns)
        self._begin_block(time_ns)
        results = np.empty(0, np.uint32) if prepared is None else self._execute(*prepared, columns)
        self._take_failed_ids(columns)
        header = self._header(columns, epoch, round, validators_hash)
        return Execution(Block(header, columns.body()), results)

    def commit(self, block: Block) -> None:
        """Take the block that was proposed or applied here as the last one."""
        header = block.header
        self.history.append(block.hash)
        self.height = header.height
        self.tip = block.hash
        self.dirty = False
        self.next_time_ns = _last_time_ns(block) + 1

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
        columns = _Columns(header.time_ns, header.time_ns)
        self._begin_block(header.time_ns)
        try:
            for submission in _submissions(block.body):
                results = self._execute(*self._prepare(submission, trusted=trusted), columns)
                _require_effect(submission, results)
        except (LedgerError, ValueError, IndexError, OverflowError) as error:
            raise StorageError(f"block {header.height}: {error}") from error
        self._restore_failed_ids(block.body, columns)
        _require_same_header(self._header(columns, header.epoch, header.round, header.validators_hash), header)
        if columns.body().to_bytes() != block.body.to_bytes():
            raise StorageError(f"block {header.height}: the body comes out different when it is executed again")
        self.commit(block)

    def check_invariants(self) -> None:
        """Scan the whole state; StateError names the first invariant that does not hold."""
        violation = self.engine.check_invariants()
        if violation is not None:
            raise StateError(f"after block {self.height}: {violation}")

    # Preparing: hashes and signatures, nothing changes. -------------------------------------------------------------

    def _prepare(
        self, submission: Submission, *, trusted: bool
    ) -> tuple[Submission, NDArray[np.uint8], NDArray[np.bool_] | bool]:
        """Leaf hashes of the records; and whether each has a valid signature, or whether the attestation is valid."""
        self._require_form(submission)
        with self.stage("hash"):
            hashes = merkle.leaf_hashes(_leaves(self.chain_id, submission))
        with self.stage("verify"):
            if isinstance(submission, TransferBatch) and submission.attest is None:
                return submission, hashes, self._signatures_valid(submission, hashes, trusted)
            valid = trusted or self._attestation_valid(submission, hashes)
        if not isinstance(submission, TransferBatch):
            self._require_authorised(submission, valid)
        return submission, hashes, valid

    def _require_form(self, submission: Submission) -> None:
        """Refuse what the engine could not take, before anything changes."""
        limit = self.genesis.block_transfers_max
        if isinstance(submission, KeyBatch):
            count = _require_array("public_keys", submission.public_keys, np.dtype(np.uint8), (32,))
        elif isinstance(submission, AccountBatch):
            count = _require_array("accounts", submission.entries, ACCOUNT_ENTRY, ())
        else:
            count = _require_array("transfers", submission.records, TRANSFER, ())
            if submission.signers is not None:
                _require_array("signers", submission.signers, np.dtype(np.uint32), ())
            if submission.signatures is not None:
                _require_array("signatures", submission.signatures, np.dtype(np.uint8), (64,))
        if count > limit:
            raise InputError(f"a block takes {limit} records, got {count}: send them in several calls")
        attest = submission.attest
        if attest is not None and not (0 <= attest.sequence < 1 << 64 and len(attest.signature) == 64):
            raise InputError("attestation: expected a sequence below 2**64 and a signature of 64 bytes")

    def _signatures_valid(self, batch: TransferBatch, hashes: NDArray[np.uint8], trusted: bool) -> NDArray[np.bool_]:
        signers, signatures = batch.signers, batch.signatures
        if signers is None or signatures is None:
            raise AuthorisationError("transfers: expected signers and signatures, or an attestation")
        if signers.shape != (len(hashes),) or signatures.shape != (len(hashes), 64):
            raise InputError(
                f"transfers: expected signers ({len(hashes)},) and signatures ({len(hashes)}, 64), "
                f"got {signers.shape} and {signatures.shape}"
            )
        if trusted:
            return np.ones(len(hashes), np.bool_)
        known = signers < self.keys_count
        valid = self._keys.verify_many(
            np.where(known, signers, 0).astype(np.uint32), transfer_messages(batch.records, hashes), signatures
        )
        return valid & known

    def _attestation_valid(self, submission: Submission, hashes: NDArray[np.uint8]) -> bool:
        attest = submission.attest
        assert attest is not None
        if not 0 <= attest.institution < len(self.genesis.institutions):
            raise AuthorisationError(f"institution {attest.institution}: not a member of this chain")
        signed = weave(hashes, attest.refused_positions, attest.refused_leaves)
        root = merkle.root_of_leaf_hashes(signed)
        message = batch_message(
            _KINDS[type(submission)], self.chain_id, attest.institution, attest.sequence, len(signed), root
        )
        key = self.genesis.institutions[attest.institution].attestation_key
        try:
            ed25519.verify(key, message, attest.signature)
        except SignatureError:
            return False
        return True

    def _require_authorised(self, batch: KeyBatch | AccountBatch, valid: bool) -> None:
        """Keys and accounts come in whole batches: a batch that is not authorised changes nothing."""
        attest, kind = batch.attest, _KINDS[type(batch)]
        bic = self.genesis.institutions[attest.institution].bic
        expected = self.next_sequence(attest.institution, kind)
        if attest.sequence != expected:
            raise AuthorisationError(
                f"{bic}: expected sequence {expected}, got {attest.sequence}: an attestation counts once"
            )
        if not valid:
            raise AuthorisationError(f"{bic}: the attestation's signature is not valid for this batch")
        if isinstance(batch, KeyBatch):
            self._require_new_keys(batch.public_keys)
        else:
            self._require_known_ledgers(batch.entries["record"]["ledger"])

    def _require_known_ledgers(self, ledgers: NDArray[np.uint32]) -> None:
        known = np.isin(ledgers, list(self.genesis.currency_by_ledger))
        if not known.all():
            row = int(np.argmin(known))
            expected = f"expected a ledger of this chain ({', '.join(map(str, self.genesis.currency_by_ledger))})"
            raise InputError(f"{expected}, got {ledgers[row]}", row=row + 1, field="ledger")

    def _require_new_keys(self, public_keys: NDArray[np.uint8]) -> None:
        ed25519.check_public_keys(public_keys)
        seen = set(self._known_keys)
        for row, key in enumerate(map(bytes, public_keys), 1):
            if key in seen:
                raise InputError("this public key is registered already", row=row, field="public_key")
            seen.add(key)

    # Executing: the state changes. ----------------------------------------------------------------------------------

    def _begin_block(self, time_ns: int) -> None:
        self.dirty = True
        self.engine.set_height(self.height + 1)
        self.engine.expire(time_ns, _EXPIRIES_PER_BLOCK_MAX)

    def _execute(
        self, submission: Submission, hashes: NDArray[np.uint8], valid: NDArray[np.bool_] | bool, columns: _Columns
    ) -> NDArray[np.uint32]:
        with self.stage("post"):
            if isinstance(submission, KeyBatch):
                return self._execute_keys(submission, columns)
            if isinstance(submission, AccountBatch):
                return self._execute_accounts(submission, hashes, columns)
            return self._execute_transfers(submission, hashes, valid, columns)

    def _execute_keys(self, batch: KeyBatch, columns: _Columns) -> NDArray[np.uint32]:
        attest = batch.attest
        indexes = self._add_keys(attest.institution, batch.public_keys)
        self._sequences[attest.institution, KIND_KEYS] = attest.sequence
        columns.commands.append(
            RegisterKeys(attest.institution, attest.sequence, batch.public_keys.tobytes(), attest.signature)
        )
        return indexes

    def _execute_accounts(
        self, batch: AccountBatch, hashes: NDArray[np.uint8], columns: _Columns
    ) -> NDArray[np.uint32]:
        entries, attest = batch.entries, batch.attest
        first, timestamps = columns.accounts_count, columns.take_timestamps(batch, len(batch.entries))
        results = self.engine.create_accounts(
            np.ascontiguousarray(entries["record"]),
            np.ascontiguousarray(entries["owner_key"]),
            np.ascontiguousarray(entries["institution"]),
            columns.time_ns,
            attest.institution,
            timestamps=timestamps,
        )
        taken = results == 0
        columns.accounts.append(_stamped(entries[taken], timestamps[taken]))
        columns.account_hashes.append(hashes[taken])
        columns.commands.append(_attestation(KIND_ACCOUNTS, attest, first, hashes, taken))
        self._sequences[attest.institution, KIND_ACCOUNTS] = attest.sequence
        return results

    def _execute_transfers(
        self, batch: TransferBatch, hashes: NDArray[np.uint8], valid: NDArray[np.bool_] | bool, columns: _Columns
    ) -> NDArray[np.uint32]:
        first, timestamps = columns.transfers_count, columns.take_timestamps(batch, len(batch.records))
        attest = batch.attest
        if attest is None:
            assert batch.signers is not None
            assert batch.signatures is not None
            assert not isinstance(valid, bool)
            results, effects = self.engine.create_transfers(
                batch.records, batch.signers, valid, columns.time_ns, timestamps=timestamps
            )
            taken = results == 0
            kind, institution, sequence, keys = SIGNED, 0, 0, self._public_keys[batch.signers[taken]]
            columns.signers.append(batch.signers[taken])
            columns.signatures.append(batch.signatures[taken])
        else:
            expected = self.engine.attestation_sequence(attest.institution)
            results, effects = self.engine.create_transfers_attested(
                batch.records,
                attest.institution,
                attest.sequence,
                bool(valid),
                columns.time_ns,
                signer=attest.institution,
                timestamps=timestamps,
            )
            if self.engine.attestation_sequence(attest.institution) == expected:
                return results  # the attestation itself was refused, and with it every record
            taken = results == 0
            kind, institution, sequence = ATTESTED, attest.institution, attest.sequence
            keys = self._public_keys[institution : institution + 1]
            columns.signers.append(np.full(int(taken.sum()), NO_KEY, np.uint32))
            columns.commands.append(_attestation(KIND_TRANSFERS, attest, first, hashes, taken))
        stamped = _stamped(batch.records[taken], timestamps[taken])
        columns.transfers.append(stamped)
        columns.outcomes.append(
            outcome_leaves(
                np.ascontiguousarray(stamped["timestamp"]), effects[taken], kind, institution, sequence, keys
            )
        )
        columns.transfer_hashes.append(hashes[taken])
        columns.effects.append(effects[taken])
        return results

    def _add_keys(
        self, institution: int, public_keys: NDArray[np.uint8], roles: KeyRole = KeyRole.HOLDER
    ) -> NDArray[np.uint32]:
        indexes = self._keys.add(public_keys)
        institutions = np.full(len(public_keys), institution, np.uint32)
        first = self.engine.register_keys(institutions, self.height + 1, np.full(len(public_keys), roles, np.uint32))
        assert not len(indexes) or int(indexes[0]) == first
        self._known_keys.update(map(bytes, public_keys))
        self._public_keys = np.concatenate([self._public_keys, public_keys])
        return indexes

    def _take_failed_ids(self, columns: _Columns) -> None:
        """Ids that were answered with a passing failure may not take effect later: state, so it goes into the block."""
        ids = self.engine.failed_ids(self._failed_ids_count)
        self._failed_ids_count += len(ids)
        if len(ids):
            columns.commands.append(FailedIds(ids.tobytes()))

    def _restore_failed_ids(self, body: Body, columns: _Columns) -> None:
        for command in body.commands:
            if isinstance(command, FailedIds):
                self.engine.add_failed_ids(np.frombuffer(command.ids, U128))
        self._take_failed_ids(columns)

    def _header(self, columns: _Columns, epoch: int, round: int, validators_hash: bytes) -> Header:
        """Bring the state tree up to date and put every root together."""
        with self.stage("state"):
            self._update_state()
            state_root = self._state.root()
        with self.stage("hash"):
            body = columns.body()
            return Header(
                chain_id=self.chain_id,
                epoch=epoch,
                height=self.height + 1,
                round=round,
                time_ns=columns.time_ns,
                parent=self.tip,
                validators_hash=validators_hash,
                next_validators_hash=validators_hash,
                accounts_count=len(body.accounts),
                transfers_count=len(body.transfers),
                commands_count=len(body.commands),
                accounts_root=merkle.root_of_leaf_hashes(_join_rows(columns.account_hashes)),
                transfers_root=merkle.root_of_leaf_hashes(_join_rows(columns.transfer_hashes)),
                commands_root=merkle.root_of_leaf_hashes(command_leaf_hashes(body.commands)),
                outcomes_root=merkle.root(np.concatenate([np.empty((0, OUTCOME_SIZE), np.uint8), *columns.outcomes])),
                state_root=state_root,
                history_root=self.history.root(),
            )

    def _update_state(self) -> None:
        slots = self.engine.slots_touched()
        payloads = np.empty(len(slots), ACCOUNT_ENTRY)
        payloads["record"] = self.engine.records_at(slots)
        payloads["owner_key"], payloads["institution"] = self.engine.standings_at(slots)
        rows = payloads.view(np.uint8).reshape(-1, _PAYLOAD_SIZE)
        leaf_slots = slots + np.uint32(1)  # slot 0 of the state tree is the head of its list
        new = leaf_slots >= self._state.size
        self._state.update(leaf_slots[~new], rows[~new])
        self._state.insert(np.ascontiguousarray(payloads["record"]["id"][new]), rows[new])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of the block of code to a stage."""
        started = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds[name] += perf_counter() - started


_KINDS = {KeyBatch: KIND_KEYS, AccountBatch: KIND_ACCOUNTS, TransferBatch: KIND_TRANSFERS}


def _require_array(name: str, array: NDArray[Any], dtype: np.dtype[Any], row: tuple[int, ...]) -> int:
    """Number of rows of a C-contiguous array of exactly this dtype and row shape."""
    if array.dtype != dtype or array.shape[1:] != row or array.ndim != 1 + len(row) or not array.flags.c_contiguous:
        shape = f"(n, {row[0]})" if row else "(n,)"
        raise InputError(
            f"{name}: expected a C-contiguous array of shape {shape} and dtype {_dtype_name(dtype)}, "
            f"got shape {array.shape} and dtype {_dtype_name(array.dtype)}"
        )
    return len(array)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    names = {ACCOUNT_ENTRY: "ACCOUNT_ENTRY", ACCOUNT: "ACCOUNT", TRANSFER: "TRANSFER"}
    return names.get(dtype, str(dtype))


def _leaves(chain_id: bytes, submission: Submission) -> NDArray[np.uint8]:
    if isinstance(submission, KeyBatch):
        return submission.public_keys
    if isinstance(submission, AccountBatch):
        return account_leaves(chain_id, submission.entries)
    return transfer_leaves(chain_id, submission.records)


def _attestation(
    kind: int, attest: Attest, first: int, hashes: NDArray[np.uint8], taken: NDArray[np.bool_]
) -> Attestation:
    """The command that keeps the attestation in the block, with what was refused now or when it was first executed."""
    positions, leaves = attest.refused_positions, attest.refused_leaves
    if not taken.all():
        positions = tuple(np.flatnonzero(~taken).tolist())
        leaves = hashes[~taken].tobytes()
    return Attestation(
        attest.institution, attest.sequence, kind, first, int(taken.sum()), positions, leaves, attest.signature
    )


def _submissions(body: Body) -> Iterator[Submission]:
    """What was executed to form a body, in order: keys, accounts, then transfers."""
    records, times = _unstamped(body.transfers)
    signatures_before = np.concatenate([[0], np.cumsum(body.signers != NO_KEY)])

    def signed(start: int, end: int) -> Iterator[TransferBatch]:
        imported = _imported(records[start:end])
        cuts = [start, *(start + 1 + np.flatnonzero(imported[1:] != imported[:-1])).tolist(), end]
        for low, high in pairwise(cuts if start < end else []):  # a batch is imported as a whole or not at all
            signatures = body.signatures[signatures_before[low] : signatures_before[high]]
            yield TransferBatch(records[low:high], body.signers[low:high], signatures, timestamps=times[low:high])

    position = 0
    for command in body.commands:
        if isinstance(command, RegisterKeys):
            attest = Attest(command.institution, command.sequence, command.signature)
            yield KeyBatch(_key_rows(command.public_keys), attest)
        elif isinstance(command, Attestation) and command.kind == KIND_ACCOUNTS:
            entries, entry_times = _unstamped(body.accounts[command.first : command.first + command.taken])
            yield AccountBatch(entries, _attest(command), entry_times)
        elif isinstance(command, Attestation):
            yield from signed(position, command.first)
            start, position = command.first, command.first + command.taken
            yield TransferBatch(records[start:position], attest=_attest(command), timestamps=times[start:position])
    yield from signed(position, len(records))


def _attest(command: Attestation) -> Attest:
    return Attest(
        command.institution, command.sequence, command.signature, command.refused_positions, command.refused_leaves
    )


def _last_time_ns(block: Block) -> int:
    """Time of the block's last event; the next block is later."""
    last = block.header.time_ns
    for records in (block.body.accounts["record"], block.body.transfers):
        last = max(last, int(records["timestamp"].max(initial=0)))
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


def _stamped(records: NDArray[Any], timestamps: NDArray[np.uint64]) -> NDArray[Any]:
    """The records with the timestamps of their events; imported ones keep their own."""
    stamped: NDArray[Any] = records.copy()
    target = stamped["record"] if records.dtype == ACCOUNT_ENTRY else stamped
    target["timestamp"] = np.where(_imported(target), target["timestamp"], timestamps)
    return stamped


def _unstamped(records: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """The records as they were submitted, and timestamps under which they take effect in the same way again."""
    plain: NDArray[Any] = records.copy()
    target = plain["record"] if records.dtype == ACCOUNT_ENTRY else plain
    timestamps: NDArray[np.uint64] = target["timestamp"].copy()
    target["timestamp"] = np.where(_imported(target), timestamps, 0)
    return plain, timestamps


def _imported(records: NDArray[Any]) -> NDArray[np.bool_]:
    flag = AccountFlags.IMPORTED if records.dtype == ACCOUNT else TransferFlags.IMPORTED
    imported: NDArray[np.bool_] = records["flags"] & flag != 0
    return imported


def _key_rows(public_keys: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(public_keys, np.uint8).reshape(-1, 32)


def _join(arrays: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])


def _join_rows(arrays: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate([np.empty((0, 32), np.uint8), *arrays])
