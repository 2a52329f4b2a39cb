"""Validators change while node processes run over real servers: one leaves, one joins, proofs reach across."""

import dataclasses
import json
import subprocess
import sys

import msgspec
import pytest
from ledgers import accounts, transfers
from networks import PASSPHRASE, ProcessNetwork, assert_one_chain, wait_until

import pyledger as pl
from pyledger import verifier
from pyledger.crypto import keys as key_files
from pyledger.ledger.commands import ChangeValidators, Validator
from pyledger.ledger.validators import Roster

JOINING, LEAVING = "BANKEEXX", "BANKDDXX"
LIMITS = "round_timeout_ms = 700\nblock_interval_ms = 5\nsnapshot_every = 12"


@pytest.fixture(params=["postgres", "jetstream"])
def network(request, tmp_path_factory):
    transport = request.getfixturevalue({"postgres": "postgres", "jetstream": "nats"}[request.param]).transport
    folder = tmp_path_factory.mktemp("net") / "n"
    with ProcessNetwork(folder, transport, limits=LIMITS, observers=[JOINING]) as network:
        yield network


@pytest.fixture
def newcomer(network):
    """The node of the bank that joins, which runs as an observer first; its key was made on its own machine."""
    node = next(node for node in network.nodes if node.name == JOINING)
    node.key = key_files.generate(
        node.config.parent / "validator.key", PASSPHRASE, scheme="bls12381-min-sig", work_factor=14
    )
    return node


def bank_of(network, name):
    return next(node for node in network.nodes if node.name == name)


def become_validator(node):
    """Stop the observer and start it as what it is from now on, with a key that has never voted."""
    assert node.stop() == 0
    text = node.config.read_text().replace('role = "observer"', 'role = "validator"')
    node.config.write_text(text.replace("[transport]", '[keys]\nvalidator = "validator.key"\n\n[transport]'))
    node.start("--new-key")


def change_of(network, genesis, members, from_height):
    """The governors' approvals, each made with its own key file."""
    terms = (1, from_height, members)
    approvals = []
    for bank in range(3):
        key = key_files.load(network.nodes[bank].config.parent / "attestation.key", PASSPHRASE)
        approvals.append(pl.signing.approve_validators(key, genesis.chain_id, bank, bank, *terms))
    return ChangeValidators(*terms, tuple(approvals))


def run_cli(*arguments):
    command = [sys.executable, "-P", "-m", "pyledger.cli", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_one_validator_leaves_and_another_joins_over_real_servers(network, newcomer, tmp_path):
    first, leaving = network.nodes[0], bank_of(network, LEAVING)
    with first.client() as client:
        assert client.create_accounts(accounts([1, 2])).tolist() == [0, 0]
        before = client.post(transfers((100, 1, 2, 5))).height
        genesis = client.genesis
        joining = Validator(JOINING, 1, newcomer.key.public_key, newcomer.key.proof_of_possession)
        members = (*(each for each in Roster.of(genesis).validators if each.name != LEAVING), joining)
        from_height = client.status()["height"] + 40
        change = change_of(network, genesis, members, from_height)
        with pytest.raises(pl.AuthorisationError, match="3 of 4"):
            client.wait(client.submit(msgspec.structs.replace(change, approvals=change.approvals[:2])))
        assert client.wait(client.submit(change)).results.tolist() == [0]

        wait_until(lambda: newcomer.height >= client.status()["height"] - 2)
        become_validator(newcomer)
        number = 200
        while client.status()["epoch"] == 0:  # it goes on committing up to the change and beyond
            assert client.post(transfers((number, 1, 2, 1))).results.tolist() == [0]
            number += 1
        after = [client.post(transfers((1000 + n, 2, 1, 1))).height for n in range(5)]
        assert before < from_height <= after[0]

        wait_until(lambda: newcomer.status()["epoch"] == 1 and newcomer.height >= after[-1])
        wait_until(lambda: newcomer.status()["votes"] > 0)
        voted = leaving.status()["votes"]
        network.nodes[1].kill()  # with three of four the new one's votes are needed
        last = [client.post(transfers((2000 + n, 1, 2, 1))).height for n in range(2)]
        network.nodes[1].start()
        wait_until(lambda: network.nodes[1].height >= last[-1])
        wait_until(lambda: leaving.height >= last[-1])
        assert leaving.status()["votes"] == voted
        sealed = client.post(transfers((3000, 1, 2, 1))).height
        wait_until(lambda: min(node.height for node in network.nodes) > sealed)
    assert [node.stop() for node in network.nodes] == [0] * len(network.nodes)
    assert_one_chain(network.nodes, sealed)
    opened = [json.loads(line) for line in network.nodes[1].log.read_text().splitlines()]
    assert max(line["snapshot"] for line in opened if line["message"] == "opened") > 0  # the killed one, too
    prove_across(newcomer.folder, network.nodes[1].folder, tmp_path)


def prove_across(newcomer, killed, tmp_path):
    """Receipts of both epochs under the genesis' trust file, and short ones under the one that follows from it."""
    trust = pl.Trust.read(newcomer / "trust.json")
    shown = run_cli("trust", newcomer, "--trust", newcomer / "trust.json", "--out", tmp_path / "now.json")
    assert (shown["epoch"], shown["validators"]) == (1, 4)
    now = pl.Trust.read(tmp_path / "now.json")
    for folder in (newcomer, killed):
        with pl.Ledger.open(folder, read_only=True) as ledger:
            assert ledger.audit().ok
            receipts = {number: ledger.prove(number) for number in (100, 1000, 2000)}
            assert pl.trust_after(trust, ledger.changes_of_validators()) == now
        for number, receipt in receipts.items():
            assert pl.verify_receipt(receipt, trust).id == number
            assert verifier.verify_receipt(receipt, trust).id == number
        with pytest.raises(pl.ProofError, match="epoch 1 or later"):
            pl.verify_receipt(receipts[100], now)
    proof = tmp_path / "short"
    run_cli("prove", newcomer, 2000, "--trusted-epoch", 1, "--out", proof)
    assert proof.stat().st_size < len(receipts[2000])
    assert run_cli("verify", proof, "--trust", tmp_path / "now.json")["valid"]
    assert pl.verify_receipt(proof.read_bytes(), now).id == 2000
    with pytest.raises(pl.ProofError):
        pl.verify_receipt(proof.read_bytes(), trust)
    with pytest.raises(pl.ProofError):
        pl.verify_receipt(proof.read_bytes(), dataclasses.replace(trust, epoch=1))  # the old ones are not in office
