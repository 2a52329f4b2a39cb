// What test_field.cpp sees of a row's Field: its operations on elements given limb by limb, and the bounds that its
// comments state. Compiled into the test alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::ed25519 {

// The sums that curve.h carries, over elements a, b, c, d.
enum class Form : int {
  kProduct,               // ab
  kSquare,                // aa
  kSum,                   // a + b
  kDifference,            // a - b
  kSumOfProducts,         // ab + cd
  kDifferenceOfProducts,  // ab - cd
  kTwicePlusProduct,      // 2b + ad
  kTwiceMinusProduct,     // 2b - ad
  kDoubling,              // 4bb - 2bd, the largest
  kCount
};

// Elements stand side by side: limb k of element i is limbs[5 * i + k]. Every function takes `count` of them.
struct FieldProbe {
  const char* name;
  int64_t tight_min, tight_max;     // limbs that a carry leaves, hence those of b and d
  int64_t factor_max;               // limbs of a and c where they are factors, from tight_min on
  __int128 column_min, column_max;  // columns that can be carried

  void (*evaluate)(Form form, const int64_t* const* operands, size_t count, int64_t* limbs);
  void (*carry)(const __int128* columns, size_t count, int64_t* limbs);
  void (*canonical)(const int64_t* limbs, size_t count, int64_t* canonical_limbs);
  void (*negate)(const int64_t* limbs, size_t count, int64_t* negated);
  void (*store)(const int64_t* limbs, size_t count, uint64_t* words);
  void (*load)(const uint64_t* words, bool negative, size_t count, int64_t* limbs);
};

extern const FieldProbe kProbeScalar, kProbeAvx2, kProbeAvx512, kProbeAvx512Ifma;

}  // namespace pyledger::ed25519
