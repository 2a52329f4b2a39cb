// SHA-512 of 4 messages in the 4 lanes of AVX2.
#include <immintrin.h>

#include "hash/lanes.h"

namespace pyledger::hash {
namespace {

__m256i swap_bytes(__m256i x) {
  const __m128i order = _mm_set_epi32(0x08090a0b, 0x0c0d0e0f, 0x00010203, 0x04050607);
  return _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order));
}

// Rows become columns: r[i] lane j and r[j] lane i change places.
PYLEDGER_INLINE void transpose(__m256i r[4]) {
  const __m256i t0 = _mm256_unpacklo_epi64(r[0], r[1]), t1 = _mm256_unpackhi_epi64(r[0], r[1]);
  const __m256i t2 = _mm256_unpacklo_epi64(r[2], r[3]), t3 = _mm256_unpackhi_epi64(r[2], r[3]);
  r[0] = _mm256_permute2x128_si256(t0, t2, 0x20);
  r[1] = _mm256_permute2x128_si256(t1, t3, 0x20);
  r[2] = _mm256_permute2x128_si256(t0, t2, 0x31);
  r[3] = _mm256_permute2x128_si256(t1, t3, 0x31);
}

struct Avx2 {
  using Word = uint64_t;
  using Vector = __m256i;
  static constexpr int kLanes = 4;
  static constexpr int kRounds = 80;
  static const Word* round_constants() { return kSha512Round; }
  static const Word* initial() { return kSha512Initial; }

  PYLEDGER_INLINE static Vector broadcast(Word x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
  PYLEDGER_INLINE static Vector load_words(const Word* words) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
  }
  PYLEDGER_INLINE static Vector add(Vector a, Vector b) { return _mm256_add_epi64(a, b); }
  PYLEDGER_INLINE static Vector either(Vector a, Vector b) { return _mm256_or_si256(a, b); }
  PYLEDGER_INLINE static Vector parity(Vector a, Vector b, Vector c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
  }
  template <int kBits>
  PYLEDGER_INLINE static Vector rotate_right(Vector x) {
    return _mm256_xor_si256(_mm256_srli_epi64(x, kBits), _mm256_slli_epi64(x, 64 - kBits));
  }
  PYLEDGER_INLINE static Vector choose(Vector e, Vector f, Vector g) {
    return _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(f, g), e), g);
  }
  PYLEDGER_INLINE static Vector majority(Vector a, Vector b, Vector c) {
    return _mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)), b);
  }
  PYLEDGER_INLINE static Vector sum0(Vector x) {
    return parity(rotate_right<28>(x), rotate_right<34>(x), rotate_right<39>(x));
  }
  PYLEDGER_INLINE static Vector sum1(Vector x) {
    return parity(rotate_right<14>(x), rotate_right<18>(x), rotate_right<41>(x));
  }
  PYLEDGER_INLINE static Vector sigma0(Vector x) {
    return parity(rotate_right<1>(x), rotate_right<8>(x), _mm256_srli_epi64(x, 7));
  }
  PYLEDGER_INLINE static Vector sigma1(Vector x) {
    return parity(rotate_right<19>(x), rotate_right<61>(x), _mm256_srli_epi64(x, 6));
  }

  // Bytes [0, end) of the block are the message's from offset on, the others zero.
  PYLEDGER_INLINE static void load(const uint8_t* const* messages, size_t offset, size_t, size_t end, Vector* word) {
    alignas(32) uint8_t part[128] = {};
    for (int lane = 0; lane < 4; lane++) {
      const uint8_t* block = messages[lane] + offset;
      if (end < 128) {
        __builtin_memcpy(part, block, end);
        block = part;
      }
      for (int i = 0; i < 4; i++) {
        word[4 * i + lane] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32 * i));
      }
    }
    for (int i = 0; i < 16; i += 4) transpose(word + i);
    for (int i = 0; i < 16; i++) word[i] = swap_bytes(word[i]);
  }

  PYLEDGER_INLINE static void store(const Vector* state, uint8_t* const* digests) {
    for (int half = 0; half < 2; half++) {
      Vector rows[4];
      for (int i = 0; i < 4; i++) rows[i] = swap_bytes(state[4 * half + i]);
      transpose(rows);
      for (int lane = 0; lane < 4; lane++) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(digests[lane] + 32 * half), rows[lane]);
      }
    }
  }
};

}  // namespace

void sha512_avx2_x4(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept {
  hash_lanes<Avx2>(messages, size_bytes, -1, digests);
}

}  // namespace pyledger::hash
