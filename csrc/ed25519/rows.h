// The contract of the rows: what each instruction set offers to the routes in verify.cpp. Read by files compiled for
// one instruction set, so there is nothing inline here.
//
// A row works on `lanes` points at once, one point a lane. Rows share one format in memory for affine points, so a
// table built by one row is read by any other. Kernels allocate nothing: the caller lends workspace_bytes, aligned
// to 64.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::ed25519 {

// A field element in memory: five signed limbs of 51 bits (each within 2^50 + 2^13 of zero), each biased by the bit
// pattern of the double 1.5 * 2^52. A row of doubles reads a limb with one subtraction of doubles, a row of integers
// with one of integers.
inline constexpr uint64_t kBias = 0x4338000000000000;

// An affine point of the curve as the sum y - x, y + x, 2dxy: words 0-4, 5-9, 10-14 ("Niels" form). Two cache lines.
struct alignas(128) Entry {
  uint64_t word[16];
};

// One summand: the address of an Entry, plus 1 if it is to be subtracted.
using Term = uintptr_t;

enum PointStatus : uint8_t { kNotAPoint = 0, kPoint = 1, kSmallOrder = 2 };

// Digits of the halved scalars, base 16.
inline constexpr int kHalfDigits = 32;
inline constexpr int kBaseTermsMax = 32;

// Is 8 * (sum of base_terms + r_digits * R + a_digits * A) the identity?
struct ExactTask {
  const Entry* r;
  const Entry* a;
  int16_t r_digits[kHalfDigits];
  int16_t a_digits[kHalfDigits];
  Term base_terms[kBaseTermsMax];
  size_t base_terms_count;  // the same in all tasks of a call
};

// The lists of one window: bucket b adds up terms[starts[b] .. starts[b + 1]). `order` names every bucket once; buckets
// that stand together in it share a vector, so similar lengths should. buckets is a multiple of the lanes.
struct BucketLists {
  const Term* terms;
  const uint32_t* starts;
  const uint32_t* order;
  size_t buckets;
  const Entry* zero;  // the identity
};

struct Row {
  const char* name;
  size_t lanes;
  size_t workspace_bytes;
  size_t bucket_bytes;  // what sum_buckets keeps for a bucket of `lanes` windows

  // Decodes points as RFC 8032, section 5.1.3, does: canonical encodings only. points[i] is set where status[i] is not
  // kNotAPoint.
  void (*decode)(const uint8_t* const* encodings, size_t count, Entry* points, uint8_t* status) noexcept;

  // encodings[32 * i ..] = encoding of the sum over s in [0, steps) of terms[s * stride + i], for i in [0, count).
  void (*sum_and_encode)(const Term* terms, size_t steps, size_t stride, size_t count, void* workspace,
                         uint8_t* encodings) noexcept;

  // small_order[i] = whether 8 times the same sum is the identity.
  void (*sum_and_check)(const Term* terms, size_t steps, size_t stride, size_t count, uint8_t* small_order) noexcept;

  // small_order[i] = whether 8 times a sum with doublings is the identity: places come from the highest down, each
  // 2^bits times the next; place p adds the following steps[p] rows of terms.
  void (*sum_places_and_check)(const Term* terms, const uint32_t* steps, size_t places, int bits, size_t stride,
                               size_t count, uint8_t* small_order) noexcept;

  void (*check_exact)(const ExactTask* tasks, size_t count, uint8_t* valid) noexcept;

  // points[j] = 2^(bits * j) * base for j in [0, count), count <= kBasesMax.
  void (*shift_bases)(const Entry& base, int bits, size_t count, void* workspace, Entry* points) noexcept;

  // table[j * multiples + m - 1] = m * bases[j] for m in [1, multiples], a power of two, and j in [0, count).
  void (*build_multiples)(const Entry* bases, size_t count, size_t multiples, void* workspace, Entry* table) noexcept;

  // Puts the sums of one window's lists into lane `window_lane` of sums[buckets], aligned to 64.
  void (*sum_buckets)(const BucketLists& lists, size_t window_lane, void* sums) noexcept;

  // totals[lane] = the sum over b of (b + 1) * bucket b, for the window in each lane.
  void (*reduce_buckets)(const void* sums, size_t buckets, void* workspace, Entry* totals) noexcept;

  // Is 8 * (sum over j of 2^(bits * j) * windows[j], plus the sum of the terms) the identity?
  bool (*check_windows)(const Entry* windows, size_t count, int bits, const Term* terms, size_t terms_count) noexcept;
};

inline constexpr size_t kBasesMax = 64;

extern const Row kRowScalar, kRowAvx2, kRowAvx512, kRowAvx512Ifma;

}  // namespace pyledger::ed25519
