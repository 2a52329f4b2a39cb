// Replaces operator new of a test program, so that any single allocation can be made to fail. One file a program
// includes it.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace pyledger::parallel {

// How many allocations this thread gets before they fail; negative: they do not fail.
inline thread_local int allocations_left = -1;

// Calls f() until it gets through, each time with one more allocation granted, and check() after each failure. Returns
// the number of failures.
template <class F, class Check>
int fail_each_allocation(F f, Check check) {
  for (int granted = 0;; granted++) {
    try {
      allocations_left = granted;
      f();
      allocations_left = -1;
      return granted;
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
      check();
    }
  }
}

}  // namespace pyledger::parallel

// Not inlined: GCC would take free() for a wrong partner of new.
[[gnu::noinline]] void* operator new(std::size_t size) {
  int& left = pyledger::parallel::allocations_left;
  void* memory = left == 0 ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  if (left > 0) left--;
  return memory;
}

[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
