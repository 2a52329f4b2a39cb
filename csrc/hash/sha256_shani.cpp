// SHA-256 by the SHA-NI instructions, two messages interleaved: two rounds are one instruction whose latency the other
// message's rounds hide.
#include <immintrin.h>

#include "hash/rows.h"

#define PYLEDGER_INLINE inline __attribute__((always_inline))

namespace pyledger::hash {
namespace {

// The order in which sha256rnds2 wants the state: abef = A, B, E, F and cdgh = C, D, G, H, high word first.
struct State {
  __m128i abef, cdgh;
};

PYLEDGER_INLINE State initial() {
  const uint32_t* s = kSha256Initial;
  const auto pack = [](uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return _mm_set_epi32(static_cast<int>(a), static_cast<int>(b), static_cast<int>(c), static_cast<int>(d));
  };
  return {pack(s[0], s[1], s[4], s[5]), pack(s[2], s[3], s[6], s[7])};
}

PYLEDGER_INLINE __m128i swap_bytes(__m128i x) {
  return _mm_shuffle_epi8(x, _mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203));
}

// Four rounds on the words in w[i]; for the first twelve groups also the words of this place sixteen rounds later.
template <int kLanes, int i, bool kExpand>
PYLEDGER_INLINE void four_rounds(const uint32_t* k, State* state, __m128i (*word)[4]) {
#pragma GCC unroll 2
  for (int lane = 0; lane < kLanes; lane++) {
    __m128i* w = word[lane];
    State& s = state[lane];
    __m128i keyed = _mm_add_epi32(w[i], _mm_load_si128(reinterpret_cast<const __m128i*>(k + 4 * i)));
    s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, keyed);
    keyed = _mm_shuffle_epi32(keyed, 0x0e);
    s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, keyed);
    if constexpr (kExpand) {
      const __m128i sigma0 = _mm_sha256msg1_epu32(w[i], w[(i + 1) & 3]);
      const __m128i seven_back = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
      w[i] = _mm_sha256msg2_epu32(_mm_add_epi32(sigma0, seven_back), w[(i + 3) & 3]);
    }
  }
}

template <int kLanes, bool kExpand>
PYLEDGER_INLINE void sixteen_rounds(const uint32_t* k, State* state, __m128i (*word)[4]) {
  four_rounds<kLanes, 0, kExpand>(k, state, word);
  four_rounds<kLanes, 1, kExpand>(k, state, word);
  four_rounds<kLanes, 2, kExpand>(k, state, word);
  four_rounds<kLanes, 3, kExpand>(k, state, word);
}

template <int kLanes>
PYLEDGER_INLINE void compress(State* state, const uint8_t* const* blocks) {
  State s[kLanes];
  __m128i word[kLanes][4];
#pragma GCC unroll 2
  for (int lane = 0; lane < kLanes; lane++) {
    s[lane] = state[lane];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      word[lane][i] = swap_bytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks[lane] + 16 * i)));
    }
  }
  sixteen_rounds<kLanes, true>(kSha256Round, s, word);
  sixteen_rounds<kLanes, true>(kSha256Round + 16, s, word);
  sixteen_rounds<kLanes, true>(kSha256Round + 32, s, word);
  sixteen_rounds<kLanes, false>(kSha256Round + 48, s, word);
#pragma GCC unroll 2
  for (int lane = 0; lane < kLanes; lane++) {
    state[lane].abef = _mm_add_epi32(state[lane].abef, s[lane].abef);
    state[lane].cdgh = _mm_add_epi32(state[lane].cdgh, s[lane].cdgh);
  }
}

PYLEDGER_INLINE void store(const State& state, uint8_t* digest) {
  const __m128i abcd = _mm_unpackhi_epi64(state.cdgh, state.abef);  // high word first: A, B, C, D
  const __m128i efgh = _mm_unpacklo_epi64(state.cdgh, state.abef);
  const __m128i reversed = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(digest), _mm_shuffle_epi8(abcd, reversed));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(digest + 16), _mm_shuffle_epi8(efgh, reversed));
}

// Copies the bytes of block number `index` of [prefix ||] message || padding.
PYLEDGER_INLINE void stage(const uint8_t* message, size_t size_bytes, int prefix, size_t index, uint8_t* block) {
  const size_t shift = prefix >= 0, total = size_bytes + shift, start = 64 * index;
  const size_t begin = index == 0 ? shift : 0;
  if (total >= start + 64) {
    block[0] = static_cast<uint8_t>(prefix);  // only a first block is staged whole, behind its prefix
    __builtin_memcpy(block + 1, message, 63);
    return;
  }
  __builtin_memset(block, 0, 64);
  if (begin) block[0] = static_cast<uint8_t>(prefix);
  if (total >= start) {
    if (total > start + begin)
      __builtin_memcpy(block + begin, message + (start + begin - shift), total - start - begin);
    block[total - start] = 0x80;
  }
  if (start + 56 > total) {
    const uint64_t bits_big_endian = __builtin_bswap64(uint64_t{total} << 3);
    __builtin_memcpy(block + 56, &bits_big_endian, 8);
  }
}

template <int kLanes>
PYLEDGER_INLINE void hash(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) {
  const size_t shift = prefix >= 0, total = size_bytes + shift;
  State state[kLanes];
  for (State& s : state) s = initial();
  alignas(16) uint8_t staged[kLanes][64];
  for (size_t index = 0; index < (total + 8) / 64 + 1; index++) {
    const bool direct = 64 * index + 64 <= total && (index > 0 || shift == 0);
    const uint8_t* blocks[kLanes];
    for (int lane = 0; lane < kLanes; lane++) {
      if (!direct) stage(messages[lane], size_bytes, prefix, index, staged[lane]);
      blocks[lane] = direct ? messages[lane] + 64 * index - shift : staged[lane];
    }
    compress<kLanes>(state, blocks);
  }
  for (int lane = 0; lane < kLanes; lane++) store(state[lane], digests[lane]);
}

}  // namespace

void sha256_shani_x2(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept {
  hash<2>(messages, size_bytes, prefix, digests);
}

void sha256_shani_x1(const uint8_t* const* messages, size_t size_bytes, int prefix, uint8_t* const* digests) noexcept {
  hash<1>(messages, size_bytes, prefix, digests);
}

}  // namespace pyledger::hash
