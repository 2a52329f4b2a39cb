// A batch of signatures as the caller hands it in, and what every route needs of each: S below L, and the challenge
// h = SHA-512(R || A || M) mod L.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ed25519/scalar.h"

namespace pyledger::ed25519 {

struct Batch {
  size_t count;
  const uint8_t* signatures;  // 64 bytes each
  const uint8_t* messages;    // message i: width_bytes from i * width_bytes on, or, if there are offsets,
  const uint64_t* offsets;    // count + 1 rising offsets: [offsets[i], offsets[i + 1])
  size_t width_bytes;
  const size_t* chosen = nullptr;  // the positions of the signatures meant, if not 0, 1, ... count - 1

  size_t position(size_t i) const { return chosen ? chosen[i] : i; }
  const uint8_t* r(size_t i) const { return signatures + 64 * position(i); }
  Scalar s(size_t i) const { return load_scalar(r(i) + 32); }
  const uint8_t* message(size_t i) const {
    return messages + (offsets ? offsets[position(i)] : position(i) * width_bytes);
  }
  size_t message_bytes(size_t i) const {
    return offsets ? offsets[position(i) + 1] - offsets[position(i)] : width_bytes;
  }

  Batch choose(const std::vector<size_t>& positions) const {
    return {positions.size(), signatures, messages, offsets, width_bytes, positions.data()};
  }
};

// h[k] for signature first + k under keys[k], k in [0, count).
void hash_challenges(const Batch& batch, size_t first, size_t count, const uint8_t* const* keys, Scalar* h);

}  // namespace pyledger::ed25519
