#include "bls/votes.h"

#include <algorithm>
#include <cstring>

#include "bls/certificate.h"
#include "bls/pairing.h"
#include "bls/random.h"
#include "bls/subgroup.h"

namespace pyledger::bls {

template <class Suite>
VoteSet<Suite>::VoteSet(std::shared_ptr<const ValidatorSet<Suite>> validators, std::span<const uint8_t> message,
                        Purpose purpose)
    : validators_(std::move(validators)),
      message_(message.begin(), message.end()),
      purpose_(purpose),
      bitmap_(bitmap_bytes(validators_->size())),
      state_(validators_->size(), State::kNone),
      signatures_(validators_->size()) {
  Signature::hash(hash_, message_.data(), message_.size(), tag<Suite>(purpose));
}

template <class Suite>
const char* VoteSet<Suite>::add(size_t index, std::span<const uint8_t> signature) {
  if (index >= state_.size()) return "there is no validator of this index";
  if (signature.size() != Signature::kBytes) return "the signature is not of this suite's length";
  typename Signature::Affine point;
  if (!Signature::decode(point, signature.data())) return "the signature is not a canonical point of the curve";
  if (Signature::is_infinity(point)) return "the signature is the point at infinity";
  if (state_[index] == State::kNone) {
    keep(index, point, State::kPending);
    return nullptr;
  }
  if (std::memcmp(&point, &signatures_[index], sizeof point) == 0) return nullptr;
  if (state_[index] == State::kProven || !is_right(index, point)) return "the signature does not match";
  keep(index, point, State::kProven);
  return nullptr;
}

template <class Suite>
void VoteSet<Suite>::sign(size_t index, const SecretKey& key) {
  typename Signature::Point point;
  key.sign<Suite>(point, hash_);
  typename Signature::Affine affine;
  Signature::to_affine(affine, point);
  keep(index, affine, State::kProven);
}

template <class Suite>
std::vector<size_t> VoteSet<Suite>::settle(unsigned threads) {
  const std::vector<size_t> fresh = held(true);
  if (fresh.empty()) return {};
  std::vector<size_t> bad = drop_outside_subgroup(fresh, threads);
  drop_bad(Check::kSum, held(false), threads, bad);
  return bad;
}

template <class Suite>
std::vector<size_t> VoteSet<Suite>::prove(unsigned threads) {
  std::vector<size_t> bad = drop_outside_subgroup(held(true), threads);
  const std::vector<size_t> inside = held(true);
  drop_bad(Check::kRandom, inside, threads, bad);
  for (const size_t i : inside) {
    if (has(i)) state_[i] = State::kProven;
  }
  return bad;
}

template <class Suite>
std::vector<uint8_t> VoteSet<Suite>::certificate() const {
  std::vector<const typename Signature::Affine*> terms;
  for (const size_t i : held(false)) terms.push_back(&signatures_[i]);
  typename Signature::Point total;
  Signature::sum(total, terms.data(), terms.size());
  if (Signature::is_infinity(total)) return {};
  std::vector<uint8_t> signature(Signature::kBytes);
  Signature::encode(signature.data(), total);
  return write_certificate({Suite::kScheme, purpose_, state_.size(), message_, bitmap_, signature});
}

template <class Suite>
std::vector<uint8_t> VoteSet<Suite>::signature(size_t index) const {
  typename Signature::Point point;
  Signature::to_point(point, signatures_[index]);
  std::vector<uint8_t> out(Signature::kBytes);
  Signature::encode(out.data(), point);
  return out;
}

template <class Suite>
void VoteSet<Suite>::drop(size_t index) {
  state_[index] = State::kNone;
  bitmap_[index / 8] &= static_cast<uint8_t>(~(1u << index % 8));
}

template <class Suite>
void VoteSet<Suite>::keep(size_t index, const typename Signature::Affine& signature, State state) {
  signatures_[index] = signature;
  state_[index] = state;
  bitmap_[index / 8] |= static_cast<uint8_t>(1u << index % 8);
}

template <class Suite>
std::vector<size_t> VoteSet<Suite>::held(bool pending_only) const {
  std::vector<size_t> out;
  for (size_t i = 0; i < state_.size(); i++) {
    if (state_[i] == State::kPending || (state_[i] == State::kProven && !pending_only)) out.push_back(i);
  }
  return out;
}

// e(key, H) = e(G, signature), for a signature in the subgroup.
template <class Suite>
bool VoteSet<Suite>::equation_holds(const typename Key::Point& key, const typename Signature::Point& signature,
                                    unsigned threads) const {
  typename Key::Affine key_affine;
  Key::to_affine(key_affine, key);
  PairingProduct<Suite> product;
  product.add(key_affine, hash_);
  product.add(Key::negated_generator(), signature);
  return product.is_one(threads);
}

template <class Suite>
bool VoteSet<Suite>::is_right(size_t index, const typename Signature::Affine& signature) const {
  if (!Signature::in_group(signature)) return false;
  typename Key::Point key;
  Key::to_point(key, validators_->key(index));
  typename Signature::Point point;
  Signature::to_point(point, signature);
  return equation_holds(key, point, 1);
}

template <class Suite>
std::vector<size_t> VoteSet<Suite>::drop_outside_subgroup(const std::vector<size_t>& indices, unsigned threads) {
  std::vector<typename Signature::Affine> points;
  for (const size_t i : indices) points.push_back(signatures_[i]);
  std::vector<size_t> outside = find_outside_subgroup<Signature>(points, threads);
  for (size_t& k : outside) {
    k = indices[k];
    drop(k);
  }
  return outside;
}

template <class Suite>
void VoteSet<Suite>::drop_bad(Check check, const std::vector<size_t>& indices, unsigned threads,
                              std::vector<size_t>& bad) {
  const size_t before = bad.size();
  find_bad(check, indices, false, threads, bad);
  for (size_t k = before; k < bad.size(); k++) drop(bad[k]);
  std::sort(bad.begin(), bad.end());
}

// Halves until each bad vote stands alone. When the left half of a bad range is right, the right half is bad without a
// check.
template <class Suite>
void VoteSet<Suite>::find_bad(Check check, std::span<const size_t> indices, bool known_bad, unsigned threads,
                              std::vector<size_t>& bad) const {
  if (indices.empty() || (!known_bad && all_right(check, indices, threads))) return;
  if (indices.size() == 1) {
    bad.push_back(indices[0]);
    return;
  }
  const auto left = indices.first(indices.size() / 2), right = indices.subspan(indices.size() / 2);
  const size_t before = bad.size();
  find_bad(check, left, false, threads, bad);
  find_bad(check, right, bad.size() == before, threads, bad);
}

template <class Suite>
bool VoteSet<Suite>::all_right(Check check, std::span<const size_t> indices, unsigned threads) const {
  const size_t n = indices.size();
  std::vector<typename Signature::Affine> signatures;
  std::vector<typename Key::Affine> keys;
  for (const size_t i : indices) {
    signatures.push_back(signatures_[i]);
    keys.push_back(validators_->key(i));
  }
  typename Signature::Point signature;
  typename Key::Point key;
  if (check == Check::kSum || n == 1) {
    Signature::sum(signature, Contiguous(signatures.data()), n);
    Key::sum(key, Contiguous(keys.data()), n);
  } else {
    const std::vector<uint64_t> coefficients = random_coefficients(n);
    combine<Signature>(signature, signatures.data(), coefficients.data(), n, threads);
    combine<Key>(key, keys.data(), coefficients.data(), n, threads);
  }
  return equation_holds(key, signature, threads);
}

template class VoteSet<MinSig>;
template class VoteSet<MinPk>;

}  // namespace pyledger::bls
