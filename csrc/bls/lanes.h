// Kernels on eight points at once, where the CPU has 52-bit multiply-add; elsewhere points are checked one by one.
#pragma once

#include <cstdint>

namespace pyledger::bls {

// Bit i of the result: points[i] is in G1. Each is a point of E(Fp) other than infinity: x, then y, six words each, in
// blst's Montgomery form.
using InG1Eight = uint8_t (*)(const uint64_t* const points[8]);

struct LaneRow {
  const char* name;
  uint32_t features;
  InG1Eight in_g1_eight;  // null: this row has none
};

// The row for the features allowed now.
const LaneRow& lane_row() noexcept;

uint8_t in_g1_eight_avx512ifma(const uint64_t* const points[8]);

}  // namespace pyledger::bls
