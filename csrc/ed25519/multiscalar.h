// Pippenger's algorithm for the one question the batch equation asks: is a sum of many multiples of points zero, up to
// small order?
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ed25519/rows.h"
#include "ed25519/scalar.h"

namespace pyledger::ed25519 {

struct ScaledPoint {
  const Entry* point;
  Scalar scalar;
};

inline constexpr int kShortBits = 128;

// Is 8 * (sum of `shorts` + sum of `longs` - base * B) the identity? Scalars of `shorts` are below 2^128, the others
// below L.
bool is_sum_of_small_order(const std::vector<ScaledPoint>& shorts, const std::vector<ScaledPoint>& longs,
                           const Scalar& base);

}  // namespace pyledger::ed25519
