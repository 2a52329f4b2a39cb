// SHA-512 (FIPS 180-4) over one message or many at once, one message a lane of the widest row that the CPU offers.
//
// Many messages have one length, so that every lane runs the same blocks. What is hashed in several pieces, as
// R || A || M of Ed25519, the caller lays out as one contiguous row a message.
// All functions run on the caller's thread and allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyledger::hash {

inline constexpr size_t kSha512Bytes = 64;

// digest_64 = SHA-512(message).
void sha512(const uint8_t* message, size_t size_bytes, uint8_t* digest_64) noexcept;

// digests[64 * i ..] = SHA-512(messages[stride_bytes * i .. + size_bytes]) for i in [0, count).
// The digests may not overlap the messages.
void sha512_many(const uint8_t* messages, size_t stride_bytes, size_t size_bytes, size_t count,
                 uint8_t* digests) noexcept;

// The same for messages and digests anywhere: digests[i] = SHA-512(messages[i][0 .. size_bytes]).
void sha512_gather(const uint8_t* const* messages, size_t size_bytes, size_t count, uint8_t* const* digests) noexcept;

// Messages that the row in force hashes together; batches in multiples of it waste no lane.
size_t sha512_lanes() noexcept;

// Name of the row in force.
const char* sha512_row_name() noexcept;

}  // namespace pyledger::hash
