#include "store/checksum.h"

#include <cstring>

namespace pyledger::store {
namespace {

constexpr uint64_t kOdd[4] = {0x9E37'79B9'7F4A'7C15, 0xC2B2'AE3D'27D4'EB4F, 0x1656'67B1'9E37'79F9,
                              0xD6E8'FEB8'6659'FD93};

// The upper and lower half of the product, so that each bit of the input reaches all of the output.
uint64_t folded_product(uint64_t a, uint64_t b) noexcept {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load(const uint8_t* bytes, size_t count) noexcept {
  uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

// A lane's state goes on through a step without loss: for a given word it is a permutation of the state.
uint64_t step(uint64_t state, uint64_t word, uint64_t odd) noexcept {
  state = (state ^ word) * odd;
  return state ^ state >> 29;
}

}  // namespace

uint64_t checksum(const void* data, size_t bytes) noexcept {
  const auto* at = static_cast<const uint8_t*>(data);
  const uint64_t length = bytes;
  uint64_t lanes[4] = {kOdd[3], kOdd[2], kOdd[1], kOdd[0]};
  for (; bytes >= 32; at += 32, bytes -= 32) {
    for (int lane = 0; lane < 4; lane++) lanes[lane] = step(lanes[lane], load(at + 8 * lane, 8), kOdd[lane]);
  }
  uint64_t sum = length;
  for (int lane = 0; lane < 4; lane++) sum = step(sum, lanes[lane], kOdd[lane]);
  for (; bytes > 0; at += 8) {
    const size_t part = bytes < 8 ? bytes : 8;
    sum = step(sum, load(at, part), kOdd[0]);
    bytes -= part;
  }
  return folded_product(sum ^ kOdd[1], kOdd[2]);
}

}  // namespace pyledger::store
