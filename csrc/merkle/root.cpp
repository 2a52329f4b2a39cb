#include "merkle/root.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "hash/ragged.h"
#include "hash/sha256.h"
#include "parallel/pool.h"

namespace pyledger::merkle {
namespace {

// 1024 hashes are 32 KiB; six levels up, 16 are left, which still fill the lanes of the widest row.
constexpr size_t kTileNodes = 1024;
constexpr int kTileLevels = 6;
constexpr size_t kTileTops = kTileNodes >> kTileLevels;

// One level up, in place: pairs are hashed, an odd last node moves up as it is (RFC 6962 splits at a power of two).
size_t halve(uint8_t* nodes, size_t count) {
  hash::sha256_many(nodes, 64, 64, count / 2, kNodePrefix, nodes);
  if (count % 2) std::memmove(nodes + 32 * (count / 2), nodes + 32 * (count - 1), 32);
  return (count + 1) / 2;
}

using Buffer = std::unique_ptr<uint8_t[]>;

Buffer new_buffer(size_t count) { return std::make_unique_for_overwrite<uint8_t[]>(kDigestBytes * count); }

// Hashes each tile up by kTileLevels; fill(first, count, out) writes the tile's lowest nodes.
template <class Fill>
Buffer hash_tiles(size_t count, unsigned threads, size_t& count_left, const Fill& fill) {
  count_left = (count + (size_t{1} << kTileLevels) - 1) >> kTileLevels;
  Buffer tops = new_buffer(count_left);
  auto hash_tile = [&](size_t tile) {
    alignas(64) uint8_t nodes[kDigestBytes * kTileNodes];
    const size_t first = tile * kTileNodes;
    size_t left = std::min(kTileNodes, count - first);
    fill(first, left, nodes);
    for (int level = 0; level < kTileLevels; level++) left = halve(nodes, left);
    std::memcpy(tops.get() + kDigestBytes * kTileTops * tile, nodes, kDigestBytes * left);
  };
  parallel::run(threads, (count + kTileNodes - 1) / kTileNodes, hash_tile);
  return tops;
}

Digest root_of_tops(Buffer nodes, size_t count, unsigned threads) {
  while (count > kTileNodes) {
    const Buffer below = std::move(nodes);
    nodes = hash_tiles(count, threads, count, [&](size_t first, size_t tile_count, uint8_t* out) {
      std::memcpy(out, below.get() + kDigestBytes * first, kDigestBytes * tile_count);
    });
  }
  while (count > 1) count = halve(nodes.get(), count);
  Digest root;
  std::memcpy(root.data(), nodes.get(), kDigestBytes);
  return root;
}

}  // namespace

Digest leaf_hash(const uint8_t* data, size_t size_bytes) noexcept {
  Digest digest;
  hash::sha256_many(data, size_bytes, size_bytes, 1, kLeafPrefix, digest.data());
  return digest;
}

Digest node_hash(const uint8_t* left_32, const uint8_t* right_32) noexcept {
  uint8_t pair[2 * kDigestBytes];
  std::memcpy(pair, left_32, kDigestBytes);
  std::memcpy(pair + kDigestBytes, right_32, kDigestBytes);
  Digest digest;
  hash::sha256_many(pair, sizeof pair, sizeof pair, 1, kNodePrefix, digest.data());
  return digest;
}

Digest empty_root() noexcept {
  Digest digest;
  hash::sha256(digest.data(), 0, digest.data());
  return digest;
}

void leaf_hashes(const uint8_t* leaves, size_t size_bytes, size_t count, unsigned threads, uint8_t* hashes) {
  auto hash_tile = [&](size_t tile) {
    const size_t first = tile * kTileNodes;
    hash::sha256_many(leaves + size_bytes * first, size_bytes, size_bytes, std::min(kTileNodes, count - first),
                      kLeafPrefix, hashes + kDigestBytes * first);
  };
  parallel::run(threads, (count + kTileNodes - 1) / kTileNodes, hash_tile);
}

void leaf_hashes_ragged(const uint8_t* buffer, const uint64_t* offsets, size_t count, unsigned threads,
                        uint8_t* hashes) {
  const std::vector<size_t> order = hash::order_by_length(offsets, count);
  auto hash_tile = [&](size_t tile) {
    const size_t first = tile * kTileNodes;
    hash::sha256_ragged(buffer, offsets, order.data() + first, std::min(kTileNodes, count - first), kLeafPrefix,
                        hashes);
  };
  parallel::run(threads, (count + kTileNodes - 1) / kTileNodes, hash_tile);
}

Digest root(const uint8_t* leaves, size_t size_bytes, size_t count, unsigned threads) {
  if (count == 0) return empty_root();
  size_t left;
  Buffer tops = hash_tiles(count, threads, left, [&](size_t first, size_t tile_count, uint8_t* out) {
    hash::sha256_many(leaves + size_bytes * first, size_bytes, size_bytes, tile_count, kLeafPrefix, out);
  });
  return root_of_tops(std::move(tops), left, threads);
}

Digest root_of_leaf_hashes(const uint8_t* hashes, size_t count, unsigned threads) {
  if (count == 0) return empty_root();
  size_t left;
  Buffer tops = hash_tiles(count, threads, left, [&](size_t first, size_t tile_count, uint8_t* out) {
    std::memcpy(out, hashes + kDigestBytes * first, kDigestBytes * tile_count);
  });
  return root_of_tops(std::move(tops), left, threads);
}

}  // namespace pyledger::merkle
