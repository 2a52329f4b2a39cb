// The group of edwards25519, one point a lane, over whichever Field the including row defined.
//
// A point is kept as m = Y - X, p = Y + X, Z, T with x = X / Z, y = Y / Z, T = XY / Z: the form that both formulas
// below begin and end with, so each costs one carry per product and no other. The formulas are those of Hisil, Wong,
// Carter and Dawson ("Twisted Edwards Curves Revisited", 2008) for a = -1; they are complete, since d is not a square:
// there is no exceptional input.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::ed25519 {
namespace {

using Fe = Field::Fe;
using Vector = Field::Vector;
using Mask = Field::Mask;

constexpr int kLanes = Field::kLanes;
constexpr uint64_t kLimbMask = (uint64_t{1} << 51) - 1;

struct Point {
  Fe m, p, z, t;
};

// An affine point to be added: y - x, y + x, 2dxy.
struct Niels {
  Fe m, p, t;
};

// A point to be added: Y - X, Y + X, 2Z, 2dT.
struct Cached {
  Fe m, p, z2, t;
};

constexpr uint64_t kD[5] = {0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff};
constexpr uint64_t kD2[5] = {0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff};
constexpr uint64_t kRootOfMinusOne[5] = {0x61b274a0ea0b0, 0xd5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e,
                                         0x2b8324804fc1d};
// The y of the eight points of small order; each but 0 belongs to (x, y) and (-x, y).
constexpr uint64_t kSmallOrderY[5][5] = {
    {0, 0, 0, 0, 0},
    {1, 0, 0, 0, 0},
    {kLimbMask - 19, kLimbMask, kLimbMask, kLimbMask, kLimbMask},
    {0x7b2c28f95e826, 0x6513e9868b604, 0x6b37f57c263bf, 0x4589c99e36982, 0x5fc536d88023},
    {0x4d3d706a17c7, 0x1aec1679749fb, 0x14c80a83d9c40, 0x3a763661c967d, 0x7a03ac9277fdc},
};

Fe constant(const uint64_t* limb) {
  Vector lanes[5];
  for (int k = 0; k < 5; k++) lanes[k] = Field::broadcast(limb[k]);
  return Field::from_limbs(lanes);
}

Fe small_constant(uint64_t value) {
  const uint64_t limb[5] = {value, 0, 0, 0, 0};
  return constant(limb);
}

inline Fe times(const Fe& a, const Fe& b) { return Field::reduce(Field::multiply(a, b)); }
inline Fe squared(const Fe& a) { return Field::reduce(Field::square(a)); }
inline Fe difference(const Fe& a, const Fe& b) { return Field::reduce(Field::raw(a) - Field::raw(b)); }
inline Fe sum(const Fe& a, const Fe& b) { return Field::reduce(Field::raw(a) + Field::raw(b)); }

// Independent elements worked on side by side: the long chains of squarings below wait on each other's results, and a
// second chain fills the wait.
template <int kCount>
struct Several {
  Fe element[kCount];
};

template <int kCount>
inline Several<kCount> times(const Several<kCount>& a, const Several<kCount>& b) {
  Several<kCount> out;
  for (int i = 0; i < kCount; i++) out.element[i] = times(a.element[i], b.element[i]);
  return out;
}

template <int kCount>
__attribute__((noinline)) Several<kCount> squared_times(Several<kCount> a, int times) {
  for (int i = 0; i < times; i++) {
    for (Fe& element : a.element) element = squared(element);
  }
  return a;
}

Point identity() {
  const Fe one = small_constant(1);
  return {one, one, one, small_constant(0)};
}

// X = EF, Y = GH, Z = FG, T = EH.
template <bool kWithT = true>
inline __attribute__((always_inline)) void finish(Point& out, const Fe& e, const Fe& f, const Fe& g, const Fe& h) {
  const auto x = Field::multiply(e, f);
  const auto y = Field::multiply(g, h);
  out.m = Field::reduce(y - x), out.p = Field::reduce(y + x), out.z = times(g, f);
  if constexpr (kWithT) out.t = times(h, e);
}

__attribute__((noinline)) void add(Point& a, const Niels& b) {
  const auto m = Field::multiply(b.m, a.m);
  const auto p = Field::multiply(b.p, a.p);
  const Fe e = Field::reduce(p - m), h = Field::reduce(p + m);
  const auto c = Field::multiply(b.t, a.t);
  const auto z2 = Field::raw(a.z) + Field::raw(a.z);
  const Fe f = Field::reduce(z2 - c), g = Field::reduce(z2 + c);
  finish(a, e, f, g, h);
}

__attribute__((noinline)) void add(Point& a, const Cached& b) {
  const auto m = Field::multiply(b.m, a.m);
  const auto p = Field::multiply(b.p, a.p);
  const Fe e = Field::reduce(p - m), h = Field::reduce(p + m);
  const auto c = Field::multiply(b.t, a.t);
  const auto z2 = Field::multiply(b.z2, a.z);
  const Fe f = Field::reduce(z2 - c), g = Field::reduce(z2 + c);
  finish(a, e, f, g, h);
}

// With p^2 - m^2 = 4XY, p^2 + m^2 = 2(X^2 + Y^2), pm = Y^2 - X^2: all four of E, F, G, H doubled, F and the result's
// sign turned against the paper's, which changes no ratio.
template <bool kWithT>
__attribute__((noinline)) void double_once(Point& a) {
  const auto mm = Field::square(a.m);
  const auto pp = Field::square(a.p);
  const Fe e = Field::reduce(pp - mm), h = Field::reduce(pp + mm);
  const auto mp = Field::multiply(a.m, a.p);
  const auto mp2 = mp + mp;
  const auto zz = Field::square(a.z);
  const auto zz2 = zz + zz;
  const Fe f = Field::reduce((zz2 + zz2) - mp2), g = Field::reduce(mp2);
  finish<kWithT>(a, e, f, g, h);
}

// T is read by additions only, so all doublings of a run but the last leave it out.
void double_times(Point& a, int times) {
  for (int i = 1; i < times; i++) double_once<false>(a);
  if (times > 0) double_once<true>(a);
}

Cached to_cached(const Point& a) { return {a.m, a.p, sum(a.z, a.z), times(a.t, constant(kD2))}; }

// Limbs of the one representative below p. Two carry passes bring any limbs below 2^52 under 2^255 with limbs of 51
// bits; then p is taken away if v + 19 reaches 2^255.
void canonical_limbs(const Fe& a, Vector* limb) {
  const Vector mask = Field::broadcast(kLimbMask), nineteen = Field::broadcast(19);
  const auto times_19 = [](Vector c) {
    return Field::add(Field::add(c, Field::shift_left(c, 1)), Field::shift_left(c, 4));
  };
  Field::to_limbs(a, limb);
  for (int pass = 0; pass < 2; pass++) {
    for (int k = 0; k < 5; k++) {
      const Vector carry = Field::shift_right(limb[k], 51);
      limb[k] = Field::bit_and(limb[k], mask);
      if (k < 4) limb[k + 1] = Field::add(limb[k + 1], carry);
      if (k == 4) limb[0] = Field::add(limb[0], times_19(carry));
    }
  }
  Vector reaches = Field::shift_right(Field::add(limb[0], nineteen), 51);
  for (int k = 1; k < 5; k++) reaches = Field::shift_right(Field::add(limb[k], reaches), 51);
  limb[0] = Field::add(limb[0], times_19(reaches));
  for (int k = 0; k < 5; k++) {
    if (k < 4) limb[k + 1] = Field::add(limb[k + 1], Field::shift_right(limb[k], 51));
    limb[k] = Field::bit_and(limb[k], mask);
  }
}

Mask equals_limbs(const Vector* limb, const uint64_t* expected) {
  Mask equal = ~Mask{0};
  for (int k = 0; k < 5; k++) equal &= Field::equal(limb[k], Field::broadcast(expected[k]));
  return equal;
}

Mask is_zero(const Fe& a) {
  Vector limb[5];
  canonical_limbs(a, limb);
  return equals_limbs(limb, kSmallOrderY[0]);
}

Mask is_odd(const Fe& a) {
  Vector limb[5];
  canonical_limbs(a, limb);
  return Field::equal(Field::bit_and(limb[0], Field::broadcast(1)), Field::broadcast(1));
}

// x = 0 and y = Z: both m and p equal Z.
Mask is_identity(const Point& a) { return is_zero(difference(a.m, a.z)) & is_zero(difference(a.p, a.z)); }

// The powers that both exponents below share: a^11 and a^(2^250 - 1).
template <class T>
T power_2_250_minus_1(const T& a, T* a11) {
  const T a2 = squared_times(a, 1);
  const T a9 = times(squared_times(a2, 2), a);
  *a11 = times(a9, a2);
  const T e5 = times(squared_times(*a11, 1), a9);  // a^(2^5 - 1), and so on below
  const T e10 = times(squared_times(e5, 5), e5);
  const T e20 = times(squared_times(e10, 10), e10);
  const T e40 = times(squared_times(e20, 20), e20);
  const T e50 = times(squared_times(e40, 10), e10);
  const T e100 = times(squared_times(e50, 50), e50);
  const T e200 = times(squared_times(e100, 100), e100);
  return times(squared_times(e200, 50), e50);
}

// a^(p - 2) = a^(2^255 - 21)
Fe inverse(const Fe& a) {
  Several<1> a11;
  const Several<1> power = power_2_250_minus_1(Several<1>{{a}}, &a11);
  return times(squared_times(power, 5), a11).element[0];
}

// a^((p - 5) / 8) = a^(2^252 - 3)
template <class T>
T power_p58(const T& a) {
  T a11;
  const T power = power_2_250_minus_1(a, &a11);
  return times(squared_times(power, 2), a);
}

Niels to_niels(const Fe& x, const Fe& y) { return {difference(y, x), sum(y, x), times(times(x, y), constant(kD2))}; }

}  // namespace
}  // namespace pyledger::ed25519
