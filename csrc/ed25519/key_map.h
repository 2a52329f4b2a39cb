// Numbers distinct 32-byte keys in order of arrival: an open-addressed hash table over an array of keys that it owns.
//
// The hash is universal (multiply-mod-prime, Carter and Wegman) with multipliers drawn from the operating system for
// each map, so that chosen keys cannot crowd one place of the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace pyledger::ed25519 {

class KeyMap {
 public:
  KeyMap();

  // Number of the key, new if it was not there.
  uint32_t insert(const uint8_t* key_32);
  std::optional<uint32_t> find(const uint8_t* key_32) const;

  size_t size() const { return keys_.size() / 32; }
  const uint8_t* key(size_t number) const { return keys_.data() + 32 * number; }
  void reserve(size_t count);

 private:
  size_t slot_of(const uint8_t* key_32) const;
  void rehash(size_t slots);

  uint64_t multipliers_[8];
  std::vector<uint8_t> keys_;
  std::vector<uint32_t> slots_;  // number + 1; 0 is empty; a power of two of them, at most half in use
};

}  // namespace pyledger::ed25519
