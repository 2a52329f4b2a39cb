// A 32-byte hash as a value, and the two hashes that RFC 6962 section 2.1 builds trees of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pyledger::merkle {

inline constexpr size_t kDigestBytes = 32;
inline constexpr int kLeafPrefix = 0x00;
inline constexpr int kNodePrefix = 0x01;

using Digest = std::array<uint8_t, kDigestBytes>;

inline Digest load_digest(const uint8_t* bytes_32) noexcept {
  Digest digest;
  std::memcpy(digest.data(), bytes_32, kDigestBytes);
  return digest;
}

Digest leaf_hash(const uint8_t* data, size_t size_bytes) noexcept;
Digest node_hash(const uint8_t* left_32, const uint8_t* right_32) noexcept;

// The root of a tree without leaves: SHA-256 of nothing.
Digest empty_root() noexcept;

}  // namespace pyledger::merkle
