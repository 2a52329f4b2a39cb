#include "bls/lanes.h"

#include "dispatch/cpu.h"

namespace pyledger::bls {
namespace {

constexpr LaneRow kRows[] = {
#if defined(__x86_64__)
    {"avx512ifma", dispatch::kAvx512 | dispatch::kAvx512Ifma, in_g1_eight_avx512ifma},
#endif
    {"scalar", 0, nullptr},
};

}  // namespace

const LaneRow& lane_row() noexcept { return dispatch::select(kRows); }

}  // namespace pyledger::bls
