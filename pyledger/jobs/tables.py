"""What people read: summaries as tables, through rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pyledger.jobs.day import DaySummary

__all__ = ["print_day", "print_history"]

_STAGES = {
    "read": "read and check files",
    "open": "open the ledger",
    "verify": "verify signatures",
    "post": "post",
    "hash": "hash records and roots",
    "state": "state tree",
    "certify": "certify (BLS votes)",
    "write": "write durably",
    "net": "net and settle",
    "reconcile": "reconcile",
    "prove": "prove and verify receipts",
    "audit": "audit (replay everything)",
}
_POSTING_STAGES = ("read", "verify", "post", "hash", "state", "certify", "write")


def print_day(summary: DaySummary, console: Console) -> None:
    """Print a day: what came out, where the time went, and the last block, on whole lines so that it can be copied."""
    console.print(_results(summary))
    console.print(_times(summary))
    for name, value in (("block", summary.final_block), ("state root", summary.final_state_root)):
        console.print(f"Final {name} (height {summary.final_height:,}): {value}", soft_wrap=True, highlight=False)


def print_history(entries: Sequence[dict[str, Any]], console: Console) -> None:
    """Print an account's entries: amounts in minor units, what was posted or reserved, and the totals after it."""
    table = Table(title="newest first; amounts in minor units", title_justify="left")
    for name in ("time", "height", "id", "kind", "side", "counterpart"):
        table.add_column(name, overflow="fold")
    for name in ("amount", "debits", "credits", "debits pending", "credits pending"):
        table.add_column(name, justify="right", overflow="fold")
    for entry in entries:
        amount = entry["posted_amount"] or entry["reserved_amount"] or -entry["released_amount"]
        names = ("timestamp", "height", "id", "kind", "side", "counterpart")
        totals = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
        table.add_row(*(str(entry[name]) for name in names), f"{amount:,}", *(f"{entry[name]:,}" for name in totals))
    console.width = max(console.width, 0 if console.is_terminal else 200)  # a file has no edge
    console.print(table)


def _results(summary: DaySummary) -> Table:
    table = Table(title=f"Bank day {summary.business_date}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right", overflow="fold")
    table.add_row("institutions, accounts", f"{summary.institutions}, {summary.accounts:,}")
    table.add_row("transfers submitted", f"{summary.submitted:,}")
    table.add_row("transfers posted", f"{summary.posted:,}")
    for result, count in summary.refused.items():
        table.add_row(f"  refused: {result}", f"{count:,}")
    resumed = f" ({summary.blocks_resumed:,} by an earlier run)" if summary.blocks_resumed else ""
    table.add_row("blocks of transfers", f"{summary.blocks:,}{resumed}")
    per_transfer = f", {summary.ledger_bytes / summary.posted:.0f} a transfer" if summary.posted else ""
    table.add_row("bytes on disk", f"{summary.ledger_bytes:,}{per_transfer}")
    table.add_row("settlement instructions", f"{summary.settlement_instructions:,}")
    table.add_row("statement rows", f"{summary.statement_rows:,}")
    for kind, count in summary.breaks.items():
        table.add_row(f"  break: {kind}", f"{count:,}")
    if summary.unexplained_breaks is not None and summary.unexplained_refusals is not None:
        table.add_row(
            "differences to what was planted", f"{summary.unexplained_breaks + summary.unexplained_refusals:,}"
        )
    table.add_row("receipts proven and verified", f"{summary.receipts_verified:,}")
    table.add_row("audit", summary.audit)
    return table


def _times(summary: DaySummary) -> Table:
    title = f"Time by stage ({summary.threads} threads, kernels: {summary.cpu_level})"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for heading in ("seconds", "share", "transfers/s"):
        table.add_column(heading, justify="right")
    total = sum(summary.seconds.values())
    posted_now = summary.blocks > summary.blocks_resumed
    for stage, name in _STAGES.items():
        seconds = summary.seconds.get(stage, 0.0)
        per_second = stage in _POSTING_STAGES and posted_now and not summary.blocks_resumed and seconds > 0
        rate = f"{summary.submitted / seconds:,.0f}" if per_second else ""
        table.add_row(name, f"{seconds:.2f}", f"{seconds / total:.0%}" if total else "", rate)
    table.add_row("all", f"{total:.2f}", "", "")
    return table
