"""The pipeline under a book: order, back-pressure, and what is told to whom when something goes wrong."""

import threading
from concurrent.futures import wait

import numpy as np
import pytest
from ledgers import accounts, genesis, key_batch, members, transfers

import pyledger as pl
from pyledger.ledger.batches import AccountBatch, Attest, HeldKey, TransferBatch
from pyledger.ledger.blocks import ACCOUNT_ENTRY
from pyledger.ledger.book import Book
from pyledger.node.pipeline import Pipeline

R = pl.CreateTransferResult
KEYS = members(1)
BANK = HeldKey(0, KEYS[0].attestation.sign)


class Keeper:
    """Keeps blocks in a list; can be told to wait, or to fail at a height."""

    def __init__(self):
        self.blocks = []
        self.open = threading.Event()
        self.open.set()
        self.arrived = threading.Semaphore(0)
        self.fails_at = None

    def __call__(self, block):
        self.arrived.release()
        assert self.open.wait(60)
        if block.header.height == self.fails_at:
            raise pl.StorageError("the medium is gone")
        self.blocks.append(block)

    @property
    def transfer_ids(self):
        return [number for block in self.blocks for number in block.body.transfers["id"]["lo"].tolist()]


class World:
    """A pipeline over a new book with accounts 1 and 2 in block 1."""

    def __init__(self, **limits):
        self.chain = genesis(KEYS)
        self.book = Book(self.chain)
        self.keep = Keeper()
        self.pipeline = Pipeline(self.book, self.keep, lambda _: None, lambda: 10, bytes(32), pl.Limits(**limits), None)
        entries = np.zeros(2, ACCOUNT_ENTRY)
        entries["record"] = accounts([1, 2])
        assert not self.pipeline.submit(AccountBatch(entries, BANK)).result(60).results.any()
        assert self.keep.arrived.acquire(timeout=60)

    def post(self, *ids, amount=1, **options):
        return self.pipeline.submit(batch(*ids, amount=amount), **options)

    def hold(self):
        """Block the writer, in the middle of a block of its own."""
        self.keep.open.clear()
        first = self.post(9_000_000 + len(self.keep.blocks))
        assert self.keep.arrived.acquire(timeout=60)
        return first

    def credits(self):
        with self.pipeline.reading():
            return int(self.book.engine.accounts()["credits_posted"]["lo"][1])


def batch(*ids, amount=1):
    return TransferBatch(transfers(*((number, 1, 2, amount) for number in ids)), attest=BANK)


@pytest.fixture
def world():
    world = World()
    yield world
    world.keep.open.set()
    world.pipeline.close()


def replayed(world):
    book = Book(world.chain)
    for block in world.keep.blocks:
        book.apply(block)
    return book


def test_what_is_ready_together_shares_a_block(world):
    held = world.hold()
    answers = [world.post(number) for number in range(10, 30)]
    world.keep.open.set()
    heights = [answer.result(60).height for answer in answers]
    assert held.result(60).height == 2
    assert heights == sorted(heights)
    assert len(world.keep.blocks) < 20
    assert world.keep.transfer_ids[1:] == list(range(10, 30))
    assert replayed(world).tip == world.book.tip


def test_answers_come_in_the_order_of_submission(world):
    order = []
    world.hold()
    answers = [world.post(number) for number in range(10, 60)]
    for place, answer in enumerate(answers):
        answer.add_done_callback(lambda _, place=place: order.append(place))
    world.keep.open.set()
    wait(answers, 60)
    assert order == list(range(50))


def test_a_submission_that_is_refused_fails_alone(world):
    world.hold()
    known, chain_id = [KEYS[0].attestation], world.book.chain_id
    before = world.post(10)
    refused = {
        pl.InputError: world.pipeline.submit(key_batch(known, chain_id, 0, BANK)),
        pl.AuthorisationError: world.pipeline.submit(key_batch(known, chain_id, 0, Attest(0, 1, bytes(64)))),
    }
    malformed = world.pipeline.submit(TransferBatch(np.zeros(3, pl.ACCOUNT), attest=BANK))
    stranger = world.pipeline.submit(TransferBatch(transfers((11, 1, 2, 1)), attest=Attest(7, 1, bytes(64))))
    forged = world.pipeline.submit(TransferBatch(transfers((12, 1, 2, 1)), attest=Attest(0, 1, bytes(64))))
    after = world.post(13)
    world.keep.open.set()
    assert [before.result(60).results.tolist(), after.result(60).results.tolist()] == [[0], [0]]
    for kind, answer in refused.items():
        assert isinstance(answer.exception(60), kind)
    assert isinstance(malformed.exception(60), pl.InputError)
    assert isinstance(stranger.exception(60), pl.AuthorisationError)
    assert forged.result(60).results[0] in (R.ATTESTATION_INVALID, R.ATTESTATION_REPLAYED)
    assert replayed(world).tip == world.book.tip


def test_what_has_no_effect_is_answered_without_a_block(world):
    receipt = world.pipeline.submit(TransferBatch(transfers((12, 1, 2, 1)), attest=Attest(0, 1, bytes(64)))).result(60)
    assert receipt.results.tolist() == [R.ATTESTATION_INVALID]
    assert (receipt.height, len(world.keep.blocks)) == (1, 1)


def test_an_empty_block_and_one_with_a_callback_stand_alone(world):
    world.hold()
    seen = []
    answers = [
        world.post(10),
        world.post(11, before_commit=lambda results: seen.append((results.tolist(), len(world.keep.blocks)))),
        world.pipeline.submit(None),
        world.post(12),
    ]
    world.keep.open.set()
    assert [answer.result(60).height for answer in answers] == [3, 4, 5, 6]
    assert seen == [([0], 3)], "called before its block is kept"
    assert world.keep.blocks[4].header.transfers_count == 0


def test_arrays_may_be_used_again_at_once(world):
    world.hold()
    records = transfers((10, 1, 2, 5))
    answer = world.pipeline.submit(TransferBatch(records, attest=BANK))
    records["amount"]["lo"] = 77
    world.keep.open.set()
    assert answer.result(60).results.tolist() == [0]
    assert world.keep.blocks[-1].body.transfers["amount"]["lo"].tolist() == [5]


def test_no_more_than_two_blocks_are_formed_ahead_of_their_roots(world, monkeypatch):
    """Each would take its memory anew; what comes behind them is not lost, only later."""
    formed, close_block = threading.Semaphore(0), Book.close_block

    def closing(book, **options):
        closed = close_block(book, **options)
        formed.release()
        return closed

    held = world.hold()
    monkeypatch.setattr(Book, "close_block", closing)
    answers = [world.post(number, before_commit=lambda _: None) for number in range(10, 16)]  # a block for each
    assert formed.acquire(timeout=60)
    assert formed.acquire(timeout=60)
    assert not formed.acquire(timeout=0.3)
    assert (world.book.posted_height, len(world.keep.blocks)) == (4, 1)
    world.keep.open.set()
    assert [answer.result(60).height for answer in (held, *answers)] == list(range(2, 9))
    assert world.keep.transfer_ids[1:] == list(range(10, 16))
    assert replayed(world).tip == world.book.tip


@pytest.mark.parametrize("limits", [{"submissions_waiting_max": 4}, {"records_waiting_max": 8}])
def test_submit_waits_while_enough_is_under_way(limits):
    world = World(**limits)
    world.hold()
    answers, stop = [], threading.Event()

    def flood():
        answers.extend(world.post(2 * number, 2 * number + 1) for number in range(10, 30))
        stop.set()

    thread = threading.Thread(target=flood)
    thread.start()
    assert not stop.wait(0.3)
    assert world.pipeline.submissions_waiting <= 4
    world.keep.open.set()
    thread.join(60)
    assert [answer.result(60).results.tolist() for answer in answers] == [[0, 0]] * 20
    world.pipeline.close()
    assert world.keep.transfer_ids[1:] == list(range(20, 60))


def test_a_read_waits_until_what_it_saw_is_durable(world):
    answer = world.hold()
    seen = []
    reader = threading.Thread(target=lambda: seen.append(world.credits()))
    reader.start()
    reader.join(0.2)
    assert not seen
    assert not answer.done()
    world.keep.open.set()
    reader.join(60)
    assert seen == [1]
    assert len(world.keep.blocks) == 2


def test_the_first_storage_error_stops_everything(world):
    world.keep.fails_at = 3
    kept = world.hold()
    waiting = [world.post(number) for number in range(12, 40)]
    world.keep.open.set()
    assert kept.result(60).height == 2
    for answer in waiting:
        with pytest.raises(pl.StorageError, match="the medium is gone"):
            answer.result(60)
    with pytest.raises(pl.StorageError, match="open the ledger again"):
        world.post(50)
    with pytest.raises(pl.LedgerError):
        world.credits()
    assert len(world.keep.transfer_ids) == 1


def test_a_submitter_that_waits_for_room_hears_of_the_failure():
    world = World(submissions_waiting_max=1)
    first = world.hold()
    world.keep.fails_at = 2
    heard = []

    def late():
        try:
            heard.append(world.post(10).exception(60))
        except pl.LedgerError as error:
            heard.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    world.keep.open.set()
    thread.join(60)
    assert isinstance(first.exception(60), pl.StorageError)
    assert isinstance(heard[0], pl.StorageError)
    world.pipeline.close()


def test_a_reader_of_what_can_not_be_kept_gets_nothing(world):
    answer = world.hold()
    world.keep.fails_at = 2
    errors = []

    def read():
        try:
            world.credits()
        except pl.LedgerError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(0.1)
    world.keep.open.set()
    reader.join(60)
    assert isinstance(answer.exception(60), pl.StorageError)
    assert len(errors) == 1


@pytest.mark.parametrize("step", ["execute", "close_block", "link", "commit"])
def test_an_error_nobody_expected_stops_everything_and_leaves_no_one_waiting(world, monkeypatch, step):
    submitted = threading.Event()
    monkeypatch.setattr(Book, step, lambda *_, **__: submitted.wait(60) and 1 // 0)
    answers = [world.post(number) for number in range(10, 15)]
    submitted.set()
    for answer in answers:
        with pytest.raises(pl.StorageError, match="ZeroDivisionError"):
            answer.result(60)
    with pytest.raises(pl.StateError, match="open the ledger again"):
        world.post(50)


def test_a_callback_that_fails_stops_everything(world):
    def refuse(_):
        raise ValueError("no")

    answer = world.post(10, before_commit=refuse)
    with pytest.raises(pl.StorageError, match="ValueError: no"):
        answer.result(60)
    with pytest.raises(pl.StateError, match="open the ledger again"):
        world.post(11)
    assert world.keep.transfer_ids == []


def test_closing_finishes_what_was_submitted(world):
    answers = [world.post(number) for number in range(10, 40)]
    world.pipeline.close()
    assert all(answer.done() for answer in answers)
    assert world.keep.transfer_ids == list(range(10, 40))
    with pytest.raises(pl.StateError, match="closed"):
        world.post(50)
    assert world.credits() == 30


def test_an_answer_can_not_be_cancelled(world):
    answer = world.hold()
    assert not answer.cancel()
    world.keep.open.set()
    assert answer.result(60).results.tolist() == [0]


def test_threads_that_submit_and_read_at_once_lose_nothing(world):
    per_thread, threads_count = 150, 4
    failures = []

    def write(first):
        numbers = range(first, first + per_thread)
        answers = [world.post(number) for number in numbers]
        heights = [answer.result(60).height for answer in answers]
        if heights != sorted(heights) or any(answer.result().results.any() for answer in answers):
            failures.append(first)

    def read():
        seen = [world.credits() for _ in range(40)]
        if seen != sorted(seen):
            failures.append(seen)

    threads = [threading.Thread(target=write, args=(1000 * place,)) for place in range(1, threads_count + 1)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert world.credits() == per_thread * threads_count
    assert sorted(world.keep.transfer_ids) == sorted(
        1000 * place + number for place in range(1, threads_count + 1) for number in range(per_thread)
    )
    assert replayed(world).tip == world.book.tip


@pytest.mark.parametrize(
    "limits", [{"records_waiting_max": 0}, {"submissions_waiting_max": 0}, {"block_age_ms": -1}, {"workers": -1}]
)
def test_limits_that_let_nothing_pass_are_refused(limits):
    with pytest.raises(pl.InputError, match="positive"):
        World(**limits)
