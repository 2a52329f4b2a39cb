// Arithmetic modulo the group order L = 2^252 + 27742317777372353535851937790883648493 (RFC 8032, section 5.1), and the
// digits in which the kernels consume scalars. All values are public: nothing here is constant time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::ed25519 {

// Little-endian words of a number below 2^256.
struct Scalar {
  uint64_t word[4];
};

Scalar load_scalar(const uint8_t* bytes_32) noexcept;

// True if the scalar is below L.
bool is_reduced(const Scalar& scalar) noexcept;

// The 512-bit number in bytes_64, modulo L.
Scalar reduce_64(const uint8_t* bytes_64) noexcept;

// (a * b) mod L for any a, b below 2^256.
Scalar multiply(const Scalar& a, const Scalar& b) noexcept;

// (a + b) mod L for a, b below L.
Scalar add(const Scalar& a, const Scalar& b) noexcept;

// Signed digits of base 2^bits: scalar = sum of digits[i] * 2^(bits * i), each in [-2^(bits-1), 2^(bits-1)].
// `count` digits must hold the scalar: bits * count > its bit length.
void recode(const Scalar& scalar, int bits, int count, int16_t* digits) noexcept;

// A short relation: u * h = v mod L with 0 < |u| < 2^126 and 0 <= v < 2^127.
struct HalfSize {
  Scalar u_magnitude;
  Scalar v;
  bool u_negative;
};

// Lattice reduction of (L, h) by Euclid's algorithm stopped half-way (Antipa et al., "Accelerated Verification of ECDSA
// Signatures", SAC 2005): it halves the doublings of a verification, exactly, since u is invertible modulo the prime L.
HalfSize half_size(const Scalar& h) noexcept;

}  // namespace pyledger::ed25519
