#include "store/id_filter.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

namespace pyledger::store {

IdFilter::IdFilter(uint64_t ids) {
  const uint64_t blocks = std::max<uint64_t>(1, (ids * kBitsPerId + kBlockBits - 1) / kBlockBits);
  const size_t bytes = blocks * sizeof(Block);
  void* region = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(region, bytes, MADV_HUGEPAGE);
#endif
  data_ = static_cast<Block*>(region);
  blocks_ = blocks;
}

IdFilter::~IdFilter() {
  if (data_) munmap(data_, memory_bytes());
}

void IdFilter::swap(IdFilter& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(blocks_, other.blocks_);
}

}  // namespace pyledger::store
