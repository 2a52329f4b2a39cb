"""Attacks on a ledger: with the caller's rights, with one signed leg in hand, with write access to the files."""

import json
import threading

import numpy as np
import pytest
from ledgers import accounts, genesis, members, payload_of, register, sign, transfers

import pyledger as pl
from pyledger import verifier
from pyledger.ledger.blocks import Block, Body, Header
from pyledger.ledger.journal import Journal
from pyledger.node import certified

R = pl.CreateTransferResult
LINKED, IMPORTED = pl.TransferFlags.LINKED, pl.TransferFlags.IMPORTED


@pytest.fixture
def keys():
    return members(2)


@pytest.fixture
def ledger(tmp_path, keys):
    """Two banks; customers' keys 2 and 3 own accounts 1 (first bank) and 2 (second)."""
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        for place, bank in enumerate(keys):
            indexes = register(ledger, [customer(place)], bank.bic)
            ledger.create_accounts(accounts([place + 1]), owners=indexes, institution=bank.bic)
        yield ledger


def customer(place):
    return pl.keys.SigningKey.from_seed(bytes([7 + place]) * 32)


def post_signed(ledger, records, places, signatures=None):
    chosen = [customer(place) for place in places]
    if signatures is None:
        signatures = sign(ledger.genesis.chain_id, records, chosen)
    return ledger.post(records, signers=np.array(places, np.uint32) + 2, signatures=signatures)


def trust_of(ledger):
    return pl.Trust.read(ledger.path / "trust.json")


@pytest.mark.parametrize("count", [0, 1])
def test_a_forged_attestation_uses_up_nothing(ledger, count):
    records = transfers((10, 1, 2, 5))[:count]
    height = ledger.height
    receipt = ledger.post(records, institution="BANKAAXX", attestation=(1, bytes(64)))
    assert receipt.height == ledger.height == height, "what has no effect makes no block"
    assert ledger.post(transfers((11, 1, 2, 5)), institution="BANKAAXX").results.tolist() == [0]
    assert ledger.audit().ok


def test_an_attestation_takes_no_words_about_what_was_refused(ledger):
    with pytest.raises(pl.InputError, match="attestation: expected a tuple of sequence"):
        ledger.post(transfers((10, 1, 2, 5)), institution="BANKAAXX", attestation=(1, bytes(64), (0,), bytes(32)))


def test_one_leg_of_an_exchange_does_not_go_without_the_other(ledger):
    exchange = transfers((10, 1, 2, 100), (11, 2, 1, 7))
    exchange["flags"] = [LINKED, 0]
    signatures = sign(ledger.genesis.chain_id, exchange, [customer(0), customer(1)])
    leg = exchange[:1].copy()
    other = transfers((12, 2, 1, 1))
    theirs = np.concatenate([leg, other])
    mixed = np.concatenate([signatures[:1], sign(ledger.genesis.chain_id, theirs, [customer(0), customer(1)])[1:]])
    assert post_signed(ledger, theirs, [0, 1], mixed).results.tolist() == [R.SIGNATURE_INVALID, R.LINKED_EVENT_FAILED]
    alone = leg.copy()
    alone["flags"] = 0
    assert post_signed(ledger, alone, [0], signatures[:1]).results.tolist() == [R.SIGNATURE_INVALID]
    assert post_signed(ledger, exchange, [0, 1], signatures).results.tolist() == [0, 0]
    assert pl.verify_receipt(ledger.prove(11), trust_of(ledger)).posted_amount == 7
    assert ledger.audit().ok


def test_a_relay_can_not_change_an_imported_time(tmp_path, keys):
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys, clock=lambda: 10**18) as ledger:
        owner = register(ledger, [customer(0)], "BANKAAXX")
        old = accounts([1, 2], flags=pl.AccountFlags.IMPORTED)
        old["timestamp"] = [1000, 1001]
        owners = np.array([owner[0]] * 2, np.uint32)
        assert ledger.create_accounts(old, owners=owners, institution="BANKAAXX").tolist() == [0, 0]
        records = transfers((10, 1, 2, 5), flags=IMPORTED)
        records["timestamp"] = 2000
        signatures = sign(ledger.genesis.chain_id, records, [customer(0)])
        moved = records.copy()
        moved["timestamp"] = 3000
        assert ledger.post(moved, signers=owner, signatures=signatures).results.tolist() == [R.SIGNATURE_INVALID]
        assert ledger.post(records, signers=owner, signatures=signatures).results.tolist() == [0]


def test_a_receipt_names_the_key_that_really_signed(ledger):
    """The signature in a receipt replaced by an attacker's own, over the same transfer."""
    records = transfers((10, 1, 2, 5))
    post_signed(ledger, records, [0])
    receipt, trust = ledger.prove(10), trust_of(ledger)
    genuine = sign(ledger.genesis.chain_id, records, [customer(0)]).tobytes()
    attacker = pl.keys.SigningKey.from_seed(b"a" * 32)
    forged = sign(ledger.genesis.chain_id, records, [attacker]).tobytes()
    assert genuine in receipt
    for changed in (
        receipt.replace(genuine, forged),
        receipt.replace(genuine, forged).replace(customer(0).public_key, attacker.public_key),
    ):
        with pytest.raises(pl.ProofError):
            pl.verify_receipt(changed, trust)


def test_a_pending_transfer_is_not_shown_as_posted(ledger):
    post_signed(ledger, transfers((10, 1, 2, 70), flags=pl.TransferFlags.PENDING), [0])
    assert pl.verify_receipt(ledger.prove(10), trust_of(ledger)).posted_amount == 0


def rewrite_journal(ledger, change):
    """Write the ledger's blocks anew with one changed, every digest of the journal right again."""
    payloads = [payload for _, payload in ledger._journal.payloads()]
    ledger.close()
    for path in (ledger.path / "journal").glob("*.blocks"):
        path.unlink()
    journal = Journal(ledger.path / "journal", ledger.genesis.hash)
    for height, payload in enumerate(payloads, 1):
        journal.append(height, change(height, payload))
    journal.close()


def rebuild(payload, edit):
    block, certificate = certified.decode_payload(payload)
    return payload_of(edit(block), certificate)


def test_a_changed_timestamp_in_the_journal_is_found_on_opening(ledger, keys):
    post_signed(ledger, transfers((10, 1, 2, 70)), [0])
    last = ledger.height

    def later(block):
        moved = block.body.transfers.copy()
        moved["timestamp"] += 1
        body = Body(block.body.commands, block.body.accounts, moved, block.body.signers, block.body.signatures)
        return Block(block.header, body)

    rewrite_journal(ledger, lambda height, payload: rebuild(payload, later) if height == last else payload)
    with pytest.raises(pl.StorageError, match="outcomes_root"):
        pl.Ledger.open(ledger.path, keys=keys)


def test_a_signature_swapped_in_the_journal_is_found_by_the_audit(ledger):
    post_signed(ledger, transfers((10, 1, 2, 70)), [0])
    last = ledger.height

    def unsigned(block):
        body = block.body
        forged = np.full_like(body.signatures, 0xEE)
        return Block(block.header, Body(body.commands, body.accounts, body.transfers, body.signers, forged))

    rewrite_journal(ledger, lambda height, payload: rebuild(payload, unsigned) if height == last else payload)
    with pl.Ledger.open(ledger.path, read_only=True) as opened:
        report = opened.audit()
    assert not report.ok
    assert f"block {last}" in report.difference
    assert "does not take effect again" in report.difference


def test_a_block_that_nobody_certified_is_refused_on_opening(tmp_path, ledger, keys):
    """A block formed by the same code with the same keys but another validator set's certificate, appended by hand."""
    post_signed(ledger, transfers((10, 1, 2, 70)), [0])
    payload = ledger._journal.read(ledger.height)
    block, certificate = certified.decode_payload(payload)
    forged = certificate[:-1] + bytes([certificate[-1] ^ 1])
    rewrite_journal(
        ledger,
        lambda height, data: payload_of(block, forged) if height == block.header.height else data,
    )
    with pytest.raises(pl.LedgerError):
        pl.Ledger.open(ledger.path, keys=keys)


def test_commands_out_of_range_are_refused_by_name():
    header = bytes(Header.SIZE)
    with pytest.raises(pl.InputError, match="version 1"):
        Block.from_bytes(header)
    import msgspec

    from pyledger.ledger.commands import RegisterKeys, SignedRefusals

    for command in (
        RegisterKeys(-1, 1, 0, 1, 0, b"", b"", bytes(64)),
        RegisterKeys(0, 1, 0, 1, 0, bytes(31), b"", bytes(64)),
        SignedRefusals(0, 1, (), b""),
    ):
        data = msgspec.msgpack.encode((command,))
        sizes = np.array([len(data)], "<u8").tobytes() + bytes(20)
        with pytest.raises(pl.InputError, match="out of range"):
            Body.from_bytes(sizes + data)


@pytest.mark.parametrize("signers", [np.array([2]), np.array([2.0]), np.array([[2]], np.uint32)])
def test_a_wrong_array_is_named_and_does_not_stop_the_ledger(ledger, signers):
    records = transfers((10, 1, 2, 5))
    with pytest.raises(pl.InputError, match="signers"):
        ledger.post(records, signers=signers, signatures=np.zeros((1, 64), np.uint8))
    with pytest.raises(pl.InputError, match="transfers"):
        ledger.post(np.zeros(1, pl.ACCOUNT))
    with pytest.raises(pl.InputError, match="owners"):
        ledger.create_accounts(accounts([9]), owners=np.array([np.nan]), institution="BANKAAXX")
    assert post_signed(ledger, records, [0]).results.tolist() == [0]


def test_posts_from_several_threads_are_all_taken(tmp_path):
    keys = members(1)
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        ledger.create_accounts(accounts([1, 2]))
        refused = []

        def work(first):
            for number in range(first, first + 10):
                refused.extend(code for code in ledger.post(transfers((number, 1, 2, 1))).results if code)

        threads = [threading.Thread(target=work, args=(100 * place + 1,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == []
        assert ledger.balance(2).credits_posted == 40


def test_a_damaged_last_block_is_reported_by_the_audit(ledger):
    post_signed(ledger, transfers((10, 1, 2, 70)), [0])
    ledger.close()
    (segment,) = (ledger.path / "journal").glob("*.blocks")
    data = bytearray(segment.read_bytes())
    data[-4096 + 200] ^= 1
    segment.write_bytes(data)
    with pl.Ledger.open(ledger.path, read_only=True) as opened:
        report = opened.audit()
    assert not report.ok
    assert "not a whole block" in report.difference


def test_a_stopped_create_can_be_finished_and_acknowledged_blocks_are_never_replaced(tmp_path, keys):
    folder = tmp_path / "ledger"
    (folder / "journal").mkdir(parents=True)
    (folder / "trust.json").write_text("{}")
    with pl.Ledger.create(folder, genesis(keys), keys=keys) as ledger:
        ledger.create_accounts(accounts([1]), institution="BANKAAXX")
    (folder / "genesis").unlink()
    with pytest.raises(pl.StorageError, match="not empty"):
        pl.Ledger.create(folder, genesis(keys), keys=keys)
    assert list((folder / "journal").glob("*.blocks"))


def test_too_few_keys_leave_no_folder_behind(tmp_path):
    keys = members(4)
    with pytest.raises(pl.ConsensusError, match="twice"):
        pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=[keys[0]] * 3)
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("epoch", -1, "an epoch in"), ("epoch", 1 << 64, "an epoch in"), ("chain_id", "00", "16 bytes")],
)
def test_a_trust_file_out_of_range_is_refused(ledger, field, value, expected):
    fields = json.loads((ledger.path / "trust.json").read_text()) | {field: value}
    with pytest.raises(verifier.ReceiptError, match=expected):
        verifier.Trust.from_json(json.dumps(fields))


@pytest.mark.parametrize("weight", [-1, 0, 1 << 32, 1 << 64])
def test_a_trust_file_with_a_weight_out_of_range_is_refused(ledger, weight):
    fields = json.loads((ledger.path / "trust.json").read_text())
    fields["validators"][0]["weight"] = weight
    with pytest.raises(verifier.ReceiptError, match="weights in"):
        verifier.Trust.from_json(json.dumps(fields))


@pytest.mark.parametrize("field", ["public_key", "proof_of_possession", "attestation_key"])
def test_a_trust_file_with_a_key_of_another_length_is_refused(ledger, field):
    fields = json.loads((ledger.path / "trust.json").read_text())
    fields["validators"][0][field] += "00"
    with pytest.raises(verifier.ReceiptError, match=f"{field}: expected"):
        verifier.Trust.from_json(json.dumps(fields))


def test_a_trust_file_without_validators_is_refused(ledger):
    fields = json.loads((ledger.path / "trust.json").read_text()) | {"validators": []}
    with pytest.raises(verifier.ReceiptError, match="1 to 4096 validators"):
        verifier.Trust.from_json(json.dumps(fields))


def test_a_trust_file_that_is_no_text_is_refused_without_its_bytes():
    with pytest.raises(verifier.ReceiptError, match="UnicodeDecodeError") as refused:
        verifier.Trust.from_json(b"\x89" * 5000)
    assert len(str(refused.value)) < 200
