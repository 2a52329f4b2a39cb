// The row of AVX-512 with IFMA: eight lanes of 64-bit integers.
#include "ed25519/simd_avx512.h"

#include "ed25519/ifma_field.h"

#include "ed25519/bucket_kernels.h"

namespace pyledger::ed25519 {
constinit const Row kRowAvx512Ifma = make_row("avx512ifma");
}
