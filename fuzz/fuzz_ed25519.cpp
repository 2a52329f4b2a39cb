// Arbitrary batches of keys, signatures and messages: each signature has the same answer alone on the scalar row, in a
// batch of any size on the row in force, and under registered keys with and without tables.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dispatch/cpu.h"
#include "ed25519/verify.h"

namespace {

using namespace pyledger;
using ed25519::Batch;

constexpr size_t kMessageBytes = 16, kRecordBytes = 32 + 64 + kMessageBytes, kRecordsMax = 24;

void require(bool condition) {
  if (!condition) std::abort();
}

// Records repeated until the batch is long enough for the combined equation, if the first byte asks for it.
struct Arrays {
  std::vector<uint8_t> keys, signatures, messages;

  Arrays(const uint8_t* data, size_t records, size_t repeats) {
    for (size_t i = 0; i < records * repeats; i++) {
      const uint8_t* record = data + kRecordBytes * (i % records);
      keys.insert(keys.end(), record, record + 32);
      signatures.insert(signatures.end(), record + 32, record + 96);
      messages.insert(messages.end(), record + 96, record + kRecordBytes);
    }
  }

  Batch part(size_t first, size_t count) const {
    return {count, &signatures[64 * first], &messages[kMessageBytes * first], nullptr, kMessageBytes};
  }
  size_t count() const { return keys.size() / 32; }
};

std::vector<uint8_t> answers_alone(const Arrays& arrays, size_t records) {
  require(dispatch::force_level("scalar") == dispatch::ForceResult::kOk);
  std::vector<uint8_t> valid(records);
  for (size_t i = 0; i < records; i++) {
    ed25519::verify_many(&arrays.keys[32 * i], arrays.part(i, 1), 1, &valid[i]);
  }
  require(dispatch::force_level("native") == dispatch::ForceResult::kOk);
  return valid;
}

void check_registered(const Arrays& arrays, size_t records, const std::vector<uint8_t>& expected) {
  ed25519::KeyRegistry registry(ed25519::KeyRegistry::kTableBytes);  // the first key has a table, the others have none
  for (size_t i = 0; i < records; i++) {
    uint32_t index;
    if (registry.add(&arrays.keys[32 * i], 1, 1, &index)) {
      require(!expected[i]);
      continue;
    }
    uint8_t valid;
    require(!registry.verify_many(&index, arrays.part(i, 1), 1, &valid));
    require(valid == expected[i]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 + kRecordBytes) return 0;
  const size_t records = std::min((size - 1) / kRecordBytes, kRecordsMax);
  const size_t repeats = data[0] % 2 == 0 ? 1 : 100 / records + 1;
  const Arrays arrays(data + 1, records, repeats);
  const std::vector<uint8_t> expected = answers_alone(arrays, records);
  std::vector<uint8_t> valid(arrays.count());
  ed25519::verify_many(arrays.keys.data(), arrays.part(0, arrays.count()), 1, valid.data());
  for (size_t i = 0; i < valid.size(); i++) require(valid[i] == expected[i % records]);
  check_registered(arrays, records, expected);
  return 0;
}
