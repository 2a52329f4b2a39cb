#include "bls/subgroup.h"

#include <algorithm>
#include <atomic>
#include <type_traits>
#include <vector>

#include "bls/lanes.h"
#include "bls/random.h"
#include "parallel/pool.h"

namespace pyledger::bls {
namespace {

constexpr size_t kSums = 41;            // 3^-41 < 2^-64
constexpr size_t kBatchPointsMin = 64;  // below this, single checks cost less
constexpr size_t kLanes = 8;
constexpr size_t kLanesUsedMin = 3;  // of eight: below this, single checks cost less
constexpr size_t kTritsPerByte = 5;  // 3^5 = 243

// n random digits of {0, 1, 2}, uniform: bytes of 243 and more are drawn again.
std::vector<uint8_t> random_trits(size_t n) {
  std::vector<uint8_t> bytes((n + kTritsPerByte - 1) / kTritsPerByte), trits(bytes.size() * kTritsPerByte);
  fill_random(bytes.data(), bytes.size());
  for (size_t i = 0; i < bytes.size(); i++) {
    while (bytes[i] >= 243) fill_random(&bytes[i], 1);
    unsigned rest = bytes[i];
    for (size_t k = 0; k < kTritsPerByte; k++, rest /= 3) trits[i * kTritsPerByte + k] = static_cast<uint8_t>(rest % 3);
  }
  return trits;
}

// inside[i]: points[i] is in the subgroup.
template <class Group>
void check_range(const typename Group::Affine* points, size_t n, InG1Eight, uint8_t* inside) {
  for (size_t i = 0; i < n; i++) inside[i] = Group::in_group(points[i]);
}

// G1 on eight lanes; lanes left empty repeat the first point.
template <>
void check_range<G1>(const blst_p1_affine* points, size_t n, InG1Eight in_g1_eight, uint8_t* inside) {
  const uint64_t* words[kLanes];
  for (size_t i = 0; i < kLanes; i++) words[i] = points[i < n ? i : 0].x.l;
  const bool use_lanes = in_g1_eight != nullptr && n >= kLanesUsedMin;
  const unsigned bits = use_lanes ? in_g1_eight(words) : 0;
  for (size_t i = 0; i < n; i++) inside[i] = use_lanes ? bits >> i & 1 : G1::in_group(points[i]);
}

template <class Group>
std::vector<size_t> find_singly(std::span<const typename Group::Affine> points, unsigned threads) {
  std::vector<uint8_t> inside(points.size());
  const InG1Eight in_g1_eight = lane_row().in_g1_eight;
  auto check = [&](size_t t) {
    const size_t first = t * kLanes, n = std::min(kLanes, points.size() - first);
    check_range<Group>(&points[first], n, in_g1_eight, &inside[first]);
  };
  parallel::run(threads, (points.size() + kLanes - 1) / kLanes, check);
  std::vector<size_t> outside;
  for (size_t i = 0; i < points.size(); i++) {
    if (!inside[i]) outside.push_back(i);
  }
  return outside;
}

template <class Group>
bool random_sum_inside(std::span<const typename Group::Affine> points, const typename Group::Affine* negated) {
  const std::vector<uint8_t> trits = random_trits(points.size());
  std::vector<const typename Group::Affine*> terms;
  terms.reserve(points.size());
  for (size_t i = 0; i < points.size(); i++) {
    if (trits[i] != 0) terms.push_back(trits[i] == 1 ? &points[i] : &negated[i]);
  }
  if (terms.empty()) return true;
  typename Group::Point sum;
  Group::sum(sum, terms.data(), terms.size());
  return Group::in_group(sum);
}

}  // namespace

template <class Group>
std::vector<size_t> find_outside_subgroup(std::span<const typename Group::Affine> points, unsigned threads) {
  const bool cheap = std::is_same_v<Group, G1> && lane_row().in_g1_eight != nullptr;
  if (cheap || points.size() < kBatchPointsMin) return find_singly<Group>(points, threads);
  std::vector<typename Group::Affine> negated(points.begin(), points.end());
  for (auto& point : negated) Group::negate(point);
  std::atomic<bool> all_inside{true};
  auto check = [&](size_t) {
    if (all_inside && !random_sum_inside<Group>(points, negated.data())) all_inside = false;
  };
  parallel::run(threads, kSums, check);
  if (all_inside) return {};
  return find_singly<Group>(points, threads);
}

template std::vector<size_t> find_outside_subgroup<G1>(std::span<const blst_p1_affine>, unsigned);
template std::vector<size_t> find_outside_subgroup<G2>(std::span<const blst_p2_affine>, unsigned);

}  // namespace pyledger::bls
