// Sums of amounts by ledger. A sum over 2^32 accounts of 128 bits needs 160 bits.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <vector>

#include "engine/records.h"

namespace pyledger::engine {

struct U192 {
  u128 low = 0;
  uint64_t high = 0;

  void add(u128 amount) { high += __builtin_add_overflow(low, amount, &low); }
  void subtract(u128 amount) { high -= __builtin_sub_overflow(low, amount, &low); }
  bool operator==(const U192&) const = default;
};

// Sums of the four balances of a ledger's accounts.
struct LedgerTotals {
  U192 debits_pending, debits_posted, credits_pending, credits_posted;
};

// What transfers have moved: the second, independent count that the sums over accounts are compared with.
struct Moved {
  uint32_t ledger;
  U192 pending, posted;
};

// Each account keeps the number of its ledger, so a transfer looks nothing up.
class MovedByLedger {
 public:
  static constexpr size_t kLedgersMax = size_t{1} << 24;

  // Number of the ledger, new if need be.
  uint32_t number(uint32_t ledger) {
    if (items_.size() >= kLedgersMax && !numbers_.contains(ledger)) throw std::length_error("ledgers: too many");
    const auto [at, is_new] = numbers_.try_emplace(ledger, static_cast<uint32_t>(items_.size()));
    if (is_new) items_.push_back({.ledger = ledger, .pending = {}, .posted = {}});
    return at->second;
  }
  Moved& operator[](uint32_t number) { return items_[number]; }
  const std::vector<Moved>& all() const { return items_; }

 private:
  std::vector<Moved> items_;
  std::map<uint32_t, uint32_t> numbers_;
};

}  // namespace pyledger::engine
