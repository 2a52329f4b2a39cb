#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "dispatch/cpu.h"

using namespace pyledger::dispatch;

namespace {
struct Row {
  const char* name;
  uint32_t features;
};
constexpr Row kRows[] = {{"avx512", kAvx512}, {"avx2", kAvx2}, {"scalar", 0}};
}  // namespace

TEST_CASE("scalar level selects the row that needs nothing") {
  CHECK(force_level("scalar") == ForceResult::kOk);
  CHECK(select(kRows).features == 0);
  CHECK(force_level("native") == ForceResult::kOk);
}

TEST_CASE("an unknown level is refused and changes nothing") {
  CHECK(force_level("scalar") == ForceResult::kOk);
  CHECK(force_level("avx9") == ForceResult::kUnknownLevel);
  CHECK(doctest::String(level_name()) == "scalar");
  CHECK(force_level("native") == ForceResult::kOk);
}

TEST_CASE("a forced level never allows more than the CPU has") {
  for (const char* name : {"sha_ni", "avx2", "avx512", "avx512ifma"}) {
    const ForceResult result = force_level(name);
    CHECK((allowed_features() & ~detected_features()) == 0);
    CHECK(result != ForceResult::kUnknownLevel);
    CHECK(force_level("native") == ForceResult::kOk);
  }
}
