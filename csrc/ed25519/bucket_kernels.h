// The kernels of Pippenger's multiscalar multiplication over a row's Field: sums of buckets, one bucket a lane, and the
// weighted sum of all buckets, one window a lane. Included behind kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/kernels.h"

namespace pyledger::ed25519 {
namespace {

constexpr int kCachedWords = sizeof(Cached) / sizeof(uint64_t) / kLanes;

// Writes the sum in lane l to lane `window_lane` of the bucket that lane l worked on.
void scatter_sums(const Cached& cached, const uint32_t* buckets, size_t window_lane, Cached* sums) {
  alignas(64) uint64_t words[kCachedWords * kLanes];
  __builtin_memcpy(words, &cached, sizeof words);
  for (int lane = 0; lane < kLanes; lane++) {
    char* out = reinterpret_cast<char*>(&sums[buckets[lane]]);
    for (int i = 0; i < kCachedWords; i++) {
      __builtin_memcpy(out + 8 * (i * kLanes + window_lane), &words[i * kLanes + lane], 8);
    }
  }
}

void sum_buckets(const BucketLists& lists, size_t window_lane, void* sums) noexcept {
  const Term zero = reinterpret_cast<Term>(lists.zero);
  for (size_t first = 0; first < lists.buckets; first += kLanes) {
    const uint32_t* buckets = lists.order + first;
    const Term *next[kLanes], *end[kLanes];
    ptrdiff_t steps = 0;
    for (int lane = 0; lane < kLanes; lane++) {
      next[lane] = lists.terms + lists.starts[buckets[lane]];
      end[lane] = lists.terms + lists.starts[buckets[lane] + 1];
      if (end[lane] - next[lane] > steps) steps = end[lane] - next[lane];
    }
    Point point = identity();
    for (ptrdiff_t step = 0; step < steps; step++) {
      const Term* chosen[kLanes];
      for (int lane = 0; lane < kLanes; lane++) {
        chosen[lane] = next[lane] < end[lane] ? next[lane]++ : &zero;
        if (next[lane] < end[lane]) prefetch(*next[lane]);
      }
      add(point, load_terms(chosen));
    }
    scatter_sums(to_cached(point), buckets, window_lane, static_cast<Cached*>(sums));
  }
}

// The sum of (b + 1) * bucket b is the sum of all tails: each bucket is in as many tails as its weight.
void reduce_buckets(const void* sums, size_t buckets, void* workspace, Entry* totals) noexcept {
  Workspace& work = *static_cast<Workspace*>(workspace);
  const Cached* bucket = static_cast<const Cached*>(sums);
  Point tail = identity(), total = identity();
  for (size_t b = buckets; b-- > 0;) {
    add(tail, bucket[b]);
    add(total, to_cached(tail));
  }
  store_projective(total, work, 0);
  divide_by_z(work, 1);
  Entry* entries[kLanes];
  for (int lane = 0; lane < kLanes; lane++) entries[lane] = &totals[lane];
  store_niels(to_niels(work.x[0], work.y[0]), entries);
}

bool check_windows(const Entry* windows, size_t count, int bits, const Term* terms, size_t terms_count) noexcept {
  Point point = identity();
  for (size_t j = count; j-- > 0;) {
    double_times(point, bits);
    const Entry* lanes[kLanes];
    for (const Entry*& lane : lanes) lane = &windows[j];
    add(point, load_points(lanes));
  }
  TermReader reader(terms, terms_count, 1, 0, 1);
  add_terms(point, reader, terms_count);
  double_times(point, 3);
  return lane_of(is_identity(point), 0);
}

// What a row's file hands to the routes.
constexpr Row make_row(const char* name) {
  return {.name = name,
          .lanes = kLanes,
          .workspace_bytes = sizeof(Workspace),
          .bucket_bytes = sizeof(Cached),
          .decode = &decode,
          .sum_and_encode = &sum_and_encode,
          .sum_and_check = &sum_and_check,
          .sum_places_and_check = &sum_places_and_check,
          .check_exact = &check_exact,
          .shift_bases = &shift_bases,
          .build_multiples = &build_multiples,
          .sum_buckets = &sum_buckets,
          .reduce_buckets = &reduce_buckets,
          .check_windows = &check_windows};
}

}  // namespace
}  // namespace pyledger::ed25519
