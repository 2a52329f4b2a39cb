"""The door of a node: who has no right to something can't make others keep it, nor crowd them out."""

import itertools
import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from book_nodes import Node
from book_worlds import GENESIS, KEYS, OWNER, entries, key_of, signed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import key_batch, sign, transfers

import pyledger as pl
from pyledger.errors import AuthorisationError, InputError, SignatureError
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    ChangeBatch,
    HeldKey,
    OrderedBy,
    OwnerOrder,
    TransferBatch,
    batch_leaf_hashes,
)
from pyledger.ledger.commands import (
    CHANGE_ROWS,
    KIND_KEYS,
    KIND_MANDATE,
    KIND_REVOCATIONS,
    KIND_TRANSFERS,
    KIND_VALIDATORS,
    ChangeValidators,
    Validator,
)
from pyledger.ledger.validators import Roster
from pyledger.node.mempool import Mempool
from pyledger.node.submissions import digest_of, encode_submission
from pyledger.types import NO_KEY
from pyledger.types import CreateTransferResult as R

OWNERS_KEY, OWN_ACCOUNT = 4, 5


def node_of_customer(folder, **options):
    """OWNER, a customer of the first bank, has key 4 and account 5; the banks' own accounts are 1 and 2."""
    node = Node(folder, **options)
    node.settle(node.world.keys(OWNER))
    owned = entries([1, 2, OWN_ACCOUNT])
    owned["owner_key"][2] = OWNERS_KEY
    node.settle(node.world.attested(AccountBatch, owned))
    return node


@pytest.fixture
def node(tmp_path):
    node = node_of_customer(tmp_path / "node")
    yield node
    node.close()


@pytest.fixture
def small_node(tmp_path):
    """Few batches fill it."""
    node = node_of_customer(tmp_path / "node", bytes_max=1 << 16)
    yield node
    node.close()


def refused(node, submission, message, error=AuthorisationError):
    """The batch is refused whoever brings it, and leaves nothing behind."""
    before, content = (len(node.application.mempool), node.application.mempool.bytes), encode_submission(submission)
    assert node.application.admit(content) is None
    with pytest.raises(error, match=message):
        node.application.submit(content)
    assert (len(node.application.mempool), node.application.mempool.bytes) == before
    assert not list((node.folder / "batches").glob(digest_of(content).hex() + "*"))


def mandate(sequence=1, account=OWN_ACCOUNT, subject=0, by=OWNERS_KEY, key=OWNER, subject_key=None, amount=100):
    subject_key = KEYS[subject].attestation.public_key if subject_key is None else subject_key
    signature = pl.signing.sign_mandate(key, GENESIS.chain_id, sequence, account, subject_key, amount, 50)
    return OwnerOrder(KIND_MANDATE, account, subject, OrderedBy(by, sequence, signature), amount, 50)


def order(sequence):
    return encode_submission(mandate(sequence))


def attested_by(batch, kind, institution, signer, key, sequence=1):
    """A batch attested for an institution by whatever key."""
    made = batch(Attest(institution, 0, bytes(64)))
    hashes = batch_leaf_hashes(GENESIS.chain_id, made)
    signature = pl.signing.sign_batch(key, kind, GENESIS.chain_id, institution, sequence, hashes)
    return batch(Attest(institution, sequence, signature, signer=signer))


def change(signers=((0, 0), (1, 1), (2, 2)), keys=None, number=1, from_height=100, added=()):
    """Other validators, approved by (institution, key index) with these keys."""
    keys = keys or [KEYS[signer].attestation for _, signer in signers]
    validators = (*Roster.of(GENESIS).validators, *added)
    terms = (number, from_height, validators)
    approvals = tuple(
        pl.signing.approve_validators(key, GENESIS.chain_id, institution, signer, *terms)
        for (institution, signer), key in zip(signers, keys, strict=True)
    )
    return ChangeValidators(*terms, approvals)


FIFTH = pl.bls.SecretKey.from_seed(b"fifth".ljust(32, b"\0"))
FIFTH = Validator("BANKEEXX", 1, FIFTH.public_key, FIFTH.proof_of_possession)


# Anything at all -----------------------------------------------------------------------------------------------------


def samples(world):
    """One right batch of each kind."""
    bank = HeldKey(0, KEYS[0].attestation.sign)
    revocations = np.array([(OWNERS_KEY, 90)], CHANGE_ROWS[KIND_REVOCATIONS])
    return [
        world.keys(key_of(7)),
        world.attested(AccountBatch, entries([70, 71])),
        world.attested(TransferBatch, transfers((50, 1, 2, 5), (51, 2, 1, 5))),
        world.attest(ChangeBatch(KIND_REVOCATIONS, revocations, bank)),
        signed(transfers((52, OWN_ACCOUNT, 1, 5)), signers=OWNERS_KEY),
        mandate(),
        change(added=(FIFTH,)),
    ]


def test_a_new_key_or_validator_without_its_proof_is_refused_and_stops_nobody(node):
    """An exception that the loop does not expect of a batch would end the process of every node that hears it."""
    batch = node.world.keys(key_of(7))
    unproven = replace(batch, proofs=np.zeros_like(batch.proofs))
    refused(node, unproven, "proof of possession", SignatureError)
    stolen = msgspec.structs.replace(FIFTH, proof_of_possession=KEYS[0].validator.proof_of_possession)
    refused(node, change(added=(stolen,)), "validator 4", SignatureError)


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_peers_send_is_kept_or_refused(node, data):
    encoded = bytearray(encode_submission(data.draw(st.sampled_from(samples(node.world)))))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    digest = node.application.admit(bytes(encoded))
    if digest is not None:
        assert node.application.batch(digest) == encoded
        node.application.mempool.remove(digest)


def test_no_byte_of_what_an_institution_attested_can_be_changed(node):
    """Else whoever passes a batch on could have it refused, and its sequence used up."""
    world = node.world
    named = replace(samples(world)[2], controllers=np.array([1, NO_KEY], np.uint32))
    hashes = world.book.prepare(named).hashes
    signature = pl.signing.sign_batch(KEYS[0].attestation, KIND_TRANSFERS, GENESIS.chain_id, 0, 1, hashes)
    named = replace(named, attest=Attest(0, 1, signature))
    for batch in [*samples(world)[:4], named]:
        content = encode_submission(batch)
        for place in range(len(content)):
            for bit in (0, 7):
                changed = bytearray(content)
                changed[place] ^= 1 << bit
                assert node.application.admit(bytes(changed)) is None, (type(batch), place, bit)
        node.application.mempool.remove(node.application.submit(content))


def test_only_imported_records_bring_their_own_time(node):
    stamped = transfers((50, 1, 2, 5))
    stamped["timestamp"] = 5
    refused(node, node.world.attested(TransferBatch, stamped), "row 1.*timestamp': transfers: expected 0", InputError)
    opened = entries([70, 71])
    opened["record"]["timestamp"][1] = 5
    refused(node, node.world.attested(AccountBatch, opened), "row 2.*timestamp': accounts: expected 0", InputError)
    stamped["flags"] = pl.TransferFlags.IMPORTED
    assert node.application.admit(encode_submission(node.world.attested(TransferBatch, stamped))) is not None


# Orders --------------------------------------------------------------------------------------------------------------


def test_an_order_that_names_an_unknown_key_is_refused_though_its_owner_signed_it(node):
    """Whatever key came to have that index later would have the mandate."""
    refused(node, mandate(subject=77, subject_key=bytes(32)), "key 77 is not registered")
    refused(node, mandate(by=77), "key 77 is not registered")


def test_only_the_owner_orders(node):
    bank = KEYS[1].attestation
    refused(node, mandate(by=1, key=bank), "key 1 does not own account 5")
    refused(node, mandate(account=99), "no account 99")
    refused(node, mandate(key=bank), "not one of the signatures")


def test_orders_wait_in_their_sequence(node):
    application = node.application
    for sequence in (0, 2):
        with pytest.raises(AuthorisationError, match="expected sequence 1"):
            application.submit(encode_submission(mandate(sequence)))
    application.submit(encode_submission(mandate(1)))
    assert application.next_sequence(OWNERS_KEY, KIND_MANDATE) == 2
    with pytest.raises(AuthorisationError, match="expected sequence 2, got 1"):
        application.submit(encode_submission(mandate(1, amount=7)))
    application.submit(encode_submission(mandate(2)))
    node.settle()
    assert (application.next_sequence(OWNERS_KEY, KIND_MANDATE), len(application.mempool)) == (3, 0)


def test_peers_bring_orders_in_any_order_and_clients_fill_the_gap(node):
    application = node.application
    assert application.admit(encode_submission(mandate(2))) is not None
    assert application.next_sequence(OWNERS_KEY, KIND_MANDATE) == 1
    application.submit(encode_submission(mandate(1)))
    assert application.next_sequence(OWNERS_KEY, KIND_MANDATE) == 3
    assert application.admit(encode_submission(mandate(5000))) is None


def test_what_was_kept_is_kept_over_a_restart_in_whatever_order_it_is_found(node):
    kept = [node.application.admit(encode_submission(mandate(sequence))) for sequence in (6, 3, 1, 2, 5)]
    node.close()
    again = Node(node.folder)
    assert all(again.application.batch(digest) is not None for digest in kept)
    again.close()


def test_orders_leave_room_for_transfers(small_node):
    """All the orders that an owner can sign fill a sixteenth of the room; then his transfers still wait."""
    pool = small_node.application.mempool
    taken = itertools.takewhile(lambda sequence: small_node.application.admit(order(sequence)), itertools.count(1))
    count = len(list(taken))
    assert 10 < count == len(pool) < 1000
    with pytest.raises(InputError, match="orders and changes of the validators: so many"):
        small_node.application.submit(order(count + 1))
    assert pool.bytes <= 1 << 12
    small_node.submit(signed(transfers((30, OWN_ACCOUNT, 1, 5)), signers=OWNERS_KEY))
    small_node.settle(small_node.world.attested(TransferBatch, transfers((31, 1, OWN_ACCOUNT, 5))))
    assert pool.bytes == 0


# What institutions attest --------------------------------------------------------------------------------------------


def test_a_customer_does_not_attest_for_his_bank_nor_for_another(node):
    def accounts(attest):
        return AccountBatch(entries([50], attest.institution), attest)

    for institution in (0, 1):
        sequence = node.application.next_sequence(institution, 2)
        batch = attested_by(accounts, 2, institution, OWNERS_KEY, OWNER, sequence)
        refused(node, batch, "key 4 does not attest for it")
    posted = attested_by(lambda attest: TransferBatch(transfers((40, 1, 2, 5)), attest=attest), 3, 0, OWNERS_KEY, OWNER)
    refused(node, posted, "key 4 does not attest for it")
    refused(node, attested_by(accounts, 2, 9, OWNERS_KEY, OWNER), "institution 9")


def test_one_bank_does_not_attest_for_another(node):
    def keys(attest):
        return key_batch([key_of(1)], GENESIS.chain_id, attest.institution, attest)

    refused(node, attested_by(keys, KIND_KEYS, 1, 0, KEYS[0].attestation), "BANKBBXX: key 0 does not attest for it")


def test_a_revoked_key_attests_no_more(node):
    other = key_of(2)
    batch = key_batch([other], GENESIS.chain_id, 0, HeldKey(0, KEYS[0].attestation.sign), roles=pl.KeyRole.ATTESTER)
    node.settle(node.world.attest(batch))
    height = node.application.height + 3
    rows = np.array([(5, height)], CHANGE_ROWS[KIND_REVOCATIONS])
    node.settle(node.world.attest(ChangeBatch(KIND_REVOCATIONS, rows, HeldKey(0, KEYS[0].attestation.sign))))

    def accounts(attest):
        return AccountBatch(entries([60]), attest)

    sequence = node.application.next_sequence(0, 2)
    batch = attested_by(accounts, 2, 0, 5, other, sequence)
    node.settle(batch)  # it counts still
    assert node.application.height == height - 1
    refused(node, attested_by(accounts, 2, 0, 5, other, sequence + 1), "key_not_valid_at_height")


def test_a_clerk_registers_no_governor(node):
    clerk = key_of(3)
    batch = key_batch([clerk], GENESIS.chain_id, 0, HeldKey(0, KEYS[0].attestation.sign), roles=pl.KeyRole.ATTESTER)
    node.settle(node.world.attest(batch))

    def governor(attest):
        return key_batch([key_of(4)], GENESIS.chain_id, 0, attest, roles=pl.KeyRole.GOVERNOR)

    sequence = node.application.next_sequence(0, KIND_KEYS)
    refused(node, attested_by(governor, KIND_KEYS, 0, 5, clerk, sequence), "key 5 does not govern")


def test_a_sequence_that_is_used_up_or_far_ahead_does_not_wait(node):
    world = node.world
    used = world.attested(TransferBatch, transfers((40, 1, 2, 5)))
    node.settle(used)
    refused(node, used, "expected sequence 2 or above, got 1")
    refused(node, node.world.attested(TransferBatch, transfers((41, 1, 2, 5)), ahead=1024), "sequence below 1026")
    node.submit(node.world.attested(TransferBatch, transfers((41, 1, 2, 5)), ahead=1023))


# Signed transfers ----------------------------------------------------------------------------------------------------


def own(*rows):
    """Transfers that the owner of account 5 signed."""
    return signed(transfers(*rows), signers=OWNERS_KEY)


def joined(*batches):
    """Signed transfers of several batches as one, which needs no key."""
    columns = ("records", "signers", "signatures")
    return TransferBatch(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in columns))


def bound_otherwise(chain, alone):
    """Somebody's signed rows as a peer, who has key 0 and account 1, can put them together with his own."""
    key, linked = KEYS[0].attestation, pl.TransferFlags.LINKED
    before, behind = transfers((900, 1, OWN_ACCOUNT, 1)), transfers((901, 1, OWN_ACCOUNT, 1))
    before["flags"] = linked
    columns = [(batch.records, batch.signers, batch.signatures) for batch in (chain, alone)]
    (rows, signers, signatures), lone = columns
    peer = np.zeros(1, np.uint32)

    def led(records, others, theirs):
        """The peer's own row first, rightly signed."""
        records = np.concatenate([before, records])
        mine = sign(GENESIS.chain_id, records, [key] * len(records))[:1]
        return TransferBatch(records, np.concatenate([peer, others]), np.concatenate([mine, theirs]))

    records = np.concatenate([rows[:1], behind])
    his = sign(GENESIS.chain_id, records, [key] * 2)[1:]
    last = np.concatenate([signatures[:1], signatures[1:] ^ 1])
    return {
        "a lone transfer behind his open chain": led(*lone),
        "a chain behind his open chain": led(*columns[0]),
        "a chain without its end": TransferBatch(rows[:1], signers[:1], signatures[:1]),
        "a chain whose end has no signature": TransferBatch(rows, signers, last),
        "a chain with his end": TransferBatch(
            records, np.concatenate([signers[:1], peer]), np.concatenate([signatures[:1], his])
        ),
        "a lone transfer behind the open chain": joined(TransferBatch(rows[:1], signers[:1], signatures[:1]), alone),
    }


def test_a_peer_neither_binds_nor_breaks_chains_of_others(node):
    """What he puts together does not wait; even a block that begins with it changes nothing for what they meant."""
    rows = transfers((100, OWN_ACCOUNT, 1, 5), (101, OWN_ACCOUNT, 2, 5))
    rows["flags"][0] = pl.TransferFlags.LINKED
    chain, alone = signed(rows, signers=OWNERS_KEY), own((110, OWN_ACCOUNT, 1, 5))
    bundles = bound_otherwise(chain, alone)
    with node.application.branches.trying() as book:
        book.begin(book.next_time_ns)
        codes = [book.execute(book.prepare(batch)).tolist() for batch in (*bundles.values(), chain, alone)]
    for name, found in zip(bundles, codes, strict=False):
        assert set(found) <= {R.SIGNATURE_INVALID, R.LINKED_EVENT_FAILED, R.LINKED_EVENT_CHAIN_OPEN}, name
    assert codes[len(bundles) :] == [[0, 0], [0]]
    for name, bundle in bundles.items():
        assert node.application.admit(encode_submission(bundle)) is None, name
    node.submit(chain, alone)


def test_final_transfers_in_new_batches_do_not_wait(node):
    """Who has no key could fill block after block with them."""
    final = [own((100 + number, OWN_ACCOUNT, 1, 5)) for number in range(4)]
    failed = own((110, OWN_ACCOUNT, 99, 5))
    node.settle(*final, failed)
    for picked in itertools.permutations([*final, failed], 3):
        assert node.application.admit(encode_submission(joined(*picked))) is None
    assert node.application.admit(encode_submission(joined(*final, own((111, OWN_ACCOUNT, 1, 5))))) is not None


def test_a_client_who_sends_final_transfers_again_is_answered_at_once(node):
    known, failed = own((100, OWN_ACCOUNT, 1, 5)), own((101, OWN_ACCOUNT, 99, 5))
    node.settle(known, failed)
    told = []
    node.application.on_outcome = told.append
    digest = node.application.submit(encode_submission(joined(failed, known)))
    (outcome,) = told
    assert (outcome.digest, outcome.height) == (digest, node.application.height)
    assert outcome.results.tolist() == [R.ID_ALREADY_FAILED, R.EXISTS]
    assert len(node.application.mempool) == 0


def test_a_client_waits_while_the_block_of_his_transfers_is_undecided(node):
    batch, told = own((100, OWN_ACCOUNT, 1, 5)), []
    node.submit(batch)
    block = node.propose(node.tip, node.application.height + 1)
    node.application.on_outcome = told.append
    again = node.application.submit(encode_submission(joined(batch, batch)))
    assert (told, node.application.batch(again) is not None) == ([], True)
    node.finalise(block)
    node.settle()
    assert told[-1].results.tolist() == [R.EXISTS, R.EXISTS]


def test_waiting_transfers_in_new_batches_do_not_wait_unless_a_client_brings_them(node):
    waiting = [own((100 + number, OWN_ACCOUNT, 1, 5)) for number in range(3)]
    node.submit(*waiting)
    again = encode_submission(joined(*waiting))
    assert node.application.admit(again) is None
    assert node.application.admit(encode_submission(joined(*waiting, own((110, OWN_ACCOUNT, 1, 5))))) is not None
    assert node.application.submit(again) in node.application.mempool
    node.settle()
    assert len(node.application.mempool) == 0
    assert node.application.mempool._rows.total() == node.application.mempool._bytes_of.total() == 0


def test_who_may_not_debit_an_account_has_no_transfer_of_it_wait(node):
    refused(node, own((100, 1, OWN_ACCOUNT, 5)), "not one of these transfers .* signer_not_authorised")
    node.settle(mandate(account=OWN_ACCOUNT, subject=1))
    mandated = transfers((101, OWN_ACCOUNT, 1, 5))
    signatures = sign(GENESIS.chain_id, mandated, [KEYS[1].attestation])
    node.submit(TransferBatch(mandated, np.full(1, 1, np.uint32), signatures))


def test_transfers_wait_for_accounts_and_funds_that_others_bring(node):
    node.submit(own((100, OWN_ACCOUNT, 77, 5)), own((101, 78, OWN_ACCOUNT, 5)))


def test_one_key_leaves_room_for_the_others(small_node):
    admit = small_node.application.admit
    count = len(
        [*itertools.takewhile(lambda n: admit(encode_submission(own((n, OWN_ACCOUNT, 1, 5)))), range(100, 500))]
    )
    assert 5 < count < 50
    with pytest.raises(InputError, match="key 4: so many"):
        small_node.submit(own((600, OWN_ACCOUNT, 1, 5)))
    banks = transfers((700, 1, OWN_ACCOUNT, 5))
    signature = sign(GENESIS.chain_id, banks, [KEYS[0].attestation])
    small_node.submit(TransferBatch(banks, np.zeros(1, np.uint32), signature))


def rubbish(number, count):
    """Transfers in OWNER's name that OWNER never signed; a transfer between unknown accounts burns its id."""
    rows = transfers(*((number + n, OWN_ACCOUNT if n % 2 else 98, 1 if n % 2 else 99, 5) for n in range(count)))
    signatures = np.frombuffer(random.Random(number).randbytes(64 * count), np.uint8).reshape(-1, 64)
    return TransferBatch(rows, np.full(count, OWNERS_KEY, np.uint32), signatures)


@pytest.mark.parametrize("what", ["rubbish", "what took effect", "another key's"])
def test_nobody_s_share_is_taken_by_what_stands_beside_his_transfers(small_node, what):
    """Who sees a transfer first can bring it in a batch of his own, as large as the share of who signed it."""
    old = signed(transfers(*((number, OWN_ACCOUNT, 1, 1) for number in range(1000, 1010))), signers=OWNERS_KEY)
    other = transfers(*((number, 1, OWN_ACCOUNT, 1) for number in range(2000, 2010)))
    beside = {
        "rubbish": rubbish(9000, 10),
        "what took effect": old,
        "another key's": TransferBatch(
            other, np.zeros(10, np.uint32), sign(GENESIS.chain_id, other, [KEYS[0].attestation] * 10)
        ),
    }
    small_node.settle(TransferBatch(old.records[:5], old.signers[:5], old.signatures[:5]))
    small_node.settle(TransferBatch(old.records[5:], old.signers[5:], old.signatures[5:]))
    for number in range(100, 104):
        stolen = own((number, OWN_ACCOUNT, 1, 5))
        small_node.application.admit(encode_submission(joined(stolen, beside[what])))
    assert len(small_node.application.mempool) > 0
    small_node.submit(own(*((number, OWN_ACCOUNT, 1, 5) for number in range(600, 606))))


@pytest.mark.parametrize("institutions", [4, 7, 31, 100])
def test_the_shares_of_a_third_of_the_banks_leave_room(institutions):
    """Also beside all orders that may wait, and all that brings nothing new."""
    pool, left = Mempool(1 << 28), 1 << 28
    for thirds, count in ((4, (institutions - 1) // 3), (2, (institutions - 1) // 3), (2, 1)):
        left -= count * pool._part(thirds, institutions)
    assert left - pool._part_of_orders > 1 << 26


def test_many_keys_of_one_bank_leave_room_for_those_of_others(tmp_path):
    node = Node(tmp_path / "node", bytes_max=1 << 16)
    keys = [key_of(number) for number in range(8)]
    node.settle(node.world.keys(*keys))
    owned = entries([10, 11, 12, 13, 14, 15, 16, 17, 1])
    owned["owner_key"][:8] = np.arange(4, 12)
    node.settle(node.world.attested(AccountBatch, owned))
    node.settle(node.world.attested(AccountBatch, entries([2], 1), bank=1))

    def paid(number, account, key, index):
        rows = transfers((number, account, 20, 5))
        return TransferBatch(rows, np.full(1, index, np.uint32), sign(GENESIS.chain_id, rows, [key]))

    def is_taken(number):
        place = number % 8
        return node.application.admit(encode_submission(paid(number, 10 + place, keys[place], 4 + place)))

    count = len([*itertools.takewhile(is_taken, range(104, 504))])
    assert 40 < count < 80
    with pytest.raises(InputError, match="signed transfers of institution 0: so many"):
        node.submit(paid(600, 1, KEYS[0].attestation, 0))
    node.submit(paid(601, 2, KEYS[1].attestation, 1))
    node.submit(node.world.attested(TransferBatch, transfers((602, 1, 2, 5))))
    node.close()


# Changes of the validators -------------------------------------------------------------------------------------------


def _never(*_):
    raise AssertionError("this costs too much for a stranger")


def test_a_change_that_governors_did_not_approve_costs_neither_pairings_nor_room(node, monkeypatch):
    monkeypatch.setattr(Roster, "check", _never)
    monkeypatch.setattr("pyledger.ledger.authority.Authority.approvals_valid", _never)
    customers = change(((0, OWNERS_KEY), (1, OWNERS_KEY), (2, OWNERS_KEY)), [OWNER] * 3, added=(FIFTH,))
    refused(node, customers, "key 4 does not govern")
    refused(node, change(((0, 0), (1, 1)), added=(FIFTH,)), "3 of 4")
    refused(node, change(((0, 0), (1, 1), (1, 1)), added=(FIFTH,)), "twice")
    refused(node, change(((0, 0), (1, 1), (9, 2)), added=(FIFTH,)), "institution 9")
    many = change(tuple((institution, 0) for institution in range(3, 40)), [KEYS[0].attestation] * 37, added=(FIFTH,))
    refused(node, many, "not a member")


def test_a_change_with_a_wrong_signature_costs_no_pairings(node, monkeypatch):
    monkeypatch.setattr(Roster, "check", _never)
    forged = change(((0, 0), (1, 1), (2, 2)), [OWNER] * 3, added=(FIFTH,))
    refused(node, forged, "not one of the signatures")


def test_a_change_waits_once_whoever_approves_it_in_whatever_order(node):
    """Who hears of one could else make dozens of it, for which nobody needs a key."""
    whole = change(((0, 0), (1, 1), (2, 2), (3, 3)), added=(FIFTH,))
    for count in (3, 4):
        for approvals in itertools.permutations(whole.approvals, count):
            if list(approvals) != sorted(approvals, key=lambda approval: approval.institution):
                refused(node, msgspec.structs.replace(whole, approvals=approvals), "by rising institution")
    subsets = [msgspec.structs.replace(whole, approvals=each) for each in itertools.combinations(whole.approvals, 3)]
    taken = [node.application.admit(encode_submission(each)) for each in (*subsets, whole)]
    assert [digest is not None for digest in taken] == [True, False, False, False, False]


def test_a_change_is_known_again_in_a_block_with_other_approvals(node, tmp_path):
    whole, told = change(((0, 0), (1, 1), (2, 2), (3, 3)), added=(FIFTH,)), []
    other = Node(tmp_path / "other")
    for height in range(1, node.application.height + 1):
        block = node.application.entries(height)[0][0].block
        assert other.application.process(block, ()).state_root
        other.finalise(block)
    other.application.on_outcome = told.append
    other.submit(whole)
    node.submit(msgspec.structs.replace(whole, approvals=whole.approvals[1:]))
    block = node.propose(node.tip, node.application.height + 1)
    assert other.application.process(block, ()).state_root
    other.finalise(block)
    assert [outcome.results.tolist() for outcome in told] == [[0]]
    assert len(other.application.mempool) == 0
    other.close()


@pytest.mark.parametrize("number", [0, 2, 500])
def test_a_change_whose_number_is_not_the_next_is_refused(node, number):
    with pytest.raises(AuthorisationError, match="expected sequence 1"):
        node.application.submit(encode_submission(change(number=number, added=(FIFTH,))))
    assert len(node.application.mempool) == 0


def test_the_next_change_waits_and_takes_effect(node):
    node.submit(change(added=(FIFTH,)))
    assert node.application.next_sequence(0, KIND_VALIDATORS) == 2
    with pytest.raises(AuthorisationError, match="expected sequence 2"):
        node.submit(change(from_height=101, added=(FIFTH,)))
    node.settle()
    assert [len(roster.validators) for roster in node.application.epochs.ahead] == [4, 5]
    assert len(node.application.mempool) == 0


@pytest.mark.parametrize("weight", [0, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_a_change_with_a_weight_out_of_range_is_refused(node, weight):
    refused(node, change(added=(msgspec.structs.replace(FIFTH, weight=weight),)), "out of range", InputError)


def test_a_change_without_validators_or_with_too_many_is_refused(node):
    few = msgspec.structs.replace(change(), validators=())
    many = msgspec.structs.replace(change(), validators=(FIFTH,) * 4097)
    for each in (few, many):
        refused(node, each, "out of range", InputError)
