// SHA-256 in plain C++, one message at a time: the row that every machine has.
#include <cstring>

#include "hash/rows.h"

namespace pyledger::hash {
namespace {

uint32_t rotate_right(uint32_t x, int bits) { return (x >> bits) | (x << (32 - bits)); }

uint32_t load_big_endian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

void store_big_endian(uint32_t value, uint8_t* bytes) {
  for (int i = 0; i < 4; i++) bytes[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

// FIPS 180-4, 6.2.2.
void compress(uint32_t state[8], const uint8_t* block) {
  uint32_t w[64];
  for (int t = 0; t < 16; t++) w[t] = load_big_endian(block + 4 * t);
  for (int t = 16; t < 64; t++) {
    const uint32_t x = w[t - 15], y = w[t - 2];
    const uint32_t sigma0 = rotate_right(x, 7) ^ rotate_right(x, 18) ^ (x >> 3);
    const uint32_t sigma1 = rotate_right(y, 17) ^ rotate_right(y, 19) ^ (y >> 10);
    w[t] = w[t - 16] + sigma0 + w[t - 7] + sigma1;
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int t = 0; t < 64; t++) {
    const uint32_t sum1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
    const uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + kSha256Round[t] + w[t];
    const uint32_t sum0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
    const uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t mixed[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; i++) state[i] += mixed[i];
}

}  // namespace

void sha256_scalar_x1(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept {
  uint32_t state[8];
  std::memcpy(state, kSha256Initial, sizeof state);
  const uint8_t* message = messages[0];
  const size_t prefix_bytes = prefix >= 0;
  const size_t total = size_bytes + prefix_bytes;
  uint8_t block[64] = {static_cast<uint8_t>(prefix)};
  size_t filled = prefix_bytes, left = size_bytes;
  for (; filled + left >= 64; filled = 0) {
    const size_t taken = 64 - filled;
    if (filled) std::memcpy(block + filled, message, taken);
    compress(state, filled ? block : message);
    message += taken;
    left -= taken;
  }
  if (left) std::memcpy(block + filled, message, left);
  filled += left;
  block[filled++] = 0x80;
  if (filled > 56) {
    std::memset(block + filled, 0, 64 - filled);
    compress(state, block);
    filled = 0;
  }
  std::memset(block + filled, 0, 56 - filled);
  store_big_endian(static_cast<uint32_t>(uint64_t{total} >> 29), block + 56);
  store_big_endian(static_cast<uint32_t>(uint64_t{total} << 3), block + 60);
  compress(state, block);
  for (int i = 0; i < 8; i++) store_big_endian(state[i], digests[0] + 4 * i);
}

}  // namespace pyledger::hash
