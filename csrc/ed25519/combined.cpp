#include "ed25519/combined.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "ed25519/exact.h"
#include "ed25519/groups.h"
#include "ed25519/key_map.h"
#include "ed25519/multiscalar.h"
#include "ed25519/parts.h"
#include "ed25519/select.h"
#include "hash/sha512.h"

namespace pyledger::ed25519 {
namespace {

constexpr size_t kPart = 256;             // signatures decoded and hashed by one task
constexpr size_t kDigestSignatures = 32;  // whose h and S are hashed at once
constexpr size_t kEquationMax = 16'384;   // signatures in one equation: its points and buckets still fit a large cache
constexpr size_t kParts = 8;              // into which a failed equation is split
constexpr size_t kProbe = 384;            // signatures settled first, so that a large equation is tried on experience
constexpr size_t kProbedFrom = 6144;      // where they cost too little to matter
constexpr size_t kTeamMax = 16;           // threads that share an equation's windows; more take an equation each
constexpr size_t kGroupsAtMost = 128;     // signatures left to small groups and the exact route: eight lanes of groups

static_assert(kPart % kDigestSignatures == 0);

// A signature whose points decode and whose S is below L.
struct Candidate {
  size_t position;
  uint32_t key;
  Scalar s, h;
  WeightedEquation equation;
};

// Uninitialised columns of one block. The allocator keeps a block of this size for the next call; several it would give
// back, and pages fresh from the system cost more than what is written to them, the more so on two threads.
class Block {
 public:
  explicit Block(size_t size_bytes) : bytes_(new(kAlignment) uint8_t[size_bytes]), left_bytes_(size_bytes) {}

  template <class T>
  static size_t size_bytes(size_t count) {
    const auto unit = static_cast<size_t>(kAlignment);
    return (sizeof(T) * count + unit - 1) / unit * unit;
  }

  template <class T>
  T* take(size_t count) {
    if (size_bytes<T>(count) > left_bytes_) throw std::logic_error("a block's columns are larger than the block");
    left_bytes_ -= size_bytes<T>(count);
    return new (bytes_.get() + left_bytes_) T[count];
  }

 private:
  static constexpr std::align_val_t kAlignment{alignof(Entry)};
  struct Free {
    void operator()(uint8_t* bytes) const { operator delete[](bytes, kAlignment); }
  };
  std::unique_ptr<uint8_t[], Free> bytes_;
  size_t left_bytes_;
};

// What all equations are made of, filled part by part by the tasks.
struct DecodedBatch {
  explicit DecodedBatch(size_t count)
      : block(Block::size_bytes<uint32_t>(count) + 2 * Block::size_bytes<Entry>(count) +
              2 * Block::size_bytes<uint8_t>(count) + 2 * Block::size_bytes<Scalar>(count) +
              Block::size_bytes<Candidate>(count)),
        keys(block.take<Entry>(count)),
        r(block.take<Entry>(count)),
        s(block.take<Scalar>(count)),
        h(block.take<Scalar>(count)),
        candidates(block.take<Candidate>(count)),
        key_of(block.take<uint32_t>(count)),
        key_status(block.take<uint8_t>(count)),
        well_formed(block.take<uint8_t>(count)),
        digests(32 + (count + kDigestSignatures - 1) / kDigestSignatures * hash::kSha512Bytes) {}

  Block block;
  KeyMap map;
  Entry *keys, *r;        // keys by number, the others by position
  Scalar *s, *h;          // S is read once: what was compared with L is what is used
  Candidate* candidates;  // in the order of their keys
  uint32_t* key_of;
  uint8_t *key_status, *well_formed;
  std::vector<uint8_t> digests;  // behind room for 32 bytes: of stretches of h || S
};

struct Digest {
  uint8_t bytes[hash::kSha512Bytes];
};

void number_keys(const uint8_t* public_keys, size_t count, DecodedBatch& decoded) {
  decoded.map.reserve(count);
  for (size_t i = 0; i < count; i++) decoded.key_of[i] = decoded.map.insert(public_keys + 32 * i);
}

// Stretches of kDigestSignatures signatures are rows of one length, which fill the lanes of the hash; the last one is
// filled up with zeros.
void digest_part(size_t first, size_t count, DecodedBatch& decoded) {
  constexpr size_t kRowBytes = 64 * kDigestSignatures;
  const size_t rows = (count + kDigestSignatures - 1) / kDigestSignatures;
  std::vector<uint8_t> transcript(rows * kRowBytes);
  for (size_t k = 0; k < count; k++) {
    std::memcpy(&transcript[64 * k], decoded.h[first + k].word, 32);
    std::memcpy(&transcript[64 * k + 32], decoded.s[first + k].word, 32);
  }
  uint8_t* digests = &decoded.digests[32 + first / kDigestSignatures * hash::kSha512Bytes];
  hash::sha512_many(transcript.data(), kRowBytes, kRowBytes, rows, digests);
}

void decode_part(const uint8_t* public_keys, const Batch& batch, size_t first, size_t count, DecodedBatch& decoded) {
  const uint8_t *keys[kPart], *r[kPart];
  uint8_t status[kPart];
  for (size_t k = 0; k < count; k++) {
    keys[k] = public_keys + 32 * (first + k);
    r[k] = batch.r(first + k);
    decoded.s[first + k] = batch.s(first + k);
  }
  row_for(count).decode(r, count, &decoded.r[first], status);
  hash_challenges(batch, first, count, keys, &decoded.h[first]);
  for (size_t k = 0; k < count; k++) {
    decoded.well_formed[first + k] = status[k] != kNotAPoint && is_reduced(decoded.s[first + k]);
  }
  digest_part(first, count, decoded);
}

// SHA-512 over (randomness || digests of all h and S).
Digest draw_root(DecodedBatch& decoded) {
  if (getentropy(decoded.digests.data(), 32) != 0) throw std::runtime_error("no entropy from the system");
  Digest root;
  hash::sha512(decoded.digests.data(), decoded.digests.size(), root.bytes);
  return root;
}

// Calls alone() on one thread, the first to come, and f(first, count) for the parts of [0, count) on the others. For a
// single part no other thread is woken.
template <class Alone, class F>
void for_parts_beside(const Alone& alone, size_t count, unsigned threads, const F& f) {
  const size_t parts = (count + kPart - 1) / kPart;
  for_parts(1 + parts, 1, parts == 1 ? 1 : threads, [&](size_t task, size_t) {
    if (task == 0) return alone();
    const size_t first = (task - 1) * kPart;
    f(first, std::min(kPart, count - first));
  });
}

Digest decode_batch(const uint8_t* public_keys, const Batch& batch, unsigned threads, DecodedBatch& decoded) {
  for_parts_beside([&] { number_keys(public_keys, batch.count, decoded); }, batch.count, threads,
                   [&](size_t first, size_t count) { decode_part(public_keys, batch, first, count, decoded); });
  Digest root;
  for_parts_beside([&] { root = draw_root(decoded); }, decoded.map.size(), threads,
                   [&](size_t first, size_t count) {
                     decode_rows(decoded.map.key(first), 32, count, &decoded.keys[first], &decoded.key_status[first]);
                   });
  return root;
}

// Positions in the order of their keys, so that equal keys stand together in every part.
std::vector<size_t> order_by_key(const DecodedBatch& decoded, size_t count) {
  std::vector<size_t> starts(decoded.map.size() + 1);
  const auto usable = [&](size_t i) {
    return decoded.well_formed[i] && decoded.key_status[decoded.key_of[i]] == kPoint;
  };
  for (size_t i = 0; i < count; i++) starts[decoded.key_of[i] + 1] += usable(i);
  for (size_t k = 1; k < starts.size(); k++) starts[k] += starts[k - 1];
  std::vector<size_t> order(starts.back());
  for (size_t i = 0; i < count; i++) {
    if (usable(i)) order[starts[decoded.key_of[i]]++] = i;
  }
  return order;
}

void fill_candidates(const DecodedBatch& decoded, const size_t* positions, size_t count, Candidate* candidates) {
  for (size_t k = 0; k < count; k++) {
    const size_t i = positions[k];
    const uint32_t key = decoded.key_of[i];
    candidates[k] = {i, key, decoded.s[i], decoded.h[i], {&decoded.r[i], &decoded.keys[key], {}, {}, {}}};
  }
}

// z of candidates [first, first + count): four to a hash of (root || index).
void draw_coefficients(const Digest& root, size_t first, size_t count, Candidate* candidates) {
  constexpr size_t kRowBytes = sizeof(Digest) + 8, kPerHash = 4;
  const size_t rows = (count + kPerHash - 1) / kPerHash;
  std::vector<uint8_t> input(rows * kRowBytes), output(rows * hash::kSha512Bytes);
  for (size_t i = 0; i < rows; i++) {
    const uint64_t index = first + kPerHash * i;
    std::memcpy(&input[i * kRowBytes], root.bytes, sizeof root.bytes);
    std::memcpy(&input[i * kRowBytes + sizeof root.bytes], &index, 8);
  }
  hash::sha512_many(input.data(), kRowBytes, kRowBytes, rows, output.data());
  for (size_t i = 0; i < count; i++) {
    const Candidate& candidate = candidates[first + i];
    WeightedEquation& equation = candidates[first + i].equation;
    std::memcpy(equation.z.word, &output[16 * i], 16);
    equation.zs = multiply(equation.z, candidate.s);
    equation.zh = multiply(equation.z, candidate.h);
  }
}

// The candidates' part of the equation, equal keys coalesced.
Summands gather(const Candidate* candidates, size_t count) {
  Summands part{};
  part.shorts.reserve(count);
  for (size_t i = 0; i < count; i++) {
    const WeightedEquation& equation = candidates[i].equation;
    part.shorts.push_back({equation.r, equation.z});
    part.base = add(part.base, equation.zs);
    if (i > 0 && candidates[i - 1].key == candidates[i].key) {
      part.longs.back().scalar = add(part.longs.back().scalar, equation.zh);
    } else {
      part.longs.push_back({equation.a, equation.zh});
    }
  }
  return part;
}

bool holds_combined(const Candidate* candidates, size_t count, unsigned threads) {
  std::vector<Summands> parts((count + kPart - 1) / kPart);
  for_parts(count, kPart, threads,
            [&](size_t first, size_t part) { parts[first / kPart] = gather(candidates + first, part); });
  return is_sum_of_small_order(parts, threads);
}

// How often signatures were found wrong so far, on all threads. An equation over many is worth trying only while it is
// likely to hold.
struct Experience {
  std::atomic<size_t> settled, wrong;

  bool favours(size_t count) const { return wrong * count * 3 <= settled * 2; }
};

void settle_exactly(const Candidate* candidates, size_t count, Experience& experience, uint8_t* valid) {
  std::vector<ExactInput> inputs(count);
  std::vector<uint8_t> answers(count);
  for (size_t i = 0; i < count; i++) {
    inputs[i] = {candidates[i].equation.r, candidates[i].equation.a, candidates[i].s, candidates[i].h};
  }
  check_exact(inputs.data(), count, answers.data());
  for (size_t i = 0; i < count; i++) {
    valid[candidates[i].position] = answers[i];
    experience.wrong += !answers[i];
  }
  experience.settled += count;
}

void settle_groups(const Candidate* candidates, size_t count, Experience& experience, uint8_t* valid) {
  std::vector<WeightedEquation> equations(count);
  for (size_t i = 0; i < count; i++) equations[i] = candidates[i].equation;
  std::vector<uint8_t> holds((count + kGroupSize - 1) / kGroupSize);
  check_groups(equations.data(), count, holds.data());
  std::vector<Candidate> doubtful;
  for (size_t i = 0; i < count; i++) {
    if (holds[i / kGroupSize]) {
      valid[candidates[i].position] = 1;
    } else {
      doubtful.push_back(candidates[i]);
    }
  }
  experience.settled += count - doubtful.size();
  settle_exactly(doubtful.data(), doubtful.size(), experience, valid);
}

// One equation takes all threads; where it fails, its parts are settled side by side, each on one thread.
void settle(const Candidate* candidates, size_t count, unsigned threads, Experience& experience, uint8_t* valid) {
  if (count <= kGroupsAtMost) {
    const auto settle_part = experience.favours(kGroupSize) ? &settle_groups : &settle_exactly;
    return settle_part(candidates, count, experience, valid);
  }
  if (experience.settled == 0 && count >= kProbedFrom) {
    settle(candidates, kProbe, threads, experience, valid);
    return settle(candidates + kProbe, count - kProbe, threads, experience, valid);
  }
  if (experience.favours(count) && holds_combined(candidates, count, threads)) {
    for (size_t i = 0; i < count; i++) valid[candidates[i].position] = 1;
    experience.settled += count;
    return;
  }
  const size_t part = std::max(kGroupsAtMost, (count + kParts - 1) / kParts);
  for_parts(count, part, threads,
            [&](size_t first, size_t part_count) { settle(candidates + first, part_count, 1, experience, valid); });
}

// Cuts [0, count) into stretches of at most `most` that differ by little.
size_t even_share(size_t count, size_t most) {
  const size_t shares = (count + most - 1) / most;
  return (count + shares - 1) / shares;
}

}  // namespace

void verify_combined(const uint8_t* public_keys, const Batch& batch, unsigned threads, uint8_t* valid) {
  DecodedBatch decoded(batch.count);
  const Digest root = decode_batch(public_keys, batch, threads, decoded);
  const std::vector<size_t> order = order_by_key(decoded, batch.count);
  std::fill_n(valid, batch.count, uint8_t{0});
  if (order.empty()) return;
  Candidate* candidates = decoded.candidates;
  for_parts(order.size(), kPart, threads, [&](size_t first, size_t count) {
    fill_candidates(decoded, &order[first], count, &candidates[first]);
    draw_coefficients(root, first, count, candidates);
  });
  const size_t malformed = batch.count - order.size(), workers = parallel::thread_count(threads);
  Experience experience{malformed == 0 ? 0 : batch.count, malformed};
  if (order.size() <= kGroupsAtMost * workers || workers > kTeamMax) {
    const size_t share = std::clamp((order.size() + workers - 1) / workers, kGroupsAtMost, kEquationMax);
    return for_parts(order.size(), share, threads,
                     [&](size_t first, size_t count) { settle(&candidates[first], count, 1, experience, valid); });
  }
  const size_t share = even_share(order.size(), kEquationMax);
  for (size_t first = 0; first < order.size(); first += share) {
    settle(&candidates[first], std::min(share, order.size() - first), threads, experience, valid);
  }
}

}  // namespace pyledger::ed25519
