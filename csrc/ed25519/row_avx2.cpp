// The row of AVX2 and FMA: four lanes of doubles.
#include "ed25519/simd_avx2.h"

#include "ed25519/fma_field.h"

#include "ed25519/bucket_kernels.h"

namespace pyledger::ed25519 {
constinit const Row kRowAvx2 = make_row("avx2");
}
