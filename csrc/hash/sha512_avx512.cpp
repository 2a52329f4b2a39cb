// SHA-512 of 8 messages in the 8 lanes of AVX-512.
#include <immintrin.h>

#include "hash/lanes.h"

namespace pyledger::hash {
namespace {

__m512i swap_bytes(__m512i x) {
  return _mm512_shuffle_epi8(x, _mm512_set4_epi32(0x08090a0b, 0x0c0d0e0f, 0x00010203, 0x04050607));
}

// Rows become columns: r[i] lane j and r[j] lane i change places.
PYLEDGER_INLINE void transpose(__m512i r[8]) {
  __m512i t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    r[i] = _mm512_shuffle_i64x2(t[i], t[i + 2], 0x88);
    r[i + 2] = _mm512_shuffle_i64x2(t[i], t[i + 2], 0xdd);
    r[i + 4] = _mm512_shuffle_i64x2(t[i + 4], t[i + 6], 0x88);
    r[i + 6] = _mm512_shuffle_i64x2(t[i + 4], t[i + 6], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i64x2(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i64x2(r[i], r[i + 4], 0xdd);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) r[i] = t[i];
}

struct Avx512 {
  using Word = uint64_t;
  using Vector = __m512i;
  static constexpr int kLanes = 8;
  static constexpr int kRounds = 80;
  static const Word* round_constants() { return kSha512Round; }
  static const Word* initial() { return kSha512Initial; }

  PYLEDGER_INLINE static Vector broadcast(Word x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
  PYLEDGER_INLINE static Vector load_words(const Word* words) { return _mm512_load_si512(words); }
  PYLEDGER_INLINE static Vector add(Vector a, Vector b) { return _mm512_add_epi64(a, b); }
  PYLEDGER_INLINE static Vector either(Vector a, Vector b) { return _mm512_or_si512(a, b); }
  PYLEDGER_INLINE static Vector parity(Vector a, Vector b, Vector c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
  }
  PYLEDGER_INLINE static Vector choose(Vector e, Vector f, Vector g) {
    return _mm512_ternarylogic_epi64(e, f, g, 0xca);
  }
  PYLEDGER_INLINE static Vector majority(Vector a, Vector b, Vector c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0xe8);
  }
  PYLEDGER_INLINE static Vector sum0(Vector x) {
    return parity(_mm512_ror_epi64(x, 28), _mm512_ror_epi64(x, 34), _mm512_ror_epi64(x, 39));
  }
  PYLEDGER_INLINE static Vector sum1(Vector x) {
    return parity(_mm512_ror_epi64(x, 14), _mm512_ror_epi64(x, 18), _mm512_ror_epi64(x, 41));
  }
  PYLEDGER_INLINE static Vector sigma0(Vector x) {
    return parity(_mm512_ror_epi64(x, 1), _mm512_ror_epi64(x, 8), _mm512_srli_epi64(x, 7));
  }
  PYLEDGER_INLINE static Vector sigma1(Vector x) {
    return parity(_mm512_ror_epi64(x, 19), _mm512_ror_epi64(x, 61), _mm512_srli_epi64(x, 6));
  }

  // Bytes [0, end) of the block are the message's from offset on, the others zero; a masked byte is never touched.
  PYLEDGER_INLINE static void load(const uint8_t* const* messages, size_t offset, size_t, size_t end, Vector* word) {
    const __mmask64 low = end >= 64 ? ~uint64_t{0} : ~(~uint64_t{0} << end);
    const __mmask64 high = end <= 64 ? 0 : ~uint64_t{0} >> (128 - end);
#pragma GCC unroll 8
    for (int lane = 0; lane < 8; lane++) {
      word[lane] = _mm512_maskz_loadu_epi8(low, messages[lane] + offset);
      word[lane + 8] = _mm512_maskz_loadu_epi8(high, messages[lane] + offset + 64);
    }
    transpose(word);
    transpose(word + 8);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) word[i] = swap_bytes(word[i]);
  }

  PYLEDGER_INLINE static void store(const Vector* state, uint8_t* const* digests) {
    Vector rows[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) rows[i] = swap_bytes(state[i]);
    transpose(rows);
#pragma GCC unroll 8
    for (int lane = 0; lane < 8; lane++) _mm512_storeu_si512(digests[lane], rows[lane]);
  }
};

}  // namespace

void sha512_avx512_x8(const uint8_t* const* messages, size_t size_bytes, uint8_t* const* digests) noexcept {
  hash_lanes<Avx512>(messages, size_bytes, -1, digests);
}

}  // namespace pyledger::hash
