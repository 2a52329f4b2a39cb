// SHA-2 over equal-length messages, one message a lane, for any vector type: rounds, padding and prefix (FIPS 180-4).
//
// Included by the files of one instruction set each; all names have internal linkage, so that no body compiled for one
// set can serve another. `Simd` brings the vector operations; words are those of the family (32 or 64 bits), and
// word[i] holds word i of every lane's block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hash/rows.h"

#define PYLEDGER_INLINE inline __attribute__((always_inline))

namespace pyledger::hash {
namespace {

// One round; with kExpand also the word that this place of the schedule holds sixteen rounds later.
template <class Simd, bool kExpand, int i, class Vector = typename Simd::Vector>
PYLEDGER_INLINE void round(const typename Simd::Word* k, Vector* word, Vector a, Vector b, Vector c, Vector& d,
                           Vector e, Vector f, Vector g, Vector& h) {
  const Vector keyed = Simd::add(h, Simd::add(word[i], Simd::broadcast(k[i])));
  const Vector t = Simd::add(Simd::add(keyed, Simd::choose(e, f, g)), Simd::sum1(e));
  d = Simd::add(d, t);
  h = Simd::add(Simd::add(t, Simd::majority(a, b, c)), Simd::sum0(a));
  if constexpr (kExpand) {
    const Vector far = Simd::add(word[i], word[(i + 9) & 15]);
    word[i] = Simd::add(far, Simd::add(Simd::sigma0(word[(i + 1) & 15]), Simd::sigma1(word[(i + 14) & 15])));
  }
}

template <class Simd, bool kExpand, int i, class Vector = typename Simd::Vector>
PYLEDGER_INLINE void eight_rounds(const typename Simd::Word* k, Vector* word, Vector* s) {
  round<Simd, kExpand, i + 0>(k, word, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
  round<Simd, kExpand, i + 1>(k, word, s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6]);
  round<Simd, kExpand, i + 2>(k, word, s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5]);
  round<Simd, kExpand, i + 3>(k, word, s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4]);
  round<Simd, kExpand, i + 4>(k, word, s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3]);
  round<Simd, kExpand, i + 5>(k, word, s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2]);
  round<Simd, kExpand, i + 6>(k, word, s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1]);
  round<Simd, kExpand, i + 7>(k, word, s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0]);
}

template <class Simd, class Vector = typename Simd::Vector>
PYLEDGER_INLINE void eight_known_rounds(const typename Simd::Word* keyed, Vector* s) {
  Vector word[16];
  for (int i = 0; i < 8; i++) word[i] = Simd::broadcast(0);
  eight_rounds<Simd, false, 0>(keyed, word, s);
}

// The first sixteen rounds, and words 16 to 31 of the schedule, where words 1 to 14 are zero: a last block of less than
// one word of message. Most terms of FIPS 180-4, 6.2.2, step 1 vanish, and words 17, 19 and 21 depend on the length
// alone.
template <class Simd, class Vector = typename Simd::Vector>
PYLEDGER_INLINE void short_rounds(const typename Simd::Word* k, Vector* word, Vector* s) {
  const Vector first = word[0], length = word[15];
#pragma GCC unroll 14
  for (int i = 1; i < 15; i++) word[i] = Simd::broadcast(0);
  eight_rounds<Simd, false, 0>(k, word, s);
  eight_rounds<Simd, false, 8>(k, word, s);
  word[0] = first;
  word[1] = Simd::sigma1(length);
#pragma GCC unroll 4
  for (int i = 2; i < 6; i++) word[i] = Simd::sigma1(word[i - 2]);
  word[6] = Simd::add(Simd::sigma1(word[4]), length);
#pragma GCC unroll 9
  for (int i = 7; i < 16; i++) word[i] = Simd::add(Simd::sigma1(word[i - 2]), word[i - 7]);
  word[14] = Simd::add(word[14], Simd::sigma0(length));
  word[15] = Simd::add(word[15], Simd::add(Simd::sigma0(first), length));
}

// Kept out of line: one copy of the rounds stays in the CPU's cache of decoded instructions. The copies are unrolled so
// that GCC keeps the arrays in registers.
template <class Simd>
__attribute__((noinline)) void compress(typename Simd::Vector* state, const typename Simd::Vector* block,
                                        bool is_short) {
  typename Simd::Vector s[8], word[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) s[i] = state[i];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) word[i] = block[i];
  const typename Simd::Word* k = Simd::round_constants();
  int r = 0;
  if (is_short) {
    short_rounds<Simd>(k, word, s);
    r += 16, k += 16;
  }
  for (; r < Simd::kRounds - 16; r += 16, k += 16) {
    eight_rounds<Simd, true, 0>(k, word, s);
    eight_rounds<Simd, true, 8>(k, word, s);
  }
  eight_rounds<Simd, false, 0>(k, word, s);
  eight_rounds<Simd, false, 8>(k, word, s);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) state[i] = Simd::add(state[i], s[i]);
}

// The rounds on a block that is the same for all: `keyed` holds its words of all rounds, constants added.
template <class Simd>
__attribute__((noinline)) void compress_known(typename Simd::Vector* state, const typename Simd::Word* keyed) {
  typename Simd::Vector s[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) s[i] = state[i];
  for (int r = 0; r < Simd::kRounds; r += 8, keyed += 8) eight_known_rounds<Simd>(keyed, s);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) state[i] = Simd::add(state[i], s[i]);
}

// Sets word 0 from the last bytes of the messages where they are fewer than a word: no transposition, the other words
// are zero.
template <class Simd>
PYLEDGER_INLINE void load_last_bytes(const uint8_t* const* messages, size_t size_bytes, size_t bytes,
                                     typename Simd::Vector* word) {
  using Word = typename Simd::Word;
  alignas(64) Word first[Simd::kLanes];
  for (int lane = 0; lane < Simd::kLanes; lane++) {
    Word value = 0;
    for (size_t i = bytes; i > 0; i--) value = value << 8 | messages[lane][size_bytes - i];
    first[lane] = value << 8 * (sizeof(Word) - bytes);
  }
  word[0] = Simd::load_words(first);
  for (int i = 1; i < 16; i++) word[i] = Simd::broadcast(0);
}

template <class Simd>
PYLEDGER_INLINE void or_into(typename Simd::Vector& vector, typename Simd::Word value) {
  vector = Simd::either(vector, Simd::broadcast(value));
}

// Fills `word` with block number `index` of [prefix ||] message || padding.
template <class Simd>
PYLEDGER_INLINE void fill_block(const uint8_t* const* messages, size_t size_bytes, int prefix, size_t index,
                                typename Simd::Vector* word) {
  using Word = typename Simd::Word;
  constexpr size_t kBlock = 16 * sizeof(Word);
  const size_t shift = prefix >= 0, total = size_bytes + shift;
  const size_t start = index * kBlock;
  const size_t begin = index == 0 ? shift : 0;
  const size_t end = total - start < kBlock ? total - start : kBlock;  // total < start only in a padding block
  if (total <= start) {
    for (int i = 0; i < 16; i++) word[i] = Simd::broadcast(0);
  } else if (begin == 0 && end < sizeof(Word)) {
    load_last_bytes<Simd>(messages, size_bytes, end, word);
  } else {
    Simd::load(messages, start - shift, begin, end, word);
  }
  if (begin == 1) or_into<Simd>(word[0], static_cast<Word>(prefix) << (8 * (sizeof(Word) - 1)));
  if (total >= start && total - start < kBlock) {
    const size_t place = total - start;
    or_into<Simd>(word[place / sizeof(Word)], Word{0x80} << (8 * (sizeof(Word) - 1 - place % sizeof(Word))));
  }
  if (start + kBlock - 2 * sizeof(Word) > total) {
    const uint64_t bits = uint64_t{total} << 3;
    word[14] = Simd::broadcast(static_cast<Word>(sizeof(Word) == 4 ? bits >> 32 : uint64_t{total} >> 61));
    word[15] = Simd::broadcast(static_cast<Word>(bits));
  }
}

template <class Simd>
PYLEDGER_INLINE void hash_lanes(const uint8_t* const* messages, size_t size_bytes, int prefix,
                                uint8_t* const* digests) {
  using Word = typename Simd::Word;
  const size_t total = size_bytes + (prefix >= 0);
  const size_t blocks = (total + 2 * sizeof(Word)) / (16 * sizeof(Word)) + 1;  // 0x80 and the length fit behind
  typename Simd::Vector state[8], word[16];
  for (int i = 0; i < 8; i++) state[i] = Simd::broadcast(Simd::initial()[i]);
  const bool known_padding = sizeof(Word) == 4 && total == 64;
  const bool short_end = blocks > 1 && total % (16 * sizeof(Word)) < sizeof(Word) && total < size_t{1} << 29;
  for (size_t index = 0; index < blocks - known_padding; index++) {
    fill_block<Simd>(messages, size_bytes, prefix, index, word);
    compress<Simd>(state, word, index + 1 == blocks && short_end);
  }
  if constexpr (sizeof(Word) == 4) {
    if (known_padding) compress_known<Simd>(state, kSha256KeyedPadding64.word);
  }
  Simd::store(state, digests);
}

}  // namespace
}  // namespace pyledger::hash
