// The row for every CPU: one lane of 64-bit integers.
#include "ed25519/field_scalar.h"

#include "ed25519/bucket_kernels.h"

namespace pyledger::ed25519 {
constinit const Row kRowScalar = make_row("scalar");
}
