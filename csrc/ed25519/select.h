// Chooses the row for a call.
#pragma once

#include <cstddef>

#include "ed25519/rows.h"

namespace pyledger::ed25519 {

inline constexpr size_t kEveryLane = ~size_t{0};

// The row in force for `count` points at once: wide rows need enough of them to beat the scalar one.
const Row& row_for(size_t count) noexcept;

}  // namespace pyledger::ed25519
