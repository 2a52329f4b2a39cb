#include "engine/transfers.h"

#include <functional>
#include <set>
#include <stdexcept>

namespace pyledger::engine {
namespace {

template <class T>
void reserve_more_of(std::vector<T>& items, size_t count) {
  if (items.capacity() - items.size() < count) items.reserve(std::max(items.size() + count, 2 * items.capacity()));
}

}  // namespace

void TransferStore::reserve_more(size_t count) {
  if (size() + failed_.size() + count > kCountMax - 1)
    throw std::length_error("transfers: the engine's memory is full");
  records_.reserve(size() + count);
  pending_of_.reserve(size() + count);
  failed_.reserve(failed_.size() + count);
  reserve_more_of(pendings_, count);
  reserve_more_of(expiries_, count);
  index_.reserve(size() + failed_.size() + count);
}

void TransferStore::prepare(size_t count) {
  if (count <= size()) return;
  reserve_more(count - size());
  records_.prepare(count);
  pending_of_.prepare(count);
  index_.prepare(count);
}

void TransferStore::truncate(size_t size) {
  while (!pendings_.empty() && pendings_.back().position >= size) pendings_.pop_back();
  for (size_t position = records_.size(); position-- > size;) {
    index_.erase_last(hash(records_[position].id), static_cast<uint32_t>(position));
  }
  records_.truncate(size);
  pending_of_.truncate(size);
}

void TransferStore::append_pending(uint32_t controller) {
  const uint32_t position = static_cast<uint32_t>(size()) - 1;
  pending_of_[position] = static_cast<uint32_t>(pendings_.size());
  pendings_.push_back({position, controller, PendingStatus::kPending});
  if (records_[position].timeout_s == 0) return;
  expiries_.push_back({records_[position].expires_at(), position});
  std::push_heap(expiries_.begin(), expiries_.end(), std::greater<>());
}

bool TransferStore::live(const Expiry& expiry) const {
  // After a roll-back another transfer may stand at the position; it counts if it expires at the same time, and then a
  // second entry of it finds it expired.
  if (expiry.position >= size() || pending_of_[expiry.position] == kNone) return false;
  return pendings_[pending_of_[expiry.position]].status == PendingStatus::kPending &&
         records_[expiry.position].timeout_s != 0 && records_[expiry.position].expires_at() == expiry.at_ns;
}

uint32_t TransferStore::next_expired(uint64_t now_ns) {
  while (!expiries_.empty()) {
    const Expiry first = expiries_.front();
    if (live(first)) return first.at_ns <= now_ns ? pending_of_[first.position] : kNone;
    std::pop_heap(expiries_.begin(), expiries_.end(), std::greater<>());
    expiries_.pop_back();
  }
  return kNone;
}

bool TransferStore::expiries_complete() const {
  const std::set<Expiry> known(expiries_.begin(), expiries_.end());
  return std::all_of(pendings_.begin(), pendings_.end(), [&](const Pending& pending) {
    const Transfer& transfer = records_[pending.position];
    if (pending.status != PendingStatus::kPending || transfer.timeout_s == 0) return true;
    return known.contains({transfer.expires_at(), pending.position});
  });
}

}  // namespace pyledger::engine
