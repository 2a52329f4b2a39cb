// Arbitrary inclusion, consistency and multi-leaf proofs: nothing reads outside its input, the batch gives the single
// answers, and a proof that leads somewhere is refused once it is a hash shorter or longer.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "merkle/verify.h"

namespace {

using pyledger::merkle::Digest;
using namespace pyledger::merkle;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Reader {
  const uint8_t* bytes;
  size_t left;

  uint64_t number() {  // 0 to 8 bytes, so that small and huge numbers are equally near
    if (left == 0) return 0;
    size_t width = *take(1) % 9;
    if (width > left) width = left;
    uint64_t value = 0;
    std::memcpy(&value, take(width), width);
    return value;
  }
  const uint8_t* take(size_t count) {
    const uint8_t* start = bytes;
    bytes += count;
    left -= count;
    return start;
  }
};

// Heap blocks of the exact size: AddressSanitizer sees one byte too many.
std::vector<uint8_t> hashes_of(Reader& input, size_t count) {
  const uint8_t* start = input.take(32 * count);
  return std::vector<uint8_t>(start, start + 32 * count);
}

void check_inclusion(uint64_t size, uint64_t index, const std::vector<uint8_t>& leaf,
                     const std::vector<uint8_t>& proof) {
  const size_t hashes = proof.size() / 32;
  Digest root, other;
  const bool leads = root_of_inclusion(size, index, leaf.data(), proof.data(), hashes, root);
  require(verify_inclusion(root.data(), size, index, leaf.data(), proof.data(), hashes) == leads);
  if (leads) {
    std::vector<uint8_t> longer = proof;
    longer.resize(proof.size() + 32);
    require(!root_of_inclusion(size, index, leaf.data(), longer.data(), hashes + 1, other));
    require(hashes == 0 || !root_of_inclusion(size, index, leaf.data(), proof.data(), hashes - 1, other));
  }
  const uint64_t indices[2] = {index, index}, offsets[3] = {0, hashes, hashes};
  std::vector<uint8_t> leaves = leaf;
  leaves.insert(leaves.end(), leaf.begin(), leaf.end());
  uint8_t valid[2];
  verify_inclusion_many(root.data(), size, indices, leaves.data(), proof.data(), offsets, 2, 1, valid);
  require(valid[0] == leads);
  require(valid[1] == verify_inclusion(root.data(), size, index, leaf.data(), nullptr, 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size_bytes) {
  Reader input{data, size_bytes};
  const uint64_t size = input.number(), number = input.number();
  if (input.left < 64) return 0;
  const std::vector<uint8_t> first = hashes_of(input, 1), second = hashes_of(input, 1);
  std::vector<uint64_t> indices(input.left ? *input.take(1) % 5 : 0);
  for (uint64_t& index : indices) index = input.number();
  if (input.left < 32 * indices.size()) return 0;
  const std::vector<uint8_t> leaves = hashes_of(input, indices.size());
  const std::vector<uint8_t> proof = hashes_of(input, input.left / 32);

  check_inclusion(size, number, first, proof);
  verify_consistency(number, first.data(), size, second.data(), proof.data(), proof.size() / 32);
  verify_inclusion_multi(first.data(), size, indices.data(), leaves.data(), indices.size(), proof.data(),
                         proof.size() / 32);
  return 0;
}
