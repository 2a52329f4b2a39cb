"""Balance of an account at the end of a day, and turnover by institution, with Polars.

    pyledger export LEDGER OUT
    python examples/queries/polars_queries.py OUT ACCOUNT_ID DAY

ACCOUNT_ID is 32 hexadecimal digits, DAY a date (UTC). Amounts are minor units.
"""

import datetime
import json
import sys
from pathlib import Path

import polars as pl


def balance(folder: Path, account: str, day: str) -> tuple[int, int, int, int]:
    """Debits pending, debits posted, credits pending, credits posted at the end of a day."""
    wanted = pl.lit(bytes.fromhex(account))
    end = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC) + datetime.timedelta(days=1)
    accounts = ("debit_account_id", "credit_account_id")
    transfers = pl.scan_parquet(folder / "transfers/*.parquet").select(
        *accounts,
        "timestamp",
        posted="posted_amount",
        pending=pl.col("reserved_amount") - pl.col("released_amount"),
    )
    expiries = pl.scan_parquet(folder / "expiries/*.parquet").select(
        *accounts, "timestamp", posted=pl.col("released_amount") * 0, pending=-pl.col("released_amount")
    )
    moved = pl.concat([transfers, expiries], how="vertical_relaxed").filter(pl.col("timestamp") < end)
    totals = {
        f"{name}_{account}": pl.col(name).filter(pl.col(account) == wanted).sum()
        for account in accounts
        for name in ("pending", "posted")
    }
    return tuple(int(total) for total in moved.select(**totals).collect().row(0))


def turnover(folder: Path) -> list[tuple[str, int, int, int]]:
    """Institution, ledger, what its accounts were debited and what they were credited."""
    names = json.loads((folder / "chain.json").read_text())["institutions"]
    transfers = pl.scan_parquet(folder / "transfers/*.parquet")
    nothing = pl.col("posted_amount") * 0
    debits = transfers.select("ledger", institution="debit_institution", debits="posted_amount", credits=nothing)
    credits = transfers.select("ledger", institution="credit_institution", debits=nothing, credits="posted_amount")
    sides = pl.concat([debits, credits], how="vertical_relaxed")
    sums = sides.group_by("institution", "ledger").agg(pl.col("debits").sum(), pl.col("credits").sum())
    rows = sums.sort("institution", "ledger").collect().iter_rows()
    return [(names[institution], ledger, int(debits), int(credits)) for institution, ledger, debits, credits in rows]


if __name__ == "__main__":
    out, account_id, date = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    print(*balance(out, account_id, date))
    for row in turnover(out):
        print(*row)
