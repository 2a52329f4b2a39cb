// The engine's state out to columns and back.
#include <algorithm>
#include <stdexcept>

#include "engine/batch.h"
#include "engine/engine.h"

namespace pyledger::engine {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("state: ") + what);
}

}  // namespace

State Engine::state() const {
  State state;
  state.height = keys_.height();
  state.keys = keys_.keys();
  state.sequences = sequences_.all();
  state.accounts.assign(accounts_.records(), accounts_.records() + accounts_.size());
  for (uint32_t slot = 0; slot < accounts_.size(); slot++) {
    state.owners.push_back(accounts_.standing(slot).owner);
    state.last_events.push_back(accounts_.standing(slot).last_event);
  }
  state.touched = accounts_.touched();
  for (Position position = 0; position < transfers_.size(); position++) {
    state.transfers.push_back(transfers_[position]);
    state.links.push_back(transfers_.links(position));
    if (!(state.transfers.back().flags & transfer_flag::kPending)) continue;
    const Pending pending = transfers_.pending(position);
    state.controllers.push_back(pending.controller);
    state.statuses.push_back(pending.status);
  }
  for (uint64_t number = 0; number < transfers_.expiry_count(); number++) {
    state.expiries.push_back(transfers_.expiry(number));
  }
  for (uint64_t number = transfers_.failed_first(); number < transfers_.failed_count(); number++) {
    state.failed_ids.push_back({transfers_.failed_id(number)});
  }
  state.mandates = sorted_mandates();
  return state;
}

std::vector<std::pair<uint32_t, Mandate>> Engine::sorted_mandates() const {
  std::vector<std::pair<uint32_t, Mandate>> sorted;
  for (const auto& [slot, mandates] : mandates_.all()) {
    for (const Mandate& mandate : mandates) sorted.emplace_back(slot, mandate);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.holder) < std::pair(b.first, b.second.holder);
  });
  return sorted;
}

Engine::Snapshot Engine::begin_snapshot() {
  InProgress call(*this);
  if (snapshot_) throw std::invalid_argument("snapshot: one is under way");
  if (!open_blocks_.empty()) throw std::invalid_argument("snapshot: a block is open");
  Snapshot snapshot;
  snapshot.transfers = transfers_.save();
  snapshot.height = keys_.height();
  snapshot.keys = keys_.keys();
  snapshot.sequences = sequences_.all();
  snapshot.mandates = sorted_mandates();
  snapshot.moved = moved_.all();
  snapshot.touched = accounts_.touched();
  snapshot.account_count = accounts_.size();
  snapshot_.emplace(accounts_.size());
  return snapshot;
}

void Engine::copy_accounts(size_t count, Account* records, uint32_t* owners, uint64_t* last_events) {
  InProgress call(*this);
  if (!snapshot_ || count > snapshot_->count - snapshot_->copied) {
    throw std::invalid_argument("snapshot: there are not so many accounts to copy");
  }
  const size_t first = snapshot_->copied;
  std::copy_n(accounts_.records() + first, count, records);
  for (size_t i = 0; i < count; i++) {
    const Standing& standing = accounts_.standing(static_cast<uint32_t>(first + i));
    owners[i] = standing.owner;
    last_events[i] = standing.last_event;
  }
  const size_t end = first + count;
  for (size_t group = first / AccountsCopy::kGroup; group * AccountsCopy::kGroup < end; group++) {
    for (const KeptAccount& kept : snapshot_->kept[group]) {
      if (kept.slot < first || kept.slot >= end) continue;
      records[kept.slot - first] = kept.record;
      owners[kept.slot - first] = kept.standing.owner;
      last_events[kept.slot - first] = kept.standing.last_event;
    }
    if ((group + 1) * AccountsCopy::kGroup <= end) std::vector<KeptAccount>().swap(snapshot_->kept[group]);
  }
  snapshot_->copied = end;
}

void Engine::end_snapshot() { snapshot_.reset(); }

void Engine::keep_for_snapshot(uint32_t slot) {
  if (slot < snapshot_->copied || slot >= snapshot_->count) return;
  if (snapshot_->is_kept[slot]) return;
  snapshot_->kept[slot / AccountsCopy::kGroup].push_back({slot, accounts_.standing(slot), accounts_[slot]});
  snapshot_->is_kept[slot] = true;
}

Engine Engine::restore(const Snapshot& snapshot, const SnapshotAccounts& accounts, std::string folder) {
  Engine engine;
  for (const Key& key : snapshot.keys) engine.keys_.add(key);
  engine.keys_.set_height(snapshot.height);
  engine.sequences_.set_all(snapshot.sequences);
  engine.restore_accounts(snapshot, accounts);
  engine.transfers_ = TransferStore(snapshot.transfers, std::move(folder));
  for (const auto& [slot, mandate] : snapshot.mandates) {
    require(slot < snapshot.account_count && engine.keys_.known(mandate.holder), "a mandate of no account or holder");
    engine.mandates_.set(slot, mandate);
  }
  for (const Pending& pending : snapshot.transfers.pendings) {
    require(pending.controller == kNoKey || engine.keys_.known(pending.controller), "a controller is not registered");
  }
  for (const Moved& moved : snapshot.moved) engine.moved_[engine.moved_.number(moved.ledger)] = moved;
  return engine;
}

void Engine::restore_accounts(const Snapshot& snapshot, const SnapshotAccounts& accounts) {
  const size_t count = snapshot.account_count;
  require(count < AccountStore::kNone, "too many accounts");
  for (const Moved& moved : snapshot.moved) moved_.number(moved.ledger);
  accounts_.prepare(count);
  constexpr size_t kAhead = 16;
  const uint64_t expiries = snapshot.transfers.expired_first + snapshot.transfers.expired.size();
  for (size_t i = 0; i < count; i++) {
    if (i + kAhead < count) accounts_.prefetch_index(accounts_.hash(accounts.records[i + kAhead].id));
    const Account& account = accounts.records[i];
    const uint32_t owner = accounts.owners[i];
    const store::Event last = accounts.last_events[i];
    require(keys_.known(owner), "an account's owner is not registered");
    require(accounts_.find(account.id) == AccountStore::kNone, "an account id occurs twice");
    require(account.timestamp > accounts_.last_timestamp(), "accounts are not in order of their timestamps");
    require(last == store::kNoEvent ||
                store::number_of(last) < (store::is_expiry(last) ? expiries : snapshot.transfers.size),
            "an account's last event is not there");
    accounts_.append(account, {owner, keys_.institution(owner), moved_.number(account.ledger), last});
  }
  for (const uint32_t slot : snapshot.touched) {
    require(slot < count, "a touched slot has no account");
    accounts_.touch(slot);
  }
}

Engine Engine::from_state(const State& state) {
  Engine engine;
  for (const Key& key : state.keys) engine.keys_.add(key);  // a key revoked before it began stays so
  engine.set_height(state.height);
  for (const auto& [institution, next] : state.sequences) engine.sequences_.set_next(institution, next);
  engine.load_accounts(state);
  engine.load_transfers(state);
  for (const auto& [slot, mandate] : state.mandates) {
    require(slot < engine.accounts_.size() && engine.keys_.known(mandate.holder), "a mandate of no account or holder");
    engine.mandates_.set(slot, mandate);
  }
  engine.transfers_.reserve_more(state.failed_ids.size());
  for (const U128& id : state.failed_ids) {
    require(engine.transfers_.find(id.value) == TransferStore::kNone, "a failed id occurs twice");
    engine.transfers_.add_failed(id.value, engine.transfers_.hash(id.value));
  }
  return engine;
}

void Engine::load_accounts(const State& state) {
  require(state.owners.size() == state.accounts.size() && state.last_events.size() == state.accounts.size(),
          "owners, last events and accounts differ in number");
  accounts_.reserve(state.accounts.size());
  for (size_t i = 0; i < state.accounts.size(); i++) {
    const Account& account = state.accounts[i];
    const uint32_t owner = state.owners[i];
    require(keys_.known(owner), "an account's owner is not registered");
    require(accounts_.find(account.id) == AccountStore::kNone, "an account id occurs twice");
    require(account.timestamp > accounts_.last_timestamp(), "accounts are not in order of their timestamps");
    accounts_.append(account, {owner, keys_.institution(owner), moved_.number(account.ledger), state.last_events[i]});
  }
  for (const uint32_t slot : state.touched) {
    require(slot < accounts_.size(), "a touched slot has no account");
    accounts_.touch(slot);
  }
}

void Engine::load_transfers(const State& state) {
  require(state.controllers.size() == state.statuses.size(), "controllers and statuses differ in number");
  require(state.links.size() == state.transfers.size(), "links and transfers differ in number");
  transfers_.reserve_more(state.transfers.size());
  size_t pendings = 0;
  for (const Transfer& transfer : state.transfers) {
    require(transfers_.find(transfer.id) == TransferStore::kNone, "a transfer id occurs twice");
    require(transfer.timestamp > transfers_.last_timestamp(), "transfers are not in order of their timestamps");
    const uint32_t debit = accounts_.find(transfer.debit_account_id);
    const uint32_t credit = accounts_.find(transfer.credit_account_id);
    require(debit != AccountStore::kNone && credit != AccountStore::kNone, "a transfer's account is missing");
    transfers_.append(transfer, transfer.timestamp, transfers_.hash(transfer.id), state.links[transfers_.size()]);
    Moved& moved = moved_[accounts_.standing(debit).ledger_number];
    if (transfer.flags & transfer_flag::kPending) {
      require(pendings < state.statuses.size(), "a pending transfer has no status");
      const PendingStatus status = state.statuses[pendings];
      require(status >= PendingStatus::kPending && status <= PendingStatus::kExpired, "an unknown pending status");
      const uint32_t controller = state.controllers[pendings];
      require(controller == kNoKey || keys_.known(controller), "a pending transfer's controller is not registered");
      transfers_.append_pending(controller);
      transfers_.set_status(transfers_.size() - 1, status);
      pendings++;
      if (status == PendingStatus::kPending) moved.pending.add(transfer.amount);
    } else if (!(transfer.flags & transfer_flag::kVoid)) {
      moved.posted.add(transfer.amount);
    }
  }
  require(pendings == state.statuses.size(), "a status belongs to no pending transfer");
  check_resolutions();
  for (const store::Expiry& expiry : state.expiries) {
    require(expiry.pending < transfers_.size() && transfers_[expiry.pending].flags & transfer_flag::kPending,
            "an expiry is not of a pending transfer");
    transfers_.append_expiry(expiry);
  }
  require(!check_histories(), "an account's history does not hold together");
}

// Each posting or voiding transfer names a pending one: what it compares with when its id comes again.
void Engine::check_resolutions() const {
  for (Position position = 0; position < transfers_.size(); position++) {
    const Transfer transfer = transfers_[position];
    if (!(transfer.flags & (transfer_flag::kPost | transfer_flag::kVoid))) continue;
    const Position pending = transfers_.find(transfer.pending_id);
    require(pending < position && transfers_[pending].flags & transfer_flag::kPending,
            "a transfer resolves one that is not pending");
  }
}

}  // namespace pyledger::engine
