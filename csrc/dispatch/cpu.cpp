#include "dispatch/cpu.h"

#include <atomic>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pyledger::dispatch {
namespace {

struct Level {
  const char* name;
  uint32_t features;
};

constexpr uint32_t kAll = ~0u;
constexpr Level kLevels[] = {
    {"native", kAll},
    {"scalar", 0},
    {"sha_ni", kShaNi},
    {"avx2", kAvx2},
    {"avx512", kAvx2 | kAvx512},
    {"avx512ifma", kAvx2 | kAvx512 | kAvx512Ifma},
};

#if defined(__x86_64__)
// XCR0 tells which register states the operating system saves; a set cpuid bit alone is not enough to use them.
uint64_t read_xcr0() noexcept {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

uint32_t detect() noexcept {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool ssse3 = c & (1u << 9), sse41 = c & (1u << 19), fma = c & (1u << 12);
  const bool osxsave = c & (1u << 27), avx = c & (1u << 28);
  const uint64_t xcr0 = osxsave ? read_xcr0() : 0;
  const bool ymm_saved = (xcr0 & 0x6) == 0x6;
  const bool zmm_saved = (xcr0 & 0xe6) == 0xe6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;

  uint32_t features = 0;
  if (ssse3 && sse41 && (b & (1u << 29))) features |= kShaNi;
  const bool bmi2 = b & (1u << 8), avx2 = b & (1u << 5);
  if (avx && ymm_saved && avx2 && fma && bmi2) features |= kAvx2;
  const uint32_t f_dq_bw_vl = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  if ((features & kAvx2) && zmm_saved && (b & f_dq_bw_vl) == f_dq_bw_vl) {
    features |= kAvx512;
    if (b & (1u << 21)) features |= kAvx512Ifma;
  }
  return features;
}
#else
uint32_t detect() noexcept { return 0; }
#endif

std::atomic<const Level*> forced_level{&kLevels[0]};

}  // namespace

uint32_t detected_features() noexcept {
  static const uint32_t features = detect();
  return features;
}

uint32_t allowed_features() noexcept {
  return detected_features() & forced_level.load(std::memory_order_relaxed)->features;
}

const char* level_name() noexcept { return forced_level.load(std::memory_order_relaxed)->name; }

ForceResult force_level(const char* name) noexcept {
  for (const Level& level : kLevels) {
    if (std::strcmp(level.name, name) != 0) continue;
    if (level.features != kAll && (level.features & ~detected_features())) return ForceResult::kNotOnThisCpu;
    forced_level.store(&level, std::memory_order_relaxed);
    return ForceResult::kOk;
  }
  return ForceResult::kUnknownLevel;
}

const char* level_names() noexcept { return "native, scalar, sha_ni, avx2, avx512, avx512ifma"; }

}  // namespace pyledger::dispatch
