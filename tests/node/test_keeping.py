"""Ledgers that seal and take snapshots all the time: nobody may notice, before and after opening again."""

import shutil
import time

import numpy as np
import pytest
from ledgers import accounts, genesis, members, transfers
from networks import wait_until

import pyledger as pl
from pyledger.ledger.snapshots import find_snapshot
from pyledger.ledger.store import segment_files
from pyledger.node import keeping as node_keeping
from pyledger.node.keeping import Keeping

TINY = Keeping(window=4, segment=3, snapshot_every=20)
R = pl.CreateTransferResult
PENDING, POST, VOID = (
    pl.TransferFlags.PENDING,
    pl.TransferFlags.POST_PENDING_TRANSFER,
    pl.TransferFlags.VOID_PENDING_TRANSFER,
)
ACCOUNTS = tuple(range(1, 7))


class Twin:
    """What a ledger should answer, kept in plain lists."""

    def __init__(self):
        self.transfers = []
        self.balances = [dict.fromkeys(ACCOUNTS, 0)]

    def post(self, rows):
        self.transfers += rows
        balances = dict(self.balances[-1])
        for _, debit, credit, amount in rows:
            balances[debit] -= amount
            balances[credit] += amount
        self.balances.append(balances)


def post_some(ledger, twin, count, rng):
    for _ in range(count):
        rows = []
        for _ in range(int(rng.integers(1, 6))):
            debit, credit = rng.choice(ACCOUNTS, 2, replace=False).tolist()
            rows.append((1000 + len(twin.transfers) + len(rows), debit, credit, int(rng.integers(1, 100))))
        assert not ledger.post(transfers(*rows)).results.any()
        twin.post(rows)


def wait_for_snapshot(ledger, path, height=1):
    """Until a snapshot of that height or a later one is there."""
    for _ in range(1000):
        if any(int(file.name.split(".")[0]) >= height for file in (path / "snapshots").glob("*.snapshot")):
            return
        time.sleep(0.01)
    raise AssertionError(f"no snapshot: {sorted((path / 'snapshots').iterdir())}")


def require_twin(ledger, twin, first_height=1):
    for account, balance in twin.balances[-1].items():
        now = ledger.balance(account)
        assert now.credits_posted - now.debits_posted == balance
        history = ledger.history(account)
        expected = [row for row in reversed(twin.transfers) if account in row[1:3]]
        assert [int.from_bytes(i, "big") for i in history["id"].to_pylist()] == [row[0] for row in expected]
        assert [int(amount) for amount in history["posted_amount"].to_pylist()] == [row[3] for row in expected]
        for height in range(first_height, ledger.height + 1, 7):
            then = ledger.balance(account, height=height)
            assert then.credits_posted - then.debits_posted == twin.balances[height - first_height][account]
            at_end = ledger.balance(account, time_ns=ledger.header(height).time_ns + 100)
            assert at_end == then
    repeated = ledger.post(transfers(*twin.transfers[:: len(twin.transfers) // 20 + 1]))
    assert set(repeated.results.tolist()) == {int(R.EXISTS)}
    twin.balances += twin.balances[-1:] * (ledger.height - len(twin.balances))  # attestations make blocks too


def make(path, **fields):
    keys = members(1)
    ledger = pl.Ledger.create(path, genesis(keys), keys=keys, keeping=TINY, **fields)
    assert not ledger.create_accounts(accounts(ACCOUNTS)).any()
    return ledger


def test_a_ledger_that_seals_and_takes_snapshots_answers_as_one_that_keeps_everything(tmp_path):
    rng, twin = np.random.default_rng(1), Twin()
    with make(tmp_path / "ledger") as ledger:
        post_some(ledger, twin, 60, rng)
        wait_for_snapshot(ledger, tmp_path / "ledger")
        require_twin(ledger, twin)
        height, tip = ledger.height, ledger.tip
    for _ in range(3):
        with pl.Ledger.open(tmp_path / "ledger", keys=members(1), keeping=TINY) as ledger:
            assert (ledger.height, ledger.tip) == (height, tip)
            require_twin(ledger, twin)
            post_some(ledger, twin, 25, rng)
            require_twin(ledger, twin)
            assert ledger.audit().ok
            height, tip = ledger.height, ledger.tip


def test_opening_executes_only_what_is_behind_the_snapshot(tmp_path, monkeypatch):
    rng, twin = np.random.default_rng(2), Twin()
    with make(tmp_path / "ledger") as ledger:
        post_some(ledger, twin, 40, rng)
        wait_for_snapshot(ledger, tmp_path / "ledger", 5)
        height = ledger.height
    executed = heights_executed(monkeypatch)
    with pl.Ledger.open(tmp_path / "ledger", keys=members(1), keeping=TINY) as ledger:
        assert ledger.height == height
        assert executed == list(range(height - len(executed) + 1, height + 1))
        assert len(executed) < height - 4
        require_twin(ledger, twin)


@pytest.mark.parametrize("damage", ["snapshots", "segments", "both", "a bit of each snapshot", "a bit of each segment"])
def test_what_is_derived_is_made_again_when_it_is_damaged(tmp_path, damage):
    rng, twin, path = np.random.default_rng(3), Twin(), tmp_path / "ledger"
    with make(path) as ledger:
        post_some(ledger, twin, 50, rng)
        wait_for_snapshot(ledger, path)
        tip = ledger.tip
    for folder in ("snapshots", "segments"):
        if damage in (folder, "both"):
            shutil.rmtree(path / folder)
        elif folder[:-1] in damage:
            for file in (path / folder).iterdir():
                content = bytearray(file.read_bytes())
                content[len(content) // 2] ^= 16
                file.write_bytes(content)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert ledger.tip == tip
        require_twin(ledger, twin)
        post_some(ledger, twin, 30, rng)
        require_twin(ledger, twin)


def test_a_snapshot_of_another_ledger_is_passed_over(tmp_path):
    rng, twins = np.random.default_rng(4), (Twin(), Twin())
    for name, twin in zip("ab", twins, strict=True):
        with make(tmp_path / name) as ledger:
            post_some(ledger, twin, 30, rng)
            wait_for_snapshot(ledger, tmp_path / name)
    for folder in ("snapshots", "segments"):
        shutil.rmtree(tmp_path / "a" / folder)
        shutil.copytree(tmp_path / "b" / folder, tmp_path / "a" / folder)
    with pytest.raises(pl.StorageError, match="not that of the snapshot"):
        pl.Ledger.open(tmp_path / "a", keys=members(1), keeping=TINY)


def test_a_ledger_opens_from_its_snapshot_in_another_place(tmp_path, monkeypatch):
    rng, twin = np.random.default_rng(8), Twin()
    with make(tmp_path / "here") as ledger:
        post_some(ledger, twin, 30, rng)
        wait_for_snapshot(ledger, tmp_path / "here", 5)
    (tmp_path / "here").rename(tmp_path / "there")
    executed = heights_executed(monkeypatch)
    with pl.Ledger.open(tmp_path / "there", keys=members(1), keeping=TINY) as ledger:
        assert len(executed) < ledger.height - 4
        require_twin(ledger, twin)


def test_a_reader_opens_beside_the_writer_from_its_snapshot(tmp_path):
    rng, twin = np.random.default_rng(5), Twin()
    with make(tmp_path / "ledger") as ledger:
        post_some(ledger, twin, 40, rng)
        wait_for_snapshot(ledger, tmp_path / "ledger")
        with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
            assert reader.tip == ledger.tip
            for account in ACCOUNTS:
                assert reader.balance(account) == ledger.balance(account)
                assert reader.history(account).equals(ledger.history(account))


def test_pending_transfers_outlive_the_window_and_expire_in_time(tmp_path):
    now = [10]
    second = 1_000_000_000
    rng, twin, path = np.random.default_rng(6), Twin(), tmp_path / "ledger"
    with make(path, clock=lambda: now[0]) as ledger:
        held = transfers((1, 1, 2, 500), (2, 1, 2, 70), (3, 1, 2, 8), flags=PENDING)
        held["timeout"] = [0, 5, 0]
        assert not ledger.post(held).results.any()
        reserved = ledger.height
        post_some(ledger, twin, 40, rng)
        wait_for_snapshot(ledger, path)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY, clock=lambda: now[0]) as ledger:
        assert ledger.balance(1).debits_pending == 578
        resolving = transfers((50, 0, 0, (1 << 128) - 1), (51, 0, 0, 0), flags=POST, ledger=0)
        resolving["flags"][1] = VOID
        resolving["pending_id"], resolving["code"] = pl.u128_array([1, 3]), 0
        assert not ledger.post(resolving).results.any()
        assert ledger.balance(1).debits_pending == 70
        now[0] += 6 * second
        expired = ledger.seal().height
        assert ledger.balance(1).debits_pending == 0
        assert ledger.balance(1, height=expired - 1).debits_pending == 70
        assert ledger.balance(1, height=reserved).debits_pending == 578
        assert ledger.balance(1, height=reserved - 1).debits_pending == 0
        assert ledger.post(resolving).results.tolist() == [R.EXISTS, R.EXISTS]
        post_some(ledger, twin, 40, rng)
        wait_for_snapshot(ledger, path, expired + 1)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY, clock=lambda: now[0]) as ledger:
        late = transfers((60, 0, 0, (1 << 128) - 1), flags=POST, ledger=0)
        late["pending_id"], late["code"] = pl.u128_array([2]), 0
        assert ledger.post(late).results.tolist() == [R.PENDING_TRANSFER_EXPIRED]
        assert ledger.balance(1, height=expired - 1).debits_pending == 70
        assert ledger.audit().ok


def test_ids_that_failed_stay_failed_once_they_are_sealed(tmp_path):
    rng, twin, path = np.random.default_rng(7), Twin(), tmp_path / "ledger"
    lost = transfers((7, 1, 99, 5))
    with make(path) as ledger:
        ledger.post(lost)
        post_some(ledger, twin, 40, rng)
        wait_for_snapshot(ledger, path)
        assert ledger.post(lost).results.tolist() == [R.ID_ALREADY_FAILED]
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert ledger.post(lost).results.tolist() == [R.ID_ALREADY_FAILED]
        assert ledger.audit().ok


def test_keeping_takes_numbers_that_work(tmp_path):
    for wrong in ({"window": -1}, {"segment": 0}, {"segment": 1 << 25}, {"snapshot_every": 0}):
        with pytest.raises(pl.InputError, match="keeping"):
            Keeping(**wrong).check()


def flip(file, place=None):
    """Change one bit in the middle, or elsewhere."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("failure", [pl.StorageError("the disk is full"), RuntimeError("the engine has stopped")])
def test_a_ledger_goes_on_without_snapshots_where_one_fails(tmp_path, monkeypatch, caplog, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr(node_keeping.BookCheckpoint, "write", fail)
    rng, twin = np.random.default_rng(12), Twin()
    with make(tmp_path / "ledger") as ledger:
        post_some(ledger, twin, 25, rng)
        ledger._keeper._thread.join(60)
        post_some(ledger, twin, 25, rng)
        require_twin(ledger, twin)
    assert f"{failure}" in caplog.text
    assert "no snapshot is taken until the ledger is opened again" in caplog.text
    assert not list((tmp_path / "ledger" / "snapshots").iterdir())


@pytest.fixture
def two_snapshots(tmp_path):
    """Folder, plain twin and tip of a closed ledger with two snapshots and blocks behind them."""
    rng, twin, path = np.random.default_rng(11), Twin(), tmp_path / "ledger"
    with make(path) as ledger:
        for _ in range(3):
            height = ledger.height
            post_some(ledger, twin, 20, rng)
            wait_for_snapshot(ledger, path, height + 1)
        post_some(ledger, twin, 3, rng)
        tip = ledger.tip
    assert len(list((path / "snapshots").iterdir())) == 2
    return path, twin, tip


def heights_executed(monkeypatch):
    """The heights of the blocks that are executed from now on."""
    executed, apply = [], node_keeping.Book.apply
    record = lambda book, block, **rest: (executed.append(block.header.height), apply(book, block, **rest))  # noqa: E731
    monkeypatch.setattr(node_keeping.Book, "apply", record)
    return executed


def test_a_damaged_snapshot_is_named_and_the_one_before_it_used(two_snapshots, monkeypatch, caplog):
    path, twin, tip = two_snapshots
    older, newer = sorted((path / "snapshots").iterdir())
    flip(newer)
    executed = heights_executed(monkeypatch)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert newer.name in caplog.text
        assert "damaged" in caplog.text
        assert executed[0] == int(older.stem) + 1
        assert ledger.tip == tip
        require_twin(ledger, twin)


def test_with_both_snapshots_damaged_every_block_is_executed(two_snapshots, monkeypatch, caplog):
    path, twin, tip = two_snapshots
    for snapshot in (path / "snapshots").iterdir():
        flip(snapshot)
    executed = heights_executed(monkeypatch)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert caplog.text.count("damaged") >= 2
        assert executed[0] == 1
        assert ledger.tip == tip
        require_twin(ledger, twin)


def test_with_both_snapshots_and_an_old_block_damaged_nothing_is_opened(two_snapshots):
    path, _, _ = two_snapshots
    for snapshot in (path / "snapshots").iterdir():
        flip(snapshot)
    segment = next((path / "journal").glob("*.blocks"))
    flip(segment, 4096 * 3 + 200)
    for read_only in (False, True):
        with pytest.raises(pl.StorageError, match=segment.name):
            pl.Ledger.open(path, read_only, keys=members(1), keeping=TINY)


def test_an_old_damaged_block_is_named_when_it_is_read(two_snapshots):
    path, twin, _ = two_snapshots
    segment = next((path / "journal").glob("*.blocks"))
    flip(segment, 4096 * 3 + 200)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        now = ledger.balance(1)
        assert now.credits_posted - now.debits_posted == twin.balances[-1][1]
        assert not ledger.audit().ok
    with pytest.raises(pl.StorageError, match=segment.name):
        pl.Ledger.audit_folder(path)


def old_transfer(path):
    """The first block of transfers, which is sealed; its file, and where its first record lies."""
    with pl.Ledger.open(path, read_only=True) as ledger:
        block = next(block for block in map(ledger.block, range(1, 9)) if len(block.body.transfers))
    segment = next((path / "journal").glob("*.blocks"))
    return block, segment, segment.read_bytes().index(block.body.transfers[0].tobytes())


def test_a_damaged_header_of_an_old_block_is_refused_on_opening(two_snapshots):
    path, _, _ = two_snapshots
    block, segment, place = old_transfer(path)
    frame = segment.read_bytes().rindex(b"PLFRAME\0", 0, place)
    for damaged in (frame + 16, frame + 60, frame + 100):  # height, previous digest, payload digest
        flip(segment, damaged)
        for read_only in (False, True):
            with pytest.raises(pl.StorageError, match=f"offset {frame}: block {block.header.height} is corrupt but"):
                pl.Ledger.open(path, read_only, keys=members(1), keeping=TINY)
        flip(segment, damaged)


def test_a_damaged_payload_of_an_old_block_is_named_by_all_that_read_the_block(two_snapshots):
    path, _, tip = two_snapshots
    block, segment, place = old_transfer(path)
    frame, height = segment.read_bytes().rindex(b"PLFRAME\0", 0, place), block.header.height
    flip(segment, place + 50)  # the amount
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert ledger.tip == tip
        named = f"{segment.name}, offset {frame}: block {height} is corrupt"
        for read in (
            lambda: ledger.block(height),
            lambda: ledger.transfers().read_all(),
            lambda: list(ledger.tail(height, wait=0)),
            lambda: ledger.prove(pl.u128_int(block.body.transfers["id"][0])),
        ):
            with pytest.raises(pl.StorageError, match=named):
                read()
        report = ledger.audit()
        assert (report.ok, report.block) == (False, height)
        assert not ledger.post(transfers((77, 1, 2, 3))).results.any()
    with pytest.raises(pl.StorageError, match=f"block {height} is corrupt but good data follows"):
        pl.Ledger.audit_folder(path)


def test_an_id_that_changed_in_an_old_block_does_not_take_effect_again(two_snapshots):
    path, _, _ = two_snapshots
    block, segment, place = old_transfer(path)
    again = block.body.transfers[:1].copy()
    again["timestamp"] = 0
    flip(segment, place)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        before, height = ledger.balance(1), ledger.height
        with pytest.raises(pl.StorageError, match=f"{segment.name}, offset {place}, transfer 0: the id is not that"):
            ledger.post(again)
    flip(segment, place)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert (ledger.balance(1), ledger.height) == (before, height)
        assert ledger.post(again).results.tolist() == [R.EXISTS]


def test_a_journal_that_ends_before_a_snapshot_is_refused(two_snapshots):
    path, _, _ = two_snapshots
    for segment in (path / "journal").glob("*.blocks"):
        with segment.open("r+b") as file:
            file.truncate(4096 * 9)
    for read_only in (False, True):
        with pytest.raises(pl.StorageError, match="journal"):
            pl.Ledger.open(path, read_only, keys=members(1), keeping=TINY)


def test_two_snapshots_are_kept_and_the_segments_that_they_need(two_snapshots):
    path, _, _ = two_snapshots
    segments = {file.name for file in (path / "segments").iterdir()}
    for snapshot in sorted((path / "snapshots").iterdir()):
        found, damaged = find_snapshot(path / "snapshots", height_max=int(snapshot.stem))
        assert (found.height, damaged) == (int(snapshot.stem), [])
        needed = segment_files({"segments": found.sections["engine.segments"].reshape(-1, 28)})
        assert set(needed) <= segments
        assert needed


def test_accounts_alone_make_a_snapshot(tmp_path):
    with make(tmp_path / "ledger") as ledger:
        assert not ledger.create_accounts(accounts(range(100, 130))).any()
        wait_for_snapshot(ledger, tmp_path / "ledger", 2)
    with pl.Ledger.open(tmp_path / "ledger", keys=members(1)) as ledger:
        assert ledger.accounts().num_rows == 36


def test_a_snapshot_waits_for_half_as_many_records_as_it_holds_accounts(tmp_path):
    path = tmp_path / "ledger"
    with make(path) as ledger:
        assert not ledger.create_accounts(accounts(range(100, 194))).any()  # a hundred with the six
        wait_until(lambda: ledger._keeper._snapshot_at == 150)
    with pl.Ledger.open(path, keys=members(1), keeping=TINY) as ledger:
        assert ledger._keeper._snapshot_at == 150
        assert not ledger.post(transfers(*((row, 1, 2, 5) for row in range(1, 51)))).results.any()
        wait_until(lambda: ledger._keeper._snapshot_at == 200)
    assert find_snapshot(path / "snapshots")[0].height == 3
