#include "ed25519/select.h"

#include "dispatch/cpu.h"

namespace pyledger::ed25519 {
namespace {

struct Choice {
  const Row* row;
  uint32_t features;
  size_t worth;  // from so many points on, a call with lanes left empty beats the rows that follow
};

constexpr Choice kChoices[] = {
#if defined(__x86_64__)
    {&kRowAvx512Ifma, dispatch::kAvx512Ifma, 2},
    {&kRowAvx512, dispatch::kAvx512, 3},
    {&kRowAvx2, dispatch::kAvx2, 2},
#endif
    {&kRowScalar, 0, 1},
};

}  // namespace

const Row& row_for(size_t count) noexcept {
  const uint32_t allowed = dispatch::allowed_features();
  for (const Choice& choice : kChoices) {
    if ((choice.features & ~allowed) == 0 && count >= choice.worth) return *choice.row;
  }
  return kRowScalar;
}

}  // namespace pyledger::ed25519
