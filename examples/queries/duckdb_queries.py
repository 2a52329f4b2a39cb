"""Balance of an account at the end of a day, and turnover by institution, with DuckDB.

    pyledger export LEDGER OUT
    python examples/queries/duckdb_queries.py OUT ACCOUNT_ID DAY

ACCOUNT_ID is 32 hexadecimal digits, DAY a date (UTC). Amounts are minor units.
Totals are exact whatever the size of amounts: the columns named _u128 are summed in two halves of 64 bits.
"""

import json
import sys
from pathlib import Path

import duckdb

HALVES = """
create or replace temp macro high(amount) as ('0x' || hex(amount)[1:16])::ubigint;
create or replace temp macro low(amount) as ('0x' || hex(amount)[17:32])::ubigint;
"""

MOVED = """
with moved as (
    select {side}_account_id as account_id, timestamp, posted_amount_u128 as posted,
        reserved_amount_u128 as reserved, released_amount_u128 as released
    from read_parquet($transfers)
    union all
    select {side}_account_id, timestamp, null, null, released_amount_u128
    from read_parquet($expiries)
)
select sum(high(reserved)), sum(low(reserved)), sum(high(released)), sum(low(released)),
    sum(high(posted)), sum(low(posted))
from moved
where account_id = unhex($account) and epoch_ns(timestamp) < epoch_ns($day::date + 1)
"""

TURNOVER = """
select institution, ledger, sum(high(debits)), sum(low(debits)), sum(high(credits)), sum(low(credits))
from (
    select debit_institution as institution, ledger, posted_amount_u128 as debits, null as credits
    from read_parquet($transfers)
    union all
    select credit_institution, ledger, null, posted_amount_u128
    from read_parquet($transfers)
)
group by institution, ledger
order by institution, ledger
"""


def balance(folder: Path, account: str, day: str) -> tuple[int, int, int, int]:
    """Debits pending, debits posted, credits pending, credits posted at the end of a day."""
    files = {"transfers": str(folder / "transfers/*.parquet"), "expiries": str(folder / "expiries/*.parquet")}
    totals = []
    for side in ("debit", "credit"):
        row = duckdb.execute(MOVED.format(side=side), {**files, "account": account, "day": day}).fetchone()
        reserved, released, posted = whole(row)
        totals += [reserved - released, posted]
    return tuple(totals)


def turnover(folder: Path) -> list[tuple[str, int, int, int]]:
    """Institution, ledger, what its accounts were debited and what they were credited."""
    names = json.loads((folder / "chain.json").read_text())["institutions"]
    rows = duckdb.execute(TURNOVER, {"transfers": str(folder / "transfers/*.parquet")}).fetchall()
    return [(names[institution], ledger, *whole(sums)) for institution, ledger, *sums in rows]


def whole(sums: list[int | None]) -> list[int]:
    """Totals from the sums of their high and low halves, which are null where there is no row."""
    return [((high or 0) << 64) + (low or 0) for high, low in zip(sums[::2], sums[1::2], strict=True)]


if __name__ == "__main__":
    duckdb.execute(HALVES)
    out, account_id, date = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    print(*balance(out, account_id, date))
    for row in turnover(out):
        print(*row)
