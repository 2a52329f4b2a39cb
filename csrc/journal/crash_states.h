// Runs writers of journals and snapshots on a file system in memory, at every change looks at states that a crash may
// leave, opens each and compares: everything acknowledged is there, and nothing that was not submitted. For tests.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "journal/journal.h"
#include "journal/memory_file_system.h"
#include "journal/snapshot_file.h"

namespace pyledger::journal {

struct CrashReport {
  uint64_t states = 0;                     // opened and compared, all different
  uint64_t repeated = 0;                   // drawn again, not opened again
  uint64_t cut = 0;                        // states in which something unacknowledged was lost, as it may be
  uint64_t writers = 0;                    // lives of writers: each opens what the one before left
  uint64_t faults = 0;                     // of them ended by a failed call or a kill
  uint64_t lost = 0;                       // acknowledged and not there
  uint64_t invented = 0;                   // there and never submitted
  uint64_t refused = 0;                    // not opened at all
  std::string first;                       // what the first violation was
  std::map<std::string, uint64_t> struck;  // how often faults struck, by "<call>: <fault>"

  uint64_t violations() const { return lost + invented + refused; }
};

struct CrashOptions {
  uint64_t seed = 1;
  unsigned states_per_change = 12;
  unsigned states_per_change_at_faults = 1;  // while a fault strikes at each call
  std::set<std::string> lies;                // calls that do nothing: every one must lead to violations
};

class CrashExplorer {
 public:
  explicit CrashExplorer(const CrashOptions& options) : options_(options), draw_(options.seed) {}

  // One journal and one folder of snapshots over several lives of their writer, with random faults.
  void explore_random();
  // The same three short lives for each call in them, or each so many calls, and each kind of fault there.
  void explore_faults_at_each_call(unsigned stride = 1);

  const CrashReport& report() const noexcept { return report_; }

 private:
  struct Truth {
    std::vector<uint64_t> submitted;  // what each height holds
    size_t acknowledged = 0;
    uint64_t snapshot_started = 0, snapshot_acknowledged = 0;
  };

  struct World {
    MemoryFileSystem& files;
    Truth truth{};
    JournalOptions options{};
    unsigned states_per_change = 0;
    std::mt19937_64 draw{};
  };

  void begin(World& world);
  void count_struck(const World& world);
  void live(World& world, unsigned groups);
  void submit_group(World& world, Journal& journal);
  void snapshot(World& world);
  void look(const World& world);
  void compare(MemoryFileSystem& files, const World& world);
  void compare_journal(const Journal& journal, const Truth& truth);
  void compare_snapshot(MemoryFileSystem& files, const Truth& truth);
  void violate(uint64_t& count, const std::string& what);

  CrashOptions options_;
  CrashReport report_;
  std::mt19937_64 draw_;
  std::unordered_set<uint64_t> seen_;
  uint64_t next_id_ = 1;
};

}  // namespace pyledger::journal
