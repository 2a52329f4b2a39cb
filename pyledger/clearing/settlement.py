"""Settlement instructions: few payments that bring every position to zero, and the file that carries them.

In each ledger the largest debtor pays the largest creditor until all are square (at most one payment less than there
are institutions), or every debtor pays a settlement agent, who pays every creditor. Ties go to the lower index, so
the same positions give the same instructions and the same file, byte by byte.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyledger.clearing.netting import NetPositions
from pyledger.errors import InputError, StorageError
from pyledger.formats.atomic import write_atomic
from pyledger.formats.money import format_minor
from pyledger.ledger.genesis import Currency

__all__ = ["Instruction", "instructions", "read_csv", "write_csv"]

_HEADER = [
    "cycle",
    "value_date",
    "instruction_id",
    "ledger",
    "currency",
    "payer_bic",
    "payee_bic",
    "amount",
    "amount_minor",
]
_DOMAIN = b"pyledger/settlement/v1\0"
_CYCLE = re.compile(r"[A-Za-z0-9._-]{1,35}\Z")
_CANONICAL_INTEGER = re.compile(r"(0|[1-9][0-9]*)\Z")
_SIZE_MAX = 1 << 28


@dataclass(frozen=True, slots=True)
class Instruction:
    """One payment of a settlement.

    Parameters
    ----------
    cycle : str
        Name of the clearing cycle: 1 to 35 characters of A-Z, a-z, 0-9, dot, underscore, hyphen.
    value_date : date
    ledger : int
    payer, payee : int
        Institution indexes.
    amount_minor : int
        At least 1.
    """

    cycle: str
    value_date: date
    ledger: int
    payer: int
    payee: int
    amount_minor: int


def instructions(
    positions: NetPositions, cycle: str, value_date: date, *, agent: int | None = None
) -> list[Instruction]:
    """Make the payments that bring every position to zero.

    Parameters
    ----------
    positions : NetPositions
    cycle : str
        Name of the clearing cycle; with the payment itself it gives the instruction its id.
    value_date : date
    agent : int, optional
        Institution index of a settlement agent: all payments go to it or come from it, debtors first.

    Returns
    -------
    list of Instruction
        By ledger; in the order in which they were made.

    Raises
    ------
    InputError
        If the cycle's name is not allowed or the agent is no participant.
    """
    if not _CYCLE.match(cycle):
        raise InputError(f"cycle: expected 1 to 35 letters, digits, dots, underscores or hyphens, got {cycle!r}")
    participants = positions.position.shape[1]
    if agent is not None and not 0 <= agent < participants:
        raise InputError(f"agent: expected an institution index below {participants}, got {agent}")
    return [
        Instruction(cycle, value_date, int(ledger), payer, payee, amount)
        for slot, ledger in enumerate(positions.ledgers)
        for payer, payee, amount in _payments(positions.of_ledger(slot), agent)
    ]


def write_csv(
    path: str | os.PathLike[str],
    instructions: Sequence[Instruction],
    names: Sequence[str],
    currencies: Sequence[Currency],
) -> None:
    """Write instructions as CSV, whole or not at all.

    Columns: cycle, value_date (ISO 8601), instruction_id (SHA-256 over the payment, 32 hexadecimal digits), ledger,
    currency (ISO 4217), payer_bic, payee_bic, amount (major units with the currency's decimals), amount_minor.

    Parameters
    ----------
    path : path
    instructions : sequence of Instruction
    names : sequence of str
        BIC of each institution, by index.
    currencies : sequence of Currency
        One for each ledger that occurs.

    Raises
    ------
    InputError
        If an institution or ledger has no name; nothing is written.
    StorageError
        If the file could not be written.
    """
    by_ledger = {currency.ledger: currency for currency in currencies}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for row, instruction in enumerate(instructions, 1):
        writer.writerow(_fields(instruction, names, by_ledger, str(path), row))
    write_atomic(path, text.getvalue().encode())


def read_csv(path: str | os.PathLike[str], names: Sequence[str], currencies: Sequence[Currency]) -> list[Instruction]:
    """Read what `write_csv` wrote with the same names and currencies; refuse anything else.

    Raises
    ------
    InputError
        If a byte differs from what `write_csv` would write for the row; names file, row and field.
    StorageError
        If the file cannot be read.
    """
    file = str(path)
    lines = _read_lines(path)
    if not lines or lines[0] != ",".join(_HEADER):
        raise InputError(f"expected the header {','.join(_HEADER)}", file=file)
    index = {name: institution for institution, name in enumerate(names)}
    by_ledger = {currency.ledger: currency for currency in currencies}
    result = []
    for row, line in enumerate(lines[1:], 1):
        fields = line.split(",")
        if len(fields) != len(_HEADER):
            raise InputError(f"expected {len(_HEADER)} fields, got {len(fields)}", file=file, row=row)
        instruction = _parse(dict(zip(_HEADER, fields, strict=True)), index, file, row)
        expected = _fields(instruction, names, by_ledger, file, row)
        for name, found, wanted in zip(_HEADER, fields, expected, strict=True):
            if found != wanted:
                raise InputError(f"expected {wanted!r}, got {found!r}", file=file, row=row, field=name)
        result.append(instruction)
    return result


def _payments(position: list[int], agent: int | None) -> Iterator[tuple[int, int, int]]:
    """Payments (payer, payee, amount) that square one ledger."""
    if agent is None:
        yield from _largest_first(position)
        return
    others = [institution for institution in range(len(position)) if institution != agent]
    for institution in others:
        if position[institution] < 0:
            yield institution, agent, -position[institution]
    for institution in others:
        if position[institution] > 0:
            yield agent, institution, position[institution]


def _largest_first(position: list[int]) -> Iterator[tuple[int, int, int]]:
    """Each payment squares the debtor or the creditor for good, so there are fewer than participants."""
    debtors = [(amount, institution) for institution, amount in enumerate(position) if amount < 0]
    creditors = [(-amount, institution) for institution, amount in enumerate(position) if amount > 0]
    heapq.heapify(debtors)
    heapq.heapify(creditors)
    while debtors:
        owes, debtor = heapq.heappop(debtors)
        is_owed, creditor = heapq.heappop(creditors)
        paid = min(-owes, -is_owed)
        yield debtor, creditor, paid
        if owes + paid:
            heapq.heappush(debtors, (owes + paid, debtor))
        if is_owed + paid:
            heapq.heappush(creditors, (is_owed + paid, creditor))


def _fields(
    instruction: Instruction, names: Sequence[str], currencies: Mapping[int, Currency], file: str, row: int
) -> list[str]:
    """Fields of one line, in the order of the header."""
    currency = currencies.get(instruction.ledger)
    if currency is None:
        raise InputError(f"no currency for ledger {instruction.ledger}", file=file, row=row, field="ledger")
    payer = _name(instruction.payer, names, file, row, "payer_bic")
    payee = _name(instruction.payee, names, file, row, "payee_bic")
    if instruction.amount_minor < 1 or payer == payee:
        raise InputError("expected an amount of at least 1 between two institutions", file=file, row=row)
    content = [instruction.cycle, instruction.value_date.isoformat(), str(instruction.ledger), currency.code]
    minor = str(instruction.amount_minor)
    digest = hashlib.sha256(_DOMAIN + "\0".join([*content, payer, payee, minor]).encode()).hexdigest()
    major = format_minor(instruction.amount_minor, currency.decimals)
    return [content[0], content[1], digest[:32], content[2], content[3], payer, payee, major, minor]


def _name(institution: int, names: Sequence[str], file: str, row: int, field: str) -> str:
    if not 0 <= institution < len(names):
        raise InputError(f"no name for institution {institution}", file=file, row=row, field=field)
    return names[institution]


def _read_lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        size = os.stat(path).st_size
        if size > _SIZE_MAX:
            raise InputError(f"expected at most {_SIZE_MAX} bytes, got {size}", file=path)
        text = Path(path).read_bytes().decode("ascii")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start}: expected ASCII", file=path) from None
    if not text.endswith("\n"):
        raise InputError("the last line is cut: expected a line feed at the end", file=path)
    return text[:-1].split("\n")


def _parse(fields: dict[str, str], index: Mapping[str, int], file: str, row: int) -> Instruction:
    """Take the fields that carry information; the caller compares the line with what they should give."""

    def integer(field: str) -> int:
        if not _CANONICAL_INTEGER.match(fields[field]) or len(fields[field]) > 39:
            raise InputError(f"expected a whole number, got {fields[field]!r}", file=file, row=row, field=field)
        return int(fields[field])

    def institution(field: str) -> int:
        if fields[field] not in index:
            raise InputError(f"unknown institution {fields[field]!r}", file=file, row=row, field=field)
        return index[fields[field]]

    if not _CYCLE.match(fields["cycle"]):
        raise InputError(f"not a cycle's name: {fields['cycle']!r}", file=file, row=row, field="cycle")
    try:
        value_date = date.fromisoformat(fields["value_date"])
    except ValueError as error:
        raise InputError(f"expected YYYY-MM-DD: {error}", file=file, row=row, field="value_date") from None
    return Instruction(
        cycle=fields["cycle"],
        value_date=value_date,
        ledger=integer("ledger"),
        payer=institution("payer_bic"),
        payee=institution("payee_bic"),
        amount_minor=integer("amount_minor"),
    )
