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
    size_t mapped_bytes = 0;  // 0: from the allocator
    void operator()(uint8_t* bytes) const noexcept {
#if defined(__linux__)
      if (mapped_bytes != 0) {
        munmap(bytes, mapped_bytes);
        return;
      }
#endif
      std::free(bytes);
    }
  };
  using Chunk = std::unique_ptr<uint8_t, Free>;

  static constexpr size_t kHugePageBytes = size_t{1} << 21;
  static constexpr size_t kPageBytesMax = size_t{1} << 16;  // of any common system

  static size_t rounded_up(size_t bytes, size_t unit) noexcept { return (bytes + unit - 1) / unit * unit; }

  Chunk allocate(size_t rows) const {
    const size_t bytes = row_bytes_ * rows;
#if defined(__linux__)
    if (bytes >= kHugePageBytes) return map_huge(rounded_up(bytes, kPageBytesMax));
#endif
    auto* memory = static_cast<uint8_t*>(std::aligned_alloc(64, rounded_up(bytes, 64)));
    if (memory == nullptr) throw std::bad_alloc();
    return Chunk(memory);
  }

#if defined(__linux__)
  // Large chunks ask for huge pages: what is read at random spends its time in the page tables. Mapped one by one, they
  // leave no holes in the allocator's memory.
  static Chunk map_huge(size_t bytes) {
    void* mapped = mmap(nullptr, bytes + kHugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* raw = static_cast<uint8_t*>(mapped);
    const size_t head = -reinterpret_cast<uintptr_t>(raw) % kHugePageBytes;
    if (head != 0) munmap(raw, head);
    munmap(raw + head + bytes, kHugePageBytes - head);
    madvise(raw + head, bytes, MADV_HUGEPAGE);
    return Chunk(raw + head, Free{bytes});
  }
#endif

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
