#include "engine/transfers.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <set>
#include <stdexcept>

#include "engine/resolving.h"

namespace pyledger::engine {
namespace {

constexpr size_t kWindowMin = 1024;
constexpr size_t kAhead = 16;

template <class T>
void reserve_more_of(std::vector<T>& items, size_t count) {
  if (items.capacity() - items.size() < count) items.reserve(std::max(items.size() + count, 2 * items.capacity()));
}

}  // namespace

TransferStore::TransferStore() { grow_window(kWindowMin); }

// Room for count transfers in the ring. What wrapped around in the smaller ring moves to its new places; a ring that
// begins at 0 has nothing wrapped, so that growing it copies nothing.
void TransferStore::grow_window(size_t count) {
  size_t capacity = records_.size();
  if (count <= capacity) return;
  const uint64_t old_mask = mask_;
  capacity = std::max(std::bit_ceil(count), kWindowMin);
  records_.resize(capacity);
  pending_of_.resize(capacity);
  links_.resize(capacity);
  mask_ = capacity - 1;
  for (Position at = first_; at < end_; at++) {
    if ((at & mask_) == (at & old_mask)) continue;
    records_[at & mask_] = records_[at & old_mask];
    pending_of_[at & mask_] = pending_of_[at & old_mask];
    links_[at & mask_] = links_[at & old_mask];
  }
}

void TransferStore::reserve_more(size_t count) {
  const size_t window = end_ - first_ + count;
  const size_t failed = failed_.size() + count;
  if (window > kWindowMax || failed > kFailedMax || window + failed >= kWindowMax) {
    throw std::length_error("transfers: the engine's memory is full");
  }
  grow_window(window);
  failed_.reserve(failed);
  reserve_more_of(expiries_, count);
  index_.reserve(window + failed);
}

void TransferStore::prepare(size_t count) {
  const size_t window = count > first_ ? count - first_ : 0;
  if (count <= size()) return;
  reserve_more(count - size());
  records_.prepare(window);
  pending_of_.prepare(window);
  links_.prepare(window);
  index_.prepare(window);
}

void TransferStore::truncate(Position size) {
  while (!pendings_.empty() && pendings_.back().position >= size) pendings_.pop_back();
  for (Position position = end_; position-- > size;) {
    index_.erase(hash(recent(position).id), static_cast<uint32_t>(position) & (kWindowMax - 1));
  }
  end_ = size;
  last_timestamp_ = size == 0 ? 0 : (*this)[size - 1].timestamp;
}

void TransferStore::roll_back(const Mark& mark) {
  truncate(mark.size);
  last_timestamp_ = mark.last_timestamp;
  for (uint64_t number = failed_count(); number-- > mark.failed_count;) {
    index_.erase(hash(failed_id(number)), failed_entry(number));
  }
  failed_.truncate(mark.failed_count - failed_first_);
  expired_.resize(mark.expiry_count - expired_first_);
}

void TransferStore::restore(const Pending& before) {
  Pending& state = state_of(before.position);
  // It may have left the heap when it ended.
  if (state.status != before.status) push_expiry((*this)[before.position], before.position);
  state = before;
}

bool TransferStore::has_timestamp(uint64_t timestamp) const {
  Position low = 0, high = end_;
  while (low < high) {
    const Position middle = low + (high - low) / 2;
    const uint64_t found = middle >= first_ ? recent(middle).timestamp : block_record(middle).timestamp;
    if (found == timestamp) return true;
    (found < timestamp ? low : high) = found < timestamp ? middle + 1 : middle;
  }
  return false;
}

// Pending states

void TransferStore::append_pending(uint32_t controller) {
  const Position position = end_ - 1;
  pending_of_[position & mask_] = pendings_first_ + static_cast<uint32_t>(pendings_.size());
  pendings_.push_back({position, controller, PendingStatus::kPending});
  push_expiry(recent(position), position);
}

Pending TransferStore::pending(Position position) const {
  if (position >= first_) return pendings_[pending_of_[position & mask_] - pendings_first_];
  const auto old = old_pendings_.find(position);
  if (old != old_pendings_.end()) return old->second.state;
  const auto found = store_->resolved(position);
  if (!found) throw store::Damaged("store: the outcome of a pending transfer is missing");
  return {position, found->controller, static_cast<PendingStatus>(found->status)};
}

Pending& TransferStore::state_of(Position position) {
  if (position >= first_) return pendings_[pending_of_[position & mask_] - pendings_first_];
  return old_pendings_.at(position).state;
}

void TransferStore::push_expiry(const Transfer& transfer, Position position) {
  if (transfer.timeout_s == 0) return;
  expiries_.push_back({transfer.expires_at(), position});
  std::push_heap(expiries_.begin(), expiries_.end(), std::greater<>());
}

bool TransferStore::live(const Expiry& expiry) const {
  // After a roll-back another transfer may stand at the position; it counts if it expires at the same time, and then a
  // second entry of it finds it expired.
  const auto lives = [&](const Transfer& transfer, const Pending& state) {
    return state.status == PendingStatus::kPending && transfer.timeout_s != 0 && transfer.expires_at() == expiry.at_ns;
  };
  if (expiry.position >= end_) return false;
  if (expiry.position < first_) {
    const auto old = old_pendings_.find(expiry.position);
    return old != old_pendings_.end() && lives(old->second.transfer, old->second.state);
  }
  const Transfer& transfer = recent(expiry.position);
  return transfer.flags & transfer_flag::kPending && lives(transfer, pending(expiry.position));
}

Position TransferStore::next_expired(uint64_t now_ns) {
  while (!expiries_.empty()) {
    const Expiry first = expiries_.front();
    if (live(first)) return first.at_ns <= now_ns ? first.position : kNone;
    std::pop_heap(expiries_.begin(), expiries_.end(), std::greater<>());
    expiries_.pop_back();
  }
  return kNone;
}

bool TransferStore::expiries_complete() const {
  const std::set<Expiry> known(expiries_.begin(), expiries_.end());
  const auto complete = [&](const Pending& state, const Transfer& transfer) {
    if (state.status != PendingStatus::kPending || transfer.timeout_s == 0) return true;
    return known.contains({transfer.expires_at(), state.position});
  };
  return std::all_of(pendings_.begin(), pendings_.end(),
                     [&](const Pending& state) { return complete(state, recent(state.position)); }) &&
         std::all_of(old_pendings_.begin(), old_pendings_.end(),
                     [&](const auto& item) { return complete(item.second.state, item.second.transfer); });
}

// Sealed transfers

Position TransferStore::find_sealed(u128 id, uint64_t hash) const {
  if (const auto position = store_->find(id, hash)) return *position;
  return store_->has_failed(id) ? kFailed : kNone;
}

Transfer TransferStore::block_record(Position position) const {
  Transfer record;
  store_->blocks().read(position, reinterpret_cast<uint8_t*>(&record));
  return record;
}

Transfer TransferStore::sealed(Position position) const {
  const Transfer record = block_record(position);
  if (!(record.flags & (transfer_flag::kPost | transfer_flag::kVoid))) return record;
  const Position pending = find(record.pending_id);
  if (pending >= position) throw store::Damaged("store: a transfer resolves one that is not there");
  Transfer filled = filled_from(record, (*this)[pending]);
  filled.amount = record.amount;
  return filled;
}

void TransferStore::open_store(std::string folder) {
  if (store_ || end_ != 0) throw std::invalid_argument("store: can only be opened while no transfer was posted");
  const IdHash& hash = index_.hash_function();
  store_ = std::make_unique<store::SealedStore>(std::move(folder), hash.check(), hash);
}

store::SegmentContent TransferStore::content_to_seal(uint64_t count, const Mark& mark,
                                                     const std::unordered_set<Position>& unsettled) const {
  store::SegmentContent content;
  content.first = first_;
  content.first_expiry = expired_first_;
  content.expiries.assign(expired_.begin(),
                          expired_.begin() + static_cast<ptrdiff_t>(mark.expiry_count - expired_first_));
  content.hashes.reserve(count);
  const Position end = first_ + count;
  content.links.reserve(count);
  for (Position position = first_; position < end; position++) {
    content.hashes.push_back(hash(recent(position).id));
    content.links.push_back(links(position));
  }
  for (uint64_t number = failed_first_; number < mark.failed_count; number++) {
    content.failed.push_back({failed_id(number)});
  }
  const auto add = [&](const Pending& state) {
    if (state.status == PendingStatus::kPending || unsettled.contains(state.position)) return;
    content.resolved.push_back({state.position, state.controller, static_cast<uint8_t>(state.status)});
  };
  for (const auto& [position, old] : old_pendings_) add(old.state);
  for (const Pending& state : pendings_) {
    if (state.position >= end) break;
    add(state);
  }
  return content;
}

void TransferStore::seal(store::SegmentPointer segment, const store::SegmentContent& content) {
  const Position end = content.first + content.hashes.size();
  for (; !pendings_.empty() && pendings_.front().position < end; pendings_.pop_front(), pendings_first_++) {
    const Pending& state = pendings_.front();
    old_pendings_[state.position] = {recent(state.position), state};
  }
  for (const store::Resolved& item : content.resolved) old_pendings_.erase(item.position);
  for (size_t i = 0; i < content.hashes.size(); i++) {
    if (i + kAhead < content.hashes.size()) index_.prefetch(content.hashes[i + kAhead]);
    index_.erase(content.hashes[i], static_cast<uint32_t>(first_ + i) & (kWindowMax - 1));
  }
  const uint64_t failed = content.failed.size();
  for (uint64_t i = 0; i < failed; i++) index_.erase(hash(failed_[i].value), failed_entry(failed_first_ + i));
  std::copy(failed_.data() + failed, failed_.data() + failed_.size(), failed_.data());
  failed_.truncate(failed_.size() - failed);
  failed_first_ += failed;
  expired_.erase(expired_.begin(), expired_.begin() + static_cast<ptrdiff_t>(content.expiries.size()));
  expired_first_ += content.expiries.size();
  first_ = end;
  store_->add(std::move(segment));
  drop_dead_expiries();
}

void TransferStore::drop_dead_expiries() {
  if (expiries_.size() <= 2 * (pendings_.size() + old_pendings_.size()) + 1024) return;
  std::erase_if(expiries_, [&](const Expiry& expiry) { return !live(expiry); });
  std::make_heap(expiries_.begin(), expiries_.end(), std::greater<>());
}

}  // namespace pyledger::engine
