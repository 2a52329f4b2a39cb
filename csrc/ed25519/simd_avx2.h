// Vector operations of AVX2 and FMA for the fields: four lanes of 64 bits.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define PYLEDGER_INLINE inline __attribute__((always_inline))
#define PYLEDGER_UNROLL _Pragma("GCC unroll 16")

namespace pyledger::ed25519 {
namespace {

struct Simd {
  static constexpr int kLanes = 4;
  using Words = __m256i;
  using Doubles = __m256d;
  using Mask = uint32_t;

  static PYLEDGER_INLINE Words broadcast(uint64_t value) { return _mm256_set1_epi64x(static_cast<long long>(value)); }
  static PYLEDGER_INLINE Doubles broadcast_double(double value) { return _mm256_set1_pd(value); }
  static PYLEDGER_INLINE Words add(Words a, Words b) { return _mm256_add_epi64(a, b); }
  static PYLEDGER_INLINE Words subtract(Words a, Words b) { return _mm256_sub_epi64(a, b); }
  static PYLEDGER_INLINE Doubles add(Doubles a, Doubles b) { return _mm256_add_pd(a, b); }
  static PYLEDGER_INLINE Doubles subtract(Doubles a, Doubles b) { return _mm256_sub_pd(a, b); }
  static PYLEDGER_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }
  static PYLEDGER_INLINE Words pattern(Doubles a) { return _mm256_castpd_si256(a); }
  static PYLEDGER_INLINE Doubles number(Words a) { return _mm256_castsi256_pd(a); }
  static PYLEDGER_INLINE Words bit_and(Words a, Words b) { return _mm256_and_si256(a, b); }
  static PYLEDGER_INLINE Words bit_or(Words a, Words b) { return _mm256_or_si256(a, b); }
  // (a & b) | c
  static PYLEDGER_INLINE Words and_or(Words a, Words b, Words c) { return bit_or(bit_and(a, b), c); }
  template <int kBits>
  static PYLEDGER_INLINE Words shift_right(Words a) {
    return _mm256_srli_epi64(a, kBits);
  }
  template <int kBits>
  static PYLEDGER_INLINE Words shift_left_by(Words a) {
    return _mm256_slli_epi64(a, kBits);
  }
  static Words shift_right(Words a, int bits) { return _mm256_srl_epi64(a, _mm_cvtsi32_si128(bits)); }
  static Words shift_left(Words a, int bits) { return _mm256_sll_epi64(a, _mm_cvtsi32_si128(bits)); }
  static PYLEDGER_INLINE Words multiply_low_32(Words a, Words b) { return _mm256_mul_epu32(a, b); }

  static PYLEDGER_INLINE Doubles select(Mask mask, Doubles a, Doubles b) {
    return _mm256_blendv_pd(b, a, number(widen(mask)));
  }
  static PYLEDGER_INLINE Doubles negate_if(Mask mask, Doubles a) {
    return _mm256_xor_pd(a, _mm256_and_pd(number(widen(mask)), _mm256_set1_pd(-0.0)));
  }
  static Mask equal(Words a, Words b) {
    return static_cast<Mask>(_mm256_movemask_pd(number(_mm256_cmpeq_epi64(a, b))));
  }
  static Words load_lanes(const uint64_t* lanes) { return _mm256_load_si256(reinterpret_cast<const Words*>(lanes)); }
  static void store_lanes(uint64_t* lanes, Words a) { _mm256_store_si256(reinterpret_cast<Words*>(lanes), a); }
  static void store_doubles(double* lanes, Doubles a) { _mm256_store_pd(lanes, a); }

  // word[i] = word i of every lane's row of 16: four transpositions of 4 by 4.
  static PYLEDGER_INLINE void load_rows(const uint64_t* const* rows, Words* word) {
    PYLEDGER_UNROLL
    for (int offset = 0; offset < 16; offset += 4) {
      Words row[4];
      PYLEDGER_UNROLL
      for (int i = 0; i < 4; i++) row[i] = _mm256_load_si256(reinterpret_cast<const Words*>(rows[i] + offset));
      const Words low_01 = _mm256_unpacklo_epi64(row[0], row[1]), high_01 = _mm256_unpackhi_epi64(row[0], row[1]);
      const Words low_23 = _mm256_unpacklo_epi64(row[2], row[3]), high_23 = _mm256_unpackhi_epi64(row[2], row[3]);
      word[offset] = _mm256_permute2x128_si256(low_01, low_23, 0x20);
      word[offset + 1] = _mm256_permute2x128_si256(high_01, high_23, 0x20);
      word[offset + 2] = _mm256_permute2x128_si256(low_01, low_23, 0x31);
      word[offset + 3] = _mm256_permute2x128_si256(high_01, high_23, 0x31);
    }
  }

 private:
  // All ones in the lanes of the mask.
  static PYLEDGER_INLINE Words widen(Mask mask) {
    const Words bit = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_cmpeq_epi64(bit_and(broadcast(mask), bit), bit);
  }
};

}  // namespace
}  // namespace pyledger::ed25519
