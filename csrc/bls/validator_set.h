// The validators of an epoch: keys with proven possession, weights, and the sum of all keys.
//
// Bytes of a set, little-endian, canonical (one set, one encoding):
//   u8 scheme (1 min-sig, 2 min-pk) | u16 n, 1..4096 | n times: u64 weight, 1..2^32-1 | key | proof of possession
// A validator's index is its place in this order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bls/suite.h"

namespace pyledger::bls {

constexpr size_t kValidatorsMax = 4096;
// So a total is below 2^44: no sum of weights, and no three times such a sum, ever leaves 64 bits.
constexpr uint64_t kWeightMax = (uint64_t{1} << 32) - 1;
constexpr uint64_t kTotalWeightMax = kValidatorsMax * kWeightMax;
static_assert(kTotalWeightMax < (uint64_t{1} << 44));

constexpr size_t bitmap_bytes(size_t validators) { return (validators + 7) / 8; }
inline bool bit(const uint8_t* bitmap, size_t i) { return bitmap[i / 8] >> (i % 8) & 1; }

template <class Suite>
class ValidatorSet {
 public:
  using Key = typename Suite::Key;
  static constexpr size_t kHeaderBytes = 3;
  static constexpr size_t kEntryBytes = 8 + Key::kBytes + Suite::Signature::kBytes;

  // Reads and checks a set: encoding, weights, keys (in the subgroup, not infinity, no two alike), every proof of
  // possession. On a fault, `out` is unspecified and the verdict names the validator.
  static Verdict read(std::span<const uint8_t> bytes, unsigned threads, ValidatorSet& out);

  size_t size() const { return keys_.size(); }
  uint64_t weight(size_t i) const { return weights_[i]; }
  uint64_t total_weight() const { return total_weight_; }
  // The smallest weight above two thirds of the total.
  uint64_t quorum_weight() const { return quorum_weight_; }
  uint64_t weight_of(const uint8_t* bitmap) const;

  const typename Key::Affine& key(size_t i) const { return keys_[i]; }
  const typename Key::Affine& sum_of_keys() const { return sum_affine_; }
  // Sum of the keys whose bit is set, through whichever of the two sides is shorter.
  void sum_of_signers(const uint8_t* bitmap, typename Key::Point& out) const;

 private:
  Verdict read_entries(std::span<const uint8_t> bytes, unsigned threads);
  Verdict check_keys(std::span<const uint8_t> bytes, unsigned threads) const;
  Verdict check_proofs(std::span<const uint8_t> bytes, unsigned threads) const;

  std::vector<typename Key::Affine> keys_;
  std::vector<uint64_t> weights_;
  uint64_t total_weight_ = 0;
  uint64_t quorum_weight_ = 0;
  typename Key::Point sum_;
  typename Key::Affine sum_affine_;
};

}  // namespace pyledger::bls
