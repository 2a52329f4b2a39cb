// The bytes of a quorum certificate: canonical, exact, readable without any key.
//
//   u8 scheme (1 min-sig, 2 min-pk) | u8 purpose (0 vote, 1 timeout) | u16 n validators, 1..4096 |
//   u16 message bytes, 1..1024 | message | bitmap, ceil(n / 8) bytes | aggregate signature
// Integers are little-endian. Bit i % 8 of bitmap byte i / 8 says that validator i signed; padding bits are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bls/suite.h"

namespace pyledger::bls {

constexpr size_t kMessageBytesMax = 1024;

struct CertificateView {
  uint8_t scheme;
  Purpose purpose;
  size_t validators;
  std::span<const uint8_t> message;
  std::span<const uint8_t> bitmap;
  std::span<const uint8_t> signature;
};

// Bytes of a signature under a scheme, 0 for an unknown scheme.
size_t signature_bytes(uint8_t scheme);

// Null and `out` (which points into `bytes`), or why these bytes are no certificate.
const char* read_certificate(std::span<const uint8_t> bytes, CertificateView& out);

std::vector<uint8_t> write_certificate(const CertificateView& certificate);

}  // namespace pyledger::bls
