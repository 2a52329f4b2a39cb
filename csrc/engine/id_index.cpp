#include "engine/id_index.h"

#include <random>

namespace pyledger::engine {
namespace {

constexpr unsigned kFirstBits = 12;

}  // namespace

IdIndex::IdIndex() {
  std::random_device source;
  for (uint64_t& part : key_) part = (uint64_t{source()} << 32 | source()) | 1;
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

void IdIndex::erase_last(uint64_t hash, uint32_t position) {
  const uint64_t entry = hash >> 32 << 32 | (uint64_t{position} + 1);
  uint64_t slot = home(hash);
  while (entries_[slot] != entry) slot = (slot + 1) & mask_;
  entries_[slot] = 0;
}

}  // namespace pyledger::engine
