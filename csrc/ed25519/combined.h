// The route for large batches under keys that are not registered: one random combination of all equations,
// sum of z_i R_i + sum over keys of (sum of z_i h_i) A - (sum of z_i S_i) B, times 8, is the identity; equal keys are
// coalesced. It holds for wrong signatures with probability 2^-128 at most (Bernstein, Duif, Lange, Schwabe and Yang,
// "High-speed high-security signatures", 2011, section 5). Where it fails, parts are tried, down to the exact route.
//
// The coefficients z_i have 128 bits, from a hash over fresh randomness of the operating system and over all
// signatures' h and S, h standing for R, A and M.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ed25519/batch.h"

namespace pyledger::ed25519 {

// From this many signatures on this route is faster than the exact one.
inline constexpr size_t kCombinedFrom = 64;

void verify_combined(const uint8_t* public_keys, const Batch& batch, unsigned threads, uint8_t* valid);

}  // namespace pyledger::ed25519
