// Randomness of the operating system, for keys and for the coefficients of batch checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pyledger::bls {

// Fills `out`; throws std::system_error if the operating system has none.
void fill_random(void* out, size_t size);

// n nonzero 64-bit coefficients. A batch check of false statements then passes with probability 2^-64 or less, if the
// coefficients are drawn after the statements are fixed (Bellare, Garay, Rabin: small exponents test, Eurocrypt 1998).
std::vector<uint64_t> random_coefficients(size_t n);

}  // namespace pyledger::bls
