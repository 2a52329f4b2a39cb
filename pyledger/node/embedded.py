"""`pyledger.Ledger`: book, validators and journal in one process.

A call executes on the book, has the validators certify the block, makes both durable, and only then returns: what it
returned is there after any crash. A block is final when its child is certified in the next round; `seal` adds an empty
block where the newest must be final now.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.committee import Committee
from pyledger.crypto import bls
from pyledger.errors import AuthorisationError, InputError, LedgerError, ProofError, StateError, StorageError
from pyledger.formats.atomic import atomic_file, make_folder
from pyledger.ledger import queries
from pyledger.ledger.audit import Report, audit_blocks
from pyledger.ledger.batches import AccountBatch, Attest, HeldKey, KeyBatch, Submission, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block, Header
from pyledger.ledger.book import Book
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.journal import Journal
from pyledger.ledger.proofs import FinalBlock, encode_receipt
from pyledger.node.certified import certificate_of, decode_payload, encode_payload, statement
from pyledger.node.membership import InstitutionKeys, attestation_keys, trust_json, validators_of
from pyledger.types import ACCOUNT, TRANSFER, TransferFlags, u128_array, u128_int

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Balance", "InstitutionKeys", "Ledger", "Receipt"]

_GENESIS_FILE = "genesis"
_TRUST_FILE = "trust.json"
_JOURNAL_FOLDER = "journal"
_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Balance:
    """Totals of one account, in minor units of its ledger."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a call: it is durable.

    Parameters
    ----------
    results : NDArray[uint32], shape (n,)
        One `CreateTransferResult` for each record, 0 = took effect.
    height : int
        The block that holds what took effect; the last one so far if nothing did.
    header : Header or None
        Of that block; None if there is no block yet.
    """

    results: NDArray[np.uint32]
    height: int
    header: Header | None


class Ledger:
    """A ledger in this process. Use `create` or `open`; both are context managers.

    Calls from several threads are taken one at a time.

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
    ) -> None:
        self.path = path
        self.genesis = genesis
        self._clock = clock
        self._read_only = read_only
        self._mutex = threading.RLock()
        self._validators = validators_of(genesis)
        self._attestation_keys = attestation_keys(genesis, keys)
        self._committee = None if read_only else Committee(self._validators, [key.validator for key in keys])
        self._headers: list[Header] = []
        self._book = Book(genesis)
        self._journal = Journal(path / _JOURNAL_FOLDER, genesis.hash, read_only=read_only)
        self.stage_seconds = self._book.stage_seconds
        try:
            self._replay()
        except BaseException:
            self._journal.close()
            raise
        if self._committee is not None and self._headers:
            tip = self._headers[-1]
            self._committee = Committee(self._validators, [key.validator for key in keys], (tip.epoch, tip.round))
        self.stage_seconds.clear()

    @classmethod
    def create(
        cls,
        path: str | Path,
        genesis: Genesis,
        *,
        keys: Sequence[InstitutionKeys],
        clock: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Make a new ledger in a new or empty folder, or finish a `create` that was stopped before it had a genesis.

        Parameters
        ----------
        path : str or Path
        genesis : Genesis
        keys : sequence of InstitutionKeys
            Institutions that this process votes and attests for; a quorum at least.
        clock : callable, optional
            Gives nanoseconds since 1970 UTC.

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
        return cls(folder, genesis, keys, clock, read_only=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        read_only: bool = False,
        *,
        keys: Sequence[InstitutionKeys] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Open a ledger that `create` made; every block is executed again and its roots compared.

        Parameters
        ----------
        path : str or Path
        read_only : bool, optional
            Look only; works beside a process that writes. Needs no keys.
        keys, clock : optional
            As for `create`.

        Raises
        ------
        StorageError
            If there is no ledger, another process writes to it, or the journal is corrupt.
        """
        folder = Path(path)
        return cls(folder, cls.read_genesis(folder), keys, clock, read_only)

    @staticmethod
    def read_genesis(path: str | Path) -> Genesis:
        """Genesis of the ledger in a folder, without opening it; StorageError if there is none."""
        try:
            data = (Path(path) / _GENESIS_FILE).read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: no ledger here ({error.strerror})") from error
        return Genesis.from_bytes(data)

    # Writing ---------------------------------------------------------------------------------------------------------

    def register_keys(
        self,
        public_keys: NDArray[np.uint8],
        *,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
    ) -> NDArray[np.uint32]:
        """Register Ed25519 keys of an institution's customers.

        Parameters
        ----------
        public_keys : NDArray[uint8], shape (n, 32)
        institution : str, optional
            BIC; the only institution of the chain by default.
        attestation : tuple of (sequence, signature), optional
            The institution's signature over `batch_message`; made here if its key is held.

        Returns
        -------
        NDArray[uint32], shape (n,)
            Key indexes.
        """
        index = self._institution(institution)
        with self._mutex:
            return self._append(KeyBatch(public_keys, self._attest(index, attestation)))

    def create_accounts(
        self,
        accounts: NDArray[Any],
        *,
        owners: NDArray[np.uint32] | None = None,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
    ) -> NDArray[np.uint32]:
        """Open accounts.

        Parameters
        ----------
        accounts : NDArray, shape (n,), dtype ACCOUNT
            Balances and timestamp zero.
        owners : NDArray[uint32], shape (n,), optional
            Key index of each owner; the institution's own key by default.
        institution : str, optional
            BIC of the institution that keeps the accounts; the only one of the chain by default.
        attestation : tuple of (sequence, signature), optional
            As for `register_keys`.

        Returns
        -------
        NDArray[uint32], shape (n,)
            One `CreateAccountResult` for each record, 0 = created.
        """
        index = self._institution(institution)
        entries = _account_entries(accounts, owners, index)
        with self._mutex:
            return self._append(AccountBatch(entries, self._attest(index, attestation)))

    def post(
        self,
        transfers: NDArray[Any],
        *,
        signers: NDArray[np.uint32] | None = None,
        signatures: NDArray[np.uint8] | None = None,
        institution: str | None = None,
        attestation: tuple[int, bytes] | None = None,
        before_commit: Callable[[NDArray[np.uint32]], None] | None = None,
    ) -> Receipt:
        """Post transfers as one block: each signed by a registered key, or all attested by an institution.

        Parameters
        ----------
        transfers : NDArray, shape (n,), dtype TRANSFER
            At most the genesis' `block_transfers_max`.
        signers : NDArray[uint32], shape (n,), optional
            Key index of each signature.
        signatures : NDArray[uint8], shape (n, 64), optional
            Over `pyledger.ledger.blocks.transfer_messages` of the leaf hashes.
        institution, attestation : optional
            Without signatures: as for `register_keys`.
        before_commit : callable, optional
            Called with the results before the block is durable, for what must not be missing once it is. If it raises,
            nothing is posted and the ledger must be opened again.

        Returns
        -------
        Receipt
            Durable; `results` has a code for each transfer.

        Raises
        ------
        InputError
            If arrays do not fit or the batch is larger than a block.
        StorageError
            If the block could not be made durable. It was not acknowledged; open the ledger again to see whether it
            is there.
        """
        if transfers.dtype != TRANSFER or transfers.ndim != 1:
            raise InputError(f"transfers: expected shape (n,) and dtype TRANSFER, got {transfers.shape}")
        if signers is None and signatures is None:
            attest = self._attest(self._institution(institution), attestation)
            batch = TransferBatch(transfers, attest=attest)
        else:
            batch = TransferBatch(transfers, signers, signatures)
        with self._mutex:
            results = self._append(batch, before_commit)
            return Receipt(results, self.height, self._headers[-1] if self._headers else None)

    def seal(self) -> Header:
        """Append an empty block, so that the block before it is final; returns the new header."""
        with self._mutex:
            self._append(None)
            return self._headers[-1]

    def close(self) -> None:
        """Release the files. Closing twice is harmless."""
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
        """Height of the last block, 0 before the first."""
        return self._book.height

    @property
    def tip(self) -> bytes:
        """Hash of the last block."""
        return self._book.tip

    @property
    def keys_count(self) -> int:
        """Number of registered keys; the first ones are the institutions' attestation keys."""
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
        _require_id("account_id", account_id)
        with self._reading():
            records, found = self._book.engine.lookup_accounts(u128_array([account_id]))
        if not found[0]:
            raise InputError(f"account {account_id}: not in this ledger")
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

    def history(self, account_id: int) -> pa.Table:
        """Transfers that debit or credit an account, newest first."""
        _require_id("account_id", account_id)
        blocks = (self.block(height) for height in range(self.height, 0, -1))
        return queries.account_history(blocks, account_id)

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
        with self._reading():
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
        for block, certificate in self._blocks():
            self._book.apply(block, trusted=True)
            self._headers.append(block.header)
            certificates.append(certificate_of(block, certificate, self._validators))
        try:
            bls.verify_chain(certificates, self._validators)
        except ProofError as error:
            raise StorageError(f"{self.path}: a block is not certified: {error}") from error

    def _append(
        self, submission: Submission | None, before_commit: Callable[[NDArray[np.uint32]], None] | None = None
    ) -> NDArray[np.uint32]:
        """Execute, certify, make durable; then and only then the block counts."""
        with self._mutex:
            if self._committee is None:
                raise StateError("the ledger is open read-only")
            self._require_clean()
            execution = self._book.propose(
                [] if submission is None else [submission],
                time_ns=max(self._clock(), self._book.next_time_ns),
                epoch=_EPOCH,
                round=self.height + 1,
                validators_hash=self._validators.hash,
                keep_empty=submission is None or before_commit is not None,
            )
            results = execution.results[0] if execution.results else np.empty(0, np.uint32)
            if before_commit is not None and not isinstance(results, LedgerError):
                before_commit(results)
            if execution.block is not None:
                self._write(execution.block)
            if isinstance(results, LedgerError):
                raise results
            return results

    def _write(self, block: Block) -> None:
        assert self._committee is not None
        with self._book.stage("certify"):
            certificate = self._committee.certify(statement(block.header)).to_bytes()
        with self._book.stage("write"):
            self._journal.append(block.header.height, encode_payload(block, certificate))
        self._book.commit(block)
        self._headers.append(block.header)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Hold writers off: the state in memory is that of the last durable block, or nothing is shown."""
        with self._mutex:
            self._require_clean()
            yield

    def _require_clean(self) -> None:
        if self._book.dirty:
            raise StateError("an earlier call failed after it changed the state in memory: open the ledger again")

    def _blocks(self) -> Iterator[tuple[Block, bytes]]:
        for _, payload in self._journal.payloads():
            yield decode_payload(payload)

    def _institution(self, bic: str | None) -> int:
        if bic is None:
            if len(self.genesis.institutions) != 1:
                raise InputError("institution: this chain has several, expected a BIC")
            return 0
        if bic not in self.genesis.institution_index:
            raise InputError(f"institution: '{bic}' is not a member of this chain")
        return self.genesis.institution_index[bic]

    def _attest(self, institution: int, attestation: tuple[int, bytes] | None) -> Attest | HeldKey:
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
