"""Other validators take over while a network runs: nodes in one process, restarts, catching up, offline followers."""

import dataclasses
from contextlib import closing

import msgspec
import pytest
from ledgers import accounts, transfers
from networks import OBSERVER, ThreadNetwork, assert_one_chain, wait_until

import pyledger as pl
from pyledger import verifier
from pyledger.consensus.light_client import LightClient, Segment
from pyledger.errors import AuthorisationError, StateError
from pyledger.ledger.blocks import Header
from pyledger.ledger.commands import KIND_VALIDATORS, ChangeValidators, Validator
from pyledger.ledger.validators import Roster
from pyledger.node.application import BookApplication
from pyledger.node.certified import decode_evidence
from pyledger.node.service import _check_key

BANKS = 4


@pytest.fixture
def network(tmp_path):
    with ThreadNetwork(tmp_path, banks=BANKS, observer=True, newcomers=1) as network:
        yield network


def validator_of(keys, weight=1):
    return Validator(keys.bic, weight, keys.validator.public_key, keys.validator.proof_of_possession)


def change_of(network, members, number, from_height, by=range(3), chain_id=None):
    validators = tuple(map(validator_of, members))
    approvals = tuple(
        pl.signing.approve_validators(
            network.keys[bank].attestation,
            chain_id or network.genesis.chain_id,
            bank,
            bank,
            number,
            from_height,
            validators,
        )
        for bank in by
    )
    return ChangeValidators(number, from_height, validators, approvals)


def change_validators(network, members, number=1, ahead=4):
    """Hand in a change at the first node; gives the height from which it holds, once the change is final."""
    with network.nodes[0].client() as client:
        from_height = client.status()["height"] + ahead + 2
        result = client.wait(client.submit(change_of(network, members, number, from_height)))
    assert result.results.tolist() == [0]
    return from_height


def epochs(nodes):
    return [node.replica.numbers()["epoch"] for node in nodes]


def open_accounts(network):
    with network.nodes[0].client() as client:
        assert client.create_accounts(accounts([1, 2])).tolist() == [0, 0]


def pay(network, number, bank=0):
    with network.nodes[bank].client() as client:
        result = client.post(transfers((number, 1, 2, 5)))
    assert result.results.tolist() == [0]
    return result.height


def test_four_validators_become_five_and_go_on(network):
    open_accounts(network)
    before = pay(network, 100)
    from_height = change_validators(network, network.keys)
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    after = pay(network, 101)
    assert before < from_height <= after
    wait_until(lambda: all(node.height >= after for node in network.nodes))
    assert_one_chain(network.nodes, after)
    newcomer = network.nodes[BANKS]
    assert newcomer.name == network.newcomers[0]
    wait_until(lambda: newcomer.replica.numbers()["votes"] > 0)


def test_the_newcomer_counts_once_it_is_in_office(network):
    """Of five validators four are a quorum: without one of the old ones it takes the new one."""
    open_accounts(network)
    from_height = change_validators(network, network.keys)
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    network.nodes[3].stop()
    height = pay(network, 102)
    assert height >= from_height
    network.nodes[3].start()
    wait_until(lambda: network.nodes[3].height >= height)


def test_one_validator_is_replaced_and_follows_from_then_on(network):
    open_accounts(network)
    leaving = network.nodes[3]
    from_height = change_validators(network, [*network.keys[:3], network.keys[BANKS]])
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    voted = leaving.replica.numbers()["votes"]
    height = pay(network, 103)
    assert height >= from_height
    wait_until(lambda: leaving.height >= height)
    assert leaving.replica.numbers()["votes"] == voted
    assert_one_chain(network.nodes, height)


def test_nodes_start_again_on_either_side_of_a_change(network):
    open_accounts(network)
    from_height = change_validators(network, network.keys, ahead=6)
    for node in network.nodes:
        node.stop()
    for node in network.nodes:
        node.start()
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    height = pay(network, 104)
    assert height >= from_height
    for node in network.nodes:
        node.stop()
    for node in network.nodes:
        node.start()
    assert epochs(network.nodes) == [1] * 6
    again = pay(network, 105)
    assert again > height
    wait_until(lambda: all(node.height >= again for node in network.nodes))
    assert_one_chain(network.nodes, again)


def test_who_was_away_catches_up_over_several_changes(network):
    open_accounts(network)
    away = [network.nodes[3], network.nodes[-1]]
    assert away[1].name == OBSERVER
    for node in away:
        node.stop()
    there = network.nodes[:3] + network.nodes[BANKS : BANKS + 1]
    change_validators(network, [*network.keys[:3], network.keys[BANKS]], number=1)
    wait_until(lambda: epochs(there) == [1] * 4)
    change_validators(network, network.keys, number=2)
    wait_until(lambda: epochs(there) == [2] * 4)
    height = pay(network, 106)
    for node in away:
        node.start()
    wait_until(lambda: all(node.height >= height for node in away))
    wait_until(lambda: epochs(network.nodes) == [2] * 6)
    assert_one_chain(network.nodes, height)


def test_changes_that_are_not_approved_are_refused_at_the_door_or_with_their_reason(network):
    open_accounts(network)
    right = change_of(network, network.keys, 1, 1000)
    other_chain = change_of(network, network.keys, 1, 1000, chain_id=bytes(16))
    unsigned = msgspec.structs.replace(right, approvals=())
    too_many_leave = change_of(network, [network.keys[0], network.keys[BANKS]], 1, 1000)
    for change in (other_chain, unsigned, too_many_leave):
        with network.nodes[0].client() as client, pytest.raises(AuthorisationError):
            client.wait(client.submit(change))
    assert epochs(network.nodes) == [0] * 6
    with network.nodes[0].client() as client:
        assert client._next(0, KIND_VALIDATORS) == 1


def test_the_folder_of_a_node_is_read_and_audited_across_changes(network):
    open_accounts(network)
    from_height = change_validators(network, network.keys)
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    height = pay(network, 107)
    folder = network.nodes[1].folder
    wait_until(lambda: network.nodes[1].height >= height)
    with pl.Ledger.open(folder, read_only=True) as ledger:
        headers = [ledger.header(each) for each in range(1, ledger.height + 1)]
        assert ledger.audit().ok
    assert [header.epoch for header in headers] == [0] * (from_height - 1) + [1] * (len(headers) - from_height + 1)
    network.nodes[1].stop()
    try:
        with pytest.raises(StateError, match="its nodes write to it"):
            pl.Ledger.open(folder, keys=network.keys[:BANKS])
    finally:
        network.nodes[1].start()


def test_a_light_client_follows_a_change_by_what_the_journal_keeps(network):
    open_accounts(network)
    from_height = change_validators(network, network.keys)
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    height = pay(network, 108)
    node = network.nodes[2]
    wait_until(lambda: node.height > height)
    journal = node.application._journal
    genesis, new = network.genesis, Roster(tuple(map(validator_of, network.keys)))
    client = LightClient(genesis.chain_id, Roster.of(genesis).keys, genesis.hash, Header.from_bytes)
    last, (certificate, closing) = decode_evidence(journal.read(from_height - 1))
    client.advance(Segment(((last.header.to_bytes(), certificate), *closing.entries), closing.next_validators))
    assert (client.epoch, client.height, client.validators.hash) == (1, from_height - 1, new.hash)
    blocks = [decode_evidence(journal.read(each)) for each in (height, height + 1)]
    entries = tuple((block.header.to_bytes(), evidence[0]) for block, evidence in blocks)
    client.advance(Segment(entries))
    assert client.height == height


def test_receipts_cross_changes_of_validators(network):
    """The genesis' trust file checks receipts of all epochs; that of a later epoch those from there on."""
    open_accounts(network)
    first = pay(network, 109)
    change_validators(network, network.keys, number=1)
    wait_until(lambda: epochs(network.nodes) == [1] * 6)
    pay(network, 110)
    change_validators(network, network.keys[:BANKS], number=2)
    wait_until(lambda: epochs(network.nodes) == [2] * 6)
    last = pay(network, 111)
    node = network.nodes[1]
    wait_until(lambda: node.height >= last + 2)
    trust = pl.Trust.read(node.folder / "trust.json")
    later = dataclasses.replace(trust, epoch=2)  # the same validators are in office again
    with pl.Ledger.open(node.folder, read_only=True) as ledger:
        receipts = {number: ledger.prove(number) for number in (109, 110, 111)}
        balance = pl.verify_balance(ledger.prove_balance(1), trust) if ledger_shows_balance(ledger) else None
        short = ledger.prove(111, trusted_epoch=2)
        history = ledger.prove_history(first, last)
        for epoch in (-1, 1):
            with pytest.raises(pl.InputError, match="expected 0 to 0"):
                ledger.prove(109, trusted_epoch=epoch)
    for number, receipt in receipts.items():
        assert pl.verify_receipt(receipt, trust).id == number
        assert verifier.verify_receipt(receipt, trust).id == number
    assert pl.verify_receipt(receipts[109], trust).height == first
    assert len(short) < len(receipts[111])
    assert pl.verify_receipt(short, later) == pl.verify_receipt(receipts[111], later)
    assert balance is None or balance.debits_posted == 15
    past = pl.verify_history(history, trust)
    assert (past.old_height, past.height) == (first, last)
    assert verifier.verify_history(history, trust) == past
    with pytest.raises(pl.ProofError, match="epoch 2 or later"):
        pl.verify_history(history, later)
    for receipt, reader in ((short, trust), (receipts[109], later)):
        with pytest.raises(pl.ProofError):
            pl.verify_receipt(receipt, reader)


def ledger_shows_balance(ledger):
    """Whether the newest final block is shown to be final by one with the same state: most are empty."""
    newest, before = ledger.header(ledger.height), ledger.header(ledger.height - 1)
    return newest.state_root == before.state_root and newest.round == before.round + 1


def test_a_node_votes_under_its_own_name_and_key_only(network):
    """In office, about to be, or a member that follows: nobody else starts as a validator."""
    open_accounts(network)
    change_validators(network, [*network.keys[:3], network.keys[BANKS]], ahead=10_000)
    network.nodes[1].stop()
    with closing(BookApplication(network.nodes[1].folder, network.genesis, 1 << 20)) as application:
        for keys in network.keys:
            _check_key(keys.bic, keys.validator, application)
        for name, keys, message in (
            ("BANKAAXX", network.keys[1], "not that of BANKAAXX"),
            (network.newcomers[0], network.keys[3], "not that of BANKEEXX"),
            ("BANKZZXX", network.keys[0], "BANKZZXX"),
        ):
            with pytest.raises(pl.InputError, match=message):
                _check_key(name, keys.validator, application)
        assert application.epochs.names == {keys.bic for keys in network.keys}
    network.nodes[1].start()
