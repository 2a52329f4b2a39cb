// GF(2^255 - 19) in doubles: five signed limbs of 51 bits, one element a lane, products split exactly by fused
// multiply-add. Included behind a `Simd` that brings the vector operations of one instruction set.
//
// For integers a, b with |ab| < 2^102, h = fma(a, b, 1.5 * 2^103) rounds ab to a multiple of 2^51, and
// l = fma(a, b, (1.5 * 2^103 + 1.5 * 2^52) - h) is the rest, at most 2^50 in magnitude, exactly. Both stand in the low
// bits of their doubles' patterns, above a constant: adding the patterns as integers adds the numbers, and the
// constants add up to a bias known at compile time. (The technique of integer products through the floating-point unit
// is that of Bernstein, "Curve25519", 2006, and of IFMA emulation by FMA.) Rounding is to nearest; no contraction, no
// reordering.
//
// A tight element has limbs within 2^50 + 2^13 of zero. Products take tight elements only, so |ab| < 2^100 + 2^65.
// A column of a product then is below (1 + 4 * 19) * 2^50 + (5 * 19) * 2^49 (1 + 2^-30) < 2^57 in magnitude; the
// largest Raw formed from them (curve.h, doubling: 4 zz - 2 mp) is below 2^59.6 < 431 * 2^51, so its carries are 431 at
// most, limb 0 ends within 2^50 + 19 * 431 < 2^50 + 2^13 of zero, and all limbs are tight again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/rows.h"

namespace pyledger::ed25519 {
namespace {

// What a Raw holds beyond its true columns, modulo 2^64.
struct Bias {
  uint64_t column[5];

  constexpr Bias operator+(const Bias& b) const {
    Bias sum{};
    for (int k = 0; k < 5; k++) sum.column[k] = column[k] + b.column[k];
    return sum;
  }
  constexpr Bias operator-(const Bias& b) const {
    Bias difference{};
    for (int k = 0; k < 5; k++) difference.column[k] = column[k] - b.column[k];
    return difference;
  }
};

constexpr double kLowMagic = 6755399441055744.0;  // 1.5 * 2^52
constexpr double kHighMagic = 0x1.8p103;          // 1.5 * 2^103
constexpr uint64_t kLowPattern = kBias, kHighPattern = 0x4668000000000000;
constexpr uint64_t kCarryPattern = 0x4330000000000000;  // 2^52

// The bias of a product: which columns gather how many low and high halves; columns 5 to 9 come back nineteenfold.
constexpr Bias product_bias(bool square) {
  uint64_t column[10] = {};
  for (int i = 0; i < 5; i++) {
    for (int j = square ? i : 0; j < 5; j++) {
      column[i + j] += kLowPattern;
      column[i + j + 1] += kHighPattern;
    }
  }
  Bias bias{};
  for (int k = 0; k < 5; k++) bias.column[k] = column[k] + 19 * column[k + 5];
  return bias;
}

struct Field {
  static constexpr int kLanes = Simd::kLanes;
  static constexpr uint64_t kMask = (uint64_t{1} << 51) - 1;
  static constexpr uint64_t kColumnMax = uint64_t{431} << 51;  // either way, of what can be carried

  using Vector = Simd::Words;
  using Doubles = Simd::Doubles;
  using Mask = uint32_t;

  struct Fe {
    Doubles limb[5];
  };

  template <Bias kBiasOf>
  struct Raw {
    Vector column[5];

    template <Bias kOther>
    PYLEDGER_INLINE Raw<kBiasOf + kOther> operator+(const Raw<kOther>& b) const {
      Raw<kBiasOf + kOther> sum;
      PYLEDGER_UNROLL
      for (int k = 0; k < 5; k++) sum.column[k] = Simd::add(column[k], b.column[k]);
      return sum;
    }
    template <Bias kOther>
    PYLEDGER_INLINE Raw<kBiasOf - kOther> operator-(const Raw<kOther>& b) const {
      Raw<kBiasOf - kOther> difference;
      PYLEDGER_UNROLL
      for (int k = 0; k < 5; k++) difference.column[k] = Simd::subtract(column[k], b.column[k]);
      return difference;
    }
  };

  static PYLEDGER_INLINE Raw<product_bias(false)> multiply(const Fe& a, const Fe& b) {
    check_tight(a), check_tight(b);
    Vector column[10];
    PYLEDGER_UNROLL
    for (Vector& c : column) c = Simd::broadcast(0);
    PYLEDGER_UNROLL
    for (int k = 0; k < 9; k++) {
      PYLEDGER_UNROLL
      for (int i = k < 5 ? 0 : k - 4; i <= (k < 5 ? k : 4); i++) {
        accumulate(a.limb[i], b.limb[k - i], column[k], column[k + 1]);
      }
    }
    return {fold<product_bias(false)>(column)};
  }

  static PYLEDGER_INLINE Raw<product_bias(true)> square(const Fe& a) {
    check_tight(a);
    Doubles doubled[5];
    Vector column[10];
    PYLEDGER_UNROLL
    for (int i = 0; i < 5; i++) doubled[i] = Simd::add(a.limb[i], a.limb[i]);
    PYLEDGER_UNROLL
    for (Vector& c : column) c = Simd::broadcast(0);
    PYLEDGER_UNROLL
    for (int k = 0; k < 9; k++) {
      PYLEDGER_UNROLL
      for (int i = k < 5 ? 0 : k - 4; 2 * i <= k; i++) {
        accumulate(2 * i == k ? a.limb[i] : doubled[i], a.limb[k - i], column[k], column[k + 1]);
      }
    }
    return {fold<product_bias(true)>(column)};
  }

  static constexpr Bias kLimbBias{{kLowPattern, kLowPattern, kLowPattern, kLowPattern, kLowPattern}};

  static PYLEDGER_INLINE Raw<kLimbBias> raw(const Fe& a) {
    Raw<kLimbBias> out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) out.column[k] = Simd::pattern(Simd::add(a.limb[k], Simd::broadcast_double(kLowMagic)));
    return out;
  }

  // One parallel carry. With u = column + 2^50 + 2^61 not negative, u = 2^51 c + m: the limb becomes m - 2^50 plus the
  // carry from below, c - 2^10, and 2^255 = 19 brings the topmost carry round. m + c, or m + 19 c, is below 2^52, so it
  // fits the pattern of a double in [2^52, 2^53); above 1.5 * 2^52 it would not.
  template <Bias kBiasOf>
  static PYLEDGER_INLINE Fe reduce(const Raw<kBiasOf>& a) {
    constexpr uint64_t kOffset = (uint64_t{1} << 50) + (uint64_t{1} << 61);
    Vector carry[5], rest[5];
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      const Vector u = Simd::subtract(a.column[k], Simd::broadcast(kBiasOf.column[k] - kOffset));
      check_shifted(u, kOffset);
      carry[k] = Simd::template shift_right<51>(u);
      rest[k] = Simd::and_or(u, Simd::broadcast(kMask), Simd::broadcast(kCarryPattern));
    }
    const Vector around = Simd::multiply_low_32(carry[4], Simd::broadcast(19));
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      const double offset = 0x1p52 + 0x1p50 + (k == 0 ? 19 * 0x1p10 : 0x1p10);
      const Vector limb = Simd::add(rest[k], k == 0 ? around : carry[k - 1]);
      out.limb[k] = Simd::subtract(Simd::number(limb), Simd::broadcast_double(offset));
    }
    return out;
  }

  // Words of memory (rows.h) to an element, negated in the lanes of `negative`.
  static PYLEDGER_INLINE Fe load(const Vector* word, Mask negative) { return negate_if(negative, load(word)); }
  static PYLEDGER_INLINE Fe load(const Vector* word) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) out.limb[k] = Simd::subtract(Simd::number(word[k]), Simd::broadcast_double(kLowMagic));
    return out;
  }

  static void store(const Fe& a, Vector* word) {
    const auto biased = raw(a);
    for (int k = 0; k < 5; k++) word[k] = biased.column[k];
  }

  // Limbs of the same number that are nowhere negative, below 2^52: p is added.
  static void to_limbs(const Fe& a, Vector* limb) {
    const auto biased = raw(a);
    for (int k = 0; k < 5; k++) {
      const uint64_t prime_limb = k == 0 ? kMask - 18 : kMask;
      limb[k] = Simd::add(biased.column[k], Simd::broadcast(prime_limb - kLowPattern));
    }
  }
  static Fe from_limbs(const Vector* limb) {
    return reduce(Raw<Bias{}>{{limb[0], limb[1], limb[2], limb[3], limb[4]}});
  }

  static PYLEDGER_INLINE Fe select(Mask mask, const Fe& a, const Fe& b) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) out.limb[k] = Simd::select(mask, a.limb[k], b.limb[k]);
    return out;
  }
  static PYLEDGER_INLINE Fe negate_if(Mask mask, const Fe& a) {
    Fe out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) out.limb[k] = Simd::negate_if(mask, a.limb[k]);
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
  static PYLEDGER_INLINE void accumulate(Doubles a, Doubles b, Vector& low, Vector& high) {
    const Doubles h = Simd::multiply_add(a, b, Simd::broadcast_double(kHighMagic));
    const Doubles rest = Simd::subtract(Simd::broadcast_double(kHighMagic + kLowMagic), h);
    low = Simd::add(low, Simd::pattern(Simd::multiply_add(a, b, rest)));
    high = Simd::add(high, Simd::pattern(h));
  }

  // Columns 5 to 9 stand for 2^255 = 19 times columns 0 to 4.
  template <Bias kBiasOf>
  static PYLEDGER_INLINE Raw<kBiasOf> fold(const Vector* column) {
    Raw<kBiasOf> out;
    PYLEDGER_UNROLL
    for (int k = 0; k < 5; k++) {
      const Vector high = column[k + 5];
      const Vector times_3 = Simd::add(high, Simd::template shift_left_by<1>(high));
      out.column[k] = Simd::add(Simd::add(column[k], times_3), Simd::template shift_left_by<4>(high));
    }
    return out;
  }

#if defined(PYLEDGER_VERIFY)
  static void check_tight(const Fe& a) {
    for (const Doubles& limb : a.limb) {
      alignas(64) double lanes[kLanes];
      Simd::store_doubles(lanes, limb);
      for (const double lane : lanes) {
        if (!(lane <= 0x1p50 + 0x1p13 && lane >= -0x1p50 - 0x1p13)) __builtin_trap();
      }
    }
  }
  static void check_shifted(Vector u, uint64_t offset) {
    alignas(64) uint64_t lanes[kLanes];
    Simd::store_lanes(lanes, u);
    for (const uint64_t lane : lanes) {
      if (lane - offset + kColumnMax > 2 * kColumnMax) __builtin_trap();
    }
  }
#else
  static PYLEDGER_INLINE void check_tight(const Fe&) {}
  static PYLEDGER_INLINE void check_shifted(Vector, uint64_t) {}
#endif
};

}  // namespace
}  // namespace pyledger::ed25519
