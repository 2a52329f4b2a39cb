// An authenticated map from 128-bit keys to payloads: an RFC 6962 tree over slots in creation order, whose leaves form
// a linked list in key order (an indexed Merkle tree). The state root is SHA-256(0x02 || size || tree root), size as 8
// bytes, little-endian: it fixes the tree's shape, so a proof has one encoding.
//
// Leaf data = payload || key (16 bytes, little-endian) || next key (16 bytes, little-endian). One path proves that a
// key is present, and the path of its predecessor that it is absent. Slot 0 is the head: key 0, payload of zeros; the
// last leaf's next key is 2^128 - 1. These two keys are no one's. A removed key leaves a tombstone in its slot, a leaf
// without data, which no other leaf can equal; slots are never used again.
//
// Changes mark slots; root() then hashes what they touch, level by level, every lane full. So the root depends on the
// keys, their slots and payloads alone: not on how the changes were split into batches, nor on the threads.
//
// A leaf's memory is its payload, its key unless the payload begins with it, and the slot of the next key; the leaf's
// data are put together when they are hashed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "merkle/chunked_rows.h"
#include "merkle/digest.h"
#include "merkle/dirty_slots.h"
#include "merkle/key_index.h"

namespace pyledger::merkle {

inline constexpr size_t kKeyBytes = 16;
inline constexpr Key kHeadKey{0, 0};
inline constexpr Key kEndKey{~uint64_t{0}, ~uint64_t{0}};
inline constexpr uint64_t kSlotsMax = uint64_t{1} << 32;

Digest state_root(uint64_t size, const Digest& tree_root) noexcept;

class StateTree {
 public:
  enum class Problem { kNone, kReservedKey, kKeyPresent, kKeyTwice, kNoSlots, kNoSuchSlot, kTombstone, kOtherKey };
  // The first row of a batch that has a problem; nothing of such a batch takes effect.
  struct Outcome {
    Problem problem = Problem::kNone;
    size_t row = 0;
  };

  // With key_in_payload the first 16 bytes of each payload are its key, little-endian.
  explicit StateTree(size_t payload_bytes, bool key_in_payload = false);

  size_t payload_bytes() const noexcept { return payload_bytes_; }
  size_t leaf_bytes() const noexcept { return payload_bytes_ + 2 * kKeyBytes; }
  uint64_t size() const noexcept { return rows_.size(); }

  // Key i takes slot size() + i, counted before the call.
  Outcome insert(const Key* keys, const uint8_t* payloads, size_t count);

  // Replaces payloads; where a slot occurs twice, the last one stays.
  Outcome update(const uint32_t* slots, const uint8_t* payloads, size_t count, unsigned threads);

  // Payloads that lie elsewhere, one for each slot.
  struct Payloads {
    const void* holder;
    void (*prefetch)(const void* holder, uint32_t slot);
    // Replaces the payload of a slot's key; false, and nothing is replaced, if the one there is of another key.
    bool (*replace)(const void* holder, uint32_t slot, uint8_t* payload);
  };
  // Replaces payloads of slots that strictly rise. Where the outcome is kOtherKey, others were replaced.
  Outcome update_from(const Payloads& payloads, const uint32_t* slots, size_t count, unsigned threads);

  // Unlinks keys and leaves tombstones.
  Outcome remove(const uint32_t* slots, size_t count);

  // Slots in the order of their keys, the head's left out. With the payloads it is all that a snapshot needs.
  std::vector<uint32_t> order() const;

  // Fills a tree that holds the head only, much faster than insert(): key i gets slot i + 1, and `order` lists the
  // slots so that their keys rise. False if they don't, or the tree holds more; it is as before then.
  bool load(const Key* keys, const uint8_t* payloads, const uint32_t* order, size_t count);

  // Changes that may be taken back, newest block first, until they are committed, oldest first. Nothing is logged while
  // no block is open. commit and roll_back need an open block.
  void begin_block();
  void commit_block() noexcept;
  void roll_back_block() noexcept;
  size_t open_blocks() const noexcept { return blocks_.size(); }

  Digest root(unsigned threads);

  // The slot of the greatest key that is at most `key`; key_at tells whether it is the key itself.
  uint32_t at_or_before(Key key) const noexcept { return index_.at_or_before(key).slot; }
  Key key_at(uint32_t slot) const noexcept;

  // Writes the leaf data of a slot, leaf_bytes(). False for a tombstone, which has none.
  bool leaf(uint32_t slot, uint8_t* out) const noexcept;

  // The inclusion proof of a slot, lowest hash first. root() must have been called since the last change.
  std::vector<Digest> path(uint32_t slot) const;

  size_t memory_bytes() const noexcept;

 private:
  struct Arrival {
    Key key;
    uint32_t row;
    uint32_t before;  // slot of the greatest smaller key that was there before the batch
  };

  // What a block changed, as it was before.
  struct Log {
    uint64_t size;
    uint64_t tombstones;
    std::vector<uint32_t> slots;
    std::vector<uint8_t> rows;  // of those slots
    std::vector<KeyIndex::Entry> removed;
  };

  size_t row_bytes() const noexcept { return next_offset_ + sizeof(uint32_t); }
  const uint8_t* key_of(uint32_t slot) const noexcept { return rows_.row(slot) + key_offset_; }
  uint32_t next(uint32_t slot) const noexcept;
  void set_next(uint32_t slot, uint32_t next) noexcept;
  bool fits(Key key, const uint8_t* payload) const noexcept;
  void set_row(uint32_t slot, Key key, const uint8_t* payload) noexcept;
  void prefetch_leaf(const uint32_t* slots, size_t count, size_t at) const noexcept;
  bool is_tombstone(uint32_t slot) const noexcept;
  Outcome check_update(const uint32_t* slots, const uint8_t* payloads, size_t first, size_t end) const noexcept;
  Outcome place(std::vector<Arrival>& arrivals) const noexcept;
  void link(const std::vector<Arrival>& arrivals, uint64_t first_slot) noexcept;
  void grow(uint64_t size);
  void load_links(const Key* keys, const uint32_t* order, size_t count) noexcept;
  void log(uint32_t slot);
  void log_removal(const std::vector<uint32_t>& slots);
  void forget_logged(const Log& log) noexcept;
  void restore(const Log& log) noexcept;

  size_t payload_bytes_, key_offset_, next_offset_;
  ChunkedRows rows_;                 // payload, key, slot of the next key (0 at the end); the key may be in the payload
  std::vector<ChunkedRows> levels_;  // levels_[h] row i: the subtree over slots [i << h, (i + 1) << h), cut at size()
  DirtySlots dirty_;
  KeyIndex index_;
  uint64_t tombstones_ = 0;
  std::deque<Log> blocks_;
  std::vector<bool> logged_;  // slots in the newest log
};

}  // namespace pyledger::merkle
