// The field of the AVX2 row, for test_field.cpp. Bounds as the field's header states them.
#include "ed25519/simd_avx2.h"

#include "ed25519/fma_field.h"

#include "ed25519/field_probe_kernels.h"

namespace pyledger::ed25519 {
constinit const FieldProbe kProbeAvx2 =
    make_probe("avx2", -(int64_t{1} << 50) - (1 << 13), (int64_t{1} << 50) + (1 << 13), (int64_t{1} << 50) + (1 << 13),
               -(__int128{431} << 51), __int128{431} << 51);
}
