// Vector operations of AVX-512 F, BW, DQ, VL for the fields: eight lanes of 64 bits.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define PYLEDGER_INLINE inline __attribute__((always_inline))
#define PYLEDGER_UNROLL _Pragma("GCC unroll 16")

namespace pyledger::ed25519 {
namespace {

struct Simd {
  static constexpr int kLanes = 8;
  using Words = __m512i;
  using Doubles = __m512d;
  using Mask = uint32_t;

  static PYLEDGER_INLINE Words broadcast(uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }
  static PYLEDGER_INLINE Doubles broadcast_double(double value) { return _mm512_set1_pd(value); }
  static PYLEDGER_INLINE Words add(Words a, Words b) { return _mm512_add_epi64(a, b); }
  static PYLEDGER_INLINE Words subtract(Words a, Words b) { return _mm512_sub_epi64(a, b); }
  static PYLEDGER_INLINE Doubles add(Doubles a, Doubles b) { return _mm512_add_pd(a, b); }
  static PYLEDGER_INLINE Doubles subtract(Doubles a, Doubles b) { return _mm512_sub_pd(a, b); }
  static PYLEDGER_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }
  static PYLEDGER_INLINE Words pattern(Doubles a) { return _mm512_castpd_si512(a); }
  static PYLEDGER_INLINE Doubles number(Words a) { return _mm512_castsi512_pd(a); }
  static PYLEDGER_INLINE Words bit_and(Words a, Words b) { return _mm512_and_si512(a, b); }
  static PYLEDGER_INLINE Words bit_or(Words a, Words b) { return _mm512_or_si512(a, b); }
  // (a & b) | c
  static PYLEDGER_INLINE Words and_or(Words a, Words b, Words c) { return _mm512_ternarylogic_epi64(a, b, c, 0xEA); }
  template <int kBits>
  static PYLEDGER_INLINE Words shift_right(Words a) {
    return _mm512_srli_epi64(a, kBits);
  }
  template <int kBits>
  static PYLEDGER_INLINE Words shift_left_by(Words a) {
    return _mm512_slli_epi64(a, kBits);
  }
  static Words shift_right(Words a, int bits) { return _mm512_srl_epi64(a, _mm_cvtsi32_si128(bits)); }
  static Words shift_left(Words a, int bits) { return _mm512_sll_epi64(a, _mm_cvtsi32_si128(bits)); }
  static PYLEDGER_INLINE Words multiply_low_32(Words a, Words b) { return _mm512_mul_epu32(a, b); }

  static PYLEDGER_INLINE Words select(Mask mask, Words a, Words b) {
    return _mm512_mask_mov_epi64(b, static_cast<__mmask8>(mask), a);
  }
  static PYLEDGER_INLINE Doubles select(Mask mask, Doubles a, Doubles b) {
    return _mm512_mask_mov_pd(b, static_cast<__mmask8>(mask), a);
  }
  static PYLEDGER_INLINE Doubles negate_if(Mask mask, Doubles a) {
    return _mm512_mask_xor_pd(a, static_cast<__mmask8>(mask), a, _mm512_set1_pd(-0.0));
  }
  static Mask equal(Words a, Words b) { return _mm512_cmpeq_epi64_mask(a, b); }
  static Words load_lanes(const uint64_t* lanes) { return _mm512_load_si512(lanes); }
  static void store_lanes(uint64_t* lanes, Words a) { _mm512_store_si512(lanes, a); }
  static void store_doubles(double* lanes, Doubles a) { _mm512_store_pd(lanes, a); }

  // word[i] = word i of every lane's row of 16: two transpositions of 8 by 8.
  static PYLEDGER_INLINE void load_rows(const uint64_t* const* rows, Words* word) {
    transpose(rows, 0, word);
    transpose(rows, 8, word + 8);
  }

 private:
  static PYLEDGER_INLINE void transpose(const uint64_t* const* rows, int offset, Words* word) {
    Words row[8], pair[8], quad[8];
    PYLEDGER_UNROLL
    for (int i = 0; i < 8; i++) row[i] = _mm512_load_si512(rows[i] + offset);
    PYLEDGER_UNROLL
    for (int i = 0; i < 8; i += 2) {
      pair[i] = _mm512_unpacklo_epi64(row[i], row[i + 1]);      // words 0 2 4 6 of two rows
      pair[i + 1] = _mm512_unpackhi_epi64(row[i], row[i + 1]);  // words 1 3 5 7
    }
    PYLEDGER_UNROLL
    for (int odd = 0; odd < 2; odd++) {
      quad[odd] = _mm512_shuffle_i64x2(pair[odd], pair[2 + odd], 0x88);      // words 0 4 (1 5) of rows 0-3
      quad[2 + odd] = _mm512_shuffle_i64x2(pair[odd], pair[2 + odd], 0xDD);  // words 2 6 (3 7)
      quad[4 + odd] = _mm512_shuffle_i64x2(pair[4 + odd], pair[6 + odd], 0x88);
      quad[6 + odd] = _mm512_shuffle_i64x2(pair[4 + odd], pair[6 + odd], 0xDD);
    }
    PYLEDGER_UNROLL
    for (int i = 0; i < 4; i++) {
      word[i] = _mm512_shuffle_i64x2(quad[i], quad[4 + i], 0x88);
      word[4 + i] = _mm512_shuffle_i64x2(quad[i], quad[4 + i], 0xDD);
    }
  }
};

}  // namespace
}  // namespace pyledger::ed25519
