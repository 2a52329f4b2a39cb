"""The command line as people and programs use it: exit status, JSON on stdout, messages on stderr."""

import json
import os
import re
import subprocess
import sys

import pytest


def run(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "pyledger.cli", *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": 120, "check": False, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, env=os.environ | environment, **options)


@pytest.fixture(scope="module")
def ledger(finished_day):
    return finished_day[1] / "ledger"


def a_posted_id(ledger):
    import pyledger as pl

    with pl.Ledger.open(ledger, read_only=True) as opened:
        return pl.u128_int(opened.block(opened.height - 1).body.transfers["id"][0])


def test_no_command_is_wrong_usage():
    assert run().returncode == 2
    assert run("nonsense").returncode == 2


def test_help_names_every_command():
    text = run("--help").stdout
    for command in ("sample", "day", "ingest", "prove", "verify", "audit", "key"):
        assert command in text


@pytest.mark.parametrize("notation", ["{}", "{:#x}"])
def test_prove_then_verify(ledger, tmp_path, notation):
    number = a_posted_id(ledger)
    receipt = tmp_path / "a.receipt"
    proven = run("prove", ledger, notation.format(number), "--out", receipt, "--json")
    assert proven.returncode == 0, proven.stderr
    assert json.loads(proven.stdout)["receipt"] == str(receipt)
    verified = run("verify", receipt, "--trust", ledger / "trust.json", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["id"] == number


def test_a_balance_is_proven_and_verified(ledger, tmp_path):
    import pyledger as pl

    with pl.Ledger.open(ledger, read_only=True) as opened:
        account = int.from_bytes(opened.accounts()["id"][0].as_py())
        expected = opened.balance(account)
    proof = tmp_path / "a.balance"
    proven = run("prove", ledger, account, "--balance", "--out", proof, "--json")
    assert proven.returncode == 0, proven.stderr
    assert json.loads(proven.stdout)["balance"] == str(proof)
    verified = run("verify", proof, "--trust", ledger / "trust.json", "--json")
    assert verified.returncode == 0, verified.stderr
    fields = json.loads(verified.stdout)
    assert (fields["account_id"], fields["debits_posted"]) == (account, expected.debits_posted)
    absent = run("prove", ledger, "1", "--balance", "--out", proof)
    assert absent.returncode == 0, absent.stderr
    assert "there is no such account" in run("verify", proof, "--trust", ledger / "trust.json").stdout


def test_the_independent_pairing_agrees(ledger, tmp_path):
    pytest.importorskip("py_ecc", reason="the second pairing implementation is py_ecc's")
    receipt = tmp_path / "a.receipt"
    run("prove", ledger, a_posted_id(ledger), "--out", receipt)
    verified = run("verify", receipt, "--trust", ledger / "trust.json", "--independent")
    assert verified.returncode == 0, verified.stderr
    assert f"{receipt}: valid" in verified.stdout


def test_a_changed_receipt_or_another_chain_does_not_verify(ledger, tmp_path):
    receipt = tmp_path / "a.receipt"
    run("prove", ledger, a_posted_id(ledger), "--out", receipt)
    data = receipt.read_bytes()
    receipt.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    changed = run("verify", receipt, "--trust", ledger / "trust.json", "--json")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["valid"] is False
    receipt.write_bytes(data)
    trust = json.loads((ledger / "trust.json").read_text())
    trust["chain_id"] = "00" * 16
    (tmp_path / "trust.json").write_text(json.dumps(trust))
    assert run("verify", receipt, "--trust", tmp_path / "trust.json").returncode == 1
    assert run("verify", tmp_path / "missing", "--trust", ledger / "trust.json").returncode == 4


def test_prove_refuses_what_did_not_take_effect(ledger):
    result = run("prove", ledger, 12345)
    assert result.returncode == 1
    assert "did not take effect" in result.stderr


def test_audit_says_ok_and_names_the_first_difference(ledger, tmp_path):
    good = run("audit", ledger, "--json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["ok"] is True
    assert run("audit", tmp_path).returncode == 4


def test_audit_of_a_corrupt_journal_says_where(ledger, tmp_path):
    import shutil

    copy = tmp_path / "ledger"
    shutil.copytree(ledger, copy)
    (segment,) = (copy / "journal").glob("*.blocks")
    data = bytearray(segment.read_bytes())
    data[5000] ^= 1
    segment.write_bytes(data)
    result = run("audit", copy)
    assert result.returncode == 4
    assert re.search(r"block \d+ is corrupt but good data follows", result.stderr)


@pytest.mark.parametrize("scheme", ["ed25519", "bls12381-min-sig"])
def test_key_files_are_made_and_shown_and_need_their_passphrase(tmp_path, scheme):
    path = tmp_path / "a.key"
    made = run("key", "new", path, "--scheme", scheme, "--json", PYLEDGER_PASSPHRASE="one")
    shown = run("key", "show", path, "--json", PYLEDGER_PASSPHRASE="one")
    assert made.returncode == shown.returncode == 0, made.stderr
    assert json.loads(made.stdout) == json.loads(shown.stdout)
    assert run("key", "show", path, PYLEDGER_PASSPHRASE="two").returncode == 5
    assert run("key", "new", path, PYLEDGER_PASSPHRASE="one").returncode == 4, "a key file is never replaced"
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_without_a_passphrase_or_a_terminal_it_says_so(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYLEDGER_PASSPHRASE"}
    command = [sys.executable, "-P", "-m", "pyledger.cli", "key", "new", str(tmp_path / "a.key")]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert result.returncode == 3
    assert "PYLEDGER_PASSPHRASE" in result.stderr


def test_sample_writes_a_day_and_says_what_is_in_it(tmp_path):
    arguments = ("--institutions", 2, "--accounts", 40, "--transfers", 300, "--json")
    made = run("sample", tmp_path / "day", *arguments)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["transfers"] == 300
    again = run("sample", tmp_path / "day", *arguments)
    assert again.returncode == 3, "it does not write over files"
    csv_day = run("sample", tmp_path / "csv", *arguments, "--format", "csv")
    assert csv_day.returncode == 0
    result = run("day", tmp_path / "csv", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["unexplained_breaks"] == 0


def test_an_unknown_kernel_row_is_named():
    result = run("--help", PYLEDGER_CPU="avx9")
    assert result.returncode != 0
    assert "expected one of native, scalar" in result.stderr
