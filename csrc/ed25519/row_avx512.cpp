// The row of AVX-512 F, BW, DQ, VL: eight lanes of doubles.
#include "ed25519/simd_avx512.h"

#include "ed25519/fma_field.h"

#include "ed25519/bucket_kernels.h"

namespace pyledger::ed25519 {
constinit const Row kRowAvx512 = make_row("avx512");
}
