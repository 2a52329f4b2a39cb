"""Finality that a receipt shows: headers, certificates and changes of validators, by the light client and by the
stand-alone verifier, which must agree on what they accept and on what they refuse."""

import dataclasses
import hashlib
import struct

import pytest
from consensus_chains import CHAIN, GENESIS, certify, make_chain, make_header, make_keys, make_set

from pyledger import verifier
from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.light_client import LightClient
from pyledger.consensus.light_client import Segment as ClientSegment
from pyledger.crypto import bls
from pyledger.errors import ProofError, StorageError
from pyledger.ledger.blocks import Header
from pyledger.ledger.commands import Validator
from pyledger.ledger.validators import Office, Roster
from pyledger.node.certified import check_certified
from pyledger.node.verification import _follow, trust_after, trust_of
from pyledger.verifier import ReceiptError, Segment, Trust

ALL_KEYS = [make_keys(4, salt=9 * number) for number in range(3)]
SETS = [make_set(keys) for keys in ALL_KEYS]


def trust_in(epoch, **changes):
    validators = SETS[epoch]
    trust = Trust(CHAIN, validators.public_keys, validators.proofs, validators.weights, (), epoch=epoch)
    return dataclasses.replace(trust, **changes)


TRUST = trust_in(0)


@pytest.fixture(params=["light client", "stand-alone"])
def follow(request):
    return _follow if request.param == "light client" else verifier.follow


class World:
    """Three epochs of three blocks, each ended by two closing ones: headers and certificates."""

    def __init__(self):
        self.headers, self.segments = [], []
        parent, height = GENESIS, 1
        for epoch in range(3):
            following = SETS[epoch + 1].hash if epoch < 2 else None
            ends_at = height + 2 if epoch < 2 else None
            options = {"parent": parent, "height": height, "epoch": epoch, "ends_at": ends_at, "next_hash": following}
            headers, entries = make_chain(SETS[epoch], ALL_KEYS[epoch], [1, 3, 4, 6, 7], **options)
            kept = headers[:3] if ends_at else headers
            self.headers += kept
            parent, height = kept[-1].hash, height + 3
            self.segments.append(Segment(entries, SETS[epoch + 1].to_bytes() if ends_at else b""))

    def change(self, epoch):
        """What shows the end of an epoch, and no more."""
        whole = self.segments[epoch]
        return Segment(whole.entries[2:], whole.next_validators)


WORLD = World()
CHANGES = [WORLD.change(0), WORLD.change(1)]
LAST = Segment(WORLD.segments[2].entries[1:3])


def forged(segment, place, keys, validators, signers=None, **fields):
    """The segment with one header changed, certified as it is then."""
    entries = list(segment.entries)
    header = dataclasses.replace(Header.from_bytes(entries[place][0]), **fields)
    entries[place] = (header.to_bytes(), certify(header, validators, keys, signers))
    return segment._replace(entries=tuple(entries))


# What is shown -------------------------------------------------------------------------------------------------------


def test_a_block_is_shown_through_any_number_of_changes(follow):
    for epoch in range(3):
        for place, count in ((0, 3), (1, 2)):
            entries = WORLD.segments[epoch].entries[place : place + count]
            header = follow(TRUST, [*CHANGES[:epoch], Segment(entries)])
            assert header.hash == WORLD.headers[3 * epoch + place].hash
            assert header.epoch == epoch


def test_a_block_is_final_by_a_later_descendant_alone(follow):
    """Rounds 1, 3 and 4: the first header and its child do not show it, the grandchild does."""
    entries = WORLD.segments[0].entries
    assert follow(TRUST, [Segment(entries[:3])]).hash == WORLD.headers[0].hash
    with pytest.raises(ReceiptError, match="two successive rounds"):
        follow(TRUST, [Segment(entries[:2])])


def test_the_last_block_of_an_epoch_is_shown_by_closing_headers(follow):
    for epoch in range(2):
        header = follow(TRUST, CHANGES[: epoch + 1])
        assert header.hash == WORLD.headers[3 * epoch + 2].hash


def test_who_reached_a_later_epoch_needs_no_way_there(follow):
    client = LightClient(CHAIN, SETS[0], GENESIS, Header.from_bytes)
    for change in CHANGES:
        client.advance(ClientSegment(*change))
    reached = trust_of(TRUST, client)
    assert reached == trust_in(2)
    assert follow(reached, [LAST]).epoch == 2
    header, child = verifier._proven([*CHANGES, LAST], reached, follow)
    assert (header.hash, child.hash) == (LAST_HEADER.hash, SECOND_HEADER.hash)


def test_trust_after_changes_is_that_of_the_validators_in_office_and_is_kept_in_a_file():
    changes = [ClientSegment(*change) for change in CHANGES]
    assert trust_after(TRUST, changes) == trust_in(2)
    assert trust_after(trust_after(TRUST, changes[:1]), changes[1:]) == trust_in(2)
    for trust in (TRUST, trust_in(2)):
        assert verifier.Trust.from_json(trust.to_json()) == trust
    with pytest.raises(ProofError):
        trust_after(TRUST, changes[1:])
    with pytest.raises(ProofError):
        trust_after(trust_in(1), changes[:1])


def test_pairings_of_py_ecc_agree():
    assert verifier.follow(trust_in(0, independent=True), [CHANGES[0], Segment(WORLD.segments[1].entries[1:3])])


# Attacks -------------------------------------------------------------------------------------------------------------

A, B, C = ALL_KEYS
ONE, TWO, THREE = SETS
(HEAD, HEAD_QC), (SECOND, SECOND_QC) = LAST.entries
STRANGERS = make_keys(4, salt=99)
OUTSIDE = make_set(STRANGERS)


def quorum_below(header, keys, count):
    """A certificate of too few, its bitmap and sum right."""
    message = certify(header, THREE, C)[6:182]
    total = bls.aggregate_signatures([key.sign(message) for key in keys[:count]])
    return certify(header, THREE, C)[:182] + bytes([(1 << count) - 1]) + total


def with_stranger(header):
    """Three votes, one of them by a stranger under the number of a validator."""
    message = certify(header, THREE, C)[6:182]
    total = bls.aggregate_signatures([key.sign(message) for key in (C[0], C[1], STRANGERS[2])])
    return certify(header, THREE, C)[:182] + b"\x07" + total


LAST_HEADER = Header.from_bytes(HEAD)
SECOND_HEADER = Header.from_bytes(SECOND)
PADDED = HEAD_QC[:182] + bytes([HEAD_QC[182] | 0x10]) + HEAD_QC[183:]
BEHIND = make_header(LAST_HEADER.hash, LAST_HEADER.height + 2, LAST_HEADER.round + 1, THREE, epoch=2)
WRONG_PROOFS = bytes([1, 4, 0]) + b"".join(
    (1).to_bytes(8, "little") + key.public_key + other.proof_of_possession
    for key, other in zip(B, [*B[1:], B[0]], strict=True)
)
TWICE = bytes([1, 2, 0]) + ((1).to_bytes(8, "little") + B[0].public_key + B[0].proof_of_possession) * 2


def ending_with(encoded):
    """An end of epoch 0 that names validators as they are encoded."""
    named = hashlib.sha256(b"pyledger/validators/v1\0" + encoded).digest()
    _, entries = make_chain(ONE, A, [4, 6, 7], height=3, ends_at=3, next_hash=named)
    return Segment(entries, encoded)


ATTACKS = {
    "no headers": [],
    "empty segment": [*CHANGES, Segment(())],
    "one header": [*CHANGES, Segment(LAST.entries[:1])],
    "a change is left out": [CHANGES[0], LAST],
    "all changes are left out": [LAST],
    "changes in another order": [CHANGES[1], CHANGES[0], LAST],
    "a change twice": [CHANGES[0], *CHANGES, LAST],
    "a change without its validators": [CHANGES[0]._replace(next_validators=b""), CHANGES[1], LAST],
    "a change with other validators": [CHANGES[0]._replace(next_validators=THREE.to_bytes()), CHANGES[1], LAST],
    "a change with cut validators": [CHANGES[0]._replace(next_validators=TWO.to_bytes()[:-1]), CHANGES[1], LAST],
    "validators where no epoch ends": [*CHANGES, LAST._replace(next_validators=ONE.to_bytes())],
    "strangers take over": [
        CHANGES[0]._replace(next_validators=OUTSIDE.to_bytes()),
        Segment(make_chain(OUTSIDE, STRANGERS, [1, 2], height=4, parent=WORLD.headers[2].hash, epoch=1)[1]),
    ],
    "possession of the new keys is not proven": [ending_with(WRONG_PROOFS)],
    "a new key stands twice": [ending_with(TWICE)],
    "a closing header is cut": [CHANGES[0]._replace(entries=CHANGES[0].entries[:2]), CHANGES[1], LAST],
    "the middle of the headers is cut": [Segment((WORLD.segments[0].entries[0], WORLD.segments[0].entries[2]))],
    "certificate of another block": [*CHANGES, Segment(((HEAD, SECOND_QC), LAST.entries[1]))],
    "certificates exchanged": [*CHANGES, Segment(((HEAD, SECOND_QC), (SECOND, HEAD_QC)))],
    "old validators in the new epoch": [*CHANGES, forged(LAST, 0, A, ONE, validators_hash=ONE.hash)],
    "old validators under the new set's hash": [
        *CHANGES,
        Segment(((HEAD, certify(LAST_HEADER, ONE, A)), LAST.entries[1])),
    ],
    "the right set in another epoch": [*CHANGES, forged(forged(LAST, 0, C, THREE, epoch=3), 1, C, THREE, epoch=3)],
    "strangers": [*CHANGES, Segment(((HEAD, certify(LAST_HEADER, OUTSIDE, STRANGERS)), LAST.entries[1]))],
    "a stranger in the bitmap": [*CHANGES, Segment(((HEAD, with_stranger(LAST_HEADER)), LAST.entries[1]))],
    "a padding bit": [*CHANGES, Segment(((HEAD, PADDED), LAST.entries[1]))],
    "below a quorum": [*CHANGES, Segment(((HEAD, quorum_below(LAST_HEADER, C, 2)), LAST.entries[1]))],
    "rounds apart": [*CHANGES, Segment((*LAST.entries[:1], forged(LAST, 1, C, THREE, round=9).entries[1]))],
    "child of another block": [*CHANGES, forged(LAST, 1, C, THREE, parent=b"x" * 32)],
    "height skipped": [*CHANGES, Segment((LAST.entries[0], (BEHIND.to_bytes(), certify(BEHIND, THREE, C))))],
    "another chain": [*CHANGES, forged(LAST, 0, C, THREE, chain_id=b"d" * 16)],
    "a closing header where no epoch ends": [*CHANGES, forged(LAST, 1, C, THREE, next_validators_hash=ZERO_HASH)],
    "below the end of the epoch before": [
        *CHANGES,
        Segment(make_chain(THREE, C, [1, 2], height=6, parent=WORLD.headers[4].hash, epoch=2)[1]),
    ],
    "not on the end of the epoch before": [
        *CHANGES,
        Segment(make_chain(THREE, C, [1, 2], height=7, parent=b"x" * 32, epoch=2)[1]),
    ],
    "header of another size": [*CHANGES, Segment(((HEAD[:-1], HEAD_QC), LAST.entries[1]))],
    "header of another version": [*CHANGES, Segment(((b"\2" + HEAD[1:], HEAD_QC), LAST.entries[1]))],
    "rubbish for a certificate": [*CHANGES, Segment(((HEAD, b"rubbish"), LAST.entries[1]))],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_finality_are_refused_by_both(name, follow):
    with pytest.raises(ReceiptError):
        verifier._proven(ATTACKS[name], TRUST, follow)


def test_an_earlier_epoch_is_not_shown_to_who_trusts_a_later_one(follow):
    with pytest.raises(ReceiptError, match="epoch 2 or later"):
        verifier._proven([CHANGES[0]], trust_in(2), follow)
    with pytest.raises(ReceiptError):
        verifier._proven([LAST], trust_in(1), follow)


@pytest.mark.parametrize("place", [1, 2])
def test_nothing_unchecked_stands_behind_what_is_shown(place, follow):
    """A segment of an earlier epoch is left where it stands in front only; its headers may be anybody's."""
    segments = [LAST, CHANGES[1]] if place == 1 else [CHANGES[0], LAST, CHANGES[1]]
    with pytest.raises(ReceiptError):
        verifier._proven(segments, trust_in(2), follow)
    with pytest.raises(ReceiptError, match="two headers or more"):
        verifier._proven([*segments, Segment(LAST.entries[:1])], trust_in(2), follow)


def office_of(keys):
    validators = (Validator("BANKAAXX", 1, key.public_key, key.proof_of_possession) for key in keys)
    return Roster(tuple(validators))


def test_a_journal_shows_the_end_of_an_epoch_to_be_final():
    """Opening and audits refuse an end without its closing blocks, with others, and closing blocks anywhere else."""
    office = Office(office_of(A), from_height=4, successor=office_of(B))
    (last, certificate), *closing = CHANGES[0].entries
    ends, plain = Header.from_bytes(last), WORLD.headers[0]
    whole = ClientSegment(tuple(closing), TWO.to_bytes())
    check_certified(ends, (certificate, whole), office)
    strangers = tuple((header, certify(Header.from_bytes(header), OUTSIDE, STRANGERS)) for header, _ in closing)
    for wrong in (
        None,
        ClientSegment(tuple(closing[:1]), TWO.to_bytes()),
        ClientSegment(tuple(closing), THREE.to_bytes()),
        ClientSegment(tuple(closing)),
        ClientSegment(strangers, TWO.to_bytes()),
    ):
        with pytest.raises((ProofError, StorageError)):
            check_certified(ends, (certificate, wrong), office)
    first_certificate = WORLD.segments[0].entries[0][1]
    check_certified(plain, (first_certificate, None), office)
    with pytest.raises(StorageError, match="where an epoch ends, and only there"):
        check_certified(plain, (first_certificate, whole), office)


@pytest.mark.parametrize("size", range(0, 400, 37))
def test_segments_cut_short_are_refused(size):
    entries = [header + struct.pack("<I", len(each)) + each for header, each in LAST.entries]
    encoded = struct.pack("<HH", 1, 2) + b"".join(entries) + struct.pack("<I", 0)
    assert verifier._Reader(encoded).segments() == [LAST]
    with pytest.raises(ReceiptError, match="ends at byte"):
        verifier._Reader(encoded[:size]).segments()
