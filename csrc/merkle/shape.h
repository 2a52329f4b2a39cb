// The shape of RFC 6962 trees: where a tree of n leaves splits, and how long its proofs are.
#pragma once

#include <bit>
#include <cstdint>

namespace pyledger::merkle {

// The largest power of two smaller than n, for n > 1: the number of leaves in the left subtree (section 2.1).
inline uint64_t split(uint64_t n) noexcept { return std::bit_floor(n - 1); }

// Hashes in the inclusion proof of leaf `index` among `size`, index < size. Below the level where the index and the
// last leaf meet, each level has a sibling; above it only those to the left.
inline int path_length(uint64_t index, uint64_t size) noexcept {
  const int inner = std::bit_width(index ^ (size - 1));
  return inner + (inner < 64 ? std::popcount(index >> inner) : 0);
}

}  // namespace pyledger::merkle
