// Blocks that may be taken back.
#include <algorithm>
#include <stdexcept>

#include "engine/batch.h"
#include "engine/engine.h"

namespace pyledger::engine {
namespace {

template <class Items, class Restore>
void latest_first(const Items& items, Restore restore) {
  std::for_each(items.rbegin(), items.rend(), restore);
}

}  // namespace

void Engine::begin_block() {
  InProgress call(*this);
  forget_logged();
  open_blocks_.push_back({.account_count = accounts_.size(),
                          .key_count = keys_.keys().size(),
                          .height = keys_.height(),
                          .transfers = transfers_.mark(),
                          .touched = accounts_.touched(),
                          .sequences = sequences_.all(),
                          .accounts = {},
                          .owners = {},
                          .keys = {},
                          .moved = {},
                          .pendings = {},
                          .mandates = {}});
  logging_ = true;
}

void Engine::commit_block() {
  InProgress call(*this);
  if (open_blocks_.empty()) throw std::invalid_argument("commit_block: no block is open");
  if (open_blocks_.size() == 1) forget_logged();
  open_blocks_.pop_front();
  logging_ = !open_blocks_.empty();
}

void Engine::roll_back_block() {
  InProgress call(*this);
  if (open_blocks_.empty()) throw std::invalid_argument("roll_back_block: no block is open");
  const store::SealedStore* store = transfers_.sealed_store();
  if (store && store->blocks().end() > open_blocks_.back().transfers.size) {
    throw std::invalid_argument("roll_back_block: the block was told to the store, so it is final");
  }
  call.begin();
  forget_logged();
  const BlockLog log = std::move(open_blocks_.back());
  open_blocks_.pop_back();
  logging_ = false;  // what follows puts back and is no change
  take_back_events(log);
  latest_first(log.accounts, [&](const auto& item) { accounts_[item.first] = item.second; });
  latest_first(log.owners, [&](const auto& item) { accounts_.standing(item.first).owner = item.second; });
  latest_first(log.moved, [&](const auto& item) { moved_[item.first] = item.second; });
  latest_first(log.keys, [&](const auto& item) { keys_.restore(item.first, item.second); });
  latest_first(log.mandates, [&](const BlockLog::OldMandate& item) {
    mandates_.remove(item.slot, item.holder);
    if (item.mandate) mandates_.set(item.slot, *item.mandate);
  });
  keys_.truncate(log.key_count, log.height);
  sequences_.set_all(log.sequences);
  accounts_.clear_touched();
  accounts_.truncate(log.account_count);
  for (const uint32_t slot : log.touched) accounts_.touch(slot);
  logging_ = !open_blocks_.empty();
  call.end();
}

// The block's transfers and expiries, out of the histories too.
void Engine::take_back_events(const BlockLog& log) {
  const TransferStore::Mark& mark = log.transfers;
  const auto shorten = [&](u128 account_id) {
    Standing& standing = accounts_.standing(accounts_.find(account_id));
    for (;;) {
      const store::Event event = standing.last_event;
      if (event == store::kNoEvent) return;
      const uint64_t number = store::number_of(event);
      const bool expiry = store::is_expiry(event);
      if (number < (expiry ? mark.expiry_count : mark.size)) return;
      const Transfer transfer = transfers_[expiry ? transfers_.expiry(number).pending : number];
      const store::Links before = expiry ? transfers_.expiry(number).before : transfers_.links(number);
      standing.last_event = transfer.debit_account_id == account_id ? before.debit : before.credit;
    }
  };
  const auto shorten_both = [&](const Transfer& transfer) {
    shorten(transfer.debit_account_id);
    shorten(transfer.credit_account_id);
  };
  for (Position position = mark.size; position < transfers_.size(); position++) shorten_both(transfers_[position]);
  for (uint64_t number = mark.expiry_count; number < transfers_.expiry_count(); number++) {
    shorten_both(transfers_[transfers_.expiry(number).pending]);
  }
  transfers_.roll_back(mark);
  latest_first(log.pendings, [&](const Pending& before) {
    if (before.position < mark.size) transfers_.restore(before);
  });
}

void Engine::forget_logged() {
  if (open_blocks_.empty()) return;
  for (const auto& [slot, before] : open_blocks_.back().accounts) logged_accounts_[slot] = false;
  for (const auto& [number, before] : open_blocks_.back().moved) logged_moved_[number] = false;
}

// Only the first of a block's changes of an account counts.
void Engine::log_account(uint32_t slot, const Account& before) {
  BlockLog& log = open_blocks_.back();
  if (slot >= log.account_count) return;
  if (logged_accounts_.size() < accounts_.size()) logged_accounts_.resize(accounts_.size());
  if (logged_accounts_[slot]) return;
  logged_accounts_[slot] = true;
  log.accounts.emplace_back(slot, before);
}

void Engine::log_moved(uint32_t ledger_number) {
  if (logged_moved_.size() < moved_.all().size()) logged_moved_.resize(moved_.all().size());
  if (logged_moved_[ledger_number]) return;
  logged_moved_[ledger_number] = true;
  open_blocks_.back().moved.emplace_back(ledger_number, moved_[ledger_number]);
}

void Engine::log_mandate(uint32_t slot, uint32_t holder) {
  if (!logging_) return;
  const Mandate* mandate = mandates_.find(slot, holder);
  open_blocks_.back().mandates.push_back({slot, holder, mandate ? std::optional(*mandate) : std::nullopt});
}

}  // namespace pyledger::engine
