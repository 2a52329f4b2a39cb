"""The command line as people and programs use it: exit status, JSON on stdout, messages on stderr."""

import importlib.metadata
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
    for command in (
        "sample",
        "day",
        "ingest",
        "prove",
        "trust",
        "verify",
        "audit",
        "balance",
        "history",
        "export",
        "tail",
        "key",
    ):
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


def test_an_audit_can_be_told_what_the_ledger_must_reach(ledger, tmp_path):
    whole = json.loads(run("audit", ledger, "--json").stdout)
    place = f"{whole['blocks']}:{whole['tip']}"
    receipt = tmp_path / "a.receipt"
    run("prove", ledger, a_posted_id(ledger), "--out", receipt)
    assert run("audit", ledger, "--reach", place, "--reach", receipt, "--reach", whole["blocks"]).returncode == 0
    further = run("audit", ledger, "--reach", whole["blocks"] + 5, "--json")
    assert further.returncode == 1
    said = json.loads(further.stdout)
    assert said["difference"].endswith(f"hash {whole['tip']}; expected --reach: block {whole['blocks'] + 5}")
    other = run("audit", ledger, "--reach", f"1:{'ab' * 32}", "--json")
    assert (other.returncode, json.loads(other.stdout)["block"]) == (1, 1)
    short = run("audit", ledger, "--reach", "12:ab")
    assert (short.returncode, "expected a block hash of 64 hexadecimal digits, got 2" in short.stderr) == (3, True)
    missing = run("audit", ledger, "--reach", tmp_path / "none.receipt")
    assert missing.returncode == 4
    assert "expected a file, or a height" in missing.stderr
    receipt.write_bytes(receipt.read_bytes()[:-1])
    broken = run("audit", ledger, "--reach", receipt)
    assert broken.returncode == 1
    assert str(receipt) in broken.stderr


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


@pytest.fixture(scope="module")
def paid(tmp_path_factory):
    """A ledger with one payment of 25 from account 1 to account 2, in block 2."""
    import pyledger as pl

    keys = pl.InstitutionKeys.generate("BANKAAXX")
    genesis = pl.Genesis("cli", 0, (pl.Currency(978, "EUR", 2),), (keys.institution(),))
    folder = tmp_path_factory.mktemp("paid") / "ledger"
    with pl.Ledger.create(folder, genesis, keys=[keys], clock=lambda: 10**18) as ledger:
        ledger.create_accounts(pl.make_accounts(id=[1, 2], ledger=978, code=1))
        ledger.post(pl.make_transfers(id=[7], debit_account_id=1, credit_account_id=2, amount=25, ledger=978, code=1))
    return folder


@pytest.mark.parametrize(
    ("when", "posted"), [([], 25), (["--height", "1"], 0), (["--at", "2001-09-09"], 25), (["--at", str(10**18 + 1)], 0)]
)
def test_balance_now_and_then(paid, when, posted):
    shown = run("balance", paid, "2", *when, "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["credits_posted"] == posted


def test_balance_of_what_is_not_there_is_wrong_input(paid):
    for arguments in (["9"], ["1", "--at", "2001-09-08"], ["1", "--at", "yesterday"], ["1", "--height", "9"]):
        assert run("balance", paid, *arguments).returncode == 3


def test_history_lists_entries(paid):
    entry = json.loads(run("history", paid, "2", "--json").stdout)["entries"][0]
    assert (entry["id"], entry["kind"], entry["side"]) == (f"{7:032x}", "posted", "credit")
    assert (entry["posted_amount"], entry["credits_posted"], entry["height"]) == (25, 25, 2)
    assert entry["timestamp"].startswith("2001-09-09T01:46:40.0000000")
    assert "posted" in run("history", paid, "2").stdout


def test_export_writes_files_and_goes_on(paid, tmp_path):
    for files in (3, 0):
        done = run("export", paid, tmp_path / "out", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["files"] == files
    assert (tmp_path / "out" / "transfers" / "000000000001-000000000002.parquet").exists()


def test_tail_prints_a_line_for_each_block_and_row(paid):
    lines = [json.loads(line) for line in run("tail", paid, "--wait", "0", "--json").stdout.splitlines()]
    assert [line["type"] for line in lines] == ["block", "account", "account", "block", "transfer"]
    assert lines[4]["posted_amount"] == 25
    assert run("tail", paid, "--from", "2", "--wait", "0").stdout.startswith("height 2, hash ")


def test_times_are_dates_moments_or_nanoseconds():
    from pyledger.errors import InputError
    from pyledger.jobs.lookups import moment_ns, time_text

    assert moment_ns("2001-09-09") == 1_000_080_000 * 10**9 - 1
    assert moment_ns("2001-09-09T01:46:40") == moment_ns("2001-09-09T03:46:40+02:00") == 10**18
    assert moment_ns("1000000000000000007") == 10**18 + 7
    assert time_text(10**18 + 7) == "2001-09-09T01:46:40.000000007Z"
    for text in ("", "2001", "2001-13-01", "1969-12-30", "noon"):
        with pytest.raises(InputError, match="time: expected"):
            moment_ns(text)


def test_the_history_log_is_exported_as_tiles_and_verified(ledger, tmp_path):
    key, out = tmp_path / "log.key", tmp_path / "log"
    assert run("key", "new", key, PYLEDGER_PASSPHRASE="one").returncode == 0
    arguments = ("export", ledger, out, "--tiles", key, "--origin", "ledger.example/log", "--json")
    first, again = (run(*arguments, PYLEDGER_PASSPHRASE="one") for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr
    fields = json.loads(first.stdout)
    assert fields["files"] > 0 == json.loads(again.stdout)["files"]
    assert fields["verifier_key"].startswith("ledger.example/log+")
    checked = run("verify", out, "--log-key", fields["verifier_key"], "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["size"] == fields["size"]
    assert json.loads(checked.stdout)["root"] == fields["root"]
    shown = run(*arguments[:-1], PYLEDGER_PASSPHRASE="one").stdout
    assert ["verifier", "key", fields["verifier_key"]] in [line.split() for line in shown.splitlines()]  # to be copied
    tile = next((out / "tile" / "0").rglob("*.p/*"))
    tile.write_bytes(tile.read_bytes()[:-1])
    damaged = run("verify", out, "--log-key", fields["verifier_key"])
    assert damaged.returncode == 1
    assert re.search(r"tile/0/000\.p/\d+: expected \d+ bytes, got \d+", damaged.stderr)


def test_exporting_the_log_needs_the_right_key_and_a_free_folder(ledger, tmp_path):
    keys = [tmp_path / name for name in ("a.key", "b.key", "votes.key")]
    for key, scheme in zip(keys, ("ed25519", "ed25519", "bls12381-min-sig"), strict=True):
        assert run("key", "new", key, "--scheme", scheme, PYLEDGER_PASSPHRASE="one").returncode == 0

    def export(out, key, *more, passphrase="one"):
        return run("export", ledger, tmp_path / out, "--tiles", key, *more, PYLEDGER_PASSPHRASE=passphrase)

    assert export("log", keys[0], passphrase="two").returncode == 5
    assert export("log", keys[0]).returncode == 0
    other = export("log", keys[1])
    assert (other.returncode, "not a checkpoint of" in other.stderr) == (5, True)
    votes = export("new", keys[2])
    assert (votes.returncode, "expected an Ed25519 key" in votes.stderr) == (3, True)
    assert export("new", keys[0], "--heights", 1, 2).returncode == 3
    assert export(".", keys[0]).returncode == 3, "the folder with the keys is not empty"


def test_consistency_of_two_heights_is_proven_and_verified(ledger, tmp_path):
    proof = tmp_path / "grown.consistency"
    proven = run("prove", ledger, "--consistency", 1, 3, "--out", proof, "--json")
    assert proven.returncode == 0, proven.stderr
    assert json.loads(proven.stdout)["consistency"] == str(proof)
    verified = run("verify", proof, "--trust", ledger / "trust.json", "--json")
    assert verified.returncode == 0, verified.stderr
    fields = json.loads(verified.stdout)
    assert (fields["old_height"], fields["height"], fields["valid"]) == (1, 3, True)
    data = proof.read_bytes()
    proof.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
    changed = run("verify", proof, "--trust", ledger / "trust.json")
    assert (changed.returncode, "does not lead to both roots" in changed.stderr) == (1, True)
    assert run("prove", ledger, "--consistency", 3, 1).returncode == 6
    assert run("prove", ledger, 5, "--consistency", 1, 3).returncode == 2
    assert run("prove", ledger).returncode == 2
    assert run("prove", ledger, "--consistency", 1, 3, "--balance").returncode == 3


def test_the_trust_file_of_those_in_office_follows_from_the_old_one(ledger, tmp_path):
    """Nobody has changed here; tests/node/test_validator_change_processes.py crosses a change."""
    out, trust = tmp_path / "now.json", ledger / "trust.json"
    done = run("trust", ledger, "--trust", trust, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epoch"] == 0
    receipt = tmp_path / "a.receipt"
    assert run("prove", ledger, a_posted_id(ledger), "--trusted-epoch", 0, "--out", receipt).returncode == 0
    assert run("verify", receipt, "--trust", out).returncode == 0
    fields = json.loads(trust.read_text())
    for wrong, status, message in (
        (fields | {"chain_id": "00" * 16}, 3, "another chain"),
        (fields | {"epoch": 1}, 3, "trusted_epoch: expected 0 to 0"),
        (fields | {"validators": []}, 3, "1 to 4096 validators"),
        ({}, 3, "trust file: expected a field 'format'"),
    ):
        out.write_text(json.dumps(wrong))
        refused = run("trust", ledger, "--trust", out, "--out", tmp_path / "new.json")
        assert (refused.returncode, message in refused.stderr) == (status, True), refused.stderr
    assert run("trust", ledger, "--trust", tmp_path / "none", "--out", out).returncode == 4
    assert not (tmp_path / "new.json").exists()
    assert run("prove", ledger, a_posted_id(ledger), "--trusted-epoch", 1, "--out", receipt).returncode == 3


def test_the_version_is_that_of_the_package():
    import pyledger as pl

    shown = run("--version")
    assert (shown.returncode, shown.stdout) == (0, f"pyledger {pl.__version__}\n")
    assert pl.__version__ == importlib.metadata.version("pyledger")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("prove", "ledger", "x1"), "expected 32 hexadecimal digits or a number below 2^128, got 'x1'"),
        (("prove", "ledger", str(1 << 128)), "expected 32 hexadecimal digits or a number below 2^128"),
        (("prove", "ledger", "--consistency", "1", "-3"), "expected a whole number from 0 on, got '-3'"),
        (("tail", "ledger", "--from", "first"), "expected a whole number from 0 on, got 'first'"),
        (("simulate", "--nodes", "3"), "expected a whole number from 4 to 100, got '3'"),
        (("simulate", "--nodes", "101"), "expected a whole number from 4 to 100, got '101'"),
        (("sample", "day", "--date", "31.12.2026"), "expected a date, YYYY-MM-DD, got '31.12.2026'"),
    ],
)
def test_a_wrong_argument_is_told_what_was_expected(arguments, expected):
    refused = run(*arguments)
    assert refused.returncode == 2
    assert expected in refused.stderr


def test_text_leaves_out_what_there_is_none_of_and_json_does_not(paid):
    shown = run("audit", paid)
    assert shown.returncode == 0, shown.stderr
    assert "difference" not in shown.stdout
    assert re.search(r"^ok +True$", shown.stdout, re.MULTILINE)
    assert json.loads(run("audit", paid, "--json").stdout)["difference"] is None


def test_a_day_prints_its_last_hashes_whole(finished_day, capsys):
    from rich.console import Console

    from pyledger.jobs.tables import print_day

    summary = finished_day[2]
    print_day(summary, Console(width=60))
    lines = capsys.readouterr().out.splitlines()
    assert f"Final block (height {summary.final_height}): {summary.final_block}" in lines
    assert f"Final state root (height {summary.final_height}): {summary.final_state_root}" in lines


def test_an_export_names_the_heights_that_it_takes(paid, tmp_path):
    refused = run("export", paid, tmp_path / "out", "--heights", 2, 99)
    assert refused.returncode == 3
    assert "expected 2 to 2, got 99" in refused.stderr
