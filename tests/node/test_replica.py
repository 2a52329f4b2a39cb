"""Nodes in one process: blocks become final everywhere, clients learn results, wrong input changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from ledgers import accounts, key_rows, sign, transfers
from networks import OBSERVER, ThreadNetwork, assert_one_chain, wait_until

import pyledger as pl
from pyledger.errors import AuthorisationError, InputError, StorageError
from pyledger.ledger.batches import Attest, ChangeBatch, OrderedBy, OwnerOrder, TransferBatch
from pyledger.ledger.commands import CHANGE_ROWS, KIND_MANDATE, KIND_REVOCATIONS
from pyledger.node.application import BookApplication
from pyledger.node.client import NodeClient
from pyledger.node.mempool import REASON_UNKNOWN


@pytest.fixture
def network(tmp_path):
    with ThreadNetwork(tmp_path, observer=True) as network:
        yield network


def open_accounts(network):
    for number, node in enumerate(network.nodes[:4]):
        with node.client() as client:
            assert client.create_accounts(accounts([10 * number + 1, 10 * number + 2])).tolist() == [0, 0]


def test_what_any_bank_posts_is_final_at_all(network):
    open_accounts(network)
    heights = []
    for number, node in enumerate(network.nodes[:4]):
        with node.client() as client:
            result = client.post(transfers((100 + number, 10 * number + 1, 2 if number else 11, 5)))
            assert result.results.tolist() == [0]
            heights.append(result.height)
    wait_until(lambda: all(node.height >= max(heights) for node in network.nodes))
    assert_one_chain(network.nodes, max(heights))


def test_refused_records_come_back_with_their_codes_whoever_led(network):
    open_accounts(network)
    foreign = pl.CreateTransferResult.ATTESTATION_FOREIGN_ACCOUNT
    with network.nodes[0].client() as client:
        for number in range(8):  # leaders take turns
            result = client.post(transfers((200 + 2 * number, 11, 1, 5), (201 + 2 * number, 1, 2, 5)))
            assert result.results.tolist() in ([foreign, 0], [REASON_UNKNOWN, 0])
            assert result.results[0] == foreign


def test_signed_transfers_are_taken_and_wholly_refused_ones_answered(network):
    open_accounts(network)
    owner = pl.keys.SigningKey.from_seed(b"o" * 32)
    with network.nodes[0].client() as client:
        proofs = pl.signing.prove_possession([owner], network.genesis.chain_id, 0)
        keys = client.register_keys(key_rows([owner]), proofs)
        client.create_accounts(accounts([3]), owners=keys)
        good, bad = transfers((300, 3, 11, 5)), transfers((301, 3, 999, 5))
        for records, code in ((good, 0), (bad, pl.CreateTransferResult.CREDIT_ACCOUNT_NOT_FOUND)):
            signatures = sign(network.genesis.chain_id, records, [owner])
            assert client.post(records, signers=keys, signatures=signatures).results.tolist() == [code]


def test_the_same_bytes_again_give_the_same_answer(network):
    open_accounts(network)
    with network.nodes[0].client() as client:
        batch = client.attest(client_batch(transfers((400, 1, 11, 5))), client.next_sequence(3))
        first, again = client.submit(batch), client.submit(batch)
        height = client.wait(first).height
        assert client.wait(again).height == height
        assert client.wait(client.submit(batch)).height == height


def test_mandates_and_controllers_go_through_nodes(network):
    """Two banks' customers: one signs a mandate and a pledge, the other uses the one and releases the other."""
    open_accounts(network)
    chain_id = network.genesis.chain_id
    people = [pl.keys.SigningKey.from_seed(letter * 32) for letter in (b"o", b"p")]
    indexes = []
    for number, person in enumerate(people):
        with network.nodes[number].client() as client:
            proofs = pl.signing.prove_possession([person], chain_id, number)
            indexes += client.register_keys(key_rows([person]), proofs).tolist()
    (owner, other), (signs, helps) = indexes, people
    with network.nodes[0].client() as client:
        assert client.create_accounts(accounts([3]), owners=np.array([owner], np.uint32)).tolist() == [0]
        terms = (3, helps.public_key, 100, 1 << 40)
        signature = pl.signing.sign_mandate(signs, chain_id, client.next_order(owner), *terms)
        order = OwnerOrder(KIND_MANDATE, 3, other, OrderedBy(owner, 1, signature), 100, 1 << 40)
        assert client.wait(client.submit(order)).results.tolist() == [0]
        assert client.next_order(owner) == 2
        with pytest.raises(AuthorisationError, match="not one of the signatures"):
            client.wait(client.submit(replace(order, by=OrderedBy(owner, 2, signature))))
        pledge = transfers((310, 3, 11, 5), flags=pl.TransferFlags.PENDING)
        pledged = TransferBatch(
            pledge,
            np.array([owner], np.uint32),
            pl.signing.sign_transfers([signs], chain_id, pledge, [helps.public_key]),
            controllers=np.array([other], np.uint32),
        )
        assert client.wait(client.submit(pledged)).results.tolist() == [0]
    with network.nodes[1].client() as client:
        release = pl.make_transfers(id=[311], pending_id=310, flags=int(pl.TransferFlags.VOID_PENDING_TRANSFER))
        both = np.concatenate([release, transfers((312, 3, 11, 60))])
        signatures = sign(chain_id, both, [helps, helps])
        result = client.post(both, signers=np.array([other] * 2, np.uint32), signatures=signatures)
        assert result.results.tolist() == [0, 0]
        wait_until(lambda: all(node.height >= result.height for node in network.nodes))
    assert_one_chain(network.nodes, result.height)


def test_a_bank_whose_attestation_key_was_rotated_goes_on_with_the_new_one(network):
    open_accounts(network)
    node, new = network.nodes[0], pl.keys.SigningKey.from_seed(b"n" * 32)
    roles = pl.KeyRole.HOLDER | pl.KeyRole.ATTESTER | pl.KeyRole.GOVERNOR
    with node.client() as client:
        proofs = pl.signing.prove_possession([new], network.genesis.chain_id, 0, int(roles))
        (index,) = client.register_keys(key_rows([new]), proofs, roles=roles).tolist()
    with NodeClient(node.folder, new) as client, node.client() as old:
        rows = np.zeros(1, CHANGE_ROWS[KIND_REVOCATIONS])  # key 0, at once
        revocation = client.attest(ChangeBatch(KIND_REVOCATIONS, rows, Attest(0, 0, bytes(64))), 1)
        assert client.wait(client.submit(revocation)).results.tolist() == [0]
        with pytest.raises(AuthorisationError, match="key 0 does not attest for it: key_not_valid_at_height"):
            old.post(transfers((600, 1, 11, 5)))
        assert client.create_accounts(accounts([3])).tolist() == [0]
        height = client.post(transfers((601, 3, 11, 5))).height
    wait_until(lambda: node.height >= height)
    with pl.Ledger.open(node.folder, read_only=True) as ledger:
        assert ledger.accounts()["owner_key"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, index]


def test_a_client_needs_a_key_that_attests_for_a_member(network):
    open_accounts(network)
    holder, stranger = (pl.keys.SigningKey.from_seed(letter * 32) for letter in (b"h", b"s"))
    with network.nodes[0].client() as client:
        client.register_keys(key_rows([holder]), pl.signing.prove_possession([holder], network.genesis.chain_id, 0))
    for key in (holder, stranger):
        with pytest.raises(AuthorisationError, match="registered for no member"):
            NodeClient(network.nodes[0].folder, key)
    with NodeClient(network.nodes[0].folder) as client, pytest.raises(AuthorisationError, match="an attestation key"):
        client.attest(client_batch(transfers((610, 1, 11, 5))), 1)


def test_arrays_of_another_kind_are_refused_by_the_client_with_what_came(network):
    with network.nodes[0].client() as client:
        with pytest.raises(InputError, match=r"accounts: expected .* dtype ACCOUNT, got .*float64"):
            client.create_accounts(np.zeros(2))
        with pytest.raises(InputError, match="owners: expected one for each of 2 accounts, got 1"):
            client.create_accounts(accounts([3, 4]), owners=np.zeros(1, np.uint32))


def client_batch(records):
    from pyledger.ledger.batches import TransferBatch

    return TransferBatch(records)


def test_a_batch_that_its_bank_did_not_sign_is_refused_at_the_door(network):
    open_accounts(network)
    with network.nodes[0].client() as client:
        batch = client.attest(client_batch(transfers((500, 1, 11, 5))), client.next_sequence(3))
        forged = type(batch)(transfers((500, 1, 11, 6)), attest=batch.attest)
        with pytest.raises(AuthorisationError):
            client.wait(client.submit(forged))
        with pytest.raises(InputError):
            client.wait(client.submit_bytes(b"\x93garbage"))
        assert client.wait(client.submit(batch)).results.tolist() == [0]


def test_an_observer_follows_and_cannot_submit(network):
    open_accounts(network)
    observer = network.nodes[-1]
    assert observer.name == OBSERVER
    with network.nodes[0].client() as bank, observer.client() as client:
        batch = bank.attest(client_batch(transfers((600, 1, 11, 5))), bank.next_sequence(3))
        with pytest.raises(AuthorisationError, match="observer"):
            client.wait(client.submit(batch))
        height = bank.wait(bank.submit(batch)).height
        assert client.status()["votes"] == 0
    wait_until(lambda: observer.height >= height)


def test_hostile_bytes_of_a_peer_change_nothing(network):
    open_accounts(network)
    evil = network.hub
    for payload in (b"", b"\x01", b"\x01\x90", b"\xe0", b"\xe0" + bytes(33), b"\xff" * 1000, bytes(100_000)):
        for node in network.nodes:
            evil.deliver("BANKBBXX", node.name, payload)
    with network.nodes[0].client() as client:
        assert client.post(transfers((700, 1, 11, 5))).results.tolist() == [0]
        assert client.status()["messages_dropped"] >= 5


def test_the_network_goes_on_without_one_bank_and_the_bank_catches_up(network):
    open_accounts(network)
    away = network.nodes[2]
    away.stop()
    with network.nodes[0].client() as client:
        for number in range(6):
            height = client.post(transfers((800 + number, 1, 11, 5))).height
    away.start()
    wait_until(lambda: away.height >= height)
    assert_one_chain(network.nodes, height)


def test_all_nodes_stop_and_start_again_where_they_were(network):
    open_accounts(network)
    with network.nodes[0].client() as client:
        height = client.post(transfers((900, 1, 11, 5))).height
    for node in network.nodes:
        node.stop()
    before = network.nodes[0].headers()
    for node in network.nodes:
        node.start()
    with network.nodes[1].client() as client:
        assert client.post(transfers((901, 11, 1, 5))).results.tolist() == [0]
    assert network.nodes[0].headers()[:height] == before[:height]


def test_a_folder_of_another_chain_and_one_in_use_are_refused(tmp_path, network):
    node = network.nodes[0]
    with pytest.raises(StorageError, match="another process"):
        BookApplication(node.folder, network.genesis, 1 << 20)
    other = pl.Genesis("other", 1, network.genesis.currencies, network.genesis.institutions)
    with pytest.raises(StorageError, match="another chain"):
        BookApplication(node.folder, other, 1 << 20)


def test_a_node_whose_disk_fails_stops_and_the_others_go_on(network):
    open_accounts(network)
    failing = network.nodes[3]

    def fail(*_):
        raise StorageError("journal: no space left on device")

    failing.application._journal.wait = fail
    with network.nodes[0].client() as client:
        for number in range(3):
            assert client.post(transfers((950 + number, 1, 11, 5))).results.tolist() == [0]
    failing.thread.join(60)
    assert isinstance(failing.error, StorageError)
    failing.error = None
