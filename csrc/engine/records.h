// The two records of the ledger, byte for byte as pyledger/types.py and TigerBeetle's reference lay them out.
//
// They are packed, so a record may begin at any byte of a caller's buffer; on the CPUs we build for that costs nothing.
#pragma once

#include <bit>
#include <cstdint>

namespace pyledger::engine {

static_assert(std::endian::native == std::endian::little, "records are little-endian in memory and on disk");

using u128 = unsigned __int128;

inline constexpr u128 kU128Max = ~u128{0};
inline constexpr uint64_t kTimestampMax = (uint64_t{1} << 63) - 1;
inline constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
inline constexpr uint32_t kNoKey = 0xFFFF'FFFF;

struct [[gnu::packed]] U128 {
  u128 value;
};

struct [[gnu::packed]] Account {
  u128 id;
  u128 debits_pending;
  u128 debits_posted;
  u128 credits_pending;
  u128 credits_posted;
  u128 user_data_128;
  uint64_t user_data_64;
  uint32_t user_data_32;
  uint32_t reserved;
  uint32_t ledger;
  uint16_t code;
  uint16_t flags;
  uint64_t timestamp;
};
static_assert(sizeof(Account) == 128);

namespace account_flag {
enum : uint16_t {
  kLinked = 1 << 0,
  kDebitsMustNotExceedCredits = 1 << 1,
  kCreditsMustNotExceedDebits = 1 << 2,
  kHistory = 1 << 3,
  kImported = 1 << 4,
  kClosed = 1 << 5,
  kAll = (1 << 6) - 1,
};
}

struct [[gnu::packed]] Transfer {
  u128 id;
  u128 debit_account_id;
  u128 credit_account_id;
  u128 amount;
  u128 pending_id;
  u128 user_data_128;
  uint64_t user_data_64;
  uint32_t user_data_32;
  uint32_t timeout_s;
  uint32_t ledger;
  uint16_t code;
  uint16_t flags;
  uint64_t timestamp;

  uint64_t expires_at() const { return timestamp + timeout_s * kNanosecondsPerSecond; }
};
static_assert(sizeof(Transfer) == 128);

namespace transfer_flag {
enum : uint16_t {
  kLinked = 1 << 0,
  kPending = 1 << 1,
  kPost = 1 << 2,
  kVoid = 1 << 3,
  kBalancingDebit = 1 << 4,
  kBalancingCredit = 1 << 5,
  kClosingDebit = 1 << 6,
  kClosingCredit = 1 << 7,
  kImported = 1 << 8,
  kAll = (1 << 9) - 1,
};
}

}  // namespace pyledger::engine
