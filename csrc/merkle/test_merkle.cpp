#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <thread>
#include <vector>

#include "dispatch/cpu.h"
#include "merkle/key_index.h"
#include "merkle/log.h"
#include "merkle/root.h"
#include "merkle/shape.h"
#include "merkle/state_proof.h"
#include "merkle/state_tree.h"
#include "merkle/verify.h"
#include "parallel/failing_new.h"

using namespace pyledger::merkle;

namespace {

uint64_t next_random(uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33 ^ state << 20;
}

std::vector<uint8_t> noise(size_t count) {
  std::vector<uint8_t> bytes(count);
  uint64_t state = count;
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(next_random(state));
  return bytes;
}

// MTH of RFC 6962 section 2.1, as it is written there.
Digest plain_root(const uint8_t* hashes, uint64_t count) {
  if (count == 0) return empty_root();
  Digest digest;
  std::copy(hashes, hashes + 32, digest.begin());
  if (count == 1) return digest;
  const uint64_t k = split(count);
  return node_hash(plain_root(hashes, k).data(), plain_root(hashes + 32 * k, count - k).data());
}

}  // namespace

TEST_CASE("roots and logs of any size equal the recursion, for any threads") {
  for (size_t count : {0, 1, 2, 3, 15, 16, 17, 31, 33, 100, 1023, 1024, 1025, 5000}) {
    for (size_t size : {0, 5, 128}) {
      const std::vector<uint8_t> leaves = noise(count * size);
      std::vector<uint8_t> hashes(32 * count);
      leaf_hashes(leaves.data(), size, count, 2, hashes.data());
      const Digest expected = plain_root(hashes.data(), count);
      for (unsigned threads : {1u, 2u, 3u}) {
        CHECK(root(leaves.data(), size, count, threads) == expected);
        CHECK(root_of_leaf_hashes(hashes.data(), count, threads) == expected);
        Log log;
        log.extend(hashes.data(), count / 3, threads);
        log.extend_leaves(leaves.data() + size * (count / 3), size, count - count / 3, threads);
        CHECK(log.root_at(count) == expected);
        CHECK(log.root_at(count / 2) == plain_root(hashes.data(), count / 2));
      }
    }
  }
}

TEST_CASE("proofs of every leaf and every older size verify, and have the length of their shape") {
  constexpr uint64_t kSize = 70;
  const std::vector<uint8_t> hashes = noise(32 * kSize);
  Log log;
  log.extend(hashes.data(), kSize, 1);
  for (uint64_t size = 1; size <= kSize; size++) {
    const Digest root = log.root_at(size);
    for (uint64_t i = 0; i < size; i++) {
      const std::vector<Digest> proof = log.prove_inclusion(i, size);
      const auto* bytes = reinterpret_cast<const uint8_t*>(proof.data());
      CHECK(proof.size() == static_cast<size_t>(path_length(i, size)));
      CHECK(verify_inclusion(root.data(), size, i, &hashes[32 * i], bytes, proof.size()));
      const std::vector<Digest> grown = log.prove_consistency(i + 1, size);
      CHECK(verify_consistency(i + 1, log.root_at(i + 1).data(), size, root.data(),
                               reinterpret_cast<const uint8_t*>(grown.data()), grown.size()));
    }
  }
}

TEST_CASE("path lengths hold up to the largest sizes") {
  CHECK(path_length(0, 1) == 0);
  CHECK(path_length(~uint64_t{0} - 1, ~uint64_t{0}) == 63);
  CHECK(path_length(0, ~uint64_t{0}) == 64);
}

TEST_CASE("the key index finds what an ordered map finds, through insertions and erasures") {
  for (bool rising : {false, true}) {
    KeyIndex index({{0, 0}, 0});
    std::map<Key, uint32_t> model{{{0, 0}, 0}};
    uint64_t state = 7;
    for (uint32_t i = 1; i <= 60000; i++) {
      const Key key = rising ? Key{i / 5, i} : Key{next_random(state) % 64, next_random(state) % 100000};
      const auto found = model.find(key);
      if (found == model.end()) {
        index.insert(key, i);
        model[key] = i;
      } else if (key != Key{0, 0}) {
        index.erase(key);
        model.erase(found);
      }
      const Key asked{next_random(state) % 64, next_random(state) % 100000};
      const auto expected = std::prev(model.upper_bound(asked));
      const KeyIndex::Entry entry = index.at_or_before(asked);
      REQUIRE(entry.key == expected->first);
      REQUIRE(entry.slot == expected->second);
    }
    for (auto it = std::next(model.begin()); it != model.end(); it = model.erase(it)) index.erase(it->first);
    CHECK(index.at_or_before({~uint64_t{0}, 5}).slot == 0);
  }
}

TEST_CASE("a state tree gives one root for any order of work and threads, and proofs that verify") {
  constexpr size_t kPayload = 136, kCount = 30000;
  std::vector<Key> keys(kCount);
  uint64_t state = 3;
  for (size_t i = 0; i < kCount; i++) keys[i] = {next_random(state), i + 1};
  const std::vector<uint8_t> payloads = noise(kPayload * kCount);
  std::vector<uint32_t> slots(20000);
  for (uint32_t& slot : slots) slot = 1 + static_cast<uint32_t>(next_random(state) % kCount);
  bool rising = false;
  SUBCASE("slots as they come") {}
  SUBCASE("rising slots") { rising = true; }
  if (rising) std::sort(slots.begin(), slots.end());
  const std::vector<uint8_t> changes = noise(kPayload * slots.size());

  std::vector<Digest> roots;
  for (unsigned threads : {1u, 2u, 4u}) {
    StateTree tree(kPayload);
    const size_t step = 10000 / threads;
    for (size_t i = 0; i < kCount; i += step) {
      const size_t count = std::min(step, kCount - i);
      REQUIRE(tree.insert(&keys[i], &payloads[kPayload * i], count).problem == StateTree::Problem::kNone);
      if (threads > 1) tree.root(threads);
    }
    REQUIRE(tree.update(slots.data(), changes.data(), slots.size(), threads).problem == StateTree::Problem::kNone);
    REQUIRE(tree.remove(slots.data(), 1).problem == StateTree::Problem::kNone);
    roots.push_back(tree.root(threads));
    for (uint32_t slot = 0; slot < kCount; slot += 997) {
      uint8_t leaf[kPayload + 2 * kKeyBytes];
      if (!tree.leaf(slot, leaf)) continue;
      const std::vector<uint8_t> encoded = encode_state_proof(tree, slot);
      StateProof proof;
      REQUIRE(decode_state_proof(encoded.data(), encoded.size(), proof));
      CHECK(verify_state_proof(proof, roots.back().data()));
      CHECK(proof.slot == slot);
    }
  }
  CHECK(roots[0] == roots[1]);
  CHECK(roots[0] == roots[2]);
}

TEST_CASE("a log that lacks memory or threads keeps its size and roots") {
  constexpr size_t kFirst = 1000, kMore = 140'000;
  const std::vector<uint8_t> hashes = noise(32 * (kFirst + kMore));
  const Digest first_root = plain_root(hashes.data(), kFirst), root = plain_root(hashes.data(), kFirst + kMore);
  for (unsigned threads : {1u, 40u, 80u}) {  // each time more than the pool has
    Log log;
    log.extend(hashes.data(), kFirst, 1);
    const int failures =
        pyledger::parallel::fail_each_allocation([&] { log.extend(hashes.data() + 32 * kFirst, kMore, threads); },
                                                 [&] {
                                                   CHECK(log.size() == kFirst);
                                                   CHECK(log.root_at(log.size()) == first_root);
                                                 });
    CHECK(failures > 3);
    CHECK(log.size() == kFirst + kMore);
    CHECK(log.root_at(log.size()) == root);
  }
}

TEST_CASE("a state root that failed for want of memory comes out right the next time") {
  constexpr uint64_t kCount = 20'000;
  std::vector<Key> keys;
  std::vector<uint32_t> slots;
  for (uint64_t i = 1; i <= kCount; i++) keys.push_back({0, i}), slots.push_back(static_cast<uint32_t>(i));
  const std::vector<uint8_t> before = noise(8 * kCount), after(8 * kCount, 7);
  StateTree tree(8), fresh(8);
  tree.insert(keys.data(), before.data(), kCount);
  tree.root(1);
  tree.update(slots.data(), after.data(), kCount, 1);
  fresh.insert(keys.data(), after.data(), kCount);
  Digest root;
  const int failures = pyledger::parallel::fail_each_allocation([&] { root = tree.root(1); }, [] {});
  CHECK(failures > 3);
  CHECK(root == fresh.root(1));
}

TEST_CASE("the row told of a refused batch of keys is the least with a problem") {
  StateTree tree(1);
  const Key present[] = {{0, 50}, {0, 100}};
  const uint8_t payloads[4] = {};
  tree.insert(present, payloads, 2);
  const std::vector<std::vector<Key>> batches{
      {{0, 100}, {0, 50}}, {{0, 7}, {0, 7}, {0, 0}, {0, 50}}, {{0, 9}, {0, 100}, kHeadKey}};
  const StateTree::Problem problems[] = {StateTree::Problem::kKeyPresent, StateTree::Problem::kKeyTwice,
                                         StateTree::Problem::kKeyPresent};
  const size_t rows[] = {0, 1, 1};
  for (size_t i = 0; i < batches.size(); i++) {
    const StateTree::Outcome outcome = tree.insert(batches[i].data(), payloads, batches[i].size());
    CHECK(outcome.problem == problems[i]);
    CHECK(outcome.row == rows[i]);
  }
}
