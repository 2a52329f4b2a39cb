"""A bank day: files in, books, settlement instructions, breaks and proofs out."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import msgspec

from pyledger import _core
from pyledger.clearing import settlement
from pyledger.crypto import keys as key_files
from pyledger.errors import InputError, ProofError
from pyledger.formats.atomic import make_folder, write_atomic
from pyledger.formats.day_header import DayHeader, read_day
from pyledger.jobs.day_checks import (
    DayReconciliation,
    net_day,
    reconcile_day,
    transfer_id_of_break,
    unexplained_breaks,
    unexplained_refusals,
)
from pyledger.jobs.day_genesis import day_genesis
from pyledger.jobs.day_posting import DayClock, Posting, Progress, post_day
from pyledger.node.embedded import Ledger
from pyledger.node.folder import GENESIS_FILE, TRUST_FILE
from pyledger.node.membership import InstitutionKeys
from pyledger.reconciliation.breaks import BreakKind
from pyledger.types import u128_int
from pyledger.verifier import ReceiptError, Trust, verify_receipt

__all__ = ["DaySummary", "run_day"]

_BREAKS_HEADER = (
    "institution",
    "kind",
    "transfer_id",
    "statement_rows",
    "expected",
    "found",
    "detail",
    "suggested",
)


class DaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a day came to; the content of ``summary.json``.

    Parameters
    ----------
    business_date : str
    institutions, accounts, submitted, posted : int
    refused : dict of str to int
        Refused transfers by result.
    blocks, blocks_resumed : int
        Blocks of transfers, and how many an earlier run had made.
    final_height : int
    final_block, final_state_root : str
        Hash of the last block and state root after it, hexadecimal.
    ledger_bytes : int
        Size of the blocks on disk.
    settlement_instructions : int
    statement_rows : int
    breaks : dict of str to int
        By kind.
    unexplained_refusals, unexplained_breaks : int or None
        Differences to a sample's truth files; None where there is no truth.
    receipts_verified : int
    audit : str
        ``ok``, or the first difference.
    seconds : dict of str to float
        Wall time by stage.
    cpu_level : str
        Kernel rows in use.
    threads : int
    """

    business_date: str
    institutions: int
    accounts: int
    submitted: int
    posted: int
    refused: dict[str, int]
    blocks: int
    blocks_resumed: int
    final_height: int
    final_block: str
    final_state_root: str
    ledger_bytes: int
    settlement_instructions: int
    statement_rows: int
    breaks: dict[str, int]
    unexplained_refusals: int | None
    unexplained_breaks: int | None
    receipts_verified: int
    audit: str
    seconds: dict[str, float]
    cpu_level: str
    threads: int

    @property
    def ok(self) -> bool:
        """Whether the audit holds and nothing differs from a sample's truth."""
        return self.audit == "ok" and not self.unexplained_refusals and not self.unexplained_breaks


@dataclass
class _Stages:
    """Wall seconds of each stage."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += perf_counter() - started


def run_day(
    folder: Path,
    *,
    out: Path | None = None,
    receipts: int = 20,
    passphrase: str | None = None,
    progress: Progress | None = None,
) -> DaySummary:
    """Run a day from its files to its reports; started again after a stop, it goes on where it was.

    Parameters
    ----------
    folder : Path
        A day folder (docs/day-files.md).
    out : Path, optional
        Where ledger and reports go; ``folder / "out"`` by default. Holds ``ledger/``, ``settlement.csv``,
        ``breaks.csv``, ``refusals.csv``, ``receipts/`` and ``summary.json``.
    receipts : int, optional
        Transfers to prove and verify, spread over the day.
    passphrase : str, optional
        Of the key files under ``validators/``; not used for a sample, which names its own.
    progress : callable, optional
        Called with stage, done and total.

    Raises
    ------
    InputError
        If a file is not as expected; names file, row and field.
    StorageError
        If something can't be read or written. What was posted stays.
    ProofError
        If a receipt of the day does not verify.
    """
    progress = progress or (lambda _stage, _done, _total: None)
    stages = _Stages()
    with stages.stage("read"):
        header = read_day(folder)
        header.verify_files(folder)
    out = make_folder(out or folder / "out")
    clock = DayClock(header.genesis_time_ns + 1)
    with stages.stage("open"):
        ledger = _open_ledger(header, folder, out / "ledger", passphrase, clock)
    with ledger:
        posting = post_day(header, folder, ledger, clock, out / "refusals", progress)
        stages.seconds.update(ledger.stage_seconds)
        stages.seconds["read"] += posting.read_seconds
        return _report(header, folder, out, ledger, posting, receipts, stages, progress)


def _open_ledger(header: DayHeader, folder: Path, path: Path, passphrase: str | None, clock: DayClock) -> Ledger:
    genesis = day_genesis(header)
    keys = _member_keys(header, folder, passphrase)
    if not (path / GENESIS_FILE).exists():
        return Ledger.create(path, genesis, keys=keys, clock=clock)
    if Ledger.read_genesis(path) != genesis:
        raise InputError("this ledger is of another day: choose another output folder", file=path)
    return Ledger.open(path, keys=keys, clock=clock)


def _member_keys(header: DayHeader, folder: Path, passphrase: str | None) -> list[InstitutionKeys]:
    """The validators' and attestation keys of all members, which this process acts for."""
    if header.generator is not None:
        passphrase = header.generator.key_passphrase
    if passphrase is None:
        raise InputError("the key files need a passphrase (PYLEDGER_PASSPHRASE)", file=folder / "validators")
    return [
        InstitutionKeys(
            member.bic,
            key_files.load(folder / "validators" / f"{member.bic}.attestation.key", passphrase),
            key_files.load(folder / "validators" / f"{member.bic}.key", passphrase),
        )
        for member in header.institutions
    ]


def _report(
    header: DayHeader,
    folder: Path,
    out: Path,
    ledger: Ledger,
    posting: Posting,
    receipts: int,
    stages: _Stages,
    progress: Progress,
) -> DaySummary:
    with stages.stage("net"):
        instructions = settlement.instructions(net_day(ledger, progress), "EOD", header.business_date)
        bics = [member.bic for member in header.institutions]
        settlement.write_csv(out / "settlement.csv", instructions, bics, ledger.genesis.currencies)
    with stages.stage("reconcile"):
        results = reconcile_day(header, folder, ledger, progress)
        write_atomic(out / "breaks.csv", _breaks_csv(results))
        write_atomic(out / "refusals.csv", _refusals_csv(posting))
    with stages.stage("prove"):
        verified = _prove_sample(ledger, make_folder(out / "receipts"), receipts, progress)
    with stages.stage("audit"):
        report = ledger.audit(lambda height: progress("audit", height, ledger.height))
    summary = DaySummary(
        business_date=header.business_date.isoformat(),
        institutions=len(bics),
        accounts=report.accounts,
        submitted=posting.submitted,
        posted=posting.posted,
        refused=dict(sorted(Counter(refusal.result for refusal in posting.refused).items())),
        blocks=posting.batches,
        blocks_resumed=posting.batches_resumed,
        final_height=ledger.height,
        final_block=ledger.tip.hex(),
        final_state_root=ledger.header(ledger.height).state_root.hex(),
        ledger_bytes=ledger.size_bytes,
        settlement_instructions=len(instructions),
        statement_rows=sum(result.found.statement_rows for result in results.values()),
        breaks=_breaks_by_kind(results),
        unexplained_refusals=_truth(
            folder, header, "refusals", lambda path: unexplained_refusals(posting.refused, path)
        ),
        unexplained_breaks=_truth(folder, header, "breaks", lambda path: unexplained_breaks(results, path)),
        receipts_verified=verified,
        audit="ok" if report.difference is None else report.difference,
        seconds={name: round(seconds, 3) for name, seconds in stages.seconds.items()},
        cpu_level=_core.cpu_level(),
        threads=_core.thread_count(0),
    )
    write_atomic(out / "summary.json", msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    return summary


def _truth(folder: Path, header: DayHeader, name: str, compare: Callable[[Path], int]) -> int | None:
    """A sample says itself what should come out; other days have no truth file."""
    path = folder / "truth" / f"{name}.{header.file_format}"
    return compare(path) if header.generator is not None else None


def _breaks_by_kind(results: Mapping[str, DayReconciliation]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for result in results.values():
        total.update(result.found.breaks.counts())
    return dict(total)


def _breaks_csv(results: Mapping[str, DayReconciliation]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_BREAKS_HEADER)
    for bic, result in results.items():
        breaks = result.found.breaks
        for place in range(len(breaks)):
            writer.writerow(
                (
                    bic,
                    BreakKind(int(breaks.kind[place])).label,
                    f"{transfer_id_of_break(result, place):032x}",
                    " ".join(map(str, breaks.rows_statement[place])),
                    breaks.expected[place],
                    breaks.found[place],
                    breaks.detail[place],
                    str(bool(breaks.suggested[place])).lower(),
                )
            )
    return text.getvalue().encode()


def _refusals_csv(posting: Posting) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("institution", "row", "transfer_id", "result"))
    for refusal in posting.refused:
        writer.writerow((refusal.institution, refusal.row, f"{refusal.transfer_id:032x}", refusal.result))
    return text.getvalue().encode()


def _prove_sample(ledger: Ledger, folder: Path, count: int, progress: Progress) -> int:
    """Prove transfers spread evenly over the day, and have the offline verifier check each."""
    trust = Trust.read(ledger.path / TRUST_FILE)
    chosen = list(_spread(ledger, count))
    for done, transfer_id in enumerate(chosen, 1):
        receipt = ledger.prove(transfer_id)
        try:
            verified = verify_receipt(receipt, trust)
        except ReceiptError as error:
            raise ProofError(f"transfer {transfer_id:#x}: its receipt does not verify: {error}") from error
        if verified.id != transfer_id:
            raise ProofError(f"transfer {transfer_id:#x}: its receipt is for {verified.id:#x}")
        write_atomic(folder / f"{transfer_id:032x}.receipt", receipt)
        progress("prove", done, len(chosen))
    return len(chosen)


def _spread(ledger: Ledger, count: int) -> Iterator[int]:
    """Ids of `count` transfers (fewer if there are fewer), evenly spaced by position in the ledger."""
    counts = [ledger.header(height).transfers_count for height in range(1, ledger.height + 1)]
    total = sum(counts)
    wanted = sorted({place * total // count for place in range(count)}) if total else []
    before = 0
    for height, size in enumerate(counts, 1):
        inside = [place - before for place in wanted if before <= place < before + size]
        if inside:
            ids = ledger.block(height).body.transfers["id"]
            yield from (u128_int(ids[place]) for place in inside)
        before += size
