"""The posting half of a day: members' keys and accounts, then their transfers, batch by batch, one block each.

The work is resumable because it is deterministic: block 2i+1 registers the keys of institution i, block 2i+2 opens its
accounts, every later block holds one batch of the merged transfers. So the ledger's height says where to go on. What a
batch refused is written before its block is, so that the list is whole whenever the block is there.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyledger.crypto import ed25519
from pyledger.errors import InputError, SignatureError, StateError
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.formats.day_files import AccountTable, KeyTable, TransferBatch, iter_transfers, read_accounts, read_keys
from pyledger.formats.day_header import DayHeader
from pyledger.formats.merge import merge_transfers
from pyledger.node.embedded import Ledger
from pyledger.node.pipeline import Receipt
from pyledger.types import NO_KEY, CreateAccountResult, CreateTransferResult, u128_int

__all__ = ["DayClock", "Posting", "Progress", "Refusal", "post_day", "read_refusals"]

Progress = Callable[[str, int, int], None]

_DAY_NS = 86_400 * 10**9
_UNDER_WAY_MAX = 4  # blocks: one in each stage of the pipeline and one being read
_REFUSAL_HEADER = ("institution", "row", "transfer_id", "result")


class Refusal(NamedTuple):
    """A transfer that did not take effect: whose file, the row there, its id, the result code's name."""

    institution: str
    row: int
    transfer_id: int
    result: str


class DayClock:
    """Business time: block times follow from the files, so that a day run twice gives the same roots."""

    def __init__(self, start_ns: int) -> None:
        self.now_ns = start_ns

    def __call__(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return self.now_ns


@dataclass
class Posting:
    """What posting a day came to, whether in this run or an earlier one.

    Parameters
    ----------
    submitted : int
        Transfers read.
    refused : list of Refusal
        Those that did not take effect.
    batches, batches_resumed : int
        Blocks of transfers, and how many of them an earlier run had made.
    read_seconds : float
        Time spent reading and merging files in this run.
    """

    submitted: int = 0
    batches: int = 0
    batches_resumed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    read_seconds: float = 0.0

    @property
    def posted(self) -> int:
        """Transfers that took effect."""
        return self.submitted - len(self.refused)


def post_day(
    header: DayHeader, folder: Path, ledger: Ledger, clock: DayClock, refusals: Path, progress: Progress
) -> Posting:
    """Bring a ledger to the end of the day, from wherever it stands.

    Parameters
    ----------
    header, folder : the day
    ledger : Ledger
        New, or left by an earlier run of the same day.
    clock : DayClock
        The ledger's clock.
    refusals : Path
        Folder for the lists of refused transfers, one file a batch.
    progress : callable
        Called with stage, done and total.

    Raises
    ------
    InputError, StorageError
        Names file, row and field; what was posted stays, and the next run goes on from there.
    StateError
        If the ledger holds something else than this day.
    """
    make_folder(refusals)
    signers = _open_members(header, folder, ledger, progress)
    return _post_transfers(header, folder, ledger, clock, signers, refusals, progress)


def _open_members(header: DayHeader, folder: Path, ledger: Ledger, progress: Progress) -> list[_Signers]:
    """Register keys and open accounts; gives each institution's map from key id to key index."""
    count = len(header.institutions)
    signers, first_index = [], count
    for index, member in enumerate(header.institutions):
        keys = read_keys(folder / header.table_path(index, "keys"))
        path = folder / header.table_path(index, "accounts")
        accounts = read_accounts(path, header.ledgers, keys)
        signers.append(_Signers(keys, first_index))
        if ledger.height < 2 * index + 1:
            _register_keys(ledger, member.bic, keys, folder / header.table_path(index, "keys"))
        if ledger.height < 2 * index + 2:
            _open_accounts(ledger, member.bic, accounts, signers[-1], path)
        first_index += len(keys.key_ids)
        progress("accounts", index + 1, count)
    if ledger.keys_count != first_index:
        raise StateError(f"{ledger.path}: the ledger has {ledger.keys_count} keys, this day {first_index}")
    return signers


def _register_keys(ledger: Ledger, bic: str, keys: KeyTable, path: Path) -> None:
    field = "public_key"
    try:
        ed25519.check_public_keys(keys.public_keys)
        field = "proof"
        ledger.register_keys(keys.public_keys, keys.proofs, institution=bic)
    except SignatureError as error:
        row = None if error.row is None else error.row + 1
        raise InputError(str(error), file=path, row=row, field=field) from error


def _open_accounts(ledger: Ledger, bic: str, accounts: AccountTable, signers: _Signers, path: Path) -> None:
    owners = signers.indexes(accounts.key_ids)
    results = ledger.create_accounts(accounts.records, owners=owners, institution=bic)
    refused = np.flatnonzero(results)
    if len(refused):
        row = int(refused[0])
        name = CreateAccountResult(int(results[row])).name.lower()
        raise InputError(f"the account was not opened: {name}", file=path, row=row + 1)


@dataclass(frozen=True)
class _Signers:
    """Key ids of one institution's files, and the key index of the first."""

    keys: KeyTable
    first_index: int

    def indexes(self, key_ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Key index of each key id; NO_KEY where the institution has no such key."""
        known = self.keys.key_ids
        places = np.minimum(np.searchsorted(known, key_ids), max(len(known) - 1, 0))
        found = known[places] == key_ids if len(known) else np.zeros(len(key_ids), np.bool_)
        return np.where(found, places + self.first_index, NO_KEY).astype(np.uint32)


def _post_transfers(
    header: DayHeader,
    folder: Path,
    ledger: Ledger,
    clock: DayClock,
    signers: list[_Signers],
    refusals: Path,
    progress: Progress,
) -> Posting:
    posting, under_way = Posting(), _UnderWay()
    done = ledger.height - 2 * len(header.institutions)
    total = header.generator.transfers if header.generator else 0
    bics = [member.bic for member in header.institutions]

    def take_answers(leave: int) -> None:
        for size, path in under_way.answered(leave):
            posting.submitted += size
            posting.refused += read_refusals(path)
            progress("post", posting.submitted, max(total, posting.submitted))

    for batch in _timed(_merged(header, folder, ledger.genesis.block_transfers_max), posting):
        posting.batches += 1
        path = refusals / f"{posting.batches:06d}.csv"
        _require_on_date(batch, header, folder)
        if posting.batches <= done:
            posting.batches_resumed += 1
            _require_same_batch(ledger, 2 * len(bics) + posting.batches, batch, bics, path)
            under_way.add(len(batch), path, None)
        else:
            clock.now_ns = int(batch.submitted_at[-1])
            under_way.add(len(batch), path, _submit_batch(ledger, batch, signers, bics, path))
        take_answers(_UNDER_WAY_MAX)
    take_answers(0)
    if ledger.height == 2 * len(header.institutions) + posting.batches:
        ledger.seal()
    if ledger.height != 2 * len(header.institutions) + posting.batches + 1:
        raise StateError(f"{ledger.path}: the ledger has {ledger.height} blocks, more than this day's")
    return posting


def _require_on_date(batch: TransferBatch, header: DayHeader, folder: Path) -> None:
    """Submission times make block times, so they must be near the day: from the day before to the day after."""
    start = header.genesis_time_ns
    wrong = np.flatnonzero((batch.submitted_at < start - _DAY_NS) | (batch.submitted_at >= start + 2 * _DAY_NS))
    if len(wrong):
        place = int(wrong[0])
        path = folder / header.table_path(int(batch.institutions[place]), "transfers")
        message = f"expected a time within a day of {header.business_date}"
        raise InputError(message, file=path, row=int(batch.rows[place]), field="submitted_at")


def _require_same_batch(ledger: Ledger, height: int, batch: TransferBatch, bics: list[str], refusals: Path) -> None:
    """A block of an earlier run must hold this batch less what it refused, record by record."""
    refused = {(refusal.institution, refusal.row) for refusal in read_refusals(refusals)}
    places = zip(batch.institutions.tolist(), batch.rows.tolist(), strict=True)
    taken = np.array([(bics[institution], row) not in refused for institution, row in places], np.bool_)
    posted = ledger.block(height).body.transfers.copy()
    posted["timestamp"] = 0
    if posted.tobytes() != batch.records[taken].tobytes():
        raise StateError(f"block {height} holds other transfers than the files do: they were changed since it was made")


def _merged(header: DayHeader, folder: Path, batch_rows: int) -> Iterator[TransferBatch]:
    sources = [
        iter_transfers(folder / header.table_path(index, "transfers"), header.ledgers, institution=index)
        for index in range(len(header.institutions))
    ]
    return merge_transfers(sources, batch_rows)


def _timed(batches: Iterator[TransferBatch], posting: Posting) -> Iterator[TransferBatch]:
    while True:
        started = perf_counter()
        batch = next(batches, None)
        posting.read_seconds += perf_counter() - started
        if batch is None:
            return
        yield batch


class _UnderWay:
    """Batches that were submitted, oldest first, with their sizes and the files of what they refuse."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Path, Future[Receipt] | None]] = deque()

    def add(self, size: int, path: Path, answer: Future[Receipt] | None) -> None:
        """Add a batch; no answer means that an earlier run has it."""
        self._batches.append((size, path, answer))

    def answered(self, leave: int) -> Iterator[tuple[int, Path]]:
        """Size and file of batches that are durable; waits until no more than `leave` are under way."""
        while self._batches:
            size, path, answer = self._batches[0]
            if answer is not None and not answer.done() and len(self._batches) <= leave:
                return
            self._batches.popleft()
            if answer is not None:
                answer.result()
            yield size, path


def _submit_batch(
    ledger: Ledger, batch: TransferBatch, signers: list[_Signers], bics: list[str], refusals: Path
) -> Future[Receipt]:
    indexes = np.empty(len(batch), np.uint32)
    for institution, table in enumerate(signers):
        rows = batch.institutions == institution
        indexes[rows] = table.indexes(batch.key_ids[rows])

    def keep_refusals(results: NDArray[np.uint32]) -> None:
        write_atomic(refusals, _refusals_csv(batch, results, bics))

    return ledger.submit(batch.records, signers=indexes, signatures=batch.signatures, before_commit=keep_refusals)


def _refusals_csv(batch: TransferBatch, results: NDArray[np.uint32], bics: list[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_REFUSAL_HEADER)
    for index in np.flatnonzero(results):
        name = CreateTransferResult(int(results[index])).name.lower()
        transfer_id = f"{u128_int(batch.records[index]['id']):032x}"
        writer.writerow((bics[batch.institutions[index]], int(batch.rows[index]), transfer_id, name))
    return text.getvalue().encode()


def read_refusals(path: Path) -> list[Refusal]:
    """What a batch refused.

    Raises
    ------
    StateError
        If the file is missing though its block is there: it was removed by hand.
    """
    try:
        with path.open(newline="", encoding="ascii") as file:
            rows = list(csv.reader(file))[1:]
    except FileNotFoundError:
        raise StateError(
            f"{path}: missing, though its block is in the ledger; restore it or start the day anew"
        ) from None
    return [Refusal(bic, int(row), int(transfer_id, 16), result) for bic, row, transfer_id, result in rows]
