// Arbitrary bytes as a state proof: what is decoded is a view of exactly these bytes, in their one encoding; one byte
// more or less is refused.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "merkle/state_proof.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void put(uint64_t value, int width_bytes, std::vector<uint8_t>& out) {
  for (int i = 0; i < width_bytes; i++) out.push_back(static_cast<uint8_t>(value >> 8 * i));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size_bytes) {
  using namespace pyledger::merkle;
  const std::vector<uint8_t> bytes(data, data + size_bytes);
  StateProof proof;
  if (!decode_state_proof(bytes.data(), bytes.size(), proof)) return 0;

  std::vector<uint8_t> encoded;
  put(kStateProofScheme, 4, encoded);
  put(proof.payload_bytes, 4, encoded);
  put(proof.size, 8, encoded);
  put(proof.slot, 8, encoded);
  encoded.insert(encoded.end(), proof.leaf, proof.leaf + proof.payload_bytes + 2 * kKeyBytes);
  encoded.insert(encoded.end(), proof.path, proof.path + kDigestBytes * proof.path_hashes);
  require(encoded == bytes);
  require(proof.key < proof.next_key);
  require(proof.slot < proof.size);

  const uint8_t root[kDigestBytes] = {};
  require(!verify_state_proof(proof, root));
  StateProof other;
  require(!decode_state_proof(bytes.data(), bytes.size() - 1, other));
  encoded.push_back(0);
  require(!decode_state_proof(encoded.data(), encoded.size(), other));
  return 0;
}
