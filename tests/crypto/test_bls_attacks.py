"""What an attacker tries against keys, votes and certificates, one rule a test.

Points that no honest party makes (outside the subgroup, cancelling, shifted) are computed with py_ecc.
"""

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from bls_helpers import certificate, encoded, keys, validators

from pyledger import _core
from pyledger.crypto import bls
from pyledger.errors import InputError, ProofError, SignatureError

pytest.importorskip("py_ecc", reason="the attacker needs py_ecc")
from py_ecc.bls.point_compression import compress_G1, compress_G2, decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import add, curve_order, multiply, neg

from pyledger.reference import bls as twin

SUITES: tuple[bls.Suite, ...] = ("min-sig", "min-pk")
suites = pytest.mark.parametrize("suite", SUITES)


def point(data: bytes) -> Any:
    halves = [int.from_bytes(data[i : i + 48], "big") for i in range(0, len(data), 48)]
    return decompress_G1(halves[0]) if len(data) == 48 else decompress_G2((halves[0], halves[1]))


def data_of(p: Any, size: int) -> bytes:
    if size == 48:
        return int(compress_G1(p)).to_bytes(48, "big")
    return b"".join(int(half).to_bytes(48, "big") for half in compress_G2(p))


def plus(*terms: bytes) -> bytes:
    total = point(terms[0])
    for term in terms[1:]:
        total = add(total, point(term))
    return data_of(total, len(terms[0]))


def minus(a: bytes) -> bytes:
    return data_of(neg(point(a)), len(a))


def infinity(size: int) -> bytes:
    return b"\xc0" + bytes(size - 1)


def cofactor_point(size: int) -> bytes:
    """A point other than infinity whose order divides the cofactor: r times a point of the whole curve."""
    for x in range(1, 100):
        try:
            whole = point(b"\x80" + bytes(size - 2) + bytes([x]))
        except ValueError:
            continue
        return data_of(multiply(whole, curve_order), size)
    raise AssertionError("no point found")


def signature_size(suite: bls.Suite) -> int:
    return 48 if suite == "min-sig" else 96


def key_size(suite: bls.Suite) -> int:
    return 96 if suite == "min-sig" else 48


def chain_with(suite: bls.Suite, count: int, replaced: dict[int, bytes]) -> list[bls.QuorumCertificate]:
    """Certificates of four validators; those of `replaced` have another signature."""
    chain = []
    for i in range(count):
        right = certificate(b"block %d" % i, 4, (), suite)
        chain.append(
            bls.QuorumCertificate(encoded(right.message, right.signers, 4, replaced[i], suite))
            if i in replaced
            else right
        )
    return chain


# Signatures: subgroup membership, infinity, purposes ------------------------------------------------------------------


@pytest.fixture(params=["native", "scalar"])
def cpu_level(request: pytest.FixtureRequest) -> Iterator[None]:
    _core.force_cpu_level(request.param)
    yield
    _core.force_cpu_level("native")


@pytest.mark.usefixtures("cpu_level")
@suites
@pytest.mark.parametrize("count", [1, 5, 80])
def test_signature_moved_out_of_the_subgroup_is_refused(suite: bls.Suite, count: int) -> None:
    right = certificate(b"block 0", 4, (), suite).signature
    torsion = cofactor_point(len(right))
    chain = chain_with(suite, count, {0: plus(right, torsion)})
    with pytest.raises(ProofError, match=r"certificate 0 .*outside the prime-order subgroup"):
        bls.verify_chain(chain, validators(4, suite))


@pytest.mark.usefixtures("cpu_level")
@suites
def test_two_signatures_whose_cofactor_parts_cancel_are_refused(suite: bls.Suite) -> None:
    torsion = cofactor_point(signature_size(suite))
    moved = {
        3: plus(certificate(b"block 3", 4, (), suite).signature, torsion),
        70: plus(certificate(b"block 70", 4, (), suite).signature, minus(torsion)),
    }
    for _ in range(5):
        with pytest.raises(ProofError, match=r"certificate 3 .*outside the prime-order subgroup"):
            bls.verify_chain(chain_with(suite, 80, moved), validators(4, suite))


@pytest.mark.usefixtures("cpu_level")
@suites
def test_vote_outside_the_subgroup_is_dropped_and_named(suite: bls.Suite) -> None:
    collector = bls.VoteCollector(validators(4, suite), b"m")
    votes = [key.sign(b"m") for key in keys(4, suite)]
    votes[1] = plus(votes[1], cofactor_point(len(votes[1])))
    for index, vote in enumerate(votes):
        collector.add(index, vote)
    made = collector.certificate()
    assert collector.rejected == (1,)
    assert made is not None
    assert made.signers == (0, 2, 3)
    made.verify(validators(4, suite))


@suites
def test_infinity_is_refused_as_signature_vote_and_proof(suite: bls.Suite) -> None:
    nothing = infinity(signature_size(suite))
    with pytest.raises(SignatureError, match="infinity"):
        bls.VoteCollector(validators(4, suite), b"m").add(0, nothing)
    with pytest.raises(SignatureError, match="infinity"):
        bls.Vote(b"m", 0, nothing).verify(validators(4, suite))
    with pytest.raises(SignatureError, match="validator 1: the signature is the point at infinity"):
        bls.ValidatorSet(
            validators(2, suite).public_keys, [1, 1], [keys(2, suite)[0].proof_of_possession, nothing], suite
        )
    for count in (1, 5, 80):
        with pytest.raises(ProofError, match=r"certificate 0 .*infinity"):
            bls.verify_chain(chain_with(suite, count, {0: nothing}), validators(4, suite))


@suites
def test_signature_for_one_purpose_is_none_for_another(suite: bls.Suite) -> None:
    key = keys(4, suite)[0]
    for message in (b"m", key.public_key):
        assert len({key.sign(message), key.sign(message, "timeout"), key.proof_of_possession}) == 3
    with pytest.raises(SignatureError, match="does not match"):
        bls.Vote(b"m", 0, key.sign(b"m", "timeout")).verify(validators(4, suite))
    bls.Vote(b"m", 0, key.sign(b"m", "timeout")).verify(validators(4, suite), "timeout")


@suites
def test_vote_on_the_own_key_is_no_proof_of_possession_and_the_proof_no_vote(suite: bls.Suite) -> None:
    key = keys(1, suite)[0]
    for fake in (key.sign(key.public_key), key.sign(key.public_key, "timeout")):
        with pytest.raises(SignatureError, match="validator 0: the signature does not match"):
            bls.ValidatorSet([key.public_key], [1], [fake], suite)
    for purpose in ("vote", "timeout"):
        with pytest.raises(SignatureError, match="does not match"):
            bls.Vote(key.public_key, 0, key.proof_of_possession).verify(validators(1, suite), purpose)


def test_timeout_certificate_is_no_quorum_certificate() -> None:
    made = certificate(b"round 3", 4, (), purpose="timeout")
    made.verify(validators(4), "timeout")
    with pytest.raises(ProofError, match="another purpose"):
        made.verify(validators(4))
    relabelled = bls.QuorumCertificate(encoded(b"round 3", made.signers, 4, made.signature))
    with pytest.raises(ProofError, match="does not match"):
        relabelled.verify(validators(4))


# Validator sets: possession, duplicates, infinity ---------------------------------------------------------------------


@suites
def test_rogue_key_forges_a_sum_but_gets_into_no_validator_set(suite: bls.Suite) -> None:
    honest = validators(3, suite)
    attacker = bls.SecretKey.from_seed(b"attacker" * 4, suite)
    rogue = plus(attacker.public_key, *(minus(key) for key in honest.public_keys))
    everyone = [*honest.public_keys, rogue]
    bls.verify_aggregate(everyone, [b"m"] * 4, attacker.sign(b"m"), suite=suite)  # why possession must be proven
    for proof in (attacker.proof_of_possession, attacker.sign(rogue), honest.proofs[0]):
        with pytest.raises(SignatureError, match="validator 3: the signature does not match"):
            bls.ValidatorSet(everyone, [1] * 4, [*honest.proofs, proof], suite)


@suites
def test_proof_of_another_key_is_refused(suite: bls.Suite) -> None:
    made = validators(5, suite)
    swapped = list(made.proofs)
    swapped[1], swapped[2] = swapped[2], swapped[1]
    with pytest.raises(SignatureError, match="validator 1: the signature does not match"):
        bls.ValidatorSet(made.public_keys, [1] * 5, swapped, suite)


@suites
def test_two_proofs_that_are_right_only_in_sum_are_refused(suite: bls.Suite) -> None:
    made = validators(4, suite)
    shift = keys(4, suite)[0].sign(b"any point of the subgroup")
    proofs = list(made.proofs)
    proofs[1], proofs[3] = plus(proofs[1], shift), plus(proofs[3], minus(shift))
    with pytest.raises(SignatureError, match="validator 1: the signature does not match"):
        bls.ValidatorSet(made.public_keys, [1] * 4, proofs, suite)


@suites
def test_key_in_a_set_twice_is_refused(suite: bls.Suite) -> None:
    made = validators(4, suite)
    order = (0, 1, 2, 1)
    with pytest.raises(SignatureError, match="validator 3: the public key is another validator's too"):
        bls.ValidatorSet([made.public_keys[i] for i in order], [1] * 4, [made.proofs[i] for i in order], suite)


@suites
@pytest.mark.parametrize("n", [4, 80])
def test_key_at_infinity_or_outside_the_subgroup_is_refused(suite: bls.Suite, n: int) -> None:
    made = validators(n, suite)
    public, proofs = list(made.public_keys), list(made.proofs)
    public[2], proofs[2] = infinity(key_size(suite)), infinity(signature_size(suite))
    with pytest.raises(SignatureError, match="validator 2: the public key is the point at infinity"):
        bls.ValidatorSet(public, [1] * n, proofs, suite)
    public[2], proofs[2] = plus(made.public_keys[2], cofactor_point(key_size(suite))), made.proofs[2]
    with pytest.raises(SignatureError, match="validator 2: the public key is outside the prime-order subgroup"):
        bls.ValidatorSet(public, [1] * n, proofs, suite)


def opposite_pairs(pairs: int, suite: bls.Suite) -> tuple[list[bls.SecretKey], bls.ValidatorSet]:
    """Validators k, -k, ... : each proves possession honestly, and all keys together add up to infinity."""
    secret = []
    for i in range(pairs):
        one = bls.SecretKey.from_seed(bytes([i + 1]) * 32, suite)
        opposite = curve_order - twin.derive_key(bytes([i + 1]) * 32)
        secret += [one, bls.SecretKey.from_bytes(opposite.to_bytes(32, "big"), suite)]
    made = bls.ValidatorSet(
        [key.public_key for key in secret], [1] * len(secret), [key.proof_of_possession for key in secret], suite
    )
    return secret, made


@suites
def test_opposite_keys_make_no_certificate_out_of_nothing(suite: bls.Suite) -> None:
    secret, made = opposite_pairs(2, suite)
    collector = bls.VoteCollector(made, b"m")
    for index, key in enumerate(secret):
        collector.add(index, key.sign(b"m"))
    assert collector.certificate() is None
    forged = bls.QuorumCertificate(encoded(b"anything", (0, 1, 2, 3), 4, infinity(signature_size(suite)), suite))
    with pytest.raises(ProofError, match="infinity"):
        forged.verify(made)
    drawn = secret[0].sign(b"anything")
    with pytest.raises(ProofError, match="does not match"):
        bls.QuorumCertificate(encoded(b"anything", (0, 1, 2, 3), 4, drawn, suite)).verify(made)


@suites
@pytest.mark.parametrize(("pairs", "absent"), [(2, 1), (4, 2)], ids=["grouped by signers", "grouped by absentees"])
def test_keys_that_add_up_to_infinity_do_not_disturb_right_certificates(
    suite: bls.Suite, pairs: int, absent: int
) -> None:
    secret, made = opposite_pairs(pairs, suite)
    chain = []
    for i, missing in enumerate(combinations(range(len(secret)), absent)):
        collector = bls.VoteCollector(made, b"block %d" % i)
        for index, key in enumerate(secret):
            if index not in missing:
                collector.add(index, key.sign(b"block %d" % i))
        one = collector.certificate()
        # Whole pairs missing leave whole pairs: keys and votes cancel, and there is no certificate.
        cancels = absent == 2 and missing[0] % 2 == 0 and missing[1] == missing[0] + 1
        assert (one is None) == cancels
        if one is not None:
            one.verify(made)
            chain.append(one)
    bls.verify_chain(chain, made)
    chain[3] = bls.QuorumCertificate(
        encoded(chain[3].message, chain[3].signers, len(secret), chain[2].signature, suite)
    )
    with pytest.raises(ProofError, match=f"certificate 3 of {len(chain)}"):
        bls.verify_chain(chain, made)


@pytest.mark.parametrize("weights", [[1, 0], [1, -1], [1, 2**32], [1, 2**64], [1, 2**64 + 1]])
def test_weights_out_of_range_are_refused(weights: list[int]) -> None:
    made = validators(2)
    with pytest.raises(InputError, match="validator 1: "):
        bls.ValidatorSet(made.public_keys, weights, made.proofs)


def test_zero_weight_in_the_bytes_of_a_set_is_refused() -> None:
    data = validators(2).to_bytes()
    for index in (0, 1):
        at = 3 + index * 152
        with pytest.raises(InputError, match=f"validator {index}: the weight is zero"):
            bls.ValidatorSet.from_bytes(data[:at] + bytes(8) + data[at + 8 :])


@pytest.mark.parametrize("weight", [2**32, 2**63, 2**64 - 1])
def test_a_weight_in_the_bytes_of_a_set_stays_below_two_to_the_32(weight: int) -> None:
    """Two of 2**63 would add up to nothing in 64 bits: no set comes near."""
    data = validators(2).to_bytes()
    for index in (0, 1):
        at = 3 + index * 152
        with pytest.raises(InputError, match=f"validator {index}: the weight is above"):
            bls.ValidatorSet.from_bytes(data[:at] + weight.to_bytes(8, "little") + data[at + 8 :])


def test_the_largest_weights_add_up_exactly() -> None:
    made = validators(3, weights=(bls.WEIGHT_MAX,) * 3)
    assert made.total_weight == 3 * (2**32 - 1)
    assert made.quorum_weight == 2 * (2**32 - 1) + 1
    assert bls.VALIDATORS_MAX * bls.WEIGHT_MAX < 2**44


def test_validator_set_needs_a_weight_and_a_proof_for_each_key() -> None:
    made = validators(2)
    for arguments in ((made.public_keys, [1], made.proofs), (made.public_keys, [1, 1], made.proofs[:1]), ([], [], [])):
        with pytest.raises(InputError, match="expected"):
            bls.ValidatorSet(*arguments)
    with pytest.raises(InputError, match="expected a key of 96"):
        bls.ValidatorSet([key[:48] for key in made.public_keys], [1, 1], made.proofs)


# Certificates: quorum, bitmap, encoding -------------------------------------------------------------------------------


def test_right_signature_of_less_than_a_quorum_is_refused() -> None:
    signatures = [key.sign(b"m") for key in keys(4)]
    for signers in ((0,), (1, 3)):
        data = encoded(b"m", signers, 4, bls.aggregate_signatures([signatures[i] for i in signers]))
        with pytest.raises(ProofError, match="no quorum"):
            bls.QuorumCertificate(data).verify(validators(4))
    three = encoded(b"m", (0, 1, 2), 4, bls.aggregate_signatures(signatures[:3]))
    bls.QuorumCertificate(three).verify(validators(4))
    with pytest.raises(ProofError, match="no quorum"):
        bls.QuorumCertificate(three).verify(validators(4, weights=(1, 1, 1, 2)))


def test_signer_that_did_not_sign_or_is_left_out_breaks_the_certificate() -> None:
    right = certificate(b"m", 7, (6,))
    for signers in (tuple(range(7)), tuple(range(5)), (0, 1, 2, 3, 4, 6)):
        with pytest.raises(ProofError, match="does not match"):
            bls.QuorumCertificate(encoded(b"m", signers, 7, right.signature)).verify(validators(7))


def test_same_vote_counted_twice_breaks_the_certificate() -> None:
    signatures = [keys(4)[i].sign(b"m") for i in (0, 1, 1)]
    data = encoded(b"m", (0, 1, 2), 4, bls.aggregate_signatures(signatures))
    with pytest.raises(ProofError, match="does not match"):
        bls.QuorumCertificate(data).verify(validators(4))


def test_negated_signature_and_other_message_are_refused() -> None:
    right = certificate(b"m", 4)
    for data in (
        encoded(b"m", right.signers, 4, minus(right.signature)),
        encoded(b"n", right.signers, 4, right.signature),
    ):
        with pytest.raises(ProofError, match="does not match"):
            bls.QuorumCertificate(data).verify(validators(4))


@pytest.mark.parametrize("n", [1, 4, 7, 9, 12])
def test_every_padding_bit_of_the_bitmap_must_be_zero(n: int) -> None:
    right = certificate(b"m", n).to_bytes()
    last = 6 + 1 + (n + 7) // 8 - 1
    for padding in range(n % 8, 8):
        data = bytearray(right)
        data[last] |= 1 << padding
        with pytest.raises(InputError, match="padding"):
            bls.QuorumCertificate(bytes(data))


def test_longer_or_shorter_bitmap_is_refused() -> None:
    right = certificate(b"m", 8)
    for bitmap in (b"", b"\xff\x00", b"\xff\xff"):
        with pytest.raises(InputError, match="exactly as long"):
            bls.QuorumCertificate(right.to_bytes()[:7] + bitmap + right.signature)


def test_certificate_signed_by_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="nobody"):
        bls.QuorumCertificate(encoded(b"m", (), 4, infinity(48)))


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, 0, "scheme"),
        (0, 3, "scheme"),
        (1, 2, "purpose"),
        (1, 255, "purpose"),
        (2, 0, "1 to 4096"),
        (4, 0, "1 to 1024"),
    ],
)
def test_unknown_scheme_purpose_or_size_is_refused(at: int, value: int, reason: str) -> None:
    data = bytearray(certificate(b"m", 4).to_bytes())
    data[at] = value
    with pytest.raises(InputError, match=reason):
        bls.QuorumCertificate(bytes(data))


def test_sizes_above_the_caps_are_refused() -> None:
    signature = certificate(b"m", 4).signature
    bls.QuorumCertificate(encoded(bytes(1024), (0,), 4096, signature))
    with pytest.raises(InputError, match="1 to 1024"):
        bls.QuorumCertificate(encoded(bytes(1025), (0,), 4, signature))
    with pytest.raises(InputError, match="1 to 4096"):
        bls.QuorumCertificate(encoded(b"m", (0,), 4097, signature))
    with pytest.raises(InputError, match="1 to 4096"):
        bls.ValidatorSet.from_bytes(b"\x01" + (4097).to_bytes(2, "little") + bytes(4097 * 152))
    for message in (b"", bytes(1025)):
        with pytest.raises(InputError, match="1 to 1024"):
            bls.VoteCollector(validators(4), message)


def test_certificate_fields_cannot_part_from_its_bytes() -> None:
    import dataclasses

    right = certificate(b"m", 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        right.message = b"other"  # type: ignore[misc]
    with pytest.raises((ValueError, TypeError)):
        dataclasses.replace(right, message=b"other")


# Batches: what cancels, what is named ---------------------------------------------------------------------------------


@suites
@pytest.mark.parametrize("count", [2, 9, 70])
def test_two_certificates_that_are_right_only_in_sum_are_refused(suite: bls.Suite, count: int) -> None:
    shift = keys(4, suite)[0].sign(b"any point of the subgroup")
    shifted = {
        0: plus(certificate(b"block 0", 4, (), suite).signature, shift),
        count - 1: plus(certificate(b"block %d" % (count - 1), 4, (), suite).signature, minus(shift)),
    }
    with pytest.raises(ProofError, match=f"certificate 0 of {count}: the signature does not match"):
        bls.verify_chain(chain_with(suite, count, shifted), validators(4, suite))


@suites
def test_signatures_of_two_certificates_exchanged_are_refused(suite: bls.Suite) -> None:
    swapped = {1: certificate(b"block 2", 4, (), suite).signature, 2: certificate(b"block 1", 4, (), suite).signature}
    with pytest.raises(ProofError, match="certificate 1 of 4"):
        bls.verify_chain(chain_with(suite, 4, swapped), validators(4, suite))


@suites
@pytest.mark.parametrize("absent", [0, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_first_wrong_certificate_of_a_chain_is_named(suite: bls.Suite, absent: int, threads: int) -> None:
    draw = random.Random(7)
    chain = [certificate(b"block %d" % i, 10, tuple(draw.sample(range(10), absent)), suite) for i in range(40)]
    for wrong in ((0,), (39,), (17,), (5, 6), (12, 30, 38)):
        tampered = list(chain)
        for i in wrong:
            tampered[i] = bls.QuorumCertificate(
                encoded(b"forged %d" % i, chain[i].signers, 10, chain[i].signature, suite)
            )
        with pytest.raises(ProofError, match=f"certificate {wrong[0]} of 40"):
            bls.verify_chain(tampered, validators(10, suite), threads=threads)


def test_wrong_certificate_is_named_across_internal_batches() -> None:
    key = keys(1)[0]
    right = [encoded(b"m", (0,), 1, key.sign(b"m")), encoded(b"n", (0,), 1, key.sign(b"n"))]
    chain = [bls.QuorumCertificate(right[i % 2]) for i in range(4300)]
    bls.verify_chain(chain, validators(1))
    chain[4200] = bls.QuorumCertificate(encoded(b"o", (0,), 1, key.sign(b"m")))
    with pytest.raises(ProofError, match="certificate 4200 of 4300"):
        bls.verify_chain(chain, validators(1))


# Votes: bad ones found and named, impostors ---------------------------------------------------------------------------


@suites
@pytest.mark.parametrize("bad", [(0,), (20,), (3, 4), (1, 7, 13, 19), (0, 2, 4, 6, 8, 10)])
@pytest.mark.parametrize("threads", [1, 2])
def test_bad_votes_are_named_and_the_rest_certified(suite: bls.Suite, bad: tuple[int, ...], threads: int) -> None:
    collector = bls.VoteCollector(validators(21, suite), b"m", threads=threads)
    for index, key in enumerate(keys(21, suite)):
        collector.add(index, key.sign(b"other" if index in bad else b"m"))
    made = collector.certificate()
    assert collector.rejected == bad
    assert made is not None
    assert made.signers == tuple(i for i in range(21) if i not in bad)
    made.verify(validators(21, suite))


def test_too_many_bad_votes_leave_no_certificate() -> None:
    collector = bls.VoteCollector(validators(4), b"m")
    for index, key in enumerate(keys(4)):
        collector.add(index, key.sign(b"other" if index < 2 else b"m"))
    assert collector.certificate() is None
    assert collector.rejected == (0, 1)
    assert collector.weight == 2
    collector.add(0, keys(4)[0].sign(b"m"))
    made = collector.certificate()
    assert made is not None
    assert made.signers == (0, 2, 3)


@suites
def test_votes_right_only_in_sum_are_no_votes_by_themselves(suite: bls.Suite) -> None:
    shift = keys(4, suite)[0].sign(b"any point of the subgroup")
    votes = [key.sign(b"m") for key in keys(4, suite)]
    votes[1], votes[2] = plus(votes[1], shift), plus(votes[2], minus(shift))
    collector = bls.VoteCollector(validators(4, suite), b"m")
    for index, vote in enumerate(votes):
        collector.add(index, vote)
    made = collector.certificate()
    assert made is not None
    made.verify(validators(4, suite))  # the sum is right, and that is all a certificate says
    proven = collector.proven_votes()
    assert [vote.validator for vote in proven] == [0, 3]
    assert collector.rejected == (1, 2)
    bls.verify_votes(validators(4, suite), proven)
    with pytest.raises(SignatureError, match="vote 1 of validator 1"):
        bls.verify_votes(validators(4, suite), [bls.Vote(b"m", i, vote) for i, vote in enumerate(votes)])


def test_impostor_that_comes_first_does_not_shut_a_validator_out() -> None:
    collector = bls.VoteCollector(validators(4), b"m")
    collector.add(2, keys(4)[1].sign(b"m"))  # rubbish in the name of validator 2
    collector.add(2, keys(4)[2].sign(b"m"))
    for index in (0, 1):
        collector.add(index, keys(4)[index].sign(b"m"))
    made = collector.certificate()
    assert made is not None
    assert made.signers == (0, 1, 2)
    assert collector.rejected == ()


def test_impostor_that_comes_second_is_refused_and_changes_nothing() -> None:
    collector = bls.VoteCollector(validators(4), b"m")
    votes = [key.sign(b"m") for key in keys(4)]
    for index in (0, 1, 2):
        collector.add(index, votes[index])
    with pytest.raises(SignatureError, match="vote of validator 2: "):
        collector.add(2, votes[1])
    collector.add(2, votes[2])
    assert collector.weight == 3
    made = collector.certificate()
    assert made is not None
    made.verify(validators(4))


@pytest.mark.parametrize(
    ("index", "signature", "reason"),
    [
        (-1, None, "expected 0 to 3"),
        (4, None, "expected 0 to 3"),
        (0, b"", "length"),
        (0, bytes(48), "canonical"),
        (0, bytes(96), "length"),
        (0, b"\x9a\x01" + b"\xff" * 46, "canonical"),
        (0, b"\xff" * 48, "canonical"),
    ],
)
def test_malformed_vote_is_refused_when_it_comes(index: int, signature: bytes | None, reason: str) -> None:
    collector = bls.VoteCollector(validators(4), b"m")
    with pytest.raises(SignatureError, match=reason):
        collector.add(index, keys(4)[0].sign(b"m") if signature is None else signature)
    assert collector.weight == 0


def test_vote_for_an_unknown_validator_is_refused() -> None:
    for index in (-1, 4):
        with pytest.raises(SignatureError, match=f"no validator {index}"):
            bls.Vote(b"m", index, keys(4)[0].sign(b"m")).verify(validators(4))


@suites
def test_cancelling_signatures_do_not_add_up_to_a_signature(suite: bls.Suite) -> None:
    one = keys(1, suite)[0].sign(b"m")
    with pytest.raises(SignatureError, match="cancel"):
        bls.aggregate_signatures([one, twin.negated(one)], suite)
