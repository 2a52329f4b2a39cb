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

// A stretch of a sum: `shorts` + `longs` - base * B. Scalars of `shorts` are below 2^128, the others below L.
struct Summands {
  std::vector<ScaledPoint> shorts, longs;
  Scalar base;
};

// Is 8 times the sum of all parts the identity? Windows of the scalars are spread over the threads.
bool is_sum_of_small_order(const std::vector<Summands>& parts, unsigned threads);

}  // namespace pyledger::ed25519
