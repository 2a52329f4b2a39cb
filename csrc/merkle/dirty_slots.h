// A set of slots: one bit each, and one bit for each 64 of those, so that a few marked slots among many are found
// without reading all.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pyledger::merkle {

class DirtySlots {
 public:
  // Slots that may be marked from different threads at once, where each thread keeps to its own ranges of this size.
  static constexpr uint64_t kRange = 64 * 64;

  void grow(uint64_t size) {
    bits_.resize((size + 63) / 64);
    summary_.resize((bits_.size() + 63) / 64);
  }

  void mark(uint32_t slot) noexcept {
    bits_[slot / 64] |= uint64_t{1} << slot % 64;
    summary_[slot / kRange] |= uint64_t{1} << slot / 64 % 64;
  }

  bool empty() const noexcept {
    for (const uint64_t word : summary_) {
      if (word != 0) return false;
    }
    return true;
  }

  // The marked slots, rising.
  std::vector<uint32_t> slots() const {
    std::vector<uint32_t> slots;
    for (size_t s = 0; s < summary_.size(); s++) {
      for (uint64_t words = summary_[s]; words != 0; words &= words - 1) {
        const size_t word = 64 * s + std::countr_zero(words);
        for (uint64_t bits = bits_[word]; bits != 0; bits &= bits - 1) {
          slots.push_back(static_cast<uint32_t>(64 * word + std::countr_zero(bits)));
        }
      }
    }
    return slots;
  }

  // Unmarks all.
  void clear() noexcept {
    for (size_t s = 0; s < summary_.size(); s++) {
      for (; summary_[s] != 0; summary_[s] &= summary_[s] - 1) bits_[64 * s + std::countr_zero(summary_[s])] = 0;
    }
  }

  size_t memory_bytes() const noexcept { return 8 * (bits_.capacity() + summary_.capacity()); }

 private:
  std::vector<uint64_t> bits_, summary_;
};

}  // namespace pyledger::merkle
