"""The natives against the plain twin, and against two other libraries: blspy (min-pk) and py-arkworks-bls12381."""

from typing import Any

import pytest
from bls_helpers import certificate, keys, seed_of, validators
from hypothesis import given
from hypothesis import strategies as st

from pyledger import _core
from pyledger.crypto import bls
from pyledger.errors import InputError, LedgerError, ProofError, SignatureError

pytest.importorskip("py_ecc", reason="the twin needs py_ecc")
from pyledger.reference import bls as twin

SUITES: tuple[bls.Suite, ...] = ("min-sig", "min-pk")
suites = pytest.mark.parametrize("suite", SUITES)
PURPOSES: tuple[bls.Purpose, ...] = ("vote", "timeout")


@given(st.binary(min_size=32, max_size=80))
def test_key_generation_agrees_with_the_twin(seed: bytes) -> None:
    assert bls.SecretKey.from_seed(seed).public_key == twin.public_key(twin.derive_key(seed), "min-sig")


@suites
def test_keys_signatures_and_proofs_agree_with_the_twin(suite: bls.Suite) -> None:
    seed = b"the twin signs the same bytes..."
    key, secret = bls.SecretKey.from_seed(seed, suite), twin.derive_key(seed)
    assert key.public_key == twin.public_key(secret, suite)
    assert key.proof_of_possession == twin.proof_of_possession(secret, suite)
    for purpose in PURPOSES:
        for message in (b"", b"block 7", bytes(1000)):
            assert key.sign(message, purpose) == twin.sign(secret, message, purpose, suite)


@suites
@pytest.mark.parametrize("absent", [(), (0,), (1, 3)])
def test_certificate_verdict_agrees_with_the_twin(suite: bls.Suite, absent: tuple[int, ...]) -> None:
    made = certificate(b"block 7", 7, absent, suite)
    entries = twin.read_validators(validators(7, suite).to_bytes())
    parts = twin.read_certificate(made.to_bytes())
    assert twin.certificate_is_right(entries, parts, "vote")
    moved = bls.QuorumCertificate(made.to_bytes().replace(b"block 7", b"block 8"))
    assert not twin.certificate_is_right(entries, twin.read_certificate(moved.to_bytes()), "vote")
    with pytest.raises(ProofError):
        moved.verify(validators(7, suite))


@st.composite
def almost_certificates(draw: st.DrawFn) -> bytes:
    suite = draw(st.sampled_from(SUITES))
    n = draw(st.sampled_from((1, 4, 9)))
    data = bytearray(certificate(draw(st.binary(min_size=1, max_size=9)), n, (), suite).to_bytes())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.one_of(st.integers(0, 5), st.integers(0, len(data) - 1)))
        data[at] = draw(st.integers(0, 255))
    cut = draw(st.integers(-2, 2))
    return bytes(data[:cut] if cut < 0 else data + bytes(cut))


@given(almost_certificates())
def test_certificate_decoder_agrees_with_the_twin(data: bytes) -> None:
    try:
        expected = twin.read_certificate(data)
    except ValueError:
        with pytest.raises(InputError):
            bls.QuorumCertificate(data)
        return
    made = bls.QuorumCertificate(data)
    assert made.to_bytes() == data
    assert tuple(expected) == (made.suite, made.purpose, made.validators, made.message, made.bitmap, made.signature)


@given(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=6))
def test_quorum_agrees_with_the_twin(weights: list[int]) -> None:
    assert validators(len(weights), "min-sig", tuple(weights)).quorum_weight == twin.quorum_weight(weights)


def test_validator_set_decoder_agrees_with_the_twin() -> None:
    data = validators(3).to_bytes()
    entries = twin.read_validators(data)
    assert [e.key for e in entries] == list(validators(3).public_keys)
    assert [e.proof for e in entries] == list(validators(3).proofs)
    for bad in (b"", data[:2], data[:-1], data + b"\0", b"\3" + data[1:], data[:1] + b"\0\0" + data[3:]):
        with pytest.raises(ValueError, match=r"header|length"):
            twin.read_validators(bad)
        with pytest.raises(LedgerError):
            bls.ValidatorSet.from_bytes(bad)


@pytest.fixture
def blspy() -> Any:
    return pytest.importorskip("blspy", reason="blspy has no wheel for this Python")


def test_min_pk_keys_votes_and_proofs_go_to_blspy(blspy: Any) -> None:
    key = keys(1, "min-pk")[0]
    public = blspy.G1Element.from_bytes(key.public_key)
    scheme = blspy.PopSchemeMPL
    assert scheme.verify(public, b"block 7", blspy.G2Element.from_bytes(key.sign(b"block 7")))
    assert not scheme.verify(public, b"block 7", blspy.G2Element.from_bytes(key.sign(b"block 7", "timeout")))
    assert scheme.pop_verify(public, blspy.G2Element.from_bytes(key.proof_of_possession))
    made = certificate(b"block 7", 7, (2,), "min-pk")
    signers = [blspy.G1Element.from_bytes(validators(7, "min-pk").public_keys[i]) for i in made.signers]
    assert scheme.fast_aggregate_verify(signers, b"block 7", blspy.G2Element.from_bytes(made.signature))


def test_min_pk_keys_votes_and_proofs_come_from_blspy(blspy: Any) -> None:
    scheme = blspy.PopSchemeMPL
    secrets = [scheme.key_gen(bytes([i]) * 32) for i in range(1, 5)]
    made = bls.ValidatorSet(
        [bytes(s.get_g1()) for s in secrets], [1] * 4, [bytes(scheme.pop_prove(s)) for s in secrets], "min-pk"
    )
    collector = bls.VoteCollector(made, b"block 7")
    for index, secret in enumerate(secrets):
        collector.add(index, bytes(scheme.sign(secret, b"block 7")))
        assert bls.SecretKey.from_bytes(bytes(secret), "min-pk").public_key == bytes(secret.get_g1())
    certified = collector.certificate()
    assert certified is not None
    certified.verify(made)
    assert certified.signature == bytes(scheme.aggregate([scheme.sign(s, b"block 7") for s in secrets]))


@suites
def test_certificates_satisfy_the_pairing_of_arkworks(suite: bls.Suite) -> None:
    ark = pytest.importorskip("py_arkworks_bls12381", reason="py-arkworks-bls12381 is not installed")
    made = certificate(b"block 7", 4, (1,), suite)
    tag = f"BLS_SIG_BLS12381{'G1' if suite == 'min-sig' else 'G2'}_XMD:SHA-256_SSWU_RO_POP_".encode()
    hashed = _core.bls_hash_to_curve(1 if suite == "min-sig" else 2, made.message, tag)
    key_group, signature_group = (ark.G2Point, ark.G1Point) if suite == "min-sig" else (ark.G1Point, ark.G2Point)
    total = key_group.identity()
    for index in made.signers:
        total = total + key_group.from_compressed_bytes(validators(4, suite).public_keys[index])
    signature = signature_group.from_compressed_bytes(made.signature)
    point = signature_group.from_compressed_bytes(hashed)

    def pairing(key: Any, other: Any) -> Any:
        return ark.GT.pairing(other, key) if suite == "min-sig" else ark.GT.pairing(key, other)

    assert pairing(total, point) == pairing(key_group(), signature)
    assert pairing(total, point) != pairing(key_group(), point)


def test_vote_of_arkworks_is_taken() -> None:
    ark = pytest.importorskip("py_arkworks_bls12381", reason="py-arkworks-bls12381 is not installed")
    secret = ark.Scalar.from_be_bytes(twin.derive_key(seed_of(2)).to_bytes(32, "big"))
    hashed = ark.G1Point.from_compressed_bytes(_core.bls_hash_to_curve(1, b"block 7", _core.bls_tag(1, 0)))
    signature = bytes((hashed * secret).to_compressed_bytes())
    bls.Vote(b"block 7", 2, signature).verify(validators(4))
    with pytest.raises(SignatureError):
        bls.Vote(b"block 8", 2, signature).verify(validators(4))
