#include "ed25519/batch.h"

#include <algorithm>
#include <cstring>

#include "hash/ragged.h"
#include "hash/sha512.h"

namespace pyledger::ed25519 {
namespace {

constexpr size_t kPrefixBytes = 64;  // R || A
constexpr size_t kRowsBytesMax =
    64 * 1024;  // of messages copied side by side before they are hashed; one may be longer

}  // namespace

void hash_challenges(const Batch& batch, size_t first, size_t count, const uint8_t* const* keys, Scalar* h) {
  const std::vector<size_t> order =
      hash::order_by_length(count, [&](size_t k) { return batch.message_bytes(first + k); });
  std::vector<uint8_t> rows, digests;
  for (size_t done = 0; done < count;) {
    const size_t size = batch.message_bytes(first + order[done]), stride = kPrefixBytes + size;
    const size_t fit = std::max<size_t>(1, kRowsBytesMax / stride);
    size_t group = 1;
    while (group < fit && done + group < count && batch.message_bytes(first + order[done + group]) == size) group++;

    rows.resize(group * stride);
    digests.resize(group * hash::kSha512Bytes);
    for (size_t i = 0; i < group; i++) {
      const size_t k = order[done + i];
      std::memcpy(&rows[i * stride], batch.r(first + k), 32);
      std::memcpy(&rows[i * stride + 32], keys[k], 32);
      if (size != 0) std::memcpy(&rows[i * stride + kPrefixBytes], batch.message(first + k), size);
    }
    hash::sha512_many(rows.data(), stride, stride, group, digests.data());
    for (size_t i = 0; i < group; i++) h[order[done + i]] = reduce_64(&digests[i * hash::kSha512Bytes]);
    done += group;
  }
}

}  // namespace pyledger::ed25519
