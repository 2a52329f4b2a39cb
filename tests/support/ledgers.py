"""Small ledgers for tests: members, accounts, signed and attested transfers."""

import numpy as np

import pyledger as pl
from pyledger.ledger.batches import KeyBatch
from pyledger.node.certified import payload_parts

EUR, JPY = 978, 392
CURRENCIES = (pl.Currency(EUR, "EUR", 2), pl.Currency(JPY, "JPY", 0))


def members(count, seed=b"test"):
    """Keys of banks BANKAAXX, BANKBBXX, ..., the same at every call."""
    return [
        pl.InstitutionKeys(
            f"BANK{letter}{letter}XX",
            pl.keys.SigningKey.from_seed((seed + letter.encode() + b"attest").ljust(32, b"\0")),
            pl.bls.SecretKey.from_seed((seed + letter.encode() + b"vote").ljust(32, b"\0")),
        )
        for letter in "ABCDEFGHIJ"[:count]
    ]


def genesis(keys, **changes):
    """A chain of these members."""
    fields = {"name": "test", "time_ns": 1, "currencies": CURRENCIES, "block_transfers_max": 1000} | changes
    return pl.Genesis(institutions=tuple(key.institution() for key in keys), **fields)


def accounts(ids, ledger=EUR, flags=0):
    """Account records."""
    records = np.zeros(len(ids), pl.ACCOUNT)
    records["id"] = pl.u128_array(ids)
    records["ledger"], records["code"], records["flags"] = ledger, 1, flags
    return records


def transfers(*rows, ledger=EUR, flags=0):
    """Transfer records from (id, debit, credit, amount)."""
    records = np.zeros(len(rows), pl.TRANSFER)
    for name, column in zip(
        ("id", "debit_account_id", "credit_account_id", "amount"), zip(*rows, strict=True), strict=True
    ):
        records[name] = pl.u128_array(column)
    records["ledger"], records["code"], records["flags"] = ledger, 1, flags
    return records


def sign(chain_id, records, keys):
    """Signatures of the records, one key each."""
    return pl.signing.sign_transfers(keys, chain_id, records)


def payload_of(block, certificate):
    """A certified block as it stands in the journal, in one piece."""
    return b"".join(payload_parts(block, certificate))


def key_rows(keys):
    """Public keys as an array."""
    return np.frombuffer(b"".join(key.public_key for key in keys), np.uint8).reshape(-1, 32)


def key_batch(keys, chain_id, institution, attest, **options):
    """Keys to register, with their proofs of possession."""
    proofs = pl.signing.prove_possession(keys, chain_id, institution, options.get("roles", int(pl.KeyRole.HOLDER)))
    return KeyBatch(key_rows(keys), proofs, attest, **options)


def register(ledger, keys, bic=None, **options):
    """Register keys at an institution that the ledger holds the key of; their indexes."""
    institution = 0 if bic is None else ledger.genesis.institution_index[bic]
    roles = options.get("roles", pl.KeyRole.HOLDER)
    proofs = pl.signing.prove_possession(keys, ledger.genesis.chain_id, institution, int(roles))
    return ledger.register_keys(key_rows(keys), proofs, institution=bic, **options)
