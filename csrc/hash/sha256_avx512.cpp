// SHA-256 of 16 messages in the 16 lanes of AVX-512: three-way logic and rotations are single instructions, so a
// compression is bound by two ports at about 812 cycles.
#include <immintrin.h>

#include "hash/lanes.h"

namespace pyledger::hash {
namespace {

__m512i in_each_quarter(__m128i x) { return _mm512_broadcast_i32x4(x); }

// Orders of bytes that make big-endian words; the second also moves them one byte up, behind a zero.
__m512i swapped() { return in_each_quarter(_mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203)); }
__m512i swapped_behind_zero() {
  return in_each_quarter(_mm_set_epi32(0x0b0c0d0e, 0x0708090a, 0x03040506, static_cast<int>(0x80000102)));
}

__m128i load_16(const uint8_t* bytes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)); }

// In each 128-bit quarter, rows become columns.
PYLEDGER_INLINE void transpose_quarters(const __m512i* rows, __m512i* columns) {
  const __m512i t0 = _mm512_unpacklo_epi32(rows[0], rows[1]), t1 = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i t2 = _mm512_unpacklo_epi32(rows[2], rows[3]), t3 = _mm512_unpackhi_epi32(rows[2], rows[3]);
  columns[0] = _mm512_unpacklo_epi64(t0, t2);
  columns[1] = _mm512_unpackhi_epi64(t0, t2);
  columns[2] = _mm512_unpacklo_epi64(t1, t3);
  columns[3] = _mm512_unpackhi_epi64(t1, t3);
}

// Four words of every lane from 16 bytes at messages[lane] + offset. Quarters are put together by masked broadcasts
// from memory, which leave the one port that shuffles to the transposition.
PYLEDGER_INLINE void load_four_words(const uint8_t* const* messages, size_t offset, __m512i order, __m512i* word) {
  __m512i rows[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    __m512i row = _mm512_castsi128_si512(load_16(messages[i] + offset));
    row = _mm512_mask_broadcast_i32x4(row, 0x00f0, load_16(messages[i + 4] + offset));
    row = _mm512_mask_broadcast_i32x4(row, 0x0f00, load_16(messages[i + 8] + offset));
    row = _mm512_mask_broadcast_i32x4(row, 0xf000, load_16(messages[i + 12] + offset));
    rows[i] = _mm512_shuffle_epi8(row, order);
  }
  transpose_quarters(rows, word);
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
  PYLEDGER_INLINE static Vector parity(Vector a, Vector b, Vector c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
  }
  PYLEDGER_INLINE static Vector choose(Vector e, Vector f, Vector g) {
    return _mm512_ternarylogic_epi32(e, f, g, 0xca);
  }
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

  // Bytes [begin, end) of the block are the message's from offset + begin on, the others zero.
  PYLEDGER_INLINE static void load(const uint8_t* const* messages, size_t offset, size_t begin, size_t end,
                                   Vector* word) {
    if (end == 64) {
      load_four_words(messages, offset + begin, begin ? swapped_behind_zero() : swapped(), word);
#pragma GCC unroll 3
      for (size_t i = 4; i < 16; i += 4) load_four_words(messages, offset + 4 * i, swapped(), word + i);
    } else {
      load_part(messages, offset, begin, end, word);
    }
  }

  // A masked byte is never touched, so offset may lie one before the message where a prefix stands.
  PYLEDGER_INLINE static void load_part(const uint8_t* const* messages, size_t offset, size_t begin, size_t end,
                                        Vector* word) {
    const __mmask64 mask = (~uint64_t{0} >> (64 - end)) & (~uint64_t{0} << begin);
    alignas(64) uint8_t blocks[16][64];
    const uint8_t* staged[16];
    for (int lane = 0; lane < 16; lane++) {
      const auto address = reinterpret_cast<uintptr_t>(messages[lane]) + offset;
      _mm512_store_si512(blocks[lane], _mm512_maskz_loadu_epi8(mask, reinterpret_cast<const void*>(address)));
      staged[lane] = blocks[lane];
    }
    asm volatile("" : : "r"(blocks) : "memory");  // else GCC takes the quarters out by shuffles, on the scarce port
    for (size_t i = 0; i < 16; i += 4) {
      if (4 * i < end) {
        load_four_words(staged, 4 * i, swapped(), word + i);
      } else {
        for (int j = 0; j < 4; j++) word[i + j] = _mm512_setzero_si512();
      }
    }
  }

  // Lane 4 q + j is quarter q of row j of quarters (words 0-3) and of row 4 + j (words 4-7).
  PYLEDGER_INLINE static void store(const Vector* state, uint8_t* const* digests) {
    alignas(64) uint8_t quarters[8][64];
#pragma GCC unroll 2
    for (int half = 0; half < 8; half += 4) {
      Vector lanes[4];
      transpose_quarters(state + half, lanes);
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) _mm512_store_si512(quarters[half + j], _mm512_shuffle_epi8(lanes[j], swapped()));
    }
    asm volatile("" : : "r"(quarters) : "memory");  // else GCC takes the quarters out by shuffles, on the scarce port
    for (int lane = 0; lane < 16; lane++) {
      for (int half = 0; half < 2; half++) {
        const __m128i words = load_16(quarters[4 * half + lane % 4] + 16 * (lane / 4));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(digests[lane] + 16 * half), words);
      }
    }
  }
};

}  // namespace

void sha256_avx512_x16(const uint8_t* const* messages, size_t size_bytes, int prefix,
                       uint8_t* const* digests) noexcept {
  hash_lanes<Avx512>(messages, size_bytes, prefix, digests);
}

}  // namespace pyledger::hash
