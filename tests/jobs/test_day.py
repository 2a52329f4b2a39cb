"""The bank day end to end, against an independent recomputation in plain Python over the files."""

import contextlib
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict

import pyarrow.parquet as pq
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from days import copy_day, summary_of

import pyledger as pl
from pyledger.formats.day_header import read_day
from pyledger.jobs.day import run_day
from pyledger.jobs.day_genesis import day_genesis
from pyledger.ledger.journal import Journal

LIMITED = int(pl.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)


class PlainBooks:
    """The day's rules in plain Python: dictionaries, hashlib, one signature check at a time."""

    def __init__(self, folder):
        self.header = read_day(folder)
        self.chain_id = day_genesis(self.header).chain_id
        self.accounts = {}
        self.taken = {}
        self.refused = []
        self._keys = {}
        for index, member in enumerate(self.header.institutions):
            keys = {row["key_id"]: row["public_key"] for row in rows(folder / member.bic / "keys.parquet")}
            for row in rows(folder / member.bic / "accounts.parquet"):
                ledger = self.header.ledgers[row["currency"]]
                self.accounts[row["id"]] = Account(index, ledger, keys[row["key_id"]], row["flags"])
        for _, institution, number, row in self._merged(folder):
            bic = self.header.institutions[institution].bic
            result = self.post(row, institution, folder)
            if result is not None:
                self.refused.append((bic, number, result))

    def _merged(self, folder):
        """Rows of all files by time, then institution, then row."""
        merged = []
        for index, member in enumerate(self.header.institutions):
            for number, row in enumerate(rows(folder / member.bic / "transfers.parquet"), 1):
                merged.append((row["submitted_at"], index, number, row))
        return sorted(merged, key=lambda item: item[:3])

    def post(self, row, institution, folder):
        """None if the transfer takes effect, else why not."""
        if not self.signature_valid(row, institution, folder):
            return "signature_invalid"
        earlier = self.taken.get(row["id"])
        if earlier is not None:
            return "exists" if earlier == content(row) else "exists_with_different_amount"
        debit, credit = self.accounts.get(row["debit_account"]), self.accounts.get(row["credit_account"])
        if debit is None:
            return "debit_account_not_found"
        if debit.owner != self.public_key(row, institution, folder):
            return "signer_not_authorised"
        if credit is None:
            return "credit_account_not_found"
        if debit.flags & LIMITED and debit.debits + row["amount_minor"] > debit.credits:
            return "exceeds_credits"
        debit.debits += row["amount_minor"]
        credit.credits += row["amount_minor"]
        self.taken[row["id"]] = content(row)
        return None

    def public_key(self, row, institution, folder):
        bic = self.header.institutions[institution].bic
        if bic not in self._keys:
            self._keys[bic] = {item["key_id"]: item["public_key"] for item in rows(folder / bic / "keys.parquet")}
        return self._keys[bic][row["key_id"]]

    def signature_valid(self, row, institution, folder):
        zero16 = bytes(16)
        record = b"".join(
            [
                row["id"][::-1],
                row["debit_account"][::-1],
                row["credit_account"][::-1],
                int(row["amount_minor"]).to_bytes(16, "little"),
                zero16,
                zero16,
                bytes(8 + 4 + 4),
                self.header.ledgers[row["currency"]].to_bytes(4, "little"),
                row["code"].to_bytes(2, "little"),
                row["flags"].to_bytes(2, "little"),
                bytes(8),
            ]
        )
        leaf = hashlib.sha256(b"\0" + self.chain_id + record).digest()
        key = Ed25519PublicKey.from_public_bytes(self.public_key(row, institution, folder))
        try:
            key.verify(row["signature"], b"pyledger/tx/v1\0" + leaf)
        except InvalidSignature:
            return False
        return True


class Account:
    """Totals of an account and who owns it."""

    def __init__(self, institution, ledger, owner, flags):
        self.institution, self.ledger, self.owner, self.flags = institution, ledger, owner, flags
        self.debits = self.credits = 0


def rows(path):
    table = pq.read_table(path)
    if "submitted_at" in table.column_names:  # nanoseconds: more than datetime can hold
        place = table.column_names.index("submitted_at")
        table = table.set_column(place, "submitted_at", table["submitted_at"].cast("int64"))
    return table.to_pylist()


def content(row):
    return row["debit_account"], row["credit_account"], row["amount_minor"], row["code"]


@pytest.fixture(scope="session")
def books(finished_day):
    return PlainBooks(finished_day[0])


def test_a_day_leaves_nothing_unexplained(finished_day):
    _, _, summary = finished_day
    assert summary.ok
    assert summary.unexplained_breaks == 0
    assert summary.unexplained_refusals == 0
    assert summary.audit == "ok"
    assert summary.receipts_verified == 20
    assert summary.submitted == 4000
    assert all(count > 0 for count in summary.breaks.values()), summary.breaks
    assert len(summary.breaks) == 10


def test_balances_equal_the_plain_recomputation(finished_day, books):
    _, out, _ = finished_day
    with pl.Ledger.open(out / "ledger", read_only=True) as ledger:
        table = ledger.accounts().drop_columns("timestamp").to_pylist()
    assert {row["id"]: (row["debits_posted"], row["credits_posted"]) for row in table} == {
        key: (account.debits, account.credits) for key, account in books.accounts.items()
    }
    assert sum(row["debits_pending"] for row in table) == 0


def test_refusals_equal_the_plain_recomputation(finished_day, books):
    _, out, summary = finished_day
    with (out / "refusals.csv").open() as file:
        found = [(row["institution"], int(row["row"]), row["result"]) for row in csv.DictReader(file)]
    assert sorted(found) == sorted(books.refused)
    assert summary.refused == Counter(result for *_, result in books.refused)
    assert set(summary.refused) >= {
        "exceeds_credits",
        "exists",
        "exists_with_different_amount",
        "signature_invalid",
        "debit_account_not_found",
        "credit_account_not_found",
    }


def test_the_ledger_holds_exactly_what_took_effect_in_order(finished_day, books):
    _, out, _ = finished_day
    with pl.Ledger.open(out / "ledger", read_only=True) as ledger:
        ids = [key for batch in ledger.transfers() for key in batch["id"].to_pylist()]
        chunks = [ledger.header(height).transfers_count for height in range(1, ledger.height + 1)]
    assert ids == list(books.taken)
    assert max(chunks) <= 500


def test_settlement_equals_the_plain_net_positions(finished_day, books):
    _, out, _ = finished_day
    position = defaultdict(int)
    for debit, credit, amount, _ in books.taken.values():
        payer, payee = books.accounts[debit], books.accounts[credit]
        position[payer.ledger, payer.institution] -= amount
        position[payer.ledger, payee.institution] += amount
    bics = [member.bic for member in books.header.institutions]
    with (out / "settlement.csv").open() as file:
        for row in csv.DictReader(file):
            position[int(row["ledger"]), bics.index(row["payer_bic"])] += int(row["amount_minor"])
            position[int(row["ledger"]), bics.index(row["payee_bic"])] -= int(row["amount_minor"])
    assert position
    assert not any(position.values())


def test_block_roots_equal_the_plain_tree(finished_day):
    """RFC 6962 section 2.1 by recursion over the ledger's records."""
    _, out, _ = finished_day

    def root(leaves):
        if not leaves:
            return hashlib.sha256().digest()
        if len(leaves) == 1:
            return hashlib.sha256(b"\0" + leaves[0]).digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()

    with pl.Ledger.open(out / "ledger", read_only=True) as ledger:
        chain_id = ledger.genesis.chain_id
        hashes = []
        for height in range(1, ledger.height + 1):
            block = ledger.block(height)
            leaves = [chain_id + record.tobytes()[:120] + bytes(8) for record in block.body.transfers]
            assert root(leaves) == block.header.transfers_root
            assert root(hashes) == block.header.history_root
            hashes.append(block.header.to_bytes())


def test_the_same_day_gives_the_same_roots_on_the_scalar_row(finished_day, tmp_path):
    day, _, summary = finished_day
    environment = os.environ | {"PYLEDGER_CPU": "scalar"}
    result = run_cli("day", str(day), "--out", str(tmp_path / "out"), "--json", env=environment)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["final_block"] == summary.final_block
    assert found["cpu_level"] == "scalar"


def test_running_a_finished_day_again_changes_nothing(finished_day):
    day, out, summary = finished_day
    again = run_day(day, out=out)
    assert again.final_block == summary.final_block
    assert again.blocks_resumed == again.blocks == summary.blocks


@pytest.mark.parametrize("frames", [1, 5, 9, 13])
def test_a_day_killed_anywhere_goes_on_to_the_same_root(finished_day, tmp_path, frames):
    """SIGKILL when the journal has reached some length; the next run goes on from there."""
    day, _, summary = finished_day
    out = tmp_path / "out"
    killed = subprocess.Popen(
        [sys.executable, "-P", "-m", "pyledger.cli", "day", str(day), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_blocks(out / "ledger", frames, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = run_day(day, out=out)
    assert again.final_block == summary.final_block
    assert again.ok
    assert summary_of(out)["final_state_root"] == summary.final_state_root


def wait_for_blocks(ledger, frames, process):
    """Return as soon as the journal's blocks fill so many 4096-byte pages, a block being one or more of them."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(pl.StorageError):
            journal = Journal(ledger / "journal", pl.Ledger.read_genesis(ledger).hash, read_only=True)
            if journal.size_bytes >= frames * 4096:
                return
        time.sleep(0.001)


def run_cli(*arguments, **options):
    command = [sys.executable, "-P", "-m", "pyledger.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_receipts_verify_without_the_ledger_and_any_changed_bit_is_refused(finished_day):
    _, out, _ = finished_day
    trust = pl.Trust.from_json((out / "ledger" / "trust.json").read_bytes())
    receipts = sorted((out / "receipts").iterdir())
    assert len(receipts) == 20
    receipt = receipts[0].read_bytes()
    assert pl.verify_receipt(receipt, trust).id == int(receipts[0].stem, 16)
    for place in range(0, len(receipt), 37):
        changed = receipt[:place] + bytes([receipt[place] ^ 1]) + receipt[place + 1 :]
        with pytest.raises(pl.ProofError):
            pl.verify_receipt(changed, trust)
    for changed in (receipt[:-1], receipt + b"\0", b""):
        with pytest.raises(pl.ProofError):
            pl.verify_receipt(changed, trust)


def test_a_day_of_another_seed_does_not_go_into_this_ledger(finished_day, tmp_path):
    from days import make_day

    _, out, _ = finished_day
    other = make_day(tmp_path / "other", seed=2)
    with pytest.raises(pl.InputError, match="of another day"):
        run_day(other, out=out)


def test_a_removed_refusal_list_is_named(finished_day, tmp_path):
    day = copy_day(finished_day[0], tmp_path / "day")
    run_day(day)
    (day / "out" / "refusals" / "000002.csv").unlink()
    with pytest.raises(pl.StateError, match=r"000002\.csv"):
        run_day(day)
