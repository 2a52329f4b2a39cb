#include "merkle/state_proof.h"

#include <cstring>

#include "merkle/shape.h"
#include "merkle/verify.h"

namespace pyledger::merkle {
namespace {

void store_little_endian(uint64_t value, int width_bytes, std::vector<uint8_t>& out) {
  for (int i = 0; i < width_bytes; i++) out.push_back(static_cast<uint8_t>(value >> 8 * i));
}

uint64_t load_little_endian(const uint8_t* bytes, int width_bytes) noexcept {
  uint64_t value = 0;
  for (int i = width_bytes - 1; i >= 0; i--) value = value << 8 | bytes[i];
  return value;
}

}  // namespace

std::vector<uint8_t> encode_state_proof(const StateTree& tree, uint32_t slot) {
  std::vector<uint8_t> out;
  store_little_endian(kStateProofScheme, 4, out);
  store_little_endian(tree.payload_bytes(), 4, out);
  store_little_endian(tree.size(), 8, out);
  store_little_endian(slot, 8, out);
  out.resize(out.size() + tree.leaf_bytes());
  if (!tree.leaf(slot, &out[kStateProofHeaderBytes])) out.resize(kStateProofHeaderBytes);
  for (const Digest& digest : tree.path(slot)) out.insert(out.end(), digest.begin(), digest.end());
  return out;
}

bool decode_state_proof(const uint8_t* bytes, size_t size_bytes, StateProof& proof) noexcept {
  if (size_bytes < kStateProofHeaderBytes) return false;
  if (load_little_endian(bytes, 4) != kStateProofScheme) return false;
  proof.payload_bytes = load_little_endian(bytes + 4, 4);
  proof.size = load_little_endian(bytes + 8, 8);
  proof.slot = load_little_endian(bytes + 16, 8);
  if (proof.payload_bytes > kPayloadBytesMax || proof.size > kSlotsMax || proof.slot >= proof.size) return false;
  proof.path_hashes = static_cast<size_t>(path_length(proof.slot, proof.size));
  const size_t leaf_bytes = proof.payload_bytes + 2 * kKeyBytes;
  if (size_bytes != kStateProofHeaderBytes + leaf_bytes + kDigestBytes * proof.path_hashes) return false;
  proof.leaf = bytes + kStateProofHeaderBytes;
  proof.path = proof.leaf + leaf_bytes;
  proof.key = load_key(proof.leaf + proof.payload_bytes);
  proof.next_key = load_key(proof.leaf + proof.payload_bytes + kKeyBytes);
  return proof.key < proof.next_key;
}

bool verify_state_proof(const StateProof& proof, const uint8_t* root_32) noexcept {
  const Digest leaf = leaf_hash(proof.leaf, proof.payload_bytes + 2 * kKeyBytes);
  Digest tree_root;
  if (!root_of_inclusion(proof.size, proof.slot, leaf.data(), proof.path, proof.path_hashes, tree_root)) return false;
  return std::memcmp(state_root(proof.size, tree_root).data(), root_32, kDigestBytes) == 0;
}

}  // namespace pyledger::merkle
