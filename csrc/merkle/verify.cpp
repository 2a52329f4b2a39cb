#include "merkle/verify.h"

#include <algorithm>
#include <cstring>

#include "hash/sha256.h"
#include "merkle/shape.h"
#include "parallel/pool.h"

namespace pyledger::merkle {
namespace {

bool equal(const uint8_t* a, const uint8_t* b) noexcept { return std::memcmp(a, b, kDigestBytes) == 0; }

// Where a proof's walk stands: `place` is the node's index on its level, `last` that of the level's last node.
struct Walk {
  uint64_t place, last;

  // Whether the next hash of the proof stands to the left; moves up to the parent, past levels without a sibling.
  bool step_is_left() noexcept {
    while (place == last && place % 2 == 0) up();
    const bool left = place % 2 == 1;
    up();
    return left;
  }
  void up() noexcept { place >>= 1, last >>= 1; }
};

// Bounds the walk before it starts: with the right length every step has a sibling.
bool length_fits(uint64_t size, uint64_t index, uint64_t proof_hashes) noexcept {
  return index < size && proof_hashes == static_cast<uint64_t>(path_length(index, size));
}

constexpr size_t kLanesTogether = 64;

// Up to kLanesTogether proofs side by side; those whose walk is over fall out.
void verify_group(const uint8_t* root, uint64_t size, const uint64_t* indices, const uint8_t* leaf_hashes,
                  const uint8_t* proofs, const uint64_t* offsets, size_t count, uint8_t* valid) noexcept {
  struct State {
    Walk walk;
    uint64_t next, end;  // hashes of the proof still to be used
    size_t number;
  };
  State states[kLanesTogether];
  alignas(64) uint8_t pairs[kLanesTogether][2 * kDigestBytes];
  uint8_t digests[kLanesTogether][kDigestBytes];
  size_t active = 0;
  for (size_t i = 0; i < count; i++) {
    valid[i] = 0;
    if (!length_fits(size, indices[i], offsets[i + 1] - offsets[i])) continue;
    states[active] = {{indices[i], size - 1}, offsets[i], offsets[i + 1], i};
    std::memcpy(digests[active++], leaf_hashes + kDigestBytes * i, kDigestBytes);
  }
  while (active > 0) {
    size_t walking = 0;
    for (size_t lane = 0; lane < active; lane++) {
      State state = states[lane];
      if (state.next == state.end) {
        valid[state.number] = equal(digests[lane], root);
        continue;
      }
      const bool left = state.walk.step_is_left();
      uint8_t* pair = pairs[walking];
      std::memcpy(pair + (left ? kDigestBytes : 0), digests[lane], kDigestBytes);
      std::memcpy(pair + (left ? 0 : kDigestBytes), proofs + kDigestBytes * state.next, kDigestBytes);
      state.next++;
      states[walking++] = state;
    }
    active = walking;
    hash::sha256_many(pairs[0], 64, 64, active, kNodePrefix, digests[0]);
  }
}

// Rebuilds the root of [begin, end) from known leaves and the proof's hashes.
struct MultiProof {
  const uint64_t* indices;
  const uint8_t* leaf_hashes;
  const uint8_t* proof;
  size_t proof_hashes, used = 0;
  bool short_of_hashes = false;

  Digest root(size_t first, size_t count, uint64_t begin, uint64_t end) noexcept {
    if (short_of_hashes) return {};
    if (count == 0) {
      if (used == proof_hashes) return short_of_hashes = true, Digest{};
      return load_digest(proof + kDigestBytes * used++);
    }
    if (end - begin == 1) return load_digest(leaf_hashes + kDigestBytes * first);
    const uint64_t middle = begin + split(end - begin);
    const size_t left = std::lower_bound(indices + first, indices + first + count, middle) - (indices + first);
    const Digest left_root = root(first, left, begin, middle);
    const Digest right_root = root(first + left, count - left, middle, end);
    return short_of_hashes ? Digest{} : node_hash(left_root.data(), right_root.data());
  }
};

}  // namespace

bool root_of_inclusion(uint64_t size, uint64_t index, const uint8_t* leaf_hash_32, const uint8_t* proof,
                       size_t proof_hashes, Digest& root) noexcept {
  if (!length_fits(size, index, proof_hashes)) return false;
  Walk walk{index, size - 1};
  root = load_digest(leaf_hash_32);
  for (size_t i = 0; i < proof_hashes; i++) {
    const uint8_t* sibling = proof + kDigestBytes * i;
    root = walk.step_is_left() ? node_hash(sibling, root.data()) : node_hash(root.data(), sibling);
  }
  return true;
}

bool verify_inclusion(const uint8_t* root_32, uint64_t size, uint64_t index, const uint8_t* leaf_hash_32,
                      const uint8_t* proof, size_t proof_hashes) noexcept {
  Digest root;
  return root_of_inclusion(size, index, leaf_hash_32, proof, proof_hashes, root) && equal(root.data(), root_32);
}

void verify_inclusion_many(const uint8_t* root_32, uint64_t size, const uint64_t* indices, const uint8_t* leaf_hashes,
                           const uint8_t* proofs, const uint64_t* offsets, size_t count, unsigned threads,
                           uint8_t* valid) {
  auto task = [&](size_t t) {
    const size_t first = t * kLanesTogether;
    verify_group(root_32, size, indices + first, leaf_hashes + kDigestBytes * first, proofs, offsets + first,
                 std::min(kLanesTogether, count - first), valid + first);
  };
  parallel::run(threads, (count + kLanesTogether - 1) / kLanesTogether, task);
}

bool verify_inclusion_multi(const uint8_t* root_32, uint64_t size, const uint64_t* indices, const uint8_t* leaf_hashes,
                            size_t count, const uint8_t* proof, size_t proof_hashes) noexcept {
  for (size_t i = 0; i < count; i++) {
    if (indices[i] >= size || (i > 0 && indices[i] <= indices[i - 1])) return false;
  }
  if (size == 0) return proof_hashes == 0 && equal(root_32, empty_root().data());
  MultiProof rebuilt{indices, leaf_hashes, proof, proof_hashes};
  const Digest root = rebuilt.root(0, count, 0, size);
  return !rebuilt.short_of_hashes && rebuilt.used == proof_hashes && equal(root.data(), root_32);
}

bool verify_consistency(uint64_t old_size, const uint8_t* old_root_32, uint64_t new_size, const uint8_t* new_root_32,
                        const uint8_t* proof, size_t proof_hashes) noexcept {
  if (old_size > new_size) return false;
  if (old_size == new_size) return proof_hashes == 0 && equal(old_root_32, new_root_32);
  if (old_size == 0) return proof_hashes == 0 && equal(old_root_32, empty_root().data());

  // The walk starts at the last complete subtree that ends the old tree; where that is the whole old tree its hash is
  // the old root, and the proof leaves it out.
  Walk walk{old_size - 1, new_size - 1};
  while (walk.place % 2 == 1) walk.up();
  const bool whole = walk.place == 0;
  const size_t seed_hashes = whole ? 0 : 1;
  if (proof_hashes < seed_hashes) return false;
  if (proof_hashes - seed_hashes != static_cast<size_t>(path_length(walk.place, walk.last + 1))) return false;

  Digest old_node = load_digest(whole ? old_root_32 : proof), new_node = old_node;
  for (size_t i = seed_hashes; i < proof_hashes; i++) {
    const uint8_t* sibling = proof + kDigestBytes * i;
    if (walk.step_is_left()) {
      old_node = node_hash(sibling, old_node.data());
      new_node = node_hash(sibling, new_node.data());
    } else {
      new_node = node_hash(new_node.data(), sibling);
    }
  }
  return equal(old_node.data(), old_root_32) && equal(new_node.data(), new_root_32);
}

}  // namespace pyledger::merkle
