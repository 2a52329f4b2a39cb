"""A small ledger with something of every kind, and what is proven about it: the same bytes each time it is made.

    python tests/support/frozen_ledger.py

writes the vectors of tests/vectors/formats again. Do that only where a format was changed on purpose, with a new
version.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec
import numpy as np
from ledgers import accounts, genesis, members, register, transfers

import pyledger as pl
from pyledger.consensus import messages as m
from pyledger.consensus.application import VoteRecord
from pyledger.consensus.evidence import Evidence
from pyledger.consensus.signing import BlsSigning
from pyledger.consensus.vote_store import VoteStore
from pyledger.ledger.commands import Approval, ChangeValidators, Validator

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "formats"
SECOND = 10**9
PENDING, POST = int(pl.TransferFlags.PENDING), int(pl.TransferFlags.POST_PENDING_TRANSFER)
LIMITED = int(pl.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
RECEIPTS = (20, 22, 23, 31, 40, 42)
OWNED, OWNED_LATER, ATTESTING_LATER = (
    pl.keys.SigningKey.from_seed(name.ljust(32, b"\0")) for name in (b"owned", b"owned later", b"attesting later")
)
OTHER = pl.keys.SigningKey.from_seed(b"other".ljust(32, b"\0"))


class Times:
    """A clock that moves a second at each look."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        self.now_ns += SECOND
        return self.now_ns


def make(folder: Path, keeping: pl.Keeping | None = None) -> dict[str, bytes]:
    """Make the ledger in a new folder; returns its proofs by file name."""
    keys = members(2)
    more = {} if keeping is None else {"keeping": keeping}
    with pl.Ledger.create(folder, genesis(keys), keys=keys, clock=Times(), **more) as ledger:
        _open_accounts(ledger)
        _move(ledger)
        _change_rights(ledger)
        ledger.seal()
        ledger.seal()
        proofs = {f"{number}.receipt": ledger.prove(number) for number in RECEIPTS}
        balances = {f"{number}.balance": ledger.prove_balance(number) for number in (1, 77)}
        return proofs | balances | {"2-9.consistency": ledger.prove_history(2, 9)}


def _open_accounts(ledger: pl.Ledger) -> None:
    """Keys 2 and 3 own accounts 1 and 2, 5 may not be overdrawn, 4 and 9 are a bank's own."""
    assert register(ledger, [OWNED], "BANKAAXX").tolist() == [2]
    assert register(ledger, [OTHER], "BANKBBXX").tolist() == [3]
    for record, owner, bank in (
        (accounts([1]), 2, "BANKAAXX"),
        (accounts([2]), 3, "BANKBBXX"),
        (accounts([5], flags=LIMITED), 2, "BANKAAXX"),
    ):
        assert not ledger.create_accounts(record, owners=np.array([owner], np.uint32), institution=bank).any()
    own = np.concatenate([accounts([9]), accounts([4], flags=LIMITED), accounts([9], flags=LIMITED)])
    results = ledger.create_accounts(own, institution="BANKAAXX")
    assert results.tolist() == [0, 0, int(pl.CreateAccountResult.EXISTS_WITH_DIFFERENT_FLAGS)]


def _move(ledger: pl.Ledger) -> None:
    """Attested and signed transfers, refused ones among them; pending ones, posted in part, open and expired."""
    over = pl.CreateTransferResult.EXCEEDS_CREDITS
    attested = ledger.post(transfers((20, 9, 1, 1000), (21, 4, 9, 5)), institution="BANKAAXX")
    assert attested.results.tolist() == [0, over]
    assert _signed(ledger, transfers((22, 1, 2, 250), (23, 1, 5, 1 << 100), (24, 5, 2, 1 << 101))) == [0, 0, over]
    linked = transfers((25, 1, 2, 1), (26, 1, 2, 2))
    linked["flags"][0] = int(pl.TransferFlags.LINKED)
    assert _signed(ledger, linked) == [0, 0]
    pending = transfers((30, 1, 2, 70), (32, 1, 2, 80), (33, 1, 2, 90), flags=PENDING)
    pending["timeout"][2] = 1
    assert _signed(ledger, pending, controller=3) == [0, 0, 0]
    half = pl.make_transfers(id=[31], pending_id=30, amount=45, flags=POST)
    assert _signed(ledger, half, 3, OTHER) == [0]


def _change_rights(ledger: pl.Ledger) -> None:
    """A mandate, an owner's new key, a new attestation key, another controller, a revoked key; each is used."""
    chain, ok = ledger.genesis.chain_id, int(pl.AuthorityResult.OK)
    mandate = pl.signing.sign_mandate(OWNED, chain, 1, 1, OTHER.public_key, 500, 1000)
    assert ledger.set_mandate(1, 3, 500, 1000, order=(2, 1, mandate)) == ok
    assert _signed(ledger, transfers((40, 1, 2, 3)), 3, OTHER) == [0]
    (new,) = register(ledger, [OWNED_LATER], "BANKAAXX").tolist()
    rotation = pl.signing.sign_rotation(OWNED, chain, 2, 1, OWNED_LATER.public_key)
    assert ledger.rotate_owner(1, new, order=(2, 2, rotation)) == ok
    assert _signed(ledger, transfers((41, 1, 2, 3))) == [int(pl.CreateTransferResult.SIGNER_NOT_AUTHORISED)]
    assert _signed(ledger, transfers((42, 1, 2, 4)), new, OWNED_LATER) == [0]
    ledger.rotate_attestation_key(ATTESTING_LATER, institution="BANKAAXX")
    assert ledger.post(transfers((43, 9, 2, 6)), institution="BANKAAXX").results.tolist() == [0]
    controllers = ledger.change_controllers(pl.u128_array([32]), np.array([1], np.uint32), institution="BANKBBXX")
    assert controllers.tolist() == [ok]
    assert ledger.revoke_keys(np.array([3], np.uint32), institution="BANKBBXX").tolist() == [ok]


def _signed(ledger, records, index=2, key=OWNED, controller=None):
    names = None if controller is None else [ledger.public_key(controller)] * len(records)
    signatures = pl.signing.sign_transfers([key] * len(records), ledger.genesis.chain_id, records, names)
    given = None if controller is None else np.full(len(records), controller, np.uint32)
    signers = np.full(len(records), index, np.uint32)
    return ledger.post(records, signers=signers, signatures=signatures, controllers=given).results.tolist()


def wire() -> dict[str, bytes]:
    """What validators sign and send, one of each kind, the command that changes them, and evidence, by name."""
    validator = members(1)[0].validator
    signing, chain = BlsSigning(validator), bytes(range(16))
    hashes = [bytes([number]) * 32 for number in range(1, 7)]
    vote = m.VoteStatement(chain, 2, 9, 40, *hashes[:4])
    timeout = m.TimeoutStatement(chain, 2, 10, 9, hashes[0])
    proposal = m.ProposalStatement(chain, 2, 11, hashes[0], hashes[4], hashes[5])
    batch = m.BatchStatement(chain, 2, hashes[0], hashes[5])
    certificate = m.Certificate(vote, b"\x01", signing.sign(vote))
    gave_up = m.TimeoutCertificate(2, 10, ((0, 9),), signing.sign(timeout), certificate)
    sent = {
        "proposal": m.Proposal(b"block", certificate, gave_up, 0, signing.sign(proposal)),
        "vote": m.Vote(vote, 0, signing.sign(vote)),
        "timeout": m.Timeout(timeout, certificate, 0, signing.sign(timeout)),
        "status": m.Status(certificate, gave_up),
        "sync": m.SyncRequest(7, hashes[0]),
        "blocks": m.SyncResponse((m.SyncEntry(b"block", certificate),)),
        "batch": m.Batch(b"content"),
        "acknowledgement": m.Acknowledgement(batch, 0, signing.sign(batch)),
        "held": m.BatchCertificate(batch, b"\x01", signing.sign(batch)),
        "want": m.BatchRequest(hashes[5]),
    }
    signed = {f"{statement.NAME} statement": statement.to_bytes() for statement in (vote, timeout, proposal, batch)}
    other = msgspec.structs.replace(vote, block_hash=hashes[5])
    evidence = Evidence(0, vote.to_bytes(), signing.sign(vote), other.to_bytes(), signing.sign(other))
    member = Validator("BANKCCXX", 3, validator.public_key, validator.proof_of_possession)
    change = ChangeValidators(1, 50, (member,), (Approval(0, 2, bytes(64)),))
    messages = {f"{name} message": m.encode(message) for name, message in sent.items()}
    kept = {"validators command": msgspec.msgpack.encode(change), "evidence": evidence.to_bytes()}
    return signed | messages | kept


def vote_record() -> VoteRecord:
    """What a validator had promised when its store was closed."""
    vote = m.VoteStatement(bytes(range(16)), 0, 6, 6, *[bytes([number]) * 32 for number in range(4)])
    return VoteRecord(epoch=0, voted=7, proposed=5, block_hash=b"b" * 32, lock=m.Certificate(vote, b"\x07", b"s" * 48))


def make_votes(path: Path) -> None:
    """A vote store that was written to twice."""
    first = VoteRecord(epoch=0, voted=2, block_hash=b"a" * 32)
    with VoteStore.create(path, bytes(range(16)), b"k" * 96) as store:
        store.save(first)
        store.save(vote_record())


def main() -> None:
    """Write the vectors."""
    VECTORS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(VECTORS / "ledger.zip", "w") as archive:
        folder = Path(scratch)
        proofs = make(folder / "ledger", pl.Keeping(window=0, segment=4, snapshot_every=12))
        make_votes(folder / "votes")
        for name, proof in proofs.items():
            (folder / name).write_bytes(proof)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = zipfile.ZipInfo(str(path.relative_to(folder)))
                archive.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
        with pl.Ledger.open(folder / "ledger", read_only=True) as ledger:
            headers = [ledger.header(height) for height in range(1, ledger.height + 1)]
        _write("blocks.json", [{"hash": one.hash.hex(), "state_root": one.state_root.hex()} for one in headers])
    _write("wire.json", {name: data.hex() for name, data in wire().items()})


def _write(name: str, content: object) -> None:
    (VECTORS / name).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
