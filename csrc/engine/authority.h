// Who may do what: registered keys, mandates, attestation sequences. Knows nothing of postings.
//
// A key is an index; its Ed25519 bytes live in the verifier's registry in the same order. The order of the checks is
// described in pyledger/reference/engine.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "engine/records.h"
#include "engine/results.h"

namespace pyledger::engine {

namespace key_role {
enum : uint32_t { kHolder = 1 << 0, kAttester = 1 << 1, kGovernor = 1 << 2 };
}

inline constexpr uint64_t kNoEnd = ~uint64_t{0};

struct Key {
  uint32_t institution;
  uint32_t roles;
  uint64_t valid_from;   // first height at which it counts
  uint64_t valid_until;  // first height at which it doesn't any more
};

struct Mandate {
  uint32_t holder;
  uint64_t until_height;  // first height at which it is over
  u128 remaining;
};

// What stands beside an attested batch: one signature over (chain, institution, sequence, batch root).
struct Attestation {
  uint32_t institution;
  uint64_t sequence;
  uint32_t signer;
  bool signature_ok;
};

class KeyRegistry {
 public:
  uint64_t height() const { return height_; }
  const std::vector<Key>& keys() const { return keys_; }

  // These throw std::invalid_argument where a height would go back, a key is not there, or one would never count.
  static void require_addable(const Key& key);
  void revoke(uint32_t index, uint64_t height);
  void set_height(uint64_t height);

  void add(const Key& key);

  // For taking back what was done.
  void restore(uint32_t index, const Key& key) { keys_[index] = key; }
  void truncate(size_t count, uint64_t height) {
    keys_.resize(count);
    height_ = height;
  }

  bool known(uint32_t index) const { return index < keys_.size(); }
  bool valid(uint32_t index) const { return keys_[index].valid_from <= height_ && height_ < keys_[index].valid_until; }
  bool has_role(uint32_t index, uint32_t role) const { return keys_[index].roles & role; }
  uint32_t institution(uint32_t index) const { return keys_[index].institution; }
  bool usable(uint32_t index) const { return known(index) && valid(index) && has_role(index, key_role::kHolder); }

  // Results of the first and the second look at a signed event; 0 if it may go on.
  uint32_t check_signature(uint32_t signer, bool signature_ok) const {
    if (signer == kNoKey) return transfer_result::kSignatureMissing;
    if (!known(signer)) return transfer_result::kSignerUnknown;
    return signature_ok ? 0 : transfer_result::kSignatureInvalid;
  }
  uint32_t check_key(uint32_t signer) const {
    if (!valid(signer)) return transfer_result::kKeyNotValidAtHeight;
    return has_role(signer, key_role::kHolder) ? 0 : transfer_result::kSignerLacksRole;
  }
  // Whether a key may act for an institution in a role at this height: attest, or govern.
  uint32_t check_role(uint32_t institution, uint32_t signer, bool signature_ok, uint32_t role) const;
  // Whether an attestation is the institution's next one, whose sequence number is given.
  uint32_t check_attestation(const Attestation& attestation, uint64_t next_sequence) const;
  // Whether an institution may revoke a key: one of its own, and not the last that attests or governs without an end.
  uint32_t check_revocation(uint32_t index, uint32_t registrar) const;

 private:
  std::vector<Key> keys_;
  uint64_t height_ = 0;
};

// The next sequence number of each institution that attested; the first is 1.
class AttestationSequences {
 public:
  uint64_t next(uint32_t institution) const;
  void set_next(uint32_t institution, uint64_t next) { next_[institution] = next; }
  const std::map<uint32_t, uint64_t>& all() const { return next_; }
  void set_all(const std::map<uint32_t, uint64_t>& next) { next_ = next; }

 private:
  std::map<uint32_t, uint64_t> next_;
};

// Mandates by account slot: few accounts have any, and those have few.
class Mandates {
 public:
  Mandate* find(uint32_t slot, uint32_t holder);
  void set(uint32_t slot, const Mandate& mandate);
  void remove(uint32_t slot, uint32_t holder);
  void remove_all(uint32_t slot) { by_slot_.erase(slot); }
  // Those of an account.
  std::vector<Mandate> of(uint32_t slot) const {
    const auto found = by_slot_.find(slot);
    return found == by_slot_.end() ? std::vector<Mandate>() : found->second;
  }
  const std::unordered_map<uint32_t, std::vector<Mandate>>& all() const { return by_slot_; }

 private:
  std::unordered_map<uint32_t, std::vector<Mandate>> by_slot_;
};

}  // namespace pyledger::engine
