// The columns of a block, straight from the records of a batch: what took effect, and the leaf hashes of the trees over
// transfers and outcomes, without the leaves ever being put together as a whole. docs/block-format.md gives the bytes;
// pyledger/reference/blocks.py is the slow twin.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/records.h"

namespace pyledger::blocks {

inline constexpr size_t kChainIdBytes = 16;
inline constexpr size_t kPublicKeyBytes = 32;

// hashes[32 * i ..] = leaf hash of chain id || record i with timestamp zero (its own if imported).
void transfer_leaf_hashes(const uint8_t* chain_id_16, const engine::Transfer* records, size_t count, unsigned threads,
                          uint8_t* hashes);

// By whose authority transfers took effect. The key of transfer i is public_keys[signers[i]], or public_keys[0] for all
// if there are no signers.
struct Authority {
  uint8_t kind;
  uint32_t institution;
  uint64_t sequence;
  const uint8_t* public_keys;
  const uint32_t* signers;
};

// hashes[32 * i ..] = leaf hash of the outcome of record i, which has its time, and of which so much took effect.
void outcome_leaf_hashes(const engine::Transfer* records, const engine::U128* effects, size_t count,
                         const Authority& authority, unsigned threads, uint8_t* hashes);

// Copies the records whose result is 0 one after the other and gives each its time, except to imported ones. Returns
// how many.
size_t take_records(const engine::Transfer* records, const uint64_t* times, const uint32_t* results, size_t count,
                    engine::Transfer* taken) noexcept;

// The same for rows of any width.
size_t take_rows(const uint8_t* rows, size_t row_bytes, const uint32_t* results, size_t count, uint8_t* taken) noexcept;

// Whether each amount that took effect is the one submitted.
bool amounts_equal(const engine::Transfer* records, const engine::U128* effects, size_t count) noexcept;

}  // namespace pyledger::blocks
