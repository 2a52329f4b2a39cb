"""`pl.Ledger` as its users meet it: what is acknowledged stays, what is not authorised does not move."""

import resource

import numpy as np
import pytest
from ledgers import EUR, accounts, genesis, key_rows, members, register, sign, transfers

import pyledger as pl
from pyledger.ledger.blocks import KIND_TRANSFERS, batch_message, transfer_leaves

R = pl.CreateTransferResult
MOVE = transfers((1, 1, 2, 3))


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now_ns = 10

    def __call__(self):
        return self.now_ns


@pytest.fixture
def one(tmp_path):
    """A ledger of one bank with accounts 1 and 2."""
    keys = members(1)
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        assert ledger.create_accounts(accounts([1, 2])).tolist() == [0, 0]
        yield ledger


@pytest.fixture
def two(tmp_path):
    """A ledger of two banks: account 1 at the first and 2 at the second, each with a customer's key."""
    keys = members(2)
    customers = [pl.keys.SigningKey.from_seed(bytes([7 + i]) * 32) for i in range(2)]
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys) as ledger:
        for bank, customer, account in zip(keys, customers, (1, 2), strict=True):
            indexes = register(ledger, [customer], bank.bic)
            results = ledger.create_accounts(accounts([account]), owners=indexes, institution=bank.bic)
            assert results.tolist() == [0]
        yield ledger, keys, customers


def test_the_shortest_way_to_post(one):
    receipt = one.post(transfers((10, 1, 2, 500), (11, 2, 1, 20)))
    assert receipt.results.tolist() == [0, 0]
    assert receipt.height == one.height == 2
    assert one.balance(1) == pl.Balance(0, 500, 0, 20)
    assert one.balance(2) == pl.Balance(0, 20, 0, 500)


def test_refused_records_get_codes_and_leave_no_trace_in_the_block(one):
    receipt = one.post(transfers((10, 1, 9, 5), (11, 1, 2, 5)))
    assert receipt.results.tolist() == [R.CREDIT_ACCOUNT_NOT_FOUND, R.CREATED]
    assert one.block(receipt.height).body.transfers["id"]["lo"].tolist() == [11]


def test_an_id_that_failed_stays_failed_after_reopening(one, tmp_path):
    one.post(transfers((10, 1, 9, 5)))
    one.create_accounts(accounts([9]))
    assert one.post(transfers((10, 1, 9, 5))).results.tolist() == [R.ID_ALREADY_FAILED]
    one.close()
    with pl.Ledger.open(tmp_path / "ledger", keys=members(1)) as again:
        assert again.post(transfers((10, 1, 9, 5))).results.tolist() == [R.ID_ALREADY_FAILED]


def test_reopening_gives_the_same_state_and_goes_on(one, tmp_path):
    one.post(transfers((10, 1, 2, 500)))
    tip = one.tip
    one.close()
    with pl.Ledger.open(tmp_path / "ledger", keys=members(1)) as again:
        assert again.tip == tip
        assert again.balance(2).credits_posted == 500
        assert again.post(transfers((10, 1, 2, 500), (11, 1, 2, 1))).results.tolist() == [R.EXISTS, R.CREATED]


def test_a_reader_needs_no_keys_and_writes_nothing(one, tmp_path):
    one.post(transfers((10, 1, 2, 500)))
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as reader:
        assert reader.balance(1).debits_posted == 500
        for attestation in (None, (1, bytes(64))):
            with pytest.raises(pl.StateError, match="read-only"):
                reader.post(transfers((12, 1, 2, 1)), institution="BANKAAXX", attestation=attestation)


def test_a_second_writer_is_refused(one, tmp_path):
    with pytest.raises(pl.StorageError, match="another process"):
        pl.Ledger.open(tmp_path / "ledger", keys=members(1))


def test_a_folder_in_use_is_not_taken_for_a_new_ledger(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(pl.StorageError, match="not empty"):
        pl.Ledger.create(tmp_path, genesis(members(1)), keys=members(1))
    with pytest.raises(pl.StorageError, match=r"no ledger here: .*genesis: No such file"):
        pl.Ledger.open(tmp_path, keys=members(1))


def test_a_ledger_is_not_opened_for_writing_without_keys(one, tmp_path):
    one.close()
    journal = next((tmp_path / "ledger" / "journal").glob("*.blocks"))
    with journal.open("ab") as file:
        file.write(b"torn")
    before = journal.read_bytes()
    with pytest.raises(
        pl.ConsensusError, match=r"ledger: expected the keys of its validators \(keys\), or read_only=True"
    ):
        pl.Ledger.open(tmp_path / "ledger")
    assert journal.read_bytes() == before  # a writer would have cut it


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"", lambda data: data * 9999]
)
def test_a_damaged_genesis_is_named_by_its_file(one, tmp_path, damage):
    one.close()
    path = tmp_path / "ledger" / "genesis"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(pl.InputError, match=f"^{path}: ") as refused:
        pl.Ledger.open(tmp_path / "ledger", read_only=True)
    assert refused.value.file == str(path)


def test_history_and_transfers_come_as_arrow(one):
    one.post(transfers((10, 1, 2, 500)))
    one.post(transfers((11, 2, 1, 7), (12, 1, 2, 1)))
    history = one.history(1)
    assert [int.from_bytes(key) for key in history["id"].to_pylist()] == [12, 11, 10]
    assert [int(amount) for amount in history["posted_amount"].to_pylist()] == [1, 7, 500]
    assert sum(batch.num_rows for batch in one.transfers()) == 3
    with pytest.raises(pl.InputError, match="account 77: not in this ledger"):
        one.history(77)
    table = one.accounts()
    assert table["institution"].to_pylist() == [0, 0]


def test_balancing_transfers_show_both_amounts(one, tmp_path):
    limited = accounts([5], flags=pl.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
    one.create_accounts(limited)
    one.post(transfers((10, 1, 5, 30)))
    sweep = transfers((11, 5, 2, 1000), flags=pl.TransferFlags.BALANCING_DEBIT)
    assert one.post(sweep).results.tolist() == [0]
    assert one.balance(5).debits_posted == 30
    trust = pl.Trust.from_json((tmp_path / "ledger" / "trust.json").read_bytes())
    verified = pl.verify_receipt(one.prove(11), trust)
    assert (verified.amount, verified.posted_amount) == (1000, 30)
    assert one.audit().ok


def test_pending_transfers_expire_by_block_time_and_replay_alike(tmp_path):
    keys, clock = members(1), Clock()
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys, clock=clock) as ledger:
        ledger.create_accounts(accounts([1, 2]))
        reserve = transfers((10, 1, 2, 50), flags=pl.TransferFlags.PENDING)
        reserve["timeout"] = 60
        ledger.post(reserve)
        assert ledger.balance(1).debits_pending == 50
        clock.now_ns += 61 * 10**9
        ledger.seal()
        assert ledger.balance(1).debits_pending == 0
        root = ledger.header(ledger.height).state_root
        assert ledger.audit().ok
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as again:
        assert again.balance(1).debits_pending == 0
        assert again.header(again.height).state_root == root


def test_each_customer_signs_for_his_own_account(two):
    ledger, _, customers = two
    records = transfers((10, 1, 2, 5), (11, 2, 1, 3))
    signatures = sign(ledger.genesis.chain_id, records, customers)
    receipt = ledger.post(records, signers=np.array([2, 3], np.uint32), signatures=signatures)
    assert receipt.results.tolist() == [0, 0]


def test_nobody_else_moves_the_money(two):
    ledger, keys, customers = two
    chain_id = ledger.genesis.chain_id
    records = transfers((10, 1, 2, 5))

    def post(signer, key, signed=records):
        signatures = sign(chain_id, signed, [key])
        return ledger.post(records, signers=np.array([signer], np.uint32), signatures=signatures).results[0]

    before = ledger.header(ledger.height).state_root
    assert post(3, customers[1]) == R.SIGNER_NOT_AUTHORISED
    assert post(2, customers[1]) == R.SIGNATURE_INVALID
    assert post(0, keys[0].attestation) == R.SIGNER_NOT_AUTHORISED
    assert post(99, customers[0]) == R.SIGNER_UNKNOWN
    assert post(pl.NO_KEY, customers[0]) == R.SIGNATURE_MISSING
    assert post(2, customers[0], transfers((10, 1, 2, 6))) == R.SIGNATURE_INVALID
    assert ledger.header(ledger.height).state_root == before
    assert post(2, customers[0]) == R.CREATED


def test_a_signature_for_another_chain_is_nothing_here(two):
    ledger, keys, customers = two
    other = genesis(keys, name="other").chain_id
    records = transfers((10, 1, 2, 5))
    signatures = sign(other, records, [customers[0]])
    receipt = ledger.post(records, signers=np.array([2], np.uint32), signatures=signatures)
    assert receipt.results.tolist() == [R.SIGNATURE_INVALID]


def test_an_institution_attests_for_its_own_accounts_only(two):
    ledger, _, _ = two
    receipt = ledger.post(transfers((10, 1, 2, 5), (11, 2, 1, 5)), institution="BANKAAXX")
    assert receipt.results.tolist() == [R.CREATED, R.ATTESTATION_FOREIGN_ACCOUNT]
    assert ledger.audit().ok


def test_an_attestation_counts_once(two):
    ledger, keys, _ = two
    records = transfers((10, 1, 2, 5))
    root = pl.merkle.root(transfer_leaves(ledger.genesis.chain_id, records))
    message = batch_message(KIND_TRANSFERS, ledger.genesis.chain_id, 0, 1, 1, root)
    attestation = (1, keys[0].attestation.sign(message))
    assert ledger.post(records, institution="BANKAAXX", attestation=attestation).results.tolist() == [0]
    again = ledger.post(records, institution="BANKAAXX", attestation=attestation)
    assert again.results.tolist() == [R.ATTESTATION_REPLAYED]
    wrong = ledger.post(transfers((11, 1, 2, 5)), institution="BANKAAXX", attestation=(2, attestation[1]))
    assert wrong.results.tolist() == [R.ATTESTATION_INVALID]
    assert ledger.audit().ok


def test_keys_and_accounts_need_the_institution_and_count_once(two):
    ledger, _, customers = two
    new = [pl.keys.SigningKey.from_seed(b"n" * 32)]
    with pytest.raises(pl.AuthorisationError, match="not valid for this batch"):
        register(ledger, new, "BANKAAXX", attestation=(2, bytes(64)))
    with pytest.raises(pl.AuthorisationError, match="expected sequence 2, got 1"):
        register(ledger, new, "BANKAAXX", attestation=(1, bytes(64)))
    with pytest.raises(pl.InputError, match="registered already"):
        register(ledger, customers[:1], "BANKBBXX")
    with pytest.raises(pl.InputError, match="not a member"):
        ledger.register_keys(key_rows(new), np.zeros((1, 64), np.uint8), institution="BANKZZXX")
    foreign_owner = np.array([3], np.uint32)
    results = ledger.create_accounts(accounts([3]), owners=foreign_owner, institution="BANKAAXX")
    assert results.tolist() != [0]
    assert ledger.audit().ok


def test_two_thirds_of_the_validators_must_be_here(tmp_path):
    keys = members(4)
    with pytest.raises(pl.ConsensusError, match="a quorum needs 3"):
        pl.Ledger.create(tmp_path / "a", genesis(keys), keys=keys[:2])
    with pl.Ledger.create(tmp_path / "b", genesis(keys), keys=keys[:3]) as ledger:
        ledger.create_accounts(accounts([1]), institution="BANKAAXX")
        with pytest.raises(pl.AuthorisationError, match="BANKDDXX: its attestation key is not held"):
            ledger.create_accounts(accounts([2]), institution="BANKDDXX")


def test_a_block_that_could_not_be_written_was_not_posted(one, tmp_path):
    """A limit on the size of files stands in for a full disk."""
    one.post(transfers((10, 1, 2, 5)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(pl.StorageError, match="could not write block 3: File too large"):
            one.post(transfers((11, 1, 2, 5)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(pl.StorageError, match="open the ledger again"):
        one.post(transfers((12, 1, 2, 5)))
    one.close()
    with pl.Ledger.open(tmp_path / "ledger", keys=members(1)) as again:
        assert again.balance(2).credits_posted == 5
        assert again.post(transfers((11, 1, 2, 5))).results.tolist() == [0]


def test_what_must_come_before_the_block_stops_it(one):
    def refuse(results):
        raise pl.StorageError("no room for the list")

    with pytest.raises(pl.StorageError, match="no room"):
        one.post(transfers((11, 1, 2, 5)), before_commit=refuse)
    with pytest.raises(pl.StorageError, match="open the ledger again"):
        one.seal()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda one: one.post([1]), "transfers: expected a C-contiguous array .* dtype TRANSFER, got list"),
        (lambda one: one.post(None), "transfers: expected .* got NoneType"),
        (lambda one: one.post(np.repeat(MOVE, 4)[::2]), "transfers: .* not C-contiguous"),
        (lambda one: one.post(MOVE, signers=[0], signatures=np.zeros((1, 64), np.uint8)), "signers: .* got list"),
        (lambda one: one.post(MOVE, signers=np.zeros(1, np.uint32), signatures=[b"x"]), "signatures: .* got list"),
        (lambda one: one.post(MOVE, controllers=[1]), "controllers: .* got list"),
        (lambda one: one.post(MOVE, attestation=5), "attestation: expected a tuple of sequence, .* got 5"),
        (lambda one: one.post(MOVE, institution=5), "institution: '5' is not a member"),
        (lambda one: one.create_accounts([1]), "accounts: .* dtype ACCOUNT, got list"),
        (lambda one: one.create_accounts(accounts([7]), owners=[0]), "owners: .* dtype uint32, got list"),
        (lambda one: one.register_keys([b"x"], [b"y"]), "public_keys: .* got list"),
        (lambda one: one.balance("1"), r"account_id: expected an integer in \[0, 2\*\*128 - 1\], got '1'"),
        (lambda one: one.balance(1, height=1.0), "height: expected an integer, got 1.0"),
        (lambda one: one.history("1"), "account_id: expected an integer"),
        (lambda one: one.history(1, limit=-1), "limit: expected at least 0, got -1"),
        (lambda one: one.history(1, first_time_ns="today"), "first_time_ns: expected an integer"),
        (lambda one: one.transfer(1.0), "transfer_id: expected an integer"),
        (lambda one: one.transfers(3), "heights: expected a tuple of the first and the last, got 3"),
        (lambda one: one.transfers_by_id([1, "2"]), r"transfer_ids\[1\]: expected an integer .* got '2'"),
        (lambda one: one.transfers_by_id(np.arange(3)), "transfer_ids: .* dtype U128, got shape .* dtype int64"),
        (lambda one: one.transfers_by_id(3), "transfer_ids: expected integers .* got int"),
        (lambda one: one.account_places([1]), "account_ids: .* dtype U128, got list"),
        (lambda one: one.block("1"), "height: expected an integer, got '1'"),
        (lambda one: one.header(1.0), "height: expected an integer, got 1.0"),
        (lambda one: one.prove("1"), "transfer_id: expected an integer"),
        (lambda one: one.prove_balance(b"1"), "account_id: expected an integer"),
        (lambda one: one.prove_history(1, "2"), "height: expected an integer, got '2'"),
        (lambda one: pl.signing.sign_transfers([], bytes(16), [1]), "transfers: .* got list"),
        (lambda one: pl.signing.sign_transfers([], "chain", MOVE), "chain_id: expected 16 bytes, got str"),
    ],
)
def test_arguments_of_another_kind_are_named_with_what_was_expected(one, call, said):
    with pytest.raises(pl.InputError, match=said):
        call(one)


def test_arrays_that_do_not_fit_are_named(one):
    with pytest.raises(pl.InputError, match="a block holds 1000, got 1001"):
        one.post(np.zeros(1001, pl.TRANSFER))
    with pytest.raises(pl.InputError, match=r"signatures \(1, 64\)"):
        one.post(transfers((1, 1, 2, 3)), signers=np.zeros(1, np.uint32), signatures=np.zeros((2, 64), np.uint8))
    with pytest.raises(pl.InputError, match="not in this ledger"):
        one.balance(99)
    with pytest.raises(pl.ProofError, match="did not take effect"):
        one.prove(99)
    with pytest.raises(pl.StateError, match="expected a height"):
        one.header(0)
    assert one.post(transfers((1, 1, 2, 3))).results.tolist() == [0], "a refused call changes nothing"


def test_imported_transfers_keep_their_time_and_are_provable(tmp_path):
    keys, clock = members(1), Clock()
    clock.now_ns = 10**18
    with pl.Ledger.create(tmp_path / "ledger", genesis(keys), keys=keys, clock=clock) as ledger:
        old = accounts([1, 2], flags=pl.AccountFlags.IMPORTED)
        old["timestamp"] = [1000, 1001]
        assert ledger.create_accounts(old).tolist() == [0, 0]
        past = transfers((10, 1, 2, 5), flags=pl.TransferFlags.IMPORTED)
        past["timestamp"] = 2000
        assert ledger.post(past).results.tolist() == [0]
        trust = pl.Trust.from_json((tmp_path / "ledger" / "trust.json").read_bytes())
        assert pl.verify_receipt(ledger.prove(10), trust).id == 10
        assert ledger.audit().ok
        tip = ledger.tip
    with pl.Ledger.open(tmp_path / "ledger", read_only=True) as again:
        assert again.tip == tip
        assert again.history(1)["timestamp"].cast("int64").to_pylist() == [2000]


def test_the_currency_of_an_account_is_one_of_the_chain(one):
    with pytest.raises(pl.InputError, match=r"row 2.*'ledger'.*979"):
        one.create_accounts(np.concatenate([accounts([7]), accounts([8], ledger=EUR + 1)]))
    assert one.create_accounts(accounts([7])).tolist() == [0]
