#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <stdlib.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "hash/sha256.h"
#include "journal/bit_flips.h"
#include "journal/crash_states.h"
#include "journal/journal.h"
#include "journal/memory_file_system.h"
#include "journal/snapshot_file.h"

using namespace pyledger::journal;

namespace {

constexpr Digest kGenesis{7};
constexpr const char* kFirstSegment = "j/000000000001.blocks";

// A sanitizer makes the search many times slower, and its one thread needs fewer states under it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kStates = 800;
constexpr unsigned kCallStride = 31;
#else
constexpr uint64_t kStates = 4000;
constexpr unsigned kCallStride = 5;
#endif

void submit(Journal& journal, const std::string& payload) {
  const Part part{reinterpret_cast<const uint8_t*>(payload.data()), payload.size()};
  journal.submit(journal.submitted_height() + 1, {&part, 1});
}

std::string read(const Journal& journal, uint64_t height) {
  std::string payload(journal.payload_bytes(height), '\0');
  journal.read(height, reinterpret_cast<uint8_t*>(payload.data()));
  return payload;
}

JournalOptions foreground(uint64_t segment_pages = 16) {
  JournalOptions options;
  options.background = false;
  options.segment_bytes = segment_pages * kPageBytes;
  options.scan.threads = 1;
  return options;
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "journal-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string path;
};

// A segment put together by hand: what a frame says may be anything.
class HandmadeSegment {
 public:
  HandmadeSegment() : bytes(kPageBytes) { write_segment_header({1, kGenesis, kGenesis, salt}, bytes.data()); }

  void add(FrameHeader header, const std::string& payload, const std::function<void(uint8_t*)>& change = {}) {
    header.payload_bytes = payload.size();
    header.payload_root = payload_root(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    const size_t offset = bytes.size();
    bytes.resize(offset + frame_bytes(payload.size()));
    uint8_t* frame = bytes.data() + offset;
    write_frame_header(header, salt, frame);
    if (change) {
      change(frame);
      std::vector<uint8_t> message(salt.begin(), salt.end());
      message.insert(message.end(), frame, frame + kHeaderBytes - 16);
      Digest digest;
      pyledger::hash::sha256(message.data(), message.size(), digest.data());
      std::memcpy(frame + kHeaderBytes - 16, digest.data(), 16);
    }
    std::memcpy(frame + kHeaderBytes, payload.data(), payload.size());
    previous = chain_digest(frame);
  }

  uint64_t height_found() const {
    MemoryFileSystem files;
    files.put("j/000000000001.blocks", bytes);
    JournalOptions options = foreground();
    options.read_only = true;
    return Journal(files, "j", kGenesis, options).height();
  }

  Salt salt{1, 2, 3};
  Digest previous = kGenesis;
  std::vector<uint8_t> bytes;
};

// Does something in the middle of somebody else's reading.
class Interrupted : public MemoryFileSystem {
 public:
  size_t read(int file, uint8_t* data, size_t size_bytes, uint64_t offset) override {
    if (at_read != 0 && --at_read == 0) interruption();
    return MemoryFileSystem::read(file, data, size_bytes, offset);
  }
  uint64_t at_read = 0;
  std::function<void()> interruption;
};

CrashReport explore(const CrashOptions& options, uint64_t states) {
  CrashExplorer explorer(options);
  while (explorer.report().states < states && explorer.report().violations() == 0) explorer.explore_random();
  return explorer.report();
}

// A writer of some blocks whose call of that number fails, and whose process ends then. The height it was told of.
uint64_t live_until_failure(MemoryFileSystem& files, uint64_t call, uint64_t blocks) {
  uint64_t told = 0;
  {
    Journal journal(files, "j", kGenesis, foreground());
    files.fault = {Fault::kError, files.calls + call, EIO};
    try {
      while (told < blocks) {
        submit(journal, "block");
        journal.wait(told + 1);
        told++;
      }
    } catch (const StorageFailure&) {
    }
    files.fault = {Fault::kKill, files.calls, 0};
  }
  files.kill();
  return told;
}

// The next writer, whose process is killed after it added some blocks. The height that it acknowledged.
uint64_t live_and_be_killed(MemoryFileSystem& files, int blocks) {
  uint64_t height = 0;
  {
    Journal journal(files, "j", kGenesis, foreground());
    for (int i = 0; i < blocks; i++) submit(journal, "another");
    journal.wait(journal.submitted_height());
    height = journal.height();
    files.fault = {Fault::kKill, files.calls, 0};
  }
  files.kill();
  return height;
}

}  // namespace

TEST_CASE("no crash state loses or invents an acknowledged block or snapshot") {
  const CrashReport report = explore({}, kStates);
  INFO(report.first);
  CHECK(report.violations() == 0);
  CHECK(report.states >= kStates);
  CHECK(report.cut > 100);
  CHECK(report.faults > 0);
}

TEST_CASE("a fault at any call loses and invents nothing") {
  for (const uint64_t seed : {1, 2, 3}) {
    CrashOptions options;
    options.seed = seed;
    CrashExplorer explorer(options);
    explorer.explore_faults_at_each_call(kCallStride);
    INFO(explorer.report().first);
    CHECK(explorer.report().violations() == 0);
    CHECK(explorer.report().faults > 5);
  }
}

TEST_CASE("faults strike at every kind of call") {
  std::set<std::string> struck;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    CrashOptions options;
    options.seed = seed;
    options.states_per_change_at_faults = 0;
    CrashExplorer explorer(options);
    explorer.explore_faults_at_each_call();
    INFO(explorer.report().first);
    CHECK(explorer.report().violations() == 0);
    for (const auto& [name, count] : explorer.report().struck) struck.insert(name);
  }
  CHECK(struck.contains("write: short"));
  const std::vector<std::string> calls{"open",     "size",     "read",   "write",  "sync_data", "sync", "sync_folder",
                                       "truncate", "allocate", "rename", "remove", "list",      "lock"};
  for (const std::string& call : calls) {
    for (const std::string& fault :
         {std::string(strerror(EIO)), std::string(strerror(ENOSPC)), std::string("killed")}) {
      CAPTURE(call + ": " + fault);
      CHECK(struck.contains(call + ": " + fault));
    }
  }
}

TEST_CASE("a file system that leaves out a sync or a cut is found out") {
  for (const char* call : {"sync_data", "sync", "sync_folder", "truncate"}) {
    CAPTURE(call);
    CrashOptions options;
    options.lies = {call};
    CHECK(explore(options, 20'000).violations() > 0);
  }
}

TEST_CASE("every flipped bit is refused, cut with the last group, or reported") {
  for (const bool closed : {true, false}) {
    const FlipReport report = flip_bits(160 << 10, closed, 3, 97);
    INFO(report.first);
    CHECK(report.wrong == 0);
    CHECK(report.refused > 1000);
    CHECK((report.cut > 100) == !closed);
    CHECK(report.reported > 10);
  }
}

TEST_CASE("only the frame that comes next is taken") {
  const std::string payload(5000, 'p');
  HandmadeSegment good;
  good.add({FrameKind::kBlock, 1, 0, 0, good.previous, {}}, payload);
  good.add({FrameKind::kBlock, 2, 0, 0, good.previous, {}}, payload);
  CHECK(good.height_found() == 2);

  HandmadeSegment other_height = good, other_chain = good, zero_not_zero = good, zero_too_not_zero = good;
  other_height.add({FrameKind::kBlock, 4, 0, 0, good.previous, {}}, payload);
  CHECK(other_height.height_found() == 2);
  other_chain.add({FrameKind::kBlock, 3, 0, 0, kGenesis, {}}, payload);
  CHECK(other_chain.height_found() == 2);
  const FrameHeader third{FrameKind::kBlock, 3, 0, 0, good.previous, {}};
  zero_not_zero.add(third, payload, [](uint8_t* frame) { frame[12] = 1; });
  CHECK(zero_not_zero.height_found() == 2);
  zero_too_not_zero.add(third, payload, [](uint8_t* frame) { frame[105] = 1; });
  CHECK(zero_too_not_zero.height_found() == 2);
  good.add(third, payload, [](uint8_t*) {});  // the same way, and nothing changed
  CHECK(good.height_found() == 3);
}

TEST_CASE("nothing is opened or cut where a known block is missing") {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground());
    for (int i = 0; i < 3; i++) submit(journal, "block");
    journal.wait(3);
    files.fault = {Fault::kKill, files.calls, 0};
  }
  files.kill();
  std::vector<uint8_t>& bytes = files.bytes("j/000000000001.blocks");
  bytes[3 * kPageBytes]++;
  const std::vector<uint8_t> before = bytes;
  JournalOptions options = foreground();
  for (const uint64_t known : {3, 4}) {
    options.scan.known_height = known;
    CHECK_THROWS_AS(Journal(files, "j", kGenesis, options), Corruption);
    CHECK(bytes == before);
  }
  options.scan.known_height = 2;
  CHECK(Journal(files, "j", kGenesis, options).height() == 2);
}

TEST_CASE("blocks that may be torn are checked, whatever the caller leaves unchecked") {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground());
    for (int i = 0; i < 3; i++) submit(journal, "block");
    journal.wait(3);
    files.fault = {Fault::kKill, files.calls, 0};
  }
  files.kill();
  files.bytes("j/000000000001.blocks")[2 * kPageBytes + kHeaderBytes]++;
  JournalOptions options = foreground();
  options.scan.verify_from = 10;
  CHECK(Journal(files, "j", kGenesis, options).height() == 1);
}

TEST_CASE("a close mark shows that all is durable, and what follows it is reported and cut") {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground());
    submit(journal, "block");
  }
  JournalOptions reading = foreground();
  reading.read_only = true;
  CHECK(Journal(files, "j", kGenesis, reading).durable_height() == 1);
  std::vector<uint8_t>& bytes = files.bytes("j/000000000001.blocks");
  REQUIRE(bytes.size() == 3 * kPageBytes);
  bytes.resize(5 * kPageBytes);
  bytes[4 * kPageBytes + 1] = 1;
  {
    const Journal reader(files, "j", kGenesis, reading);
    CHECK(reader.torn_bytes() == 2 * kPageBytes);
    CHECK(reader.height() == 1);
  }
  CHECK(Journal(files, "j", kGenesis, foreground()).cut_bytes() == 2 * kPageBytes);
  CHECK(Journal(files, "j", kGenesis, reading).torn_bytes() == 0);
}

TEST_CASE("a reader that a writer overtakes at any read finds no corruption") {
  for (uint64_t at_read = 1; at_read <= 12; at_read++) {
    Interrupted files;
    Journal writer(files, "j", kGenesis, foreground());
    submit(writer, "first");
    writer.wait(1);
    files.interruption = [&] {
      for (int group = 0; group < 3; group++) {
        submit(writer, "another");
        writer.wait(writer.submitted_height());
      }
    };
    files.at_read = at_read;
    JournalOptions reading = foreground();
    reading.read_only = true;
    CHECK(Journal(files, "j", kGenesis, reading).height() >= 1);
  }
}

TEST_CASE("a snapshot that is not whole, or not of its name's height, is passed over and named") {
  MemoryFileSystem files;
  const std::vector<uint8_t> rows(9000, 5);
  const std::vector<Section> sections{{"rows", rows}};
  for (const uint64_t height : {1, 2}) write_snapshot(files, "s", {height, kGenesis}, sections, 1);
  std::vector<uint8_t>& bytes = files.bytes("s/000000000002.snapshot");
  for (const size_t place : {size_t{0}, size_t{200}, kPageBytes + 1, 2 * kPageBytes, bytes.size() - 1}) {
    bytes[place] ^= 1;
    const FoundSnapshot found = find_snapshot(files, "s", UINT64_MAX, 1);
    CHECK(found.damaged.size() == 1);
    REQUIRE(found.newest);
    CHECK(found.newest->header.height == 1);
    bytes[place] ^= 1;
  }
  files.rename("s/000000000001.snapshot", "s/000000000003.snapshot");
  const FoundSnapshot found = find_snapshot(files, "s", UINT64_MAX, 1);
  REQUIRE(found.newest);
  CHECK(found.newest->header.height == 2);
  CHECK(found.damaged.size() == 1);
}

TEST_CASE("what is queued is written as one group with one sync") {
  MemoryFileSystem files;
  Journal journal(files, "j", kGenesis, foreground());
  submit(journal, "first");
  journal.wait(1);
  const uint64_t calls = files.calls;
  for (int i = 0; i < 5; i++) submit(journal, "another");
  CHECK(journal.durable_height() == 1);
  journal.wait(6);
  CHECK(files.calls == calls + 2);  // a write and a sync
  CHECK(journal.durable_height() == 6);
}

TEST_CASE("after the first failed call everything is refused and no more calls are made") {
  for (const int code : {EIO, ENOSPC}) {
    for (uint64_t call = 1; call <= 2; call++) {
      MemoryFileSystem files;
      Journal journal(files, "j", kGenesis, foreground());
      submit(journal, "first");
      journal.wait(1);
      files.fault = {Fault::kError, files.calls + call, code};
      submit(journal, "second");
      CHECK_THROWS_WITH_AS(journal.wait(2), (std::string("j: could not write block 2: ") + strerror(code)).c_str(),
                           StorageFailure);
      const uint64_t calls = files.calls;
      CHECK_THROWS_AS(journal.wait(2), StorageFailure);
      CHECK_THROWS_AS(submit(journal, "second"), StorageFailure);
      CHECK_NOTHROW(journal.wait(1));
      journal.close();
      CHECK(files.calls == calls);
    }
  }
}

// After a failed sync the system may show bytes that are not on the disk, and later syncs succeed without writing them.
TEST_CASE("what a failed call left in memory is durable before it is acknowledged") {
  uint64_t left_in_memory = 0;
  for (uint64_t call = 1; call <= 13; call++) {  // from making the segment to the sync of the third block, and past it
    for (const int more : {0, 1}) {
      CAPTURE(call);
      CAPTURE(more);
      MemoryFileSystem files;
      const uint64_t told = live_until_failure(files, call, 3);
      const uint64_t found = live_and_be_killed(files, more) - more;
      CHECK(found >= told);
      left_in_memory += found - told;
      std::mt19937_64 draw(call);
      for (int i = 0; i < 64; i++) {
        const std::unique_ptr<MemoryFileSystem> left = files.crash(draw);
        CHECK(Journal(*left, "j", kGenesis, foreground()).height() >= found + more);
      }
    }
  }
  CHECK(left_in_memory >= 6);  // the sync of each of the three blocks failed once in both rounds
}

TEST_CASE("a torn tail is gone for good once a writer has opened the journal") {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground());
    for (int i = 0; i < 3; i++) submit(journal, std::string(5000, 'b'));
    journal.wait(3);
    files.fault = {Fault::kKill, files.calls, 0};
  }
  files.kill();
  std::vector<uint8_t> torn = files.bytes(kFirstSegment);
  torn[3 * kPageBytes]++;  // the header of the second block: the third one behind it is whole
  files.put(kFirstSegment, torn);
  JournalOptions reading = foreground();
  reading.read_only = true;
  CHECK(Journal(files, "j", kGenesis, reading).torn_bytes() > 0);
  CHECK(live_and_be_killed(files, 0) == 1);
  CHECK(Journal(files, "j", kGenesis, reading).torn_bytes() == 0);
  std::mt19937_64 draw(1);
  for (int i = 0; i < 64; i++) CHECK(Journal(*files.crash(draw), "j", kGenesis, reading).torn_bytes() == 0);
}

TEST_CASE("a segment that another one follows ends with its last block") {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground(1));
    for (int i = 0; i < 3; i++) submit(journal, "block");
  }
  std::vector<uint8_t>& bytes = files.bytes(kFirstSegment);
  REQUIRE(bytes.size() == 2 * kPageBytes);
  const auto refused = [&](const std::string& block) {
    CHECK_THROWS_WITH_AS(Journal(files, "j", kGenesis, foreground(1)), doctest::Contains(block.c_str()), Corruption);
  };
  bytes.resize(3 * kPageBytes);
  refused("offset 8192: block 2 is corrupt but good data follows at j/000000000002.blocks");
  bytes.resize(2 * kPageBytes);
  bytes[kPageBytes + kHeaderBytes]++;
  refused("offset 4096: block 1 is corrupt but good data follows at j/000000000002.blocks");
  bytes[kPageBytes + kHeaderBytes]--;
  CHECK(Journal(files, "j", kGenesis, foreground(1)).height() == 3);
}

TEST_CASE("a block that changed while the journal is open is not given out") {
  MemoryFileSystem files;
  Journal journal(files, "j", kGenesis, foreground());
  submit(journal, "block");
  journal.wait(1);
  CHECK(read(journal, 1) == "block");
  for (const size_t place : {kPageBytes + 16, kPageBytes + kHeaderBytes - 1, kPageBytes + kHeaderBytes + 4}) {
    files.bytes(kFirstSegment)[place] ^= 1;
    CHECK_THROWS_AS(read(journal, 1), Corruption);
    files.bytes(kFirstSegment)[place] ^= 1;
  }
  CHECK(read(journal, 1) == "block");
}

TEST_CASE("a write that is short goes on and loses nothing") {
  MemoryFileSystem files;
  for (uint64_t i = 0; i < 20; i++) {
    Journal journal(files, "j", kGenesis, foreground(400));
    files.fault = {Fault::kShortWrite, files.calls + 1 + i % 3, 0};
    submit(journal, std::string(9000 + i, 'x'));
    try {
      journal.wait(journal.submitted_height());
    } catch (const StorageFailure&) {  // nothing at all was written
    }
  }
  Journal journal(files, "j", kGenesis, foreground(400));
  REQUIRE(journal.height() > 5);
  for (uint64_t height = 1; height <= journal.height(); height++) CHECK(read(journal, height).size() >= 9000);
}

TEST_CASE("an error while reading is an error and never a torn tail") {
  MemoryFileSystem files;
  {
    Journal journal(files, "j", kGenesis, foreground());
    submit(journal, "first");
    journal.wait(1);
  }
  const std::vector<uint8_t> before = files.bytes("j/000000000001.blocks");
  for (uint64_t call = 1; call < 12; call++) {
    files.fault = {Fault::kError, files.calls + call, EIO};
    try {
      Journal journal(files, "j", kGenesis, foreground());
      CHECK(journal.height() == 1);
    } catch (const FileError&) {
    }
    files.kill();
    CHECK(files.bytes("j/000000000001.blocks").size() >= before.size());
  }
}

TEST_CASE("threads submit, wait and read on a disk, and a reader follows") {
  const TemporaryFolder folder;
  JournalOptions options;
  options.segment_bytes = 200 * kPageBytes;
  options.queue_bytes = 40 * kPageBytes;
  Journal journal(posix_file_system(), folder.path, kGenesis, options);
  constexpr uint64_t kBlocks = 400;
  std::atomic<uint64_t> wrong{0};
  const auto expected = [](uint64_t height) {
    return std::string(height * 37 % 9000, static_cast<char>('a' + height % 26));
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; t++) {
    threads.emplace_back([&] {
      for (uint64_t height = 1; height <= kBlocks; height++) {
        while (journal.submitted_height() < height) std::this_thread::yield();
        journal.wait(height);
        if (read(journal, height) != expected(height)) wrong++;
      }
    });
  }
  threads.emplace_back([&] {
    JournalOptions reading;
    reading.read_only = true;
    Journal reader(posix_file_system(), folder.path, kGenesis, reading);
    uint64_t seen = 0;
    while (seen < kBlocks) {
      const uint64_t height = reader.refresh();
      for (; seen < height; seen++) {
        if (read(reader, seen + 1) != expected(seen + 1)) wrong++;
      }
    }
  });
  for (uint64_t height = 1; height <= kBlocks; height++) submit(journal, expected(height));
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  journal.close();
  CHECK(Journal(posix_file_system(), folder.path, kGenesis, options).height() == kBlocks);
}

TEST_CASE("readers opened again and again beside a writer see whole blocks and no corruption") {
  const TemporaryFolder folder;
  JournalOptions options;
  options.segment_bytes = 64 * kPageBytes;
  Journal journal(posix_file_system(), folder.path, kGenesis, options);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> refused{0}, opened{0};
  std::thread reading([&] {
    JournalOptions reader;
    reader.read_only = true;
    while (!stop) {
      try {
        Journal(posix_file_system(), folder.path, kGenesis, reader);
        opened++;
      } catch (const StorageFailure&) {
        refused++;
      }
    }
  });
  for (uint64_t height = 1; height <= 2000 || opened < 20; height++) {
    submit(journal, std::string(height * 53 % 10'000, 'x'));
    if (height % 3 == 0) journal.wait(height);
  }
  stop = true;
  reading.join();
  CHECK(refused == 0);
  CHECK(opened >= 20);
}

TEST_CASE("snapshots on a disk give back what was written") {
  const TemporaryFolder folder;
  std::vector<uint8_t> rows(10'000'000);
  for (size_t i = 0; i < rows.size(); i++) rows[i] = static_cast<uint8_t>(i * 7 >> 3);
  for (uint64_t height : {3, 4, 5}) {
    const std::vector<Section> sections{{"rows", rows}, {"none", {}}};
    write_snapshot(posix_file_system(), folder.path, {height, kGenesis}, sections, 0);
  }
  const FoundSnapshot found = find_snapshot(posix_file_system(), folder.path, UINT64_MAX, 0);
  REQUIRE(found.newest);
  CHECK(found.newest->header.height == 5);
  CHECK(std::ranges::equal(found.newest->sections[0].bytes, rows));
  CHECK(posix_file_system().list(folder.path).size() == 2 + 2);  // with . and ..
}
