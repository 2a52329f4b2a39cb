#include "merkle/state_tree.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hash/sha256.h"
#include "merkle/rehash.h"
#include "merkle/shape.h"
#include "parallel/pool.h"

namespace pyledger::merkle {
namespace {

constexpr unsigned kChunkLeavesLog2 = 17;
constexpr size_t kGroup = 64;
constexpr size_t kLeavesAhead = 16;
constexpr size_t kParallelUpdates = 4096;  // fewer are copied sooner than another thread wakes

void store_key(Key key, uint8_t* bytes) noexcept {
  for (int i = 0; i < 8; i++) bytes[i] = static_cast<uint8_t>(key.low >> 8 * i);
  for (int i = 0; i < 8; i++) bytes[8 + i] = static_cast<uint8_t>(key.high >> 8 * i);
}

// Inlined by force, as everything that only prefetches: GCC takes such a function for one without effect and drops the
// calls.
template <int kWrite>
[[gnu::always_inline]] inline void prefetch(const uint8_t* row, size_t size_bytes) noexcept {
  for (size_t line = 0; line < size_bytes; line += 64) __builtin_prefetch(row + line, kWrite);
  __builtin_prefetch(row + size_bytes - 1, kWrite);
}

// Where a task's part of rising slots begins: between two ranges of marks.
size_t part_begin(const uint32_t* slots, size_t count, size_t task, size_t tasks) noexcept {
  if (task == tasks) return count;
  const uint32_t* from = slots + count * task / tasks;
  if (from == slots) return 0;
  const uint64_t range = *from / DirtySlots::kRange;
  return static_cast<size_t>(std::lower_bound(slots, from, range * DirtySlots::kRange) - slots);
}

}  // namespace

Digest state_root(uint64_t size, const Digest& tree_root) noexcept {
  constexpr int kStatePrefix = 0x02;
  uint8_t data[8 + kDigestBytes];
  for (int i = 0; i < 8; i++) data[i] = static_cast<uint8_t>(size >> 8 * i);
  std::memcpy(data + 8, tree_root.data(), kDigestBytes);
  Digest root;
  hash::sha256_many(data, sizeof data, sizeof data, 1, kStatePrefix, root.data());
  return root;
}

StateTree::StateTree(size_t payload_bytes, bool key_in_payload)
    : payload_bytes_(payload_bytes),
      key_offset_(key_in_payload ? 0 : payload_bytes),
      next_offset_(payload_bytes + (key_in_payload ? 0 : kKeyBytes)),
      rows_(next_offset_ + sizeof(uint32_t), kChunkLeavesLog2),
      index_({kHeadKey, 0}) {
  grow(1);
  std::memset(rows_.row(0), 0, row_bytes());
  dirty_.mark(0);
}

void StateTree::grow(uint64_t size) {
  dirty_.grow(size);
  grow_levels(levels_, size);
  rows_.grow(size);
}

Key StateTree::key_at(uint32_t slot) const noexcept { return load_key(key_of(slot)); }

uint32_t StateTree::next(uint32_t slot) const noexcept {
  uint32_t next;
  std::memcpy(&next, rows_.row(slot) + next_offset_, sizeof next);
  return next;
}

void StateTree::set_next(uint32_t slot, uint32_t next) noexcept {
  std::memcpy(rows_.row(slot) + next_offset_, &next, sizeof next);
}

bool StateTree::fits(Key key, const uint8_t* payload) const noexcept {
  return key_offset_ != 0 || load_key(payload) == key;
}

// All but the next slot.
void StateTree::set_row(uint32_t slot, Key key, const uint8_t* payload) noexcept {
  std::memcpy(rows_.row(slot), payload, payload_bytes_);
  store_key(key, rows_.row(slot) + key_offset_);
}

// A tombstone's row holds the head's key, which no slot but 0 has.
bool StateTree::is_tombstone(uint32_t slot) const noexcept {
  return tombstones_ != 0 && slot != 0 && key_at(slot) == kHeadKey;
}

bool StateTree::leaf(uint32_t slot, uint8_t* out) const noexcept {
  if (is_tombstone(slot)) return false;
  std::memcpy(out, rows_.row(slot), payload_bytes_);
  std::memcpy(out + payload_bytes_, key_of(slot), kKeyBytes);
  if (const uint32_t after = next(slot); after != 0) {
    std::memcpy(out + payload_bytes_ + kKeyBytes, key_of(after), kKeyBytes);
  } else {
    store_key(kEndKey, out + payload_bytes_ + kKeyBytes);
  }
  return true;
}

// Asks for the rows of a leaf far ahead, and for the key after one that is nearer, whose row has arrived.
[[gnu::always_inline]] inline void StateTree::prefetch_leaf(const uint32_t* slots, size_t count,
                                                            size_t at) const noexcept {
  if (at + kGroup < count) prefetch<0>(rows_.row(slots[at + kGroup]), row_bytes());
  if (at + kGroup / 2 < count) __builtin_prefetch(key_of(next(slots[at + kGroup / 2])));
}

StateTree::Outcome StateTree::insert(const Key* keys, const uint8_t* payloads, size_t count) {
  const uint64_t first_slot = size();
  if (count > kSlotsMax - first_slot) return {Problem::kNoSlots, static_cast<size_t>(kSlotsMax - first_slot)};
  std::vector<Arrival> arrivals(count);
  for (size_t i = 0; i < count; i++) {
    if (!fits(keys[i], payloads + payload_bytes_ * i)) return {Problem::kOtherKey, i};
  }
  for (size_t i = 0; i < count; i++) arrivals[i] = {keys[i], static_cast<uint32_t>(i), 0};
  std::sort(arrivals.begin(), arrivals.end(),
            [](const Arrival& a, const Arrival& b) { return a.key != b.key ? a.key < b.key : a.row < b.row; });
  if (const Outcome outcome = place(arrivals); outcome.problem != Problem::kNone) return outcome;
  if (!blocks_.empty()) {
    for (const Arrival& arrival : arrivals) log(arrival.before);
  }
  grow(first_slot + count);
  for (size_t i = 0; i < count; i++) {
    set_row(static_cast<uint32_t>(first_slot + i), keys[i], payloads + payload_bytes_ * i);
  }
  link(arrivals, first_slot);
  return {};
}

// Finds each arrival's predecessor. They come by key, so the least row with a problem is known at the end only. Of a
// present key that occurs twice the first row is told.
StateTree::Outcome StateTree::place(std::vector<Arrival>& arrivals) const noexcept {
  Outcome first{Problem::kNone, arrivals.size()};
  for (size_t i = 0; i < arrivals.size(); i++) {
    const Key key = arrivals[i].key;
    const KeyIndex::Entry entry = index_.at_or_before(key);
    arrivals[i].before = entry.slot;
    Problem problem = Problem::kNone;
    if (key == kHeadKey || key == kEndKey) {
      problem = Problem::kReservedKey;
    } else if (entry.key == key) {
      problem = Problem::kKeyPresent;
    } else if (i > 0 && key == arrivals[i - 1].key) {
      problem = Problem::kKeyTwice;
    }
    if (problem != Problem::kNone && arrivals[i].row < first.row) first = {problem, arrivals[i].row};
  }
  return first;
}

// Half a batch linked is no tree: no memory for the index ends the process. Arrivals rise, so each one's predecessor is
// either the one before it or a key from before the batch.
void StateTree::link(const std::vector<Arrival>& arrivals, uint64_t first_slot) noexcept {
  for (size_t i = 0; i < arrivals.size(); i++) {
    const auto slot = static_cast<uint32_t>(first_slot + arrivals[i].row);
    const bool same_gap = i > 0 && arrivals[i - 1].before == arrivals[i].before;
    const uint32_t before = same_gap ? static_cast<uint32_t>(first_slot + arrivals[i - 1].row) : arrivals[i].before;
    set_next(slot, next(before));
    set_next(before, slot);
    dirty_.mark(slot);
    dirty_.mark(before);
    index_.insert(arrivals[i].key, slot);
  }
}

// Brings the rows near, for the copying that follows.
StateTree::Outcome StateTree::check_update(const uint32_t* slots, const uint8_t* payloads, size_t first,
                                           size_t end) const noexcept {
  for (size_t i = first; i < end; i++) {
    if (slots[i] == 0 || slots[i] >= size()) return {Problem::kNoSuchSlot, i};
    if (i + kLeavesAhead < end && slots[i + kLeavesAhead] < size()) {
      prefetch<1>(rows_.row(slots[i + kLeavesAhead]), row_bytes());
    }
    if (is_tombstone(slots[i])) return {Problem::kTombstone, i};
    if (!fits(key_at(slots[i]), payloads + payload_bytes_ * i)) return {Problem::kOtherKey, i};
  }
  return {};
}

StateTree::Outcome StateTree::update(const uint32_t* slots, const uint8_t* payloads, size_t count, unsigned threads) {
  const size_t tasks = count < kParallelUpdates ? 1 : parallel::thread_count(threads);
  std::vector<Outcome> outcomes(tasks);
  auto check = [&](size_t task) {
    outcomes[task] = check_update(slots, payloads, count * task / tasks, count * (task + 1) / tasks);
  };
  parallel::run(threads, tasks, check);
  for (const Outcome& outcome : outcomes) {
    if (outcome.problem != Problem::kNone) return outcome;
  }
  if (!blocks_.empty()) {
    for (size_t i = 0; i < count; i++) log(slots[i]);
  }
  const size_t kept = key_offset_ == 0 ? kKeyBytes : 0;
  auto copy = [&](size_t i) {
    if (i + kLeavesAhead < count) prefetch<1>(rows_.row(slots[i + kLeavesAhead]), payload_bytes_);
    std::memcpy(rows_.row(slots[i]) + kept, payloads + payload_bytes_ * i + kept, payload_bytes_ - kept);
    dirty_.mark(slots[i]);
  };
  // Each task takes the slots of ranges that are its own, in the batch's order, so that the last payload of a slot
  // stays. Where slots rise, as those of a block do, that is a part of the batch.
  if (std::is_sorted(slots, slots + count)) {
    auto copy_part = [&](size_t task) {
      const size_t end = part_begin(slots, count, task + 1, tasks);
      for (size_t i = part_begin(slots, count, task, tasks); i < end; i++) copy(i);
    };
    parallel::run(threads, tasks, copy_part);
  } else {
    auto copy_ranges = [&](size_t task) {
      for (size_t i = 0; i < count; i++) {
        if (slots[i] / DirtySlots::kRange % tasks == task) copy(i);
      }
    };
    parallel::run(threads, tasks, copy_ranges);
  }
  return {};
}

StateTree::Outcome StateTree::update_from(const Payloads& payloads, const uint32_t* slots, size_t count,
                                          unsigned threads) {
  for (size_t i = 0; i < count; i++) {
    if (slots[i] >= size() || slots[i] <= (i == 0 ? 0 : slots[i - 1])) return {Problem::kNoSuchSlot, i};
  }
  if (!blocks_.empty()) {
    for (size_t i = 0; i < count; i++) log(slots[i]);
  }
  const size_t tasks = count < kParallelUpdates ? 1 : parallel::thread_count(threads);
  std::vector<Outcome> outcomes(tasks);
  auto replace_part = [&](size_t task) {
    const size_t end = part_begin(slots, count, task + 1, tasks);
    for (size_t i = part_begin(slots, count, task, tasks); i < end; i++) {
      if (i + kLeavesAhead < end) {
        payloads.prefetch(payloads.holder, slots[i + kLeavesAhead]);
        prefetch<1>(rows_.row(slots[i + kLeavesAhead]), row_bytes());
      }
      if (payloads.replace(payloads.holder, slots[i], rows_.row(slots[i]))) {
        dirty_.mark(slots[i]);
      } else if (outcomes[task].problem == Problem::kNone) {
        outcomes[task] = {Problem::kOtherKey, i};
      }
    }
  };
  parallel::run(threads, tasks, replace_part);
  for (const Outcome& outcome : outcomes) {
    if (outcome.problem != Problem::kNone) return outcome;
  }
  return {};
}

StateTree::Outcome StateTree::remove(const uint32_t* slots, size_t count) {
  std::vector<uint32_t> sorted(slots, slots + count);
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < count; i++) {
    if (slots[i] == 0 || slots[i] >= size()) return {Problem::kNoSuchSlot, i};
    if (is_tombstone(slots[i])) return {Problem::kTombstone, i};
  }
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    const uint32_t* first = std::find(slots, slots + count, *twice);
    return {Problem::kTombstone, static_cast<size_t>(std::find(first + 1, slots + count, *twice) - slots)};
  }
  if (!blocks_.empty()) log_removal(sorted);
  for (const uint32_t slot : sorted) {
    const Key key = key_at(slot);
    index_.erase(key);
    const uint32_t before = index_.at_or_before(key).slot;
    if (!blocks_.empty() && slot < blocks_.back().size) blocks_.back().removed.push_back({key, slot});
    set_next(before, next(slot));
    std::memset(rows_.row(slot), 0, row_bytes());
    tombstones_++;
    dirty_.mark(slot);
    dirty_.mark(before);
  }
  return {};
}

std::vector<uint32_t> StateTree::order() const {
  std::vector<uint32_t> slots;
  slots.reserve(size());
  index_.for_each([&](const KeyIndex::Entry& entry) { slots.push_back(entry.slot); });
  slots.erase(slots.begin());
  return slots;
}

bool StateTree::load(const Key* keys, const uint8_t* payloads, const uint32_t* order, size_t count) {
  if (size() != 1 || !blocks_.empty() || count >= kSlotsMax) return false;
  const Key* before = &kHeadKey;
  for (size_t i = 0; i < count; i++) {
    if (order[i] == 0 || order[i] > count) return false;
    const Key* key = &keys[order[i] - 1];
    if (*key <= *before || *key == kEndKey || !fits(*key, payloads + payload_bytes_ * (order[i] - 1))) return false;
    before = key;
  }
  grow(1 + count);
  for (size_t i = 0; i < count; i++) {
    const auto slot = static_cast<uint32_t>(i + 1);
    set_row(slot, keys[i], payloads + payload_bytes_ * i);
    dirty_.mark(slot);
  }
  load_links(keys, order, count);
  return true;
}

// As link().
void StateTree::load_links(const Key* keys, const uint32_t* order, size_t count) noexcept {
  uint32_t last = 0;
  for (size_t i = 0; i < count; i++) {
    set_next(last, order[i]);
    index_.insert(keys[order[i] - 1], order[i]);
    last = order[i];
  }
  set_next(last, 0);
  dirty_.mark(0);
}

void StateTree::begin_block() {
  logged_.resize(size());
  blocks_.push_back({size(), tombstones_, {}, {}, {}});
  if (blocks_.size() > 1) forget_logged(blocks_[blocks_.size() - 2]);
}

void StateTree::commit_block() noexcept {
  if (blocks_.size() == 1) forget_logged(blocks_.back());
  blocks_.pop_front();
}

void StateTree::roll_back_block() noexcept {
  const Log log = std::move(blocks_.back());
  blocks_.pop_back();
  forget_logged(log);
  restore(log);
}

void StateTree::forget_logged(const Log& log) noexcept {
  for (const uint32_t slot : log.slots) logged_[slot] = false;
}

// The row of a slot before the block's first change of it. A block that goes on after a newer one was taken back logs
// slots again; the first row of each counts.
void StateTree::log(uint32_t slot) {
  Log& log = blocks_.back();
  if (slot >= log.size || logged_[slot]) return;
  log.rows.resize(log.slots.size() * row_bytes());  // without a row whose slot found no memory
  log.rows.insert(log.rows.end(), rows_.row(slot), rows_.row(slot) + row_bytes());
  log.slots.push_back(slot);
  logged_[slot] = true;
}

// Logs the slots and their predecessors, and makes room, so that nothing can fail once the first is unlinked.
void StateTree::log_removal(const std::vector<uint32_t>& slots) {
  for (const uint32_t slot : slots) {
    const Key key = key_at(slot);
    const Key smaller{key.high - (key.low == 0), key.low - 1};
    log(slot);
    log(index_.at_or_before(smaller).slot);
  }
  std::vector<KeyIndex::Entry>& removed = blocks_.back().removed;
  removed.reserve(removed.size() + slots.size());
}

// Half a block taken back is no tree: no memory for the index ends the process.
void StateTree::restore(const Log& log) noexcept {
  for (uint64_t slot = log.size; slot < size(); slot++) {
    if (!is_tombstone(static_cast<uint32_t>(slot))) index_.erase(key_at(static_cast<uint32_t>(slot)));
  }
  for (const KeyIndex::Entry& entry : log.removed) index_.insert(entry.key, entry.slot);
  for (size_t i = log.slots.size(); i-- > 0;) {
    std::memcpy(rows_.row(log.slots[i]), &log.rows[i * row_bytes()], row_bytes());
  }
  tombstones_ = log.tombstones;
  const std::vector<uint32_t> dirty = dirty_.slots();
  dirty_.clear();
  rows_.shrink(log.size);
  for (const uint32_t slot : dirty) {
    if (slot < log.size) dirty_.mark(slot);
  }
  for (const uint32_t slot : log.slots) dirty_.mark(slot);
  dirty_.mark(static_cast<uint32_t>(log.size - 1));  // the tree's edge is another one
}

// The marks stay until every node is written: after an exception the next call hashes the same slots again.
Digest StateTree::root(unsigned threads) {
  std::vector<uint32_t> slots = dirty_.slots();
  rehash(
      levels_, size(), slots, threads,
      [](const void* context, const uint32_t* places, size_t count, ChunkedRows& hashes) {
        const auto& tree = *static_cast<const StateTree*>(context);
        const size_t leaf_bytes = tree.leaf_bytes();
        std::vector<uint8_t> data(std::min(count, kGroup) * leaf_bytes);
        const uint8_t* leaves[kGroup];
        uint8_t* digests[kGroup];
        for (size_t i = 0; i < std::min(count, kGroup); i++) leaves[i] = &data[i * leaf_bytes];
        size_t filled = 0;
        for (size_t i = 0; i < count; i++) {
          tree.prefetch_leaf(places, count, i);
          if (i + kGroup < count) __builtin_prefetch(hashes.row(places[i + kGroup]), 1);
          digests[filled] = hashes.row(places[i]);
          if (!tree.leaf(places[i], &data[filled * leaf_bytes])) {
            hash::sha256_gather(leaves + filled, 0, 1, kLeafPrefix, digests + filled);
          } else if (++filled == kGroup) {
            hash::sha256_gather(leaves, leaf_bytes, filled, kLeafPrefix, digests);
            filled = 0;
          }
        }
        hash::sha256_gather(leaves, leaf_bytes, filled, kLeafPrefix, digests);
      },
      this);
  dirty_.clear();
  Digest tree_root;
  std::memcpy(tree_root.data(), levels_[std::bit_width(size() - 1)].row(0), kDigestBytes);
  return state_root(size(), tree_root);
}

std::vector<Digest> StateTree::path(uint32_t slot) const {
  std::vector<Digest> hashes;
  uint64_t place = slot;
  for (unsigned h = 0; level_size(size(), h) > 1; h++, place /= 2) {
    if ((place ^ 1) >= level_size(size(), h)) continue;
    std::memcpy(hashes.emplace_back().data(), levels_[h].row(place ^ 1), kDigestBytes);
  }
  return hashes;
}

size_t StateTree::memory_bytes() const noexcept {
  size_t bytes = rows_.memory_bytes() + dirty_.memory_bytes() + index_.memory_bytes();
  for (const ChunkedRows& level : levels_) bytes += level.memory_bytes();
  return bytes;
}

}  // namespace pyledger::merkle
