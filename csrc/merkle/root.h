// Leaf hashes and roots of RFC 6962 trees that are not kept.
//
// Tiles of leaves are hashed up in a buffer that stays in the nearest cache, as far as every lane is full; what is left
// of the tiles is hashed up again the same way. The root is the same for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "merkle/digest.h"

namespace pyledger::merkle {

// hashes[32 * i ..] = leaf hash of leaves[size_bytes * i ..], for i in [0, count).
void leaf_hashes(const uint8_t* leaves, size_t size_bytes, size_t count, unsigned threads, uint8_t* hashes);

// The same for leaves of any lengths: leaf i is buffer[offsets[i] .. offsets[i + 1]).
void leaf_hashes_ragged(const uint8_t* buffer, const uint64_t* offsets, size_t count, unsigned threads,
                        uint8_t* hashes);

Digest root(const uint8_t* leaves, size_t size_bytes, size_t count, unsigned threads);

Digest root_of_leaf_hashes(const uint8_t* hashes, size_t count, unsigned threads);

}  // namespace pyledger::merkle
