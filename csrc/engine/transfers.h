// The transfers that took effect, in order; the ids that failed for good; what became of pending transfers.
//
// Memory holds a window: the newest transfers with an index of their ids, and pending transfers of any age until they
// are resolved. What is older is sealed (csrc/store): records are read in their blocks, ids and outcomes in segments.
// Without a store the window begins at the first transfer.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/id_index.h"
#include "engine/memory.h"
#include "engine/records.h"
#include "store/sealed_store.h"

namespace pyledger::engine {

using store::Position;

enum class PendingStatus : uint8_t { kNone = 0, kPending = 1, kPosted = 2, kVoided = 3, kExpired = 4 };

struct Pending {
  Position position;    // of its transfer
  uint32_t controller;  // key that may post or void it; kNoKey: the debit account's owner
  PendingStatus status;
};

// A pending transfer whose record is sealed but which was live when it was.
struct OldPending {
  Transfer transfer;
  Pending state;
};

class TransferStore {
 public:
  static constexpr Position kNone = ~Position{0};
  static constexpr Position kFailed = kNone - 1;
  static constexpr uint32_t kWindowMax = uint32_t{1} << 31;
  static constexpr uint32_t kFailedMax = uint32_t{1} << 30;

  TransferStore();

  Position size() const { return end_; }
  // The first transfer whose record is in memory; those before it are sealed.
  Position window_first() const { return first_; }
  // A record of the window.
  const Transfer& recent(Position position) const { return records_[position & mask_]; }
  // Any record, as it took effect.
  Transfer operator[](Position position) const { return position >= first_ ? recent(position) : sealed(position); }

  uint64_t hash(u128 id) const { return index_.hash(id); }
  // Position of the transfer with this id; kFailed if the id may not be used any more, kNone if it is new.
  Position find(u128 id) const { return find(id, hash(id)); }
  Position find(u128 id, uint64_t hash) const {
    const uint32_t entry = index_.find(hash, [&](uint32_t at) { return id_at(at) == id; });
    if (entry != IdIndex::kNone) return entry < kWindowMax ? position_of(entry) : kFailed;
    return store_ && store_->may_hold(hash) ? find_sealed(id, hash) : kNone;
  }
  [[gnu::always_inline]] void prefetch_index(uint64_t hash) const {
    index_.prefetch(hash);
    if (store_) store_->prefetch(hash);
  }
  [[gnu::always_inline]] void prefetch_record(uint64_t hash) const {
    const uint32_t at = index_.guess(hash);
    if (at >= kWindowMax) return;
    const char* record = reinterpret_cast<const char*>(&records_[at & mask_]);
    __builtin_prefetch(record);
    __builtin_prefetch(record + 64);
  }

  uint64_t last_timestamp() const { return last_timestamp_; }
  bool has_timestamp(uint64_t timestamp) const;

  // Room for count further transfers, pending or not, failed or not. Throws std::length_error where the window is full.
  void reserve_more(size_t count);
  // Room for count transfers in all, all pages provided.
  void prepare(size_t count);
  Transfer& append(const Transfer& transfer, uint64_t timestamp, uint64_t hash, store::Links before) {
    index_.insert(hash, static_cast<uint32_t>(end_) & (kWindowMax - 1));
    links_[end_ & mask_] = before;
    Transfer& record = records_[end_++ & mask_];
    record = transfer;
    record.timestamp = last_timestamp_ = timestamp;
    return record;
  }
  // Takes out the newest ones; none that is sealed.
  void truncate(Position size);

  // The events before it of a transfer's two accounts.
  store::Links links(Position position) const {
    return position >= first_ ? links_[position & mask_] : store_->links(position);
  }
  // Expiries have numbers from 0 in their order.
  uint64_t expiry_count() const { return expired_first_ + expired_.size(); }
  store::Expiry expiry(uint64_t number) const {
    return number >= expired_first_ ? expired_[number - expired_first_] : store_->expiry(number);
  }
  void append_expiry(const store::Expiry& expiry) { expired_.push_back(expiry); }

  // Failed ids have numbers from 0 in the order of failing; those of sealed segments are not listed any more.
  uint64_t failed_count() const { return failed_first_ + failed_.size(); }
  uint64_t failed_first() const { return failed_first_; }
  u128 failed_id(uint64_t number) const { return failed_[number - failed_first_].value; }
  void add_failed(u128 id, uint64_t hash) {
    index_.insert(hash, failed_entry(failed_count()));
    failed_.append(U128{id});
  }

  // The pending state of the transfer last appended.
  void append_pending(uint32_t controller);
  // The pending state of a transfer that has flag kPending.
  Pending pending(Position position) const;
  void set_status(Position position, PendingStatus status) { state_of(position).status = status; }
  void set_controller(Position position, uint32_t controller) { state_of(position).controller = controller; }

  // The live pending transfer that expires first, by (time of expiry, position), if that is at or before now_ns; kNone
  // else.
  Position next_expired(uint64_t now_ns);
  // Whether each live pending transfer with a timeout will be found by next_expired().
  bool expiries_complete() const;

  // What roll_back() goes back to.
  struct Mark {
    Position size;
    uint64_t failed_count;
    uint64_t expiry_count;
    uint64_t last_timestamp;
  };
  Mark mark() const { return {size(), failed_count(), expiry_count(), last_timestamp_}; }
  // Takes out what was appended since the mark; nothing of that may be sealed.
  void roll_back(const Mark& mark);
  // Puts a pending state back.
  void restore(const Pending& before);

  // Sealing

  // From now on blocks are told to the store and what is old can be sealed. Only while nothing was posted.
  void open_store(std::string folder);

  // What a snapshot keeps; the records are in the blocks.
  struct Saved {
    IdHash::Key hash_key;
    Position size = 0;
    uint64_t last_timestamp = 0;
    uint64_t failed_first = 0;
    std::vector<U128> failed;
    uint64_t expired_first = 0;
    std::vector<store::Expiry> expired;
    std::vector<store::Links> links;  // of the window
    std::vector<Pending> pendings;    // of the window, in order
    std::vector<OldPending> old_pendings;
    std::vector<store::SegmentName> segments;
    std::vector<std::string> block_files;
    std::vector<store::Span> spans;
  };
  // Throws std::invalid_argument unless the blocks of all transfers are known.
  Saved save() const;
  // The store that gave this, opened again. Throws store::Damaged if the files are not what they were, and
  // std::invalid_argument if this can't have been saved.
  TransferStore(const Saved& saved, std::string folder);
  store::SealedStore* sealed_store() { return store_.get(); }
  const store::SealedStore* sealed_store() const { return store_.get(); }
  // What a segment of the oldest count transfers of the window holds, and of all else that is older than the mark; but
  // outcomes that may yet be taken back stay. Changes nothing.
  store::SegmentContent content_to_seal(uint64_t count, const Mark& mark,
                                        const std::unordered_set<Position>& unsettled) const;
  // Puts in the segment that was written of it, and forgets what it holds.
  void seal(store::SegmentPointer segment, const store::SegmentContent& content);

 private:
  struct Expiry {
    uint64_t at_ns;
    Position position;
    auto operator<=>(const Expiry&) const = default;
  };
  Position position_of(uint32_t entry) const {
    return first_ + ((entry - static_cast<uint32_t>(first_)) & (kWindowMax - 1));
  }
  static uint32_t failed_entry(uint64_t number) {
    return kWindowMax + (static_cast<uint32_t>(number) & (kFailedMax - 1));
  }
  u128 id_at(uint32_t entry) const {
    if (entry < kWindowMax) return records_[entry & mask_].id;
    return failed_[(entry - static_cast<uint32_t>(failed_first_)) & (kFailedMax - 1)].value;
  }
  Position find_sealed(u128 id, uint64_t hash) const;
  Transfer sealed(Position position) const;
  Transfer block_record(Position position) const;
  Pending& state_of(Position position);
  bool live(const Expiry& expiry) const;
  void push_expiry(const Transfer& transfer, Position position);
  void drop_dead_expiries();
  void grow_window(size_t count);
  void load_window(const Saved& saved);

  // A ring: the record at a position stands at position & mask_, and so does what lies beside it.
  BigArray<Transfer> records_;
  BigArray<uint32_t> pending_of_;  // for pending transfers: number of the state, counted without end
  BigArray<store::Links> links_;
  uint64_t mask_ = 0;
  Position first_ = 0, end_ = 0;
  uint64_t last_timestamp_ = 0;

  BigArray<U128> failed_;
  uint64_t failed_first_ = 0;
  std::vector<store::Expiry> expired_;
  uint64_t expired_first_ = 0;
  std::deque<Pending> pendings_;  // those of the window, in order
  uint32_t pendings_first_ = 0;   // number of the first of them
  std::unordered_map<Position, OldPending> old_pendings_;
  // A heap, soonest first. Entries of transfers that were resolved or rolled back stay for a while and are passed over.
  std::vector<Expiry> expiries_;
  IdIndex index_;
  std::unique_ptr<store::SealedStore> store_;
};

}  // namespace pyledger::engine
