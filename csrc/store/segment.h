// A segment: everything the store keeps on disk about a range of sealed transfers but the records themselves.
//
// One file, written once, with these columns: the previous events of each transfer's two accounts; the ids, as 8 bytes
// a transfer sorted by hash, with a table of buckets; the ids that failed for good while the range was sealed; what
// became of pending transfers that were resolved in that time; and the expiries. docs/store-format.md gives the bytes.
// Small segments merge into larger ones. All of it is derived from blocks: a damaged file is never used.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/block_files.h"
#include "store/files.h"
#include "store/id_filter.h"

namespace pyledger::store {

using u128 = unsigned __int128;

// An event of an account: a transfer by its position or an expiry by its number; 0 is none. Fits 40 bits.
using Event = uint64_t;
inline constexpr Event kNoEvent = 0;
inline constexpr Event transfer_event(Position position) { return position * 2 + 1; }
inline constexpr Event expiry_event(uint64_t number) { return number * 2 + 2; }
inline constexpr bool is_expiry(Event event) { return event % 2 == 0; }
inline constexpr uint64_t number_of(Event event) { return (event - 1) / 2; }

// The events before one, of its debit and its credit account.
struct [[gnu::packed]] Links {
  Event debit : 40;
  Event credit : 40;
};
static_assert(sizeof(Links) == 10);

// A pending transfer that is posted, voided or expired.
struct [[gnu::packed]] Resolved {
  Position position;
  uint32_t controller;
  uint8_t status;
};
static_assert(sizeof(Resolved) == 13);

// A pending transfer whose time had come, when block `height` of time_ns began.
struct [[gnu::packed]] Expiry {
  Position pending;
  uint64_t time_ns;
  uint64_t height;
  Links before;
};
static_assert(sizeof(Expiry) == 34);

struct [[gnu::packed]] FailedId {
  u128 id;
};

// What identifies a segment among files of the same name.
struct SegmentName {
  Position first;
  uint64_t count;
  uint64_t identity;
  uint32_t level;

  Position end() const { return first + count; }
  std::string file_name() const;
  bool operator==(const SegmentName&) const = default;
};

// Content of a new segment, in memory. Hashes are those of the ids in order of position.
struct SegmentContent {
  Position first = 0;
  std::vector<uint64_t> hashes;
  std::vector<Links> links;
  std::vector<FailedId> failed;
  std::vector<Resolved> resolved;
  uint64_t first_expiry = 0;
  std::vector<Expiry> expiries;
};

class Segment {
 public:
  // Opens and checks the file. Throws Damaged if it is not there or not, bit for bit, the one of that name.
  static std::shared_ptr<const Segment> open(const std::string& folder, const SegmentName& name);
  // Writes a segment of level 0; the most transfers it can hold is kContentMax.
  static std::shared_ptr<const Segment> write(const std::string& folder, uint64_t hash_check,
                                              const SegmentContent& content);
  // Writes one segment, a level higher, that holds what these hold; each begins where the one before ends.
  static std::shared_ptr<const Segment> merge(const std::string& folder,
                                              const std::vector<std::shared_ptr<const Segment>>& parts);

  static constexpr uint64_t kContentMax = uint64_t{1} << 24;

  const SegmentName& name() const { return name_; }
  // Says which hash function the ids were hashed with.
  uint64_t hash_check() const { return hash_check_; }
  uint64_t file_bytes() const { return file_.size(); }

  // The position for which same(position) holds, among those whose id has this hash.
  template <class Same>
  std::optional<Position> find(uint64_t hash, Same same) const {
    const uint64_t key = key_of(hash);
    const uint64_t fragment = key & 0xFFFF'FFFF;
    const uint64_t bucket = key >> (kKeyBits - bucket_bits_);
    for (const uint64_t* at = lower_bound(bucket, fragment); at != ids_ + buckets_[bucket + 1]; at++) {
      if (*at >> 32 != fragment) break;
      const Position position = name_.first + (*at & 0xFFFF'FFFF);
      if (same(position)) return position;
    }
    return std::nullopt;
  }
  bool has_failed(u128 id) const;
  std::optional<Resolved> resolved(Position position) const;
  Links links(Position position) const { return links_[position - name_.first]; }

  uint64_t first_expiry() const { return first_expiry_; }
  uint64_t expiry_count() const { return expiry_count_; }
  const Expiry& expiry(uint64_t number) const { return expiries_[number - first_expiry_]; }

  uint64_t failed_count() const { return failed_count_; }

  // Puts the ids, failed ones included, into a filter; hash gives the hash of a failed id.
  void add_to(IdFilter& filter, const std::function<uint64_t(u128)>& hash) const;

 private:
  struct Header;

  explicit Segment(const std::string& path) : file_(path) {}
  void read_header(const std::string& path);
  void check_content(const std::string& path) const;
  void check_ids(const std::string& path) const;
  const uint64_t* lower_bound(uint64_t bucket, uint64_t fragment) const;
  // Entries whose keys begin with these 8 bits.
  std::pair<const uint64_t*, const uint64_t*> slab(uint64_t top) const;

  MappedFile file_;
  SegmentName name_{};
  uint64_t hash_check_ = 0;
  unsigned bucket_bits_ = 0;
  const uint64_t* ids_ = nullptr;
  const uint32_t* buckets_ = nullptr;
  const Links* links_ = nullptr;
  const FailedId* failed_ = nullptr;
  const Resolved* resolved_ = nullptr;
  const Expiry* expiries_ = nullptr;
  uint64_t failed_count_ = 0, resolved_count_ = 0, first_expiry_ = 0, expiry_count_ = 0;

  friend class SegmentWriter;
};

using SegmentPointer = std::shared_ptr<const Segment>;

}  // namespace pyledger::store
