// Where the record with an id stands: open addressing, one 8-byte entry a record.
//
// An entry holds 32 bits of the id's hash and the position; the id itself is compared in the record. The upper hash
// bits are also the home slot, so growing reads the entries only, in order. The hash has a secret key per process: ids
// are chosen by clients, and who can't predict the slots can't make them collide. No result depends on the order of
// slots.
#pragma once

#include <array>
#include <cstdint>

#include "engine/memory.h"
#include "engine/records.h"

namespace pyledger::engine {

// A hash of ids with a secret key.
class IdHash {
 public:
  using Key = std::array<uint64_t, 4>;

  IdHash();
  explicit IdHash(const Key& key) : key_(key) {}

  uint64_t operator()(u128 id) const {
    const uint64_t low = static_cast<uint64_t>(id), high = static_cast<uint64_t>(id >> 64);
    return folded_product(folded_product(low ^ key_[0], high ^ key_[1]) ^ key_[2], key_[3]);
  }
  const Key& key() const { return key_; }
  // Tells keys apart without giving them away.
  uint64_t check() const { return (*this)(0); }

 private:
  static uint64_t folded_product(uint64_t a, uint64_t b) {
    const u128 product = static_cast<u128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }

  Key key_;
};

class IdIndex {
 public:
  static constexpr uint32_t kNone = 0xFFFF'FFFF;

  explicit IdIndex(const IdHash& hash = IdHash());

  const IdHash& hash_function() const { return hash_; }
  uint64_t hash(u128 id) const { return hash_(id); }

  // Inlined by force, as everything that only prefetches: GCC takes such a function for one without effect and drops
  // the calls.
  [[gnu::always_inline]] void prefetch(uint64_t hash) const { __builtin_prefetch(&entries_[home(hash)]); }

  // First candidate of the hash, likely but not surely the right one; kNone if there is none.
  [[gnu::always_inline]] uint32_t guess(uint64_t hash) const {
    return find(hash, [](uint32_t) { return true; });
  }

  // The position for which same(position) holds, kNone if there is none.
  template <class Same>
  uint32_t find(uint64_t hash, Same same) const {
    for (uint64_t slot = home(hash);; slot = (slot + 1) & mask_) {
      const uint64_t entry = entries_[slot];
      if (entry == 0) return kNone;
      if ((entry ^ hash) >> 32 == 0 && same(position(entry))) return position(entry);
    }
  }

  // Room for count entries in all; inserting up to there can't fail.
  void reserve(size_t count);

  // The same, all pages provided.
  void prepare(size_t count) {
    reserve(count);
    entries_.prepare(entries_.size());
  }

  // Position must be less than kNone and the id absent.
  void insert(uint64_t hash, uint32_t position);

  // Takes out an entry that is there.
  void erase(uint64_t hash, uint32_t position);

 private:
  static uint32_t position(uint64_t entry) { return static_cast<uint32_t>(entry) - 1; }
  uint64_t home(uint64_t hash) const { return hash >> shift_; }
  void place(uint64_t entry);

  BigArray<uint64_t> entries_;
  uint64_t mask_ = 0;
  unsigned shift_ = 64;
  IdHash hash_;
};

}  // namespace pyledger::engine
