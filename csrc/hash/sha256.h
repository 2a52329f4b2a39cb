// SHA-256 (FIPS 180-4) over one message or many at once, one message a lane of the widest row that the CPU offers.
//
// Many messages have one length, so that every lane runs the same blocks. A one-byte prefix can be hashed in front of
// each message without copying it: RFC 6962 puts 0x00 before leaves and 0x01 before nodes.
// All functions run on the caller's thread and allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::hash {

inline constexpr size_t kSha256Bytes = 32;
inline constexpr int kNoPrefix = -1;

// digest_32 = SHA-256(message).
void sha256(const uint8_t* message, size_t size_bytes, uint8_t* digest_32) noexcept;

// digests[32 * i ..] = SHA-256([prefix ||] messages[stride_bytes * i .. + size_bytes]) for i in [0, count).
// prefix is a byte or kNoPrefix. The digests may overwrite messages[0 ..] if 32 <= stride_bytes: no message is read
// after a digest took its place.
void sha256_many(const uint8_t* messages, size_t stride_bytes, size_t size_bytes, size_t count, int prefix,
                 uint8_t* digests) noexcept;

// The same for messages and digests anywhere: digests[i] = SHA-256([prefix ||] messages[i][0 .. size_bytes]).
// A digest may overwrite messages of its own and of earlier groups of sha256_lanes() messages.
void sha256_gather(const uint8_t* const* messages, size_t size_bytes, size_t count, int prefix,
                   uint8_t* const* digests) noexcept;

// Messages that the row in force hashes together; batches in multiples of it waste no lane.
size_t sha256_lanes() noexcept;

// Name of the row in force.
const char* sha256_row_name() noexcept;

}  // namespace pyledger::hash
