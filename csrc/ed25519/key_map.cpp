#include "ed25519/key_map.h"

#include <unistd.h>

#include <bit>
#include <cstring>
#include <stdexcept>

namespace pyledger::ed25519 {
namespace {
constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;
constexpr size_t kSlotsMin = 64;
}  // namespace

KeyMap::KeyMap() : slots_(kSlotsMin) {
  if (getentropy(multipliers_, sizeof multipliers_) != 0) throw std::runtime_error("no entropy from the system");
  for (uint64_t& multiplier : multipliers_) multiplier %= kPrime;
}

size_t KeyMap::slot_of(const uint8_t* key_32) const {
  unsigned __int128 sum = 0;
  for (int i = 0; i < 8; i++) {
    uint32_t word;
    std::memcpy(&word, key_32 + 4 * i, 4);
    sum += static_cast<unsigned __int128>(multipliers_[i]) * word;
  }
  const auto folded = static_cast<uint64_t>(sum & kPrime) + static_cast<uint64_t>(sum >> 61);  // sum < 2^96
  size_t slot = (folded < kPrime ? folded : folded - kPrime) & (slots_.size() - 1);
  while (slots_[slot] != 0 && std::memcmp(key(slots_[slot] - 1), key_32, 32) != 0)
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

std::optional<uint32_t> KeyMap::find(const uint8_t* key_32) const {
  const uint32_t entry = slots_[slot_of(key_32)];
  if (entry == 0) return std::nullopt;
  return entry - 1;
}

uint32_t KeyMap::insert(const uint8_t* key_32) {
  reserve(size() + 1);
  const size_t slot = slot_of(key_32);
  if (slots_[slot] != 0) return slots_[slot] - 1;
  keys_.insert(keys_.end(), key_32, key_32 + 32);
  slots_[slot] = static_cast<uint32_t>(size());
  return slots_[slot] - 1;
}

void KeyMap::reserve(size_t count) {
  if (count >= UINT32_MAX) throw std::length_error("more than 2^32 - 2 keys");
  if (2 * count > slots_.size()) rehash(std::bit_ceil(2 * count));
}

void KeyMap::rehash(size_t slots) {
  keys_.reserve(32 * slots / 2);
  slots_.assign(slots, 0);
  for (size_t number = 0; number < size(); number++) slots_[slot_of(key(number))] = static_cast<uint32_t>(number + 1);
}

}  // namespace pyledger::ed25519
