#include "merkle/log.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hash/sha256.h"
#include "merkle/shape.h"
#include "parallel/pool.h"

namespace pyledger::merkle {
namespace {

constexpr unsigned kChunkRowsLog2 = 16;  // 2 MiB
constexpr size_t kTaskNodes = 1024;

// Calls f(begin, end) on pieces of [begin, end) that lie in one chunk, as do the nodes below them.
template <class F>
void run_pieces(unsigned threads, uint64_t begin, uint64_t end, F f) {
  if (begin >= end) return;
  const uint64_t first = begin / kTaskNodes, last = (end - 1) / kTaskNodes;
  auto task = [&](size_t t) {
    const uint64_t piece = (first + t) * kTaskNodes;
    f(std::max(begin, piece), std::min(end, piece + kTaskNodes));
  };
  parallel::run(threads, last - first + 1, task);
}

}  // namespace

Digest Log::subtree(uint64_t begin, uint64_t end) const noexcept {
  const uint64_t length = end - begin;
  if (std::has_single_bit(length)) {
    const int level = std::countr_zero(length);
    return load_digest(levels_[level].row(begin >> level));
  }
  const uint64_t middle = begin + split(length);
  return node_hash(subtree(begin, middle).data(), subtree(middle, end).data());
}

Digest Log::root_at(uint64_t size) const noexcept { return size == 0 ? empty_root() : subtree(0, size); }

std::vector<Digest> Log::prove_inclusion(uint64_t index, uint64_t size) const {
  std::vector<Digest> path;
  for (uint64_t begin = 0, end = size; end - begin > 1;) {
    const uint64_t middle = begin + split(end - begin);
    path.push_back(index < middle ? subtree(middle, end) : subtree(begin, middle));
    (index < middle ? end : begin) = middle;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<Digest> Log::prove_consistency(uint64_t old_size, uint64_t size) const {
  std::vector<Digest> proof;
  uint64_t begin = 0, end = size;
  while (old_size != end) {
    const uint64_t middle = begin + split(end - begin);
    proof.push_back(old_size <= middle ? subtree(middle, end) : subtree(begin, middle));
    (old_size <= middle ? end : begin) = middle;
  }
  if (begin != 0) proof.push_back(subtree(begin, end));  // else it is the old root, which the verifier has
  std::reverse(proof.begin(), proof.end());
  return proof;
}

std::vector<Digest> Log::prove_multi(const uint64_t* indices, size_t count, uint64_t size) const {
  std::vector<Digest> proof;
  if (size > 0) prove_range(indices, count, 0, size, proof);
  return proof;
}

void Log::prove_range(const uint64_t* indices, size_t count, uint64_t begin, uint64_t end,
                      std::vector<Digest>& proof) const {
  if (count == 0) {
    proof.push_back(subtree(begin, end));
  } else if (end - begin > 1) {
    const uint64_t middle = begin + split(end - begin);
    const size_t left = std::lower_bound(indices, indices + count, middle) - indices;
    prove_range(indices, left, begin, middle, proof);
    prove_range(indices + left, count - left, middle, end, proof);
  }
}

// fill(begin, end) writes rows of the lowest level. New rows count once all of them are written.
template <class Fill>
void Log::append(size_t count, unsigned threads, const Fill& fill) {
  const uint64_t old_size = size(), new_size = old_size + count;
  reserve(new_size);
  run_pieces(threads, old_size, new_size, fill);
  hash_up(old_size, new_size, threads);
  for (size_t level = 0; level < levels_.size(); level++) levels_[level].grow(new_size >> level);
}

void Log::extend(const uint8_t* hashes, size_t count, unsigned threads) {
  const uint64_t old_size = size();
  append(count, threads, [&](uint64_t begin, uint64_t end) {
    std::memcpy(levels_[0].row(begin), hashes + kDigestBytes * (begin - old_size), kDigestBytes * (end - begin));
  });
}

void Log::extend_leaves(const uint8_t* leaves, size_t size_bytes, size_t count, unsigned threads) {
  const uint64_t old_size = size();
  append(count, threads, [&](uint64_t begin, uint64_t end) {
    hash::sha256_many(leaves + size_bytes * (begin - old_size), size_bytes, size_bytes, end - begin, kLeafPrefix,
                      levels_[0].row(begin));
  });
}

void Log::reserve(uint64_t size) {
  const size_t levels = std::bit_width(size);
  while (levels_.size() < levels) levels_.emplace_back(kDigestBytes, kChunkRowsLog2);
  for (size_t level = 0; level < levels; level++) levels_[level].reserve(size >> level);
}

void Log::hash_up(uint64_t old_size, uint64_t size, unsigned threads) {
  for (size_t level = 1; level < levels_.size(); level++) {
    ChunkedRows& below = levels_[level - 1];
    ChunkedRows& rows = levels_[level];
    run_pieces(threads, old_size >> level, size >> level, [&](uint64_t begin, uint64_t end) {
      hash::sha256_many(below.row(2 * begin), 64, 64, end - begin, kNodePrefix, rows.row(begin));
    });
  }
}

void Log::copy_nodes(unsigned level, uint64_t begin, uint64_t end, uint8_t* out) const noexcept {
  for (uint64_t i = begin; i < end; i++) std::memcpy(out + kDigestBytes * (i - begin), levels_[level].row(i), 32);
}

size_t Log::memory_bytes() const noexcept {
  size_t bytes = 0;
  for (const ChunkedRows& level : levels_) bytes += level.memory_bytes();
  return bytes;
}

}  // namespace pyledger::merkle
