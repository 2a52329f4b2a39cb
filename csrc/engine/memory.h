// Arrays that hold millions of fixed-size records: they grow without copying and sit on huge pages once they are large.
//
// A std::vector would copy all records when it grows (a second at 10^7 accounts). Here growth moves page tables.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace pyledger::engine {

// Zeroed memory from the operating system. grow_region keeps the first old_bytes and frees the old region; both throw
// std::bad_alloc. Sizes are rounded up by region_bytes.
void* map_region(size_t bytes);
void* grow_region(void* old, size_t old_bytes, size_t bytes);
void unmap_region(void* region, size_t bytes) noexcept;
size_t region_bytes(size_t bytes) noexcept;
// Has the system provide the pages now: the first touch of a page can cost more than a hundred postings.
void populate_region(void* region, size_t bytes) noexcept;

template <class T>
class BigArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  BigArray() = default;
  BigArray(BigArray&& other) noexcept { swap(other); }
  BigArray& operator=(BigArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~BigArray() { unmap_region(data_, capacity_bytes_); }

  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  const T& back() const { return data_[size_ - 1]; }

  // Room for count records in all; later append() up to there can't fail.
  void reserve(size_t count) {
    if (count * sizeof(T) <= capacity_bytes_) return;
    const size_t wanted = count * sizeof(T) > 2 * capacity_bytes_ ? count * sizeof(T) : 2 * capacity_bytes_;
    const size_t bytes = region_bytes(wanted);
    data_ = static_cast<T*>(data_ ? grow_region(data_, capacity_bytes_, bytes) : map_region(bytes));
    capacity_bytes_ = bytes;
  }
  // Room for count records, all pages provided.
  void prepare(size_t count) {
    reserve(count);
    populate_region(data_, count * sizeof(T));
  }
  T& append(const T& value) {
    data_[size_] = value;
    return data_[size_++];
  }
  void truncate(size_t size) { size_ = size; }
  // Sets the size; records that were never used are zero.
  void resize(size_t size) {
    reserve(size);
    size_ = size;
  }

 private:
  void swap(BigArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_bytes_, other.capacity_bytes_);
  }

  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_bytes_ = 0;
};

}  // namespace pyledger::engine
