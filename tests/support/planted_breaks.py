"""Two books of the same transfers, with breaks of known kinds planted in the statement."""

from itertools import pairwise

import numpy as np

from pyledger.reconciliation.breaks import BreakKind

FIELDS = (
    "reference",
    "account",
    "counterparty_account",
    "counterparty_institution",
    "amount_minor",
    "ledger",
    "value_date",
    "direction",
)


def random_row(rng):
    """A row whose reference and accounts no other row has; the rest repeats often."""
    return {
        "reference": rng.bytes(16),
        "account": rng.bytes(16),
        "counterparty_account": rng.bytes(16),
        "counterparty_institution": int(rng.integers(5)),
        "amount_minor": int(rng.integers(10, 1000)),
        "ledger": int(rng.choice([392, 840, 978])),
        "value_date": int(rng.integers(20000, 20003)),
        "direction": int(rng.choice([-1, 1])),
    }


def changed(rng, row, kind):
    """The statement's version of a row that differs in one field."""
    row = dict(row)
    if kind == BreakKind.AMOUNT_DIFFERS:
        row["amount_minor"] += int(rng.integers(1, 100))
    elif kind == BreakKind.CURRENCY_DIFFERS:
        row["ledger"] = int(rng.choice([ledger for ledger in (392, 840, 978) if ledger != row["ledger"]]))
    elif kind == BreakKind.VALUE_DATE_DIFFERS:
        row["value_date"] += int(rng.choice([-1, 1]))
    elif kind == BreakKind.REFERENCE_DIFFERS:
        place = int(rng.integers(16))
        garbled = (row["reference"][place] + int(rng.integers(1, 256))) % 256
        row["reference"] = row["reference"][:place] + bytes([garbled]) + row["reference"][place + 1 :]
    elif kind == BreakKind.ACCOUNT_DIFFERS:
        field = str(rng.choice(["account", "counterparty_account"]))
        row[field] = rng.bytes(16)
    elif kind == BreakKind.DIRECTION_REVERSED:
        row["direction"] = -row["direction"]
    return row


def split(rng, row):
    parts = int(rng.integers(2, 5))
    cuts = np.sort(rng.choice(np.arange(1, row["amount_minor"]), parts - 1, replace=False)).tolist()
    ends = [0, *cuts, row["amount_minor"]]
    return [{**row, "amount_minor": high - low} for low, high in pairwise(ends)]


def statement_rows(rng, row, kind):
    """The statement's rows for one ledger row (for MISSING_IN_LEDGER, for none)."""
    if kind is None or kind == BreakKind.MISSING_IN_LEDGER:
        return [row]
    if kind == BreakKind.MISSING_IN_STATEMENT:
        return []
    if kind == BreakKind.DUPLICATE_IN_STATEMENT:
        return [row, dict(row)]
    if kind == BreakKind.SPLIT_IN_STATEMENT:
        return split(rng, row)
    return [changed(rng, row, kind)]


def plant(rng, kinds):
    """Make the two sides: one transfer for each entry of `kinds` (None: it agrees).

    Returns ledger rows, statement rows, the pairs that agree, and the breaks, as the plain twin gives them.
    """
    ledger, statement, agreeing, breaks = [], [], [], []
    for kind in kinds:
        row = random_row(rng)
        number = 0
        if kind != BreakKind.MISSING_IN_LEDGER:
            number = len(ledger) + 1
            ledger.append({"row": number, **row})
        numbers = []
        for line in statement_rows(rng, row, kind):
            numbers.append(len(statement) + 1)
            statement.append({"row": numbers[-1], **line})
        if kind is None:
            agreeing.append((number, numbers[0], "exact", False))
        elif kind == BreakKind.DUPLICATE_IN_STATEMENT:
            agreeing.append((number, numbers[0], "exact", False))
            breaks.append((kind.label, number, (numbers[1],), False))
        else:
            breaks.append((kind.label, number, tuple(numbers), False))
    return ledger, statement, sorted(agreeing), sorted(breaks)


def identifiers(values):
    """A column of 16-byte strings as (n, 16) uint8."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16).copy()


def numpy_columns(rows):
    """Rows as the columns that `reconcile` takes."""
    dtypes = {
        "row": np.int64,
        "counterparty_institution": np.uint32,
        "amount_minor": np.int64,
        "ledger": np.uint32,
        "value_date": np.int32,
        "direction": np.int8,
    }
    columns = {name: np.array([row[name] for row in rows], dtype) for name, dtype in dtypes.items()}
    for name in ("reference", "account", "counterparty_account"):
        columns[name] = identifiers([row[name] for row in rows])
    return columns


def found_pairs(result):
    """Pairs as the plain twin gives them."""
    from pyledger.reconciliation.rules import MatchRule

    return [(a, b, MatchRule(rule).label, suggested) for a, b, rule, suggested in result.pairs.tolist()]


def found_breaks(result):
    """Breaks as the plain twin gives them, sorted."""
    breaks = result.breaks
    labels = [BreakKind(kind).label for kind in breaks.kind.tolist()]
    return sorted(
        zip(labels, breaks.row_ledger.tolist(), breaks.rows_statement, breaks.suggested.tolist(), strict=True)
    )
