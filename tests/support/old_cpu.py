"""Run under an emulated old CPU: the natives import, choose their scalar rows and compute right answers."""

import hashlib

import numpy as np

from pyledger import _core
from pyledger.crypto import ed25519, hashing, merkle
from pyledger.reference import merkle as reference_merkle

assert _core.cpu_features() == [], _core.cpu_features()
leaves = np.arange(37 * 50, dtype=np.uint8).reshape(37, 50)
assert bytes(hashing.sha256_many(leaves)[5]) == hashlib.sha256(leaves[5].tobytes()).digest()
assert bytes(hashing.sha512_many(leaves)[5]) == hashlib.sha512(leaves[5].tobytes()).digest()
assert merkle.root(leaves) == reference_merkle.root([reference_merkle.leaf_hash(row.tobytes()) for row in leaves])

# RFC 8032 section 7.1, test 2.
key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
signature = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
ed25519.verify(key, b"\x72", signature)
print("old CPU: scalar rows agree")
