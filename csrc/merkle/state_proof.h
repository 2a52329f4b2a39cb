// The canonical bytes of a state proof: one leaf of a state tree with its path. It proves a key present, or every key
// between its own and its next one absent.
//
//   scheme            4 bytes, little-endian: 1
//   payload_bytes     4 bytes, little-endian
//   size, slot        8 bytes each, little-endian: leaves of the tree, place of this one
//   payload || key || next key        payload_bytes + 32: the leaf's data
//   path              32 bytes a hash, lowest first, as many as size and slot ask for
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "merkle/state_tree.h"

namespace pyledger::merkle {

inline constexpr uint32_t kStateProofScheme = 1;
inline constexpr size_t kStateProofHeaderBytes = 24;
inline constexpr size_t kPayloadBytesMax = 65536;

// Points into the bytes it was decoded from.
struct StateProof {
  uint64_t size, slot;
  const uint8_t* leaf;
  size_t payload_bytes;
  const uint8_t* path;
  size_t path_hashes;
  Key key, next_key;
};

std::vector<uint8_t> encode_state_proof(const StateTree& tree, uint32_t slot);

// False unless the bytes are the encoding of a proof: known scheme, slot below size, exact length, key below next key.
bool decode_state_proof(const uint8_t* bytes, size_t size_bytes, StateProof& proof) noexcept;

// Whether the proof's leaf and path lead to this root.
bool verify_state_proof(const StateProof& proof, const uint8_t* root_32) noexcept;

}  // namespace pyledger::merkle
