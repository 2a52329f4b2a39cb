// SHA-512 in plain C++, one message at a time: the row that every machine has.
#include <cstring>

#include "hash/rows.h"

namespace pyledger::hash {
namespace {

uint64_t rotate_right(uint64_t x, int bits) { return (x >> bits) | (x << (64 - bits)); }

uint64_t load_big_endian(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | bytes[i];
  return value;
}

void store_big_endian(uint64_t value, uint8_t* bytes) {
  for (int i = 0; i < 8; i++) bytes[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
}

// FIPS 180-4, 6.4.2.
void compress(uint64_t state[8], const uint8_t* block) {
  uint64_t w[80];
  for (int t = 0; t < 16; t++) w[t] = load_big_endian(block + 8 * t);
  for (int t = 16; t < 80; t++) {
    const uint64_t x = w[t - 15], y = w[t - 2];
    const uint64_t sigma0 = rotate_right(x, 1) ^ rotate_right(x, 8) ^ (x >> 7);
    const uint64_t sigma1 = rotate_right(y, 19) ^ rotate_right(y, 61) ^ (y >> 6);
    w[t] = w[t - 16] + sigma0 + w[t - 7] + sigma1;
  }
  uint64_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint64_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int t = 0; t < 80; t++) {
    const uint64_t sum1 = rotate_right(e, 14) ^ rotate_right(e, 18) ^ rotate_right(e, 41);
    const uint64_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + kSha512Round[t] + w[t];
    const uint64_t sum0 = rotate_right(a, 28) ^ rotate_right(a, 34) ^ rotate_right(a, 39);
    const uint64_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint64_t mixed[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; i++) state[i] += mixed[i];
}

}  // namespace

void sha512_scalar_x1(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept {
  uint64_t state[8];
  std::memcpy(state, kSha512Initial, sizeof state);
  const uint8_t* message = messages[0];
  size_t left = size_bytes;
  for (; left >= 128; message += 128, left -= 128) compress(state, message);

  uint8_t block[128] = {};
  if (left) std::memcpy(block, message, left);
  block[left] = 0x80;
  if (left >= 112) {
    compress(state, block);
    std::memset(block, 0, sizeof block);
  }
  // The length in bits is a 128-bit number; size_t bytes reach 67 bits of it.
  store_big_endian(uint64_t{size_bytes} >> 61, block + 112);
  store_big_endian(uint64_t{size_bytes} << 3, block + 120);
  compress(state, block);
  for (int i = 0; i < 8; i++) store_big_endian(state[i], digests[0] + 8 * i);
}

}  // namespace pyledger::hash
