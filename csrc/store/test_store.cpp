#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "store/block_files.h"
#include "store/checksum.h"
#include "store/id_filter.h"
#include "store/sealed_store.h"
#include "store/segment.h"

using namespace pyledger::store;

namespace {

constexpr uint64_t kHashCheck = 77;

uint64_t hash_of(u128 id) {
  uint64_t x = static_cast<uint64_t>(id) * 0x9E37'79B9'7F4A'7C15 ^ static_cast<uint64_t>(id >> 64);
  x = (x ^ x >> 32) * 0xD6E8'FEB8'6659'FD93;
  return x ^ x >> 32;
}

struct Folder {
  std::string path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "store-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::vector<uint8_t> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
}

// Transfers with ids 1000 + position; every fifth is a pending one that a later segment knows the outcome of.
struct Chain {
  Folder folder;
  SealedStore store{folder.path, kHashCheck, hash_of};
  std::mt19937_64 random{5};
  Position end = 0;
  uint64_t failed = 0, expiries = 0;

  Chain() { store.blocks().add_file(folder.path + "/0.blocks"); }

  static u128 id(Position position) { return static_cast<u128>(position % 3) << 100 | (1000 + position); }
  static u128 failed_id(uint64_t number) { return static_cast<u128>(1) << 90 | number; }

  SegmentContent next(uint64_t count) {
    SegmentContent content;
    content.first = end;
    content.first_expiry = expiries;
    for (uint64_t i = 0; i < count; i++, end++) {
      content.hashes.push_back(hash_of(id(end)));
      content.links.push_back({transfer_event(end / 2), transfer_event(end / 3)});
      if (end % 5 == 0) content.resolved.push_back({end, static_cast<uint32_t>(end), 2});
    }
    std::shuffle(content.resolved.begin(), content.resolved.end(), random);
    for (int i = 0; i < 3; i++) content.failed.push_back({failed_id(failed++)});
    content.expiries.push_back({end, 10 * expiries, expiries, {1, 2}});
    expiries++;
    return content;
  }

  void grow(uint64_t count) {
    const SegmentContent content = next(count);
    std::ofstream blocks(folder.path + "/0.blocks", std::ios::binary | std::ios::app);
    for (uint64_t i = 0; i < count; i++) {
      uint8_t record[kRecordBytes] = {};
      const u128 own = id(content.first + i);
      std::memcpy(record, &own, sizeof own);
      blocks.write(reinterpret_cast<const char*>(record), sizeof record);
    }
    blocks.close();
    store.blocks().add(0, content.first * kRecordBytes, 0, static_cast<uint32_t>(count));
    store.add(Segment::write(folder.path, kHashCheck, content));
    while (auto work = store.work_due()) {
      SealedStore::do_work(*work);
      store.install(std::move(*work));
    }
  }

  void require_all(const SealedStore& opened) const {
    REQUIRE(opened.end() == end);
    for (Position at = 0; at < end; at++) {
      REQUIRE(opened.may_hold(hash_of(id(at))));
      REQUIRE(opened.find(id(at), hash_of(id(at))) == at);
      const Links links = opened.links(at);
      REQUIRE(links.debit == transfer_event(at / 2));
      REQUIRE(links.credit == transfer_event(at / 3));
      const auto resolved = opened.resolved(at);
      REQUIRE(resolved.has_value() == (at % 5 == 0));
      if (resolved) REQUIRE(resolved->controller == at);
    }
    for (uint64_t number = 0; number < failed; number++) {
      REQUIRE(opened.may_hold(hash_of(failed_id(number))));
      REQUIRE(opened.has_failed(failed_id(number)));
    }
    REQUIRE_FALSE(opened.has_failed(failed_id(failed)));
    for (uint64_t number = 0; number < expiries; number++) REQUIRE(opened.expiry(number).time_ns == 10 * number);
    for (Position at = end; at < end + 1000; at++) REQUIRE_FALSE(opened.find(id(at), hash_of(id(at))).has_value());
  }
};

}  // namespace

TEST_CASE("a checksum sees each changed bit, each length and each swap of words") {
  std::mt19937_64 random(1);
  for (const size_t size : {0, 1, 7, 8, 31, 32, 33, 100, 1000}) {
    std::vector<uint8_t> bytes(size + 64);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    std::set<uint64_t> sums{checksum(bytes.data(), size), checksum(bytes.data(), size + 1)};
    for (size_t bit = 0; bit < 8 * size; bit++) {
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      sums.insert(checksum(bytes.data(), size));
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
    CHECK(sums.size() == 8 * size + 2);
    if (size >= 64) {
      std::swap_ranges(bytes.begin(), bytes.begin() + 32, bytes.begin() + 32);
      CHECK(sums.insert(checksum(bytes.data(), size)).second);
    }
  }
}

TEST_CASE("a filter holds what was added and little else") {
  std::mt19937_64 random(2);
  constexpr size_t kIds = 100'000;
  IdFilter filter(kIds);
  CHECK(filter.capacity() >= kIds);
  std::vector<uint64_t> hashes(kIds);
  for (uint64_t& hash : hashes) filter.add(key_of(hash = random()));
  size_t found = 0, wrong = 0;
  for (const uint64_t hash : hashes) found += filter.may_hold(hash);
  for (size_t i = 0; i < kIds; i++) wrong += filter.may_hold(random());
  CHECK(found == kIds);
  CHECK(wrong < kIds / 100);
  CHECK_FALSE(IdFilter().may_hold(1));
}

TEST_CASE("segments merge by eights and lose nothing, in memory and opened again") {
  Chain chain;
  for (const uint64_t count : {1, 4, 4, 0, 300, 4, 4, 4, 4, 7, 5000, 4, 1}) chain.grow(count);
  for (int i = 0; i < 60; i++) chain.grow(1 + i % 5);
  std::map<uint32_t, int> levels;
  for (const SegmentName& name : chain.store.names()) levels[name.level]++;
  CHECK(levels.size() == 3);
  for (const auto& [level, count] : levels) CHECK(count < 8);
  chain.require_all(chain.store);

  SealedStore opened(chain.folder.path, kHashCheck, hash_of);
  opened.blocks().add_file(chain.folder.path + "/0.blocks");
  for (const Span& span : chain.store.blocks().spans()) opened.blocks().add(0, span.records_offset, 0, span.count);
  opened.open(chain.store.names());
  chain.require_all(opened);
}

TEST_CASE("work that was begun goes in beside segments that were added meanwhile") {
  Chain chain;
  for (int i = 0; i < 7; i++) chain.grow(4);
  chain.store.add(Segment::write(chain.folder.path, kHashCheck, chain.next(4)));
  auto work = chain.store.work_due();
  REQUIRE(work.has_value());
  chain.store.add(Segment::write(chain.folder.path, kHashCheck, chain.next(4)));
  SealedStore::do_work(*work);
  chain.store.install(std::move(*work));
  CHECK(chain.store.names().size() == 2);
  CHECK(chain.store.end() == 36);
  CHECK(chain.store.has_failed(Chain::failed_id(26)));
}

TEST_CASE("a segment with one changed byte, a piece missing, another's bytes or none is refused") {
  Chain chain;
  chain.grow(50);
  const SegmentName name = chain.store.names()[0];
  const std::string path = chain.folder.path + "/" + name.file_name();
  const std::vector<uint8_t> good = read_file(path);
  const auto opens = [&] {
    try {
      Segment::open(chain.folder.path, name);
      return true;
    } catch (const Damaged&) {
      return false;
    }
  };
  REQUIRE(opens());
  for (size_t at = 0; at < good.size(); at++) {
    std::vector<uint8_t> bad = good;
    bad[at] ^= 1 << at % 8;
    write_file(path, bad);
    REQUIRE_FALSE(opens());
  }
  for (const size_t size : {size_t{0}, size_t{255}, size_t{256}, good.size() - 1, good.size() + 1}) {
    std::vector<uint8_t> bad = good;
    bad.resize(size);
    write_file(path, bad);
    REQUIRE_FALSE(opens());
  }
  Chain other;
  other.grow(50);
  other.grow(50);
  SegmentContent content = other.next(50);
  content.first = 0;
  Segment::write(chain.folder.path, kHashCheck, content);
  REQUIRE_FALSE(opens());
  std::filesystem::remove(path);
  REQUIRE_FALSE(opens());
}

TEST_CASE("segments open only in their order, without a gap, and with the hash they were made with") {
  Chain chain;
  for (int i = 0; i < 3; i++) chain.grow(4);
  const std::vector<SegmentName> names = chain.store.names();
  const auto opens = [&](std::vector<SegmentName> some, uint64_t hash_check) {
    SealedStore store(chain.folder.path, hash_check, hash_of);
    try {
      store.open(some);
      return true;
    } catch (const Damaged&) {
      return false;
    }
  };
  CHECK(opens(names, kHashCheck));
  CHECK_FALSE(opens(names, kHashCheck + 1));
  CHECK_FALSE(opens({names[0], names[2]}, kHashCheck));
  CHECK_FALSE(opens({names[1], names[2]}, kHashCheck));
}

TEST_CASE("an id that changed in its block is damage and does not pass for a new one") {
  Chain chain;
  chain.grow(20);
  const std::string path = chain.folder.path + "/0.blocks";
  const std::vector<uint8_t> whole = read_file(path);
  for (Position at = 0; at < chain.end; at++) {
    std::vector<uint8_t> bytes = whole;
    bytes[at * kRecordBytes + at % 16] ^= static_cast<uint8_t>(1 << at % 8);
    write_file(path, bytes);
    CHECK_THROWS_AS(chain.store.find(Chain::id(at), hash_of(Chain::id(at))), Damaged);
  }
  write_file(path, whole);
  chain.require_all(chain.store);
}

TEST_CASE("records come with the amount that took effect, from whichever file holds their block") {
  Folder folder;
  std::vector<uint8_t> bytes(3 + 2 * kRecordBytes + 2 * kAmountBytes);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 7);
  write_file(folder.path + "/a", bytes);
  write_file(folder.path + "/b", bytes);
  BlockFiles blocks;
  blocks.add_file(folder.path + "/a");
  blocks.add_file(folder.path + "/b");
  blocks.add(0, 3, 0, 2);
  blocks.add(1, 0, 0, 0);
  blocks.add(1, 3, 3 + 2 * kRecordBytes, 2);
  CHECK(blocks.end() == 4);
  uint8_t record[kRecordBytes];
  blocks.read(1, record);
  CHECK(std::memcmp(record, &bytes[3 + kRecordBytes], kRecordBytes) == 0);
  blocks.read(3, record);
  CHECK(std::memcmp(record, &bytes[3 + kRecordBytes], 48) == 0);
  CHECK(std::memcmp(record + 48, &bytes[3 + 2 * kRecordBytes + kAmountBytes], kAmountBytes) == 0);
  CHECK(std::memcmp(record + 64, &bytes[3 + kRecordBytes + 64], 64) == 0);
  CHECK_THROWS_AS(blocks.add(2, 0, 0, 1), std::invalid_argument);
  blocks.add(0, bytes.size() - 10, 0, 1);
  CHECK_THROWS_AS(blocks.read(4, record), Damaged);
}
