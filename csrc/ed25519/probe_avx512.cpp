// The field of the AVX-512 row, for test_field.cpp. Bounds as the field's header states them.
#include "ed25519/simd_avx512.h"

#include "ed25519/fma_field.h"

#include "ed25519/field_probe_kernels.h"

namespace pyledger::ed25519 {
constinit const FieldProbe kProbeAvx512 =
    make_probe("avx512", -(int64_t{1} << 50) - (1 << 13), (int64_t{1} << 50) + (1 << 13),
               (int64_t{1} << 50) + (1 << 13), -(__int128{431} << 51), __int128{431} << 51);
}
