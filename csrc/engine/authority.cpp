#include "engine/authority.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace pyledger::engine {
namespace {

void require_not_back(uint64_t height, uint64_t current) {
  if (height >= current) return;
  throw std::invalid_argument("height: expected at least the current " + std::to_string(current) + ", got " +
                              std::to_string(height));
}

}  // namespace

void KeyRegistry::require_addable(const Key& key) {
  if (key.valid_from < key.valid_until) return;
  throw std::invalid_argument("valid_until: expected more than height " + std::to_string(key.valid_from) + ", got " +
                              std::to_string(key.valid_until));
}

void KeyRegistry::add(const Key& key) {
  if (keys_.size() >= kNoKey) throw std::length_error("keys: the registry is full");
  keys_.push_back(key);
}

void KeyRegistry::revoke(uint32_t index, uint64_t height) {
  if (!known(index)) throw std::invalid_argument("index: expected a registered key, got " + std::to_string(index));
  require_not_back(height, height_);
  keys_[index].valid_until = std::min(keys_[index].valid_until, height);
}

void KeyRegistry::set_height(uint64_t height) {
  require_not_back(height, height_);
  height_ = height;
}

uint32_t KeyRegistry::check_role(uint32_t institution, uint32_t signer, bool signature_ok, uint32_t role) const {
  using namespace transfer_result;
  if (signer == kNoKey) return kSignatureMissing;
  if (!known(signer)) return kSignerUnknown;
  if (keys_[signer].institution != institution) return kAttestationSignerOfOtherInstitution;
  if (!signature_ok) return kAttestationInvalid;
  if (!valid(signer)) return kKeyNotValidAtHeight;
  return has_role(signer, role) ? 0 : kSignerLacksRole;
}

uint32_t KeyRegistry::check_attestation(const Attestation& attestation, uint64_t next_sequence) const {
  using namespace transfer_result;
  const uint32_t code =
      check_role(attestation.institution, attestation.signer, attestation.signature_ok, key_role::kAttester);
  if (code != 0) return code;
  if (attestation.sequence < next_sequence) return kAttestationReplayed;
  return attestation.sequence > next_sequence ? kAttestationOutOfOrder : 0;
}

uint32_t KeyRegistry::check_revocation(uint32_t index, uint32_t registrar) const {
  using namespace authority_result;
  if (!known(index)) return kKeyUnknown;
  if (institution(index) != registrar) return kRegistrarOfOtherInstitution;
  const auto is_last = [&](uint32_t role) {
    const auto acts_for_ever = [&](const Key& key) {
      return key.institution == registrar && key.roles & role && key.valid_until == kNoEnd;
    };
    return acts_for_ever(keys_[index]) && std::count_if(keys_.begin(), keys_.end(), acts_for_ever) == 1;
  };
  if (is_last(key_role::kAttester)) return kLastAttestationKey;
  return is_last(key_role::kGovernor) ? kLastGovernanceKey : kOk;
}

uint64_t AttestationSequences::next(uint32_t institution) const {
  const auto found = next_.find(institution);
  return found == next_.end() ? 1 : found->second;
}

Mandate* Mandates::find(uint32_t slot, uint32_t holder) {
  const auto found = by_slot_.find(slot);
  if (found == by_slot_.end()) return nullptr;
  for (Mandate& mandate : found->second) {
    if (mandate.holder == holder) return &mandate;
  }
  return nullptr;
}

void Mandates::set(uint32_t slot, const Mandate& mandate) {
  if (Mandate* existing = find(slot, mandate.holder)) {
    *existing = mandate;
  } else {
    by_slot_[slot].push_back(mandate);
  }
}

void Mandates::remove(uint32_t slot, uint32_t holder) {
  const auto found = by_slot_.find(slot);
  if (found == by_slot_.end()) return;
  std::erase_if(found->second, [&](const Mandate& mandate) { return mandate.holder == holder; });
  if (found->second.empty()) by_slot_.erase(found);
}

}  // namespace pyledger::engine
