// The batch equation over small groups, one group a lane: where wrong signatures are frequent, groups are small enough
// to hold mostly, and share their doublings.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/rows.h"
#include "ed25519/scalar.h"

namespace pyledger::ed25519 {

// One signature's part in a combination: z R + zh A - zs B, z below 2^128.
struct WeightedEquation {
  const Entry* r;
  const Entry* a;
  Scalar z, zh, zs;
};

inline constexpr size_t kGroupSize = 16;

// holds[g] = whether equations[kGroupSize * g ..], the last group with what is left, add up to a point of small order.
void check_groups(const WeightedEquation* equations, size_t count, uint8_t* holds);

}  // namespace pyledger::ed25519
