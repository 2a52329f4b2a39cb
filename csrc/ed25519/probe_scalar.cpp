// The field of the scalar row, for test_field.cpp. Bounds as the field's header states them.
#include "ed25519/field_scalar.h"

#include "ed25519/field_probe_kernels.h"

namespace pyledger::ed25519 {
constinit const FieldProbe kProbeScalar =
    make_probe("scalar", 0, (int64_t{1} << 51) + (1 << 14) - 1, (int64_t{1} << 52) - 1, 0, (__int128{3} << 110) - 1);
}
