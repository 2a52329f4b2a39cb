// Checks of RFC 6962 / 9162 proofs. False means refused: a proof too short, too long, or that leads elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "merkle/digest.h"

namespace pyledger::merkle {

// The root that an inclusion proof leads to (RFC 9162 section 2.1.3.2). False for an index outside the tree and for a
// proof that is too short or too long.
bool root_of_inclusion(uint64_t size, uint64_t index, const uint8_t* leaf_hash_32, const uint8_t* proof,
                       size_t proof_hashes, Digest& root) noexcept;

bool verify_inclusion(const uint8_t* root_32, uint64_t size, uint64_t index, const uint8_t* leaf_hash_32,
                      const uint8_t* proof, size_t proof_hashes) noexcept;

// Many leaves of one tree: proof i is proofs[32 * offsets[i] .. 32 * offsets[i + 1]). Walks the proofs side by side,
// one a lane. valid[i] is 0 or 1.
void verify_inclusion_many(const uint8_t* root_32, uint64_t size, const uint64_t* indices, const uint8_t* leaf_hashes,
                           const uint8_t* proofs, const uint64_t* offsets, size_t count, unsigned threads,
                           uint8_t* valid);

// One proof of several leaves: the roots of the largest subtrees that hold none of them, from left to right. Indices
// must rise strictly. Without leaves the proof is the root alone.
bool verify_inclusion_multi(const uint8_t* root_32, uint64_t size, const uint64_t* indices, const uint8_t* leaf_hashes,
                            size_t count, const uint8_t* proof, size_t proof_hashes) noexcept;

// RFC 9162 section 2.1.4.2; also equal sizes (empty proof, equal roots) and old_size 0 (empty proof, the empty root).
bool verify_consistency(uint64_t old_size, const uint8_t* old_root_32, uint64_t new_size, const uint8_t* new_root_32,
                        const uint8_t* proof, size_t proof_hashes) noexcept;

}  // namespace pyledger::merkle
