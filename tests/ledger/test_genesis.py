"""Genesis: one encoding, every field in range."""

import msgspec
import pytest

from pyledger.errors import InputError
from pyledger.ledger.genesis import Currency, Genesis, Institution

INSTITUTION = Institution("BANKAAXX", bytes([1] * 96), bytes(48), bytes([2] * 32))
GENESIS = Genesis("test", 1, (Currency(978, "EUR", 2),), (INSTITUTION,))


def test_bytes_read_back_to_the_same_genesis():
    assert Genesis.from_bytes(GENESIS.to_bytes()) == GENESIS
    assert len(GENESIS.chain_id) == 16


def test_every_field_moves_the_chain_id():
    others = [
        msgspec.structs.replace(GENESIS, name="other"),
        msgspec.structs.replace(GENESIS, time_ns=2),
        msgspec.structs.replace(GENESIS, currencies=(Currency(978, "EUR", 3),)),
        msgspec.structs.replace(GENESIS, institutions=(msgspec.structs.replace(INSTITUTION, bic="BANKBBXX"),)),
        msgspec.structs.replace(GENESIS, block_transfers_max=1),
    ]
    assert len({GENESIS.chain_id, *(other.chain_id for other in others)}) == 6


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"version": 2}, "version"),
        ({"time_ns": -1}, "time_ns"),
        ({"currencies": ()}, "currencies"),
        ({"currencies": (Currency(0, "EUR", 2),)}, "currencies.ledger"),
        ({"currencies": (Currency(1, "eur", 2),)}, "currencies.code"),
        ({"currencies": (Currency(1, "EUR", 19),)}, "currencies.decimals"),
        ({"currencies": (Currency(1, "EUR", 2), Currency(2, "EUR", 2))}, "currencies.code"),
        ({"institutions": ()}, "institutions"),
        ({"institutions": (INSTITUTION, INSTITUTION)}, "institutions.bic"),
        ({"institutions": (msgspec.structs.replace(INSTITUTION, bic="bank"),)}, "institutions.bic"),
        (
            {"institutions": (msgspec.structs.replace(INSTITUTION, attestation_key=b""),)},
            "institutions.attestation_key",
        ),
        ({"block_transfers_max": 0}, "block_transfers_max"),
        ({"block_transfers_max": (1 << 17) + 1}, "block_transfers_max"),
    ],
)
def test_a_field_out_of_range_is_named(changes, field):
    with pytest.raises(InputError) as caught:
        msgspec.structs.replace(GENESIS, **changes).to_bytes()
    assert caught.value.field == field


def test_other_encodings_of_a_genesis_are_refused():
    data = GENESIS.to_bytes()
    for bad in (data[:-1], data + b"\0", data.replace(b"\xa4test", b"\xd9\x04test"), b""):
        with pytest.raises(InputError):
            Genesis.from_bytes(bad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": b"x"}, "^genesis: "),
        ({"time_ns": 1.5}, r"^genesis: Expected `int`, got `float` - at `\$\[1\]`"),
        ({"currencies": (Currency("978", "EUR", 2),)}, r"Expected `int`, got `str` - at `\$\[2\]\[0\]\[0\]`"),
        ({"currencies": None}, "^genesis: Expected `array`, got `null`"),
        ({"institutions": ("BANKAAXX",)}, "^genesis: Expected `array`, got `str`"),
        ({"currencies": (Currency(1 << 70, "EUR", 2),)}, r"^genesis, field 'currencies.ledger': expected 1 to 2\*\*32"),
    ],
    ids=["name", "time", "currency", "currencies", "institutions", "too large"],
)
def test_a_field_of_another_kind_is_refused_by_its_place(changes, message):
    with pytest.raises(InputError, match=message):
        msgspec.structs.replace(GENESIS, **changes).to_bytes()
