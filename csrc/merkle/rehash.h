// Hashes again what a set of changed leaves touches in a tree whose every level is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "merkle/chunked_rows.h"

namespace pyledger::merkle {

// Nodes on level h of a tree of `size` leaves, size > 0.
inline uint64_t level_size(uint64_t size, unsigned h) noexcept { return ((size - 1) >> h) + 1; }

// Adds levels and nodes until `levels` hold a tree of `size` leaves: ceil(size / 2^h) nodes on level h, one at the top.
void grow_levels(std::vector<ChunkedRows>& levels, uint64_t size);

// Writes the leaf hashes of slots, strictly rising, to level 0 of the tree.
using HashLeaves = void (*)(const void* context, const uint32_t* slots, size_t count, ChunkedRows& hashes);

// Brings a tree of `size` leaves up to date after these slots changed (strictly rising; consumed as scratch). New slots
// count as changed. A node without a right sibling moves up as it is.
void rehash(std::vector<ChunkedRows>& levels, uint64_t size, std::vector<uint32_t>& slots, unsigned threads,
            HashLeaves hash_leaves, const void* context);

}  // namespace pyledger::merkle
