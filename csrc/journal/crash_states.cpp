#include "journal/crash_states.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace pyledger::journal {
namespace {

constexpr Digest kGenesis{7};
constexpr const char* kJournal = "j";
constexpr const char* kSnapshots = "s";

uint64_t mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
  value = (value ^ value >> 27) * 0x94D049BB133111EBu;
  return value ^ value >> 31;
}

// What a block or a section of this id holds: never twice the same.
std::vector<uint8_t> content(uint64_t id) {
  constexpr size_t kSizes[] = {8, 9, 200, 3968, 3969, 5000, 9000, 13'000};
  std::vector<uint8_t> bytes(kSizes[mix(id) % std::size(kSizes)]);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(mix(id + i / 8) >> i % 8 * 8);
  std::memcpy(bytes.data(), &id, sizeof id);
  return bytes;
}

}  // namespace

void CrashExplorer::violate(uint64_t& count, const std::string& what) {
  count++;
  if (report_.first.empty()) report_.first = what;
}

void CrashExplorer::begin(World& world) {
  constexpr uint64_t kSegmentPages[] = {1, 4, 6, 16};
  world.draw.seed(draw_());
  world.files.lies = options_.lies;
  world.files.takes_direct = world.draw() % 2;
  world.files.has_room_to_allocate = world.draw() % 4 != 0;
  world.options.segment_bytes = kSegmentPages[world.draw() % std::size(kSegmentPages)] * kPageBytes;
  world.options.background = false;
  world.options.scan.threads = 1;
  world.states_per_change = options_.states_per_change;
  world.files.after_change = [this, &world] { look(world); };
}

void CrashExplorer::count_struck(const World& world) {
  for (const auto& [name, count] : world.files.struck) report_.struck[name] += count;
}

// A writer that opens, writes some groups and closes, is killed, or fails.
void CrashExplorer::live(World& world, unsigned groups) {
  report_.writers++;
  try {
    Journal journal(world.files, kJournal, kGenesis, world.options);
    compare_journal(journal, world.truth);
    world.truth.submitted.resize(journal.height());
    world.truth.acknowledged = journal.height();
    look(world);
    for (unsigned group = 0; group < groups; group++) {
      submit_group(world, journal);
      if (world.draw() % 4 == 0) snapshot(world);
    }
    if (world.draw() % 2) {
      journal.close();
    } else {
      world.files.fault = {Fault::kKill, world.files.calls, 0};
    }
  } catch (const FileError&) {
    report_.faults++;
  } catch (const Corruption& error) {
    violate(report_.refused, error.what());
  } catch (const StorageFailure&) {
    report_.faults++;
  }
  world.files.kill();
}

void CrashExplorer::submit_group(World& world, Journal& journal) {
  const unsigned blocks = 1 + world.draw() % 4;
  for (unsigned i = 0; i < blocks; i++) {
    const std::vector<uint8_t> payload = content(next_id_);
    world.truth.submitted.push_back(next_id_++);
    const Part part{payload.data(), payload.size()};
    journal.submit(journal.submitted_height() + 1, {&part, 1});
  }
  journal.wait(journal.submitted_height());
  world.truth.acknowledged = journal.submitted_height();
  look(world);
}

void CrashExplorer::snapshot(World& world) {
  const uint64_t height = ++world.truth.snapshot_started;
  const std::vector<uint8_t> first = content(mix(height)), second = content(mix(height) + 1);
  const std::vector<Section> sections{{"first", first}, {"second", second}};
  write_snapshot(world.files, kSnapshots, {height, kGenesis}, sections, 1);
  world.truth.snapshot_acknowledged = height;
  look(world);
}

void CrashExplorer::look(const World& world) {
  for (unsigned i = 0; i < world.states_per_change; i++) {
    const std::unique_ptr<MemoryFileSystem> left = world.files.crash(draw_);
    const uint64_t state = left->digest() ^ mix(world.truth.submitted.size() << 32 ^ world.truth.acknowledged);
    if (!seen_.insert(state).second) {
      report_.repeated++;
      continue;
    }
    report_.states++;
    compare(*left, world);
  }
}

// Opens what a crash left as the next writer would; sometimes goes on from there to a second crash.
void CrashExplorer::compare(MemoryFileSystem& files, const World& world) {
  compare_snapshot(files, world.truth);
  Truth truth = world.truth;
  try {
    Journal journal(files, kJournal, kGenesis, world.options);
    compare_journal(journal, truth);
    if (journal.height() < truth.submitted.size()) report_.cut++;
    truth.submitted.resize(journal.height());
    truth.acknowledged = journal.height();
    files.fault = {Fault::kKill, files.calls, 0};
  } catch (const std::exception& error) {
    violate(report_.refused, error.what());
    return;
  }
  files.kill();
  if (world.states_per_change < 4 || draw_() % 16 != 0) return;
  World second{files, truth, world.options, 3, std::mt19937_64(draw_())};
  files.after_change = [this, &second] { look(second); };
  live(second, 2);
}

void CrashExplorer::compare_journal(const Journal& journal, const Truth& truth) {
  const uint64_t height = journal.height();
  if (height < truth.acknowledged) {
    violate(report_.lost,
            "acknowledged up to " + std::to_string(truth.acknowledged) + ", there up to " + std::to_string(height));
  }
  if (height > truth.submitted.size()) {
    violate(report_.invented,
            "submitted up to " + std::to_string(truth.submitted.size()) + ", there up to " + std::to_string(height));
  }
  for (uint64_t h = 1; h <= std::min<uint64_t>(height, truth.submitted.size()); h++) {
    std::vector<uint8_t> payload(journal.payload_bytes(h));
    journal.read(h, payload.data());
    if (payload == content(truth.submitted[h - 1])) continue;
    violate(report_.invented, "block " + std::to_string(h) + " is not what was submitted");
    return;
  }
}

void CrashExplorer::compare_snapshot(MemoryFileSystem& files, const Truth& truth) {
  const FoundSnapshot found = find_snapshot(files, kSnapshots, UINT64_MAX, 1);
  const uint64_t height = found.newest ? found.newest->header.height : 0;
  if (height < truth.snapshot_acknowledged) {
    violate(report_.lost,
            "snapshot " + std::to_string(truth.snapshot_acknowledged) + ", there is " + std::to_string(height));
  }
  if (!found.damaged.empty()) violate(report_.invented, found.damaged[0]);
  if (height == 0) return;
  const std::vector<uint8_t> first = content(mix(height));
  const bool as_written = height <= truth.snapshot_started && found.newest->sections.size() == 2 &&
                          std::ranges::equal(found.newest->sections[0].bytes, first);
  if (!as_written) violate(report_.invented, "snapshot " + std::to_string(height) + " is not what was written");
}

void CrashExplorer::explore_random() {
  MemoryFileSystem files(draw_());
  World world{files};
  begin(world);
  const unsigned lives = 1 + world.draw() % 4;
  for (unsigned life = 0; life < lives; life++) {
    constexpr Fault::Kind kKinds[] = {Fault::kNone, Fault::kError, Fault::kShortWrite, Fault::kKill};
    world.files.fault = {kKinds[world.draw() % 4], world.files.calls + 1 + world.draw() % 60, EIO};
    live(world, 1 + world.draw() % 4);
  }
  count_struck(world);
}

void CrashExplorer::explore_faults_at_each_call(unsigned stride) {
  const uint64_t seed = draw_();
  uint64_t calls = 1;
  for (uint64_t call = 0; call <= calls; call += call == 0 ? 1 : stride) {
    for (const Fault fault : {Fault{Fault::kError, call, EIO}, Fault{Fault::kError, call, ENOSPC},
                              Fault{Fault::kShortWrite, call, 0}, Fault{Fault::kKill, call, 0}}) {
      draw_.seed(seed);
      MemoryFileSystem files(draw_());
      World world{files};
      begin(world);
      world.states_per_change = options_.states_per_change_at_faults;
      for (const unsigned groups : {3, 3, 0}) {
        if (files.calls < call) world.files.fault = fault;  // the end of a life takes it away; call 0 is none
        live(world, groups);
      }
      calls = std::max(calls, files.calls);
      count_struck(world);
    }
  }
}

}  // namespace pyledger::journal
