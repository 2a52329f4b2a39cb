// The exact route: each signature by itself, as many at once as the row has lanes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/batch.h"
#include "ed25519/rows.h"

namespace pyledger::ed25519 {

// Decodes `count` encodings that stand stride_bytes apart.
void decode_rows(const uint8_t* encodings, size_t stride_bytes, size_t count, Entry* points, uint8_t* status);

// One signature whose points are decoded and whose S is below L.
struct ExactInput {
  const Entry* r;
  const Entry* a;
  Scalar s, h;
};

void check_exact(const ExactInput* inputs, size_t count, uint8_t* valid);

// valid[k] for signature first + k under keys[32 * k ..].
void verify_exact(const Batch& batch, size_t first, size_t count, const uint8_t* keys, uint8_t* valid);

}  // namespace pyledger::ed25519
