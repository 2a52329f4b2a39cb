#include "ed25519/verify.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "ed25519/combined.h"
#include "ed25519/exact.h"
#include "ed25519/parts.h"
#include "ed25519/registered.h"
#include "ed25519/select.h"
#include "ed25519/tables.h"

namespace pyledger::ed25519 {
namespace {

constexpr size_t kKeysPerTask = 256;

}  // namespace

void verify_many(const uint8_t* public_keys, const Batch& batch, unsigned threads, uint8_t* valid) {
  if (batch.count >= kCombinedFrom) return verify_combined(public_keys, batch, threads, valid);
  for_parts(batch.count, task_size(batch.count, threads), threads, [&](size_t first, size_t count) {
    verify_exact(batch, first, count, public_keys + 32 * first, valid + first);
  });
}

std::optional<KeyFault> find_key_fault(const uint8_t* public_keys, size_t count, unsigned threads) {
  std::vector<uint8_t> status(count);
  for_parts(count, kKeysPerTask, threads, [&](size_t first, size_t part) {
    std::vector<Entry> points(part);
    decode_rows(public_keys + 32 * first, 32, part, points.data(), &status[first]);
  });
  for (size_t i = 0; i < count; i++) {
    if (status[i] != kPoint) return KeyFault{i, static_cast<PointStatus>(status[i])};
  }
  return std::nullopt;
}

std::optional<KeyFault> KeyRegistry::add(const uint8_t* public_keys, size_t count, unsigned threads,
                                         uint32_t* indices) {
  if (const auto fault = find_key_fault(public_keys, count, threads)) return fault;
  const std::unique_lock lock(mutex_);
  for (size_t i = 0; i < count; i++) indices[i] = keys_.insert(public_keys + 32 * i);
  build_tables(threads);
  return std::nullopt;
}

// Of every key that lacks one, all or none: a key numbered by a call that then failed is served here by the next one.
void KeyRegistry::build_tables(unsigned threads) {
  const size_t first = tables_.size(), end = std::min(keys_.size(), tables_max_);
  if (end <= first) return;
  std::vector<Entry> points(end - first);
  std::vector<uint8_t> status(end - first);
  decode_rows(keys_.key(first), 32, points.size(), points.data(), status.data());
  std::vector<std::unique_ptr<Entry[]>> built(points.size());
  auto task = [&](size_t t) { built[t] = build_table(row_for(kEveryLane), points[t], kKeyShape); };
  parallel::run(threads, points.size(), task);
  tables_.reserve(end);
  for (auto& table : built) tables_.push_back(std::move(table));
}

size_t KeyRegistry::size() const {
  const std::shared_lock lock(mutex_);
  return keys_.size();
}

size_t KeyRegistry::tables() const {
  const std::shared_lock lock(mutex_);
  return tables_.size();
}

void KeyRegistry::public_key(size_t index, uint8_t* key_32) const {
  const std::shared_lock lock(mutex_);
  std::memcpy(key_32, keys_.key(index), 32);
}

std::optional<size_t> KeyRegistry::verify_many(const uint32_t* indices, const Batch& batch, unsigned threads,
                                               uint8_t* valid) const {
  const std::shared_lock lock(mutex_);
  std::vector<size_t> with_table, without_table;
  for (size_t i = 0; i < batch.count; i++) {
    if (indices[i] >= keys_.size()) return i;
    (indices[i] < tables_.size() ? with_table : without_table).push_back(i);
  }
  verify_with_tables(indices, batch.choose(with_table), threads, valid);
  verify_without_tables(indices, batch.choose(without_table), threads, valid);
  return std::nullopt;
}

void KeyRegistry::verify_with_tables(const uint32_t* indices, const Batch& batch, unsigned threads,
                                     uint8_t* valid) const {
  const BaseTable base = base_table(batch.count);
  for_parts(batch.count, task_size(batch.count, threads), threads, [&](size_t first, size_t count) {
    std::vector<RegisteredKey> keys(count);
    std::vector<uint8_t> answers(count);
    for (size_t k = 0; k < count; k++) {
      const uint32_t index = indices[batch.position(first + k)];
      keys[k] = {keys_.key(index), tables_[index].get()};
    }
    verify_registered(batch, first, count, keys.data(), base, answers.data());
    for (size_t k = 0; k < count; k++) valid[batch.position(first + k)] = answers[k];
  });
}

void KeyRegistry::verify_without_tables(const uint32_t* indices, const Batch& batch, unsigned threads,
                                        uint8_t* valid) const {
  std::vector<uint8_t> public_keys(32 * batch.count), answers(batch.count);
  for (size_t i = 0; i < batch.count; i++) {
    std::memcpy(&public_keys[32 * i], keys_.key(indices[batch.position(i)]), 32);
  }
  ed25519::verify_many(public_keys.data(), batch, threads, answers.data());
  for (size_t i = 0; i < batch.count; i++) valid[batch.position(i)] = answers[i];
}

const char* row_name() noexcept { return row_for(kEveryLane).name; }

}  // namespace pyledger::ed25519
