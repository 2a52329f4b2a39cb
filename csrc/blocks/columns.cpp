#include "blocks/columns.h"

#include <algorithm>
#include <cstring>

#include "hash/sha256.h"
#include "merkle/digest.h"
#include "parallel/pool.h"

namespace pyledger::blocks {
namespace {

using engine::Transfer;
using engine::U128;

constexpr size_t kGroup = 64;       // leaves put together at a time: they stay in the nearest cache
constexpr size_t kTaskRows = 1024;  // a multiple of kGroup

constexpr uint64_t kZeroTime = 0;
constexpr size_t kTransferLeafBytes = kChainIdBytes + sizeof(Transfer);

struct [[gnu::packed]] Outcome {
  uint64_t timestamp;
  U128 amount;
  uint8_t kind;
  uint8_t zero[3];
  uint32_t institution;
  uint64_t sequence;
  uint8_t public_key[kPublicKeyBytes];
};
static_assert(sizeof(Outcome) == 72);

bool imported(const Transfer& record) noexcept { return (record.flags & engine::transfer_flag::kImported) != 0; }

// Hashes leaves of one size; write(i, leaf) puts leaf i together.
template <size_t kLeafBytes, class Write>
void hash_leaves(size_t count, unsigned threads, uint8_t* hashes, const Write& write) {
  auto hash_task = [&](size_t task) {
    uint8_t leaves[kGroup][kLeafBytes];
    const size_t end = std::min(count, (task + 1) * kTaskRows);
    for (size_t first = task * kTaskRows; first < end; first += kGroup) {
      const size_t rows = std::min(kGroup, end - first);
      for (size_t i = 0; i < rows; i++) write(first + i, leaves[i]);
      hash::sha256_many(leaves[0], kLeafBytes, kLeafBytes, rows, merkle::kLeafPrefix,
                        hashes + merkle::kDigestBytes * first);
    }
  };
  parallel::run(threads, (count + kTaskRows - 1) / kTaskRows, hash_task);
}

}  // namespace

void transfer_leaf_hashes(const uint8_t* chain_id_16, const Transfer* records, size_t count, unsigned threads,
                          uint8_t* hashes) {
  hash_leaves<kTransferLeafBytes>(count, threads, hashes, [&](size_t i, uint8_t* leaf) {
    std::memcpy(leaf, chain_id_16, kChainIdBytes);
    std::memcpy(leaf + kChainIdBytes, records + i, sizeof(Transfer));
    if (!imported(records[i])) std::memcpy(leaf + kTransferLeafBytes - sizeof kZeroTime, &kZeroTime, sizeof kZeroTime);
  });
}

void outcome_leaf_hashes(const Transfer* records, const U128* effects, size_t count, const Authority& authority,
                         unsigned threads, uint8_t* hashes) {
  Outcome common{};
  common.kind = authority.kind;
  common.institution = authority.institution;
  common.sequence = authority.sequence;
  hash_leaves<sizeof(Outcome)>(count, threads, hashes, [&](size_t i, uint8_t* leaf) {
    Outcome outcome = common;
    outcome.timestamp = records[i].timestamp;
    outcome.amount = effects[i];
    const size_t key = authority.signers ? authority.signers[i] : 0;
    std::memcpy(outcome.public_key, authority.public_keys + kPublicKeyBytes * key, kPublicKeyBytes);
    std::memcpy(leaf, &outcome, sizeof outcome);
  });
}

size_t take_records(const Transfer* records, const uint64_t* times, const uint32_t* results, size_t count,
                    Transfer* taken) noexcept {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    if (results[i] != 0) continue;
    taken[n] = records[i];
    if (!imported(records[i])) taken[n].timestamp = times[i];
    n++;
  }
  return n;
}

size_t take_rows(const uint8_t* rows, size_t row_bytes, const uint32_t* results, size_t count,
                 uint8_t* taken) noexcept {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) {
    if (results[i] != 0) continue;
    std::memcpy(taken + row_bytes * n++, rows + row_bytes * i, row_bytes);
  }
  return n;
}

bool amounts_equal(const Transfer* records, const U128* effects, size_t count) noexcept {
  for (size_t i = 0; i < count; i++) {
    if (records[i].amount != effects[i].value) return false;
  }
  return true;
}

}  // namespace pyledger::blocks
