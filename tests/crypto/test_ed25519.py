"""One acceptance rule: every route, kernel, thread count and batch gives the answer of RFC 8032, section 5.1.7."""

import os
import random

import ed25519_cases as support
import numpy as np
import pytest
from cpu_levels import cpu_level
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pyledger.crypto import ed25519
from pyledger.crypto.keys import SigningKey
from pyledger.errors import InputError, SignatureError
from pyledger.reference import ed25519 as reference

by_level = pytest.mark.parametrize("level", support.LEVELS)
by_route = pytest.mark.parametrize("route", support.ROUTES)


def assert_answers(cases, answers):
    wrong = [case.name for case, answer in zip(cases, answers, strict=True) if case.valid != answer]
    assert wrong == []


def signed(count, seed, signers=5):
    """Valid signatures under a few keys, messages of mixed lengths."""
    rng = random.Random(seed)
    keys = [SigningKey.from_seed(rng.randbytes(32)) for _ in range(signers)]
    cases = []
    for i in range(count):
        key, message = rng.choice(keys), rng.randbytes(rng.choice([0, 1, 31, 47, 63, 64, 128, 200]))
        cases.append(support.Case(f"signed {i}", key.public_key, message, key.sign(message), True))
    return cases


def mutated(case, rng):
    """One bit of key, message or signature flipped: invalid by all but certainty."""
    fields = [name for name in ("public_key", "message", "signature") if getattr(case, name)]
    name = rng.choice(fields)
    value = bytearray(getattr(case, name))
    value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
    return case._replace(name=f"{case.name}, {name} changed", valid=False, **{name: bytes(value)})


@pytest.fixture(scope="module")
def adversarial():
    rng = random.Random(4)
    base = signed(1, 3)[0]
    cases = support.torsion_cases(1) + support.scalar_cases(base) + support.encoding_cases(base)
    cases += [mutated(case, rng) for case in support.torsion_cases(2) if case.valid]
    return cases + signed(40, 5) + [mutated(case, rng) for case in signed(60, 6)]


VECTORS = {
    "rfc8032": support.rfc8032_vectors,
    "wycheproof": support.wycheproof_vectors,
    "cctv": support.cctv_vectors,
    "speccheck": support.speccheck_vectors,
}


@pytest.mark.parametrize("origin", VECTORS)
@by_route
@by_level
def test_published_vectors_have_their_answer_on_every_route(level, route, origin):
    cases = [case for case in VECTORS[origin]() if len(case.signature) == 64]
    with cpu_level(level):
        assert_answers(cases, support.ROUTES[route](cases))


@pytest.mark.parametrize("origin", VECTORS)
def test_the_twin_gives_published_vectors_their_answer(origin):
    cases = VECTORS[origin]()[:: 7 if origin == "cctv" else 1]
    assert_answers(cases, [reference.is_valid(case.public_key, case.message, case.signature) for case in cases])


def test_signatures_and_keys_of_another_length_are_refused():
    cases = [case for case in support.wycheproof_vectors() if len(case.signature) != 64]
    assert len(cases) > 5
    assert not support.verify_single(cases).any()
    base = signed(1, 1)[0]
    for key in (base.public_key[:31], base.public_key + b"\0", b""):
        with pytest.raises(SignatureError, match="public_key: expected 32 bytes"):
            ed25519.verify(key, base.message, base.signature)


@by_route
@by_level
def test_adversarial_have_their_answer_on_every_route(level, route, adversarial):
    with cpu_level(level):
        assert_answers(adversarial, support.ROUTES[route](adversarial))


def test_the_twin_gives_adversarial_their_answer(adversarial):
    assert_answers(adversarial, [reference.is_valid(*case[1:4]) for case in adversarial])


@by_level
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 17, 63, 64, 65, 95, 96, 97, 129, 257, 1500])
def test_no_batch_size_or_neighbour_changes_an_answer(level, count, adversarial):
    rng = random.Random(count)
    cases = [rng.choice(adversarial) for _ in range(count)]
    with cpu_level(level):
        for verify in (support.verify_batch, support.verify_with_tables):
            assert_answers(cases, verify(cases))


@by_level
@by_route
def test_one_bad_signature_anywhere_changes_no_other_answer(level, route):
    cases = signed(24, 8)
    with cpu_level(level):
        for place in (0, 7, 8, 23):
            damaged = list(cases)
            damaged[place] = mutated(cases[place], random.Random(place))
            assert_answers(damaged, support.ROUTES[route](damaged))


def accepted_by_cryptography(case):
    try:
        Ed25519PublicKey.from_public_bytes(case.public_key).verify(case.signature, case.message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("wrong_share", [0.0, 0.01, 0.5])
@by_level
def test_answers_agree_with_cryptography_on_random_and_mutated_signatures(level, wrong_share):
    """PYLEDGER_ED25519_RANDOM=85000 (nox -s random_signatures) compares a million; the twin answers thirty a batch."""
    total = int(os.environ.get("PYLEDGER_ED25519_RANDOM", "300"))
    for start in range(0, total, 10_000):
        rng = random.Random(f"{level} {wrong_share} {start}")
        cases = signed(min(10_000, total - start), rng.random(), signers=20)
        cases = [mutated(case, rng) if rng.random() < wrong_share else case for case in cases]
        expected = [accepted_by_cryptography(case) for case in cases]
        stride = max(1, len(cases) // 30)
        assert expected[::stride] == [reference.is_valid(*case[1:4]) for case in cases[::stride]]
        with cpu_level(level):
            for verify in (support.verify_batch, support.verify_in_lanes, support.verify_with_some_tables):
                assert verify(cases).tolist() == expected


@by_level
def test_signatures_valid_only_with_the_cofactor_pass_one_combined_equation(level):
    cases = [case for seed in (21, 22, 23, 24) for case in support.torsion_cases(seed) if case.valid]
    assert len(cases) > 250
    one_wrong = [*cases[:-1], mutated(cases[-1], random.Random(1))]
    with cpu_level(level):
        assert support.verify_batch(cases).all()
        assert_answers(one_wrong, support.verify_batch(one_wrong))


@pytest.mark.parametrize("wrong", [[], [3], [6000], [0, 200, 383, 384, 6000, 6999]])
@by_level
def test_wrong_signatures_among_thousands_are_the_only_ones_refused(level, wrong):
    """So many that the first are settled before the equation over the others is tried."""
    cases = signed(70, 11) * 100
    for place in wrong:
        case = cases[place]
        cases[place] = case._replace(message=case.message + b"x", valid=False)
    keys, messages, signatures, expected = support.pack(cases)
    with cpu_level(level):
        assert np.array_equal(ed25519.verify_many(keys, messages, signatures, threads=1), expected)


def test_batches_beyond_one_equation_and_messages_beyond_64_kib_keep_their_answers():
    """More than 16,384 signatures take a second combined equation; a long message takes many blocks of the hash."""
    rng = random.Random(31)
    long = [rng.randbytes(size) for size in (65_535, 65_536, 65_537, 200_000)]
    key = SigningKey.from_seed(rng.randbytes(32))
    cases = [support.Case(f"{len(text)} bytes", key.public_key, text, key.sign(text), True) for text in long]
    cases += [case._replace(message=case.message[:-1] + b"?", valid=False) for case in cases]
    for verify in support.ROUTES.values():
        assert_answers(cases, verify(cases))
    cases += signed(100, 32) * 165
    for place in (16_383, 16_384, 16_500):
        cases[place] = mutated(cases[place], rng)
    keys, messages, signatures, expected = support.pack(cases)
    for threads in (1, 2):
        assert np.array_equal(ed25519.verify_many(keys, messages, signatures, threads=threads), expected)


@st.composite
def mixes(draw):
    """Indices of adversarial cases, repeated into batches of any size: up to several combined equations."""
    chosen = draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
    return chosen * draw(st.integers(1, 12))


@settings(max_examples=25, deadline=None)
@given(mix=mixes(), threads=st.integers(0, 3))
def test_batch_equals_single_over_any_mix(adversarial, mix, threads):
    cases = [adversarial[i % len(adversarial)] for i in mix]
    keys, messages, signatures, expected = support.pack(cases)
    assert np.array_equal(ed25519.verify_many(keys, messages, signatures, threads=threads), expected)


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 8, 20])
def test_the_answer_does_not_depend_on_the_number_of_threads(threads, adversarial):
    keys, messages, signatures, expected = support.pack(adversarial * 3)
    assert np.array_equal(ed25519.verify_many(keys, messages, signatures, threads=threads), expected)


def test_messages_as_rows_and_as_slices_give_the_same_answers():
    key = SigningKey.from_seed(bytes(32))
    rows = np.arange(5 * 47, dtype=np.uint8).reshape(5, 47)
    signatures = np.frombuffer(b"".join(key.sign(row.tobytes()) for row in rows), np.uint8).reshape(5, 64)
    keys = np.tile(np.frombuffer(key.public_key, np.uint8), (5, 1))
    offsets = np.arange(0, 6 * 47, 47, dtype=np.uint64)
    assert ed25519.verify_many(keys, rows, signatures).all()
    assert ed25519.verify_many(keys, (rows.reshape(-1), offsets), signatures).all()
    assert not ed25519.verify_many(keys, rows[::-1].copy(), signatures)[[0, 1, 3, 4]].any()


def test_an_empty_batch_has_no_answers():
    keys, messages, signatures, _ = support.pack([])
    assert ed25519.verify_many(keys, messages, signatures).shape == (0,)
    registry = ed25519.KeyRegistry()
    assert registry.verify_many(np.empty(0, np.uint32), messages, signatures).shape == (0,)
    assert registry.add(keys).shape == (0,)


def test_arrays_are_never_converted_silently():
    keys, (buffer, offsets), signatures, _ = support.pack(signed(2, 11))
    expected = "expected a C-contiguous array of dtype"
    for arguments, said in (
        ((keys.astype(np.int64), (buffer, offsets), signatures), rf"public_keys: {expected} uint8, got .* dtype int64"),
        ((keys[::-1], (buffer, offsets), signatures), rf"public_keys: {expected} uint8, got .*, not C-contiguous"),
        ((keys.tolist(), (buffer, offsets), signatures), rf"public_keys: {expected} uint8, got list"),
        (
            (keys, (buffer, offsets.astype(np.int64)), signatures),
            rf"messages, offsets: {expected} uint64, got .* int64",
        ),
        ((keys, (buffer.tolist(), offsets), signatures), rf"messages, buffer: {expected} uint8, got list"),
        ((keys, (buffer,), signatures), r"messages: expected \(buffer, offsets\), got 1 items"),
        ((keys, (buffer, offsets), signatures, "2"), "threads: expected int, got str"),
        ((keys, (buffer, offsets)), "missing a required argument: 'signatures'"),
    ):
        with pytest.raises(InputError, match=said):
            ed25519.verify_many(*arguments)
    registry = ed25519.KeyRegistry()
    with pytest.raises(InputError, match=rf"public_keys: {expected} uint8, got list"):
        registry.add([b"k" * 32])
    with pytest.raises(InputError, match=rf"indices: {expected} uint32, got list"):
        registry.verify_many([0, 1], (buffer, offsets), signatures)


def test_shapes_are_checked_by_name():
    keys, (_, offsets), signatures, _ = support.pack(signed(3, 12))
    messages = np.zeros((3, 4), np.uint8)
    wrong_calls = {
        "public_keys": (keys[:2], messages, signatures),
        "signatures": (keys, messages, signatures[:, :63].copy()),
        "messages: expected shape": (keys, messages[:2], signatures),
        "messages: expected a buffer": (keys, (messages, offsets), signatures),
    }
    for message, arguments in wrong_calls.items():
        with pytest.raises(ValueError, match=message):
            ed25519.verify_many(*arguments)


def test_signatures_need_one_more_offset_than_there_are():
    keys, (buffer, offsets), signatures, _ = support.pack(signed(3, 12))
    for wrong in (np.delete(offsets, 1), np.append(offsets, offsets[-1:])):
        with pytest.raises(ValueError, match=r"offsets: expected shape \(4,\)"):
            ed25519.verify_many(keys, (buffer, wrong), signatures)


# --- registry ---


def key_rows(*keys):
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32)


def test_a_registry_numbers_keys_in_order_and_keeps_known_ones():
    registry = ed25519.KeyRegistry()
    keys = [SigningKey.from_seed(bytes([i]) * 32).public_key for i in range(4)]
    assert registry.add(key_rows(*keys[:2], keys[0])).tolist() == [0, 1, 0]
    assert registry.add(key_rows(keys[2], keys[1], keys[3])).tolist() == [2, 1, 3]
    assert len(registry) == 4
    assert [registry.public_key(i) for i in range(4)] == keys
    with pytest.raises(IndexError, match="expected less than 4"):
        registry.public_key(4)
    with pytest.raises(IndexError, match="expected 0 or more"):
        registry.public_key(-1)


def test_a_registry_refuses_bad_keys_by_row_and_adds_none():
    registry = ed25519.KeyRegistry()
    good = SigningKey.from_seed(bytes(32)).public_key
    small = [reference.encode_point(point) for point in support.TORSION]
    off_curve = (2).to_bytes(32, "little")
    for bad in small:
        with pytest.raises(SignatureError, match=r"public_keys\[1\]: a point of small order"):
            registry.add(key_rows(good, bad))
    for bad in (off_curve, b"\xff" * 32, (reference.PRIME + 3).to_bytes(32, "little")):
        with pytest.raises(SignatureError, match=r"public_keys\[2\]: not the canonical encoding"):
            registry.add(key_rows(good, good, bad))
        with pytest.raises(SignatureError, match=r"public_keys\[0\]: not the canonical encoding"):
            ed25519.check_public_keys(key_rows(bad))
    assert len(registry) == 0
    ed25519.check_public_keys(key_rows(good))


def test_a_registry_names_the_index_it_does_not_know():
    registry = ed25519.KeyRegistry()
    case = signed(1, 13)[0]
    registry.add(key_rows(case.public_key))
    _, messages, signatures, _ = support.pack([case, case])
    with pytest.raises(IndexError, match=r"indices\[1\]: expected less than 1"):
        registry.verify_many(np.array([0, 1], np.uint32), messages, signatures)
    with pytest.raises(ValueError, match="indices: expected 2 rows"):
        registry.verify_many(np.array([0], np.uint32), messages, signatures)


def test_keys_beyond_the_table_memory_give_the_same_answers(adversarial):
    table_bytes = 32 * 128 * 128
    registry = ed25519.KeyRegistry(2 * table_bytes + 1)
    held = [case for case in adversarial if _is_key(case.public_key)]
    indices = registry.add(key_rows(*(case.public_key for case in held)))
    assert len(registry) > 5
    assert registry._native.tables() == 2
    _, messages, signatures, expected = support.pack(held)
    assert np.array_equal(registry.verify_many(indices, messages, signatures), expected)


def _is_key(key):
    try:
        ed25519.check_public_keys(key_rows(key))
    except SignatureError:
        return False
    return True


def test_a_registry_numbers_many_keys_rightly():
    registry = ed25519.KeyRegistry(0)
    keys = key_rows(*(SigningKey.from_seed(i.to_bytes(32, "big")).public_key for i in range(500)))
    assert registry.add(keys).tolist() == list(range(500))
    assert registry.add(keys[::-1].copy()).tolist() == list(range(500))[::-1]
