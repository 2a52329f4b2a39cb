#include "hash/sha512.h"

#include "dispatch/cpu.h"
#include "hash/rows.h"

namespace pyledger::hash {
namespace {

struct Row {
  const char* name;
  uint32_t features;
  size_t lanes;
  size_t lanes_worth;  // fewer messages than this are hashed one by one
  Sha512Function hash;
};

constexpr size_t kLanesMax = 8;

constexpr Row kRows[] = {
    {"scalar", 0, 1, 1, &sha512_scalar_x1},
};

const Row& row() noexcept { return dispatch::select(kRows); }

// Hashes up to one group: the lanes without a message of their own hash the first one again, to nowhere.
void hash_group(const Row& row, const uint8_t* const* messages, size_t size_bytes, size_t count,
                uint8_t* const* digests) noexcept {
  if (count == row.lanes) return row.hash(messages, size_bytes, digests);
  if (count < row.lanes_worth) {
    for (size_t i = 0; i < count; i++) sha512_scalar_x1(messages + i, size_bytes, digests + i);
    return;
  }
  uint8_t nowhere[kSha512Bytes];
  const uint8_t* lane_messages[kLanesMax];
  uint8_t* lane_digests[kLanesMax];
  for (size_t i = 0; i < row.lanes; i++) {
    lane_messages[i] = i < count ? messages[i] : messages[0];
    lane_digests[i] = i < count ? digests[i] : nowhere;
  }
  row.hash(lane_messages, size_bytes, lane_digests);
}

}  // namespace

size_t sha512_lanes() noexcept { return row().lanes; }

const char* sha512_row_name() noexcept { return row().name; }

void sha512(const uint8_t* message, size_t size_bytes, uint8_t* digest_64) noexcept {
  sha512_scalar_x1(&message, size_bytes, &digest_64);
}

void sha512_gather(const uint8_t* const* messages, size_t size_bytes, size_t count, uint8_t* const* digests) noexcept {
  const Row& chosen = row();
  for (size_t i = 0; i < count; i += chosen.lanes) {
    const size_t group = count - i < chosen.lanes ? count - i : chosen.lanes;
    hash_group(chosen, messages + i, size_bytes, group, digests + i);
  }
}

void sha512_many(const uint8_t* messages, size_t stride_bytes, size_t size_bytes, size_t count,
                 uint8_t* digests) noexcept {
  const Row& chosen = row();
  for (size_t i = 0; i < count; i += chosen.lanes) {
    const size_t group = count - i < chosen.lanes ? count - i : chosen.lanes;
    const uint8_t* lane_messages[kLanesMax];
    uint8_t* lane_digests[kLanesMax];
    for (size_t lane = 0; lane < group; lane++) {
      lane_messages[lane] = messages + stride_bytes * (i + lane);
      lane_digests[lane] = digests + kSha512Bytes * (i + lane);
    }
    hash_group(chosen, lane_messages, size_bytes, group, lane_digests);
  }
}

}  // namespace pyledger::hash
