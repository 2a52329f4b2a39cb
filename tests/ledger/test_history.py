"""The history log in the forms of C2SP: tiles, bundles and signed checkpoints, against the standards' own examples."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from pyledger.crypto import merkle
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, LedgerError, ProofError, SignatureError
from pyledger.ledger import history

VECTORS = Path(__file__).parents[1] / "vectors" / "tessera_log" / "log.json"
KEY = SigningKey.from_seed(bytes(range(32)))
ORIGIN = "ledger.example/history"

# The worked example of c2sp.org/signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()


def make_log(size):
    log = merkle.Log()
    log.extend(merkle.leaf_hashes(np.arange(size, dtype=np.uint64).view(np.uint8).reshape(-1, 8)))
    return log


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((0, 1234067), "tile/0/x001/x234/067"),
        ((63, 0, 1), "tile/63/000.p/1"),
        ((1, 999, 255), "tile/1/999.p/255"),
        ((0, 1000), "tile/0/x001/000"),
        (("entries", 5), "tile/entries/005"),
    ],
)
def test_tile_paths_are_those_of_the_standard(arguments, path):
    assert history.tile_path(*arguments) == path


@pytest.mark.parametrize(
    "arguments",
    [(0, -1), (-1, 0), (64, 0), ("entry", 0), (1.5, 0), (0, 0, 0), (0, 0, 257), (0, 0, -1)],
)
def test_tiles_that_no_tree_has_have_no_path(arguments):
    with pytest.raises(ValueError, match="expected"):
        history.tile_path(*arguments)


def test_negative_and_falling_sizes_are_refused():
    for sizes in ((-1,), (5, -1), (5, 6)):
        with pytest.raises(ValueError, match="sizes: expected"):
            list(history.new_bundle_paths(*sizes))
    with pytest.raises(ValueError, match="size: expected"):
        history.log_from_tiles({}.__getitem__, -5, make_log(0).root())


def test_a_tree_of_70000_has_the_tiles_that_the_standard_counts():
    paths = [path for path, _ in history.new_tiles(make_log(70_000), 70_000)]
    whole = [path for path in paths if ".p/" not in path]
    assert sum(path.startswith("tile/0/") for path in whole) == 273
    assert sum(path.startswith("tile/1/") for path in whole) == 1
    assert [path for path in paths if ".p/" in path] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]


def test_a_tree_of_256_has_a_whole_tile_and_a_partial_one_above():
    assert [path for path, _ in history.new_tiles(make_log(256), 256)] == ["tile/0/000", "tile/1/000.p/1"]


def test_tiles_published_step_by_step_give_every_tree_and_its_proofs():
    log, files, old = make_log(66_000), {}, 0
    for size in [1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 66_000]:
        new = dict(history.new_tiles(log, size, old))
        assert not files.keys() & new.keys()
        files |= new
        read = history.log_from_tiles(files.__getitem__, size, log.root_at(size))
        assert read.prove_consistency(old).tolist() == log.prove_consistency(old, size).tolist()
        old = size


def test_a_changed_tile_is_refused_on_every_level():
    log = make_log(70_000)
    files = dict(history.new_tiles(log, 70_000))
    for path in ["tile/0/007", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]:
        changed = files | {path: files[path][:-1] + bytes([files[path][-1] ^ 1])}
        with pytest.raises(ProofError):
            history.log_from_tiles(changed.__getitem__, 70_000, log.root())
        with pytest.raises(ProofError):
            history.log_from_tiles((files | {path: files[path][:-32]}).__getitem__, 70_000, log.root())


def test_a_log_of_another_implementation_is_read_with_its_checkpoints():
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    files = {path: base64.b64decode(text) for path, text in vectors["files_base64"].items()}
    key = history.VerifierKey.parse(vectors["verifier_key"])
    previous = None
    for size in range(16):
        checkpoint = history.open_checkpoint(files[f"checkpoint.{size}"], key)
        assert checkpoint.size == size
        log = history.log_from_tiles(files.__getitem__, size, checkpoint.root)
        for path, numbers in history.new_bundle_paths(size):
            entries = history.entries_of_bundle(files[path])
            assert history.bundle_entries(entries) == files[path]
            assert [merkle.leaf_hash(entry) for entry in entries] == [row.tobytes() for row in log.nodes(0, 0, size)]
            assert len(entries) == len(numbers)
        if previous is not None:
            proof = log.prove_consistency(previous.size)
            merkle.verify_consistency(previous.size, previous.root, size, checkpoint.root, proof)
        previous = checkpoint
    assert {path for path in files if path.startswith("tile/0/")} == {history.tile_path(0, 0, w) for w in range(1, 16)}


def test_the_standards_note_is_verified():
    key = history.VerifierKey.parse(EXAMPLE_KEY)
    assert history.open_note(EXAMPLE_NOTE, [key]) == ("This is an example message.\n", ["example.com/foo"])
    assert str(key) == EXAMPLE_KEY


def test_a_checkpoint_comes_back_as_it_was_signed():
    log = make_log(300)
    note = history.sign_checkpoint(log, ORIGIN, KEY, 299)
    key = history.VerifierKey(ORIGIN, KEY.public_key)
    assert history.open_checkpoint(note, key) == history.Checkpoint(ORIGIN, 299, log.root_at(299))
    assert history.open_checkpoint(note, history.VerifierKey.parse(str(key))).size == 299


def test_the_standards_checkpoint_is_read_and_written_the_same():
    """The example of c2sp.org/tlog-checkpoint."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = history.Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert str(checkpoint) == text


def test_every_changed_byte_of_a_checkpoint_is_refused():
    note = history.sign_checkpoint(make_log(5), ORIGIN, KEY)
    key = history.VerifierKey(ORIGIN, KEY.public_key)
    for i in range(len(note)):
        for changed in (note[:i] + bytes([note[i] ^ 1]) + note[i + 1 :], note[:i]):
            with pytest.raises(LedgerError):
                history.open_checkpoint(changed, key)


def test_notes_follow_the_one_rule_a_key_of_small_order_signs_nothing():
    """R and A the identity and S = 0 satisfy the equation for every text."""
    identity = b"\x01" + bytes(31)
    key = history.VerifierKey(ORIGIN, identity)
    signature = base64.b64encode(key.key_id + identity + bytes(32)).decode()
    with pytest.raises(SignatureError, match="not valid"):
        history.open_note(f"text\n\n— {ORIGIN} {signature}\n".encode(), [key])


def test_signatures_of_unknown_keys_are_ignored_but_not_enough():
    other = SigningKey.from_seed(bytes(32))
    text = str(history.Checkpoint(ORIGIN, 0, make_log(0).root()))
    key = history.VerifierKey(ORIGIN, KEY.public_key)
    witness = history.sign_note(text, "witness.example", other)
    both = history.sign_note(text, ORIGIN, KEY) + witness.split(b"\n\n")[1]
    assert history.open_note(both, [key])[1] == [ORIGIN]
    with pytest.raises(SignatureError):
        history.open_note(witness, [key])


def test_a_signer_counts_once_however_often_its_line_stands_there():
    key = history.VerifierKey(ORIGIN, KEY.public_key)
    note = history.sign_checkpoint(make_log(3), ORIGIN, KEY)
    line = note.split(b"\n\n")[1]
    assert history.open_note(note + 99 * line, [key])[1] == [ORIGIN]
    with pytest.raises(InputError, match="at most 100 signatures, got 101"):
        history.open_note(note + 100 * line, [key])


@pytest.mark.parametrize(
    "fields",
    [
        ("", 1, bytes(32)),
        ("a\nb", 1, bytes(32)),
        ("a", -1, bytes(32)),
        ("a", 1 << 64, bytes(32)),
        ("a", 1, bytes(33)),
        ("a", 1, bytes(32), ("x\ny",)),
        ("a", 1, bytes(32), ("",)),
    ],
)
def test_checkpoints_that_no_text_can_hold_are_refused(fields):
    with pytest.raises(InputError, match="checkpoint"):
        history.Checkpoint(*fields)


def test_a_checkpoint_of_another_origin_is_refused():
    key = history.VerifierKey(ORIGIN, KEY.public_key)
    note = history.sign_note(str(history.Checkpoint("other.example", 0, bytes(32))), ORIGIN, KEY)
    with pytest.raises(InputError, match="origin"):
        history.open_checkpoint(note, key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "a\n+1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "a\n١\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
        "a\n18446744073709551616\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "a\n1\nAAAA\n",
        "\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n",
        "a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
)
def test_checkpoints_written_another_way_are_refused(text):
    with pytest.raises(InputError):
        history.Checkpoint.parse(text)


@pytest.mark.parametrize("bundle", [b"\0", b"\0\2a", bytes(2 * 257), b"\0\1ab"])
def test_broken_bundles_are_refused(bundle):
    with pytest.raises(InputError):
        history.entries_of_bundle(bundle)


@pytest.mark.parametrize(
    "text",
    [
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_verifier_keys_with_another_id_type_or_name_are_refused(text):
    with pytest.raises(InputError):
        history.VerifierKey.parse(text)
