"""`pyledger.Ledger`: book, validators and journal in one process.

A call executes on the book, has the validators certify the block, makes both durable, and only then returns: what it
returned is there after any crash. A block is final when its child is certified in the next round; `seal` adds an empty
block where the newest must be final now.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.committee import Committee
from pyledger.consensus.messages import statement_of
from pyledger.crypto.arguments import require_array
from pyledger.errors import ConsensusError, StateError, StorageError
from pyledger.formats.atomic import atomic_file, make_folder
from pyledger.ledger.audit import Report
from pyledger.ledger.batches import AccountBatch, Submission, TransferBatch
from pyledger.ledger.blocks import Block, Header
from pyledger.ledger.commands import ChangeValidators
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.queries import Queries
from pyledger.ledger.validators import Roster
from pyledger.node.auditing import audit_journal
from pyledger.node.certified import (
    Columns,
    columns_of,
    payload_parts,
)
from pyledger.node.folder import GENESIS_FILE, JOURNAL_FOLDER, TRUST_FILE
from pyledger.node.keeping import Keeper, Keeping, resume_book
from pyledger.node.membership import (
    InstitutionKeys,
    attestation_keys,
    require_attesters,
    require_genesis_keys,
    trust_json,
)
from pyledger.node.pipeline import BeforeCommit, Limits, Pipeline, Receipt
from pyledger.node.reading import Reading
from pyledger.node.reopening import execute_tail
from pyledger.node.rights import Attestation, Rights
from pyledger.node.traces import Held, Traces, open_journal, require_transfers
from pyledger.types import TRANSFER

__all__ = ["Ledger"]

_LIMITS = Limits()
_KEEPING = Keeping()


class Ledger(Rights, Reading):
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
        traces = Traces.of(path)
        self._journal = open_journal(path, genesis.hash, traces, read_only=read_only, whole=False)
        try:
            self._book, self._headers = resume_book(genesis, path, self._journal)
            require_transfers(self._journal, traces, self._book.height, self._book.engine.transfer_count)
            self._queries = Queries(self._book, self._headers, self.block, self._reading)
            self.stage_seconds = self._book.stage_seconds
            if not read_only:
                self._keeper = Keeper(path, self._book, self._journal, keeping)
            self._headers += execute_tail(self._book, self._journal, self._keeper)
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
        make_folder(folder / JOURNAL_FOLDER)
        with atomic_file(folder / TRUST_FILE) as file:
            file.write(trust_json(genesis))
        with atomic_file(folder / GENESIS_FILE) as file:
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
        InputError
            If the file with the genesis is damaged.
        ConsensusError
            If it shall be written to and the keys are not a quorum of its validators.
        """
        folder = Path(path)
        if not read_only and not keys:
            raise ConsensusError(f"{folder}: expected the keys of its validators (keys), or read_only=True")
        return cls(folder, cls.read_genesis(folder), keys, clock, read_only, limits, keeping)

    @staticmethod
    def read_genesis(path: str | Path) -> Genesis:
        """Genesis of the ledger in a folder, not opened; StorageError if there is none, InputError if it is damaged."""
        try:
            return Genesis.read(Path(path) / GENESIS_FILE)
        except StorageError as error:
            raise StorageError(f"no ledger here: {error}") from error.__cause__

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
        require_array("transfers", transfers, TRANSFER)
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
        return self._submit(AccountBatch.of(accounts, owners, attest))

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

    def refresh(self) -> int:
        """Where the ledger is open read-only: take in the blocks that became durable since; returns the height.

        Raises
        ------
        StorageError
            If one is damaged or not certified.
        """
        if self._pipeline is None:
            with self._at_rest():
                self._headers += execute_tail(self._book, self._journal, None)
        return self.height

    def audit(self, progress: Callable[[int], None] | None = None, *, reach: Sequence[Held] = ()) -> Report:
        """Replay from genesis: every signature, root, certificate and invariant.

        Parameters
        ----------
        progress : callable, optional
            Called with the height after each block.
        reach : sequence of bytes, tuple of (height, block hash) or Reach, optional
            What must be there because somebody holds a proof of it or wrote it down: receipts, balance proofs and
            consistency proofs, headers, heights with 32 bytes or None. Blocks that are gone from the end of a journal
            are noticed by this alone, unless a snapshot or segment is left that needs them.

        Raises
        ------
        ProofError, InputError
            If what is held is not of this chain.
        """
        return audit_journal(self.genesis, self._journal, progress, reach)

    @classmethod
    def audit_folder(
        cls,
        path: str | Path,
        progress: Callable[[int, int], None] | None = None,
        *,
        reach: Sequence[Held] = (),
    ) -> Report:
        """Audit the ledger in a folder without opening it, so that one that can't be opened is named, too.

        Parameters
        ----------
        path : str or Path
        progress : callable, optional
            Called with the height after each block, and the height of the last one.
        reach : sequence, optional
            As for `audit`.

        Raises
        ------
        StorageError
            If there is no ledger, if a file is damaged so that its blocks can't be told apart, or if a snapshot or a
            segment shows that there were more blocks.
        ProofError, InputError
            If what is held is not of this chain.
        """
        genesis, folder = cls.read_genesis(path), Path(path)
        traces = Traces.of(folder)
        with closing(open_journal(folder, genesis.hash, traces, read_only=True, whole=True)) as journal:
            require_transfers(journal, traces)
            return audit_journal(
                genesis, journal, progress and (lambda height: progress(height, journal.height)), reach
            )

    # Inside ----------------------------------------------------------------------------------------------------------

    def _submit(self, submission: Submission | None, before_commit: BeforeCommit | None = None) -> Future[Receipt]:
        pipeline = self._require_writer()
        if isinstance(submission, ChangeValidators):
            raise StateError("validators change by votes: hand this to a node")
        return pipeline.submit(submission, before_commit)

    def _require_writer(self) -> Pipeline:
        if self._pipeline is None:
            raise StateError("the ledger is open read-only")
        return self._pipeline

    def _keep(self, block: Block) -> None:
        """Have a block certified and hand both to the journal."""
        assert self._committee is not None
        with self._book.stage("certify"):
            certificate = self._committee.certify(statement_of(block.header)).to_bytes()
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
        with self._reading_linked():
            yield self._headers

    def _reading(self) -> AbstractContextManager[None]:
        """Hold the state in memory still, and show what was seen there only once all of it is durable."""
        return self._at_rest() if self._pipeline is None else self._pipeline.reading()

    def _reading_linked(self) -> AbstractContextManager[None]:
        """The same, with the state tree and the headers up to that state, too."""
        return self._at_rest() if self._pipeline is None else self._pipeline.reading_linked()

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Without a writer here: hold off `refresh`, and show nothing that it could not finish."""
        with self._refreshing:
            if self._book.dirty or self._book.height != self.height:
                raise StateError("an earlier call failed after it changed the state in memory: open the ledger again")
            yield


def _is_free(folder: Path) -> bool:
    """Whether nothing is there but what a stopped `create` leaves: no genesis and not a byte of a journal."""
    left = {TRUST_FILE, JOURNAL_FOLDER}
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    journal = folder / JOURNAL_FOLDER
    return names <= left and not (journal.exists() and any(journal.glob("*.blocks")))
