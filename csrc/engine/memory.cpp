#include "engine/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

namespace pyledger::engine {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kSmallRegionBytes = size_t{64} << 10;

void* map_anonymous(size_t bytes, int protection) {
  void* region = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) throw std::bad_alloc();
  return region;
}

// Address space that begins at a huge-page boundary: only such pages can be huge.
char* map_aligned(size_t bytes, int protection) {
  char* raw = static_cast<char*>(map_anonymous(bytes + kHugePageBytes, protection));
  const size_t head = (kHugePageBytes - reinterpret_cast<uintptr_t>(raw) % kHugePageBytes) % kHugePageBytes;
  if (head) munmap(raw, head);
  if (head < kHugePageBytes) munmap(raw + head + bytes, kHugePageBytes - head);
  return raw + head;
}

void advise_huge(void* region, size_t bytes) {
#ifdef MADV_HUGEPAGE
  madvise(region, bytes, MADV_HUGEPAGE);  // a kernel without huge pages refuses; nothing but speed is lost
#else
  (void)region, (void)bytes;
#endif
}

}  // namespace

size_t region_bytes(size_t bytes) noexcept {
  const size_t unit = bytes < kHugePageBytes ? kSmallRegionBytes : kHugePageBytes;
  return (bytes + unit - 1) / unit * unit;
}

void* map_region(size_t bytes) {
  if (bytes < kHugePageBytes) return map_anonymous(bytes, PROT_READ | PROT_WRITE);
  void* region = map_aligned(bytes, PROT_READ | PROT_WRITE);
  advise_huge(region, bytes);
  return region;
}

void* grow_region(void* old, size_t old_bytes, size_t bytes) {
#ifdef __linux__
  if (bytes >= kHugePageBytes) {
    void* target = map_aligned(bytes, PROT_NONE);
    void* region = mremap(old, old_bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    if (region == MAP_FAILED) {
      munmap(target, bytes);
      throw std::bad_alloc();
    }
    advise_huge(region, bytes);
    return region;
  }
#endif
  void* region = map_region(bytes);
  std::memcpy(region, old, old_bytes);
  munmap(old, old_bytes);
  return region;
}

void populate_region(void* region, size_t bytes) noexcept {
#ifdef MADV_POPULATE_WRITE
  const size_t page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  madvise(region, (bytes + page_bytes - 1) / page_bytes * page_bytes, MADV_POPULATE_WRITE);  // older kernels refuse
#else
  (void)region, (void)bytes;
#endif
}

void unmap_region(void* region, size_t bytes) noexcept {
  if (region) munmap(region, bytes);
}

}  // namespace pyledger::engine
