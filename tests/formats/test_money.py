"""Amounts as text, and currencies."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyledger.errors import InputError
from pyledger.formats.money import DEFAULT_CURRENCIES, Currency, format_minor, ledger_numbers, parse_minor


@given(st.integers(-(10**27), 10**27), st.integers(0, 18))
def test_minor_units_survive_text(amount, decimals):
    text = format_minor(amount, decimals)
    assert parse_minor(text, decimals) == amount
    assert Decimal(text) == Decimal(amount).scaleb(-decimals)


@pytest.mark.parametrize(
    ("text", "decimals", "minor"),
    [("12", 0, 12), ("12.3", 2, 1230), ("-0.001", 3, -1), ("0", 2, 0), ("007.10", 2, 710)],
)
def test_text_is_read_exactly(text, decimals, minor):
    assert parse_minor(text, decimals) == minor


@pytest.mark.parametrize("text", ["", ".5", "5.", "1,5", "+1", "1e3", " 1", "1 ", "١", "1.234", "--1", "nan", "1.2.3"])
def test_other_text_is_refused_not_guessed(text):
    with pytest.raises(InputError, match="at most 2 decimals"):
        parse_minor(text, 2)


@pytest.mark.parametrize(
    "fields", [(0, "EUR", 2), (1 << 32, "EUR", 2), (978, "eur", 2), (978, "EU", 2), (978, "EUR", 19)]
)
def test_currency_out_of_range_is_refused(fields):
    with pytest.raises(InputError):
        Currency(*fields)


@pytest.mark.parametrize("second", [Currency(978, "USD", 2), Currency(840, "EUR", 2)])
def test_currencies_share_neither_code_nor_ledger(second):
    with pytest.raises(InputError, match="repeated"):
        ledger_numbers([Currency(978, "EUR", 2), second])


def test_default_currencies_have_none_two_and_three_decimals():
    assert {currency.code: currency.decimals for currency in DEFAULT_CURRENCIES} == {"JPY": 0, "EUR": 2, "KWD": 3}
