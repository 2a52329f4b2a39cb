// Rows of one size that never move once they fill a chunk: growing costs no copy and no pause. A chunk's rows are
// contiguous, begin at a cache line, and number a power of two, so that a tree's sibling pairs never part.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pyledger::merkle {

class ChunkedRows {
 public:
  ChunkedRows(size_t row_bytes, unsigned chunk_rows_log2) : row_bytes_(row_bytes), shift_(chunk_rows_log2) {}

  size_t size() const noexcept { return size_; }
  size_t chunk_rows() const noexcept { return size_t{1} << shift_; }

  uint8_t* row(size_t i) noexcept { return chunks_[i >> shift_].get() + row_bytes_ * (i & (chunk_rows() - 1)); }
  const uint8_t* row(size_t i) const noexcept { return const_cast<ChunkedRows*>(this)->row(i); }

  // New rows hold anything. Throws std::bad_alloc with the rows as they were.
  void grow(size_t size) {
    reserve(size);
    size_ = std::max(size, size_);
  }

  // Makes room: rows below `size` may be written, and growing to it cannot fail.
  void reserve(size_t size) {
    const size_t chunks = (size + chunk_rows() - 1) >> shift_;
    chunks_.reserve(chunks);
    if (chunks_.size() <= 1 && size > first_capacity_) grow_first(std::min(chunk_rows(), std::max(size, 2 * size_)));
    while (chunks_.size() < chunks) chunks_.push_back(allocate(chunk_rows()));
  }

  // Gives up the last rows; their memory stays.
  void shrink(size_t size) noexcept { size_ = size; }

  // Bytes held, capacity included.
  size_t memory_bytes() const noexcept {
    return row_bytes_ * (chunks_.empty() ? 0 : first_capacity_ + (chunks_.size() - 1) * chunk_rows());
  }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const noexcept { std::free(bytes); }
  };
  using Chunk = std::unique_ptr<uint8_t, Free>;

  // Chunks of a huge page and more ask for huge pages: what is read at random spends its time in the page tables.
  Chunk allocate(size_t rows) const {
    constexpr size_t kHugePage = size_t{1} << 21;
    const size_t alignment = row_bytes_ * rows >= kHugePage ? kHugePage : 64;
    const size_t bytes = (row_bytes_ * rows + alignment - 1) / alignment * alignment;
    auto* memory = static_cast<uint8_t*>(std::aligned_alloc(alignment, bytes));
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return Chunk(memory);
  }

  // Only the first chunk starts small, so that small trees take little.
  void grow_first(size_t rows) {
    Chunk chunk = allocate(rows);
    if (size_) std::memcpy(chunk.get(), chunks_[0].get(), row_bytes_ * size_);
    if (chunks_.empty()) {
      chunks_.push_back(std::move(chunk));
    } else {
      chunks_[0] = std::move(chunk);
    }
    first_capacity_ = rows;
  }

  size_t row_bytes_;
  unsigned shift_;
  size_t size_ = 0;
  size_t first_capacity_ = 0;
  std::vector<Chunk> chunks_;
};

}  // namespace pyledger::merkle
