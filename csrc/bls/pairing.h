// A product of pairings that should be one, and sums with random coefficients: what every check here ends in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bls/suite.h"
#include "parallel/pool.h"

namespace pyledger::bls {

// PROD e(key, point) over the pairs added. A pair with infinity contributes one; blst's loops do not know that.
template <class Suite>
class PairingProduct {
 public:
  using Key = typename Suite::Key;
  using Signature = typename Suite::Signature;

  void add(const typename Key::Affine& key, const typename Signature::Point& point) {
    if (Key::is_infinity(key) || Signature::is_infinity(point)) return;
    keys_.push_back(key);
    points_.push_back(point);
  }

  bool is_one(unsigned threads) const {
    const size_t n = keys_.size();
    if (n == 0) return true;
    std::vector<typename Signature::Affine> points(n);
    Signature::to_affine(points.data(), points_.data(), n);
    const size_t workers = std::min<size_t>(parallel::thread_count(threads), n);
    const size_t pairs = std::min<size_t>((n + workers - 1) / workers, kPairsPerLoop);
    std::vector<blst_fp12> parts((n + pairs - 1) / pairs);
    auto loop = [&](size_t t) {
      const size_t first = t * pairs;
      Suite::miller_loops(parts[t], &keys_[first], &points[first], std::min(pairs, n - first));
    };
    parallel::run(threads, parts.size(), loop);
    for (size_t t = 1; t < parts.size(); t++) blst_fp12_mul(&parts[0], &parts[0], &parts[t]);
    blst_final_exp(&parts[0], &parts[0]);
    return blst_fp12_is_one(&parts[0]);
  }

 private:
  static constexpr size_t kPairsPerLoop = 16;  // blst shares the squarings of this many
  std::vector<typename Key::Affine> keys_;
  std::vector<typename Signature::Point> points_;
};

// SUM r_i points_i. Without coefficients the one point itself.
template <class Group>
void combine(typename Group::Point& out, const typename Group::Affine* points, const uint64_t* coefficients, size_t n) {
  if (coefficients == nullptr) {
    Group::to_point(out, points[0]);
    return;
  }
  std::vector<limb_t> scratch(Group::combine_scratch_words(n));
  Group::combine(out, Contiguous(points), Contiguous(reinterpret_cast<const uint8_t*>(coefficients)), n,
                 scratch.data());
}

// The same on several threads.
template <class Group>
void combine(typename Group::Point& out, const typename Group::Affine* points, const uint64_t* coefficients, size_t n,
             unsigned threads) {
  constexpr size_t kPointsPerTaskMin = 128;
  const size_t tasks = std::clamp<size_t>(n / kPointsPerTaskMin, 1, parallel::thread_count(threads));
  std::vector<typename Group::Point> parts(tasks);
  auto part = [&](size_t t) {
    const size_t first = n * t / tasks, last = n * (t + 1) / tasks;
    combine<Group>(parts[t], points + first, coefficients == nullptr ? nullptr : coefficients + first, last - first);
  };
  parallel::run(threads, tasks, part);
  out = parts[0];
  for (size_t t = 1; t < tasks; t++) Group::add(out, parts[t]);
}

}  // namespace pyledger::bls
