// SHA-256 of 8 messages in the 8 lanes of AVX2.
#include <immintrin.h>

#include "hash/lanes.h"

namespace pyledger::hash {
namespace {

__m256i swap_bytes(__m256i x) {
  const __m128i order = _mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
  return _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order));
}

// Rows become columns: r[i] lane j and r[j] lane i change places.
PYLEDGER_INLINE void transpose(__m256i r[8]) {
  __m256i t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) r[i] = t[i];
}

__m256i load_half(const uint8_t* bytes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)); }

// Zero, then the first 31 bytes.
__m256i load_half_behind_zero(const uint8_t* bytes) {
  const __m256i x = load_half(bytes);
  return _mm256_alignr_epi8(x, _mm256_permute2x128_si256(x, x, 0x08), 15);
}

struct Avx2 {
  using Word = uint32_t;
  using Vector = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kRounds = 64;
  static const Word* round_constants() { return kSha256Round; }
  static const Word* initial() { return kSha256Initial; }

  PYLEDGER_INLINE static Vector broadcast(Word x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  PYLEDGER_INLINE static Vector load_words(const Word* words) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
  }
  PYLEDGER_INLINE static Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
  PYLEDGER_INLINE static Vector either(Vector a, Vector b) { return _mm256_or_si256(a, b); }
  PYLEDGER_INLINE static Vector parity(Vector a, Vector b, Vector c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
  }
  template <int kBits>
  PYLEDGER_INLINE static Vector rotate_right(Vector x) {
    return _mm256_xor_si256(_mm256_srli_epi32(x, kBits), _mm256_slli_epi32(x, 32 - kBits));
  }
  PYLEDGER_INLINE static Vector choose(Vector e, Vector f, Vector g) {
    return _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(f, g), e), g);
  }
  PYLEDGER_INLINE static Vector majority(Vector a, Vector b, Vector c) {
    return _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)), b);
  }
  PYLEDGER_INLINE static Vector sum0(Vector x) {
    return parity(rotate_right<2>(x), rotate_right<13>(x), rotate_right<22>(x));
  }
  PYLEDGER_INLINE static Vector sum1(Vector x) {
    return parity(rotate_right<6>(x), rotate_right<11>(x), rotate_right<25>(x));
  }
  PYLEDGER_INLINE static Vector sigma0(Vector x) {
    return parity(rotate_right<7>(x), rotate_right<18>(x), _mm256_srli_epi32(x, 3));
  }
  PYLEDGER_INLINE static Vector sigma1(Vector x) {
    return parity(rotate_right<17>(x), rotate_right<19>(x), _mm256_srli_epi32(x, 10));
  }

  // Bytes [begin, end) of the block are the message's from offset + begin on, the others zero.
  PYLEDGER_INLINE static void load(const uint8_t* const* messages, size_t offset, size_t begin, size_t end,
                                   Vector* word) {
    if (end < 64) {
      load_part(messages, offset, begin, end, word);
    } else if (begin == 1) {
      for (int lane = 0; lane < 8; lane++) {
        word[lane] = load_half_behind_zero(messages[lane]);
        word[lane + 8] = load_half(messages[lane] + 31);
      }
    } else {
      for (int lane = 0; lane < 8; lane++) {
        word[lane] = load_half(messages[lane] + offset);
        word[lane + 8] = load_half(messages[lane] + offset + 32);
      }
    }
    transpose(word);
    transpose(word + 8);
    for (int i = 0; i < 16; i++) word[i] = swap_bytes(word[i]);
  }

  static void load_part(const uint8_t* const* messages, size_t offset, size_t begin, size_t end, Vector* word) {
    alignas(32) uint8_t block[64] = {};
    for (int lane = 0; lane < 8; lane++) {
      if (end > begin) __builtin_memcpy(block + begin, messages[lane] + (offset + begin), end - begin);
      word[lane] = load_half(block);
      word[lane + 8] = load_half(block + 32);
    }
  }

  PYLEDGER_INLINE static void store(const Vector* state, uint8_t* const* digests) {
    Vector rows[8];
    for (int i = 0; i < 8; i++) rows[i] = swap_bytes(state[i]);
    transpose(rows);
    for (int lane = 0; lane < 8; lane++) _mm256_storeu_si256(reinterpret_cast<__m256i*>(digests[lane]), rows[lane]);
  }
};

}  // namespace

void sha256_avx2_x8(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept {
  hash_lanes<Avx2>(messages, size_bytes, prefix, digests);
}

}  // namespace pyledger::hash
