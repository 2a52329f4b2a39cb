// SHA-256 of 16 messages in the 16 lanes of AVX-512: three-way logic and rotations are single instructions, so a
// compression is bound by two ports at about 812 cycles.
#include <immintrin.h>

#include "hash/lanes.h"

namespace pyledger::hash {
namespace {

__m512i swap_bytes(__m512i x) {
  return _mm512_shuffle_epi8(x, _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203));
}

// Rows become columns: r[i] lane j and r[j] lane i change places.
PYLEDGER_INLINE void transpose(__m512i r[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

struct Avx512 {
  using Word = uint32_t;
  using Vector = __m512i;
  static constexpr int kLanes = 16;
  static constexpr int kRounds = 64;
  static const Word* round_constants() { return kSha256Round; }
  static const Word* initial() { return kSha256Initial; }

  PYLEDGER_INLINE static Vector broadcast(Word x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  PYLEDGER_INLINE static Vector load_words(const Word* words) { return _mm512_load_si512(words); }
  PYLEDGER_INLINE static Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
  PYLEDGER_INLINE static Vector either(Vector a, Vector b) { return _mm512_or_si512(a, b); }
  PYLEDGER_INLINE static Vector parity(Vector a, Vector b, Vector c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
  PYLEDGER_INLINE static Vector choose(Vector e, Vector f, Vector g) { return _mm512_ternarylogic_epi32(e, f, g, 0xca); }
  PYLEDGER_INLINE static Vector majority(Vector a, Vector b, Vector c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0xe8);
  }
  PYLEDGER_INLINE static Vector sum0(Vector x) {
    return parity(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22));
  }
  PYLEDGER_INLINE static Vector sum1(Vector x) {
    return parity(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25));
  }
  PYLEDGER_INLINE static Vector sigma0(Vector x) {
    return parity(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3));
  }
  PYLEDGER_INLINE static Vector sigma1(Vector x) {
    return parity(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10));
  }

  // Bytes [begin, end) of the block are the message's from offset + begin on, the others zero: a masked byte is never
  // touched, so offset may lie one before the message where a prefix stands.
  PYLEDGER_INLINE static void load(const uint8_t* const* messages, size_t offset, size_t begin, size_t end,
                                   Vector* word) {
    const __mmask64 mask = (~uint64_t{0} >> (64 - end)) & (~uint64_t{0} << begin);
#pragma GCC unroll 16
    for (int lane = 0; lane < 16; lane++) {
      const auto address = reinterpret_cast<uintptr_t>(messages[lane]) + offset;
      word[lane] = _mm512_maskz_loadu_epi8(mask, reinterpret_cast<const void*>(address));
    }
    transpose(word);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) word[i] = swap_bytes(word[i]);
  }

  // The eight words of a lane come together in two rounds of unpacking within 128-bit quarters; lane 4 q + j is then
  // quarter q of low[j] (words 0-3) and high[j] (words 4-7).
  PYLEDGER_INLINE static void store(const Vector* state, uint8_t* const* digests) {
    alignas(64) uint8_t quarters[8][64];
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      const Vector* s = state + 4 * half;
      const Vector t0 = _mm512_unpacklo_epi32(s[0], s[1]), t1 = _mm512_unpackhi_epi32(s[0], s[1]);
      const Vector t2 = _mm512_unpacklo_epi32(s[2], s[3]), t3 = _mm512_unpackhi_epi32(s[2], s[3]);
      const Vector lanes[4] = {_mm512_unpacklo_epi64(t0, t2), _mm512_unpackhi_epi64(t0, t2),
                               _mm512_unpacklo_epi64(t1, t3), _mm512_unpackhi_epi64(t1, t3)};
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) _mm512_store_si512(quarters[4 * half + j], swap_bytes(lanes[j]));
    }
    for (int lane = 0; lane < 16; lane++) {
      for (int half = 0; half < 2; half++) {
        const auto* words = reinterpret_cast<const __m128i*>(quarters[4 * half + lane % 4] + 16 * (lane / 4));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(digests[lane] + 16 * half), _mm_load_si128(words));
      }
    }
  }
};

}  // namespace

void sha256_avx512_x16(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept {
  hash_lanes<Avx512>(messages, size_bytes, prefix, digests);
}

}  // namespace pyledger::hash
