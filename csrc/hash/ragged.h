// Messages of any lengths in one buffer: message i is buffer[offsets[i] .. offsets[i + 1]). Sorted by length, runs of
// equal lengths fill the lanes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace pyledger::hash {

// The numbers 0 .. count - 1 with length(number) rising; equal lengths in rising number.
template <class Length>
std::vector<size_t> order_by_length(size_t count, const Length& length) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto shorter = [&](size_t a, size_t b) { return length(a) < length(b); };
  if (!std::is_sorted(order.begin(), order.end(), shorter)) std::stable_sort(order.begin(), order.end(), shorter);
  return order;
}

// The same by the messages' lengths.
std::vector<size_t> order_by_length(const uint64_t* offsets, size_t count);

// digests[32 * i ..] = SHA-256([prefix ||] message i) for each i in order[0 .. count).
void sha256_ragged(const uint8_t* buffer, const uint64_t* offsets, const size_t* order, size_t count, int prefix,
                   uint8_t* digests) noexcept;

// digests[64 * i ..] = SHA-512(message i) for each i in order[0 .. count).
void sha512_ragged(const uint8_t* buffer, const uint64_t* offsets, const size_t* order, size_t count,
                   uint8_t* digests) noexcept;

}  // namespace pyledger::hash
