"""A reader of tiled transparency logs that shares no code with pyledger: hashlib, base64 and `cryptography` only.

Written from the texts of c2sp.org/tlog-tiles, c2sp.org/tlog-checkpoint, c2sp.org/signed-note and RFC 6962, section 2.1.
It raises ValueError (InvalidSignature and OSError among what it lets through) where a folder is not such a log.
"""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def read_log(folder, verifier_key):
    """Return (size, root, entries) of the log in a folder, everything in it checked."""
    size, root = read_checkpoint((folder / "checkpoint").read_bytes(), verifier_key)
    entries = [entry for number in range(-(-size // 256)) for entry in read_bundle(folder, number, size)]
    hashes = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    if len(hashes) != size or tree_hash(hashes) != root:
        raise ValueError("the entries do not lead to the checkpoint's root")
    level = 0
    while hashes:
        for number in range(0, len(hashes), 256):
            tile = hashes[number : number + 256]
            if read_tile(folder, level, number // 256, len(tile)) != b"".join(tile):
                raise ValueError(f"tile {level}/{number // 256} does not hold the tree's hashes")
        hashes = [tree_hash(hashes[256 * i : 256 * i + 256]) for i in range(len(hashes) // 256)]
        level += 1
    return size, root, entries


def read_checkpoint(note, verifier_key):
    """Return size and root that the key signed."""
    name, key_id, key = verifier_key.split("+", 2)
    key = base64.b64decode(key, validate=True)
    if key[0] != 1 or hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() != key_id:
        raise ValueError("not an Ed25519 verifier key")
    text, _, lines = note.decode().rpartition("\n\n")
    text += "\n"
    signatures = [line.split(" ") for line in lines.split("\n")[:-1]]
    ours = [line[2] for line in signatures if len(line) == 3 and line[:2] == ["—", name]]
    if len(ours) != 1 or not lines.endswith("\n"):
        raise ValueError("expected one signature of the log")
    signature = base64.b64decode(ours[0], validate=True)
    if signature[:4].hex() != key_id:
        raise ValueError("signed by another key")
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
    origin, size, root, rest = text.split("\n", 3)
    if origin != name or rest or str(int(size)) != size:
        raise ValueError("not a checkpoint of this log")
    return int(size), base64.b64decode(root, validate=True)


def read_bundle(folder, number, size):
    """Entries of a bundle: each behind its length, a big-endian u16."""
    width = min(256, size - 256 * number)
    data, entries = read_tile(folder, "entries", number, width), []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        if len(data) < end:
            raise ValueError(f"bundle {number} is cut off")
        entries.append(data[2:end])
        data = data[end:]
    if len(entries) != width:
        raise ValueError(f"bundle {number} has {len(entries)} entries, expected {width}")
    return entries


def read_tile(folder, level, number, width):
    """Bytes of a tile, whole or partial."""
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = folder / "tile" / str(level) / "/".join(["x" + part for part in parts[:-1]] + parts[-1:])
    return path.read_bytes() if width == 256 else path.with_name(f"{path.name}.p").joinpath(str(width)).read_bytes()


def tree_hash(hashes):
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_hash(hashes[:split]) + tree_hash(hashes[split:])).digest()
