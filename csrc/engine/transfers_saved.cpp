// The transfer store out to a snapshot and back.
#include <algorithm>
#include <stdexcept>

#include "engine/resolving.h"
#include "engine/transfers.h"

namespace pyledger::engine {
namespace {

constexpr size_t kReadAtOnce = 8192;

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("snapshot: ") + what);
}

bool is_status(PendingStatus status) { return status >= PendingStatus::kPending && status <= PendingStatus::kExpired; }

}  // namespace

TransferStore::Saved TransferStore::save() const {
  if (!store_ || store_->blocks().end() != end_) {
    throw std::invalid_argument("snapshot: a store must be open and must know the blocks of all transfers");
  }
  Saved saved;
  saved.hash_key = index_.hash_function().key();
  saved.size = end_;
  saved.last_timestamp = last_timestamp_;
  saved.failed_first = failed_first_;
  saved.failed.assign(failed_.data(), failed_.data() + failed_.size());
  saved.expired_first = expired_first_;
  saved.expired = expired_;
  for (Position position = first_; position < end_; position++) saved.links.push_back(links(position));
  saved.pendings.assign(pendings_.begin(), pendings_.end());
  for (const auto& [position, old] : old_pendings_) saved.old_pendings.push_back(old);
  std::sort(saved.old_pendings.begin(), saved.old_pendings.end(),
            [](const OldPending& a, const OldPending& b) { return a.state.position < b.state.position; });
  saved.segments = store_->names();
  saved.block_files = store_->blocks().paths();
  saved.spans = store_->blocks().spans();
  return saved;
}

TransferStore::TransferStore(const Saved& saved, std::string folder) : index_(IdHash(saved.hash_key)) {
  grow_window(1);
  open_store(std::move(folder));
  store_->open(saved.segments);
  for (const std::string& path : saved.block_files) store_->blocks().add_file(path);
  for (const store::Span& span : saved.spans) {
    store_->blocks().add(span.file, span.records_offset, span.effects_offset, span.count);
  }
  require(store_->blocks().end() == saved.size, "its blocks hold another number of transfers");
  require(store_->end() <= saved.size && saved.size - store_->end() == saved.links.size(),
          "links and transfers differ in number");
  require(store_->expiry_end() == saved.expired_first, "expiries and segments don't fit");
  first_ = end_ = store_->end();
  failed_first_ = saved.failed_first;
  expired_first_ = saved.expired_first;
  expired_ = saved.expired;
  for (const OldPending& old : saved.old_pendings) {
    const Position position = old.state.position;
    require(position < first_ && is_status(old.state.status) && old.transfer.flags & transfer_flag::kPending,
            "an old pending transfer is not one");
    require(old_pendings_.emplace(position, old).second, "an old pending transfer occurs twice");
    push_expiry(old.transfer, position);
  }
  load_window(saved);
  reserve_more(saved.failed.size());
  for (const U128& id : saved.failed) {
    require(find(id.value) == kNone, "a failed id occurs twice");
    add_failed(id.value, hash(id.value));
  }
  last_timestamp_ = saved.last_timestamp;
}

void TransferStore::load_window(const Saved& saved) {
  std::vector<Transfer> records;
  size_t pendings = 0;
  reserve_more(saved.links.size());
  while (end_ < saved.size) {
    records.resize(std::min<uint64_t>(kReadAtOnce, saved.size - end_));
    store_->blocks().read_many(end_, records.size(), reinterpret_cast<uint8_t*>(records.data()));
    for (Transfer& transfer : records) {
      require(find(transfer.id) == kNone, "a transfer id occurs twice");
      if (transfer.flags & (transfer_flag::kPost | transfer_flag::kVoid)) {
        const u128 amount = transfer.amount;
        const Position pending = find(transfer.pending_id);
        require(pending < end_, "a transfer resolves one that is not there");
        transfer = filled_from(transfer, (*this)[pending]);
        transfer.amount = amount;
      }
      append(transfer, transfer.timestamp, hash(transfer.id), saved.links[end_ - first_]);
      if (!(transfer.flags & transfer_flag::kPending)) continue;
      require(pendings < saved.pendings.size() && saved.pendings[pendings].position == end_ - 1 &&
                  is_status(saved.pendings[pendings].status),
              "a pending transfer has no status");
      append_pending(saved.pendings[pendings].controller);
      set_status(end_ - 1, saved.pendings[pendings++].status);
    }
  }
  require(pendings == saved.pendings.size(), "a status belongs to no pending transfer");
}

}  // namespace pyledger::engine
