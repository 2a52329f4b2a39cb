// The accounts in order of creation; an account's place is its slot, the same as in the state tree.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/id_index.h"
#include "engine/memory.h"
#include "engine/records.h"
#include "merkle/dirty_slots.h"

namespace pyledger::engine {

// Who stands behind an account, and where its history begins. Beside the records, because most calls read the balances
// only.
struct Standing {
  uint32_t owner;
  uint32_t institution;
  uint64_t ledger_number : 24;  // in MovedByLedger
  uint64_t last_event : 40;     // store::Event: each one links to the one before it
};
static_assert(sizeof(Standing) == 16);

class AccountStore {
 public:
  static constexpr uint32_t kNone = IdIndex::kNone;

  size_t size() const { return records_.size(); }
  Account& operator[](uint32_t slot) { return records_[slot]; }
  const Account& operator[](uint32_t slot) const { return records_[slot]; }
  const Account* records() const { return records_.data(); }
  Standing& standing(uint32_t slot) { return standings_[slot]; }
  const Standing& standing(uint32_t slot) const { return standings_[slot]; }

  uint64_t hash(u128 id) const { return index_.hash(id); }
  uint32_t find(u128 id) const { return find(id, hash(id)); }
  uint32_t find(u128 id, uint64_t hash) const {
    return index_.find(hash, [&](uint32_t slot) { return records_[slot].id == id; });
  }
  [[gnu::always_inline]] void prefetch_index(uint64_t hash) const { index_.prefetch(hash); }
  [[gnu::always_inline]] void prefetch_record(uint64_t hash) const {
    const uint32_t slot = index_.guess(hash);
    if (slot != kNone) prefetch_slot(slot);
  }
  [[gnu::always_inline]] void prefetch_slot(uint32_t slot) const {
    const char* record = reinterpret_cast<const char*>(&records_[slot]);
    __builtin_prefetch(record, 1);
    __builtin_prefetch(record + 64, 1);
    __builtin_prefetch(&standings_[slot], 1);
  }

  uint64_t last_timestamp() const { return size() ? records_.back().timestamp : 0; }
  bool has_timestamp(uint64_t timestamp) const {
    const Account* end = records_.data() + size();
    const Account* at = std::lower_bound(records_.data(), end, timestamp,
                                         [](const Account& account, uint64_t t) { return account.timestamp < t; });
    return at != end && at->timestamp == timestamp;
  }

  void reserve(size_t count) {
    records_.reserve(count);
    standings_.reserve(count);
    index_.reserve(count);
    touched_.grow(std::max(count, size()));
  }
  // The same, all pages provided.
  void prepare(size_t count) {
    reserve(count);
    records_.prepare(count);
    standings_.prepare(count);
    index_.prepare(count);
  }
  uint32_t append(const Account& account, const Standing& standing) {
    const uint32_t slot = static_cast<uint32_t>(size());
    index_.insert(hash(account.id), slot);
    records_.append(account);
    standings_.append(standing);
    return slot;
  }
  void truncate(size_t size) {
    for (size_t slot = records_.size(); slot-- > size;) {
      index_.erase(hash(records_[slot].id), static_cast<uint32_t>(slot));
    }
    records_.truncate(size);
    standings_.truncate(size);
  }

  void touch(uint32_t slot) { touched_.mark(slot); }
  // Slots touched since the last taking, rising.
  std::vector<uint32_t> touched() const { return touched_.slots(); }
  void clear_touched() { touched_.clear(); }

  // What stands in the state tree's leaf of an account: record, owner key, institution.
  static constexpr size_t kPayloadBytes = sizeof(Account) + 2 * sizeof(uint32_t);
  void copy_payload(uint32_t slot, uint8_t* out) const {
    const Standing& standing = standings_[slot];
    std::memcpy(out, &records_[slot], sizeof(Account));
    std::memcpy(out + sizeof(Account), &standing.owner, sizeof standing.owner);
    std::memcpy(out + sizeof(Account) + sizeof standing.owner, &standing.institution, sizeof standing.institution);
  }

 private:
  BigArray<Account> records_;
  BigArray<Standing> standings_;
  merkle::DirtySlots touched_;
  IdIndex index_;
};

}  // namespace pyledger::engine
