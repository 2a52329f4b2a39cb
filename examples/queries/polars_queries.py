"""Balance of an account at the end of a day, and turnover by institution, with Polars.

    pyledger export LEDGER OUT
    python examples/queries/polars_queries.py OUT ACCOUNT_ID DAY

ACCOUNT_ID is 32 hexadecimal digits, DAY a date (UTC). Amounts are minor units.
Totals are exact whatever the size of amounts: the columns named _u128 are summed in four parts of 32 bits.
"""

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl


def balance(folder: Path, account: str, day: str) -> tuple[int, int, int, int]:
    """Debits pending, debits posted, credits pending, credits posted at the end of a day."""
    wanted = pl.lit(bytes.fromhex(account))
    end = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC) + datetime.timedelta(days=1)
    transfers, expiries = (
        pl.scan_parquet(folder / table / "*.parquet").filter(pl.col("timestamp") < end)
        for table in ("transfers", "expiries")
    )
    totals = []
    for side in ("debit", "credit"):
        mine = pl.col(f"{side}_account_id") == wanted
        posted, reserved, released = (
            whole(transfers.select(*total(f"{kind}_amount", mine)).collect().row(0))
            for kind in ("posted", "reserved", "released")
        )
        expired = whole(expiries.select(*total("released_amount", mine)).collect().row(0))
        totals += [reserved - released - expired, posted]
    return tuple(totals)


def turnover(folder: Path) -> list[tuple[str, int, int, int]]:
    """Institution, ledger, what its accounts were debited and what they were credited."""
    names = json.loads((folder / "chain.json").read_text())["institutions"]
    transfers = pl.scan_parquet(folder / "transfers/*.parquet")
    sums = {}
    for place, side in enumerate(("debit", "credit")):
        groups = transfers.group_by(f"{side}_institution", "ledger").agg(*total("posted_amount", pl.lit(True)))
        for institution, ledger, *parts in groups.collect().iter_rows():
            sums.setdefault((institution, ledger), [0, 0])[place] = whole(parts)
    return [(names[institution], ledger, *sides) for (institution, ledger), sides in sorted(sums.items())]


def total(amount: str, wanted: pl.Expr) -> list[pl.Expr]:
    """Sums of the four parts of an amount over the rows that are wanted; for `whole`."""
    digits = pl.col(f"{amount}_u128").bin.encode("hex")
    parts = [digits.str.slice(first, 8).str.to_integer(base=16) for first in (0, 8, 16, 24)]
    return [part.filter(wanted).sum().alias(f"{amount}_{place}") for place, part in enumerate(parts)]


def whole(sums: Sequence[int]) -> int:
    """Return the total that the sums of four parts make."""
    number = 0
    for part in sums:
        number = (number << 32) + part
    return number


if __name__ == "__main__":
    out, account_id, date = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    print(*balance(out, account_id, date))
    for row in turnover(out):
        print(*row)
