#include "hash/ragged.h"

#include "hash/sha256.h"
#include "hash/sha512.h"

namespace pyledger::hash {
namespace {

constexpr size_t kGroup = 64;

// Calls hash_run(messages, size_bytes, count, digests) for runs of up to kGroup messages of one length.
template <class HashRun>
void for_each_run(const uint8_t* buffer, const uint64_t* offsets, const size_t* order, size_t count, uint8_t* digests,
                  size_t digest_bytes, const HashRun& hash_run) noexcept {
  const uint8_t* messages[kGroup];
  uint8_t* places[kGroup];
  for (size_t i = 0; i < count;) {
    const uint64_t length = offsets[order[i] + 1] - offsets[order[i]];
    size_t run = 0;
    for (; run < kGroup && i + run < count; run++) {
      const size_t message = order[i + run];
      if (offsets[message + 1] - offsets[message] != length) break;
      messages[run] = buffer + offsets[message];
      places[run] = digests + digest_bytes * message;
    }
    hash_run(messages, length, run, places);
    i += run;
  }
}

}  // namespace

std::vector<size_t> order_by_length(const uint64_t* offsets, size_t count) {
  return order_by_length(count, [&](size_t i) { return offsets[i + 1] - offsets[i]; });
}

void sha256_ragged(const uint8_t* buffer, const uint64_t* offsets, const size_t* order, size_t count, int prefix,
                   uint8_t* digests) noexcept {
  for_each_run(buffer, offsets, order, count, digests, kSha256Bytes,
               [&](const uint8_t* const* messages, size_t size_bytes, size_t run, uint8_t* const* places) {
                 sha256_gather(messages, size_bytes, run, prefix, places);
               });
}

void sha512_ragged(const uint8_t* buffer, const uint64_t* offsets, const size_t* order, size_t count,
                   uint8_t* digests) noexcept {
  for_each_run(buffer, offsets, order, count, digests, kSha512Bytes,
               [&](const uint8_t* const* messages, size_t size_bytes, size_t run, uint8_t* const* places) {
                 sha512_gather(messages, size_bytes, run, places);
               });
}

}  // namespace pyledger::hash
