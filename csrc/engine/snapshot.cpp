// The engine's state out to columns and back.
#include <algorithm>
#include <stdexcept>

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
  for (const auto& [slot, mandates] : mandates_.all()) {
    for (const Mandate& mandate : mandates) state.mandates.emplace_back(slot, mandate);
  }
  std::sort(state.mandates.begin(), state.mandates.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.holder) < std::pair(b.first, b.second.holder);
  });
  return state;
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
  engine.add_failed_ids(state.failed_ids.data(), state.failed_ids.size());
  require(engine.transfers_.failed_count() == state.failed_ids.size(), "a failed id occurs twice");
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
