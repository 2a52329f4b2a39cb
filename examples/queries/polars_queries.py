"""Balance of an account at the end of a day, and turnover by institution, with Polars.

    pyledger export LEDGER OUT
    python examples/queries/polars_queries.py OUT ACCOUNT_ID DAY

ACCOUNT_ID is 32 hexadecimal digits, DAY a date (UTC). Amounts are minor units.
Totals are exact whatever the size of amounts: the columns named _u128 are summed in two halves of 64 bits.
"""

import datetime
import json
import sys
from pathlib import Path

import polars as pl


def balance(folder: Path, account: str, day: str) -> tuple[int, int, int, int]:
    """Debits pending, debits posted, credits pending, credits posted at the end of a day."""
    end = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC) + datetime.timedelta(days=1)
    sums = {}
    for table, kinds in (("transfers", ("posted", "reserved", "released")), ("expiries", ("released",))):
        moved = pl.scan_parquet(folder / table / "*.parquet").filter(pl.col("timestamp") < end)
        for side in ("debit", "credit"):
            mine = moved.filter(pl.col(f"{side}_account_id") == pl.lit(bytes.fromhex(account)))
            halves = mine.select(half for kind in kinds for half in total(f"{kind}_amount")).collect().row(0)
            sums |= {(table, side, kind): amount for kind, amount in zip(kinds, whole(halves), strict=True)}
    totals = []
    for side in ("debit", "credit"):
        released = sums["transfers", side, "released"] + sums["expiries", side, "released"]
        totals += [sums["transfers", side, "reserved"] - released, sums["transfers", side, "posted"]]
    return tuple(totals)


def turnover(folder: Path) -> list[tuple[str, int, int, int]]:
    """Institution, ledger, what its accounts were debited and what they were credited."""
    names = json.loads((folder / "chain.json").read_text())["institutions"]
    transfers = pl.scan_parquet(folder / "transfers/*.parquet")
    sums = {}
    for place, side in enumerate(("debit", "credit")):
        groups = transfers.group_by(f"{side}_institution", "ledger").agg(*total("posted_amount"))
        for institution, ledger, *halves in groups.collect().iter_rows():
            sums.setdefault((institution, ledger), [0, 0])[place] = whole(halves)[0]
    return [(names[institution], ledger, *sides) for (institution, ledger), sides in sorted(sums.items())]


def total(amount: str) -> list[pl.Expr]:
    """Sums of an amount's high and low halves; for `whole`."""
    exact = pl.col(f"{amount}_u128")
    halves = [exact.bin.slice(first, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big") for first in (0, 8)]
    return [half.cast(pl.Int128).sum().alias(f"{amount}_{place}") for place, half in enumerate(halves)]


def whole(sums: list[int]) -> list[int]:
    """Totals from the sums of their high and low halves."""
    return [(high << 64) + low for high, low in zip(sums[::2], sums[1::2], strict=True)]


if __name__ == "__main__":
    out, account_id, date = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    print(*balance(out, account_id, date))
    for row in turnover(out):
        print(*row)
