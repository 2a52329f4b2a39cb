// The transfers that took effect, in order; the ids that failed for good; what became of pending transfers.
//
// Look-ups go by id to a position, and from there to the record. A later store of old records needs to answer
// operator[] for low positions only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/id_index.h"
#include "engine/memory.h"
#include "engine/records.h"

namespace pyledger::engine {

enum class PendingStatus : uint8_t { kNone = 0, kPending = 1, kPosted = 2, kVoided = 3, kExpired = 4 };

struct Pending {
  uint32_t position;    // of its transfer
  uint32_t controller;  // key that may post or void it; kNoKey: the debit account's owner
  PendingStatus status;
};

class TransferStore {
 public:
  static constexpr uint32_t kNone = IdIndex::kNone;
  static constexpr uint32_t kFailed = kNone - 1;
  static constexpr uint32_t kCountMax = uint32_t{1} << 31;

  size_t size() const { return records_.size(); }
  const Transfer& operator[](uint32_t position) const { return records_[position]; }
  const Transfer* records() const { return records_.data(); }

  uint64_t hash(u128 id) const { return index_.hash(id); }
  // Position of the transfer with this id; kFailed if the id may not be used any more, kNone if it is new.
  uint32_t find(u128 id) const { return find(id, hash(id)); }
  uint32_t find(u128 id, uint64_t hash) const {
    const uint32_t at = index_.find(hash, [&](uint32_t entry) { return id_at(entry) == id; });
    return at == kNone || at < kCountMax ? at : kFailed;
  }
  [[gnu::always_inline]] void prefetch_index(uint64_t hash) const { index_.prefetch(hash); }
  [[gnu::always_inline]] void prefetch_record(uint64_t hash) const {
    const uint32_t at = index_.guess(hash);
    if (at >= records_.size()) return;
    const char* record = reinterpret_cast<const char*>(&records_[at]);
    __builtin_prefetch(record);
    __builtin_prefetch(record + 64);
  }

  uint64_t last_timestamp() const { return size() ? records_.back().timestamp : 0; }
  bool has_timestamp(uint64_t timestamp) const {
    const Transfer* end = records_.data() + size();
    const Transfer* at = std::lower_bound(records_.data(), end, timestamp,
                                          [](const Transfer& transfer, uint64_t t) { return transfer.timestamp < t; });
    return at != end && at->timestamp == timestamp;
  }

  // Room for count further transfers, pending or not, failed or not. Throws std::length_error past kCountMax.
  void reserve_more(size_t count);
  // Room for count transfers in all, all pages provided.
  void prepare(size_t count);
  Transfer& append(const Transfer& transfer, uint64_t hash) {
    index_.insert(hash, static_cast<uint32_t>(size()));
    pending_of_.append(kNone);
    return records_.append(transfer);
  }
  void truncate(size_t size);

  const BigArray<U128>& failed_ids() const { return failed_; }
  void add_failed(u128 id, uint64_t hash) {
    index_.insert(hash, kCountMax + static_cast<uint32_t>(failed_.size()));
    failed_.append(U128{id});
  }

  // The pending state of the transfer last appended.
  void append_pending(uint32_t controller);
  const std::vector<Pending>& pendings() const { return pendings_; }
  // Number of the pending state of a transfer that has flag kPending.
  uint32_t pending_of(uint32_t position) const { return pending_of_[position]; }
  Pending& pending(uint32_t number) { return pendings_[number]; }
  const Pending& pending(uint32_t number) const { return pendings_[number]; }

  // Number of the live pending transfer that expires first, by (time of expiry, position), if that is at or before
  // now_ns; kNone else.
  uint32_t next_expired(uint64_t now_ns);
  // Whether each live pending transfer with a timeout will be found by next_expired().
  bool expiries_complete() const;

 private:
  struct Expiry {
    uint64_t at_ns;
    uint32_t position;
    auto operator<=>(const Expiry&) const = default;
  };
  u128 id_at(uint32_t entry) const { return entry < kCountMax ? records_[entry].id : failed_[entry - kCountMax].value; }
  bool live(const Expiry& expiry) const;

  BigArray<Transfer> records_;
  BigArray<uint32_t> pending_of_;
  BigArray<U128> failed_;
  std::vector<Pending> pendings_;
  // A heap, soonest first. Entries of transfers that were resolved or rolled back stay until their time and are then
  // passed over.
  std::vector<Expiry> expiries_;
  IdIndex index_;
};

}  // namespace pyledger::engine
