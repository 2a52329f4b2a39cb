"""Signatures that separate one acceptance rule from another, the published vectors, and every way to verify a batch."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pyledger.crypto import ed25519
from pyledger.errors import SignatureError
from pyledger.reference import ed25519 as reference

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
TABLE_BYTES = 512 << 10  # of one key
LEVELS = ("scalar", "avx2", "avx512", "avx512ifma")


class Case(NamedTuple):
    name: str
    public_key: bytes
    message: bytes
    signature: bytes
    valid: bool


# --- every way to verify ---


def pack(cases: list[Case]):
    """Arrays of a batch: keys, (buffer, offsets), signatures, expected answers."""
    keys = np.frombuffer(b"".join(case.public_key for case in cases), np.uint8).reshape(-1, 32)
    signatures = np.frombuffer(b"".join(case.signature for case in cases), np.uint8).reshape(-1, 64)
    buffer = np.frombuffer(b"".join(case.message for case in cases), np.uint8)
    offsets = np.cumsum([0, *(len(case.message) for case in cases)]).astype(np.uint64)
    return keys, (buffer, offsets), signatures, np.array([case.valid for case in cases])


def verify_single(cases: list[Case]) -> np.ndarray:
    answers = []
    for case in cases:
        try:
            ed25519.verify(case.public_key, case.message, case.signature)
            answers.append(True)
        except SignatureError:
            answers.append(False)
    return np.array(answers)


def verify_batch(cases: list[Case]) -> np.ndarray:
    keys, messages, signatures, _ = pack(cases)
    return ed25519.verify_many(keys, messages, signatures, threads=2)


def verify_in_lanes(cases: list[Case]) -> np.ndarray:
    """Batches below the size from which all equations are combined."""
    parts = [verify_batch(cases[first : first + 29]) for first in range(0, len(cases), 29)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def verify_among_valid(cases: list[Case]) -> np.ndarray:
    """A few at a time among so many valid signatures that all equations are combined."""
    others = [case for case in torsion_cases(99) if case.valid] * 3
    parts = []
    for first in range(0, len(cases), 120):
        answers = verify_batch(cases[first : first + 120] + others)
        assert answers[-len(others) :].all()
        parts.append(answers[: -len(others)])
    return np.concatenate(parts)


def _verify_registered(cases: list[Case], table_bytes_max: int) -> np.ndarray:
    """Signatures under keys that a registry refuses count as refused."""
    registry = ed25519.KeyRegistry(table_bytes_max)
    known: dict[bytes, int] = {}
    for key in {case.public_key for case in cases}:
        try:
            known[key] = int(registry.add(np.frombuffer(key, np.uint8).reshape(1, 32))[0])
        except SignatureError:
            continue
    held = [case for case in cases if case.public_key in known]
    answers = np.zeros(len(cases), bool)
    if held:
        _, messages, signatures, _ = pack(held)
        indices = np.array([known[case.public_key] for case in held], np.uint32)
        answers[[case.public_key in known for case in cases]] = registry.verify_many(indices, messages, signatures)
    return answers


def verify_with_tables(cases: list[Case]) -> np.ndarray:
    return _verify_registered(cases, 1 << 30)


def verify_with_some_tables(cases: list[Case]) -> np.ndarray:
    """Half of the keys have a table; both kinds stand side by side in every batch."""
    return _verify_registered(cases, TABLE_BYTES * (len({case.public_key for case in cases}) // 2))


def verify_without_tables(cases: list[Case]) -> np.ndarray:
    return _verify_registered(cases, 0)


ROUTES: dict[str, Callable[[list[Case]], np.ndarray]] = {
    "single": verify_single,
    "in lanes": verify_in_lanes,
    "combined": verify_among_valid,
    "registered with tables": verify_with_tables,
    "registered, some with tables": verify_with_some_tables,
    "registered without tables": verify_without_tables,
}


# --- published vectors, with the answer under RFC 8032, section 5.1.7, and no key of small order ---


def rfc8032_vectors() -> list[Case]:
    return [
        Case(v["name"], *(bytes.fromhex(v[field]) for field in ("public_key", "message", "signature")), True)
        for v in json.loads((VECTORS / "rfc8032/ed25519.json").read_text())
    ]


def wycheproof_vectors() -> list[Case]:
    groups = json.loads((VECTORS / "wycheproof/ed25519_test.json").read_text())["testGroups"]
    return [
        Case(
            f"wycheproof {test['tcId']}",
            bytes.fromhex(group["publicKey"]["pk"]),
            bytes.fromhex(test["msg"]),
            bytes.fromhex(test["sig"]),
            test["result"] == "valid",
        )
        for group in groups
        for test in group["tests"]
    ]


def cctv_vectors() -> list[Case]:
    """All satisfy the cofactored equation; what we refuse is non-canonical encodings and keys of small order."""
    refused = {"low_order_A", "non_canonical_A", "non_canonical_R"}
    return [
        Case(
            f"cctv {v['number']}",
            bytes.fromhex(v["key"]),
            v["msg"].encode(),
            bytes.fromhex(v["sig"]),
            refused.isdisjoint(v["flags"] or ()),
        )
        for v in json.loads(gzip.decompress((VECTORS / "cctv/ed25519vectors.json.gz").read_bytes()))
    ]


def speccheck_vectors() -> list[Case]:
    """0, 1: A of small order; 2-5: cofactored equation holds; 6, 7: S not below L; 8-11: not canonical."""
    cases = json.loads((VECTORS / "ed25519-speccheck/cases.json").read_text())
    return [
        Case(f"speccheck {i}", *(bytes.fromhex(v[f]) for f in ("pub_key", "message", "signature")), i in (2, 3, 4, 5))
        for i, v in enumerate(cases)
    ]


# --- cases made here ---


def _find_torsion_generator() -> reference.Point:
    for y in range(2, 100):
        point = reference.decode_point(y.to_bytes(32, "little"))
        if point is not None:
            torsion = reference.multiply(reference.ORDER, point)
            if reference.multiply(4, torsion) != reference.IDENTITY:
                return torsion
    raise AssertionError("no point with a component of order 8")


TORSION = [reference.multiply(i, _find_torsion_generator()) for i in range(8)]


def sign_with_torsion(secret: int, nonce: int, message: bytes, key_torsion: int, r_torsion: int) -> Case:
    """A signature that is right up to torsion: valid by the cofactored rule, whatever a cofactorless check says."""
    a = reference.add(reference.multiply(secret, reference.BASE), TORSION[key_torsion])
    r = reference.add(reference.multiply(nonce, reference.BASE), TORSION[r_torsion])
    key, encoded_r = reference.encode_point(a), reference.encode_point(r)
    digest = hashlib.sha512(encoded_r + key + message).digest()
    s = (nonce + int.from_bytes(digest, "little") * secret) % reference.ORDER
    return Case(f"torsion {key_torsion} {r_torsion}", key, message, encoded_r + s.to_bytes(32, "little"), True)


@cache
def torsion_cases(seed: int) -> list[Case]:
    """Every pair of torsion components in A and R; with secret or nonce 0 the point is of small order itself."""
    rng = random.Random(seed)
    cases = []
    for key_torsion in range(8):
        for r_torsion in range(8):
            secret, nonce = rng.randrange(1, reference.ORDER), rng.randrange(1, reference.ORDER)
            cases.append(sign_with_torsion(secret, nonce, rng.randbytes(rng.randrange(60)), key_torsion, r_torsion))
        small_key = sign_with_torsion(0, rng.randrange(reference.ORDER), b"small A", key_torsion, 0)
        cases.append(small_key._replace(name=f"A of small order {key_torsion}", valid=False))
        cases.append(sign_with_torsion(rng.randrange(1, reference.ORDER), 0, b"small R", 0, key_torsion))
    return cases


def _with_s(case: Case, s: int, name: str, valid: bool) -> Case:
    return case._replace(name=name, signature=case.signature[:32] + s.to_bytes(32, "little"), valid=valid)


def scalar_cases(base: Case) -> list[Case]:
    """S at the edges of its range, and S + L, which satisfies the equation but is not below L."""
    s = int.from_bytes(base.signature[32:], "little")
    order = reference.ORDER
    edges = (0, 1, order - 1, order, order + 1, 2**252, 2**253, 2**253 + 1, 2**255 - 1, 2**256 - 1)
    cases = [_with_s(base, edge, f"S = {edge:#x}", False) for edge in edges]
    return [_with_s(base, s + order, "S + L", False), *cases]


def encoding_cases(base: Case) -> list[Case]:
    """R and A replaced by encodings at the edges: not canonical, off the curve, zero, all ones."""
    prime = reference.PRIME
    numbers = [0, 1, 2, prime - 1, prime, prime + 1, prime + 2, 2**255 - 1]
    encodings = [(n | sign << 255).to_bytes(32, "little") for n in numbers for sign in (0, 1)]
    cases = [base._replace(name=f"R = {e.hex()}", signature=e + base.signature[32:], valid=False) for e in encodings]
    cases += [base._replace(name=f"A = {e.hex()}", public_key=e, valid=False) for e in encodings]
    cases += [
        base._replace(name="all zero", public_key=bytes(32), signature=bytes(64), valid=False),
        base._replace(name="all one", public_key=b"\xff" * 32, signature=b"\xff" * 64, valid=False),
    ]
    return cases
