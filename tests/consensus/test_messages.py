"""Messages and statements: one encoding each, and nothing else is read. Evidence convinces a third party."""

import msgspec
import pytest
from consensus_node import Node
from hypothesis import given
from hypothesis import strategies as st

from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import (
    MESSAGE_BYTES_MAX,
    Acknowledgement,
    Batch,
    BatchCertificate,
    BatchRequest,
    BatchStatement,
    Certificate,
    Message,
    Proposal,
    ProposalStatement,
    Status,
    SyncEntry,
    SyncRequest,
    SyncResponse,
    Timeout,
    TimeoutCertificate,
    TimeoutStatement,
    Vote,
    VoteStatement,
    decode,
    encode,
)
from pyledger.consensus.signing import BlsSigning
from pyledger.consensus.stand_ins import BlsParts
from pyledger.crypto import bls
from pyledger.errors import InputError, ProofError, SignatureError

numbers = st.integers(0, 2**63 - 1)
indexes = st.integers(0, 4095)
hashes = st.binary(min_size=32, max_size=32)
chains = st.binary(min_size=16, max_size=16)
signatures = st.binary(max_size=96)
vote_statements = st.builds(VoteStatement, chains, numbers, numbers, numbers, hashes, hashes, hashes, hashes)
timeout_statements = st.builds(TimeoutStatement, chains, numbers, numbers, numbers, hashes)
batch_statements = st.builds(BatchStatement, chains, numbers, hashes, hashes)
certificates = st.builds(Certificate, vote_statements, st.binary(max_size=9), signatures)
high_rounds = st.lists(st.tuples(indexes, numbers), max_size=4).map(tuple)
timeout_certificates = st.builds(TimeoutCertificate, numbers, numbers, high_rounds, signatures, certificates)
entries = st.lists(st.builds(SyncEntry, st.binary(max_size=9), certificates), max_size=3).map(tuple)
messages = st.one_of(
    st.builds(Proposal, st.binary(max_size=9), certificates, st.none() | timeout_certificates, indexes, signatures),
    st.builds(Vote, vote_statements, indexes, signatures),
    st.builds(Timeout, timeout_statements, certificates, indexes, signatures),
    st.builds(Status, certificates, st.none() | timeout_certificates),
    st.builds(SyncRequest, numbers, hashes),
    st.builds(SyncResponse, entries),
    st.builds(Batch, st.binary(max_size=9)),
    st.builds(Acknowledgement, batch_statements, indexes, signatures),
    st.builds(BatchCertificate, batch_statements, st.binary(max_size=9), signatures),
    st.builds(BatchRequest, hashes),
)


@given(messages)
def test_a_message_comes_back_as_it_was(message):
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_changed_bytes_are_another_message_or_none(message, data):
    encoded = bytearray(encode(message))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        read = decode(bytes(encoded))
    except InputError:
        return
    assert read != message
    assert encode(read) == bytes(encoded)


@given(messages)
def test_bytes_behind_or_missing_are_refused(message):
    encoded = encode(message)
    for wrong in (encoded + b"\0", encoded[:-1], encoded[1:], b"\x02" + encoded[1:]):
        with pytest.raises(InputError):
            decode(wrong)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\xc0", b"\x01\x92\xa4vote\xc0", b"\x01" + b"\x91" * 5000])
def test_rubbish_is_refused(data):
    with pytest.raises(InputError):
        decode(data)


def test_a_message_has_one_encoding():
    encoded = encode(SyncRequest(5, bytes(32)))
    longer = encoded.replace(b"\x05", b"\xcc\x05", 1)
    assert longer != encoded
    with pytest.raises(InputError, match="one encoding"):
        decode(longer)


@pytest.mark.parametrize(
    "wrong",
    [
        SyncRequest(-1, bytes(32)),
        SyncRequest(1 << 63, bytes(32)),
        SyncRequest(1, bytes(31)),
        BatchRequest(bytes(33)),
        Acknowledgement(BatchStatement(bytes(16), 0, bytes(32), bytes(32)), 4096, b""),
        Acknowledgement(BatchStatement(bytes(16), 0, bytes(32), bytes(32)), 0, bytes(97)),
    ],
)
def test_fields_have_their_lengths_and_ranges(wrong):
    with pytest.raises(InputError):
        decode(encode(wrong))


def test_size_is_capped_before_anything_is_read(monkeypatch):
    from pyledger.consensus import messages as module

    monkeypatch.setattr(module, "MESSAGE_BYTES_MAX", 20)
    with pytest.raises(InputError, match="at most 20"):
        module.encode(SyncRequest(5, bytes(32)))
    with pytest.raises(InputError, match="2 to 20"):
        module.decode(bytes(21))
    assert MESSAGE_BYTES_MAX == 1 << 26


def test_every_message_has_a_handler():
    from pyledger.consensus.protocol import _ON_MESSAGE

    assert set(_ON_MESSAGE) == set(Message.__args__)


@given(vote_statements)
def test_vote_statements_are_176_bytes_and_come_back(statement):
    data = statement.to_bytes()
    assert len(data) == VoteStatement.LAYOUT.size == 176
    assert VoteStatement.from_bytes(data) == statement
    for wrong in (data[:-1], data + b"\0", b"\x02" + data[1:], data[:4] + b"\x01" + data[5:]):
        with pytest.raises(InputError):
            VoteStatement.from_bytes(wrong)


@given(st.builds(ProposalStatement, chains, numbers, numbers, hashes, hashes, hashes))
def test_proposal_statements_come_back(statement):
    data = statement.to_bytes()
    assert ProposalStatement.from_bytes(data) == statement
    for wrong in (data[:-1], data + b"\0", data[:4] + b"\x03" + data[5:]):
        with pytest.raises(InputError):
            ProposalStatement.from_bytes(wrong)


def test_statements_of_different_kinds_never_have_the_same_bytes():
    """Those under one tag differ in the kind, which stands at one place in all of them."""
    parts = (bytes(16), 0, 0)
    every = [
        VoteStatement(*parts, 0, *[bytes(32)] * 4),
        TimeoutStatement(*parts, 0, bytes(32)),
        ProposalStatement(*parts, bytes(32), bytes(32), bytes(32)),
        BatchStatement(bytes(16), 0, bytes(32), bytes(32)),
    ]
    assert len({statement.to_bytes()[:8] for statement in every}) == len(every)


# evidence, with real keys


@pytest.fixture(scope="module")
def banks():
    parts = BlsParts()
    return parts, parts.validators(0, range(4), (1, 1, 1, 1))


def signed_pair(banks, first, second, signer=1):
    parts, _ = banks
    key = parts.signing(signer)
    return Evidence(1, first.to_bytes(), key.sign(first), second.to_bytes(), key.sign(second))


def vote_of(banks, **changed):
    plain = {"chain_id": bytes(16), "epoch": 0, "round": 5, "height": 4, "validators_hash": banks[1].hash}
    plain |= {"parent": bytes(32), "block_hash": b"a" * 32, "state_root": bytes(32)}
    return VoteStatement(**{**plain, **changed})


def test_two_votes_or_two_proposals_convince_a_third_party(banks):
    blocks = [ProposalStatement(bytes(16), 0, 5, banks[1].hash, digest * 32, bytes(32)) for digest in (b"a", b"b")]
    contents = [ProposalStatement(bytes(16), 0, 5, banks[1].hash, bytes(32), digest * 32) for digest in (b"a", b"b")]
    for pair in ((vote_of(banks), vote_of(banks, block_hash=b"b" * 32)), blocks, contents):
        evidence = signed_pair(banks, *pair)
        read = Evidence.from_bytes(evidence.to_bytes())
        assert read == evidence
        kind = "vote" if isinstance(pair[0], VoteStatement) else "proposal"
        assert read.verify(bytes(16), banks[1], BlsSigning()) == (kind, 0, 5, 1, banks[1].public_keys[1])
        read.verify(bytes(16), banks[1], BlsSigning())


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({}, "do not differ"),
        ({"round": 6, "block_hash": b"b" * 32}, "one round"),
        ({"epoch": 1, "block_hash": b"b" * 32}, "one round"),
        ({"chain_id": b"x" * 16, "block_hash": b"b" * 32}, "one round"),
        ({"validators_hash": b"x" * 32, "block_hash": b"b" * 32}, "one round"),
    ],
)
def test_statements_that_do_not_contradict_each_other_prove_nothing(banks, changed, match):
    with pytest.raises(ProofError, match=match):
        signed_pair(banks, vote_of(banks), vote_of(banks, **changed)).verify(bytes(16), banks[1], BlsSigning())


def test_a_vote_and_a_proposal_are_no_contradiction(banks):
    proposal = ProposalStatement(bytes(16), 0, 5, banks[1].hash, b"b" * 32, bytes(32))
    with pytest.raises(ProofError, match="one round"):
        signed_pair(banks, vote_of(banks), proposal).verify(bytes(16), banks[1], BlsSigning())


def test_evidence_needs_the_accused_ones_signatures(banks):
    pair = (vote_of(banks), vote_of(banks, block_hash=b"b" * 32))
    replace = msgspec.structs.replace
    right = signed_pair(banks, *pair)
    other = signed_pair(banks, *pair, signer=2)
    wrong = [
        other,
        replace(right, first_signature=other.first_signature),
        replace(right, second_signature=other.second_signature),
        replace(right, second_signature=b""),
        replace(right, validator=4),
        replace(right, validator=-1),
        replace(right, first=right.first[:-1]),
        replace(right, first=b""),
    ]
    for evidence in wrong:
        with pytest.raises(ProofError):
            evidence.verify(bytes(16), banks[1], BlsSigning())
    with pytest.raises(ProofError, match="another chain"):
        right.verify(b"another chain, 16", banks[1], BlsSigning())
    with pytest.raises(ProofError, match="another validator set"):
        right.verify(bytes(16), banks[0].validators(1, range(4), (1, 1, 1, 1)), BlsSigning())


def test_evidence_has_one_encoding(banks):
    data = signed_pair(banks, vote_of(banks), vote_of(banks, block_hash=b"b" * 32)).to_bytes()
    other_version = data[:8] + b"\x02" + data[9:]
    long_index = data.replace(b"\x95\x01", b"\x95\xcc\x01", 1)
    assert long_index != data
    for wrong in (data + b"\0", data[:-1], data[16:], other_version, b"", data[:16], bytes(3000), long_index):
        with pytest.raises(InputError):
            Evidence.from_bytes(wrong)


# BLS behind the interface


def test_bls_names_wrong_signatures_and_sums_the_right_ones(banks):
    parts, validators = banks
    vote = vote_of(banks)
    signatures = {index: parts.signing(index).sign(vote) for index in range(4)}
    signatures[2] = parts.signing(2).sign(vote_of(banks, round=6))
    total, wrong = BlsSigning().aggregate(validators, vote, signatures)
    assert wrong == (2,)
    assert BlsSigning().are_signed_by_all(validators, [(vote, b"\x0b", total)])
    assert not BlsSigning().are_signed_by_all(validators, [(vote, b"\x0f", total)])
    signatures[3] = b"rubbish"
    assert BlsSigning().aggregate(validators, vote, signatures)[1] == (3, 2)


def test_bls_signatures_are_for_one_kind_of_statement(banks):
    parts, validators = banks
    vote = vote_of(banks)
    assert BlsSigning().is_signed(validators, 1, vote, parts.signing(1).sign(vote))
    assert not BlsSigning().is_signed(validators, 2, vote, parts.signing(1).sign(vote))
    assert not BlsSigning().is_signed(validators, 1, vote, b"")
    assert not BlsSigning().is_signed(validators, 9, vote, parts.signing(1).sign(vote))
    timeout = TimeoutStatement(bytes(16), 0, 5, 0, validators.hash)
    assert not BlsSigning().is_signed(validators, 1, timeout, parts.signing(1).sign(vote))


def test_votes_have_a_tag_of_their_own(banks):
    parts, validators = banks
    every = [
        (vote_of(banks), "vote", "timeout"),
        (TimeoutStatement(bytes(16), 0, 5, 0, validators.hash), "timeout", "vote"),
        (ProposalStatement(bytes(16), 0, 5, validators.hash, bytes(32), bytes(32)), "timeout", "vote"),
        (BatchStatement(bytes(16), 0, validators.hash, bytes(32)), "timeout", "vote"),
    ]
    for statement, tag, other in every:
        signed = bls.Vote(statement.to_bytes(), 1, parts.signing(1).sign(statement))
        signed.verify(validators, tag)
        with pytest.raises(SignatureError):
            signed.verify(validators, other)


def test_certificates_of_batches_are_checked_like_those_of_votes(banks):
    parts, validators = banks
    batch = BatchStatement(bytes(16), 0, validators.hash, b"d" * 32)
    total, _ = BlsSigning().aggregate(
        validators, batch, {index: parts.signing(index).sign(batch) for index in range(3)}
    )
    assert BlsSigning().are_signed_by_all(validators, [(batch, b"\x07", total)])
    assert not BlsSigning().are_signed_by_all(validators, [(batch, b"\x0e", total)])


def test_an_observer_signs_nothing(banks):
    assert BlsSigning().public_key is None
    with pytest.raises(InputError, match="no key"):
        BlsSigning().sign(vote_of(banks))


def test_only_a_bls_set_is_taken():
    node = Node()
    statement = node.statement(node.block(1))
    with pytest.raises(InputError, match="ValidatorSet"):
        BlsSigning().is_signed(node.sets[0], 1, statement, b"")
