// What the rows of SHA-256 and SHA-512 share: constants, and the contract of a row's one function. Read by files that
// are compiled for one instruction set, so there is nothing inline here.
//
// A row hashes as many equal-length messages as it has lanes: message i of size_bytes at messages[i], behind the byte
// `prefix` unless that is kNoPrefix (SHA-256 only), to digests[i]. All messages are read before a digest is written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::hash {

struct Sha256Schedule {
  uint32_t word[64];
};

alignas(64) extern const uint32_t kSha256Round[64];
extern const uint32_t kSha256Initial[8];
extern const Sha256Schedule kSha256KeyedPadding64;  // words of the padding behind 64 bytes, round constants added
extern const uint64_t kSha512Round[80];
extern const uint64_t kSha512Initial[8];

using Sha256Function = void (*)(const uint8_t* const* messages, size_t size_bytes, int prefix,
                                uint8_t* const* digests) noexcept;
using Sha512Function = void (*)(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept;

void sha256_scalar_x1(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept;
void sha256_shani_x1(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept;
void sha256_shani_x2(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept;
void sha256_avx2_x8(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept;
void sha256_avx512_x16(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept;

void sha512_scalar_x1(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept;
void sha512_avx2_x4(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept;
void sha512_avx512_x8(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept;

}  // namespace pyledger::hash
