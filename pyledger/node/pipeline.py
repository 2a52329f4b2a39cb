"""From a submission to a durable answer: stages that overlap over submissions and blocks.

    submit -> prepare (worker threads: hashes, signatures)
           -> form    (one thread: posting; a block takes what is ready until the thread behind is free)
           -> keep    (one thread: roots, header, votes, and the journal takes the block)
           -> answer  (one thread: once the journal has made it durable, in groups of blocks)

Submissions are executed and answered in the order in which they were taken. One that is refused fails alone. Each is
answered once its block, and so every block before it, is durable. What can't be made durable stops everything: each
submission still under way fails with StorageError and nothing more is taken. Natives release the interpreter lock, so
the stages run on all cores.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from pyledger.errors import InputError, LedgerError, StateError, StorageError
from pyledger.ledger.batches import Submission, check_form, owned, record_count
from pyledger.ledger.blocks import Block, Header
from pyledger.ledger.book import Book, Closed, Prepared

__all__ = ["BeforeCommit", "Limits", "Pipeline", "Receipt"]

BeforeCommit = Callable[[NDArray[np.uint32]], None]
_EPOCH = 0
_UNLINKED_MAX = 2  # blocks formed and without roots


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way at once.

    Parameters
    ----------
    records_waiting_max : int
        Records from `submit` until they are durable; `submit` waits while there are more. A transfer takes up to
        600 bytes on its way, so the default of 524,288 bounds the memory by 300 MiB. One submission is always taken.
    submissions_waiting_max : int
        The same for submissions, default 4096.
    block_age_ms : int
        A block takes in what is ready for at most so long, default 50.
    workers : int
        Threads that prepare, default 0: one for each core.
    """

    records_waiting_max: int = 524_288
    submissions_waiting_max: int = 4096
    block_age_ms: int = 50
    workers: int = 0

    def check(self) -> None:
        """InputError for a limit that nothing could pass."""
        if min(self.records_waiting_max, self.submissions_waiting_max) < 1 or min(self.block_age_ms, self.workers) < 0:
            raise InputError(f"limits: expected positive numbers, got {self}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a submission: it is durable.

    Parameters
    ----------
    results : NDArray[uint32], shape (n,)
        One `CreateTransferResult` (`CreateAccountResult`) for each record, 0 = took effect; key indexes for keys.
    height : int
        The block that holds what took effect; the last one so far if nothing did.
    header : Header or None
        Of that block; None if there is no block yet.
    """

    results: NDArray[np.uint32]
    height: int
    header: Header | None


@dataclass
class _Item:
    """A submission on its way; None asks for an empty block."""

    submission: Submission | None
    time_ns: int
    before_commit: BeforeCommit | None
    answer: Future[Receipt] = field(default_factory=Future)
    prepared: Future[Prepared] | None = None
    result: NDArray[np.uint32] | LedgerError | None = None

    @property
    def size(self) -> int:
        return 0 if self.submission is None else record_count(self.submission)

    @property
    def is_prepared(self) -> bool:
        """Whether it can be executed at once."""
        return self.prepared is None or self.prepared.done()

    @property
    def stands_alone(self) -> bool:
        """Whether it has a block of its own, which is kept even if it is empty."""
        return self.submission is None or self.before_commit is not None


@dataclass
class _Group:
    """Submissions that were executed together, and their block if anything took effect; or what went wrong.

    `header` is that of the last block, theirs or an earlier one.
    """

    items: list[_Item]
    closed: Closed | None = None
    header: Header | None = None
    error: BaseException | None = None


class Pipeline:
    """Takes submissions for a book and makes its blocks durable.

    Parameters
    ----------
    book : Book
        Nobody else may change it. Readers use `reading`.
    keep : callable
        Certifies a block and hands it to the journal; StorageError if it can't be made durable.
    settle : callable
        Called after `keep`, in order; returns once the block with this header is durable.
    clock : callable
        Gives nanoseconds since 1970 UTC, asked when a submission is taken.
    validators_hash : bytes
    limits : Limits
    tip : Header or None
        Of the book's last block.
    """

    def __init__(
        self,
        book: Book,
        keep: Callable[[Block], None],
        settle: Callable[[Header], None],
        clock: Callable[[], int],
        validators_hash: bytes,
        limits: Limits,
        tip: Header | None,
    ) -> None:
        limits.check()
        self._book = book
        self._keep = keep
        self._settle = settle
        self._clock = clock
        self._validators_hash = validators_hash
        self._limits = limits
        self._tip = tip
        self._durable_height = book.height
        self._failure: BaseException | None = None
        self._closed = False
        self._waiting_records = 0
        self._admission = threading.Lock()  # held while waiting for room, so that those behind keep their places
        self._changed = threading.Condition()  # guards all above and the queue
        self._queue: deque[_Item] = deque()
        self._waiting = 0
        self._unlinked = 0
        self._formed: SimpleQueue[_Group | None] = SimpleQueue()
        self._kept: SimpleQueue[_Group | None] = SimpleQueue()
        self._turn = threading.Lock()  # the next one to hold the book; lets readers in between two blocks
        self._holding = threading.Lock()
        self._workers = ThreadPoolExecutor(limits.workers or os.cpu_count(), "pyledger-prepare")
        self._threads = [
            threading.Thread(target=stage, name=f"pyledger-{name}", daemon=True)
            for name, stage in (
                ("form", self._form_all),
                ("keep", self._keep_all),
                ("answer", self._answer_all),
            )
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, submission: Submission | None, before_commit: BeforeCommit | None = None) -> Future[Receipt]:
        """Take a submission, or None for an empty block; waits for room.

        Parameters
        ----------
        submission : Submission or None
            Its arrays are copied.
        before_commit : callable, optional
            Called with the results, in another thread, before the block is durable. The submission gets a block of its
            own, even if nothing takes effect. If it raises, the answer is StorageError and the pipeline stops.

        Raises
        ------
        StateError, StorageError
            If the pipeline is closed or has failed. Everything else comes through the future.
        """
        if submission is not None:
            try:
                check_form(submission, self._book.genesis.block_transfers_max)
            except LedgerError as error:
                return _failed(error)
            submission = owned(submission)
        with self._admission:
            item = _Item(submission, 0, before_commit)
            item.answer.set_running_or_notify_cancel()  # it can't be called back
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._has_room(item.size))
                self._require_open()
                item.time_ns = self._clock()
                if submission is not None:
                    item.prepared = self._workers.submit(self._book.prepare, submission)
                    item.prepared.add_done_callback(self._wake)
                self._queue.append(item)
                self._waiting += 1
                self._waiting_records += item.size
                self._changed.notify_all()
        return item.answer

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the book as it is between two blocks; at the end, wait until all of it is durable.

        Raises
        ------
        StateError, StorageError
            If the state is not, or can't be made, that of durable blocks.
        """
        self._require_sound()
        self._take_turn()
        try:
            self._require_sound()
            yield
            height = self._book.posted_height
        finally:
            self._holding.release()
        self._wait_durable(height)

    @contextmanager
    def reading_linked(self) -> Iterator[None]:
        """As `reading`; besides, every block up to the state has its roots and is durable from the beginning."""
        with self.reading():
            self._wait_durable(self._book.posted_height)
            yield

    def close(self) -> None:
        """Finish what was submitted, then stop. Closing twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._workers.shutdown()

    # State of the pipeline -------------------------------------------------------------------------------------------

    @property
    def submissions_waiting(self) -> int:
        """Submissions that were taken and are not answered yet."""
        return self._waiting

    @property
    def _stopped(self) -> bool:
        return self._closed or self._failure is not None

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        records = self._waiting == 0 or self._waiting_records + size <= limits.records_waiting_max
        return records and self._waiting < limits.submissions_waiting_max

    def _require_open(self) -> None:
        self._require_sound()
        if self._closed:
            raise StateError("the ledger is closed")

    def _require_sound(self) -> None:
        if self._failure is not None:
            kind = StorageError if isinstance(self._failure, StorageError) else StateError
            raise kind(
                f"an earlier call failed after it changed the state in memory ({self._failure}): open the ledger again"
            )

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _wait_durable(self, height: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._durable_height >= height or self._failure is not None)
            if self._durable_height < height:
                raise StorageError(f"block {height} could not be made durable: {self._failure}")

    def _wake(self, _: Future[Prepared]) -> None:
        with self._changed:
            self._changed.notify_all()

    def _take_turn(self) -> None:
        with self._turn:
            self._holding.acquire()

    # Forming blocks --------------------------------------------------------------------------------------------------

    def _form_all(self) -> None:
        while (item := self._next_item()) is not None:
            if self._failure is not None:
                self._formed.put(_Group([item], error=self._failure))
                continue
            self._take_turn()
            try:
                self._formed.put(self._form(item))
            finally:
                self._holding.release()
        self._formed.put(None)

    def _next_item(self) -> _Item | None:
        """The next submission, once it may begin a block; None when there will be none."""
        with self._changed:
            self._changed.wait_for(self._may_begin)
            return self._queue.popleft() if self._queue else None

    def _may_begin(self) -> bool:
        """Not further ahead of the roots: blocks that wait for theirs only take memory, fresh each time."""
        return self._stopped or (bool(self._queue) and self._unlinked < _UNLINKED_MAX)

    def _form(self, first: _Item) -> _Group:
        items: list[_Item] = []
        deadline = monotonic() + self._limits.block_age_ms / 1000
        try:
            self._book.begin(max(first.time_ns, self._book.next_time_ns))
            item: _Item | None = first
            while item is not None:
                items.append(item)
                item.result = self._execute(item)
                item = None if item.stands_alone else self._next_ready(deadline)
            closed = self._book.close_block(keep_empty=first.stands_alone)
        except BaseException as error:  # the state is half way: nobody may go on from here
            self._fail(error)
            return _Group(items, error=error)
        with self._changed:
            self._unlinked += closed is not None
        return _Group(items, closed)

    def _execute(self, item: _Item) -> NDArray[np.uint32] | LedgerError:
        if item.prepared is None:
            return np.empty(0, np.uint32)
        try:
            return self._book.execute(item.prepared.result())
        except LedgerError as error:
            return error

    def _next_ready(self, deadline: float) -> _Item | None:
        """The next submission for this block; None if it is time to close it.

        Large blocks cost less a transfer, so it stays open while submissions are being prepared, and while the blocks
        before it have no roots yet.
        """
        with self._changed:
            while not (self._queue and self._queue[0].is_prepared):
                left = deadline - monotonic()
                busy = self._queue or self._unlinked
                if not busy or left <= 0 or self._stopped:
                    return None
                self._changed.wait(left)
            item = self._queue[0]
            if item.stands_alone or item.submission is None or monotonic() > deadline:
                return None
            return self._queue.popleft() if self._book.has_room(item.submission) else None

    # Keeping blocks --------------------------------------------------------------------------------------------------

    def _keep_all(self) -> None:
        while (group := self._formed.get()) is not None:
            if self._failure is None and group.error is None:
                try:
                    self._keep_group(group)
                except BaseException as error:
                    self._fail(error)
                    group.error = error
            self._kept.put(group)
        self._kept.put(None)

    def _keep_group(self, group: _Group) -> None:
        for item in group.items:
            if item.before_commit is not None and isinstance(item.result, np.ndarray):
                item.before_commit(item.result)
        if group.closed is not None:
            self._keep(self._link(group.closed))
        group.header = self._tip

    def _link(self, closed: Closed) -> Block:
        block = self._book.link(closed, epoch=_EPOCH, round=closed.height, validators_hash=self._validators_hash)
        self._book.commit(block)
        self._tip = block.header
        with self._changed:
            self._unlinked -= 1
            self._changed.notify_all()
        return block

    def _answer_all(self) -> None:
        error: BaseException | None = None
        while (group := self._kept.get()) is not None:
            error = error or group.error
            if error is None and group.closed is not None:
                assert group.header is not None
                error = self._settle_block(group.header)
            self._answer(group, error)

    def _settle_block(self, header: Header) -> BaseException | None:
        try:
            self._settle(header)
        except BaseException as error:
            self._fail(error)
            return error
        with self._changed:
            self._durable_height = header.height
            self._changed.notify_all()
        return None

    def _answer(self, group: _Group, error: BaseException | None) -> None:
        height = 0 if group.header is None else group.header.height
        for item in group.items:
            if isinstance(item.result, LedgerError):
                item.answer.set_exception(item.result)
            elif error is not None:
                item.answer.set_exception(_storage_error(error))
            else:
                assert item.result is not None
                item.answer.set_result(Receipt(item.result, height, group.header))
        with self._changed:
            self._waiting -= len(group.items)
            self._waiting_records -= sum(item.size for item in group.items)
            self._changed.notify_all()


def _storage_error(error: BaseException) -> StorageError:
    if isinstance(error, StorageError):
        return error
    failure = StorageError(f"not durable: an earlier step failed with {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _failed(error: LedgerError) -> Future[Receipt]:
    answer: Future[Receipt] = Future()
    answer.set_exception(error)
    return answer
