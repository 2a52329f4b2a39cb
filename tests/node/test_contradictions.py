"""Evidence that a node keeps, and that anybody with the trust file can check."""

import json

import pytest
from book_worlds import GENESIS, KEYS

import pyledger as pl
from pyledger import cli
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.messages import ProposalStatement, Vote, VoteStatement, encode
from pyledger.consensus.signing import BlsSigning
from pyledger.consensus.vote_store import VoteStore
from pyledger.crypto import bls
from pyledger.errors import ProofError, StorageError
from pyledger.node import contradictions
from pyledger.node.application import BookApplication
from pyledger.node.config import Limits
from pyledger.node.contradictions import Contradictions
from pyledger.node.replica import Replica, peer_names
from pyledger.node.transports.mailbox import Mailbox
from pyledger.node.transports.memory import MemoryHub, MemoryTransport

SECRETS = [bls.SecretKey.from_seed(bytes([place]) * 32) for place in range(3)]
VALIDATORS = bls.ValidatorSet(
    [key.public_key for key in SECRETS], [1, 1, 1], [key.proof_of_possession for key in SECRETS]
)
TRUST = pl.Trust(b"a chain of banks", VALIDATORS.public_keys, VALIDATORS.proofs, (1, 1, 1), ())


def votes(*block_hashes, round=7, signer=1):
    """Votes of one validator for these blocks, as evidence."""
    statements = [
        VoteStatement(TRUST.chain_id, 0, round, 3, VALIDATORS.hash, bytes(32), each * 32, bytes(32))
        for each in block_hashes
    ]
    return evidence_of(statements, signer)


def evidence_of(statements, signer):
    signing = BlsSigning(SECRETS[signer])
    first, second = ((each.to_bytes(), signing.sign(each)) for each in statements)
    return Evidence(signer, *first, *second)


def proven(evidence):
    return evidence.verify(TRUST.chain_id, VALIDATORS, BlsSigning(None))


def test_evidence_is_kept_once_for_each_validator_round_and_kind(tmp_path):
    kept = Contradictions(tmp_path / "evidence")
    first = votes(b"a", b"b")
    path = kept.keep("BANKBBXX", proven(first), first)
    assert path == tmp_path / "evidence" / "BANKBBXX-0-7-vote.evidence"
    assert Evidence.from_bytes(path.read_bytes()) == first
    again = votes(b"a", b"c")
    assert kept.keep("BANKBBXX", proven(again), again) is None
    later = votes(b"a", b"b", round=8)
    assert kept.keep("BANKBBXX", proven(later), later) is not None
    assert Evidence.from_bytes(path.read_bytes()) == first


def test_evidence_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(contradictions, "_FILES_MAX", 3)
    evidence = votes(b"a", b"b")
    for start in (0, 10):  # and not after a restart either
        kept = Contradictions(tmp_path)
        for round in range(start, start + 5):
            kept.keep("BANKBBXX", proven(evidence)._replace(round=round), evidence)
    assert len(list(tmp_path.iterdir())) == 3


def test_evidence_that_cannot_be_kept_is_an_error(tmp_path):
    (tmp_path / "evidence").write_bytes(b"a file, no folder")
    evidence = votes(b"a", b"b")
    with pytest.raises(StorageError, match="evidence"):
        Contradictions(tmp_path / "evidence").keep("BANKBBXX", proven(evidence), evidence)


def test_whoever_has_the_trust_file_sees_who_contradicted_itself():
    statements = [
        ProposalStatement(TRUST.chain_id, 0, 4, VALIDATORS.hash, bytes(32), each * 32) for each in (b"a", b"b")
    ]
    found = pl.verify_evidence(evidence_of(statements, 2).to_bytes(), TRUST)
    assert found == ("proposal", 0, 4, 2, SECRETS[2].public_key)
    for wrong in (b"", votes(b"a", b"a").to_bytes(), votes(b"a", b"b").to_bytes()[:-1]):
        with pytest.raises(ProofError, match="evidence"):
            pl.verify_evidence(wrong, TRUST)


def test_the_command_checks_evidence_beside_proofs(tmp_path, capsys):
    trust, right, wrong = (tmp_path / name for name in ("trust.json", "right", "wrong"))
    trust.write_text(TRUST.to_json())
    right.write_bytes(votes(b"a", b"b").to_bytes())
    wrong.write_bytes(votes(b"a", b"a").to_bytes())
    assert cli.main(["verify", "--trust", str(trust), "--json", str(right)]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["kind"], fields["epoch"], fields["round"], fields["validator"]) == ("vote", 0, 7, 1)
    assert fields["public_key"] == SECRETS[1].public_key.hex()
    assert cli.main(["verify", "--trust", str(trust), str(right), str(wrong)]) == 1
    shown = capsys.readouterr()
    assert "contradiction" in shown.out
    assert "NOT VALID: evidence: the statements do not differ" in shown.err
    assert cli.main(["verify", "--trust", str(wrong), str(right)]) == 3
    assert f"{wrong}: trust file: not valid" in capsys.readouterr().err
    assert cli.main(["verify", "--trust", str(tmp_path / "none"), str(right)]) == 4
    assert f"{tmp_path / 'none'}: No such file" in capsys.readouterr().err


def test_a_node_keeps_the_evidence_that_it_finds(tmp_path):
    key, own, faulty = KEYS[3].validator, GENESIS.institutions[3].bic, KEYS[1].validator
    application = BookApplication(tmp_path / "book", GENESIS, 1 << 24)
    transport = MemoryTransport(MemoryHub(), own, Mailbox(peer_names(GENESIS, [], own)))
    store = VoteStore.create(tmp_path / "votes", GENESIS.chain_id, key.public_key)
    node = Replica(own, GENESIS, application, transport, key, store, Limits())
    epoch = application.anchor.validators
    statements = [
        VoteStatement(GENESIS.chain_id, 0, 1, 1, epoch.hash, GENESIS.hash, each * 32, bytes(32))
        for each in (b"a", b"b")
    ]
    place = epoch.public_keys.index(faulty.public_key)
    for statement in statements:
        vote = Vote(statement, place, BlsSigning(faulty).sign(statement))
        node._take_message(GENESIS.institutions[1].bic, encode(vote))
    application.close()
    (path,) = (tmp_path / "book" / "evidence").iterdir()
    assert path.name == f"{GENESIS.institutions[1].bic}-0-1-vote.evidence"
    trust = pl.Trust.read(tmp_path / "book" / "trust.json")
    assert pl.verify_evidence(path.read_bytes(), trust).validator == place
