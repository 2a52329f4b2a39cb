"""Keys, validator sets, votes and certificates: what holds when nobody cheats, and the canonical encodings."""

import copy
import pickle
import random

import pytest
from bls_helpers import certificate, keys, validators

from pyledger.crypto import bls
from pyledger.errors import InputError, ProofError, SignatureError
from pyledger.reference import bls as twin

SUITES: tuple[bls.Suite, ...] = ("min-sig", "min-pk")
suites = pytest.mark.parametrize("suite", SUITES)


@suites
def test_same_seed_gives_same_key_and_other_seed_another(suite: bls.Suite) -> None:
    first, again, other = (bls.SecretKey.from_seed(bytes([b]) * 32, suite) for b in (1, 1, 2))
    assert first.public_key == again.public_key != other.public_key
    assert len(first.public_key) == {"min-sig": 96, "min-pk": 48}[suite]


def test_generated_keys_differ() -> None:
    assert bls.SecretKey.generate().public_key != bls.SecretKey.generate().public_key


@pytest.mark.parametrize("seed", [b"", bytes(31)])
def test_short_seed_is_refused(seed: bytes) -> None:
    with pytest.raises(InputError, match="at least 32 bytes"):
        bls.SecretKey.from_seed(seed)


ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


@pytest.mark.parametrize("data", [bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32, bytes(31), b"\x01" * 33], ids=len)
def test_secret_key_outside_one_to_r_minus_one_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"\[1, r - 1\]"):
        bls.SecretKey.from_bytes(data)


def test_largest_and_smallest_secret_key_are_taken() -> None:
    for value in (1, ORDER - 1):
        key = bls.SecretKey.from_bytes(value.to_bytes(32, "big"))
        assert key.public_key == twin.public_key(value, "min-sig")


def test_secret_key_shows_and_gives_no_secret() -> None:
    seed = bytes(range(32))
    key = bls.SecretKey.from_seed(seed)
    assert f"{twin.derive_key(seed):x}" not in repr(key)
    assert [name for name in dir(key._native) if not name.startswith("_")] == [
        "from_bytes",
        "from_seed",
        "generate",
        "proof_of_possession",
        "public_key",
        "sign",
    ]
    public = [name for name in dir(key) if not name.startswith("_")]
    assert sorted(public) == [
        "from_bytes",
        "from_seed",
        "generate",
        "proof_of_possession",
        "public_key",
        "sign",
        "suite",
    ]
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leak(key)


@suites
@pytest.mark.parametrize("n", [1, 4, 21, 100])
def test_quorum_makes_a_certificate_that_verifies(suite: bls.Suite, n: int) -> None:
    absent = tuple(range(n - validators(n, suite).quorum_weight))
    made = certificate(b"block 7", n, absent, suite)
    made.verify(validators(n, suite))
    assert made.signers == tuple(i for i in range(n) if i not in absent)
    assert made.message == b"block 7"


@pytest.mark.parametrize(
    ("weights", "quorum"),
    [
        ((1,), 1),
        ((1, 1), 2),
        ((1, 1, 1), 3),
        ((1,) * 4, 3),
        ((1,) * 7, 5),
        ((10, 1, 1), 9),
        ((bls.WEIGHT_MAX,) * 2, None),
    ],
)
def test_quorum_is_the_smallest_weight_above_two_thirds(weights: tuple[int, ...], quorum: int | None) -> None:
    made = validators(len(weights), weights=weights)
    total = sum(weights)
    assert 3 * made.quorum_weight > 2 * total >= 3 * (made.quorum_weight - 1)
    assert quorum is None or made.quorum_weight == quorum


def test_collector_gives_nothing_below_the_quorum() -> None:
    collector = bls.VoteCollector(validators(4), b"m")
    for index in range(2):
        collector.add(index, keys(4)[index].sign(b"m"))
    assert collector.certificate() is None
    assert collector.weight == 2


@suites
def test_votes_with_keys_that_are_held_make_the_same_certificate(suite: bls.Suite) -> None:
    made = validators(4, suite)
    sent, held = bls.VoteCollector(made, b"m", "timeout"), bls.VoteCollector(made, b"m", "timeout")
    for index in (0, 2, 3):
        sent.add(index, keys(4, suite)[index].sign(b"m", "timeout"))
    held.add(2, keys(4, suite)[1].sign(b"m", "timeout"))  # a wrong one in the name of validator 2 gives way
    for index in (0, 2, 3):
        held.sign(keys(4, suite)[index])
    certificate = held.certificate()
    assert certificate is not None
    assert certificate == sent.certificate()
    certificate.verify(made, "timeout")
    assert held.rejected == ()


@suites
def test_only_a_validator_votes_with_its_key(suite: bls.Suite) -> None:
    collector = bls.VoteCollector(validators(4, suite), b"m")
    other = bls.SecretKey.from_seed(b"stranger".ljust(32), suite)
    another_suite = bls.SecretKey.from_seed(b"stranger".ljust(32), "min-pk" if suite == "min-sig" else "min-sig")
    for key in (other, another_suite):
        with pytest.raises(InputError, match="not in the validator set"):
            collector.sign(key)
    assert collector.weight == 0


def test_weights_count_not_heads() -> None:
    weighted = validators(4, weights=(10, 1, 1, 1))
    collector = bls.VoteCollector(weighted, b"m")
    for index in (1, 2, 3):
        collector.add(index, keys(4)[index].sign(b"m"))
    assert collector.certificate() is None
    collector.add(0, keys(4)[0].sign(b"m"))
    made = collector.certificate()
    assert made is not None
    made.verify(weighted)


@suites
def test_validator_set_reads_back_what_it_wrote(suite: bls.Suite) -> None:
    made = validators(5, suite, (1, 2, 3, 4, 2**32 - 1))
    again = bls.ValidatorSet.from_bytes(made.to_bytes())
    assert again == made
    assert again.hash == made.hash
    assert again.public_keys == tuple(key.public_key for key in keys(5, suite))
    assert again.weights == (1, 2, 3, 4, 2**32 - 1)
    assert again.suite == suite
    assert pickle.loads(pickle.dumps(made)) == made


def test_validator_set_hash_depends_on_keys_weights_and_order() -> None:
    secret = keys(3)
    hashes = {
        bls.ValidatorSet([k.public_key for k in ks], weights, [k.proof_of_possession for k in ks]).hash
        for ks, weights in [
            (secret, [1, 1, 1]),
            (secret, [1, 1, 2]),
            (secret[::-1], [1, 1, 1]),
            (secret[:2], [1, 1]),
            (keys(3, "min-sig")[:1] + keys(5)[3:], [1, 1, 1]),
        ]
    }
    assert len(hashes) == 5


@suites
def test_certificate_reads_back_what_it_wrote(suite: bls.Suite) -> None:
    made = certificate(b"block 7", 7, (2,), suite)
    assert bls.QuorumCertificate.from_bytes(made.to_bytes()) == made
    assert pickle.loads(pickle.dumps(made)) == made


def test_certificate_layout_is_the_documented_one() -> None:
    made = certificate(b"block 7", 10, (0, 9))
    expected = b"\x01\x00" + (10).to_bytes(2, "little") + (7).to_bytes(2, "little") + b"block 7" + b"\xfe\x01"
    assert made.to_bytes() == expected + made.signature
    assert len(made.signature) == 48


@suites
@pytest.mark.parametrize("absent", [0, 1, 6])
@pytest.mark.parametrize("count", [1, 2, 17, 70])
@pytest.mark.parametrize("threads", [1, 2])
def test_chain_of_right_certificates_verifies(suite: bls.Suite, absent: int, count: int, threads: int) -> None:
    draw = random.Random(count)
    chain = [certificate(b"block %d" % i, 21, tuple(draw.sample(range(21), absent)), suite) for i in range(count)]
    bls.verify_chain(chain, validators(21, suite), threads=threads)


def test_empty_chain_verifies() -> None:
    bls.verify_chain([], validators(4))


def test_votes_on_different_messages_verify_together() -> None:
    votes = [bls.Vote(b"m%d" % i, i, key.sign(b"m%d" % i)) for i, key in enumerate(keys(21))]
    bls.verify_votes(validators(21), votes)
    votes[13] = bls.Vote(b"other", 13, votes[13].signature)
    with pytest.raises(SignatureError, match="vote 13 of validator 13"):
        bls.verify_votes(validators(21), votes)


def test_single_vote_verifies_itself() -> None:
    vote = bls.Vote(b"m", 2, keys(4)[2].sign(b"m"))
    vote.verify(validators(4))
    with pytest.raises(SignatureError, match="does not match"):
        bls.Vote(b"m", 1, vote.signature).verify(validators(4))


def test_certificate_of_other_validators_is_refused() -> None:
    made = certificate(b"m", 4)
    with pytest.raises(ProofError, match="another number of validators"):
        made.verify(validators(5))
    strangers = [bls.SecretKey.from_seed(bytes([i]) * 32) for i in range(4)]
    others = bls.ValidatorSet(
        [key.public_key for key in strangers], [1] * 4, [key.proof_of_possession for key in strangers]
    )
    with pytest.raises(ProofError, match="does not match"):
        made.verify(others)
    with pytest.raises(ProofError, match="another suite"):
        made.verify(validators(4, "min-pk"))
