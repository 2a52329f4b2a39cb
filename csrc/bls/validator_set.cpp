#include "bls/validator_set.h"

#include <algorithm>
#include <cstring>

#include "bls/certify.h"
#include "bls/subgroup.h"
#include "parallel/pool.h"

namespace pyledger::bls {
namespace {

uint64_t load_u64(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--) value = value << 8 | bytes[i];
  return value;
}

// Index of an entry whose key equals an earlier one, or n. Encodings are canonical, so equal keys are equal bytes.
size_t find_repeated(const uint8_t* keys, size_t stride, size_t width, size_t n) {
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; i++) order[i] = i;
  auto compare = [&](size_t a, size_t b) { return std::memcmp(keys + a * stride, keys + b * stride, width); };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int sign = compare(a, b);
    return sign != 0 ? sign < 0 : a < b;
  });
  for (size_t i = 1; i < n; i++) {
    if (compare(order[i - 1], order[i]) == 0) return order[i];
  }
  return n;
}

}  // namespace

template <class Suite>
Verdict ValidatorSet<Suite>::read(std::span<const uint8_t> bytes, unsigned threads, ValidatorSet& out) {
  if (bytes.size() < kHeaderBytes) return {"validator set: shorter than its header"};
  if (bytes[0] != Suite::kScheme) return {"validator set: the scheme is not this suite's"};
  const size_t n = bytes[1] | size_t{bytes[2]} << 8;
  if (n == 0 || n > kValidatorsMax) return {"validator set: expected 1 to 4096 validators"};
  if (bytes.size() != kHeaderBytes + n * kEntryBytes) return {"validator set: not exactly as long as its validators"};
  out.keys_.resize(n);
  out.weights_.resize(n);
  return out.read_entries(bytes.subspan(kHeaderBytes), threads);
}

template <class Suite>
Verdict ValidatorSet<Suite>::read_entries(std::span<const uint8_t> entries, unsigned threads) {
  const size_t n = keys_.size();
  total_weight_ = 0;
  for (size_t i = 0; i < n; i++) {
    const uint8_t* entry = entries.data() + i * kEntryBytes;
    weights_[i] = load_u64(entry);
    if (weights_[i] == 0) return {"the weight is zero", i};
    if (weights_[i] > kWeightMax) return {"the weight is above 2^32 - 1", i};
    total_weight_ += weights_[i];
    if (!Key::decode(keys_[i], entry + 8)) return {"the public key is not a canonical point of the curve", i};
    if (Key::is_infinity(keys_[i])) return {"the public key is the point at infinity", i};
  }
  quorum_weight_ = total_weight_ * 2 / 3 + 1;
  if (const Verdict verdict = check_keys(entries, threads); !verdict.ok()) return verdict;
  if (const Verdict verdict = check_proofs(entries, threads); !verdict.ok()) return verdict;
  Key::sum(sum_, Contiguous(keys_.data()), n);
  Key::to_affine(sum_affine_, sum_);
  return {};
}

template <class Suite>
Verdict ValidatorSet<Suite>::check_keys(std::span<const uint8_t> entries, unsigned threads) const {
  const size_t n = keys_.size();
  const size_t repeated = find_repeated(entries.data() + 8, kEntryBytes, Key::kBytes, n);
  if (repeated != n) return {"the public key is another validator's too", repeated};
  const std::vector<size_t> outside = find_outside_subgroup<Key>(keys_, threads);
  if (!outside.empty()) return {"the public key is outside the prime-order subgroup", outside.front()};
  return {};
}

template <class Suite>
Verdict ValidatorSet<Suite>::check_proofs(std::span<const uint8_t> entries, unsigned threads) const {
  std::vector<Signed<Suite>> proofs(keys_.size());
  for (size_t i = 0; i < keys_.size(); i++) {
    const uint8_t* entry = entries.data() + i * kEntryBytes;
    proofs[i] = {&keys_[i], {entry + 8, Key::kBytes}, entry + 8 + Key::kBytes};
  }
  return verify_signatures<Suite>(proofs, Purpose::kProof, threads);
}

template <class Suite>
uint64_t ValidatorSet<Suite>::weight_of(const uint8_t* bitmap) const {
  uint64_t total = 0;
  for (size_t i = 0; i < size(); i++) total += bit(bitmap, i) ? weights_[i] : 0;
  return total;
}

template <class Suite>
void ValidatorSet<Suite>::sum_of_signers(const uint8_t* bitmap, typename Key::Point& out) const {
  std::vector<const typename Key::Affine*> present, absent;
  for (size_t i = 0; i < size(); i++) (bit(bitmap, i) ? present : absent).push_back(&keys_[i]);
  if (present.size() <= absent.size()) {
    Key::sum(out, present.data(), present.size());
    return;
  }
  out = sum_;
  if (absent.empty()) return;
  typename Key::Point minus;
  Key::sum(minus, absent.data(), absent.size());
  Key::negate(minus);
  Key::add(out, minus);
}

template class ValidatorSet<MinSig>;
template class ValidatorSet<MinPk>;

}  // namespace pyledger::bls
