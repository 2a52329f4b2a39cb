// Says of nearly every new id, with one memory access, that it was never stored: a blocked Bloom filter.
//
// One filter stands before all sealed runs, however many. A block is a cache line of eight words; an id sets one bit in
// each word (the split-block form of Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters",
// 2007). Blocks lie in the order of the hashes, so filling it from sorted runs goes through it from front to back. It
// sees the upper 40 bits of the hash, which is what runs keep.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::store {

inline constexpr unsigned kKeyBits = 40;
inline uint64_t key_of(uint64_t hash) noexcept { return hash >> (64 - kKeyBits); }

class IdFilter {
 public:
  IdFilter() = default;
  // For so many ids at kBitsPerId each. Memory comes from the system, zero, on huge pages where it is large.
  explicit IdFilter(uint64_t ids);
  IdFilter(IdFilter&& other) noexcept { swap(other); }
  IdFilter& operator=(IdFilter&& other) noexcept {
    swap(other);
    return *this;
  }
  ~IdFilter();

  uint64_t capacity() const { return blocks_ * kBlockBits / kBitsPerId; }
  size_t memory_bytes() const { return blocks_ * sizeof(Block); }

  [[gnu::always_inline]] void prefetch(uint64_t hash) const { __builtin_prefetch(&data_[place(key_of(hash))]); }

  // False only if no such key was ever added. With no blocks always false.
  bool may_hold(uint64_t hash) const noexcept {
    if (blocks_ == 0) return false;
    const uint64_t key = key_of(hash);
    const uint64_t bits = spread(key);
    const Block& block = data_[place(key)];
    uint64_t all = 1;
    for (int i = 0; i < 8; i++) all &= block.words[i] >> (bits >> 6 * i & 63);
    return all;
  }
  void add(uint64_t key) noexcept {
    const uint64_t bits = spread(key);
    Block& block = data_[place(key)];
    for (int i = 0; i < 8; i++) block.words[i] |= uint64_t{1} << (bits >> 6 * i & 63);
  }

 private:
  static constexpr uint64_t kBitsPerId = 12;
  static constexpr uint64_t kBlockBits = 512;
  struct Block {
    uint64_t words[8];
  };

  uint64_t place(uint64_t key) const noexcept {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(key) * blocks_ >> kKeyBits);
  }
  // Bits that don't follow the order of the keys, though the block's place does.
  static uint64_t spread(uint64_t key) noexcept {
    const uint64_t product = (key + 1) * 0x9E37'79B9'7F4A'7C15;
    return (product ^ product >> 31) * 0xD6E8'FEB8'6659'FD93 >> 16;
  }
  void swap(IdFilter& other) noexcept;

  Block* data_ = nullptr;
  uint64_t blocks_ = 0;
};

}  // namespace pyledger::store
