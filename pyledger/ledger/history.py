"""The history log as others read it: C2SP tlog-tiles, with checkpoints that are signed notes.

The log of header hashes becomes static files that any web server can serve and any client of tiled transparency logs
can check: tiles of 256 hashes, bundles of entries, and a checkpoint that names size and root. These are pure functions:
they give paths and bytes, and `pyledger.ledger.tiles` stores them. Sources: c2sp.org/tlog-tiles,
c2sp.org/tlog-checkpoint, c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pyledger.crypto import ed25519
from pyledger.crypto.keys import SigningKey
from pyledger.crypto.merkle import Log
from pyledger.errors import InputError, ProofError, SignatureError

__all__ = [
    "Checkpoint",
    "VerifierKey",
    "bundle_entries",
    "entries_of_bundle",
    "log_from_tiles",
    "new_bundle_paths",
    "new_tiles",
    "open_checkpoint",
    "open_note",
    "sign_checkpoint",
    "sign_note",
    "tile_path",
]

_TILE_WIDTH = 256
_ENTRY_SIZE_MAX = 0xFFFF
_NOTE_SIZE_MAX = 1 << 20
_NOTE_SIGNATURES_MAX = 100
_SIZE_MAX = (1 << 64) - 1
_ED25519 = b"\x01"


def tile_path(level: int | str, index: int, width: int = _TILE_WIDTH) -> str:
    """Return the path of a tile below the log's prefix, such as ``tile/0/x001/x234/067`` or ``tile/1/000.p/17``.

    Parameters
    ----------
    level : int or "entries"
        Tile level, 0 to 63, or "entries" for a bundle of entries.
    index : int
        Number of the tile on its level.
    width : int
        Hashes in the tile, 1 to 256; fewer than 256 make a partial tile.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if level != "entries" and not (isinstance(level, int) and 0 <= level <= 63):
        raise ValueError(f"level: expected 0 to 63 or 'entries', got {level!r}")
    if index < 0 or not 1 <= width <= _TILE_WIDTH:
        raise ValueError(f"expected index >= 0 and 1 <= width <= {_TILE_WIDTH}, got {index} and {width}")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == _TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def _new_ranges(old_count: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield (index, width) of the tiles over `count` items that differ from those over the first `old_count`."""
    for index in range(old_count // _TILE_WIDTH, -(-count // _TILE_WIDTH)):
        width = min(_TILE_WIDTH, count - index * _TILE_WIDTH)
        if index * _TILE_WIDTH + width > old_count:
            yield index, width


def new_tiles(log: Log, size: int, old_size: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each tile of the tree of `size` leaves that the tree of `old_size` did not have.

    Only the last tile of a level can be partial. Publish a checkpoint after its tiles. Raises ValueError unless
    0 <= old_size <= size <= log.size.
    """
    if not 0 <= old_size <= size <= log.size:
        raise ValueError(f"sizes: expected 0 <= old_size <= size <= {log.size}, got {old_size} and {size}")
    for level in range(64 // 8):
        count, old_count = size >> 8 * level, old_size >> 8 * level
        for index, width in _new_ranges(old_count, count):
            first = index * _TILE_WIDTH
            yield tile_path(level, index, width), log.nodes(8 * level, first, first + width).tobytes()


def new_bundle_paths(size: int, old_size: int = 0) -> Iterator[tuple[str, range]]:
    """Yield path and entry numbers of each bundle that `size` entries need and `old_size` entries did not.

    Raises ValueError unless 0 <= old_size <= size.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"sizes: expected 0 <= old_size <= size, got {old_size} and {size}")
    for index, width in _new_ranges(old_size, size):
        yield tile_path("entries", index, width), range(index * _TILE_WIDTH, index * _TILE_WIDTH + width)


def bundle_entries(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of up to 256 entries: each behind its length, a big-endian u16."""
    if len(entries) > _TILE_WIDTH or any(len(entry) > _ENTRY_SIZE_MAX for entry in entries):
        raise ValueError(f"entries: expected at most {_TILE_WIDTH} entries of at most {_ENTRY_SIZE_MAX} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def entries_of_bundle(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle; raise InputError unless it holds whole entries and at most 256."""
    entries: list[bytes] = []
    place = 0
    while place < len(bundle):
        end = place + 2 + int.from_bytes(bundle[place : place + 2], "big")
        if place + 2 > len(bundle) or end > len(bundle) or len(entries) == _TILE_WIDTH:
            raise InputError(f"bundle: expected at most {_TILE_WIDTH} whole entries, broken at byte {place}")
        entries.append(bundle[place + 2 : end])
        place = end
    return entries


def log_from_tiles(read: Callable[[str], bytes], size: int, root: bytes) -> Log:
    """Read a log of `size` leaves from its tiles and check every tile against the root.

    Parameters
    ----------
    read : callable
        Gives the bytes of a path.
    size, root
        Of a checkpoint that was verified.

    Raises
    ------
    ProofError
        If a tile has another length or does not belong to the tree with this root.
    ValueError
        If the size is negative.
    """
    if size < 0:
        raise ValueError(f"size: expected 0 or more, got {size}")
    log = Log()
    for index, width in _new_ranges(0, size):
        path = tile_path(0, index, width)
        tile = read(path)
        if len(tile) != 32 * width:
            raise ProofError(f"{path}: expected {32 * width} bytes, got {len(tile)}")
        log.extend(np.frombuffer(tile, np.uint8).reshape(-1, 32))
    if log.root() != root:
        raise ProofError(f"tiles of {size} leaves have the root {log.root().hex()}, expected {root.hex()}")
    for path, tile in new_tiles(log, size):
        if not path.startswith("tile/0/") and read(path) != tile:
            raise ProofError(f"{path}: does not hold the roots of the tiles below it")
    return log


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """An Ed25519 key that verifies notes, with its name (`vkey` of signed-note).

    Parameters
    ----------
    name : str
        Not empty, without spaces and plus signs; for a log, its origin.
    public_key : bytes
        32 bytes.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise InputError(f"key name: expected text without spaces, controls and plus signs, got {self.name!r}")
        if len(self.public_key) != 32:
            raise InputError(f"public key: expected 32 bytes, got {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before each signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read ``name+id+key``; raise InputError unless the id is the key's."""
        name, _, rest = text.partition("+")
        key = _from_base64("verifier key", rest.partition("+")[2])
        verifier = cls(name, key[1:]) if key[:1] == _ED25519 else None
        if verifier is None or str(verifier) != text:
            raise InputError(f"verifier key: expected name+id+key of Ed25519 with the key's own id, got {text!r}")
        return verifier


def sign_note(text: str, name: str, key: SigningKey) -> bytes:
    """Return the signed note of a text that ends in a newline, with one Ed25519 signature."""
    if not text.endswith("\n") or not _is_note_text(text):
        raise ValueError("text: expected lines without control characters, the last one ended")
    verifier = VerifierKey(name, key.public_key)
    signature = base64.b64encode(verifier.key_id + key.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n".encode()


def open_note(note: bytes, keys: Sequence[VerifierKey]) -> tuple[str, list[str]]:
    """Return the text of a note and the names of the known keys that signed it.

    Signatures of unknown keys are ignored, as the standard demands, and so is what follows the first signature of a
    key: a signer counts once.

    Raises
    ------
    InputError
        If the bytes are no note, or one of more than 100 signatures.
    SignatureError
        If no known key signed, or a known key's signature is not valid.
    """
    text, signatures = _split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signers: list[str] = []
    for name, signature in signatures:
        key = known.pop((name, signature[:4]), None)
        if key is None:
            continue
        try:
            ed25519.verify(key.public_key, text.encode(), signature[4:])
        except SignatureError:
            raise SignatureError(f"note: signature of {name} is not valid") from None
        signers.append(name)
    if not signers:
        raise SignatureError("note: expected a signature of a known key")
    return text, signers


def _split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > _NOTE_SIZE_MAX:
        raise InputError(f"note: expected at most {_NOTE_SIZE_MAX} bytes, got {len(note)}")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"note: expected UTF-8: {error}") from None
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or not _is_note_text(whole):
        raise InputError("note: expected lines of text, an empty line and signature lines")
    if lines.count("\n") > _NOTE_SIGNATURES_MAX:
        raise InputError(f"note: expected at most {_NOTE_SIGNATURES_MAX} signatures, got {lines.count(chr(10))}")
    return text + "\n", [_signature_line(line) for line in lines[:-1].split("\n")]


def _signature_line(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    signature = _from_base64("note signature", encoded)
    if dash != "—" or not _is_key_name(name) or len(signature) < 5:
        raise InputError(f"note: expected '— name signature', got {line!r}")
    return name, signature


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log claims about itself at one moment.

    Parameters
    ----------
    origin : str
        Name of the log; one line, not empty.
    size : int
        Number of leaves, below 2**64.
    root : bytes
        Root over them, 32 bytes.
    extensions : tuple of str
        Further lines, not empty.

    Raises
    ------
    InputError
        If a field is not as stated.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(not line or "\n" in line for line in (self.origin, *self.extensions)):
            raise InputError("checkpoint: expected an origin and extensions of one line each, none empty")
        if not 0 <= self.size <= _SIZE_MAX:
            raise InputError(f"checkpoint: expected a size below 2**64, got {self.size}")
        if len(self.root) != 32:
            raise InputError(f"checkpoint: expected a root of 32 bytes, got {len(self.root)}")

    def __str__(self) -> str:
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's text; raise InputError unless it is written in the one way."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise InputError("checkpoint: expected at least three lines, none empty, the last one ended")
        size = lines[1]
        if not (size.isascii() and size.isdecimal() and len(size) <= 20):
            raise InputError(f"checkpoint: expected a tree size, got {size!r}")
        checkpoint = cls(lines[0], int(size), _from_base64("checkpoint root", lines[2]), tuple(lines[3:-1]))
        if str(checkpoint) != text:
            raise InputError("checkpoint: expected a size without leading zeros")
        return checkpoint


def sign_checkpoint(log: Log, origin: str, key: SigningKey, size: int | None = None) -> bytes:
    """Return the signed checkpoint of the first `size` leaves of a log (default: all); the origin names the key.

    A log must never sign two checkpoints of which one is not the beginning of the other.
    """
    size = log.size if size is None else size
    return sign_note(str(Checkpoint(origin, size, log.root_at(size))), origin, key)


def open_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    """Return a checkpoint signed by the log whose name is the key's.

    Raises
    ------
    InputError
        If the bytes are no signed checkpoint of this origin.
    SignatureError
        If the key did not sign it.
    """
    text, _ = open_note(note, [key])
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != key.name:
        raise InputError(f"checkpoint: expected origin {key.name!r}, got {checkpoint.origin!r}")
    return checkpoint


def _from_base64(what: str, text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not value or base64.b64encode(value).decode() != text:  # one encoding only: no stray bits behind the last byte
        raise InputError(f"{what}: expected base64, got {text[:80]!r}")
    return value


def _is_note_text(text: str) -> bool:
    return all(character >= " " or character == "\n" for character in text)


def _is_key_name(name: str) -> bool:
    return bool(name) and not any(character.isspace() or character == "+" or character < " " for character in name)
