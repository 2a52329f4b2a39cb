"""The book as consensus sees it: it makes blocks from batches that wait, executes those of others, keeps final ones.

Implements `pyledger.consensus.application.Application` and `BlockStore` over a `Book`, its branches and the journal.
The folder is that of a `pyledger.Ledger`: opened read-only beside the node it gives balances, history, receipts and
audits up to the last final block.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pyledger.consensus.application import Draft, Verdict
from pyledger.consensus.messages import SYNC_BYTES_MAX, Certificate, SyncEntry
from pyledger.consensus.state import Anchor
from pyledger.crypto import bls
from pyledger.errors import AuthorisationError, InputError, LedgerError, SignatureError, StorageError
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.ledger.batches import KeyBatch
from pyledger.ledger.blocks import Block, Body, Header
from pyledger.ledger.book import Book, Prepared
from pyledger.ledger.commands import ORDER_KINDS
from pyledger.ledger.genesis import Genesis
from pyledger.ledger.mismatch import Mismatch
from pyledger.node.admission import is_ahead, prepare_authorised, require_near, require_next
from pyledger.node.branches import Branches
from pyledger.node.certified import Columns, columns_of, decode_evidence, payload_parts, sync_entry
from pyledger.node.epochs import Epochs
from pyledger.node.existing import plausible_codes
from pyledger.node.folder import GENESIS_FILE, JOURNAL_FOLDER, TRUST_FILE
from pyledger.node.keeping import Keeper, Keeping, resume_book
from pyledger.node.membership import find_attester, trust_json
from pyledger.node.mempool import Mempool, Waiting
from pyledger.node.observe import log_event
from pyledger.node.outcomes import Outcome, Results, is_closed, is_hopeful
from pyledger.node.pending import KeptFiles, PendingBlocks
from pyledger.node.reopening import execute_tail
from pyledger.node.submissions import decode_submission, digest_of
from pyledger.node.traces import Traces, open_journal, require_transfers
from pyledger.node.validity import decode_within, shown_records_count
from pyledger.types import CreateTransferResult

__all__ = ["BookApplication", "Outcome"]

_LOG: Final = logging.getLogger(__name__)
_SYNC_ENTRIES_MAX: Final = 256
_VOTES_LOOKED_AT: Final = 256
_KEEPING: Final = Keeping()
_DONE: Final = (CreateTransferResult.EXISTS, CreateTransferResult.ID_ALREADY_FAILED)

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _in_turn(method: _Method) -> _Method:
    """Let a method have the book for itself: the keeper's thread takes its snapshots between two of them."""

    @wraps(method)
    def call(self: BookApplication, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return method(self, *args, **kwargs)

    return cast(_Method, call)


class BookApplication:
    """A chain's blocks, executed.

    Parameters
    ----------
    folder : Path
        Made if it is not there; locked while open.
    genesis : Genesis
    mempool_bytes_max : int
    keeping : Keeping, optional
        How much stays in memory, and how often a snapshot is taken.

    Attributes
    ----------
    on_outcome : callable
        Called with an `Outcome` when the fate of a batch is final.
    epochs : Epochs
        Who votes.
    on_refusals : callable
        Called with digest and results of a batch that takes effect in part, when this node makes its block.

    Raises
    ------
    StorageError
        If the folder is of another chain, in use, or holds a journal that is corrupt.
    """

    def __init__(
        self,
        folder: Path,
        genesis: Genesis,
        mempool_bytes_max: int,
        keeping: Keeping = _KEEPING,
    ) -> None:
        self.folder: Final = folder
        self.genesis = genesis
        self.on_outcome: Callable[[Outcome], None] = lambda _: None
        self.on_refusals: Callable[[bytes, Results], None] = lambda _digest, _results: None
        self._executed: dict[bytes, dict[bytes, Results]] = {}
        self._refused: list[bytes] = []
        self._key_institutions = ((-1, 0), np.empty(0, np.uint32))
        self._turn = threading.RLock()
        self.mempool = Mempool(mempool_bytes_max)
        self.transfers_count = 0
        self.blocks_count = 0
        self.fsyncs_count = 0
        self.fsync_seconds = 0.0
        self.fsync_seconds_last = 0.0
        _prepare_folder(folder, genesis)
        traces = Traces.of(folder)
        self._journal = open_journal(folder, genesis.hash, traces, read_only=False, whole=False)
        try:
            book = self._open_book(folder, keeping, traces)
            self.pending = PendingBlocks(folder / "pending")
            self.branches = Branches(book)
            self.epochs = Epochs(genesis, Book(genesis).state.root(), self.branches, self._headers)
            self._batches = KeptFiles(folder / "batches", "batch")
            self._admit_kept()
        except BaseException:
            self._journal.close()
            raise
        self._keeper.start(self._resting)

    def _open_book(self, folder: Path, keeping: Keeping, traces: Traces) -> Book:
        book, self._headers = resume_book(self.genesis, folder, self._journal)
        require_transfers(self._journal, traces, book.height, book.engine.transfer_count)
        snapshot = book.height
        self._keeper = Keeper(folder, book, self._journal, keeping)
        self._headers += execute_tail(book, self._journal, self._keeper)
        log_event(_LOG, "opened", snapshot=snapshot, height=book.height)
        return book

    def close(self) -> None:
        """Release the files."""
        self._keeper.close()
        self._journal.close()

    @property
    def height(self) -> int:
        """Height of the last final block."""
        return self.branches.final_height

    @property
    def is_new(self) -> bool:
        """Whether there is no block yet, final or voted for."""
        return not self.height and not self.pending.contents()

    @property
    def anchor(self) -> Anchor:
        """What the epoch in office is built on."""
        return self.epochs.anchor

    def final_entry(self) -> SyncEntry | None:
        """The last final block with its certificate; None if the epoch in office has none yet."""
        return self._entry(self.height) if self.height > self.anchor.height else None

    def has_voted(self, public_key: bytes) -> bool:
        """Whether a validator's key has voted in the epoch in office, as far as the last blocks here show."""
        validators = self.anchor.validators
        if public_key not in validators.public_keys:
            return False
        if any(self.read_header(block).validators_hash == validators.hash for block, _ in self.pending.contents()):
            return True  # only blocks that were voted for are there
        index = validators.public_keys.index(public_key)
        heights = range(self.height, max(self.anchor.height, self.height - _VOTES_LOOKED_AT), -1)
        return any(self._entry(height).certificate.is_signed_by(index) for height in heights)

    def has_undecided_work(self, block_hash: bytes) -> bool:
        """Whether something that was executed up to this block is not final yet."""
        blocks = self.branches.ancestors(block_hash)
        return any(self._executed[block] or not self.branches.is_empty(block) for block in blocks)

    @_in_turn
    def next_sequence(self, number: int, kind: int) -> int:
        """Sequence of an institution's next batch of a kind, or of a key's next order, behind those that wait."""
        if kind not in ORDER_KINDS and not 0 <= number < len(self.genesis.institutions):
            raise InputError(f"institution {number}: not a member of this chain")
        return self.mempool.next_sequence(number, kind, self.branches.book.next_sequence(number, kind))

    @_in_turn
    def find_attester(self, public_key: bytes) -> tuple[int, int]:
        """Institution that a key attests for, and the key's index; AuthorisationError if it attests for nobody."""
        return find_attester(self.branches.book, public_key)

    # Application -----------------------------------------------------------------------------------------------------

    def read_header(self, block: bytes) -> Header:
        """Header of a block; InputError if the bytes are no block."""
        try:
            return Header.from_bytes(block[: Header.SIZE])
        except StorageError as error:
            raise InputError(str(error)) from error

    def validators(self, validators_hash: bytes) -> bls.ValidatorSet:
        """The set of this hash, which the genesis or a block that was executed names."""
        return self.epochs.validators(validators_hash)

    @_in_turn
    def prepare(self, draft: Draft, due: Sequence[bytes]) -> bytes:
        """Make a block from what waits and takes effect; what is due comes first."""
        if draft.closing:
            return self.epochs.prepare_closing(draft)
        done = {digest for block in self.branches.ancestors(draft.parent) for digest in self._executed[block]}
        with self.branches.forming(draft.parent) as book:
            keys_before = book.keys_count
            book.begin(max(draft.time_ns, book.next_time_ns))
            executed = self._execute_waiting(book, done, due)
            block = book.finish(
                epoch=draft.epoch, round=draft.round, validators_hash=draft.validators_hash, keep_empty=True
            )
            assert block is not None
            self.branches.add_formed(block, keys_before)
        self._executed[block.hash] = executed
        self.epochs.note_executed(block.header)
        return block.to_bytes()

    @_in_turn
    def process(self, block: bytes, due: Sequence[bytes]) -> Verdict:
        """Execute a block of another node; its state root is that computed here, or None if it is not valid."""
        try:
            decoded = decode_within(block, self.genesis.block_transfers_max)
        except LedgerError as error:
            return _invalid(error)
        header = decoded.header
        is_closing = self.epochs.is_closing(header)
        if not is_closing:
            self.branches.book_on(header.parent)  # fails only where the own disk or memory does
        try:
            if is_closing:
                return self.epochs.process_closing(decoded)
            keys_before = self.branches.apply(decoded)
        except LedgerError as error:
            return _invalid(error, _other_state(header, error))
        self.epochs.note_executed(header)
        if decoded.hash not in self._executed:
            self.branches.book_on(decoded.hash)
            self._executed[decoded.hash] = self.mempool.executed_in(decoded, keys_before, self._codes_now)
        executed = self._executed[decoded.hash]
        return Verdict(header.state_root, self._omits(decoded, executed, due))

    @_in_turn
    def discard(self, block_hash: bytes) -> None:
        """Forget a block that will never be final; its batches wait again."""
        self.epochs.discard(block_hash)
        self.branches.discard(block_hash)
        self._executed.pop(block_hash, None)
        self.pending.remove(block_hash)

    @_in_turn
    def finalise(self, entries: Sequence[SyncEntry], tail: Sequence[SyncEntry]) -> Sequence[bytes]:
        """Write blocks and certificates to the journal, durably; give the batches that are settled by them.

        Where the last one ends an epoch, what shows it to be final is written with it.
        """
        settled, self._refused = self._refused, []
        started = perf_counter()
        columns = [self._write(entry, tail) for entry in entries]
        self._journal.wait(entries[-1].certificate.statement.height)
        self._note_fsync(perf_counter() - started)
        for entry, place in zip(entries, columns, strict=True):
            settled += self._settle_block(entry.certificate.statement.block_hash, place)
        return settled

    def admit(self, content: bytes) -> bytes | None:
        """Take a batch; None if it is malformed, not authorised, or there is no room."""
        try:
            return self.submit(content, in_order=False)
        except (InputError, AuthorisationError, SignatureError) as error:
            log_event(_LOG, "a batch is refused", logging.DEBUG, reason=str(error))
            return None

    def batch(self, digest: bytes) -> bytes | None:
        """A batch that waits."""
        waiting = self.mempool.get(digest)
        return None if waiting is None else waiting.content

    @_in_turn
    def submit(self, content: bytes, *, in_order: bool = True) -> bytes:
        """Take a batch, durably, and give its digest; `on_outcome` is called at once if all of it is final already.

        Parameters
        ----------
        content : bytes
        in_order : bool, optional
            A change of rights must be the next one behind those that wait. From peers they come in any order.

        Raises
        ------
        InputError, AuthorisationError, SignatureError
            If it is malformed, nobody may do any of it, its sequence is not the next, used up or far ahead, or there is
            no room.
        """
        digest = digest_of(content)
        if digest in self.mempool:
            return digest
        submission = decode_submission(content)
        self.mempool.require_room(submission, content, len(self.genesis.institutions))
        book = self.branches.book
        require_near(book, submission)
        if in_order:
            require_next(submission, self.next_sequence)
        waiting = Waiting(digest, content, prepare_authorised(book, submission), self.branches.taken_back)
        self.mempool.require_new(waiting)
        if waiting.mark is None:
            if not self._is_open(waiting, from_client=in_order):
                return digest
            self.mempool.require_room_of_signed(waiting, len(self.genesis.institutions))
        started = perf_counter()
        self._batches.put(digest, content)
        self._note_fsync(perf_counter() - started)
        self.mempool.add(waiting)
        return digest

    def header(self, height: int) -> Header:
        """Header of a final block."""
        return self._headers[height - 1]

    @_in_turn
    def plausible(self, digest: bytes, positions: NDArray[np.intp], codes: Results) -> NDArray[np.bool_]:
        """Which of another node's results for refused records of a batch that waits the book does not contradict."""
        waiting = self.mempool.get(digest)
        if waiting is None:
            return np.zeros(len(codes), np.bool_)
        return plausible_codes(self.branches.book, waiting.submission, positions, codes)

    # BlockStore ------------------------------------------------------------------------------------------------------

    def put(self, block: bytes, parent: Certificate) -> None:
        """Make a block, and the certificate that it stands on, durable before returning."""
        started = perf_counter()
        self.pending.put(self.read_header(block).hash, block, parent)
        self._note_fsync(perf_counter() - started)

    def entries(self, from_height: int) -> tuple[Sequence[SyncEntry], bool]:
        """Final blocks from a height on, as many as fit into a message; and whether these are all."""
        found: list[SyncEntry] = []
        size = 0
        for height in range(max(1, from_height), self.height + 1):
            entry, closing = self._entries_at(height)
            size += len(entry.block)
            if found and (size > SYNC_BYTES_MAX or len(found) >= _SYNC_ENTRIES_MAX):
                return found, False
            found.append(entry)
            if closing:
                return [*found, *closing], False
        return found, True

    # Inside ----------------------------------------------------------------------------------------------------------

    def _execute_waiting(self, book: Book, done: set[bytes], due: Sequence[bytes]) -> dict[bytes, Results]:
        """Fill the block that is being formed; what is refused for good leaves the mempool."""
        executed: dict[bytes, Results] = {}
        reserved = self._reserved(book, done, due)
        reserved_count = sum(reserved.values())
        for waiting in self.mempool.in_order(set(due)):
            reserved_count -= reserved.get(waiting.digest, 0)
            if waiting.digest in done or not book.has_room(waiting.submission, reserved_count):
                continue
            if is_ahead(book, waiting.submission):
                continue
            try:
                results = book.execute(self._prepared(book, waiting))
            except LedgerError as error:
                self._refused.append(waiting.digest)
                self._settle(Outcome(waiting.digest, 0, np.empty(0, np.uint32), str(error)))
                continue
            executed[waiting.digest] = results
            if results.any() and not isinstance(waiting.submission, KeyBatch):
                self.on_refusals(waiting.digest, results)
        return executed

    def _reserved(self, book: Book, done: set[bytes], due: Sequence[bytes]) -> dict[bytes, int]:
        """Records of what is due, oldest first, as far as a block holds them: a large batch would else never fit."""
        found: dict[bytes, int] = {}
        room = self.genesis.block_transfers_max
        for digest in due:
            waiting = self.mempool.get(digest)
            if waiting is None or digest in done or waiting.count > room or is_ahead(book, waiting.submission):
                continue
            found[digest] = waiting.count
            room -= waiting.count
        return found

    def _write(self, entry: SyncEntry, tail: Sequence[SyncEntry]) -> Columns:
        """Hand a block to the journal; gives where its transfers will lie there."""
        block = self.branches.undecided(entry.certificate.statement.block_hash)
        closing = self.epochs.segment(block.header, tail)
        parts = payload_parts(block, self.epochs.certificate(entry.certificate), closing)
        self._journal.submit(block.header.height, parts)
        return columns_of(parts, block)

    def _settle_block(self, block_hash: bytes, columns: Columns) -> list[bytes]:
        block = self.branches.finalise(block_hash)
        self._keeper.tell(block.header, columns)
        self._headers.append(block.header)
        self.epochs.note_final(block.header)
        self.pending.remove(block_hash)
        self.blocks_count += 1
        self.transfers_count += len(block.body.transfers)
        executed = self._executed.pop(block_hash, {})
        for digest, results in executed.items():
            self._settle(Outcome(digest, block.header.height, results))
        return list(executed)

    def _settle(self, outcome: Outcome) -> None:
        self.on_outcome(outcome)
        self.mempool.remove(outcome.digest)
        self._batches.remove(outcome.digest)

    def _omits(self, block: Block, executed: dict[bytes, Results], due: Sequence[bytes]) -> bool:
        """Whether a batch that is due was left out though there was room, and would take effect now."""
        included = {digest for parent in self.branches.ancestors(block.hash) for digest in self._executed[parent]}
        self.branches.book_on(block.hash)
        room = self.genesis.block_transfers_max - shown_records_count(block)
        for digest in due:
            waiting = self.mempool.get(digest)
            if waiting is None or digest in included or digest in executed or waiting.count > room:
                continue
            if self._takes_effect(waiting):
                return True
        return False

    def _is_open(self, waiting: Waiting, *, from_client: bool) -> bool:
        """Whether a batch of signed transfers may wait; a client who sends again what is final has his answer at once.

        Raises
        ------
        AuthorisationError
            If none of them can take effect as things stand; from a peer also if all of these wait in other batches.
        """
        codes = self._codes_now(waiting)
        if codes is None:
            raise AuthorisationError("not one of these transfers can take effect")
        self.mempool.note_hopes(waiting, is_hopeful(codes), self._institutions_of_keys())
        if waiting.key is not None or (from_client and waiting.rows):
            return True
        if not from_client or not np.isin(codes, _DONE).any():
            code = CreateTransferResult(codes[0]).name.lower()
            raise AuthorisationError(f"not one of these transfers can take effect and is new: the first {code}")
        with self.branches.resting():
            final = self._codes_now(waiting)
        if final is None or not is_closed(final).all():
            return True
        self.on_outcome(Outcome(waiting.digest, self.height, final))
        return False

    def _institutions_of_keys(self) -> NDArray[np.uint32]:
        """By key index; copied from the engine when keys came, or may be others."""
        known = (self.branches.taken_back, self.branches.book.keys_count)
        if self._key_institutions[0] != known:
            self._key_institutions = (known, self.branches.book.engine.keys()["key_institutions"])
        return self._key_institutions[1]

    def _takes_effect(self, waiting: Waiting) -> bool:
        """Whether a batch takes effect, at least in part, in the state that the book is in; tried and taken back."""
        if is_ahead(self.branches.book, waiting.submission):
            return False
        codes = self._codes_now(waiting)
        return codes is not None and (isinstance(waiting.submission, KeyBatch) or not codes.all())

    def _codes_now(self, waiting: Waiting) -> Results | None:
        """Results that a batch has in the state that the book is in, tried and taken back; None if it is refused."""
        with self.branches.trying() as book:
            try:
                book.begin(book.next_time_ns)
                return book.execute(self._prepared(book, waiting))
            except LedgerError:
                return None

    def _prepared(self, book: Book, waiting: Waiting) -> Prepared:
        """A batch as the keys of this branch have it."""
        if waiting.branch != self.branches.taken_back:  # other keys, maybe
            waiting.prepared, waiting.branch = book.prepare(waiting.submission), self.branches.taken_back
        return waiting.prepared

    def _admit_kept(self) -> None:
        """Take the batches again that waited when the node stopped, in whatever order they come."""
        for content in self._batches.contents():
            if self.admit(content) is None:
                self._batches.remove(digest_of(content))

    @contextmanager
    def _resting(self) -> Iterator[list[Header]]:
        """For the keeper's thread: the book after the last final block, and the headers up to it."""
        with self._turn, self.branches.resting():
            yield self._headers

    def _entry(self, height: int) -> SyncEntry:
        return self._entries_at(height)[0]

    def _entries_at(self, height: int) -> tuple[SyncEntry, list[SyncEntry]]:
        """A final block, and the closing blocks behind it if it ends an epoch."""
        block, (certificate, closing) = decode_evidence(self._journal.read(height))
        closed_by = () if closing is None else closing.entries
        tail = [sync_entry(Block(Header.from_bytes(header), Body()), each) for header, each in closed_by]
        return sync_entry(block, certificate), tail

    def _note_fsync(self, seconds: float) -> None:
        self.fsyncs_count += 1
        self.fsync_seconds_last = seconds
        self.fsync_seconds += seconds


def _invalid(error: LedgerError, state_root: bytes | None = None) -> Verdict:
    log_event(_LOG, "a block is not valid", logging.WARNING, reason=str(error))
    return Verdict(state_root)


def _other_state(header: Header, error: LedgerError) -> bytes | None:
    """Root of the state computed, if the body is the header's and leads to another state; else None.

    The body's own roots come before the state's when headers are compared. They cover all that the state depends on but
    the times of accounts: where accounts are created, a wrong state may be that of a wrong body.
    """
    if header.accounts_count or not isinstance(error, Mismatch) or error.field != "state_root":
        return None
    return cast(bytes, error.computed)


def _prepare_folder(folder: Path, genesis: Genesis) -> None:
    """Make the folder of a new ledger, or see that it is this chain's."""
    make_folder(folder)
    make_folder(folder / JOURNAL_FOLDER)
    path = folder / GENESIS_FILE
    if path.exists():
        if path.read_bytes() != genesis.to_bytes():
            raise StorageError(f"{path}: the folder belongs to another chain")
        return
    write_atomic(folder / TRUST_FILE, trust_json(genesis))
    write_atomic(path, genesis.to_bytes())
