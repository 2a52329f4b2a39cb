"""A chain of four banks without consensus: a book that makes blocks, and batches that its banks attest for it."""

from dataclasses import replace

import numpy as np
from ledgers import accounts, genesis, key_batch, members, sign

import pyledger as pl
from pyledger.consensus.committee import Committee
from pyledger.consensus.messages import statement_of
from pyledger.ledger.batches import Attest, HeldKey, TransferBatch, batch_kind, batch_leaf_hashes
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block
from pyledger.ledger.book import Book
from pyledger.ledger.validators import Roster
from pyledger.node.certified import sync_entry
from pyledger.node.mempool import Waiting
from pyledger.node.submissions import digest_of, encode_submission

KEYS = members(4)
GENESIS = genesis(KEYS)
OWNER = pl.keys.SigningKey.from_seed(b"owner".ljust(32, b"\0"))


class World:
    """A book that makes blocks, and batches attested for it."""

    def __init__(self):
        self.book = Book(GENESIS)

    def attested(self, kind, rows, bank=0, ahead=0):
        """A batch under the sequence that the book expects next, or further ones."""
        return self.attest(kind(rows, attest=HeldKey(bank, KEYS[bank].attestation.sign)), ahead)

    def attest(self, made, ahead=0):
        """The batch with its bank's signature."""
        bank, kind = made.attest.institution, batch_kind(made)
        sequence = self.book.next_sequence(bank, kind) + ahead
        hashes = batch_leaf_hashes(GENESIS.chain_id, made)
        signature = pl.signing.sign_batch(KEYS[bank].attestation, kind, GENESIS.chain_id, bank, sequence, hashes)
        return replace(made, attest=Attest(bank, sequence, signature))

    def keys(self, *keys):
        """The batch that registers keys at the first bank."""
        return self.attest(key_batch(list(keys), GENESIS.chain_id, 0, HeldKey(0, KEYS[0].attestation.sign)))

    def block(self, *batches):
        execution = self.book.propose(
            batches, time_ns=self.book.next_time_ns, epoch=0, round=1, validators_hash=bytes(32), keep_empty=True
        )
        self.book.commit(execution.block)
        return execution.block

    def codes(self, waiting):
        """Results that a waiting batch would have in the next block."""
        self.book.mark()
        self.book.begin(self.book.next_time_ns)
        codes = self.book.execute(waiting.prepared)
        self.book.roll_back()
        return codes

    def waiting(self, batch):
        content = encode_submission(batch)
        return Waiting(digest_of(content), content, self.book.prepare(batch), 0)


def certified(block):
    """A block of this chain's, as bytes, with the certificate that its validators give it."""
    decoded = Block.from_bytes(block)
    committee = Committee(Roster.of(GENESIS).keys, [key.validator for key in KEYS], (0, 0))
    return sync_entry(decoded, committee.certify(statement_of(decoded.header)).to_bytes())


def entries(ids, bank=0):
    rows = np.zeros(len(ids), ACCOUNT_ENTRY)
    rows["record"], rows["institution"], rows["owner_key"] = accounts(ids), bank, bank
    return rows


def signed(rows, signers=4):
    """Transfers that OWNER signed, as the key of an index."""
    signatures = sign(GENESIS.chain_id, rows, [OWNER] * len(rows))
    return TransferBatch(rows, np.full(len(rows), signers, np.uint32), signatures)


def key_of(number):
    """A key, of its own for each number."""
    return pl.keys.SigningKey.from_seed(number.to_bytes(32, "big"))
