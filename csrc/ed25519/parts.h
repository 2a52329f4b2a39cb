// Splits work over the pool.
#pragma once

#include <algorithm>
#include <cstddef>

#include "parallel/pool.h"

namespace pyledger::ed25519 {

// Signatures a task takes: enough for batched inversions and full lanes, few enough to keep all threads busy.
inline size_t task_size(size_t count, unsigned threads) {
  const size_t share = count / parallel::thread_count(threads) + 1;
  return std::clamp<size_t>((share + 7) / 8 * 8, 8, 256);
}

// Calls f(first, count) for consecutive parts of [0, count).
template <class F>
void for_parts(size_t count, size_t part, unsigned threads, const F& f) {
  auto task = [&](size_t t) { f(t * part, std::min(part, count - t * part)); };
  parallel::run(threads, (count + part - 1) / part, task);
}

}  // namespace pyledger::ed25519
