"""Balance of an account at the end of a day, and turnover by institution, with DuckDB.

    pyledger export LEDGER OUT
    python examples/queries/duckdb_queries.py OUT ACCOUNT_ID DAY

ACCOUNT_ID is 32 hexadecimal digits, DAY a date (UTC). Amounts are minor units.
"""

import json
import sys
from pathlib import Path

import duckdb

BALANCE = """
with moved as (
    select debit_account_id, credit_account_id, posted_amount, reserved_amount - released_amount as pending, timestamp
    from read_parquet($transfers)
    union all
    select debit_account_id, credit_account_id, 0, -released_amount, timestamp
    from read_parquet($expiries)
)
select
    coalesce(sum(pending) filter (debit_account_id = unhex($account)), 0)::hugeint as debits_pending,
    coalesce(sum(posted_amount) filter (debit_account_id = unhex($account)), 0)::hugeint as debits_posted,
    coalesce(sum(pending) filter (credit_account_id = unhex($account)), 0)::hugeint as credits_pending,
    coalesce(sum(posted_amount) filter (credit_account_id = unhex($account)), 0)::hugeint as credits_posted
from moved
where epoch_ns(timestamp) < epoch_ns($day::date + 1)
"""

TURNOVER = """
select institution, ledger, sum(debits)::hugeint as debits, sum(credits)::hugeint as credits
from (
    select debit_institution as institution, ledger, posted_amount as debits, 0 as credits
    from read_parquet($transfers)
    union all
    select credit_institution, ledger, 0, posted_amount
    from read_parquet($transfers)
)
group by institution, ledger
order by institution, ledger
"""


def balance(folder: Path, account: str, day: str) -> tuple[int, int, int, int]:
    """Debits pending, debits posted, credits pending, credits posted at the end of a day."""
    files = {"transfers": str(folder / "transfers/*.parquet"), "expiries": str(folder / "expiries/*.parquet")}
    return duckdb.execute(BALANCE, {**files, "account": account, "day": day}).fetchone()


def turnover(folder: Path) -> list[tuple[str, int, int, int]]:
    """Institution, ledger, what its accounts were debited and what they were credited."""
    names = json.loads((folder / "chain.json").read_text())["institutions"]
    rows = duckdb.execute(TURNOVER, {"transfers": str(folder / "transfers/*.parquet")}).fetchall()
    return [(names[institution], *rest) for institution, *rest in rows]


if __name__ == "__main__":
    out, account_id, date = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    print(*balance(out, account_id, date))
    for row in turnover(out):
        print(*row)
