// The route for registered keys: P = [S]B - [h]A from tables, one entry a digit, and a comparison of P's encoding with
// the bytes of R, which is never decoded. Equal bytes mean a canonical R and an equation that holds even without the
// cofactor. Only a mismatch needs R as a point, for the cofactored rule asks whether P - R is of small order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/batch.h"
#include "ed25519/tables.h"

namespace pyledger::ed25519 {

struct RegisteredKey {
  const uint8_t* encoding;
  const Entry* table;
};

// valid[k] for signature first + k under keys[k].
void verify_registered(const Batch& batch, size_t first, size_t count, const RegisteredKey* keys, const BaseTable& base,
                       uint8_t* valid);

}  // namespace pyledger::ed25519
