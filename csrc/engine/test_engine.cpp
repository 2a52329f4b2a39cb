#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "engine/engine.h"
#include "engine/id_index.h"
#include "engine/memory.h"

using namespace pyledger::engine;

namespace {

constexpr uint32_t kBank = 1;

u128 account_id(size_t i) { return static_cast<u128>(i % 5) << 64 | (i + 1); }

std::vector<Account> make_accounts(size_t count) {
  std::vector<Account> accounts(count);
  for (size_t i = 0; i < count; i++) {
    accounts[i].id = account_id(i);
    accounts[i].ledger = 1 + i % 2;
    accounts[i].code = 1;
  }
  return accounts;
}

// An engine with one key that owns count accounts, alternately on ledgers 1 and 2.
Engine make_engine(size_t count) {
  Engine engine;
  engine.register_keys({{kBank, key_role::kHolder | key_role::kAttester, 0, kNoEnd}});
  const std::vector<Account> accounts = make_accounts(count);
  const std::vector<uint32_t> owners(count, 0), banks(count, kBank);
  std::vector<uint32_t> results(count);
  engine.create_accounts({accounts.data(), owners.data(), banks.data(), count, {1, nullptr, false}, kBank},
                         results.data());
  CHECK(std::accumulate(results.begin(), results.end(), 0u) == 0);
  return engine;
}

struct Poster {
  Engine& engine;
  uint64_t now = 1'000'000;
  std::vector<uint32_t> results = {};
  std::vector<U128> effects = {};

  void post(const std::vector<Transfer>& transfers) {
    const std::vector<uint32_t> signers(transfers.size(), 0);
    const std::vector<char> valid(transfers.size(), 1);
    results.assign(transfers.size(), 77);
    effects.assign(transfers.size(), U128{0});
    TransferBatch batch{};
    batch.records = transfers.data();
    batch.signers = signers.data();
    batch.signature_ok = reinterpret_cast<const bool*>(valid.data());
    batch.count = transfers.size();
    batch.times = {now, nullptr, false};
    now += transfers.size() + 1;
    engine.create_transfers(batch, results.data(), effects.data());
  }
};

Transfer make_transfer(u128 id, u128 debit, u128 credit, u128 amount, uint32_t ledger, uint16_t flags) {
  Transfer transfer{};
  transfer.id = id;
  transfer.debit_account_id = debit;
  transfer.credit_account_id = credit;
  transfer.amount = amount;
  transfer.ledger = ledger;
  transfer.code = 1;
  transfer.flags = flags;
  return transfer;
}

}  // namespace

TEST_CASE("an array keeps its records and stays zero behind them while it grows past huge pages") {
  BigArray<uint64_t> array;
  for (uint64_t i = 0; i < 1'000'000; i++) {
    array.reserve(i + 1);
    array.append(i);
  }
  for (uint64_t i = 0; i < array.size(); i += 997) CHECK(array[i] == i);
  array.reserve(3'000'000);
  CHECK(array[2'999'999] == 0);
}

TEST_CASE("an index finds what was inserted and, after erasing in reverse order, what was there before") {
  std::mt19937_64 random(1);
  std::vector<u128> ids(50'000);
  for (u128& id : ids) id = static_cast<u128>(random()) << 64 | random();
  IdIndex index;
  const auto find = [&](u128 id) { return index.find(index.hash(id), [&](uint32_t at) { return ids[at] == id; }); };
  for (uint32_t i = 0; i < ids.size(); i++) {
    index.reserve(i + 1);
    index.insert(index.hash(ids[i]), i);
  }
  for (uint32_t i = 0; i < ids.size(); i++) CHECK(find(ids[i]) == i);
  CHECK(find(12345) == IdIndex::kNone);
  for (uint32_t i = static_cast<uint32_t>(ids.size()); i-- > 20'000;) index.erase(index.hash(ids[i]), i);
  for (uint32_t i = 0; i < ids.size(); i++) CHECK(find(ids[i]) == (i < 20'000 ? i : IdIndex::kNone));
}

TEST_CASE("an index finds the others after any entry is taken out") {
  std::mt19937_64 random(3);
  std::vector<u128> ids;
  IdIndex index;
  const auto find = [&](u128 id) { return index.find(index.hash(id), [&](uint32_t at) { return ids[at] == id; }); };
  std::vector<uint32_t> there;
  for (int round = 0; round < 20'000; round++) {
    if (there.size() < 2500 || random() % 2) {
      ids.push_back(random());
      there.push_back(static_cast<uint32_t>(ids.size()) - 1);
      index.reserve(2700);  // nearly full slots, so that entries stand far from home
      index.insert(index.hash(ids.back()), there.back());
    } else {
      std::swap(there[random() % there.size()], there.back());
      index.erase(index.hash(ids[there.back()]), there.back());
      REQUIRE(find(ids[there.back()]) == IdIndex::kNone);
      there.pop_back();
    }
    if (there.size() > 2650) index.erase(index.hash(ids[there.back()]), there.back()), there.pop_back();
    if (round % 500 == 0) {
      for (const uint32_t at : there) REQUIRE(find(ids[at]) == at);
    }
  }
}

TEST_CASE("random batches of linked, pending and resolving transfers keep every invariant") {
  Engine engine = make_engine(50);
  Poster poster{engine};
  std::mt19937_64 random(2);
  size_t taken = 0;
  for (int round = 0; round < 200; round++) {
    std::vector<Transfer> transfers;
    for (int i = 0; i < 40; i++) {
      const size_t debit = random() % 50, credit = random() % 50;
      uint16_t flags = random() % 4 == 0 ? uint16_t{transfer_flag::kPending} : uint16_t{0};
      if (random() % 8 == 0 && i < 39) flags |= transfer_flag::kLinked;
      transfers.push_back(make_transfer(1 + random() % 20'000, account_id(debit), account_id(credit), random() % 100,
                                        1 + debit % 2, flags));
      if (flags & transfer_flag::kPending) transfers.back().timeout_s = random() % 3;
      if (engine.transfers().size() && random() % 5 == 0) {
        transfers.back() = make_transfer(1 + random() % 20'000, 0, 0, random() % 2 ? 0 : kU128Max, 0,
                                         random() % 2 ? transfer_flag::kPost : transfer_flag::kVoid);
        transfers.back().pending_id = engine.transfers()[random() % engine.transfers().size()].id;
        transfers.back().code = 0;
      }
    }
    poster.post(transfers);
    for (const uint32_t code : poster.results) taken += code == 0;
    poster.now += kNanosecondsPerSecond / 3;
    engine.expire(poster.now, random() % 5);
    REQUIRE(engine.check_invariants() == std::nullopt);
    if (round % 50 == 49) engine = Engine::from_state(engine.state());
  }
  CHECK(taken > 1000);
}

TEST_CASE("what was touched goes into the state tree with any number of threads") {
  using pyledger::merkle::StateTree;
  constexpr size_t kCount = 20'000;
  Engine engine = make_engine(kCount);
  const auto new_tree = [&] {
    StateTree tree(AccountStore::kPayloadBytes, true);
    std::vector<pyledger::merkle::Key> keys(kCount);
    std::vector<uint8_t> payloads(kCount * AccountStore::kPayloadBytes);
    for (uint32_t slot = 0; slot < kCount; slot++) {
      uint8_t* payload = &payloads[slot * AccountStore::kPayloadBytes];
      engine.accounts().copy_payload(slot, payload);
      keys[slot] = pyledger::merkle::load_key(payload);
    }
    REQUIRE(tree.insert(keys.data(), payloads.data(), kCount).problem == StateTree::Problem::kNone);
    return tree;
  };
  StateTree tree = new_tree();
  const auto before = tree.root(1);
  REQUIRE(engine.take_touched().size() == kCount);
  Poster poster{engine};
  std::vector<Transfer> transfers;
  for (size_t i = 0; i + 2 < kCount; i++) {
    transfers.push_back(make_transfer(i + 1, account_id(i), account_id(i + 2), i + 1, 1 + i % 2, 0));
  }
  poster.post(transfers);
  tree.begin_block();
  CHECK(engine.take_touched_into(tree, 4) == kCount);
  CHECK(tree.root(2) == new_tree().root(1));
  tree.roll_back_block();
  CHECK(tree.root(2) == before);
  CHECK(engine.take_touched_into(tree, 4) == 0);
}

TEST_CASE("preparing for more than fits is refused and changes nothing") {
  Engine engine = make_engine(2);
  CHECK_THROWS_AS(engine.prepare(0xFFFF'FFFF, 0), std::invalid_argument);
  CHECK_THROWS_AS(engine.prepare(0, size_t{1} << 31), std::invalid_argument);
  engine.prepare(1, 0);
  engine.prepare(10'000, 100'000);
  CHECK(engine.accounts().size() == 2);
  CHECK(engine.check_invariants() == std::nullopt);
}
