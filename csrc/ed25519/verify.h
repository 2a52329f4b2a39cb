// Ed25519 verification across signatures, by one rule: RFC 8032, section 5.1.7, as written - canonical A and R, S < L,
// [8][S]B = [8]R + [8][h]A - and no public key of small order. Every route gives this answer for every input, whatever
// else is in the batch.
//
// Everything here handles public data only and runs in variable time. Threads as in parallel/pool.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <vector>

#include "ed25519/batch.h"
#include "ed25519/key_map.h"
#include "ed25519/rows.h"

namespace pyledger::ed25519 {

// valid[i] = whether signature i of the batch is valid under public_keys[32 * i ..].
void verify_many(const uint8_t* public_keys, const Batch& batch, unsigned threads, uint8_t* valid);

// First key that is not an acceptable public key, if there is one.
struct KeyFault {
  size_t position;
  PointStatus status;
};
std::optional<KeyFault> find_key_fault(const uint8_t* public_keys, size_t count, unsigned threads);

// Public keys that sign often. The first keys, as many as fit table_bytes_max, get a table of their multiples
// (kTableBytes each); signatures under later ones take the routes of unregistered keys.
// Calls may come from several threads; add() waits for verifications under way.
class KeyRegistry {
 public:
  static constexpr size_t kTableBytes = 32 * 128 * sizeof(Entry);

  explicit KeyRegistry(size_t table_bytes_max) : tables_max_(table_bytes_max / kTableBytes) {}

  // Numbers of the keys; a key that is known keeps its number. With a fault nothing is added. An exception (no memory)
  // may leave keys numbered; they have no tables until the next call.
  std::optional<KeyFault> add(const uint8_t* public_keys, size_t count, unsigned threads, uint32_t* indices);

  size_t size() const;
  size_t tables() const;
  void public_key(size_t index, uint8_t* key_32) const;

  // valid[i] = whether signature i is valid under key indices[i]. Returns the position of the first index out of range,
  // if there is one, and then does nothing.
  std::optional<size_t> verify_many(const uint32_t* indices, const Batch& batch, unsigned threads,
                                    uint8_t* valid) const;

 private:
  void build_tables(unsigned threads);
  void verify_with_tables(const uint32_t* indices, const Batch& batch, unsigned threads, uint8_t* valid) const;
  void verify_without_tables(const uint32_t* indices, const Batch& batch, unsigned threads, uint8_t* valid) const;

  size_t tables_max_;
  mutable std::shared_mutex mutex_;
  KeyMap keys_;
  std::vector<std::unique_ptr<Entry[]>> tables_;
};

// Name of the row in force for large batches.
const char* row_name() noexcept;

}  // namespace pyledger::ed25519
