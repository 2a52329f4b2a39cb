// GF(2^255 - 19) in five unsigned limbs of 51 bits, one element a lane and one lane: the row that every CPU has.
//
// A tight element has limbs below 2^51 + 2^14. Products take limbs below 2^52 (a negated element) times tight ones. A
// Raw is the sum of products before carrying: columns of 128 bits; the largest (curve.h, doubling: 4 zz - 2 mp) is
// below 4 * 77 * (2^51 + 2^14)^2 + 2^110 < 2^111.2 < 3 * 2^110.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/rows.h"

#if defined(PYLEDGER_VERIFY)
#define PYLEDGER_CHECK(condition) \
  if (!(condition)) __builtin_trap()
#else
#define PYLEDGER_CHECK(condition) (void)0
#endif

namespace pyledger::ed25519 {
namespace {

struct Field {
  static constexpr int kLanes = 1;
  static constexpr uint64_t kMask = (uint64_t{1} << 51) - 1;
  // Limbs of p; of 2p, which keep a difference of tight elements positive.
  static constexpr uint64_t kPrime[5] = {kMask - 18, kMask, kMask, kMask, kMask};

  using Vector = uint64_t;
  using Mask = uint32_t;
  using Wide = unsigned __int128;

  struct Fe {
    uint64_t limb[5];
  };
  struct Raw {
    Wide column[5];

    Raw operator+(const Raw& b) const {
      Raw sum;
      for (int k = 0; k < 5; k++) sum.column[k] = column[k] + b.column[k];
      return sum;
    }
    // a - b + 2^59 p: columns of products stay below 77 * 2^52 * (2^51 + 2^14) < 2^109.3, twice that below 2^59 * 2^51.
    Raw operator-(const Raw& b) const {
      Raw difference;
      for (int k = 0; k < 5; k++) {
        const Wide offset = Wide{kPrime[k]} << 59;
        PYLEDGER_CHECK(b.column[k] <= offset);
        difference.column[k] = column[k] + offset - b.column[k];
      }
      return difference;
    }
  };

  // Column k gathers a_i b_j with i + j = k, and 19 a_i b_j with i + j = k + 5, as 2^255 = 19.
  static Raw multiply(const Fe& a, const Fe& b) {
    check_factor(a), check_factor(b);
    const uint64_t a0 = a.limb[0], a1 = a.limb[1], a2 = a.limb[2], a3 = a.limb[3], a4 = a.limb[4];
    const uint64_t b0 = b.limb[0], b1 = b.limb[1], b2 = b.limb[2], b3 = b.limb[3], b4 = b.limb[4];
    const uint64_t c1 = 19 * b1, c2 = 19 * b2, c3 = 19 * b3, c4 = 19 * b4;
    return {{Wide{a0} * b0 + Wide{a1} * c4 + Wide{a2} * c3 + Wide{a3} * c2 + Wide{a4} * c1,
             Wide{a0} * b1 + Wide{a1} * b0 + Wide{a2} * c4 + Wide{a3} * c3 + Wide{a4} * c2,
             Wide{a0} * b2 + Wide{a1} * b1 + Wide{a2} * b0 + Wide{a3} * c4 + Wide{a4} * c3,
             Wide{a0} * b3 + Wide{a1} * b2 + Wide{a2} * b1 + Wide{a3} * b0 + Wide{a4} * c4,
             Wide{a0} * b4 + Wide{a1} * b3 + Wide{a2} * b2 + Wide{a3} * b1 + Wide{a4} * b0}};
  }

  static Raw square(const Fe& a) {
    check_factor(a);
    const uint64_t a0 = a.limb[0], a1 = a.limb[1], a2 = a.limb[2], a3 = a.limb[3], a4 = a.limb[4];
    const uint64_t d0 = 2 * a0, d1 = 2 * a1, c3 = 19 * a3, c4 = 19 * a4, e2 = 2 * a2, e4 = 2 * c4;
    return {{Wide{a0} * a0 + Wide{a1} * e4 + Wide{e2} * c3, Wide{d0} * a1 + Wide{a2} * e4 + Wide{a3} * c3,
             Wide{d0} * a2 + Wide{a1} * a1 + Wide{a3} * e4, Wide{d0} * a3 + Wide{d1} * a2 + Wide{a4} * c4,
             Wide{d0} * a4 + Wide{d1} * a3 + Wide{a2} * a2}};
  }

  static Raw raw(const Fe& a) { return {{a.limb[0], a.limb[1], a.limb[2], a.limb[3], a.limb[4]}}; }

  // Carries a Raw below 3 * 2^110: the carry out of column 4 is below 3 * 2^59 + 2^9, nineteen times that needs 66 bits
  // and brings limb 1 to less than 2^51 + 2^14.
  static Fe reduce(Raw a) {
    for (int k = 0; k < 5; k++) PYLEDGER_CHECK(a.column[k] >> 110 < 3);
    Fe out;
    Wide carry = 0;
    for (int k = 0; k < 5; k++) {
      carry += a.column[k];
      out.limb[k] = static_cast<uint64_t>(carry) & kMask;
      carry >>= 51;
    }
    carry = carry * 19 + out.limb[0];
    out.limb[0] = static_cast<uint64_t>(carry) & kMask;
    out.limb[1] += static_cast<uint64_t>(carry >> 51);
    return out;
  }

  // Words of memory (rows.h) to an element with limbs in [2^50 - 2^14, 1.5 * 2^51]; negated in the lanes of `negative`.
  static Fe load(const Vector* word, Mask negative) {
    Fe out;
    for (int k = 0; k < 5; k++) {
      const uint64_t limb = word[k] - kBias;
      out.limb[k] = kPrime[k] + (negative ? 0 - limb : limb);
    }
    return out;
  }

  static Fe load(const Vector* word) { return load(word, 0); }

  // Limbs balanced into [-2^50, 2^50 + 19], as rows.h demands.
  static void store(const Fe& a, Vector* word) {
    Vector carry[5];
    for (int k = 0; k < 5; k++) carry[k] = (a.limb[k] + (uint64_t{1} << 50)) >> 51;
    for (int k = 0; k < 5; k++) {
      const Vector rest = a.limb[k] - (carry[k] << 51);
      const Vector from_below = k > 0 ? carry[k - 1] : 19 * carry[4];
      word[k] = rest + from_below + kBias;
    }
  }

  // Limbs that are nowhere negative, below 2^52.
  static void to_limbs(const Fe& a, Vector* limb) {
    for (int k = 0; k < 5; k++) limb[k] = a.limb[k];
  }
  static Fe from_limbs(const Vector* limb) { return {{limb[0], limb[1], limb[2], limb[3], limb[4]}}; }

  static Fe select(Mask mask, const Fe& a, const Fe& b) { return mask ? a : b; }
  // -a where the mask is set, with limbs below 2^52: a factor for tight elements only.
  static Fe negate_if(Mask mask, const Fe& a) {
    if (!mask) return a;
    Fe out;
    for (int k = 0; k < 5; k++) out.limb[k] = 2 * kPrime[k] - a.limb[k];
    return out;
  }

  static Vector broadcast(uint64_t value) { return value; }
  static Vector add(Vector a, Vector b) { return a + b; }
  static Vector subtract(Vector a, Vector b) { return a - b; }
  static Vector bit_and(Vector a, Vector b) { return a & b; }
  static Vector bit_or(Vector a, Vector b) { return a | b; }
  static Vector shift_left(Vector a, int bits) { return a << bits; }
  static Vector shift_right(Vector a, int bits) { return a >> bits; }
  static Mask equal(Vector a, Vector b) { return a == b; }
  static Vector load_lanes(const uint64_t* lanes) { return *lanes; }
  static void store_lanes(uint64_t* lanes, Vector a) { *lanes = a; }

  // word[i] = word i of every lane's row, i in [0, 16).
  static void load_rows(const uint64_t* const* rows, Vector* word) {
    for (int i = 0; i < 16; i++) word[i] = rows[0][i];
  }

 private:
  static void check_factor([[maybe_unused]] const Fe& a) {
    for (int k = 0; k < 5; k++) PYLEDGER_CHECK(a.limb[k] >> 52 == 0);
  }
};

}  // namespace
}  // namespace pyledger::ed25519
