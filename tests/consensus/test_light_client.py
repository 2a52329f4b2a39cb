"""The light client: from a trusted set to any height, through changes of validators; never past what is proven."""

import hashlib

import pytest
from consensus_chains import CHAIN, GENESIS, certify, make_chain, make_header, make_keys, make_set, with_header

from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.light_client import LightClient, Segment
from pyledger.crypto import bls
from pyledger.errors import InputError, ProofError
from pyledger.ledger.blocks import Header

KEYS, OTHERS = make_keys(4), make_keys(4, salt=9)
FIRST, SECOND = make_set(KEYS), make_set(OTHERS)


def client(**given):
    return LightClient(CHAIN, FIRST, GENESIS, Header.from_bytes, threads=1, **given)


def segment_of(rounds, **given):
    headers, entries = make_chain(FIRST, KEYS, rounds, **given)
    return headers, Segment(entries)


def test_headers_are_final_up_to_the_last_pair_in_successive_rounds():
    headers, segment = segment_of([1, 2, 4, 5, 9])
    light = client()
    assert light.advance(segment) == headers[:3]
    assert (light.height, light.hash, light.epoch) == (3, headers[2].hash, 0)


def test_it_goes_on_where_it_stands_and_skips_ahead():
    headers, entries = make_chain(FIRST, KEYS, range(1, 21))
    light = client()
    light.advance(Segment(entries[:3]))
    assert light.height == 2
    light.advance(Segment(entries[2:4]))
    assert light.height == 3
    assert light.advance(Segment(entries[17:19])) == [headers[17]]


def test_it_follows_a_change_of_validators():
    headers, entries = make_chain(FIRST, KEYS, [1, 2, 3, 5, 6], ends_at=3, next_hash=SECOND.hash)
    light = client()
    assert light.advance(Segment(entries, SECOND.to_bytes())) == headers[:3]
    assert (light.epoch, light.validators, light.height) == (1, SECOND, 3)
    later, more = make_chain(SECOND, OTHERS, [1, 2], parent=headers[2].hash, height=4, epoch=1)
    assert light.advance(Segment(more)) == later[:1]
    with pytest.raises(ProofError, match="another chain, epoch or validator set"):
        light.advance(Segment(make_chain(FIRST, KEYS, [7, 8], parent=later[0].hash, height=5)[1]))


def test_the_old_validators_cannot_go_on_in_the_new_epoch():
    headers, entries = make_chain(FIRST, KEYS, [1, 2], ends_at=1, next_hash=SECOND.hash)
    light = client()
    light.advance(Segment(entries, SECOND.to_bytes()))
    forged = make_chain(FIRST, KEYS, [1, 2], parent=headers[0].hash, height=2, epoch=1)[1]
    with pytest.raises(ProofError, match="another chain, epoch or validator set"):
        light.advance(Segment(forged))


def refused(segment, match, light=None):
    light = light or client()
    before = (light.height, light.hash, light.epoch, light.validators)
    with pytest.raises(ProofError, match=match):
        light.advance(segment)
    assert (light.height, light.hash, light.epoch, light.validators) == before


def test_rounds_that_do_not_follow_make_nothing_final():
    refused(segment_of([1, 3, 5])[1], "two successive rounds")


def test_one_header_is_not_enough():
    _, segment = segment_of([1, 2])
    refused(Segment(segment.entries[:1]), "two headers or more")


def test_the_first_header_stands_on_what_is_final():
    refused(segment_of([1, 2], parent=b"x" * 32)[1], "does not stand on the final header")
    headers, entries = make_chain(FIRST, KEYS, [1, 2, 3])
    light = client()
    light.advance(Segment(entries))
    refused(Segment(entries), "does not stand on the final header", light)
    assert light.hash == headers[1].hash


@pytest.mark.parametrize(
    ("place", "fields", "match"),
    [
        (1, {"parent": b"x" * 32}, "does not stand on the header before"),
        (1, {"height": 3}, "does not stand on the header before"),
        (0, {"chain_id": b"d" * 16}, "another chain"),
        (1, {"chain_id": b"d" * 16}, "another chain"),
        (1, {"epoch": 1}, "another chain, epoch"),
        (1, {"validators_hash": b"x" * 32}, "validator set"),
        (0, {"next_validators_hash": ZERO_HASH}, "closing"),
        (1, {"next_validators_hash": ZERO_HASH}, "closing"),
    ],
)
def test_a_header_out_of_place_is_refused(place, fields, match):
    refused(with_header(segment_of([1, 2])[1], place, FIRST, KEYS, **fields), match)


def test_a_certificate_for_something_else_is_refused():
    _, segment = segment_of([1, 2])
    (first, _), (second, certificate) = segment.entries
    refused(Segment(((first, certificate), (second, certificate))), "for something else")


def test_a_wrong_signature_is_refused():
    headers, segment = segment_of([1, 2])
    forged = certify(headers[1], make_set(OTHERS), OTHERS)
    refused(Segment((segment.entries[0], (segment.entries[1][0], forged))), "certificate 1")


def test_a_certificate_below_a_quorum_is_refused():
    headers, segment = segment_of([1, 2])
    whole = bls.QuorumCertificate(segment.entries[1][1])
    message = whole.message
    total = bls.aggregate_signatures([key.sign(message) for key in KEYS[:2]])
    few = segment.entries[1][1][: 6 + len(message)] + b"\x03" + total
    refused(Segment((segment.entries[0], (headers[1].to_bytes(), few))), "quorum|weight")


def test_rubbish_in_a_segment_is_refused():
    _, segment = segment_of([1, 2])
    refused(Segment((segment.entries[0], (b"rubbish", segment.entries[1][1]))), "block header")
    refused(Segment((segment.entries[0], (segment.entries[1][0], b"rubbish"))), "certificate")


def test_the_next_validators_come_with_the_end_of_an_epoch_only():
    _, entries = make_chain(FIRST, KEYS, [1, 2], ends_at=1, next_hash=SECOND.hash)
    refused(Segment(entries), "expected the next validators")
    refused(Segment(entries, FIRST.to_bytes()), "not those that its header names")
    refused(Segment(entries, SECOND.to_bytes()[:-1]), "next validators")
    refused(Segment(segment_of([1, 2])[1].entries, SECOND.to_bytes()), "only there")


def test_an_end_of_epoch_that_is_not_final_changes_nothing():
    headers, entries = make_chain(FIRST, KEYS, [1, 2, 4], ends_at=2, next_hash=SECOND.hash)
    light = client()
    assert light.advance(Segment(entries)) == headers[:1]
    assert light.validators == FIRST


def test_blocks_behind_the_end_of_an_epoch_are_closing_ones():
    last = make_header(GENESIS, 1, 1, FIRST, SECOND.hash)
    behind = make_header(last.hash, 2, 2, FIRST)
    entries = tuple((each.to_bytes(), certify(each, FIRST, KEYS)) for each in (last, behind))
    refused(Segment(entries, SECOND.to_bytes()), "closing")


def test_possession_of_the_next_keys_is_proven():
    keys = [key.public_key for key in OTHERS]
    proofs = [key.proof_of_possession for key in [*OTHERS[1:], OTHERS[0]]]
    encoded = bytes([1, 4, 0]) + b"".join(
        (1).to_bytes(8, "little") + key + proof for key, proof in zip(keys, proofs, strict=True)
    )
    next_hash = hashlib.sha256(b"pyledger/validators/v1\0" + encoded).digest()
    _, entries = make_chain(FIRST, KEYS, [1, 2], ends_at=1, next_hash=next_hash)
    refused(Segment(entries, encoded), "next validators: validator 0")


def test_segments_have_one_encoding():
    _, segment = segment_of([1, 2])
    assert Segment.from_bytes(segment.to_bytes()) == segment
    for wrong in (b"", b"\xc0", segment.to_bytes() + b"\0", segment.to_bytes()[:-1]):
        with pytest.raises(InputError):
            Segment.from_bytes(wrong)
    longer = b"\x92\xdd" + len(segment.entries).to_bytes(4, "big") + segment.to_bytes()[2:]
    with pytest.raises(InputError, match="one encoding"):
        Segment.from_bytes(longer)
