// Which instruction sets this process may use: what the CPU and the operating system offer, cut down by PYLEDGER_CPU.
//
// A kernel family keeps a table of rows in order of preference, each with the features it needs; select() takes the
// first row whose features are all allowed. The last row of every table needs none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::dispatch {

enum Feature : uint32_t {
  kShaNi = 1u << 0,       // SHA-NI with SSE4.1 and SSSE3
  kAvx2 = 1u << 1,        // AVX2, FMA, BMI2; ymm state saved by the operating system
  kAvx512 = 1u << 2,      // AVX-512 F, BW, DQ, VL; zmm and mask state saved by the operating system
  kAvx512Ifma = 1u << 3,  // AVX-512 IFMA (52-bit multiply-add)
};

// Features that the CPU has and the operating system saves (cpuid and XGETBV). Read once.
uint32_t detected_features() noexcept;

// Features that kernels may use now: the detected ones, or those of the level forced.
uint32_t allowed_features() noexcept;

// Name of the level in force: "native" unless one was forced.
const char* level_name() noexcept;

enum class ForceResult { kOk, kUnknownLevel, kNotOnThisCpu };

// Forces a level: scalar, sha_ni, avx2, avx512, avx512ifma, or native (all that was detected).
// Takes effect for calls that begin after it. Returns why it could not, with the level unchanged.
ForceResult force_level(const char* name) noexcept;

// Comma-separated names that force_level takes, for messages.
const char* level_names() noexcept;

template <class Row, size_t N>
const Row& select(const Row (&rows)[N]) noexcept {
  const uint32_t allowed = allowed_features();
  for (const Row& row : rows) {
    if ((row.features & ~allowed) == 0) return row;
  }
  return rows[N - 1];
}

}  // namespace pyledger::dispatch
