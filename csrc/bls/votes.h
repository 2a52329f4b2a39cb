// Votes of the validators on one message, on their way to a certificate.
//
// Votes are decoded as they come and checked together: their sum first, and only if that is wrong the sums of halves,
// until each bad vote stands alone. A right sum proves the certificate, not each vote in it; prove() proves each vote,
// by random combinations instead of sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bls/secret_key.h"
#include "bls/suite.h"
#include "bls/validator_set.h"

namespace pyledger::bls {

template <class Suite>
class VoteSet {
 public:
  using Key = typename Suite::Key;
  using Signature = typename Suite::Signature;

  VoteSet(std::shared_ptr<const ValidatorSet<Suite>> validators, std::span<const uint8_t> message, Purpose purpose);

  // Takes a vote. Null, or why it is refused. A second, different vote of one validator is checked at once: the right
  // one stays, so nobody can shut a validator out by sending rubbish in its name first.
  const char* add(size_t index, std::span<const uint8_t> signature);

  // Votes with the key of a validator, index < size, for whoever holds it: right as it is made, so proven.
  void sign(size_t index, const SecretKey& key);

  // Weight of the votes held, proven or not.
  uint64_t weight() const { return validators_->weight_of(bitmap_.data()); }
  size_t size() const { return state_.size(); }
  bool has(size_t index) const { return bit(bitmap_.data(), index); }
  bool proven(size_t index) const { return state_[index] == State::kProven; }

  // Checks that every vote is in the subgroup and that the sum of all is right; if not, drops bad votes until it is,
  // and returns their indices.
  std::vector<size_t> settle(unsigned threads);
  // Proves each vote by itself (up to 2^-64), drops the bad ones and returns their indices.
  std::vector<size_t> prove(unsigned threads);

  // The votes held as a certificate; empty if there are none or their sum is the point at infinity. settle() first.
  std::vector<uint8_t> certificate() const;
  std::vector<uint8_t> signature(size_t index) const;

 private:
  // What a group of votes is checked by: their sum, or a combination with random coefficients.
  enum class Check : uint8_t { kSum, kRandom };
  enum class State : uint8_t { kNone, kPending, kProven };

  void drop(size_t index);
  void keep(size_t index, const typename Signature::Affine& signature, State state);
  std::vector<size_t> held(bool pending_only) const;
  bool is_right(size_t index, const typename Signature::Affine& signature) const;
  std::vector<size_t> drop_outside_subgroup(const std::vector<size_t>& indices, unsigned threads);
  void drop_bad(Check check, const std::vector<size_t>& indices, unsigned threads, std::vector<size_t>& bad);
  void find_bad(Check check, std::span<const size_t> indices, bool known_bad, unsigned threads,
                std::vector<size_t>& bad) const;
  bool all_right(Check check, std::span<const size_t> indices, unsigned threads) const;
  bool equation_holds(const typename Key::Point& key, const typename Signature::Point& signature,
                      unsigned threads) const;

  std::shared_ptr<const ValidatorSet<Suite>> validators_;
  std::vector<uint8_t> message_;
  Purpose purpose_;
  typename Signature::Point hash_;
  std::vector<uint8_t> bitmap_;
  std::vector<State> state_;
  std::vector<typename Signature::Affine> signatures_;
};

}  // namespace pyledger::bls
