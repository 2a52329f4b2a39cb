// An append-only RFC 6962 log that keeps the hash of every complete subtree, so that the root of any past size and the
// proofs between any two sizes need O(log n) hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "merkle/chunked_rows.h"
#include "merkle/digest.h"

namespace pyledger::merkle {

class Log {
 public:
  uint64_t size() const noexcept { return levels_.empty() ? 0 : levels_[0].size(); }

  // Appends leaf hashes, 32 bytes each. An exception (no memory) leaves the log as it was; so it does below.
  void extend(const uint8_t* hashes, size_t count, unsigned threads);

  // Appends the leaf hashes of equal-length leaves; the leaves are not kept.
  void extend_leaves(const uint8_t* leaves, size_t size_bytes, size_t count, unsigned threads);

  // Of the first `size` leaves; size <= this->size().
  Digest root_at(uint64_t size) const noexcept;

  // Hashes of the complete subtrees [begin, end) of 2^level leaves each; end << level <= size().
  void copy_nodes(unsigned level, uint64_t begin, uint64_t end, uint8_t* out) const noexcept;

  // PATH(index, D[size]) of RFC 6962 section 2.1.1, lowest first; index < size <= this->size().
  std::vector<Digest> prove_inclusion(uint64_t index, uint64_t size) const;

  // PROOF(old_size, D[size]) of section 2.1.2; 0 < old_size <= size <= this->size().
  std::vector<Digest> prove_consistency(uint64_t old_size, uint64_t size) const;

  // One proof of several leaves (verify.h); indices strictly rising, all < size <= this->size().
  std::vector<Digest> prove_multi(const uint64_t* indices, size_t count, uint64_t size) const;

  size_t memory_bytes() const noexcept;

 private:
  // MTH(D[begin:end]) where the range is a node of some tree: begin is a multiple of the least power of two that is at
  // least its length.
  Digest subtree(uint64_t begin, uint64_t end) const noexcept;
  void prove_range(const uint64_t* indices, size_t count, uint64_t begin, uint64_t end,
                   std::vector<Digest>& proof) const;
  template <class Fill>
  void append(size_t count, unsigned threads, const Fill& fill);
  void reserve(uint64_t size);
  void hash_up(uint64_t old_size, uint64_t size, unsigned threads);

  std::vector<ChunkedRows> levels_;  // levels_[h] row i: the complete subtree over leaves [i << h, (i + 1) << h)
};

}  // namespace pyledger::merkle
