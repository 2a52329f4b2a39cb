"""Changes of the validators: who approves them, which sets are allowed, when they hold, and what each attack gets."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from ledgers import genesis, members
from rights_kit import fingerprint, secret

import pyledger as pl
from pyledger.ledger.authority import Authority
from pyledger.ledger.batches import ChangeBatch, HeldKey, KeyBatch
from pyledger.ledger.blocks import Block
from pyledger.ledger.book import Book
from pyledger.ledger.commands import (
    KIND_REVOCATIONS,
    KIND_VALIDATORS,
    REVOCATION,
    Approval,
    ChangeValidators,
    Validator,
    decode_commands,
)
from pyledger.ledger.validators import Office, Roster, approvals_needed

BANKS, QUORUM = 4, 3
FROM = 5  # height from which most changes here hold


class Chain:
    """A book of four banks, and changes that its governors approve."""

    def __init__(self):
        self.members = members(BANKS)
        self.genesis = genesis(self.members)
        self.book = Book(self.genesis)
        self.keys = [member.attestation for member in self.members]
        self.blocks = []

    @property
    def in_office(self):
        return self.book.authority.office.at(self.book.height + 1).roster.validators

    def run(self, *submissions, keep_empty=False):
        """Execute in a block of its own; gives the last result and raises what it raises."""
        book, office = self.book, self.book.authority.office.at(self.book.height + 1)
        place = {"epoch": office.epoch, "round": book.height + 1, "validators_hash": office.roster.hash}
        execution = book.propose(submissions, time_ns=book.next_time_ns, keep_empty=keep_empty, **place)
        if execution.block is not None:
            book.commit(execution.block)
            self.blocks.append(execution.block)
        if submissions and isinstance(execution.results[-1], pl.LedgerError):
            raise execution.results[-1]
        return execution.results[-1] if submissions else None

    def pass_to(self, height):
        while self.book.height < height:
            self.run(keep_empty=True)

    def change(self, validators, *, by=range(QUORUM), number=None, from_height=FROM, chain_id=None, signers=None):
        """A change that institutions approve, each with its key of the genesis or those given."""
        number = self.book.next_sequence(0, KIND_VALIDATORS) if number is None else number
        terms = (number, from_height, tuple(validators))
        approvals = tuple(
            pl.signing.approve_validators(
                self.keys[signer], chain_id or self.genesis.chain_id, institution, signer, *terms
            )
            for institution, signer in zip(by, signers or by, strict=True)
        )
        return ChangeValidators(*terms, approvals)

    def replay(self, trusted=False):
        book = Book(self.genesis)
        for block in self.blocks:
            book.apply(Block.from_bytes(block.to_bytes()), trusted=trusted)
        return book


def validator(name, weight=1, seed=None):
    key = pl.bls.SecretKey.from_seed((seed or name).encode().ljust(32, b"\0"))
    return Validator(name, weight, key.public_key, key.proof_of_possession)


FIFTH = validator("BANKEEXX")


@pytest.fixture
def chain():
    return Chain()


@pytest.fixture
def unchanged(chain):
    """The chain; what the test does to it must leave no trace."""
    before = fingerprint(chain.book)
    yield chain
    assert fingerprint(chain.book) == before


def grown(chain):
    return (*chain.in_office, FIFTH)


# What holds ----------------------------------------------------------------------------------------------------------


def test_the_block_below_the_height_names_the_next_validators_and_the_next_one_stands_under_them(chain):
    old, new = Roster(chain.in_office), Roster(grown(chain))
    assert chain.run(chain.change(new.validators)).tolist() == [0]
    chain.pass_to(FROM)
    named = [(block.header.validators_hash, block.header.next_validators_hash) for block in chain.blocks]
    assert named == [(old.hash, old.hash)] * (FROM - 2) + [(old.hash, new.hash), (new.hash, new.hash)]
    assert [block.header.epoch for block in chain.blocks] == [0] * (FROM - 1) + [1]


def test_a_change_may_hold_from_the_very_next_block(chain):
    new = Roster(grown(chain))
    chain.run(chain.change(new.validators, from_height=2, number=1))
    assert chain.blocks[0].header.next_validators_hash == new.hash


def test_a_validator_may_be_replaced_and_one_may_take_a_new_key_or_weight(chain):
    first, second, *rest = chain.in_office
    for number, validators in enumerate(
        [
            (FIFTH, second, *rest),
            (validator("BANKEEXX", seed="new key"), second, *rest),
            (validator("BANKEEXX", seed="new key"), msgspec.structs.replace(second, weight=2), *rest),
        ],
        1,
    ):
        assert chain.run(chain.change(validators, from_height=2 * number)).tolist() == [0]
        chain.pass_to(2 * number)
        assert chain.blocks[-1].header.validators_hash == Roster(validators).hash
    assert first.name not in Roster(chain.in_office).names.values()


def test_a_later_change_takes_the_place_of_one_that_is_still_to_come(chain):
    other = Roster((*chain.in_office, validator("BANKFFXX")))
    chain.run(chain.change(grown(chain)))
    chain.run(chain.change(other.validators, from_height=FROM + 2))
    chain.pass_to(FROM + 2)
    named = {block.header.next_validators_hash for block in chain.blocks}
    assert named == {Roster.of(chain.genesis).hash, other.hash}
    assert chain.blocks[-1].header.epoch == 1


def test_a_single_institution_changes_its_key(chain):
    (alone,) = members(1)
    chain.genesis = genesis([alone])
    chain.book = Book(chain.genesis)
    new = validator(alone.bic, seed="new key")
    assert chain.run(chain.change([new], by=[0])).tolist() == [0]


def test_replays_and_blocks_taken_back_agree_on_who_votes(chain):
    change = chain.change(grown(chain))
    before = fingerprint(chain.book)
    chain.book.mark()
    chain.run(change)
    chain.book.roll_back()
    assert fingerprint(chain.book) == before
    chain.blocks.clear()
    chain.run(change)
    chain.pass_to(FROM + 1)
    for trusted in (False, True):
        assert fingerprint(chain.replay(trusted)) == fingerprint(chain.book)


def test_a_snapshot_keeps_who_votes_and_who_will(chain):
    chain.run(chain.change(grown(chain)))
    loaded = Authority.load(chain.genesis, chain.book.authority.dump())
    assert loaded.office == chain.book.authority.office
    assert loaded.sequences == chain.book.authority.sequences


@pytest.mark.parametrize(
    ("institutions", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (100, 67)]
)
def test_more_than_two_thirds_of_the_institutions_must_approve(institutions, needed):
    assert approvals_needed(institutions) == needed


# Who may -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(), (0,), (0, 1)])
def test_too_few_approvals_change_nothing(unchanged, by):
    with pytest.raises(pl.AuthorisationError, match="expected approvals of 3 of 4 institutions"):
        unchanged.run(unchanged.change(grown(unchanged), by=by))


def test_an_institution_counts_once(unchanged):
    with pytest.raises(pl.AuthorisationError, match="approves twice"):
        unchanged.run(unchanged.change(grown(unchanged), by=(0, 1, 1)))


def test_unsigned_approvals_change_nothing(unchanged):
    change = unchanged.change(grown(unchanged))
    unsigned = tuple(Approval(each.institution, each.signer, bytes(64)) for each in change.approvals)
    with pytest.raises(pl.AuthorisationError, match="signature of an approval is not valid"):
        unchanged.run(msgspec.structs.replace(change, approvals=unsigned))


@pytest.mark.parametrize("place", range(QUORUM))
def test_one_wrong_signature_among_the_approvals_is_enough_to_refuse(unchanged, place):
    change = unchanged.change(grown(unchanged))
    approvals = list(change.approvals)
    approvals[place] = Approval(approvals[place].institution, approvals[place].signer, bytes(64))
    with pytest.raises(pl.AuthorisationError, match="signature of an approval is not valid"):
        unchanged.run(msgspec.structs.replace(change, approvals=tuple(approvals)))


@pytest.mark.parametrize(
    "altered",
    [
        {"number": 2},
        {"from_height": FROM + 1},
        {"validators": (validator("BANKFFXX"),)},
    ],
)
def test_approvals_are_for_one_change_only(unchanged, altered):
    change = unchanged.change(grown(unchanged))
    with pytest.raises(pl.AuthorisationError):
        unchanged.run(msgspec.structs.replace(change, **altered))


def test_approvals_of_another_chain_change_nothing(unchanged):
    other = genesis(unchanged.members, name="another").chain_id
    with pytest.raises(pl.AuthorisationError, match="signature of an approval is not valid"):
        unchanged.run(unchanged.change(grown(unchanged), chain_id=other))


def test_names_of_validators_are_signed_too(unchanged):
    change = unchanged.change(grown(unchanged))
    renamed = (*change.validators[:-1], msgspec.structs.replace(FIFTH, name="BANKFFXX"))
    with pytest.raises(pl.AuthorisationError, match="signature of an approval is not valid"):
        unchanged.run(msgspec.structs.replace(change, validators=renamed))


def test_a_change_counts_once(chain):
    change = chain.change(grown(chain))
    chain.run(change)
    with pytest.raises(pl.AuthorisationError, match="expected sequence 2, got 1"):
        chain.run(change)


def register(chain, institution, name, roles, by=None):
    """A further key of an institution; gives its index."""
    key, signer = secret(name), institution if by is None else by
    proofs = pl.signing.prove_possession([key], chain.genesis.chain_id, institution, int(roles))
    attest = HeldKey(institution, chain.keys[signer].sign, signer)
    row = np.frombuffer(key.public_key, np.uint8).reshape(1, 32)
    (index,) = chain.run(KeyBatch(row, proofs, attest, int(roles))).tolist()
    chain.keys.append(key)
    assert chain.keys[index] is key
    return index


@pytest.mark.parametrize("roles", [pl.KeyRole.HOLDER, pl.KeyRole.ATTESTER, pl.KeyRole.HOLDER | pl.KeyRole.ATTESTER])
def test_keys_that_do_not_govern_approve_nothing(chain, roles):
    clerk = register(chain, 2, "clerk", roles)
    before = fingerprint(chain.book)
    with pytest.raises(pl.AuthorisationError, match=f"BANKCCXX: key {clerk} does not govern for it: signer_lacks_role"):
        chain.run(chain.change(grown(chain), signers=(0, 1, clerk)))
    assert fingerprint(chain.book) == before


def test_a_governor_approves_for_its_own_institution_only(unchanged):
    with pytest.raises(pl.AuthorisationError, match="attestation_signer_of_other_institution"):
        unchanged.run(unchanged.change(grown(unchanged), by=(0, 1, 2), signers=(0, 1, 3)))


def test_who_is_no_member_approves_nothing(unchanged):
    with pytest.raises(pl.AuthorisationError, match="institution 4: not a member"):
        unchanged.run(unchanged.change(grown(unchanged), by=(0, 1, 4), signers=(0, 1, 2)))
    change = unchanged.change(grown(unchanged))
    unknown = (*change.approvals[:2], Approval(2, 99, change.approvals[2].signature))
    with pytest.raises(pl.AuthorisationError):
        unchanged.run(msgspec.structs.replace(change, approvals=unknown))


def test_only_a_governor_makes_governors(chain):
    clerk = register(chain, 2, "clerk", pl.KeyRole.ATTESTER)
    with pytest.raises(pl.AuthorisationError, match=f"key {clerk} does not govern for it"):
        register(chain, 2, "crony", pl.KeyRole.GOVERNOR, by=clerk)
    board = register(chain, 2, "board", pl.KeyRole.GOVERNOR)
    assert chain.run(chain.change(grown(chain), signers=(0, 1, board))).tolist() == [0]


def revoke(chain, key, institution):
    rows = np.zeros(1, REVOCATION)
    rows["key"] = key
    batch = ChangeBatch(KIND_REVOCATIONS, rows, HeldKey(institution, chain.keys[institution].sign))
    return pl.AuthorityResult(int(chain.run(batch)[0]))


def test_a_revoked_governor_approves_nothing_and_the_last_one_stays(chain):
    board = register(chain, 2, "board", pl.KeyRole.GOVERNOR)
    assert revoke(chain, board, 2) == pl.AuthorityResult.OK
    with pytest.raises(pl.AuthorisationError, match="key_not_valid_at_height"):
        chain.run(chain.change(grown(chain), signers=(0, 1, board)))
    register(chain, 2, "clerk", pl.KeyRole.ATTESTER)
    assert revoke(chain, 2, 2) == pl.AuthorityResult.LAST_GOVERNANCE_KEY


def test_approvals_of_strangers_are_not_even_verified(unchanged, monkeypatch):
    """Else one registered key could have a hundred thousand signatures checked."""

    def never(*_):
        raise AssertionError("verified")

    monkeypatch.setattr(Authority, "approvals_valid", never)
    by = range(1, 40)
    change = unchanged.change(grown(unchanged), by=by, signers=[0] * len(by))
    with pytest.raises(pl.AuthorisationError, match="not a member"):
        unchanged.run(change)


# Which sets ----------------------------------------------------------------------------------------------------------

DOUBLE_KEY = msgspec.structs.replace(FIFTH, name="BANKFFXX")
WRONG_PROOF = msgspec.structs.replace(FIFTH, proof_of_possession=validator("BANKFFXX").proof_of_possession)


@pytest.mark.parametrize(
    ("added", "error", "message"),
    [
        ((FIFTH, FIFTH), pl.InputError, "each validator once"),
        ((FIFTH, DOUBLE_KEY), pl.InputError, "each validator once"),
        ((FIFTH, validator("BANKEEXX", seed="another")), pl.InputError, "each validator once"),
        ((WRONG_PROOF,), pl.SignatureError, "validator 4"),
        ((msgspec.structs.replace(FIFTH, public_key=bytes(96)),), pl.SignatureError, "validator 4"),
        ((msgspec.structs.replace(FIFTH, weight=0),), pl.InputError, "out of range"),
        ((msgspec.structs.replace(FIFTH, weight=1 << 64),), pl.InputError, "out of range"),
        ((msgspec.structs.replace(FIFTH, weight=1 << 32),), pl.InputError, "out of range"),
        ((msgspec.structs.replace(FIFTH, name="nobody"),), pl.InputError, "BIC"),
    ],
    ids=["twice", "key twice", "name twice", "proof", "key", "no weight", "weight, 65 bits", "weight, 33 bits", "name"],
)
def test_a_set_with_a_validator_that_is_none_is_refused(unchanged, added, error, message):
    change = ChangeValidators(1, FROM, (*unchanged.in_office, *added), ())
    with pytest.raises(error, match=message):
        unchanged.run(replaced_approvals(unchanged, change))


def replaced_approvals(chain, change):
    """The change, rightly approved, whatever it says (weights that have no encoding can't be signed)."""
    try:
        return chain.change(change.validators)
    except OverflowError:
        return change


def test_less_than_a_third_of_the_weight_leaves_at_once(chain):
    one, two, *rest = chain.in_office
    before = fingerprint(chain.book)
    for validators in ([FIFTH, validator("BANKFFXX"), *rest], rest, [FIFTH], [validator("BANKAAXX", seed="x"), FIFTH]):
        with pytest.raises(pl.InputError, match="of 4 leaves at once, expected less than a third"):
            chain.run(chain.change(validators))
        assert fingerprint(chain.book) == before
    assert chain.run(chain.change([two, *rest])).tolist() == [0]
    assert one not in chain.book.authority.office.successor.validators


def test_a_set_of_nobody_is_refused(unchanged):
    with pytest.raises(pl.InputError, match="1 to 4096"):
        unchanged.run(unchanged.change([]))


def test_a_change_to_the_same_set_is_refused(unchanged):
    with pytest.raises(pl.InputError, match="another set than the one in office"):
        unchanged.run(unchanged.change(unchanged.in_office))


@pytest.mark.parametrize("from_height", [0, 1, 2])
def test_a_change_that_comes_too_late_is_refused(chain, from_height):
    chain.pass_to(1)
    before = fingerprint(chain.book)
    with pytest.raises(pl.InputError, match="expected a height above 2"):
        chain.run(chain.change(grown(chain), from_height=from_height))
    assert fingerprint(chain.book) == before


# Blocks and bytes ----------------------------------------------------------------------------------------------------


def test_a_block_that_names_other_validators_than_executing_it_gives_is_refused(chain):
    chain.run(chain.change(grown(chain)))
    chain.pass_to(FROM - 2)
    twin = chain.replay()
    chain.run(keep_empty=True)
    block = chain.blocks[-1]
    for next_hash in (block.header.validators_hash, b"x" * 32):
        lie = Block(replace(block.header, next_validators_hash=next_hash), block.body)
        twin.mark()
        with pytest.raises(pl.StorageError, match="field 'next_validators_hash'"):
            twin.apply(lie)
        twin.roll_back()
    twin.apply(block)


def test_a_block_with_a_change_that_too_few_approve_is_refused(chain):
    twin = chain.replay()
    chain.run(chain.change(grown(chain)))
    block = chain.blocks[-1]
    (change,) = block.body.commands
    weak = msgspec.structs.replace(change, approvals=change.approvals[:2])
    for trusted in (False, True):
        twin.mark()
        with pytest.raises(pl.StorageError, match=r"command 0 \(validators\)"):
            twin.apply(Block(block.header, replace(block.body, commands=(weak,))), trusted=trusted)
        twin.roll_back()


def test_a_change_has_one_encoding_and_refuses_fields_out_of_range(chain):
    change = chain.change(grown(chain))
    assert decode_commands(msgspec.msgpack.encode((change,))) == (change,)
    last = change.validators[-1]
    for wrong in (
        msgspec.structs.replace(change, number=-1),
        msgspec.structs.replace(change, from_height=-1),
        msgspec.structs.replace(change, validators=(msgspec.structs.replace(last, weight=0),)),
        msgspec.structs.replace(change, validators=(msgspec.structs.replace(last, public_key=bytes(95)),)),
        msgspec.structs.replace(change, validators=(msgspec.structs.replace(last, proof_of_possession=b""),)),
        msgspec.structs.replace(change, approvals=(Approval(1 << 32, 0, bytes(64)),)),
        msgspec.structs.replace(change, approvals=(Approval(0, -1, bytes(64)),)),
        msgspec.structs.replace(change, approvals=(Approval(0, 0, bytes(63)),)),
    ):
        with pytest.raises(pl.InputError, match="out of range"):
            decode_commands(msgspec.msgpack.encode((wrong,)))


def test_an_office_reads_back_what_it_wrote(chain):
    office = chain.book.authority.office
    assert Office.from_bytes(office.to_bytes()) == office
    later = office.scheduled(1, 9, Roster(grown(chain)))
    assert Office.from_bytes(later.to_bytes()) == later
    assert later.at(8) == later
    assert later.at(9) == Office(Roster(grown(chain)), 1)


@pytest.mark.parametrize("by", [(), (0, 1)])
def test_too_few_approvals_are_refused_before_anything_costly(unchanged, by, monkeypatch):
    """Anybody may hand a change in: neither its keys nor its proofs are looked at before its approvals."""
    monkeypatch.setattr(Roster, "check", lambda _: pytest.fail("the set was checked first"))
    with pytest.raises(pl.AuthorisationError, match=f"approvals of {QUORUM} of {BANKS}"):
        unchanged.book.prepare(unchanged.change(grown(unchanged), by=by))
