"""`pyledger.Ledger`: book, validators and journal in one process.

A call executes on the book, has the validators certify the block, makes both durable, and only then returns: what it
returned is there after any crash. A block is final when its child is certified in the next round; `seal` adds an empty
block where the newest must be final now.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.committee import Committee
from pyledger.crypto import bls
from pyledger.errors import AuthorisationError, InputError, ProofError, StateError, StorageError
from pyledger.formats.atomic import atomic_file, make_folder
from pyledger.ledger import queries
from pyledger.ledger.audit import Report, audit_blocks
from pyledger.ledger.batches import AccountBatch, Attest, HeldKey, KeyBatch, Submission, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block, Header
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.proofs import FinalBlock, encode_receipt
from pyledger.node.certified import Columns, certificate_of, columns_of, decode_payload, payload_parts, statement
from pyledger.node.keeping import Keeper, Keeping, resume_book
from pyledger.node.membership import InstitutionKeys, attestation_keys, trust_json, validators_of
from pyledger.node.pipeline import BeforeCommit, Limits, Pipeline, Receipt
from pyledger.types import ACCOUNT, TRANSFER, TransferFlags, u128_array, u128_int, u128_ints

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Balance", "Ledger"]

_GENESIS_FILE = "genesis"
_TRUST_FILE = "trust.json"
_JOURNAL_FOLDER = "journal"
_LIMITS = Limits()
_KEEPING = Keeping()
_TIME_MAX = (1 << 64) - 1
_HISTORY_PAGE = 8192


@dataclass(frozen=True, slots=True)
class Balance:
    """Totals of one account, in minor units of its ledger."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


class Ledger:
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
        self._validators = validators_of(genesis)
        self._attestation_keys = attestation_keys(genesis, keys)
        self._committee: Committee | None = None
        self._pipeline: Pipeline | None = None
        self._keeper: Keeper | None = None
        self._columns: deque[Columns] = deque()  # of blocks that the journal took and that are not durable yet
        self._book, self._headers = resume_book(genesis, path, path / _JOURNAL_FOLDER)
        self._transfers_until = list(accumulate((header.transfers_count for header in self._headers), initial=0))
        self._journal = self._open_journal(read_only)
        self.stage_seconds = self._book.stage_seconds
        try:
            if not read_only:
                self._keeper = Keeper(path, self._book, self._journal, keeping)
            self._replay()
            if not read_only:
                self._begin_writing(keys, clock, limits)
        except BaseException:
            self._journal.close()
            raise
        self.stage_seconds.clear()

    def _open_journal(self, read_only: bool) -> Journal:
        """The journal, which must hold the blocks behind the state that the book begins with."""
        known = self._book.height
        folder = self.path / _JOURNAL_FOLDER
        journal = Journal(folder, self.genesis.hash, read_only=read_only, known_height=known, verify_from=max(known, 1))
        if known and (journal.height < known or decode_payload(journal.read(known))[0].hash != self._book.tip):
            journal.close()
            raise StorageError(f"{folder}: the journal is not that of the snapshot of height {known}")
        return journal

    def _begin_writing(self, keys: Sequence[InstitutionKeys], clock: Callable[[], int], limits: Limits) -> None:
        tip = self._headers[-1] if self._headers else None
        last_vote = (0, 0) if tip is None else (tip.epoch, tip.round)
        self._committee = Committee(self._validators, [key.validator for key in keys], last_vote)
        self._pipeline = Pipeline(self._book, self._keep, self._settle, clock, self._validators.hash, limits, tip)
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
        Committee(validators_of(genesis), [key.validator for key in keys])  # refuse before anything is written
        attestation_keys(genesis, keys)
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

        Blocks behind the newest snapshot are executed again and their roots compared; without one, all blocks.

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
        attestation: tuple[int, bytes] | None = None,
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
        attestation : tuple of (sequence, signature), optional
            The institution's signature over `batch_message`; made here if its key is held.
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
            return self._submit(TransferBatch(transfers, signers, signatures), before_commit)
        attest = self._attest(institution, attestation)
        return self._submit(TransferBatch(transfers, attest=attest), before_commit)

    def submit_accounts(
        self,
        accounts: NDArray[Any],
        *,
        owners: NDArray[np.uint32] | None = None,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
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
        attestation : tuple of (sequence, signature), optional
            As for `submit`.

        Returns
        -------
        Future[Receipt]
            One `CreateAccountResult` for each record, 0 = created. A batch that is not authorised changes nothing:
            AuthorisationError.
        """
        attest = self._attest(institution, attestation)
        return self._submit(AccountBatch(_account_entries(accounts, owners, attest.institution), attest))

    def submit_keys(
        self,
        public_keys: NDArray[np.uint8],
        *,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
    ) -> Future[Receipt]:
        """Submit Ed25519 public keys of an institution's customers, shape (n, 32), to register; as `submit_accounts`.

        Returns
        -------
        Future[Receipt]
            The results are the key indexes.
        """
        return self._submit(KeyBatch(public_keys, self._attest(institution, attestation)))

    def post(
        self,
        transfers: NDArray[Any],
        *,
        signers: NDArray[np.uint32] | None = None,
        signatures: NDArray[np.uint8] | None = None,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
        before_commit: BeforeCommit | None = None,
    ) -> Receipt:
        """Post transfers and wait until they are durable: `submit`, and its future's result."""
        return self.submit(
            transfers,
            signers=signers,
            signatures=signatures,
            institution=institution,
            attestation=attestation,
            before_commit=before_commit,
        ).result()

    def create_accounts(
        self,
        accounts: NDArray[Any],
        *,
        owners: NDArray[np.uint32] | None = None,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
    ) -> NDArray[np.uint32]:
        """Open accounts and wait until they are durable: the results of `submit_accounts`."""
        answer = self.submit_accounts(accounts, owners=owners, institution=institution, attestation=attestation)
        return answer.result().results

    def register_keys(
        self,
        public_keys: NDArray[np.uint8],
        *,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
    ) -> NDArray[np.uint32]:
        """Register keys and wait until they are durable: the key indexes from `submit_keys`."""
        return self.submit_keys(public_keys, institution=institution, attestation=attestation).result().results

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

    @property
    def height(self) -> int:
        """Height of the last durable block, 0 before the first."""
        return len(self._headers)

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

    def balance(self, account_id: int) -> Balance:
        """Totals of an account; InputError if it does not exist."""
        self._require_account(account_id)
        with self._reading():
            records, _ = self._book.engine.lookup_accounts(u128_array([account_id]))
        names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        return Balance(*(u128_int(records[0][name]) for name in names))

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

    def transfers(self, heights: tuple[int, int] | None = None) -> Iterator[pa.RecordBatch]:
        """Transfers that took effect, one Arrow batch a block; heights are (first, last), all by default."""
        first, last = heights or (1, self.height)
        for height in range(first, last + 1):
            yield queries.transfers_batch(self.block(height))

    def history(self, account_id: int, times: tuple[int, int] | None = None) -> pa.Table:
        """Transfers that debit or credit an account, newest first.

        Parameters
        ----------
        account_id : int
        times : tuple of int, optional
            First and last timestamp wanted, nanoseconds since 1970 UTC; all by default.

        Returns
        -------
        pyarrow.Table
            Empty if there is no such account.
        """
        if not self._has_account(account_id):
            return queries.transfers_table([])
        first, last = times or (0, _TIME_MAX)
        found = [self._transfers_at(positions) for positions in self._history_pages(account_id, first, last)]
        return queries.transfers_table([batch for batches in found for batch in batches])

    def _history_pages(self, account_id: int, first: int, last: int) -> Iterator[NDArray[np.uint64]]:
        account, below = u128_array([account_id]), 0
        while True:
            with self._reading():
                _, positions, below = self._book.engine.history(account, first, last, below, _HISTORY_PAGE)
            yield positions
            if below == 0:
                return

    def _transfers_at(self, positions: NDArray[np.uint64]) -> Iterator[pa.RecordBatch]:
        """Transfers at falling positions, one Arrow batch a block."""
        until = np.array(self._transfers_until, np.uint64)
        heights = np.searchsorted(until, positions, side="right")
        for height in dict.fromkeys(heights.tolist()):
            rows = positions[heights == height] - until[height - 1]
            yield queries.transfers_batch(self.block(height)).take(queries.indices(rows))

    def balance_at(self, account_id: int, *, height: int | None = None, time_ns: int | None = None) -> Balance:
        """Totals of an account as they were.

        Parameters
        ----------
        account_id : int
        height : int, optional
            After the block at this height; 0 is before the first.
        time_ns : int, optional
            Instead: after all transfers with timestamps up to it, and all expiries of blocks with times up to it.

        Raises
        ------
        InputError
            If there is no such account, or neither or both of height and time are given.
        """
        self._require_account(account_id)
        ids = u128_array([account_id])
        if (height is None) == (time_ns is None):
            raise InputError("balance_at: expected a height or a time")
        if time_ns is not None and not 0 <= time_ns <= _TIME_MAX:
            raise InputError(f"time_ns: expected [0, {_TIME_MAX}], got {time_ns}")
        with self._reading():
            if time_ns is not None:
                balances = self._book.engine.balances_at_time(ids, time_ns)
            elif height is not None and 0 <= height <= self._book.height:
                balances = self._book.engine.balances_at(ids, self._transfers_until[height], height)
            else:
                raise InputError(f"height: expected [0, {self._book.height}], got {height}")
        return Balance(*u128_ints(balances.reshape(-1)))

    def _has_account(self, account_id: int) -> bool:
        _require_id("account_id", account_id)
        with self._reading():
            _, found = self._book.engine.lookup_accounts(u128_array([account_id]))
        return bool(found[0])

    def _require_account(self, account_id: int) -> None:
        if not self._has_account(account_id):
            raise InputError(f"account {account_id}: not in this ledger")

    def prove(self, transfer_id: int) -> bytes:
        """Receipt of a transfer that took effect; `pyledger.verify_receipt` checks it offline.

        If the transfer stands in the newest block, an empty block is appended to make it final.

        Raises
        ------
        ProofError
            If no such transfer took effect.
        StateError
            If its block is not final and the ledger is open read-only.
        """
        _require_id("transfer_id", transfer_id)
        height, index = self._locate(transfer_id)
        if height == self.height:
            self.seal()
        block, certificate = decode_payload(self._journal.read(height))
        child, child_certificate = decode_payload(self._journal.read(height + 1))
        final = FinalBlock(block, certificate, child.header, child_certificate)
        return encode_receipt(final, index, self._book.public_key)

    def audit(self, progress: Callable[[int], None] | None = None) -> Report:
        """Replay from genesis: every signature, root, certificate and invariant.

        Parameters
        ----------
        progress : callable, optional
            Called with the height after each block.
        """
        report = audit_blocks(self.genesis, self._blocks(), self._check_certificate, progress)
        if report.ok and self._journal.torn_bytes:
            rest = f"{self._journal.torn_bytes} bytes behind block {self.height} are not a whole block: "
            return replace(report, difference=rest + "a torn write that the next writer cuts, or damage")
        return report

    # Inside ----------------------------------------------------------------------------------------------------------

    def _replay(self) -> None:
        """Execute the journal's blocks again and check that each is certified, all certificates in one equation."""
        certificates = []
        for block, certificate in self._blocks(self._book.height + 1):
            self._book.apply(block, trusted=True)
            self._add_header(block.header)
            certificates.append(certificate_of(block, certificate, self._validators))
            if self._keeper is not None:
                self._keeper.tell(block.header.height, columns_of(payload_parts(block, certificate), block))
                self._keeper.seal()
        try:
            bls.verify_chain(certificates, self._validators)
        except ProofError as error:
            raise StorageError(f"{self.path}: a block is not certified: {error}") from error

    def _submit(self, submission: Submission | None, before_commit: BeforeCommit | None = None) -> Future[Receipt]:
        if self._pipeline is None:
            raise StateError("the ledger is open read-only")
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
        self._journal.wait(header.height)
        assert self._keeper is not None
        self._keeper.tell(header.height, self._columns.popleft())
        self._add_header(header)

    def _add_header(self, header: Header) -> None:
        self._transfers_until.append(self._transfers_until[-1] + header.transfers_count)
        self._headers.append(header)

    @contextmanager
    def _resting(self) -> Iterator[list[Header]]:
        assert self._pipeline is not None
        with self._pipeline.resting():
            yield self._headers

    def _reading(self) -> AbstractContextManager[None]:
        """Hold the state in memory still, and show what was seen there only once all of it is durable."""
        return nullcontext() if self._pipeline is None else self._pipeline.reading()

    def _blocks(self, first: int = 1) -> Iterator[tuple[Block, bytes]]:
        for _, payload in self._journal.payloads(first):
            yield decode_payload(payload)

    def _institution(self, bic: str | None) -> int:
        if bic is None:
            if len(self.genesis.institutions) != 1:
                raise InputError("institution: this chain has several, expected a BIC")
            return 0
        if bic not in self.genesis.institution_index:
            raise InputError(f"institution: '{bic}' is not a member of this chain")
        return self.genesis.institution_index[bic]

    def _attest(self, bic: str | None, attestation: tuple[int, bytes] | None) -> Attest | HeldKey:
        institution = self._institution(bic)
        if attestation is not None:
            sequence, signature = attestation
            return Attest(institution, sequence, signature)
        key = self._attestation_keys.get(institution)
        if key is None:
            bic = self.genesis.institutions[institution].bic
            raise AuthorisationError(f"{bic}: its attestation key is not held here, expected an attestation")
        return HeldKey(institution, key.sign)

    def _locate(self, transfer_id: int) -> tuple[int, int]:
        """Height and index of a transfer that took effect."""
        with self._reading():
            records, found = self._book.engine.lookup_transfers(u128_array([transfer_id]))
        if not found[0]:
            raise ProofError(f"transfer {transfer_id}: did not take effect in this ledger")
        if int(records[0]["flags"]) & TransferFlags.IMPORTED:
            return self._locate_imported(transfer_id)
        timestamp = int(records[0]["timestamp"])
        height = bisect_right(self._headers, timestamp, key=lambda header: header.time_ns)
        timestamps = self.block(height).body.transfers["timestamp"]
        return height, int(np.searchsorted(timestamps, np.uint64(timestamp)))

    def _locate_imported(self, transfer_id: int) -> tuple[int, int]:
        """The same for a transfer that came with a timestamp of its own: a search from the newest block down."""
        wanted = u128_array([transfer_id])[0]
        for height in range(self.height, 0, -1):
            places = np.flatnonzero(self.block(height).body.transfers["id"] == wanted)
            if len(places):
                return height, int(places[0])
        raise ProofError(f"transfer {transfer_id}: not in any block")

    def _check_certificate(self, block: Block, certificate: bytes) -> None:
        certificate_of(block, certificate, self._validators).verify(self._validators)


def _account_entries(accounts: NDArray[Any], owners: NDArray[np.uint32] | None, institution: int) -> NDArray[Any]:
    if accounts.dtype != ACCOUNT or accounts.ndim != 1:
        raise InputError(f"accounts: expected shape (n,) and dtype ACCOUNT, got {accounts.shape}")
    if owners is not None and (owners.dtype != np.uint32 or owners.shape != accounts.shape):
        expected = f"owners: expected shape {accounts.shape} and dtype uint32"
        raise InputError(f"{expected}, got {owners.shape} and {owners.dtype}")
    entries = np.empty(len(accounts), ACCOUNT_ENTRY)
    entries["record"] = accounts
    entries["owner_key"] = institution if owners is None else owners
    entries["institution"] = institution
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
