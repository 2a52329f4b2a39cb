"""Secret keys: key files at rest, and signing.

A key file is JSON: scheme, public key, scrypt parameters and the secret sealed with AES-256-GCM under the passphrase's
key; everything outside the ciphertext is authenticated with it. The public key that stands in the file is never
trusted: it is derived again from the secret and compared. No object here gives a secret out; signing itself is done by
`cryptography`, which unlike the verifying kernels works in constant time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import secrets
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from numpy.typing import NDArray

from pyledger import _core
from pyledger.errors import AuthorisationError, InputError, SignatureError, StorageError

__all__ = ["SigningKey", "generate", "load", "save", "sign_many"]

_FORMAT = "pyledger/key/v1"
_FILE_BYTES_MAX = 4096
_SECRET_BYTES = 32
_SALT_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WORK_FACTORS = range(14, 21)  # log2 of scrypt's N; with r = 8 that is 16 MiB to 1 GiB of memory
_SCRYPT_R, _SCRYPT_P = 8, 1
_BLS12381_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001

# Below this many messages a worker process costs more to start (about 0.2 s) than it saves.
_MESSAGES_PER_PROCESS_MIN = 16_384
_CHUNK_MESSAGES = 4096


class Key(Protocol):
    """What every scheme's secret key offers."""

    @property
    def public_key(self) -> bytes:
        """The encoded public key."""


class SigningKey:
    """An Ed25519 secret key that signs and never shows its secret.

    It cannot be pickled or copied, and its representation shows the public key only.
    """

    __slots__ = ("__private_key", "__public_key")
    __private_key: Ed25519PrivateKey
    __public_key: bytes

    def __init__(self) -> None:
        raise TypeError("use SigningKey.generate or from_seed, or keys.generate and keys.load for key files")

    @classmethod
    def generate(cls) -> SigningKey:
        """Draw a key from the system's randomness that lives in this process only; `generate` keeps it in a file."""
        return cls.from_seed(secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def from_seed(cls, seed_32: bytes) -> SigningKey:
        """Make a key from its seed (the secret key of RFC 8032), for samples and tests.

        Parameters
        ----------
        seed_32 : bytes
            32 bytes. Whoever knows them can sign.

        Raises
        ------
        InputError
            If the seed is not 32 bytes long.
        """
        if not isinstance(seed_32, (bytes, bytearray)):
            raise InputError(f"expected bytes, got {type(seed_32).__name__}", field="seed_32")
        if len(seed_32) != _SECRET_BYTES:
            raise InputError(f"expected {_SECRET_BYTES} bytes, got {len(seed_32)}", field="seed_32")
        key = object.__new__(cls)
        key.__private_key = Ed25519PrivateKey.from_private_bytes(seed_32)
        key.__public_key = key.__private_key.public_key().public_bytes_raw()
        return key

    @property
    def public_key(self) -> bytes:
        """The public key, 32 bytes."""
        return self.__public_key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature (RFC 8032, PureEdDSA) of the message."""
        return self.__private_key.sign(message)

    def _hand_over(self, pipe: IO[bytes]) -> None:
        """Write the seed to the pipe of a worker process that signs on this key's behalf."""
        pipe.write(self.__private_key.private_bytes_raw())

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key.hex()})"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a SigningKey cannot be pickled or copied; load it from its key file where it is needed")


class _Scheme(NamedTuple):
    draw_secret: Callable[[], bytes]
    open_secret: Callable[[bytes], Any]


def _draw_bls_secret() -> bytes:
    return (secrets.randbelow(_BLS12381_ORDER - 1) + 1).to_bytes(_SECRET_BYTES, "big")


def _open_bls_secret(secret: bytes) -> Any:
    return importlib.import_module("pyledger.crypto.bls").SecretKey.from_bytes(secret)


_SCHEMES = {
    "ed25519": _Scheme(lambda: secrets.token_bytes(_SECRET_BYTES), SigningKey.from_seed),
    "bls12381-min-sig": _Scheme(_draw_bls_secret, _open_bls_secret),
}


def generate(path: str | Path, passphrase: str | bytes, *, scheme: str = "ed25519", work_factor: int = 17) -> Any:
    """Draw a new key from the system's randomness, write its key file and return the key.

    Parameters and errors are those of `save`.

    Returns
    -------
    SigningKey or pyledger.crypto.bls.SecretKey
        By scheme.
    """
    secret = _find_scheme(scheme).draw_secret()
    return save(path, secret, passphrase, scheme=scheme, work_factor=work_factor)


def save(
    path: str | Path, secret: bytes, passphrase: str | bytes, *, scheme: str = "ed25519", work_factor: int = 17
) -> Any:
    """Write a secret that the caller holds into a new key file, readable by its owner only, and return the key.

    Parameters
    ----------
    path : str or Path
        The file; it must not exist. It appears whole or not at all.
    secret : bytes
        32 bytes: the seed for "ed25519", the big-endian scalar for "bls12381-min-sig".
    passphrase : str or bytes
        Not empty; text is encoded as UTF-8.
    scheme : str
        "ed25519" or "bls12381-min-sig".
    work_factor : int
        log2 of scrypt's N, in [14, 20]; each step doubles time and memory (17: 128 MiB).

    Raises
    ------
    InputError
        If an argument is out of range.
    StorageError
        If the file exists or cannot be written.
    """
    key = _find_scheme(scheme).open_secret(secret)
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    _write_new_file(Path(path), _seal(secret, passphrase, scheme, work_factor, salt, nonce))
    return key


def _seal(secret: bytes, passphrase: str | bytes, scheme: str, work_factor: int, salt: bytes, nonce: bytes) -> bytes:
    """Return the content of a key file. Only samples, whose keys are public, choose salt and nonce themselves."""
    key = _find_scheme(scheme).open_secret(secret)
    if type(work_factor) is not int or work_factor not in _WORK_FACTORS:
        raise InputError(f"expected an integer in [14, 20], got {work_factor!r}", field="work_factor")
    fields: dict[str, Any] = {
        "format": _FORMAT,
        "scheme": scheme,
        "public_key": bytes(key.public_key).hex(),
        "kdf": {"name": "scrypt", "log2_n": work_factor, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": salt.hex()},
        "cipher": {"name": "aes-256-gcm", "nonce": nonce.hex()},
    }
    cipher = AESGCM(_derive_file_key(passphrase, salt, work_factor))
    fields["sealed_secret"] = cipher.encrypt(nonce, secret, _authenticated_text(fields)).hex()
    return _file_text(fields)


def _file_text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=2).encode() + b"\n"


def load(path: str | Path, passphrase: str | bytes) -> Any:
    """Open a key file.

    Returns
    -------
    SigningKey or pyledger.crypto.bls.SecretKey
        By the file's scheme.

    Raises
    ------
    StorageError
        If the file cannot be read or is not a key file.
    AuthorisationError
        If the passphrase is wrong or the file was altered; the two cannot be told apart.
    SignatureError
        If the public key in the file is not the secret's.
    """
    fields = _read_key_file(Path(path))
    salt, nonce = bytes.fromhex(fields["kdf"]["salt"]), bytes.fromhex(fields["cipher"]["nonce"])
    cipher = AESGCM(_derive_file_key(passphrase, salt, fields["kdf"]["log2_n"]))
    sealed = bytes.fromhex(fields.pop("sealed_secret"))
    try:
        secret = cipher.decrypt(nonce, sealed, _authenticated_text(fields))
    except InvalidTag:
        raise AuthorisationError(f"{path}: wrong passphrase, or the key file was altered") from None
    key = _find_scheme(fields["scheme"]).open_secret(secret)
    if bytes(key.public_key).hex() != fields["public_key"]:
        raise SignatureError(f"{path}: the public key in the file does not belong to its secret")
    return key


def _find_scheme(name: str) -> _Scheme:
    if name not in _SCHEMES:
        raise InputError(f"expected one of {', '.join(_SCHEMES)}, got {name!r}", field="scheme")
    return _SCHEMES[name]


def _derive_file_key(passphrase: object, salt: bytes, work_factor: int) -> bytes:
    if not isinstance(passphrase, (str, bytes)) or not passphrase:
        raise InputError("expected text or bytes, at least one character", field="passphrase")
    try:
        text = passphrase.encode() if isinstance(passphrase, str) else passphrase
    except UnicodeEncodeError as error:
        raise InputError(f"expected text that UTF-8 can encode: {error.reason}", field="passphrase") from None
    return Scrypt(salt, length=32, n=1 << work_factor, r=_SCRYPT_R, p=_SCRYPT_P).derive(text)


def _authenticated_text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _write_new_file(path: Path, content: bytes) -> None:
    """Create the file with its whole content or not at all; never replace one, since a key lost is lost for good."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            os.unlink(draft)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageError(f"{path}: cannot write the key file: {error.strerror}") from error


def _read_key_file(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise StorageError(f"{path}: cannot read the key file: {error.strerror}") from error
    try:
        if len(content) > _FILE_BYTES_MAX:
            raise ValueError(f"more than {_FILE_BYTES_MAX} bytes")
        fields: dict[str, Any] = json.loads(content)
        _check_fields(fields)
        if _file_text(fields) != content:  # a name twice, other spaces, another encoding
            raise ValueError("expected the text as `save` writes it")
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path}: not a key file: {error}") from None
    return fields


def _check_fields(fields: Any) -> None:
    """Refuse whatever `save` cannot have written, before any of it sizes an allocation."""
    _check_names(fields, "file", ["format", "scheme", "public_key", "kdf", "cipher", "sealed_secret"])
    _check_names(fields["kdf"], "kdf", ["name", "log2_n", "r", "p", "salt"])
    _check_names(fields["cipher"], "cipher", ["name", "nonce"])
    kdf, cipher = fields["kdf"], fields["cipher"]
    for name, value, expected in (
        ("format", fields["format"], _FORMAT),
        ("kdf.name", kdf["name"], "scrypt"),
        ("kdf.r", kdf["r"], _SCRYPT_R),
        ("kdf.p", kdf["p"], _SCRYPT_P),
        ("cipher.name", cipher["name"], "aes-256-gcm"),
    ):
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"{name}: expected {expected!r}, got {value!r}")
    if type(kdf["log2_n"]) is not int or kdf["log2_n"] not in _WORK_FACTORS:
        raise ValueError(f"kdf.log2_n: expected an integer in [14, 20], got {kdf['log2_n']!r}")
    if not isinstance(fields["scheme"], str) or fields["scheme"] not in _SCHEMES:
        raise ValueError(f"scheme: expected one of {', '.join(_SCHEMES)}, got {fields['scheme']!r}")
    _check_hex(kdf["salt"], "kdf.salt", _SALT_BYTES)
    _check_hex(cipher["nonce"], "cipher.nonce", _NONCE_BYTES)
    _check_hex(fields["sealed_secret"], "sealed_secret", _SECRET_BYTES + _TAG_BYTES)


def _check_names(value: Any, place: str, expected: list[str]) -> None:
    if not isinstance(value, dict) or list(value) != expected:
        raise ValueError(f"{place}: expected an object with {', '.join(expected)}, in this order")


def _check_hex(value: Any, name: str, length: int) -> None:
    if not isinstance(value, str) or len(value) != 2 * length or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"{name}: expected {2 * length} lower-case hexadecimal digits")


def sign_many(
    keys: Sequence[SigningKey],
    key_index: NDArray[Any],
    messages: NDArray[np.uint8],
    *,
    processes: int = 0,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """Sign many messages on all cores.

    `cryptography` holds Python's lock while it signs, so large batches go to worker processes; the seeds reach them
    through pipes only.

    Parameters
    ----------
    keys : sequence of SigningKey
    key_index : integer array, shape (n,)
        Which key signs the message, in [0, len(keys)).
    messages : uint8 array, shape (n, m)
    processes : int
        Number of processes, 0 for one on each core. Small batches are signed in this process whatever is asked.
    progress : callable, optional
        Called from this thread with the number of messages signed so far.

    Returns
    -------
    NDArray[uint8], shape (n, 64)

    Raises
    ------
    InputError
        If shapes, dtypes or numbers differ from the above, or an index is out of range.
    ChildProcessError
        If a worker process died.
    """
    if processes < 0:
        raise InputError(f"expected 0 or more, got {processes}", field="processes")
    _check_sign_many(keys, key_index, messages)
    count = len(messages)
    signatures = np.empty((count, 64), np.uint8)
    processes = min(processes or _core.thread_count(0), count // _MESSAGES_PER_PROCESS_MIN)
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[_LocalSigner | _WorkerProcess] = queue.SimpleQueue()
        if processes < 2 or not sys.executable:
            processes = 1
            idle.put(_LocalSigner(keys))
        else:
            for _ in range(processes):
                idle.put(stack.enter_context(_WorkerProcess(keys)))

        def sign_chunk(start: int) -> int:
            signer = idle.get()
            try:
                chunk = slice(start, min(start + _CHUNK_MESSAGES, count))
                signatures[chunk] = signer.sign(key_index[chunk], messages[chunk])
            finally:
                idle.put(signer)
            return chunk.stop - start

        _run_chunks(sign_chunk, count, processes, progress)
    return signatures


def _run_chunks(
    sign_chunk: Callable[[int], int], count: int, processes: int, progress: Callable[[int], None] | None
) -> None:
    signed = 0
    with ThreadPoolExecutor(processes) as executor:
        futures = [executor.submit(sign_chunk, start) for start in range(0, count, _CHUNK_MESSAGES)]
        try:
            for future in as_completed(futures):
                signed += future.result()
                if progress is not None:
                    progress(signed)
        finally:
            executor.shutdown(cancel_futures=True)


def _check_sign_many(keys: Sequence[SigningKey], key_index: NDArray[Any], messages: NDArray[np.uint8]) -> None:
    for name, array in (("messages", messages), ("key_index", key_index)):
        if not isinstance(array, np.ndarray):
            raise InputError(f"expected an array, got {type(array).__name__}", field=name)
    if messages.ndim != 2 or messages.dtype != np.uint8:
        raise InputError(
            f"expected a uint8 array of shape (n, m), got {messages.dtype} {messages.shape}", field="messages"
        )
    if key_index.shape != (len(messages),) or key_index.dtype.kind not in "iu":
        expected = f"an integer array of shape ({len(messages)},)"
        raise InputError(f"expected {expected}, got {key_index.dtype} {key_index.shape}", field="key_index")
    wrong = np.flatnonzero((key_index < 0) | (key_index >= len(keys)))
    if len(wrong):
        raise InputError(f"[{wrong[0]}]: expected [0, {len(keys)}), got {key_index[wrong[0]]}", field="key_index")


class _LocalSigner:
    """Signs in this process."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._keys = keys

    def sign(self, key_index: NDArray[Any], messages: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pairs = zip(key_index.tolist(), messages, strict=True)
        joined = b"".join(self._keys[index].sign(message.tobytes()) for index, message in pairs)
        return np.frombuffer(joined, np.uint8).reshape(-1, 64)


# Worker protocol: the parent writes the number of keys and the seeds, then for each chunk its message count and width,
# the key indices (u32) and the messages; the worker answers each chunk with its signatures.
_WORKER_KEYS = struct.Struct("<Q")
_WORKER_CHUNK = struct.Struct("<QQ")


class _WorkerProcess:
    """Signs in a process of its own."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        # The child finds modules where this process does: -P keeps the working directory out, PYTHONPATH brings
        # the rest.
        program = [sys.executable, "-P", "-c", "from pyledger.crypto.keys import _serve_parent; _serve_parent()"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._input().write(_WORKER_KEYS.pack(len(keys)))
        for key in keys:
            key._hand_over(self._input())
        self._input().flush()

    def __enter__(self) -> _WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def sign(self, key_index: NDArray[Any], messages: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pipe = self._input()
        pipe.write(_WORKER_CHUNK.pack(*messages.shape))
        pipe.write(key_index.astype("<u4").tobytes())
        pipe.write(messages.tobytes())
        pipe.flush()
        assert self._process.stdout is not None
        answer = self._process.stdout.read(64 * len(messages))
        if len(answer) != 64 * len(messages):
            raise ChildProcessError(f"a signing process ended early, exit code {self._process.wait()}")
        return np.frombuffer(answer, np.uint8).reshape(-1, 64)

    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


def _serve_parent() -> None:
    """Sign chunks for the parent process until it closes the pipe."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    (key_count,) = _WORKER_KEYS.unpack(source.read(_WORKER_KEYS.size))
    signer = _LocalSigner([SigningKey.from_seed(source.read(_SECRET_BYTES)) for _ in range(key_count)])
    while header := source.read(_WORKER_CHUNK.size):
        count, width = _WORKER_CHUNK.unpack(header)
        key_index = np.frombuffer(source.read(4 * count), "<u4")
        messages = np.frombuffer(source.read(width * count), np.uint8).reshape(count, width)
        sink.write(signer.sign(key_index, messages).tobytes())
        sink.flush()
