#include "merkle/rehash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hash/sha256.h"
#include "merkle/digest.h"
#include "parallel/pool.h"

namespace pyledger::merkle {
namespace {

constexpr unsigned kChunkRowsLog2 = 16;  // 2 MiB of hashes
constexpr size_t kGroup = 16;            // nodes hashed at once: as many as the widest row has lanes
constexpr size_t kGroups = 4;            // a group is hashed when the lines of this many have been asked for
constexpr size_t kTaskSlots = 8192;      // their nodes stay in the second cache from level to level

// A group of nodes to be hashed. Its lines are asked for some groups ahead, a few at a time: a core waits for no more
// than a dozen or so at once.
struct Group {
  const uint8_t* pairs[kGroup];
  uint8_t* nodes[kGroup];
  size_t count = 0;

  void add(const uint8_t* pair, uint8_t* node) noexcept {
    __builtin_prefetch(pair);
    __builtin_prefetch(node, 1);
    pairs[count] = pair;
    nodes[count++] = node;
  }
  void hash() noexcept {
    hash::sha256_gather(pairs, 2 * kDigestBytes, count, kNodePrefix, nodes);
    count = 0;
  }
};

// Turns changed nodes of level h - 1, strictly rising, into their parents on level h and hashes those. Returns how
// many.
size_t hash_parents(std::vector<ChunkedRows>& levels, unsigned h, uint64_t size, uint32_t* places,
                    size_t count) noexcept {
  ChunkedRows& below = levels[h - 1];
  ChunkedRows& level = levels[h];
  const uint64_t last_below = level_size(size, h - 1) - 1;
  size_t parents = 0;
  for (size_t i = 0; i < count; i++) {
    const uint32_t parent = places[i] / 2;
    if (parents == 0 || places[parents - 1] != parent) places[parents++] = parent;
  }
  Group groups[kGroups];
  size_t current = 0;
  for (size_t i = 0; i < parents; i++) {
    const size_t left = 2 * size_t{places[i]};
    if (left == last_below) {
      std::memcpy(level.row(places[i]), below.row(left), kDigestBytes);
      continue;
    }
    groups[current].add(below.row(left), level.row(places[i]));
    if (groups[current].count == kGroup) {
      current = (current + 1) % kGroups;
      groups[current].hash();
    }
  }
  for (size_t i = 1; i <= kGroups; i++) groups[(current + i) % kGroups].hash();
  return parents;
}

// Height at which about `wanted` subtrees make up the tree.
unsigned cut_height(uint64_t size, size_t wanted) {
  const int height = std::bit_width(size - 1), cut = std::bit_width(wanted - 1);
  return static_cast<unsigned>(std::max(0, height - cut));
}

}  // namespace

void grow_levels(std::vector<ChunkedRows>& levels, uint64_t size) {
  const size_t height = std::bit_width(size - 1) + size_t{1};
  while (levels.size() < height) levels.emplace_back(kDigestBytes, kChunkRowsLog2);
  for (unsigned h = 0; h < height; h++) levels[h].grow(level_size(size, h));
}

void rehash(std::vector<ChunkedRows>& levels, uint64_t size, std::vector<uint32_t>& slots, unsigned threads,
            HashLeaves hash_leaves, const void* context) {
  if (slots.empty()) return;
  const size_t workers = parallel::thread_count(threads);
  const size_t wanted = std::max(workers > 1 ? 4 * workers : 1, slots.size() / kTaskSlots);
  const unsigned cut = cut_height(size, wanted);

  // One task a subtree of height `cut` that holds a changed slot.
  std::vector<size_t> bounds{0};
  for (size_t i = 1; i < slots.size(); i++) {
    if (slots[i] >> cut != slots[i - 1] >> cut) bounds.push_back(i);
  }
  bounds.push_back(slots.size());
  auto hash_subtree = [&](size_t task) {
    uint32_t* places = slots.data() + bounds[task];
    size_t count = bounds[task + 1] - bounds[task];
    hash_leaves(context, places, count, levels[0]);
    for (unsigned h = 1; h <= cut; h++) count = hash_parents(levels, h, size, places, count);
  };
  parallel::run(threads, bounds.size() - 1, hash_subtree);

  size_t tops = bounds.size() - 1;
  for (size_t i = 0; i < tops; i++) slots[i] = slots[bounds[i]];
  for (unsigned h = cut + 1; level_size(size, h - 1) > 1; h++) tops = hash_parents(levels, h, size, slots.data(), tops);
}

}  // namespace pyledger::merkle
