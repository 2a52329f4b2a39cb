// The sealed transfers of a ledger: records in its blocks, everything else in segments, one filter before them.
//
// Segments follow each other without gaps. Eight neighbours of one level merge into one of the next, so there are at
// most seven of each level, and each transfer's index entry is written once per level. Three steps, so that a caller
// can do the middle one, which takes long, without holding up anything else: what is due (Work), doing it, putting it
// in.
//
// Not thread-safe but for do_work() and Segment::write(), which touch only what never changes. One work at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/block_files.h"
#include "store/id_filter.h"
#include "store/segment.h"

namespace pyledger::store {

class SealedStore {
 public:
  using HashId = std::function<uint64_t(u128)>;

  // Segments to be merged, or a larger filter to be filled.
  struct Work {
    std::vector<SegmentPointer> parts;
    bool grows_filter = false;
    uint64_t filter_ids = 0;
    std::string folder;
    HashId hash;
    // Results
    SegmentPointer merged;
    IdFilter filter;
  };

  SealedStore(std::string folder, uint64_t hash_check, HashId hash)
      : folder_(std::move(folder)), hash_check_(hash_check), hash_(std::move(hash)) {}

  // Opens segments that are there. Throws Damaged, and then nothing was opened.
  void open(const std::vector<SegmentName>& names);

  BlockFiles& blocks() { return blocks_; }
  const BlockFiles& blocks() const { return blocks_; }
  const std::string& folder() const { return folder_; }
  uint64_t hash_check() const { return hash_check_; }
  Position end() const { return segments_.empty() ? 0 : segments_.back()->name().end(); }
  uint64_t expiry_end() const;
  std::vector<SegmentName> names() const;
  uint64_t file_bytes() const;
  size_t memory_bytes() const { return filter_.memory_bytes(); }

  [[gnu::always_inline]] void prefetch(uint64_t hash) const { filter_.prefetch(hash); }
  // Almost always false for an id that was never sealed.
  bool may_hold(uint64_t hash) const { return filter_.may_hold(hash); }
  std::optional<Position> find(u128 id, uint64_t hash) const;
  bool has_failed(u128 id) const;
  std::optional<Resolved> resolved(Position position) const;
  Links links(Position position) const { return segment_of(position).links(position); }
  const Expiry& expiry(uint64_t number) const;

  // Takes in a segment that begins at end().
  void add(SegmentPointer segment);

  std::optional<Work> work_due() const;
  static void do_work(Work& work);
  void install(Work work);

 private:
  static constexpr size_t kParts = 8;
  static constexpr uint64_t kFilterIdsMin = uint64_t{1} << 16;

  const Segment& segment_of(Position position) const;
  void add_to_filter(const Segment& segment);

  std::string folder_;
  uint64_t hash_check_;
  HashId hash_;
  BlockFiles blocks_;
  std::vector<SegmentPointer> segments_;
  IdFilter filter_;
  uint64_t filter_ids_ = 0;
};

}  // namespace pyledger::store
