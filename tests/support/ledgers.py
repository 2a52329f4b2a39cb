"""Small ledgers for tests: members, accounts, signed and attested transfers."""

import numpy as np

import pyledger as pl
from pyledger.ledger.blocks import transfer_leaves, transfer_messages

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
    messages = transfer_messages(records, pl.merkle.leaf_hashes(transfer_leaves(chain_id, records)))
    signatures = [key.sign(message.tobytes()) for key, message in zip(keys, messages, strict=True)]
    return np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, 64)
