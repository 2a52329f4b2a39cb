"""Real headers and certificates of a small chain, for tests."""

from dataclasses import replace

from pyledger.consensus.certificates import ZERO_HASH
from pyledger.consensus.light_client import Segment
from pyledger.consensus.messages import VoteStatement
from pyledger.crypto import bls
from pyledger.ledger.blocks import Header

CHAIN, GENESIS = b"c" * 16, b"g" * 32


def make_keys(count, salt=0):
    return [bls.SecretKey.from_seed(bytes([salt, number]) * 16) for number in range(count)]


def make_set(keys, weights=None):
    proofs = [key.proof_of_possession for key in keys]
    return bls.ValidatorSet([key.public_key for key in keys], weights or [1] * len(keys), proofs)


def make_header(parent=GENESIS, height=1, round=1, validators=None, next_hash=None, epoch=0, **fields):
    plain = {
        "chain_id": CHAIN,
        "epoch": epoch,
        "height": height,
        "round": round,
        "time_ns": height,
        "parent": parent,
        "validators_hash": validators.hash,
        "next_validators_hash": validators.hash if next_hash is None else next_hash,
        "accounts_count": 0,
        "transfers_count": 0,
        "commands_count": 0,
        **dict.fromkeys(("accounts_root", "transfers_root", "commands_root", "outcomes_root"), bytes(32)),
        "state_root": b"s" * 32,
        "history_root": bytes(32),
    }
    return Header(**{**plain, **fields})


def statement_of(header):
    return VoteStatement(
        header.chain_id,
        header.epoch,
        header.round,
        header.height,
        header.validators_hash,
        header.parent,
        header.hash,
        header.state_root,
    )


def certify(header, validators, keys, signers=None):
    message = statement_of(header).to_bytes()
    collector = bls.VoteCollector(validators, message)
    for index in signers or range(len(keys)):
        collector.add(index, keys[index].sign(message))
    return collector.certificate().to_bytes()


def make_chain(validators, keys, rounds, parent=GENESIS, height=1, epoch=0, ends_at=None, next_hash=None):
    """Headers in the given rounds, with certificates; `ends_at` is the height of an epoch's last."""
    entries, headers = [], []
    for round in rounds:
        following = None if ends_at is None or height < ends_at else next_hash if height == ends_at else ZERO_HASH
        header = make_header(parent, height, round, validators, following, epoch)
        entries.append((header.to_bytes(), certify(header, validators, keys)))
        headers.append(header)
        parent, height = header.hash, height + 1
    return headers, tuple(entries)


def with_header(segment, place, validators, keys, **fields):
    """The segment with one header changed and certified as it is then."""
    entries = list(segment.entries)
    header = replace(Header.from_bytes(entries[place][0]), **fields)
    entries[place] = (header.to_bytes(), certify(header, validators, keys))
    return Segment(tuple(entries), segment.next_validators)
