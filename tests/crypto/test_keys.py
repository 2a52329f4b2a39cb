"""Key files come back only whole, unaltered and with the right passphrase; keys never show their secret."""

import copy
import json
import os
import pickle
import stat

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pyledger.crypto import keys
from pyledger.errors import AuthorisationError, InputError, StorageError

SEED = bytes(range(32))
FAST = 14


@pytest.fixture
def key_path(tmp_path):
    path = tmp_path / "owner.key"
    keys.save(path, SEED, "correct horse", work_factor=FAST)
    return path


def test_a_loaded_key_signs_like_the_saved_one(key_path):
    key = keys.load(key_path, "correct horse")
    assert key.public_key == keys.SigningKey.from_seed(SEED).public_key
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(key.sign(b"message"), b"message")


def test_generated_keys_differ_and_load(tmp_path):
    first = keys.generate(tmp_path / "a", b"p", work_factor=FAST)
    second = keys.generate(tmp_path / "b", b"p", work_factor=FAST)
    assert first.public_key != second.public_key
    assert keys.load(tmp_path / "a", "p").public_key == first.public_key


def test_a_validator_key_file_brings_back_the_same_key(tmp_path):
    key = keys.generate(tmp_path / "v", "p", scheme="bls12381-min-sig", work_factor=FAST)
    assert len(key.public_key) == 96
    assert keys.load(tmp_path / "v", "p").public_key == key.public_key


def test_keys_in_memory_differ():
    assert keys.SigningKey.generate().public_key != keys.SigningKey.generate().public_key


def test_a_key_file_is_for_its_owner_only_and_holds_no_secret(key_path):
    assert stat.S_IMODE(os.stat(key_path).st_mode) == 0o600
    assert SEED.hex() not in key_path.read_text()
    assert os.listdir(key_path.parent) == [key_path.name]


def test_a_key_file_is_never_replaced(key_path):
    before = key_path.read_bytes()
    with pytest.raises(StorageError, match="File exists"):
        keys.generate(key_path, "other", work_factor=FAST)
    assert key_path.read_bytes() == before
    assert os.listdir(key_path.parent) == [key_path.name]


def test_a_wrong_passphrase_is_refused(key_path):
    with pytest.raises(AuthorisationError, match="wrong passphrase"):
        keys.load(key_path, "correct horse ")


OTHER_PUBLIC_KEY = keys.SigningKey.from_seed(bytes(32)).public_key.hex()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("public_key",), OTHER_PUBLIC_KEY),
        (("scheme",), "bls12381-min-sig"),
        (("kdf", "salt"), "00" * 32),
        (("kdf", "log2_n"), 15),
        (("cipher", "nonce"), "00" * 12),
        (("sealed_secret",), "00" * 48),
    ],
)
def test_an_altered_field_is_refused(key_path, path, value):
    fields = json.loads(key_path.read_text())
    place = fields
    for name in path[:-1]:
        place = place[name]
    assert place[path[-1]] != value
    place[path[-1]] = value
    key_path.write_text(json.dumps(fields, indent=2) + "\n")
    with pytest.raises(AuthorisationError, match="altered"):
        keys.load(key_path, "correct horse")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "pyledger/key/v2", "format"),
        (("scheme",), "rsa", "scheme"),
        (("scheme",), ["ed25519"], "scheme"),
        (("kdf", "log2_n"), 40, "log2_n"),
        (("kdf", "log2_n"), True, "log2_n"),
        (("kdf", "r"), 1 << 40, "kdf.r"),
        (("kdf", "extra"), 1, "kdf: expected an object"),
        (("kdf",), [], "kdf: expected an object"),
        (("cipher", "name"), "none", "cipher.name"),
        (("cipher", "nonce"), "00", "nonce"),
        (("sealed_secret",), "AA" * 48, "lower-case"),
        (("note",), "hello", "file: expected an object"),
        (("kdf", "r"), 8.0, "kdf.r"),
        (("kdf", "p"), True, "kdf.p"),
        (("kdf", "log2_n"), 14.0, "log2_n"),
    ],
)
def test_a_file_that_save_cannot_have_written_is_refused(key_path, path, value, message):
    fields = json.loads(key_path.read_text())
    place = fields
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    key_path.write_text(json.dumps(fields))
    with pytest.raises(StorageError, match=message):
        keys.load(key_path, "correct horse")


def test_a_key_file_has_one_spelling(key_path):
    text = key_path.read_text()
    fields = json.loads(text)
    others = [
        text.replace('"scheme": "ed25519"', '"scheme": "x",\n  "scheme": "ed25519"'),
        "\ufeff" + text,
        text + "\n",
        text.rstrip("\n"),
        json.dumps(fields),
        json.dumps(dict(reversed(fields.items())), indent=2) + "\n",
        text.replace("ed25519", "\\u0065d25519"),
    ]
    for other in others:
        assert json.loads(other.removeprefix("\ufeff")) == fields
        key_path.write_text(other, encoding="utf-8")
        with pytest.raises(StorageError, match="not a key file"):
            keys.load(key_path, "correct horse")
    key_path.write_text(text)
    assert keys.load(key_path, "correct horse").public_key.hex() == fields["public_key"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 4000, b"\xff\xfe", b" " * 5000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.key"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="not a key file"):
        keys.load(path, "p")


def test_missing_files_and_bad_arguments_are_refused(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        keys.load(tmp_path / "none", "p")
    for arguments in ({"scheme": "rsa"}, {"work_factor": 13}, {"work_factor": 21}, {"passphrase": ""}):
        with pytest.raises(InputError):
            keys.generate(tmp_path / "k", **{"passphrase": "p", **arguments})
    for arguments in ({"work_factor": 14.0}, {"work_factor": True}, {"passphrase": 5}, {"passphrase": "\ud800"}):
        with pytest.raises(InputError, match=next(iter(arguments))):
            keys.generate(tmp_path / "k", **{"passphrase": "p", "work_factor": FAST, **arguments})
    with pytest.raises(InputError, match="seed_32"):
        keys.SigningKey.from_seed("a" * 32)
    with pytest.raises(InputError, match="seed_32"):
        keys.save(tmp_path / "k", b"short", "p")
    assert os.listdir(tmp_path) == []


def test_a_signing_key_shows_only_its_public_key():
    key = keys.SigningKey.from_seed(SEED)
    assert repr(key) == f"SigningKey(public_key={key.public_key.hex()})"
    assert not hasattr(key, "__dict__")
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            take(key)
    with pytest.raises(TypeError, match="from_seed"):
        keys.SigningKey()
    with pytest.raises(AttributeError):
        key.public_key = b""


def _batch(count, width=5):
    rng = np.random.default_rng(7)
    signers = [keys.SigningKey.from_seed(bytes([i]) * 32) for i in range(3)]
    return signers, rng.integers(0, 3, count), rng.integers(0, 256, (count, width), np.uint8)


@pytest.mark.parametrize("width", [0, 5])
def test_sign_many_equals_single_signing(width):
    signers, index, messages = _batch(50, width)
    signatures = keys.sign_many(signers, index, messages)
    for i in range(50):
        assert signatures[i].tobytes() == signers[index[i]].sign(messages[i].tobytes())


def test_sign_many_in_processes_equals_single_signing_and_reports_progress(monkeypatch):
    monkeypatch.setattr(keys, "_MESSAGES_PER_PROCESS_MIN", 1)
    monkeypatch.setattr(keys, "_CHUNK_MESSAGES", 64)
    signers, index, messages = _batch(300)
    seen = []
    signatures = keys.sign_many(signers, index.astype(np.uint8), messages, processes=2, progress=seen.append)
    assert np.array_equal(signatures, keys._LocalSigner(signers).sign(index, messages))
    assert len(seen) == 5
    assert sorted(seen) == seen
    assert seen[-1] == 300


def test_sign_many_takes_no_messages():
    signers, index, messages = _batch(0)
    assert keys.sign_many(signers, index, messages).shape == (0, 64)


def test_sign_many_names_the_wrong_argument():
    signers, index, messages = _batch(4)
    with pytest.raises(InputError, match="processes"):
        keys.sign_many(signers, index, messages, processes=-1)
    with pytest.raises(InputError, match="messages"):
        keys.sign_many(signers, index, messages.tolist())
    beyond, negative = np.array([0, 1, 3, 0]), np.array([0, -1, 0, 0])
    for wrong_index in (index.tolist(), index[:3], index.astype(float), beyond, negative):
        with pytest.raises(InputError, match="key_index"):
            keys.sign_many(signers, wrong_index, messages)
    for wrong_messages in (messages[0], messages.astype(np.int8)):
        with pytest.raises(InputError, match="messages"):
            keys.sign_many(signers, index, wrong_messages)


def test_a_progress_callback_that_raises_ends_the_call():
    signers, index, messages = _batch(10)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keys.sign_many(signers, index, messages, progress=stop)
