#include "hash/sha512.h"

#include "dispatch/cpu.h"
#include "hash/rows.h"

namespace pyledger::hash {
namespace {

struct Row {
  const char* name;
  uint32_t features;
  size_t lanes;
  size_t worth;  // from so many messages on, a call with lanes left empty beats the rows that follow
  Sha512Function hash;
};

constexpr size_t kLanesMax = 8;
constexpr size_t kEveryLane = ~size_t{0};

constexpr Row kRows[] = {
#if defined(__x86_64__)
    {"avx512", dispatch::kAvx512, 8, 4, &sha512_avx512_x8},
    {"avx2", dispatch::kAvx2, 4, 3, &sha512_avx2_x4},
#endif
    {"scalar", 0, 1, 1, &sha512_scalar_x1},
};

const Row& row_for(size_t count) noexcept {
  const uint32_t allowed = dispatch::allowed_features();
  for (const Row& row : kRows) {
    if ((row.features & ~allowed) == 0 && count >= row.worth) return row;
  }
  return kRows[sizeof kRows / sizeof *kRows - 1];
}

// Hashes the next group and returns its size. Lanes without a message of their own hash the first one again, to
// nowhere.
size_t hash_group(const uint8_t* const* messages, size_t size_bytes, size_t count, uint8_t* const* digests) noexcept {
  const Row& row = row_for(count);
  if (count >= row.lanes) {
    row.hash(messages, size_bytes, digests);
    return row.lanes;
  }
  uint8_t nowhere[kSha512Bytes];
  const uint8_t* lane_messages[kLanesMax];
  uint8_t* lane_digests[kLanesMax];
  for (size_t i = 0; i < row.lanes; i++) {
    lane_messages[i] = i < count ? messages[i] : messages[0];
    lane_digests[i] = i < count ? digests[i] : nowhere;
  }
  row.hash(lane_messages, size_bytes, lane_digests);
  return count;
}

}  // namespace

size_t sha512_lanes() noexcept { return row_for(kEveryLane).lanes; }

const char* sha512_row_name() noexcept { return row_for(kEveryLane).name; }

void sha512(const uint8_t* message, size_t size_bytes, uint8_t* digest_64) noexcept {
  row_for(1).hash(&message, size_bytes, &digest_64);
}

void sha512_gather(const uint8_t* const* messages, size_t size_bytes, size_t count, uint8_t* const* digests) noexcept {
  for (size_t i = 0; i < count;) i += hash_group(messages + i, size_bytes, count - i, digests + i);
}

void sha512_many(const uint8_t* messages, size_t stride_bytes, size_t size_bytes, size_t count,
                 uint8_t* digests) noexcept {
  for (size_t i = 0; i < count;) {
    const uint8_t* lane_messages[kLanesMax];
    uint8_t* lane_digests[kLanesMax];
    for (size_t lane = 0; lane < kLanesMax && i + lane < count; lane++) {
      lane_messages[lane] = messages + stride_bytes * (i + lane);
      lane_digests[lane] = digests + kSha512Bytes * (i + lane);
    }
    i += hash_group(lane_messages, size_bytes, count - i, lane_digests);
  }
}

}  // namespace pyledger::hash
