// GF(2^255 - 19) in five unsigned limbs of 51 bits, eight lanes, products by AVX-512 IFMA. Included behind
// simd_avx512.h.
//
// vpmadd52 multiplies the low 52 bits of its factors and adds the low or the high 52 bits of the product: for limbs
// below 2^52, a_i b_j = low + 2^52 high, which is low in column i + j and twice high in column i + j + 1 of radix 2^51.
//
// A tight element has limbs below 2^51 + 2^15. One factor of a product is tight, the other has limbs below 1.5 * 2^51
// (an entry of memory) or 2^52 (a negated element). With both tight a column is below (1 + 4 * 19) * 2^52 + (5 * 19) *
// 2^51 (1 + 2^-30) < 2^58.97; with a negated factor below 2^59.5, since low halves stay below 2^52. A difference adds
// 2^9 p, whose limbs exceed 2 * 2^58.97 and 2^59.5; the largest Raw (curve.h, doubling: 4 zz - 2 mp) is below 2^61.6.
// Its carries are below 2^10.6, nineteen times that below 2^14.9: limbs are tight again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/rows.h"

namespace pyledger::ed25519 {
namespace {

struct Field {
  static constexpr int kLanes = Simd::kLanes;
  static constexpr uint64_t kMask = (uint64_t{1} << 51) - 1;
  static constexpr uint64_t prime_limb(int k) { return k == 0 ? kMask - 18 : kMask; }

  using Vector = Simd::Words;
  using Mask = uint32_t;

  struct Fe {
    Vector limb[5];
  };

  struct Raw {
    Vector column[5];

    PYLEDGER_INLINE Raw operator+(const Raw& b) const {
      Raw sum;
      PYLEDGER_UNROLL
      for (int k = 0; k < 5; k++) sum.column[k] = Simd::add(column[k], b.column[k]);
      return sum;
    }
    // a - b + 2^9 p
    PYLEDGER_INLINE Raw operator-(const Raw& b) const {
      Raw difference;
      PYLEDGER_UNROLL
      for (int k = 0; k < 5; k++) {
        const uint64_t offset = prime_limb(k) << 9;
        check_below(b.column[k], offset + 1);
        difference.column[k] = Simd::add(column[k], Simd::subtract(Simd::broadcast(offset), b.column[k]));
      }
      return difference;
    }
  };

  static PYLEDGER_INLINE Raw multiply(const Fe& a, const Fe& b) {
    check_factors(a, b);
    Vector low[9], high[10];
    PYLEDGER_UNROLL
    for (Vector& v : low) v = Simd::broadcast(0);
    PYLEDGER_UNROLL
    for (Vector& v : high) v = Simd::broadcast(0);
    PYLEDGER_UNROLL
    for (int i = 0; i < 5; i++) {
      PYLEDGER_UNROLL
      for (int j = 0; j < 5; j++) {
        low[i + j] = _mm512_madd52lo_epu64(low[i + j], a.limb[i], b.limb[j]);
        high[i + j + 1] = _mm512_madd52hi_epu64(high[i + j + 1], a.limb[i], b.limb[j]);
      }
    }
    Vector column[10];
    column[0] = low[0];
    PYLEDGER_UNROLL
    for (int k = 1; k < 9; k++) column[k] = Simd::add(low[k], twice(high[k]));
    column[9] = twice(high[9]);
    return fold(column);
  }

  // Products of distinct limbs count twice.
  static PYLEDGER_INLINE Raw square(const Fe& a) {
    check_factors(a, a);
    Vector low[9], high[10], low_mixed[9], high_mixed[10];
    PYLEDGER_UNROLL
    for (int k = 0; k < 9; k++) low[k] = low_mixed[k] = Simd::broadcast(0);
    PYLEDGER_UNROLL
    for (int k = 0; k < 10; k++) high[k] = high_mixed[k] = Simd::broadcast(0);
    PYLEDGER_UNROLL
    for (int i = 0; i < 5; i++) {
      low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], a.limb[i], a.limb[i]);
      high[2 * i + 1] = _mm512_madd52hi_epu64(high[2 * i + 1], a.limb[i], a.limb[i]);
      PYLEDGER_UNROLL
      for (int j = i + 1; j < 5; j++) {
        low_mixed[i + j] = _mm512_madd52lo_epu64(low_mixed[i + j], a.limb[i], a.limb[j]);
        high_mixed[i + j + 1] = _mm512_madd52hi_epu64(high_mixed[i + j + 1], a.limb[i], a.limb[j]);
      }
    }
    // low + 2 (low_mixed + high + 2 high_mixed)
    Vector column[10];
    column[0] = low[0];
    column[1] = twice(Simd::add(low_mixed[1], high[1]));
    PYLEDGER_UNROLL
    for (int k = 2; k < 9; k++) {
      Vector inner = k % 2 == 0 ? twice(high_mixed[k]) : high[k];
      if (k % 2 == 1) inner = Simd::add(inner, twice(high_mixed[k]));
      if (k < 8) inner = Simd::add(inner, low_mixed[k]);
      column[k] = twice(inner);
      if (k % 2 == 0) column[k] = Simd::add(column[k], low[k]);
    }
    column[9] = twice(high[9]);
    return fold(column);
  }

  static PYLEDGER_INLINE Raw raw(const Fe& a) { return {{a.limb[0], a.limb[1], a.limb[2], a.limb[3], a.limb[4]}}; }

  // One parallel carry; 2^255 = 19 brings the topmost carry round.
  static PYLEDGER_INLINE Fe reduce(const Raw& a) {
    Vector carry[5], rest[5];
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      check_below(a.column[k], uint64_t{3} << 60);
      carry[k] = Simd::template shift_right<51>(a.column[k]);
      rest[k] = Simd::bit_and(a.column[k], Simd::broadcast(kMask));
    }
    Fe out;
    out.limb[0] = _mm512_madd52lo_epu64(rest[0], carry[4], Simd::broadcast(19));
    PYLEDGER_UNROLL
    for (int k = 1; k < 5; k++) out.limb[k] = Simd::add(rest[k], carry[k - 1]);
    return out;
  }

  // Words of memory (rows.h) to an element with limbs in [2^50 - 2^14, 1.5 * 2^51]; negated in the lanes of `negative`.
  static PYLEDGER_INLINE Fe load(const Vector* word, Mask negative) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      const Vector plus = Simd::subtract(word[k], Simd::broadcast(kBias - prime_limb(k)));
      const Vector minus = Simd::subtract(Simd::broadcast(kBias + prime_limb(k)), word[k]);
      out.limb[k] = Simd::select(negative, minus, plus);
    }
    return out;
  }
  static PYLEDGER_INLINE Fe load(const Vector* word) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) out.limb[k] = Simd::subtract(word[k], Simd::broadcast(kBias - prime_limb(k)));
    return out;
  }

  // Limbs balanced into [-2^50, 2^50 + 19], as rows.h demands.
  static void store(const Fe& a, Vector* word) {
    Vector carry[5];
    for (int k = 0; k < 5; k++)
      carry[k] = Simd::template shift_right<51>(Simd::add(a.limb[k], Simd::broadcast(uint64_t{1} << 50)));
    for (int k = 0; k < 5; k++) {
      const Vector rest = Simd::subtract(a.limb[k], Simd::template shift_left_by<51>(carry[k]));
      const Vector from_below = k > 0 ? carry[k - 1] : Simd::multiply_low_32(carry[4], Simd::broadcast(19));
      word[k] = Simd::add(Simd::add(rest, from_below), Simd::broadcast(kBias));
    }
  }

  // Limbs that are nowhere negative, below 2^52.
  static void to_limbs(const Fe& a, Vector* limb) {
    for (int k = 0; k < 5; k++) limb[k] = a.limb[k];
  }
  static Fe from_limbs(const Vector* limb) { return {{limb[0], limb[1], limb[2], limb[3], limb[4]}}; }

  static PYLEDGER_INLINE Fe select(Mask mask, const Fe& a, const Fe& b) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) out.limb[k] = Simd::select(mask, a.limb[k], b.limb[k]);
    return out;
  }
  // -a where the mask is set, as 2p - a: limbs below 2^52, a factor for tight elements only.
  static PYLEDGER_INLINE Fe negate_if(Mask mask, const Fe& a) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      const Vector minus = Simd::subtract(Simd::broadcast(2 * prime_limb(k)), a.limb[k]);
      out.limb[k] = Simd::select(mask, minus, a.limb[k]);
    }
    return out;
  }

  static Vector broadcast(uint64_t value) { return Simd::broadcast(value); }
  static Vector add(Vector a, Vector b) { return Simd::add(a, b); }
  static Vector subtract(Vector a, Vector b) { return Simd::subtract(a, b); }
  static Vector bit_and(Vector a, Vector b) { return Simd::bit_and(a, b); }
  static Vector bit_or(Vector a, Vector b) { return Simd::bit_or(a, b); }
  static Vector shift_left(Vector a, int bits) { return Simd::shift_left(a, bits); }
  static Vector shift_right(Vector a, int bits) { return Simd::shift_right(a, bits); }
  static Mask equal(Vector a, Vector b) { return Simd::equal(a, b); }
  static Vector load_lanes(const uint64_t* lanes) { return Simd::load_lanes(lanes); }
  static void store_lanes(uint64_t* lanes, Vector a) { Simd::store_lanes(lanes, a); }
  static PYLEDGER_INLINE void load_rows(const uint64_t* const* rows, Vector* word) { Simd::load_rows(rows, word); }

 private:
  static PYLEDGER_INLINE Vector twice(Vector a) { return Simd::add(a, a); }

  // Columns 5 to 9 stand for 2^255 = 19 times columns 0 to 4.
  static PYLEDGER_INLINE Raw fold(const Vector* column) {
    Raw out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      const Vector high = column[k + 5];
      const Vector times_3 = Simd::add(high, Simd::template shift_left_by<1>(high));
      out.column[k] = Simd::add(Simd::add(column[k], times_3), Simd::template shift_left_by<4>(high));
    }
    return out;
  }

#if defined(PYLEDGER_VERIFY)
  static void check_below(Vector a, uint64_t bound) {
    alignas(64) uint64_t lanes[kLanes];
    Simd::store_lanes(lanes, a);
    for (const uint64_t lane : lanes) {
      if (lane >= bound) __builtin_trap();
    }
  }
  static void check_factors(const Fe& a, const Fe& b) {
    for (const Vector& limb : a.limb) check_below(limb, uint64_t{1} << 52);
    for (const Vector& limb : b.limb) check_below(limb, (uint64_t{1} << 51) + (uint64_t{1} << 15));
  }
#else
  static PYLEDGER_INLINE void check_below(Vector, uint64_t) {}
  static PYLEDGER_INLINE void check_factors(const Fe&, const Fe&) {}
#endif
};

}  // namespace
}  // namespace pyledger::ed25519
