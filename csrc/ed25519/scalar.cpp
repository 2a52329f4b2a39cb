#include "ed25519/scalar.h"

#include <bit>
#include <cstring>
#include <utility>

namespace pyledger::ed25519 {
namespace {

using Wide = unsigned __int128;

constexpr uint64_t kOrder[4] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000};
constexpr uint64_t kOrderTail[2] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6};  // L - 2^252, below 2^125

// a -= b over `count` words; returns the borrow.
uint64_t subtract(uint64_t* a, const uint64_t* b, int count) noexcept {
  uint64_t borrow = 0;
  for (int i = 0; i < count; i++) {
    const Wide difference = Wide{a[i]} - b[i] - borrow;
    a[i] = static_cast<uint64_t>(difference);
    borrow = static_cast<uint64_t>(difference >> 64) & 1;
  }
  return borrow;
}

uint64_t add_words(uint64_t* a, const uint64_t* b, int count) noexcept {
  uint64_t carry = 0;
  for (int i = 0; i < count; i++) {
    const Wide sum = Wide{a[i]} + b[i] + carry;
    a[i] = static_cast<uint64_t>(sum);
    carry = static_cast<uint64_t>(sum >> 64);
  }
  return carry;
}

bool is_below(const uint64_t* a, const uint64_t* b) noexcept {
  for (int i = 3; i >= 0; i--) {
    if (a[i] != b[i]) return a[i] < b[i];
  }
  return false;
}

// product[0 .. count + 2) = a[0 .. count) * (L - 2^252)
void multiply_by_tail(const uint64_t* a, int count, uint64_t* product) noexcept {
  for (int i = 0; i < count + 2; i++) product[i] = 0;
  for (int j = 0; j < 2; j++) {
    uint64_t carry = 0;
    for (int i = 0; i < count; i++) {
      const Wide sum = Wide{a[i]} * kOrderTail[j] + product[i + j] + carry;
      product[i + j] = static_cast<uint64_t>(sum);
      carry = static_cast<uint64_t>(sum >> 64);
    }
    product[count + j] = carry;
  }
}

// Splits a at bit 252: low keeps the rest, high[0 .. count - 3) the quotient.
void split_252(const uint64_t* a, int count, uint64_t* low, uint64_t* high) noexcept {
  for (int i = 0; i < 3; i++) low[i] = a[i];
  low[3] = a[3] & (~uint64_t{0} >> 4);
  for (int i = 0; i < count - 3; i++) high[i] = a[i + 3] >> 60 | (i + 4 < count ? a[i + 4] << 4 : 0);
}

// x mod L for x of eight words. With c = L - 2^252, 2^252 = -c mod L: three folds bring 512 bits to
// low(x) - low(t) + low(u) - c * high(u), t = c * high(x) < 2^385, u = c * high(t) < 2^258, high(u) < 2^6;
// that is above -2^253 and below 2^253, so 2L are added and at most three L taken away.
Scalar reduce_words(const uint64_t* x) noexcept {
  uint64_t high_x[5], t[7], low_t[4], high_t[4], u[6], low_u[4], high_u[3], rest[5];
  uint64_t sum[5] = {0};
  split_252(x, 8, sum, high_x);
  multiply_by_tail(high_x, 5, t);
  split_252(t, 7, low_t, high_t);
  multiply_by_tail(high_t, 4, u);
  split_252(u, 6, low_u, high_u);
  multiply_by_tail(high_u, 1, rest);
  rest[3] = 0;

  for (int i = 0; i < 2; i++) add_words(sum, kOrder, 4);
  add_words(sum, low_u, 4);
  subtract(sum, low_t, 4);
  subtract(sum, rest, 4);
  while (!is_below(sum, kOrder)) subtract(sum, kOrder, 4);
  return {{sum[0], sum[1], sum[2], sum[3]}};
}

int bit_length(const uint64_t* a) noexcept {
  for (int i = 3; i >= 0; i--) {
    if (a[i] != 0) return 64 * i + static_cast<int>(std::bit_width(a[i]));
  }
  return 0;
}

// Bits [bottom, bottom + 64) of a, bottom in [0, 192].
uint64_t bits_from(const uint64_t* a, int bottom) noexcept {
  const int index = bottom / 64, shift = bottom % 64;
  if (shift == 0) return a[index];
  return a[index] >> shift | (index < 3 ? a[index + 1] << (64 - shift) : 0);
}

// a -= q * b over four words; the result is not negative by the choice of q.
void subtract_multiple(uint64_t* a, uint64_t q, const uint64_t* b) noexcept {
  uint64_t carry = 0, borrow = 0;
  for (int i = 0; i < 4; i++) {
    const Wide product = Wide{q} * b[i] + carry;
    carry = static_cast<uint64_t>(product >> 64);
    const Wide difference = Wide{a[i]} - static_cast<uint64_t>(product) - borrow;
    a[i] = static_cast<uint64_t>(difference);
    borrow = static_cast<uint64_t>(difference >> 64) & 1;
  }
}

// A quotient of large by small that is never above the true one and at least half of it, as value << shift. The leading
// 64 bits of large and the bits of small at the same place give it; where small has fewer than 32 bits there (a chance
// of 2^-32 for a hash, but inputs need not be hashes), a power of two will do.
struct Quotient {
  uint64_t value;
  int shift;
};

Quotient estimate_quotient(const uint64_t* large, const uint64_t* small) noexcept {
  const int length = bit_length(large), gap = length - bit_length(small);
  if (gap > 32) return {1, gap - 1};
  const uint64_t top_large = bits_from(large, length - 64), top_small = bits_from(small, length - 64);
  const uint64_t value = top_small == ~uint64_t{0} ? 1 : top_large / (top_small + 1);
  return {value == 0 ? 1 : value, 0};
}

void shift_left(const uint64_t* a, int bits, uint64_t* shifted) noexcept {
  const int words = bits / 64, rest = bits % 64;
  for (int i = 3; i >= 0; i--) {
    const uint64_t high = i >= words ? a[i - words] : 0, low = i > words ? a[i - words - 1] : 0;
    shifted[i] = rest == 0 ? high : high << rest | low >> (64 - rest);
  }
}

}  // namespace

Scalar load_scalar(const uint8_t* bytes_32) noexcept {
  Scalar scalar;
  std::memcpy(scalar.word, bytes_32, 32);
  return scalar;
}

bool is_reduced(const Scalar& scalar) noexcept { return is_below(scalar.word, kOrder); }

Scalar reduce_64(const uint8_t* bytes_64) noexcept {
  uint64_t x[8];
  std::memcpy(x, bytes_64, 64);
  return reduce_words(x);
}

Scalar multiply(const Scalar& a, const Scalar& b) noexcept {
  uint64_t product[8] = {0};
  for (int i = 0; i < 4; i++) {
    uint64_t carry = 0;
    for (int j = 0; j < 4; j++) {
      const Wide sum = Wide{a.word[i]} * b.word[j] + product[i + j] + carry;
      product[i + j] = static_cast<uint64_t>(sum);
      carry = static_cast<uint64_t>(sum >> 64);
    }
    product[i + 4] = carry;
  }
  return reduce_words(product);
}

Scalar add(const Scalar& a, const Scalar& b) noexcept {
  Scalar sum = a;
  add_words(sum.word, b.word, 4);
  if (!is_below(sum.word, kOrder)) subtract(sum.word, kOrder, 4);
  return sum;
}

void recode(const Scalar& scalar, int bits, int count, int16_t* digits) noexcept {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  int carry = 0;
  for (int i = 0, bottom = 0; i < count; i++, bottom += bits) {
    uint64_t window = 0;
    if (bottom < 256) {
      const int index = bottom / 64, shift = bottom % 64;
      window = scalar.word[index] >> shift;
      if (shift + bits > 64 && index < 3) window |= scalar.word[index + 1] << (64 - shift);
    }
    const int digit = static_cast<int>(window & mask) + carry;
    carry = digit > (1 << (bits - 1));
    digits[i] = static_cast<int16_t>(digit - (carry << bits));
  }
}

// r = t * h mod L holds for both pairs at every step, whatever the quotients; r0 * |t1| + r1 * |t0| = L and the signs
// of t0 and t1 differ. The loop ends with r1 < 2^127 <= r0, hence |t1| <= L / r0 < 2^126.
HalfSize half_size(const Scalar& h) noexcept {
  uint64_t r0[4] = {kOrder[0], kOrder[1], kOrder[2], kOrder[3]};
  uint64_t r1[4] = {h.word[0], h.word[1], h.word[2], h.word[3]};
  Wide t0 = 0, t1 = 1;
  bool t1_negative = false;
  uint64_t *large = r0, *small = r1;
  while (bit_length(small) > 127) {
    const Quotient quotient = estimate_quotient(large, small);
    if (quotient.shift == 0) {
      subtract_multiple(large, quotient.value, small);
    } else {
      uint64_t shifted[4];
      shift_left(small, quotient.shift, shifted);
      subtract(large, shifted, 4);
    }
    t0 += (quotient.value * t1) << quotient.shift;
    if (is_below(large, small)) {
      std::swap(large, small);
      std::swap(t0, t1);
      t1_negative = !t1_negative;
    }
  }
  return {
      {{static_cast<uint64_t>(t1), static_cast<uint64_t>(t1 >> 64), 0, 0}}, {{small[0], small[1], 0, 0}}, t1_negative};
}

}  // namespace pyledger::ed25519
