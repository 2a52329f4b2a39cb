"""The history log outside the ledger: tiles of final blocks for any client, and proofs that the chain only grew."""

import hashlib
import itertools
import struct
import time
from dataclasses import replace

import pytest
import tile_reader
from ledgers import accounts, genesis, members, transfers

import pyledger as pl
from pyledger import verifier
from pyledger.ledger.proofs import encode_consistency_proof
from pyledger.node.keeping import Keeping, snapshot_height

KEY = pl.keys.SigningKey.from_seed(b"k" * 32)
BLOCKS = 11


def make_ledger(folder, first_amount=5):
    """A ledger of two banks and BLOCKS blocks; its chain differs from block 2 on by the amount."""
    keys = members(2)
    times = itertools.count(10**18, 10**9)
    ledger = pl.Ledger.create(folder, genesis(keys), keys=keys, clock=lambda: next(times))
    ledger.create_accounts(accounts([1, 2]), institution="BANKAAXX")
    for number in range(BLOCKS - 1):
        amount = first_amount if number == 0 else 1
        ledger.post(transfers((100 + number, 1, 2, amount)), institution="BANKAAXX")
    return ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    with make_ledger(tmp_path_factory.mktemp("log") / "ledger") as ledger:
        yield ledger


@pytest.fixture(scope="module")
def trust(ledger):
    return pl.Trust.read(ledger.path / "trust.json")


def test_the_tiled_log_holds_the_headers_of_final_blocks_under_a_certified_root(ledger, tmp_path):
    published = ledger.export_log(tmp_path / "log", KEY)
    size, root, entries = tile_reader.read_log(tmp_path / "log", published.verifier_key)
    assert size == published.size == ledger.final_height == ledger.height - 1
    assert root == published.root == ledger.header(size + 1).history_root
    assert entries == [ledger.header(height).to_bytes() for height in range(1, size + 1)]
    assert hashlib.sha256(b"\0" + entries[-1]).digest() == ledger.header(size).hash == ledger.header(size + 1).parent
    assert published.origin == f"pyledger/{ledger.genesis.chain_id.hex()}"


def test_an_export_follows_the_ledger_block_by_block(tmp_path):
    keys, seen = members(1), []
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        assert ledger.final_height == 0
        assert ledger.export_log(tmp_path / "log", KEY, origin="ledger.example").size == 0
        for _ in range(5):
            ledger.seal()
            published = ledger.export_log(tmp_path / "log", KEY, origin="ledger.example", progress=seen.append)
            size, root, _ = tile_reader.read_log(tmp_path / "log", published.verifier_key)
            assert (size, root) == (ledger.height - 1, ledger.header(ledger.height).history_root)
        assert seen == [1, 2, 3, 4]
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as ledger:
        assert ledger.export_log(tmp_path / "log", KEY, origin="ledger.example").files == 0


def test_a_folder_of_another_chain_is_refused(ledger, tmp_path):
    ledger.export_log(tmp_path / "log", KEY, origin="ledger.example")
    with (
        make_ledger(tmp_path / "fork", first_amount=6) as fork,
        pytest.raises(pl.InputError, match="the log of another chain"),
    ):
        fork.export_log(tmp_path / "log", KEY, origin="ledger.example")
    keys = members(1)
    with (
        pl.Ledger.create(tmp_path / "other", genesis(keys, name="other"), keys=keys) as other,
        pytest.raises(pl.SignatureError, match="not a checkpoint of 'pyledger/"),
    ):
        other.export_log(tmp_path / "log", KEY)


def test_the_chain_up_to_any_height_is_proven_the_beginning_of_any_later_one(ledger, trust):
    for old, new in itertools.combinations_with_replacement(range(1, BLOCKS), 2):
        proven = pl.verify_history(ledger.prove_history(old, new), trust)
        assert (proven.old_height, proven.height) == (old, new)
        assert (proven.old_block_hash, proven.block_hash) == (ledger.header(old).hash, ledger.header(new).hash)
        assert proven.old_root == ledger.header(old + 1).history_root
        assert proven.root == ledger.header(new + 1).history_root
        assert proven.block_time_ns == ledger.header(new).time_ns


def test_the_newest_block_is_made_final_for_its_proof(tmp_path):
    keys = members(1)
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        ledger.seal()
        trust = pl.Trust.read(ledger.path / "trust.json")
        assert pl.verify_history(ledger.prove_history(1, 1), trust).height == 1
        assert ledger.height == 2
        ledger.close()
        with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
            assert pl.verify_history(reader.prove_history(1, 1), trust).height == 1
            with pytest.raises(pl.StateError, match="read-only"):
                reader.prove_history(1, 2)


@pytest.mark.parametrize("heights", [(0, 3), (4, 3), (1, 99), (-1, 1)])
def test_heights_that_are_not_there_or_not_in_order_have_no_proof(ledger, heights):
    with pytest.raises(pl.StateError, match="expected heights in order"):
        ledger.prove_history(*heights)


def test_every_changed_byte_of_a_consistency_proof_is_refused(ledger, trust):
    proof = ledger.prove_history(3, 7)
    path_end = 17 + 32 * proof[16]
    for place in [*range(0, path_end, 3), *range(path_end, len(proof), 41)]:
        refused(proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :], trust)


def test_truncated_extended_and_swapped_consistency_proofs_are_refused(ledger, trust):
    proof = ledger.prove_history(3, 7)
    count, path_end = proof[16], 17 + 32 * proof[16]
    assert count > 1
    for end in range(0, len(proof), 29):
        refused(proof[:end], trust)
    refused(proof + b"\0", trust)
    shorter = proof[:16] + bytes([count - 1]) + proof[17 : path_end - 32] + proof[path_end:]
    longer = proof[:16] + bytes([count + 1]) + proof[17:path_end] + bytes(32) + proof[path_end:]
    reordered = proof[:17] + proof[49:81] + proof[17:49] + proof[81:]
    for changed in (shorter, longer, reordered):
        refused(changed, trust, match="consistency proof: ")
    old, new = ledger._final(3), ledger._final(7)
    refused(encode_consistency_proof(new, old, ledger._book.history.prove_consistency(3, 7)), trust, "old size <= new")
    refused(struct.pack("<8sHHI", b"PLHISTO\0", 1, 0, 0) + proof[16:], trust, match="version 2")


def test_a_rewritten_past_has_no_consistency_proof_even_if_a_quorum_signed_both(ledger, trust, tmp_path):
    """The same validators certified two chains from one genesis: no path joins them."""
    with make_ledger(tmp_path / "fork", first_amount=6) as fork:
        assert fork.genesis.hash == ledger.genesis.hash
        assert fork.header(2).hash != ledger.header(2).hash
        for mine, theirs in ((ledger, fork), (fork, ledger)):
            for path in (mine, theirs):
                forged = encode_consistency_proof(
                    mine._final(4), theirs._final(8), path._book.history.prove_consistency(4, 8)
                )
                refused(forged, trust, match="does not lead to both roots")
        forged = encode_consistency_proof(
            ledger._final(4), fork._final(4), ledger._book.history.prove_consistency(4, 4)
        )
        refused(forged, trust, match="one root")


def test_a_block_that_is_not_final_begins_and_ends_no_proof(ledger, trust):
    good, later = ledger._final(3), ledger._final(7)
    path = ledger._book.history.prove_consistency(3, 7)
    ((first, _),), ((_, second),) = ([entries for entries, _ in each] for each in (good, later))
    gap = [([first, second], b"")]
    refused(encode_consistency_proof(gap, later, path), trust, match="does not stand on the header before")
    refused(encode_consistency_proof(good, gap, path), trust, match="does not stand on the header before")


def test_another_chain_or_other_validators_are_refused(ledger, trust, tmp_path):
    keys = members(2, seed=b"other")
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as other:
        other_trust = pl.Trust.read(other.path / "trust.json")
    refused(ledger.prove_history(3, 7), other_trust, match="of another chain")


def refused(proof, trust, match=None):
    with pytest.raises(verifier.ProofError, match=match):
        verifier.verify_history(proof, trust)
    with pytest.raises(pl.ProofError, match=match):
        pl.verify_history(proof, trust)


def test_a_block_whose_child_came_rounds_later_is_neither_published_nor_proven_by_it_alone(tmp_path):
    keys = members(1)
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        for _ in range(5):
            ledger.seal()
        assert ledger.final_height == 4
        ledger._headers[4] = replace(ledger._headers[4], round=9)  # the rounds between had no certificate
        assert ledger.final_height == 3
        assert ledger.export_log(tmp_path / "log", KEY).size == 3
        for heights in ((1, 4), (4, 4)):
            with pytest.raises(pl.StateError, match="block 4: no two blocks from it on"):
                ledger.prove_history(*heights)
        assert pl.verify_history(ledger.prove_history(1, 3), pl.Trust.read(ledger.path / "trust.json")).height == 3


def test_a_ledger_opened_from_a_snapshot_goes_on_with_the_same_log(tmp_path):
    keys = members(1)
    keeping = Keeping(window=4, segment=3, snapshot_every=5)
    path, trust = tmp_path / "ledger", tmp_path / "ledger" / "trust.json"
    with pl.Ledger.create(path, genesis(keys), keys=keys, keeping=keeping) as ledger:
        ledger.create_accounts(accounts([1, 2]))
        for number in range(20):
            ledger.post(transfers((100 + number, 1, 2, 5)))
        before = ledger.export_log(tmp_path / "log", KEY)
        proof = ledger.prove_history(3, 17)
        deadline = time.monotonic() + 30
        while snapshot_height(path) <= 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert snapshot_height(path) > 5
    with pl.Ledger.open(path, keys=keys, keeping=keeping) as ledger:
        assert ledger.prove_history(3, 17) == proof
        ledger.post(transfers((500, 1, 2, 5)))
        published = ledger.export_log(tmp_path / "log", KEY)
        size, root, entries = tile_reader.read_log(tmp_path / "log", published.verifier_key)
        assert (before.size, size, root) == (20, 21, ledger.header(22).history_root)
        assert entries == [ledger.block(height).header.to_bytes() for height in range(1, 22)]
        assert pl.verify_history(ledger.prove_history(2, 21), pl.Trust.read(trust)).root == root
