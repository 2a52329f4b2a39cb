"""`pyledger.Ledger`: book, validators and journal in one process.

A call executes on the book, has the validators certify the block, makes both durable, and only then returns: what it
returned is there after any crash. A block is final when its child is certified in the next round; `seal` adds an empty
block where the newest must be final now.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.committee import Committee
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, ProofError, StateError, StorageError
from pyledger.formats.atomic import atomic_file, make_folder
from pyledger.ledger import queries
from pyledger.ledger.audit import Report, audit_blocks
from pyledger.ledger.batches import AccountBatch, Attest, HeldKey, Submission, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block, Header
from pyledger.ledger.commands import ChangeValidators
from pyledger.ledger.feed import BlockRows, follow
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.parquet import Exported, export_blocks
from pyledger.ledger.proofs import FinalBlock, encode_balance_proof, encode_consistency_proof, encode_receipt
from pyledger.ledger.queries import Balance, Queries, TransferState
from pyledger.ledger.tiles import PublishedLog, publish_log
from pyledger.ledger.validators import Office, Roster
from pyledger.node.certified import (
    Columns,
    Evidence,
    check_certified,
    columns_of,
    decode_evidence,
    decode_payload,
    payload_parts,
    statement,
    verify_certificates,
)
from pyledger.node.finality import final_block
from pyledger.node.keeping import Keeper, Keeping, resume_book, snapshot_height
from pyledger.node.membership import (
    InstitutionKeys,
    attestation_keys,
    require_attesters,
    require_genesis_keys,
    trust_json,
)
from pyledger.node.pipeline import BeforeCommit, Limits, Pipeline, Receipt
from pyledger.node.rights import Attestation, Rights
from pyledger.types import ACCOUNT, TRANSFER, TransferFlags

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Ledger"]

_GENESIS_FILE = "genesis"
_TRUST_FILE = "trust.json"
_JOURNAL_FOLDER = "journal"
_LIMITS = Limits()
_KEEPING = Keeping()


class Ledger(Rights):
    """A ledger in this process. Use `create` or `open`; both are context managers.

    Calls may come from several threads. What is read is durable.

    Attributes
    ----------
    genesis : Genesis
    stage_seconds : dict of str to float
        Wall time spent in each stage: hash, verify, post, state, certify, write.
    """

    def __init__(
        self,
        path: Path,
        genesis: Genesis,
        keys: Sequence[InstitutionKeys],
        clock: Callable[[], int],
        read_only: bool,
        limits: Limits,
        keeping: Keeping,
    ) -> None:
        self.path = path
        self.genesis = genesis
        self._attestation_keys = attestation_keys(genesis, keys)
        self._committee: Committee | None = None
        self._pipeline: Pipeline | None = None
        self._keeper: Keeper | None = None
        self._columns: deque[Columns] = deque()  # of blocks that the journal took and that are not durable yet
        self._refreshing = threading.Lock()
        known = snapshot_height(path)
        folder = path / _JOURNAL_FOLDER
        self._journal = Journal(folder, genesis.hash, read_only=read_only, known_height=known, verify_from=known + 1)
        try:
            self._book, self._headers = resume_book(genesis, path, self._journal)
            self._queries = Queries(self._book, self._headers, self.block, self._reading)
            self.stage_seconds = self._book.stage_seconds
            if not read_only:
                self._keeper = Keeper(path, self._book, self._journal, keeping)
            self._replay(self._book.height + 1)
            require_attesters(self._book, self._attestation_keys)
            if not read_only:
                self._begin_writing(keys, clock, limits)
        except BaseException:
            self._journal.close()
            raise
        self.stage_seconds.clear()

    def _begin_writing(self, keys: Sequence[InstitutionKeys], clock: Callable[[], int], limits: Limits) -> None:
        tip = self._headers[-1] if self._headers else None
        last_vote = (0, 0) if tip is None else (tip.epoch, tip.round)
        office = self._book.authority.office
        if office.epoch or office.successor:
            raise StateError("the validators of this ledger change by votes: its nodes write to it")
        validators = office.roster.keys
        self._committee = Committee(validators, [key.validator for key in keys], last_vote)
        self._pipeline = Pipeline(self._book, self._keep, self._settle, clock, validators.hash, limits, tip)
        assert self._keeper is not None
        self._keeper.start(self._resting)

    @classmethod
    def create(
        cls,
        path: str | Path,
        genesis: Genesis,
        *,
        keys: Sequence[InstitutionKeys],
        clock: Callable[[], int] = time.time_ns,
        limits: Limits = _LIMITS,
        keeping: Keeping = _KEEPING,
    ) -> Self:
        """Make a new ledger in a new or empty folder, or finish a `create` that was stopped before it had a genesis.

        Parameters
        ----------
        path : str or Path
        genesis : Genesis
        keys : sequence of InstitutionKeys
            Institutions that this process votes and attests for; a quorum at least.
        clock : callable, optional
            Gives nanoseconds since 1970 UTC, asked when a submission is taken.
        limits : Limits, optional
            How much may be under way at once.
        keeping : Keeping, optional
            How much stays in memory, and how often a snapshot is taken.

        Raises
        ------
        StorageError
            If the folder holds something or can't be written.
        InputError
            If the genesis is not valid.
        """
        data = genesis.to_bytes()
        Committee(Roster.of(genesis).keys, [key.validator for key in keys])  # refuse before anything is written
        require_genesis_keys(genesis, keys)
        folder = make_folder(path)
        if not _is_free(folder):
            raise StorageError(f"{folder}: not empty; a new ledger needs a folder of its own")
        make_folder(folder / _JOURNAL_FOLDER)
        with atomic_file(folder / _TRUST_FILE) as file:
            file.write(trust_json(genesis))
        with atomic_file(folder / _GENESIS_FILE) as file:
            file.write(data)
        return cls(folder, genesis, keys, clock, False, limits, keeping)

    @classmethod
    def open(
        cls,
        path: str | Path,
        read_only: bool = False,
        *,
        keys: Sequence[InstitutionKeys] = (),
        clock: Callable[[], int] = time.time_ns,
        limits: Limits = _LIMITS,
        keeping: Keeping = _KEEPING,
    ) -> Self:
        """Open a ledger that `create` made.

        Blocks behind the newest whole snapshot are executed again and their roots compared; without one, all blocks.

        Parameters
        ----------
        path : str or Path
        read_only : bool, optional
            Look only; works beside a process that writes. Needs no keys.
        keys, clock, limits, keeping : optional
            As for `create`.

        Raises
        ------
        StorageError
            If there is no ledger, another process writes to it, or the journal is corrupt.
        """
        folder = Path(path)
        return cls(folder, cls.read_genesis(folder), keys, clock, read_only, limits, keeping)

    @staticmethod
    def read_genesis(path: str | Path) -> Genesis:
        """Genesis of the ledger in a folder, without opening it; StorageError if there is none."""
        try:
            data = (Path(path) / _GENESIS_FILE).read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: no ledger here ({error.strerror})") from error
        return Genesis.from_bytes(data)

    # Writing ---------------------------------------------------------------------------------------------------------

    def submit(
        self,
        transfers: NDArray[Any],
        *,
        signers: NDArray[np.uint32] | None = None,
        signatures: NDArray[np.uint8] | None = None,
        institution: str | None = None,
        attestation: Attestation | None = None,
        controllers: NDArray[np.uint32] | None = None,
        before_commit: BeforeCommit | None = None,
    ) -> Future[Receipt]:
        """Submit transfers: each signed by a registered key, or all attested by an institution.

        Submissions take effect in the order of the calls, and any number may be under way at once: that is how to
        reach the full rate. What is ready at the same time shares a block. Waits while `Limits` says that enough is
        under way, so a callback of a future must not submit.

        Parameters
        ----------
        transfers : NDArray, shape (n,), dtype TRANSFER
            At most the genesis' `block_transfers_max`. Like all arrays here it may be used again at once.
        signers : NDArray[uint32], shape (n,), optional
            Key index of each signature.
        signatures : NDArray[uint8], shape (n, 64), optional
            Over `pyledger.ledger.blocks.transfer_messages` of the leaf hashes.
        institution : str, optional
            Without signatures: BIC of the institution that attests; the only one of the chain by default.
        attestation : tuple of (sequence, signature[, key index]), optional
            The institution's signature over `batch_message`; made here if its key is held.
        controllers : NDArray[uint32], shape (n,), optional
            For pending transfers: key index of who alone may post or void each, `NO_KEY` for the debit account's owner.
            The signature covers the controller's public key.
        before_commit : callable, optional
            Called with the results, in another thread, before they are durable, for what must not be missing once they
            are. The transfers get a block of their own, even if none takes effect. If it raises, nothing is posted and
            the ledger must be opened again.

        Returns
        -------
        Future[Receipt]
            Answered once the transfers are durable, in the order of the calls. Its exceptions: InputError if arrays do
            not fit or the batch is larger than a block; AuthorisationError if signatures are missing; StorageError if
            the block, or an earlier one, could not be made durable: it was not acknowledged, open the ledger again to
            see whether it is there.

        Raises
        ------
        StateError, StorageError
            If the ledger is closed, read-only, or must be opened again.
        """
        if transfers.dtype != TRANSFER or transfers.ndim != 1:
            raise InputError(f"transfers: expected shape (n,) and dtype TRANSFER, got {transfers.shape}")
        if signers is not None or signatures is not None:
            batch = TransferBatch(transfers, signers, signatures, controllers=controllers)
            return self._submit(batch, before_commit)
        attest = self._attest(institution, attestation)
        return self._submit(TransferBatch(transfers, attest=attest, controllers=controllers), before_commit)

    def submit_accounts(
        self,
        accounts: NDArray[Any],
        *,
        owners: NDArray[np.uint32] | None = None,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> Future[Receipt]:
        """Submit accounts to open; as `submit`.

        Parameters
        ----------
        accounts : NDArray, shape (n,), dtype ACCOUNT
            Balances and timestamp zero.
        owners : NDArray[uint32], shape (n,), optional
            Key index of each owner; the institution's own key by default.
        institution : str, optional
            BIC of the institution that keeps the accounts; the only one of the chain by default.
        attestation : tuple of (sequence, signature[, key index]), optional
            As for `submit`.

        Returns
        -------
        Future[Receipt]
            One `CreateAccountResult` for each record, 0 = created. A batch that is not authorised changes nothing:
            AuthorisationError.
        """
        attest = self._attest(institution, attestation)
        return self._submit(AccountBatch(_account_entries(accounts, owners, attest), attest))

    def post(
        self,
        transfers: NDArray[Any],
        *,
        signers: NDArray[np.uint32] | None = None,
        signatures: NDArray[np.uint8] | None = None,
        institution: str | None = None,
        attestation: Attestation | None = None,
        controllers: NDArray[np.uint32] | None = None,
        before_commit: BeforeCommit | None = None,
    ) -> Receipt:
        """Post transfers and wait until they are durable: `submit`, and its future's result."""
        return self.submit(
            transfers,
            signers=signers,
            signatures=signatures,
            institution=institution,
            attestation=attestation,
            controllers=controllers,
            before_commit=before_commit,
        ).result()

    def create_accounts(
        self,
        accounts: NDArray[Any],
        *,
        owners: NDArray[np.uint32] | None = None,
        institution: str | None = None,
        attestation: Attestation | None = None,
    ) -> NDArray[np.uint32]:
        """Open accounts and wait until they are durable: the results of `submit_accounts`."""
        answer = self.submit_accounts(accounts, owners=owners, institution=institution, attestation=attestation)
        return answer.result().results

    def seal(self) -> Header:
        """Append an empty block, so that the block before it is final; returns the new header."""
        header = self._submit(None).result().header
        assert header is not None
        return header

    def close(self) -> None:
        """Finish what was submitted and release the files. Closing twice is harmless."""
        if self._keeper is not None:
            self._keeper.close()
        if self._pipeline is not None:
            self._pipeline.close()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Reading ---------------------------------------------------------------------------------------------------------

    def refresh(self) -> int:
        """Where the ledger is open read-only: take in the blocks that became durable since; returns the height.

        Raises
        ------
        StorageError
            If one is damaged or not certified.
        """
        if self._pipeline is None:
            with self._at_rest():
                self._replay(self.height + 1)
        return self.height

    @property
    def height(self) -> int:
        """Height of the last durable block, 0 before the first."""
        return len(self._headers)

    @property
    def final_height(self) -> int:
        """Height of the last final block, 0 before the first: its child is certified in the next round."""
        return next((height for height in range(self.height - 1, 0, -1) if self._child_is_next(height)), 0)

    @property
    def tip(self) -> bytes:
        """Hash of the last durable block; of the genesis before the first."""
        return self._headers[-1].hash if self._headers else self.genesis.hash

    @property
    def keys_count(self) -> int:
        """Number of registered keys; the first ones are the institutions' attestation keys."""
        with self._reading():
            return self._book.keys_count

    @property
    def size_bytes(self) -> int:
        """Bytes of all blocks on disk."""
        return self._journal.size_bytes

    def header(self, height: int) -> Header:
        """Header of the block at a height in [1, `height`]."""
        if not 1 <= height <= len(self._headers):
            raise StateError(f"expected a height in [1, {len(self._headers)}], got {height}")
        return self._headers[height - 1]

    def block(self, height: int) -> Block:
        """Block at a height, read from the journal."""
        return decode_payload(self._journal.read(height))[0]

    def balance(self, account_id: int, *, height: int | None = None, time_ns: int | None = None) -> Balance:
        """Totals of an account: now, or as they were after the block at a height, or at a time.

        Parameters
        ----------
        account_id : int
        height : int, optional
            In [0, `height`].
        time_ns : int, optional
            Nanoseconds since 1970 UTC: after all transfers with timestamps up to it. A pending transfer that expired
            counts until the time of the block that released it.

        Raises
        ------
        InputError
            If the account did not exist (then).
        """
        _require_id("account_id", account_id)
        return self._queries.balance(account_id, height, time_ns)

    def account_places(self, account_ids: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Institution and ledger of each account id (dtype U128); NO_KEY and 0 where there is no such account."""
        with self._reading():
            return queries.account_places(self._book, account_ids)

    def resolved(self, transfers: NDArray[Any]) -> NDArray[Any]:
        """Records that took effect, with what posting or voiding ones took over from their pending transfers."""
        resolving = (
            transfers["flags"] & (TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER) != 0
        )
        if not resolving.any():
            return transfers
        full = transfers.copy()
        with self._reading():
            found, _ = self._book.engine.lookup_transfers(np.ascontiguousarray(transfers["id"][resolving]))
        full[resolving] = found
        return full

    def accounts(self) -> pa.Table:
        """All accounts in order of creation, with balances, owner key and institution, as an Arrow table."""
        with self._reading():
            return queries.accounts_table(self._book)

    def transfer(self, transfer_id: int) -> TransferState:
        """A transfer that took effect, where it stands and what became of it; InputError if none did with this id."""
        _require_id("transfer_id", transfer_id)
        return self._queries.transfer(transfer_id)

    def transfers_by_id(self, transfer_ids: Iterable[int] | NDArray[Any]) -> pa.Table:
        """One row for each id, in order; all but the id is null where no transfer took effect with it.

        Parameters
        ----------
        transfer_ids : iterable of int, or NDArray, shape (n,), dtype U128

        Returns
        -------
        pyarrow.Table
            Columns as `transfers`, then status (NONE, PENDING, POSTED, VOIDED, EXPIRED), resolved_by (id of the
            transfer that posted or voided it) and expired_height.
        """
        return self._queries.transfers_by_id(transfer_ids)

    def transfers(
        self,
        heights: tuple[int, int] | None = None,
        *,
        ledger: int | None = None,
        code: int | None = None,
        institution: str | None = None,
        first_time_ns: int | None = None,
        last_time_ns: int | None = None,
    ) -> pa.RecordBatchReader:
        """Transfers that took effect and that all filters let through, in order, as a stream of Arrow batches.

        Parameters
        ----------
        heights : tuple of (first, last), optional
            Of blocks, both included; all by default.
        ledger, code : int, optional
        institution : str, optional
            BIC of the institution that keeps the debit account or the credit account.
        first_time_ns, last_time_ns : int, optional
            Of timestamps, both included.

        Returns
        -------
        pyarrow.RecordBatchReader
            A batch for each block that has such transfers, read as it is asked for; the columns are those of
            docs/parquet-schema.md. Any reader of `__arrow_c_stream__` takes it whole. pyarrow's own `to_pylist` of a
            timestamp in nanoseconds needs pandas: cast it to int64 first.
        """
        index = None if institution is None else self._institution(institution)
        return self._queries.transfers(heights, ledger, code, index, first_time_ns, last_time_ns)

    def history(
        self,
        account_id: int,
        *,
        first_time_ns: int | None = None,
        last_time_ns: int | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Entries of an account, newest first, each with the account's balances after it.

        Parameters
        ----------
        account_id : int
        first_time_ns, last_time_ns : int, optional
            Of entries, both included.
        limit : int, optional
            The newest so many of them.

        Returns
        -------
        pyarrow.Table
            Columns of `pyledger.ledger.statement.statement_schema`. The time it takes grows with the account's entries
            from now back to the oldest one wanted.

        Raises
        ------
        InputError
            If there is no such account.
        """
        _require_id("account_id", account_id)
        return self._queries.history(account_id, first_time_ns, last_time_ns, limit)

    def tail(self, from_height: int = 1, *, wait: float | None = None) -> Iterator[BlockRows]:
        """Follow the ledger: each block from a height on, in order and once, as soon as it is durable.

        To go on after a stop, ask from the height after the last one that was dealt with. In a ledger that is open
        read-only it follows the process that writes.

        Parameters
        ----------
        from_height : int, optional
            From 1; it may not exist yet.
        wait : float, optional
            Seconds to wait for a further block before it ends; 0 gives what is there. Without end by default.

        Yields
        ------
        BlockRows
            Header, and Arrow batches of the accounts, expiries and transfers.
        """
        return follow(self.refresh, self._queries.rows, from_height, wait)

    def export_parquet(
        self,
        folder: str | Path,
        heights: tuple[int, int] | None = None,
        *,
        blocks_per_file: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> Exported:
        """Write blocks as Parquet files (docs/parquet-schema.md); goes on where an earlier call stopped.

        Parameters
        ----------
        folder : str or Path
            New, empty, or of an earlier export of this ledger that began at the same height.
        heights : tuple of (first, last), optional
            Of blocks, both included; all by default.
        blocks_per_file : int, optional
        progress : callable, optional
            Called with the height after each block.

        Raises
        ------
        InputError
            If the folder holds something else.
        StorageError
            If a file can't be written; those that are finished stay.
        """
        wanted = self._queries.heights(heights)
        rows = self._queries.rows
        return export_blocks(Path(folder), self.genesis, self._headers, rows, wanted, blocks_per_file, progress)

    def export_log(
        self,
        folder: str | Path,
        key: SigningKey,
        *,
        origin: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> PublishedLog:
        """Write the history log up to the last final block as a tiled log (docs/history-log.md); goes on where it was.

        Any web server can serve the folder, and any client of C2SP tlog-tiles can check it.

        Parameters
        ----------
        folder : str or Path
            New, empty, or of an earlier export of this ledger with the same origin and key.
        key : SigningKey
            Signs the checkpoint. Use one key for one log only.
        origin : str, optional
            The log's name: where it is served, without the scheme. ``pyledger/`` and the chain id by default.
        progress : callable, optional
            Called with the height after each bundle of blocks.

        Raises
        ------
        InputError
            If the folder holds something else or another log, or the origin has spaces or plus signs.
        SignatureError
            If the folder's checkpoint is not signed by this key.
        StorageError
            If a file can't be written; the checkpoint stays as it was.
        """
        headers, size = self._headers, self.final_height

        def entry(index: int) -> bytes:
            return headers[index].to_bytes()

        name = f"pyledger/{self.genesis.chain_id.hex()}" if origin is None else origin
        return publish_log(Path(folder), self._book.history, size, entry, name, key, progress)

    def prove(self, transfer_id: int, *, trusted_epoch: int = 0) -> bytes:
        """Receipt of a transfer that took effect; `pyledger.verify_receipt` checks it offline.

        If the transfer stands in the newest block, an empty block is appended to make it final.

        Parameters
        ----------
        transfer_id : int
        trusted_epoch : int, optional
            Epoch of the validators that the reader trusts; the genesis' by default. Changes of validators since then
            go with the receipt.

        Raises
        ------
        ProofError
            If no such transfer took effect.
        StateError
            If its block is not final and the ledger is open read-only.
        """
        _require_id("transfer_id", transfer_id)
        height, index = self._locate(transfer_id)
        return encode_receipt(self._final(height, trusted_epoch), index, self._book.public_key)

    def prove_balance(self, account_id: int, *, trusted_epoch: int = 0) -> bytes:
        """Proof of what an account holds now, or that there is no such account; `pyledger.verify_balance` checks it.

        It is about the state after the newest block, or after the one before if that is the same. If neither is final,
        an empty block is appended to make it so.

        Parameters
        ----------
        account_id : int
            In [1, 2**128 - 2].
        trusted_epoch : int, optional
            As for `prove`.

        Raises
        ------
        StateError
            If there is no block yet, or no final one with this state and the ledger is open read-only.
        """
        with self._at_rest() if self._pipeline is None else self._pipeline.reading_linked():
            height, state_proof = self._book.height, self._book.prove_account(account_id)
        if height == 0:
            raise StateError("the ledger has no block yet, so no state that could be final")
        if height > 1 and self._headers[height - 2].state_root == self._headers[height - 1].state_root:
            height -= 1
        return encode_balance_proof(self._final(height, trusted_epoch), account_id, state_proof)

    def prove_history(self, old_height: int, height: int, *, trusted_epoch: int = 0) -> bytes:
        """Proof that the chain up to one block is the beginning of the chain up to another.

        `pyledger.verify_history` checks it offline. If the other one is the newest block, an empty block is appended to
        make it final.

        Parameters
        ----------
        old_height, height : int
            1 <= old_height <= height <= `Ledger.height`.
        trusted_epoch : int, optional
            As for `prove`.

        Raises
        ------
        StateError
            If there are no such blocks, or the newest one is not final and the ledger is open read-only.
        """
        if not 1 <= old_height <= height <= self.height:
            raise StateError(f"expected heights in order in [1, {self.height}], got {old_height} and {height}")
        old, new = self._final(old_height, trusted_epoch), self._final(height, trusted_epoch)
        return encode_consistency_proof(old, new, self._book.history.prove_consistency(old_height, height))

    def audit(self, progress: Callable[[int], None] | None = None) -> Report:
        """Replay from genesis: every signature, root, certificate and invariant.

        Parameters
        ----------
        progress : callable, optional
            Called with the height after each block.
        """
        return _audit(self.genesis, self._journal, progress)

    @classmethod
    def audit_folder(cls, path: str | Path, progress: Callable[[int, int], None] | None = None) -> Report:
        """Audit the ledger in a folder without opening it, so that one that can't be opened is named, too.

        Parameters
        ----------
        path : str or Path
        progress : callable, optional
            Called with the height after each block, and the height of the last one.

        Raises
        ------
        StorageError
            If there is no ledger, or if a file is damaged so that its blocks can't be told apart.
        """
        genesis = cls.read_genesis(path)
        with closing(Journal(Path(path) / _JOURNAL_FOLDER, genesis.hash, read_only=True)) as journal:
            return _audit(genesis, journal, progress and (lambda height: progress(height, journal.height)))

    # Inside ----------------------------------------------------------------------------------------------------------

    def _child_is_next(self, height: int) -> bool:
        """Whether a block's child is of the next round, so that their certificates make it final."""
        block, child = self._headers[height - 1], self._headers[height]
        return (child.epoch, child.round) == (block.epoch, block.round + 1)

    def _final(self, height: int, trusted_epoch: int) -> FinalBlock:
        if height == self.height and self._pipeline is not None:
            self.seal()
        return final_block(self._headers, lambda each: decode_evidence(self._journal.read(each)), height, trusted_epoch)

    def _replay(self, first: int) -> None:
        """Execute the journal's blocks and check that each is certified, all certificates in one equation."""
        last = self._journal.settled_height() if self._journal.read_only else self._journal.height
        headers: list[Header] = []

        def executed() -> Iterator[tuple[Header, Evidence, Office]]:
            for _, payload in self._journal.payloads(first, last):
                block, evidence = decode_evidence(payload)
                self._book.apply(block, trusted=True)
                headers.append(block.header)
                if self._keeper is not None:
                    self._keeper.tell(block.header, columns_of(payload_parts(block, *evidence), block))
                    self._keeper.seal()
                yield block.header, evidence, self._book.authority.office

        try:
            verify_certificates(executed())
        except ProofError as error:
            raise StorageError(f"{self.path}: a block is not certified: {error}") from error
        self._headers += headers

    def _submit(self, submission: Submission | None, before_commit: BeforeCommit | None = None) -> Future[Receipt]:
        if self._pipeline is None:
            raise StateError("the ledger is open read-only")
        if isinstance(submission, ChangeValidators):
            raise StateError("validators change by votes: hand this to a node")
        return self._pipeline.submit(submission, before_commit)

    def _keep(self, block: Block) -> None:
        """Have a block certified and hand both to the journal."""
        assert self._committee is not None
        with self._book.stage("certify"):
            certificate = self._committee.certify(statement(block.header)).to_bytes()
        with self._book.stage("write"):
            parts = payload_parts(block, certificate)
            self._columns.append(columns_of(parts, block))
            self._journal.submit(block.header.height, parts)

    def _settle(self, header: Header) -> None:
        """Wait until a block is durable; then and only then it counts."""
        assert self._keeper is not None
        self._journal.wait(header.height)
        self._keeper.tell(header, self._columns.popleft())
        self._headers.append(header)

    @contextmanager
    def _resting(self) -> Iterator[list[Header]]:
        """The book between two blocks, all of them durable, with their headers."""
        assert self._pipeline is not None
        with self._pipeline.reading_linked():
            yield self._headers

    def _reading(self) -> AbstractContextManager[None]:
        """Hold the state in memory still, and show what was seen there only once all of it is durable."""
        return self._at_rest() if self._pipeline is None else self._pipeline.reading()

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Without a writer here: hold off `refresh`, and show nothing that it could not finish."""
        with self._refreshing:
            if self._book.dirty or self._book.height != self.height:
                raise StateError("an earlier call failed after it changed the state in memory: open the ledger again")
            yield

    def _locate(self, transfer_id: int) -> tuple[int, int]:
        """Height and index of a transfer that took effect."""
        place = self._queries.place(transfer_id)
        if place is None:
            raise ProofError(f"transfer {transfer_id}: did not take effect in this ledger")
        return place


def _blocks_of(journal: Journal) -> Iterator[tuple[Block, Evidence]]:
    for _, payload in journal.payloads():
        yield decode_evidence(payload)


def _audit(genesis: Genesis, journal: Journal, progress: Callable[[int], None] | None) -> Report:
    report = audit_blocks(genesis, _blocks_of(journal), check_certified, progress)
    if report.ok and journal.torn_bytes:
        rest = f"{journal.torn_bytes} bytes behind block {report.blocks} are not a whole block: "
        return replace(report, difference=rest + "a torn write that the next writer cuts, or damage")
    return report


def _account_entries(
    accounts: NDArray[Any], owners: NDArray[np.uint32] | None, attest: Attest | HeldKey
) -> NDArray[Any]:
    if accounts.dtype != ACCOUNT or accounts.ndim != 1:
        raise InputError(f"accounts: expected shape (n,) and dtype ACCOUNT, got {accounts.shape}")
    if owners is not None and (owners.dtype != np.uint32 or owners.shape != accounts.shape):
        expected = f"owners: expected shape {accounts.shape} and dtype uint32"
        raise InputError(f"{expected}, got {owners.shape} and {owners.dtype}")
    entries = np.empty(len(accounts), ACCOUNT_ENTRY)
    entries["record"] = accounts
    entries["owner_key"] = attest.key if owners is None else owners
    entries["institution"] = attest.institution
    return entries


def _require_id(name: str, number: int) -> None:
    if not 0 <= number < 1 << 128:
        raise InputError(f"{name}: expected an integer in [0, 2**128 - 1], got {number}")


def _is_free(folder: Path) -> bool:
    """Whether nothing is there but what a stopped `create` leaves: no genesis and not a byte of a journal."""
    left = {_TRUST_FILE, _JOURNAL_FOLDER}
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    journal = folder / _JOURNAL_FOLDER
    return names <= left and not (journal.exists() and any(journal.glob("*.blocks")))
