"""Books over random lives of their keys: native like the twin, again from their bytes, and enough of all happened."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from rights_kit import fingerprint
from rights_worlds import World

import pyledger as pl
from pyledger.ledger.batches import ChangeBatch, KeyBatch, OwnerOrder, TransferBatch
from pyledger.ledger.book import Book
from pyledger.ledger.commands import KIND_CONTROLLERS, KIND_MANDATE, KIND_OWNERS, KIND_REVOCATIONS
from pyledger.reference.engine import Engine
from pyledger.types import NO_KEY

A, R = pl.AuthorityResult, pl.CreateTransferResult
WORLDS, BLOCKS, FLOOR = 20, 40, 5
SECOND = 10**9


def twin_book(genesis):
    """A book over that engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyledger.ledger.book._core", SimpleNamespace(Engine=Engine))
        return Book(genesis)


def same(first, second):
    if isinstance(first, pl.LedgerError):
        return type(first) is type(second) and str(first) == str(second)
    return first.tolist() == second.tolist()


def name_of(submission):
    if isinstance(submission, ChangeBatch):
        return {KIND_REVOCATIONS: "revocation", KIND_OWNERS: "owners", KIND_CONTROLLERS: "controllers"}[submission.kind]
    if isinstance(submission, OwnerOrder):
        return "mandate" if submission.kind == KIND_MANDATE else "rotation"
    if isinstance(submission, KeyBatch):
        return "keys"
    assert isinstance(submission, TransferBatch)
    return "signed" if submission.attest is None else "attested"


def count(counts, submission, result):
    name = name_of(submission)
    if isinstance(result, pl.LedgerError):
        counts[name, type(result).__name__] += 1
    elif name == "keys":
        counts[name, 0] += 1
    else:
        counts.update((name, code) for code in result.tolist())
        if isinstance(submission, TransferBatch) and submission.controllers is not None:
            counts[name, "controlled"] += int(((submission.controllers != NO_KEY) & (result == 0)).sum())


def take_back(book, submissions, terms, counts):
    """Make the block and take it back: nothing of it is left."""
    before = fingerprint(book)
    book.mark()
    execution = book.propose(submissions, validators_hash=bytes(32), **terms)
    if execution.block is not None:
        book.commit(execution.block)
        counts["taken back"] += 1
    book.roll_back()
    assert fingerprint(book) == before


def run_world(seed, counts):
    world = World(seed)
    banks = world.banks
    twin = twin_book(banks.genesis)
    for block in banks.blocks:
        twin.apply(block)
    for number in range(BLOCKS):
        submissions = world.block()
        step = world.random.choice([0, 0, 2 * SECOND])
        terms = {"time_ns": banks.book.next_time_ns + step, "epoch": 1, "round": banks.book.height + 1}
        if world.random.random() < 0.3:
            take_back(banks.book, submissions, terms, counts)
        native, plain = (book.propose(submissions, validators_hash=bytes(32), **terms) for book in (banks.book, twin))
        for submission, mine, theirs in zip(submissions, native.results, plain.results, strict=True):
            assert same(mine, theirs), f"seed {seed}, block {number}: {submission}: {mine}, the twin {theirs}"
            count(counts, submission, mine)
            world.learn(submission, mine)
        assert (native.block is None) == (plain.block is None)
        if native.block is not None:
            assert native.block.to_bytes() == plain.block.to_bytes()
            banks.blocks.append(native.block)
            banks.book.commit(native.block)
            twin.commit(plain.block)
    assert twin.tip == banks.book.tip
    assert fingerprint(banks.replay()) == fingerprint(banks.book)
    assert fingerprint(banks.replay(trusted=True)) == fingerprint(banks.book)


@pytest.fixture(scope="module")
def counts():
    counts = Counter()
    for seed in range(WORLDS):
        run_world(seed, counts)
    return counts


def test_books_agree_and_every_right_was_used_and_refused(counts):
    expected = [
        *(("keys", outcome) for outcome in (0, "SignatureError", "InputError", "AuthorisationError")),
        *(("revocation", code) for code in (0, A.REGISTRAR_OF_OTHER_INSTITUTION, A.KEY_UNKNOWN, "AuthorisationError")),
        *(
            ("owners", code)
            for code in (0, A.REGISTRAR_OF_OTHER_INSTITUTION, A.OWNER_OF_OTHER_INSTITUTION, A.ACCOUNT_NOT_FOUND)
        ),
        *(("controllers", code) for code in (0, A.CONTROLLER_NOT_VALID, A.PENDING_TRANSFER_NOT_LIVE)),
        *(("mandate", code) for code in (0, A.SIGNATURE_INVALID, A.SIGNER_NOT_AUTHORISED, "AuthorisationError")),
        *(("rotation", code) for code in (0, A.SIGNATURE_INVALID, A.SIGNER_NOT_AUTHORISED, "AuthorisationError")),
        *(
            ("signed", code)
            for code in (
                0,
                "controlled",
                R.SIGNATURE_INVALID,
                R.SIGNER_NOT_AUTHORISED,
                R.KEY_NOT_VALID_AT_HEIGHT,
                R.SIGNER_LACKS_ROLE,
                R.MANDATE_EXCEEDED,
                R.MANDATE_EXPIRED,
                R.CONTROLLER_NOT_VALID,
            )
        ),
        *(
            ("attested", code)
            for code in (
                0,
                "controlled",
                R.ATTESTATION_FOREIGN_ACCOUNT,
                R.ATTESTATION_SIGNER_OF_OTHER_INSTITUTION,
                R.SIGNER_LACKS_ROLE,
                R.KEY_NOT_VALID_AT_HEIGHT,
            )
        ),
    ]
    assert counts["taken back"] > WORLDS
    rare = {f"{name} {code!r}": counts[name, code] for name, code in expected if counts[name, code] < FLOOR}
    assert not rare, f"drawn fewer than {FLOOR} times: {rare}; all: {sorted(counts.items(), key=str)}"
