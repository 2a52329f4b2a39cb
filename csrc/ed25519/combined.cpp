#include "ed25519/combined.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
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

constexpr size_t kPart = 256;            // signatures decoded and hashed by one task
constexpr size_t kEquationMax = 16'384;  // signatures in one equation: its points and buckets still fit a large cache
constexpr size_t kParts = 8;             // into which a failed equation is split
constexpr size_t kProbe = 384;           // signatures settled first, so that a large equation is tried on experience
constexpr size_t kProbedFrom = 6144;     // where they cost too little to matter
constexpr size_t kGroupsAtMost = 128;    // signatures left to small groups and the exact route: eight lanes of groups

// A signature whose points decode and whose S is below L.
struct Candidate {
  size_t position;
  uint32_t key;
  Scalar s, h;
  WeightedEquation equation;
};

struct DecodedBatch {
  std::vector<uint32_t> key_of;  // by position
  std::vector<Entry> keys, r;
  std::vector<uint8_t> key_status, r_status;
  std::vector<Scalar> s, h;  // S is read once: what was compared with L is what is used
};

DecodedBatch decode_batch(const uint8_t* public_keys, const Batch& batch, unsigned threads) {
  DecodedBatch decoded;
  KeyMap map;
  map.reserve(batch.count);
  decoded.key_of.resize(batch.count);
  for (size_t i = 0; i < batch.count; i++) decoded.key_of[i] = map.insert(public_keys + 32 * i);
  decoded.keys.resize(map.size());
  decoded.key_status.resize(map.size());
  for_parts(map.size(), kPart, threads, [&](size_t first, size_t count) {
    decode_rows(map.key(first), 32, count, &decoded.keys[first], &decoded.key_status[first]);
  });
  decoded.r.resize(batch.count);
  decoded.r_status.resize(batch.count);
  decoded.s.resize(batch.count);
  decoded.h.resize(batch.count);
  for_parts(batch.count, kPart, threads, [&](size_t first, size_t count) {
    const uint8_t *keys[kPart], *r[kPart];
    for (size_t k = 0; k < count; k++) {
      keys[k] = public_keys + 32 * (first + k);
      r[k] = batch.r(first + k);
      decoded.s[first + k] = batch.s(first + k);
    }
    row_for(count).decode(r, count, &decoded.r[first], &decoded.r_status[first]);
    hash_challenges(batch, first, count, keys, &decoded.h[first]);
  });
  return decoded;
}

// Positions in the order of their keys, so that equal keys stand together in every part.
std::vector<size_t> order_by_key(const DecodedBatch& decoded, const Batch& batch) {
  std::vector<size_t> starts(decoded.keys.size() + 1);
  std::vector<uint8_t> usable(batch.count);
  for (size_t i = 0; i < batch.count; i++) {
    usable[i] = decoded.r_status[i] != kNotAPoint && decoded.key_status[decoded.key_of[i]] == kPoint &&
                is_reduced(decoded.s[i]);
    starts[decoded.key_of[i] + 1] += usable[i];
  }
  for (size_t k = 1; k < starts.size(); k++) starts[k] += starts[k - 1];
  std::vector<size_t> order(starts.back());
  for (size_t i = 0; i < batch.count; i++) {
    if (usable[i]) order[starts[decoded.key_of[i]]++] = i;
  }
  return order;
}

struct Digest {
  uint8_t bytes[hash::kSha512Bytes];
};

// SHA-512 over (randomness || digests of rows of h || S). Rows of one length fill the lanes of the hash.
Digest draw_root(const DecodedBatch& decoded, const Batch& batch, unsigned threads) {
  constexpr size_t kRowSignatures = 64, kRowBytes = 64 * kRowSignatures, kPartRows = 16;
  const size_t rows = (batch.count + kRowSignatures - 1) / kRowSignatures;
  std::vector<uint8_t> summary(32 + rows * hash::kSha512Bytes);
  if (getentropy(summary.data(), 32) != 0) throw std::runtime_error("no entropy from the system");
  for_parts(rows, kPartRows, threads, [&](size_t first_row, size_t count) {
    std::vector<uint8_t> transcript(count * kRowBytes);
    const size_t first = first_row * kRowSignatures, end = std::min(batch.count, first + count * kRowSignatures);
    for (size_t i = first; i < end; i++) {
      std::memcpy(&transcript[64 * (i - first)], decoded.h[i].word, 32);
      std::memcpy(&transcript[64 * (i - first) + 32], decoded.s[i].word, 32);
    }
    hash::sha512_many(transcript.data(), kRowBytes, kRowBytes, count, &summary[32 + first_row * hash::kSha512Bytes]);
  });
  Digest root;
  hash::sha512(summary.data(), summary.size(), root.bytes);
  return root;
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

bool holds_combined(const Candidate* candidates, size_t count) {
  std::vector<ScaledPoint> r, keys;
  r.reserve(count);
  Scalar base{};
  for (size_t i = 0; i < count; i++) {
    const WeightedEquation& equation = candidates[i].equation;
    r.push_back({equation.r, equation.z});
    base = add(base, equation.zs);
    if (i > 0 && candidates[i - 1].key == candidates[i].key) {
      keys.back().scalar = add(keys.back().scalar, equation.zh);
    } else {
      keys.push_back({equation.a, equation.zh});
    }
  }
  return is_sum_of_small_order(r, keys, base);
}

// How often signatures were found wrong so far. An equation over many is worth trying only while it is likely to hold.
struct Experience {
  size_t settled, wrong;

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

void settle(const Candidate* candidates, size_t count, Experience& experience, uint8_t* valid) {
  if (count <= kGroupsAtMost) {
    const auto settle_part = experience.favours(kGroupSize) ? &settle_groups : &settle_exactly;
    return settle_part(candidates, count, experience, valid);
  }
  if (experience.settled == 0 && count >= kProbedFrom) {
    settle(candidates, kProbe, experience, valid);
    return settle(candidates + kProbe, count - kProbe, experience, valid);
  }
  if (experience.favours(count) && holds_combined(candidates, count)) {
    for (size_t i = 0; i < count; i++) valid[candidates[i].position] = 1;
    experience.settled += count;
    return;
  }
  const size_t part = std::max(kGroupsAtMost, (count + kParts - 1) / kParts);
  for (size_t first = 0; first < count; first += part) {
    settle(candidates + first, std::min(part, count - first), experience, valid);
  }
}

}  // namespace

void verify_combined(const uint8_t* public_keys, const Batch& batch, unsigned threads, uint8_t* valid) {
  const DecodedBatch decoded = decode_batch(public_keys, batch, threads);
  const std::vector<size_t> order = order_by_key(decoded, batch);
  std::fill_n(valid, batch.count, uint8_t{0});
  if (order.empty()) return;
  const Digest root = draw_root(decoded, batch, threads);
  const std::unique_ptr<Candidate[]> candidates(new Candidate[order.size()]);  // filled by the tasks
  for_parts(order.size(), kPart, threads, [&](size_t first, size_t count) {
    fill_candidates(decoded, &order[first], count, &candidates[first]);
    draw_coefficients(root, first, count, candidates.get());
  });
  const size_t malformed = batch.count - order.size();
  const Experience before = malformed == 0 ? Experience{} : Experience{batch.count, malformed};
  const size_t share = (order.size() + parallel::thread_count(threads) - 1) / parallel::thread_count(threads);
  for_parts(order.size(), std::min(share, kEquationMax), threads, [&](size_t first, size_t count) {
    Experience experience = before;
    settle(&candidates[first], count, experience, valid);
  });
}

}  // namespace pyledger::ed25519
