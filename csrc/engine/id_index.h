// Where the record with an id stands: open addressing, one 8-byte entry a record.
//
// An entry holds 32 bits of the id's hash and the position; the id itself is compared in the record. The upper hash
// bits are also the home slot, so growing reads the entries only, in order. The hash has a secret key per process: ids
// are chosen by clients, and who can't predict the slots can't make them collide. No result depends on the order of
// slots.
#pragma once

#include <cstdint>

#include "engine/memory.h"
#include "engine/records.h"

namespace pyledger::engine {

class IdIndex {
 public:
  static constexpr uint32_t kNone = 0xFFFF'FFFF;

  IdIndex();

  uint64_t hash(u128 id) const {
    const uint64_t low = static_cast<uint64_t>(id), high = static_cast<uint64_t>(id >> 64);
    return folded_product(folded_product(low ^ key_[0], high ^ key_[1]) ^ key_[2], key_[3]);
  }

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

  // Takes out the entry inserted last of those still there. In that order its slot can simply be emptied.
  void erase_last(uint64_t hash, uint32_t position);

 private:
  static uint64_t folded_product(uint64_t a, uint64_t b) {
    const u128 product = static_cast<u128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  static uint32_t position(uint64_t entry) { return static_cast<uint32_t>(entry) - 1; }
  uint64_t home(uint64_t hash) const { return hash >> shift_; }
  void place(uint64_t entry);

  BigArray<uint64_t> entries_;
  uint64_t mask_ = 0;
  unsigned shift_ = 64;
  uint64_t key_[4];
};

}  // namespace pyledger::engine
