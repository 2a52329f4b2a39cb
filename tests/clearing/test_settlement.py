"""Settlement instructions square every position, and their file is read back exactly or refused."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyledger.clearing.netting import net
from pyledger.clearing.settlement import (
    Instruction,
    instructions,
    read_csv,
    write_csv,
)
from pyledger.errors import InputError, StorageError
from pyledger.ledger.genesis import Currency
from pyledger.types import u128_array

BICS = ["BANKAAXX", "BANKBBXX", "BANKCCXX", "BANKDDXX", "BANKEEXX"]
CURRENCIES = [Currency(392, "JPY", 0), Currency(978, "EUR", 2), Currency(48, "BHD", 3)]
DAY = date(2026, 3, 31)


def positions_of(*obligations):
    payer, payee, ledger, amount = zip(*obligations, strict=True)
    indexes = (np.array(c, np.uint32) for c in (payer, payee, ledger))
    return net(*indexes, u128_array(amount), len(BICS))


def settled(positions, made):
    """Positions after the instructions took effect."""
    left = {
        (int(ledger), i): value
        for slot, ledger in enumerate(positions.ledgers)
        for i, value in enumerate(positions.of_ledger(slot))
    }
    for instruction in made:
        left[instruction.ledger, instruction.payer] += instruction.amount_minor
        left[instruction.ledger, instruction.payee] -= instruction.amount_minor
    return left


OBLIGATIONS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([392, 978, 48]), st.integers(0, 2**100)),
    min_size=1,
    max_size=30,
)


@given(OBLIGATIONS, st.sampled_from([None, 0, 4]))
def test_instructions_square_every_position_with_few_payments(obligations, agent):
    positions = positions_of(*obligations)
    made = instructions(positions, "day", DAY, agent=agent)
    assert not any(settled(positions, made).values())
    for slot, ledger in enumerate(positions.ledgers):
        open_positions = sum(1 for value in positions.of_ledger(slot) if value)
        here = [i for i in made if i.ledger == ledger]
        assert len(here) <= max(open_positions - (agent is None), 0)
        assert all(i.amount_minor >= 1 and i.payer != i.payee for i in here)
        if agent is not None:
            assert all(agent in (i.payer, i.payee) for i in here)


@given(OBLIGATIONS, st.randoms())
def test_order_of_obligations_does_not_change_the_instructions(obligations, random):
    shuffled = random.sample(obligations, len(obligations))
    assert instructions(positions_of(*obligations), "day", DAY) == instructions(positions_of(*shuffled), "day", DAY)


def test_largest_debtor_pays_largest_creditor_and_ties_go_to_the_lower_index():
    positions = positions_of((4, 0, 978, 50), (3, 0, 978, 50), (2, 1, 978, 70))
    made = instructions(positions, "day", DAY)
    assert [(i.payer, i.payee, i.amount_minor) for i in made] == [(2, 0, 70), (3, 1, 50), (4, 0, 30), (4, 1, 20)]


def test_through_an_agent_debtors_pay_before_creditors_are_paid():
    positions = positions_of((0, 1, 978, 5), (2, 3, 978, 7))
    made = instructions(positions, "day", DAY, agent=1)
    assert [(i.payer, i.payee, i.amount_minor) for i in made] == [(0, 1, 5), (2, 1, 7), (1, 3, 7)]


@pytest.mark.parametrize(("cycle", "agent"), [("", None), ("a,b", None), ("x" * 36, None), ("day\n", None), ("d", 5)])
def test_a_wrong_cycle_or_agent_is_refused(cycle, agent):
    with pytest.raises(InputError):
        instructions(positions_of((0, 1, 978, 5)), cycle, DAY, agent=agent)


def test_the_file_holds_major_units_in_the_currency_s_decimals(tmp_path):
    path = tmp_path / "settlement.csv"
    made = [
        Instruction("day-1", DAY, 392, 0, 1, 1234567),
        Instruction("day-1", DAY, 978, 1, 2, 5),
        Instruction("day-1", DAY, 978, 1, 2, 123456),
        Instruction("day-1", DAY, 48, 3, 4, 1050),
    ]
    write_csv(path, made, BICS, CURRENCIES)
    lines = path.read_text().splitlines()
    assert lines[0] == "cycle,value_date,instruction_id,ledger,currency,payer_bic,payee_bic,amount,amount_minor"
    shown = [line.split(",") for line in lines[1:]]
    assert [(f[4], f[5], f[6], f[7], f[8]) for f in shown] == [
        ("JPY", "BANKAAXX", "BANKBBXX", "1234567", "1234567"),
        ("EUR", "BANKBBXX", "BANKCCXX", "0.05", "5"),
        ("EUR", "BANKBBXX", "BANKCCXX", "1234.56", "123456"),
        ("BHD", "BANKDDXX", "BANKEEXX", "1.050", "1050"),
    ]
    assert len({f[2] for f in shown}) == len(made)
    assert read_csv(path, BICS, CURRENCIES) == made


@given(OBLIGATIONS)
def test_files_are_read_back_and_the_same_positions_give_the_same_bytes(tmp_path_factory, obligations):
    folder = tmp_path_factory.mktemp("settlement")
    made = instructions(positions_of(*obligations), "day", DAY)
    write_csv(folder / "a.csv", made, BICS, CURRENCIES)
    write_csv(folder / "b.csv", instructions(positions_of(*obligations[::-1]), "day", DAY), BICS, CURRENCIES)
    assert read_csv(folder / "a.csv", BICS, CURRENCIES) == made
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["a.csv", "b.csv"]


def test_every_changed_byte_of_a_file_is_refused(tmp_path):
    path = tmp_path / "settlement.csv"
    write_csv(path, [Instruction("day", DAY, 978, 1, 2, 123456)], BICS, CURRENCIES)
    content = path.read_bytes()
    for place in range(len(content)):
        for replacement in (b"", b"0", b",", b"\n", b" ", b'"', b"\xff"):
            changed = content[:place] + replacement + content[place + 1 :]
            if changed != content:
                path.write_bytes(changed)
                with pytest.raises(InputError):
                    read_csv(path, BICS, CURRENCIES)
    for cut in range(len(content)):
        if content[:cut].count(b"\n") != 1 or not content[:cut].endswith(b"\n"):
            path.write_bytes(content[:cut])
            with pytest.raises(InputError):
                read_csv(path, BICS, CURRENCIES)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, "a b"),
        (1, "2026-02-30"),
        (1, "20260331"),
        (2, "0" * 32),
        (3, "0978"),
        (3, "840"),
        (4, "USD"),
        (5, "BANKZZXX"),
        (6, "BANKBBXX"),
        (7, "1234.560"),
        (7, "1234.57"),
        (8, "-123456"),
        (8, "1" * 5000),
        (8, "0"),
    ],
)
def test_a_wrong_field_is_named_with_its_row(tmp_path, field, value):
    path = tmp_path / "settlement.csv"
    write_csv(
        path, [Instruction("day", DAY, 978, 0, 2, 1), Instruction("day", DAY, 978, 1, 2, 123456)], BICS, CURRENCIES
    )
    lines = path.read_text().splitlines()
    fields = lines[2].split(",")
    fields[field] = value
    path.write_text("\n".join([lines[0], lines[1], ",".join(fields)]) + "\n")
    with pytest.raises(InputError, match="row 2"):
        read_csv(path, BICS, CURRENCIES)


@pytest.mark.parametrize(
    "instruction",
    [
        Instruction("day", DAY, 840, 0, 1, 5),
        Instruction("day", DAY, 978, 0, 5, 5),
        Instruction("day", DAY, 978, -1, 1, 5),
        Instruction("day", DAY, 978, 1, 1, 5),
        Instruction("day", DAY, 978, 0, 1, 0),
    ],
)
def test_what_has_no_name_or_no_amount_is_not_written(tmp_path, instruction):
    with pytest.raises(InputError, match="row 1"):
        write_csv(tmp_path / "settlement.csv", [instruction], BICS, CURRENCIES)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    with pytest.raises(StorageError):
        write_csv(tmp_path / "none" / "settlement.csv", [], BICS, CURRENCIES)
    with pytest.raises(StorageError):
        read_csv(tmp_path / "none.csv", BICS, CURRENCIES)


def test_ids_differ_between_cycles_and_days(tmp_path):
    ids = set()
    for cycle, day in (("a", DAY), ("b", DAY), ("a", date(2026, 4, 1))):
        write_csv(tmp_path / "s.csv", [Instruction(cycle, day, 978, 0, 1, 5)], BICS, CURRENCIES)
        ids.add((tmp_path / "s.csv").read_text().splitlines()[1].split(",")[2])
    assert len(ids) == 3


def test_amounts_are_paid_in_falling_order_of_debt():
    positions = positions_of(*((i, 0, 978, 10 * i) for i in range(1, 5)))
    made = instructions(positions, "day", DAY)
    assert all(a.amount_minor > b.amount_minor for a, b in pairwise(made))
