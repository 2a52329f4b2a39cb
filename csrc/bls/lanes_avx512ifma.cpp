// Membership in G1 for eight points at once: a field element is eight vectors of 52-bit digits, a lane a point.
//
// Scott, "A note on group membership tests for G1, G2 and GT on BLS pairing-friendly curves" (2021), section 6: P is in
// G1 if and only if (beta x, y) = -[z^2] P, with z the curve's parameter. The multiplication by |z| twice uses the
// complete formulas of Renes, Costello and Batina (2016), algorithms 7 and 9 for a = 0: they hold for all points of a
// curve of odd order, so points of small order, which an attacker picks, need no special case.
//
// Field: Montgomery form with R = 2^416, so p (381 bits) leaves 35 bits of room. Products are below 2p for factors up
// to 2^10 p; sums and differences stay below that and are never reduced, only their digits are carried.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "bls/lanes.h"

namespace pyledger::bls {
namespace {

constexpr size_t kDigits = 8;
constexpr uint64_t kMask = (uint64_t{1} << 52) - 1;
constexpr uint64_t kMinusPInverse = 0x3fffcfffcfffd;  // -1/p mod 2^52

// p; 256 p; 2^448 mod p, which takes blst's form (R = 2^384) to ours; 2^416 mod p; beta 2^416 mod p. Digits, low first.
constexpr uint64_t kP[kDigits] = {0xeffffffffaaab, 0xfeb153ffffb9f, 0x6b0f6241eabff, 0x12bf6730d2a0f,
                                  0x764774b84f385, 0x1ba7b6434bacd, 0x1ea397fe69a4b, 0x000000001a011};
constexpr uint64_t k256P[kDigits] = {0xfffffffaaab00, 0xb153ffffb9fef, 0x0f6241eabfffe, 0xbf6730d2a0f6b,
                                     0x4774b84f38512, 0xa7b6434bacd76, 0xa397fe69a4b1b, 0x0000001a0111e};
constexpr uint64_t kFromBlst[kDigits] = {0x7fde37dba9366, 0x4e27525bc342b, 0x1f5b1e9778489, 0xb872b2b91b9dc,
                                         0xb206f497dfcaf, 0x4137cc89a9b0b, 0xd9d20d7e39959, 0x000000000411c};
constexpr uint64_t kOne[kDigits] = {0x6480ea8e9b9af, 0x65766c8fe444f, 0x8b540fea96f7d, 0x3b2ee82efd422,
                                    0xa6723e5f0ade5, 0xff6eb6fdd4230, 0xe06ef23c24a25, 0x0000000014c8e};
constexpr uint64_t kBeta[kDigits] = {0xd75aaff33455f, 0xd095356b7cbb6, 0x953a2f6fa079f, 0x1080cf0a3d697,
                                     0x3f7de3465fe7c, 0x01f71fd6896ec, 0xd9dd9cc172747, 0x0000000007d91};
constexpr uint64_t kAbsZ = 0xd201000000010000;

using Lanes = __m512i;

struct Field {
  Lanes digit[kDigits];
};

struct Point {
  Field x, y, z;
};

inline Lanes all(uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }

inline Field constant(const uint64_t (&digits)[kDigits]) {
  Field out;
  for (size_t i = 0; i < kDigits; i++) out.digit[i] = all(digits[i]);
  return out;
}

// Brings digits into [0, 2^52); they may be negative before, the number may not.
inline Field carried(Field a) {
  Lanes carry = _mm512_setzero_si512();
  for (size_t i = 0; i + 1 < kDigits; i++) {
    const Lanes sum = _mm512_add_epi64(a.digit[i], carry);
    carry = _mm512_srai_epi64(sum, 52);
    a.digit[i] = _mm512_and_si512(sum, all(kMask));
  }
  a.digit[kDigits - 1] = _mm512_add_epi64(a.digit[kDigits - 1], carry);
  return a;
}

inline Field add(const Field& a, const Field& b) {
  Field out;
  for (size_t i = 0; i < kDigits; i++) out.digit[i] = _mm512_add_epi64(a.digit[i], b.digit[i]);
  return carried(out);
}

// a - b + 256 p, for b up to 256 p.
inline Field subtract(const Field& a, const Field& b) {
  Field out;
  for (size_t i = 0; i < kDigits; i++) {
    out.digit[i] = _mm512_add_epi64(_mm512_sub_epi64(a.digit[i], b.digit[i]), all(k256P[i]));
  }
  return carried(out);
}

inline Field times_8(const Field& a) {
  Field out;
  for (size_t i = 0; i < kDigits; i++) out.digit[i] = _mm512_slli_epi64(a.digit[i], 3);
  return carried(out);
}

// 3 b = 12 for the curve y^2 = x^3 + 4.
inline Field times_12(const Field& a) {
  Field out;
  for (size_t i = 0; i < kDigits; i++) {
    out.digit[i] = _mm512_add_epi64(_mm512_slli_epi64(a.digit[i], 3), _mm512_slli_epi64(a.digit[i], 2));
  }
  return carried(out);
}

// a b / 2^416 mod p, by digits of b; each step adds the multiple of p that clears the lowest digit. A digit gathers at
// most 32 terms below 2^52 before it is carried.
Field multiply(const Field& a, const Field& b) {
  Lanes sum[kDigits + 1];
  for (Lanes& s : sum) s = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (size_t i = 0; i < kDigits; i++) {
    const Lanes factor = b.digit[i];
#pragma GCC unroll 8
    for (size_t j = 0; j < kDigits; j++) {
      sum[j] = _mm512_madd52lo_epu64(sum[j], a.digit[j], factor);
      sum[j + 1] = _mm512_madd52hi_epu64(sum[j + 1], a.digit[j], factor);
    }
    const Lanes multiple = _mm512_madd52lo_epu64(_mm512_setzero_si512(), sum[0], all(kMinusPInverse));
#pragma GCC unroll 8
    for (size_t j = 0; j < kDigits; j++) {
      sum[j] = _mm512_madd52lo_epu64(sum[j], all(kP[j]), multiple);
      sum[j + 1] = _mm512_madd52hi_epu64(sum[j + 1], all(kP[j]), multiple);
    }
    const Lanes carry = _mm512_srli_epi64(sum[0], 52);
#pragma GCC unroll 8
    for (size_t j = 0; j < kDigits; j++) sum[j] = sum[j + 1];
    sum[0] = _mm512_add_epi64(sum[0], carry);
    sum[kDigits] = _mm512_setzero_si512();
  }
  Field out;
  for (size_t j = 0; j < kDigits; j++) out.digit[j] = sum[j];
  return carried(out);
}

// Algorithm 9: doubling.
Point doubled(const Point& p) {
  const Field yy = multiply(p.y, p.y), yz = multiply(p.y, p.z), bzz = times_12(multiply(p.z, p.z));
  const Field yy_8 = times_8(yy), difference = subtract(yy, add(add(bzz, bzz), bzz));
  const Field half_x = multiply(difference, multiply(p.x, p.y));
  Point out;
  out.x = add(half_x, half_x);
  out.y = add(multiply(bzz, yy_8), multiply(difference, add(yy, bzz)));
  out.z = multiply(yz, yy_8);
  return out;
}

// a b' + a' b from the two products a a' and b b'.
inline Field cross(const Field& a, const Field& b, const Field& other_a, const Field& other_b, const Field& products) {
  return subtract(multiply(add(a, b), add(other_a, other_b)), products);
}

// Algorithm 7: addition.
Point added(const Point& p, const Point& q) {
  const Field xx = multiply(p.x, q.x), yy = multiply(p.y, q.y), zz = multiply(p.z, q.z);
  const Field xy = cross(p.x, p.y, q.x, q.y, add(xx, yy));
  const Field yz = cross(p.y, p.z, q.y, q.z, add(yy, zz));
  const Field bxz = times_12(cross(p.x, p.z, q.x, q.z, add(xx, zz)));
  const Field xx_3 = add(add(xx, xx), xx), bzz = times_12(zz);
  const Field sum = add(yy, bzz), difference = subtract(yy, bzz);
  Point out;
  out.x = subtract(multiply(xy, difference), multiply(yz, bxz));
  out.y = add(multiply(difference, sum), multiply(bxz, xx_3));
  out.z = add(multiply(sum, yz), multiply(xx_3, xy));
  return out;
}

// Ends with doublings, so the coordinates are at most 4 p.
Point times_abs_z(const Point& p) {
  Point out = p;
  for (int i = 62; i >= 0; i--) {
    out = doubled(out);
    if (kAbsZ >> i & 1) out = added(out, p);
  }
  return out;
}

// Lanes where a = b mod p. A product with one is at most p; it is 0 or p where the difference is a multiple of p.
__mmask8 equal(const Field& a, const Field& b) {
  Field one = constant({1, 0, 0, 0, 0, 0, 0, 0});
  const Field rest = multiply(subtract(a, b), one);
  __mmask8 zero = 0xff, p = 0xff;
  for (size_t i = 0; i < kDigits; i++) {
    zero &= _mm512_cmpeq_epi64_mask(rest.digit[i], _mm512_setzero_si512());
    p &= _mm512_cmpeq_epi64_mask(rest.digit[i], all(kP[i]));
  }
  return zero | p;
}

// Digits of 52 bits of six words of 64 bits for each lane.
Field load(const uint64_t* const words[8], size_t offset) {
  alignas(64) uint64_t digits[kDigits][8];
  for (size_t lane = 0; lane < 8; lane++) {
    const uint64_t* word = words[lane] + offset;
    for (size_t i = 0; i < kDigits; i++) {
      const size_t bit = 52 * i, low = bit / 64, shift = bit % 64;
      uint64_t digit = word[low] >> shift;
      if (shift > 12 && low + 1 < 6) digit |= word[low + 1] << (64 - shift);
      digits[i][lane] = digit & kMask;
    }
  }
  Field out;
  for (size_t i = 0; i < kDigits; i++) out.digit[i] = _mm512_load_si512(digits[i]);
  return multiply(out, constant(kFromBlst));
}

}  // namespace

uint8_t in_g1_eight_avx512ifma(const uint64_t* const points[8]) {
  const Point p = {load(points, 0), load(points, 6), constant(kOne)};
  const Point q = times_abs_z(times_abs_z(p));
  const Field minus_y = subtract(constant({0, 0, 0, 0, 0, 0, 0, 0}), q.y);
  const __mmask8 same_x = equal(multiply(multiply(p.x, constant(kBeta)), q.z), q.x);
  const __mmask8 same_y = equal(multiply(p.y, q.z), minus_y);
  return same_x & same_y;
}

}  // namespace pyledger::bls
