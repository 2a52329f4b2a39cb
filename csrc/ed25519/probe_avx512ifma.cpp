// The field of the IFMA row, for test_field.cpp. Bounds as the field's header states them.
#include "ed25519/simd_avx512.h"

#include "ed25519/ifma_field.h"

#include "ed25519/field_probe_kernels.h"

namespace pyledger::ed25519 {
constinit const FieldProbe kProbeAvx512Ifma =
    make_probe("avx512ifma", 0, (int64_t{1} << 51) + (1 << 15) - 1, (int64_t{1} << 52) - 1, 0, (__int128{3} << 60) - 1);
}
