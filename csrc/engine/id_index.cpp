#include "engine/id_index.h"

#include <random>

namespace pyledger::engine {
namespace {

constexpr unsigned kFirstBits = 12;

}  // namespace

IdHash::IdHash() {
  std::random_device source;
  for (uint64_t& part : key_) part = (uint64_t{source()} << 32 | source()) | 1;
}

IdIndex::IdIndex(const IdHash& hash) : hash_(hash) {
  entries_.resize(size_t{1} << kFirstBits);
  mask_ = entries_.size() - 1;
  shift_ = 64 - kFirstBits;
}

void IdIndex::reserve(size_t count) {
  size_t size = entries_.size();
  while (count * 3 > size * 2) size *= 2;
  if (size == entries_.size()) return;
  BigArray<uint64_t> old;
  old.resize(size);
  std::swap(old, entries_);
  mask_ = size - 1;
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(size));
  for (size_t i = 0; i < old.size(); i++) {
    if (old[i]) place(old[i]);
  }
}

void IdIndex::insert(uint64_t hash, uint32_t position) { place(hash >> 32 << 32 | (uint64_t{position} + 1)); }

void IdIndex::place(uint64_t entry) {
  uint64_t slot = home(entry);  // the home slot needs the upper 32 bits only, which an entry keeps
  while (entries_[slot]) slot = (slot + 1) & mask_;
  entries_[slot] = entry;
}

// What stands behind the gap moves into it where its search would pass the gap, so that no search ends too early
// (Knuth, The Art of Computer Programming 3, algorithm 6.4 R).
void IdIndex::erase(uint64_t hash, uint32_t position) {
  const uint64_t wanted = hash >> 32 << 32 | (uint64_t{position} + 1);
  uint64_t gap = home(hash);
  while (entries_[gap] != wanted) gap = (gap + 1) & mask_;
  for (uint64_t slot = (gap + 1) & mask_; entries_[slot]; slot = (slot + 1) & mask_) {
    const uint64_t from_home = (slot - home(entries_[slot])) & mask_;
    if (from_home < ((slot - gap) & mask_)) continue;
    entries_[gap] = entries_[slot];
    gap = slot;
  }
  entries_[gap] = 0;
}

}  // namespace pyledger::engine
