"""Amounts as banks write them, to and from whole minor units; no float is ever between the two.

A currency has a ledger number (ISO 4217's numeric code where it has one), a code and a count of decimals: 12.345 KWD is
12345 minor units, 12.34 EUR is 1234, 12 JPY is 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from pyledger.errors import InputError

__all__ = ["DEFAULT_CURRENCIES", "Currency", "format_minor", "ledger_numbers", "parse_minor"]

_CODE = re.compile("[A-Z]{3}")
_DECIMALS_MAX = 18


class Currency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A currency or asset: one ledger of the book.

    Parameters
    ----------
    ledger : int
        The u32 number of its ledger, from 1.
    code : str
        Three capital letters, ISO 4217.
    decimals : int
        Digits of the minor unit, 0 to 18.
    """

    ledger: int
    code: str
    decimals: int

    def __post_init__(self) -> None:
        if not 1 <= self.ledger < 1 << 32:
            raise InputError(f"currency {self.code!r}: ledger: expected 1 to {(1 << 32) - 1}, got {self.ledger}")
        if not _CODE.fullmatch(self.code):
            raise InputError(f"currency code: expected three capital letters, got {self.code!r}")
        if not 0 <= self.decimals <= _DECIMALS_MAX:
            raise InputError(f"currency {self.code}: decimals: expected 0 to {_DECIMALS_MAX}, got {self.decimals}")


DEFAULT_CURRENCIES = (Currency(392, "JPY", 0), Currency(978, "EUR", 2), Currency(414, "KWD", 3))
"""The three currencies of the samples: none, two and three decimals."""


def ledger_numbers(currencies: Iterable[Currency]) -> dict[str, int]:
    """Map each code to its ledger.

    Raises
    ------
    InputError
        If two currencies share a code or a ledger.
    """
    ledgers: dict[str, int] = {}
    for currency in currencies:
        if currency.code in ledgers or currency.ledger in ledgers.values():
            raise InputError(
                f"currency {currency.code} (ledger {currency.ledger}): expected one of each, it is repeated"
            )
        ledgers[currency.code] = currency.ledger
    return ledgers


def parse_minor(text: str, decimals: int) -> int:
    """Turn ``"-12.5"`` into minor units, exactly (-1250 with two decimals).

    Parameters
    ----------
    text : str
        Optional minus, ASCII digits, at most one point with digits on both sides; nothing else.
    decimals : int
        Digits of the minor unit; more digits after the point than that are refused, not rounded.

    Raises
    ------
    InputError
        If the text is anything else.
    """
    found = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?", text)
    if not found or len(found[3] or "") > decimals:
        raise InputError(f"amount: expected digits with at most {decimals} decimals, got {text!r}")
    magnitude = int(found[2] + (found[3] or "").ljust(decimals, "0"))
    return -magnitude if found[1] else magnitude


def format_minor(amount_minor: int, decimals: int) -> str:
    """Write minor units as text with exactly `decimals` digits after the point; ``parse_minor`` reads it back."""
    digits = str(abs(amount_minor)).rjust(decimals + 1, "0")
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else f"{sign}{digits}"
