"""Two banks on a book of their own, and one call for each right that is used, changed or abused there."""

from __future__ import annotations

import numpy as np
from ledgers import EUR, accounts, genesis, key_batch, members, transfers

import pyledger as pl
from pyledger.ledger.batches import (
    AccountBatch,
    Attest,
    ChangeBatch,
    HeldKey,
    OrderedBy,
    OwnerOrder,
    TransferBatch,
    batch_kind,
    batch_leaf_hashes,
)
from pyledger.ledger.blocks import ACCOUNT_ENTRY, Block
from pyledger.ledger.book import Book
from pyledger.ledger.commands import (
    CHANGE_ROWS,
    KIND_CONTROLLERS,
    KIND_MANDATE,
    KIND_OWNERS,
    KIND_REVOCATIONS,
    KIND_ROTATION,
)
from pyledger.ledger.validators import Roster

BANK_A, BANK_B = 0, 1
# Key indexes: the banks' own come first.
HOLDER_A1, HOLDER_A2, HOLDER_B1, NOTARY = 2, 3, 4, 5
ACCOUNT_A1, ACCOUNT_A2, ACCOUNT_B1 = 10, 11, 12
PENDING, POST, VOID = (
    pl.TransferFlags.PENDING,
    pl.TransferFlags.POST_PENDING_TRANSFER,
    pl.TransferFlags.VOID_PENDING_TRANSFER,
)


def secret(name):
    """The key of somebody, the same at every call."""
    return pl.keys.SigningKey.from_seed(name.encode().ljust(32, b"\0"))


class Banks:
    """HOLDER_A1 and HOLDER_A2 bank at A, HOLDER_B1 and NOTARY at B; ACCOUNT_A1 is HOLDER_A1's, and so on."""

    def __init__(self, name="test"):
        self.members = members(2)
        self.genesis = genesis(self.members, name=name)
        self.chain_id = self.genesis.chain_id
        self.validators_hash = Roster.of(self.genesis).hash
        self.book = Book(self.genesis)
        self.blocks = []
        self.secrets = [member.attestation for member in self.members]
        self.next_id = 1000
        assert self.register([secret("holder a1"), secret("holder a2")], BANK_A).tolist() == [HOLDER_A1, HOLDER_A2]
        assert self.register([secret("holder b1"), secret("notary")], BANK_B).tolist() == [HOLDER_B1, NOTARY]
        self.open(BANK_A, [(ACCOUNT_A1, HOLDER_A1), (ACCOUNT_A2, HOLDER_A2)])
        self.open(BANK_B, [(ACCOUNT_B1, HOLDER_B1)])

    # Blocks

    def run(self, *submissions):
        """Execute in a block of its own; gives the last result and raises what it raises."""
        book = self.book
        place = {"epoch": 0, "round": book.height + 1, "validators_hash": self.validators_hash}
        execution = book.propose(submissions, time_ns=book.next_time_ns, **place)
        if execution.block is not None:
            book.commit(execution.block)
            self.blocks.append(execution.block)
        if isinstance(execution.results[-1], pl.LedgerError):
            raise execution.results[-1]
        return execution.results[-1]

    def pass_blocks(self, count=1):
        """Append empty blocks."""
        book = self.book
        for _ in range(count):
            arguments = {"time_ns": book.next_time_ns, "epoch": 0, "round": book.height + 1}
            block = book.propose([], validators_hash=self.validators_hash, keep_empty=True, **arguments).block
            book.commit(block)
            self.blocks.append(block)

    def replay(self, trusted=False):
        """A second book that executed all blocks from their bytes."""
        book = Book(self.genesis)
        for block in self.blocks:
            book.apply(Block.from_bytes(block.to_bytes()), trusted=trusted)
        book.check_invariants()
        return book

    def fingerprint(self):
        """Everything that a refused submission must leave as it is."""
        return fingerprint(self.book)

    # Who signs

    def held(self, institution, key=None):
        """Attest with a bank's key."""
        index = institution if key is None else key
        return HeldKey(institution, self.secrets[index].sign, index)

    def attest(self, submission, institution, sequence=None, key=None, chain_id=None, signer=None):
        """A bank's attestation of a batch as whoever holds the bytes can send it."""
        kind, chain_id = batch_kind(submission), chain_id or self.chain_id
        sequence = self.book.next_sequence(institution, kind) if sequence is None else sequence
        index = institution if key is None else key
        hashes = batch_leaf_hashes(chain_id, submission)
        if isinstance(submission, TransferBatch) and submission.controllers is not None:
            hashes = pl.signing.transfer_leaf_hashes(chain_id, submission.records, self.names(submission.controllers))
        signature = pl.signing.sign_batch(self.secrets[index], kind, chain_id, institution, sequence, hashes)
        return Attest(institution, sequence, signature, signer=index if signer is None else signer)

    def names(self, controllers):
        """Public keys of controllers."""
        return [None if key == pl.NO_KEY else self.secrets[key].public_key for key in controllers.tolist()]

    # What is asked

    def register(self, keys, institution, attest=None, **options):
        indexes = self.run(key_batch(keys, self.chain_id, institution, attest or self.held(institution), **options))
        self.secrets += keys
        return indexes

    def open(self, institution, rows):
        """Open accounts from (id, owner)."""
        entries = np.zeros(len(rows), ACCOUNT_ENTRY)
        entries["record"] = accounts([account for account, _ in rows], ledger=EUR)
        entries["owner_key"], entries["institution"] = [owner for _, owner in rows], institution
        assert not self.run(AccountBatch(entries, self.held(institution))).any()

    def change(self, kind, rows, institution, attest=None):
        """A bank's change from rows of two integers."""
        subject = CHANGE_ROWS[kind].names[0]
        table = np.empty(len(rows), CHANGE_ROWS[kind])
        for name, column in zip(table.dtype.names, zip(*rows, strict=True), strict=True):
            table[name] = pl.u128_array(column) if name == subject and kind != KIND_REVOCATIONS else column
        return ChangeBatch(kind, table, attest or self.held(institution))

    def revoke(self, key, height=0, institution=BANK_A, attest=None):
        result = self.run(self.change(KIND_REVOCATIONS, [(key, height)], institution, attest))
        return pl.AuthorityResult(int(result[0]))

    def change_owner(self, account, owner, institution=BANK_A, attest=None):
        result = self.run(self.change(KIND_OWNERS, [(account, owner)], institution, attest))
        return pl.AuthorityResult(int(result[0]))

    def change_controller(self, pending, controller, institution, attest=None):
        result = self.run(self.change(KIND_CONTROLLERS, [(pending, controller)], institution, attest))
        return pl.AuthorityResult(int(result[0]))

    def change_refused(self, kind, row, institution):
        """Why an attested change was refused; it uses up its sequence and changes nothing else."""
        before = rights(self.book)
        result = self.run(self.change(kind, [row], institution))
        assert rights(self.book) == before
        return pl.AuthorityResult(int(result[0]))

    def order(self, kind, account, subject, signer, sequence=None, chain_id=None, by=None, **terms):
        """An owner's order, signed by the key `by` (that of `signer` by default)."""
        sequence = self.book.next_sequence(signer, kind) if sequence is None else sequence
        key, name = self.secrets[signer if by is None else by], self.secrets[subject].public_key
        chain_id = chain_id or self.chain_id
        if kind == KIND_MANDATE:
            args = (account, name, terms["amount"], terms["until_height"])
            signature = pl.signing.sign_mandate(key, chain_id, sequence, *args)
        else:
            signature = pl.signing.sign_rotation(key, chain_id, sequence, account, name)
        return OwnerOrder(kind, account, subject, OrderedBy(signer, sequence, signature), **terms)

    def mandate(self, account, holder, amount, until_height, signer, **options):
        order = self.order(KIND_MANDATE, account, holder, signer, amount=amount, until_height=until_height, **options)
        return pl.AuthorityResult(int(self.run(order)[0]))

    def rotate(self, account, owner, signer, **options):
        return pl.AuthorityResult(int(self.run(self.order(KIND_ROTATION, account, owner, signer, **options))[0]))

    def payment(self, debit, credit, amount, flags=0, **fields):
        """A transfer record with a new id; its id is `last_id`."""
        self.next_id += 1
        record = transfers((self.next_id, debit, credit, amount), flags=int(flags))
        for name, value in fields.items():
            record[name] = pl.u128_array([value]) if record.dtype[name] == pl.U128 else value
        return record

    @property
    def last_id(self):
        return self.next_id

    def resolution(self, pending, flag):
        """A record that posts or voids a pending transfer as a whole."""
        self.next_id += 1
        whole = (1 << 128) - 1 if flag == POST else 0
        return pl.make_transfers(id=[self.next_id], pending_id=pending, amount=whole, flags=int(flag))

    def signed(self, records, signer, controller=None, by=None, signed_controller="same"):
        """Records signed by one key; `signed_controller` is what the signature is about, if not the one given."""
        count = len(records)
        said = controller if signed_controller == "same" else signed_controller
        names = None if said is None else [self.secrets[said].public_key] * count
        key = self.secrets[signer if by is None else by]
        signatures = pl.signing.sign_transfers([key] * count, self.chain_id, records, names)
        signers = np.full(count, signer, np.uint32)
        given = None if controller is None else np.full(count, controller, np.uint32)
        return TransferBatch(records, signers, signatures, controllers=given)

    def post(self, records, signer, **options):
        return code(self.run(self.signed(records, signer, **options)))

    def post_attested(self, records, institution, controller=None, attest=None):
        given = None if controller is None else np.full(len(records), controller, np.uint32)
        return code(self.run(TransferBatch(records, attest=attest or self.held(institution), controllers=given)))


def code(results):
    """The only result code of a call."""
    assert len(set(results.tolist())) == 1
    return pl.CreateTransferResult(int(results[0]))


def rights(book):
    """Everything that decides who may do what, and every balance; the height at which the engine stands aside."""
    state = {name: column.tobytes() for name, column in book.engine.dump().items() if name != "height"}
    return book.state.root(), state, book.keys_count


def fingerprint(book):
    """The same, what counts as the next of each kind, and the last block."""
    counts = {counter: count for counter, count in book.authority.sequences.items() if count}
    return rights(book), counts, book.authority.office, book.tip
