// An account's past: its transfers from the newest back, and its balances at any time.
//
// Every event of an account - a transfer, or a pending one's expiry - links to the one before it. Balances of the past
// are those of now with the later events taken back.
#include <stdexcept>

#include "engine/engine.h"

namespace pyledger::engine {
namespace {

constexpr uint16_t kResolving = transfer_flag::kPost | transfer_flag::kVoid;

Balances balances_of(const Account& account) {
  return {account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted};
}

// One event, seen from one of its accounts.
struct Step {
  store::Event event;
  store::Event before;
  Transfer transfer;  // of an expiry: the pending one
  bool is_debit;
  bool is_expiry;
  uint64_t time_ns;
  uint64_t number;  // position of the transfer, or number of the expiry
  uint64_t height;  // of an expiry
};

Step step_at(const TransferStore& transfers, store::Event event, u128 account_id) {
  const uint64_t number = store::number_of(event);
  store::Links links;
  Step step{};
  if (store::is_expiry(event)) {
    const store::Expiry expiry = transfers.expiry(number);
    step = {event, 0, transfers[expiry.pending], false, true, expiry.time_ns, number, expiry.height};
    links = expiry.before;
  } else {
    const Transfer transfer = transfers[number];
    step = {event, 0, transfer, false, false, transfer.timestamp, number, 0};
    links = transfers.links(number);
  }
  step.is_debit = step.transfer.debit_account_id == account_id;
  step.before = step.is_debit ? links.debit : links.credit;
  if (!step.is_debit && step.transfer.credit_account_id != account_id) {
    throw std::invalid_argument("below: it is no event of this account");
  }
  return step;
}

// What an event takes out of the pending balances.
u128 released_by(const Step& step, const TransferStore& transfers) {
  if (step.is_expiry) return step.transfer.amount;
  if (step.transfer.flags & kResolving) return transfers[transfers.find(step.transfer.pending_id)].amount;
  return 0;
}

// Takes an event back.
void undo(Balances& balances, const Step& step, const TransferStore& transfers) {
  u128& pending = step.is_debit ? balances.debits_pending : balances.credits_pending;
  u128& posted = step.is_debit ? balances.debits_posted : balances.credits_posted;
  const Transfer& transfer = step.transfer;
  pending += released_by(step, transfers);
  if (step.is_expiry) return;
  if (transfer.flags & kResolving) {
    if (transfer.flags & transfer_flag::kPost) posted -= transfer.amount;
  } else {
    (transfer.flags & transfer_flag::kPending ? pending : posted) -= transfer.amount;
  }
}

}  // namespace

uint32_t Engine::known_account(u128 id) const {
  const uint32_t slot = accounts_.find(id);
  if (slot == AccountStore::kNone) throw std::invalid_argument("account_id: there is no such account");
  return slot;
}

Engine::History Engine::history(const HistoryQuery& query) const {
  const uint32_t slot = known_account(query.account_id);
  store::Event event = accounts_.standing(slot).last_event;
  if (query.below != store::kNoEvent) {
    const bool known = store::is_expiry(query.below) ? store::number_of(query.below) < transfers_.expiry_count()
                                                     : store::number_of(query.below) < transfers_.size();
    if (!known) throw std::invalid_argument("below: there is no such event");
    event = step_at(transfers_, query.below, query.account_id).before;
  }
  History history{{}, {}, store::kNoEvent};
  store::Event last = query.below;
  while (event != store::kNoEvent) {
    if (history.transfers.size() == query.limit) {
      history.below = last;
      break;
    }
    const Step step = step_at(transfers_, event, query.account_id);
    last = event;
    event = step.before;
    if (step.is_expiry) continue;
    if (step.time_ns < query.first_time) break;  // transfers' timestamps rise
    if (step.time_ns > query.last_time) continue;
    history.transfers.push_back(step.transfer);
    history.positions.push_back(step.number);
  }
  return history;
}

template <class IsAfter>
Balances Engine::balances_before(uint32_t slot, IsAfter is_after) const {
  const Account& account = accounts_[slot];
  Balances balances = balances_of(account);
  for (store::Event event = accounts_.standing(slot).last_event; event != store::kNoEvent;) {
    const Step step = step_at(transfers_, event, account.id);
    event = step.before;
    if (is_after(step)) {
      undo(balances, step, transfers_);
    } else if (step.is_expiry || !(step.transfer.flags & transfer_flag::kImported)) {
      break;  // only imported transfers have times before those of earlier expiries
    }
  }
  return balances;
}

std::vector<Engine::Entry> Engine::statement(u128 account_id, uint64_t first_time, uint64_t last_time,
                                             size_t limit) const {
  const uint32_t slot = known_account(account_id);
  Balances balances = balances_of(accounts_[slot]);
  std::vector<Entry> entries;
  store::Event event = accounts_.standing(slot).last_event;
  while (event != store::kNoEvent && entries.size() < limit) {
    const Step step = step_at(transfers_, event, account_id);
    event = step.before;
    if (first_time <= step.time_ns && step.time_ns <= last_time) {
      const u128 released = released_by(step, transfers_);
      entries.push_back({step.transfer, step.is_expiry, step.number, step.time_ns, step.height, released, balances});
    } else if (step.time_ns < first_time && (step.is_expiry || !(step.transfer.flags & transfer_flag::kImported))) {
      break;  // only imported transfers have times before those of earlier expiries
    }
    undo(balances, step, transfers_);
  }
  return entries;
}

store::Event Engine::resolution(Position position) const {
  const Transfer pending = transfers_[position];
  const u128 accounts[2] = {pending.debit_account_id, pending.credit_account_id};
  store::Event events[2];
  for (int side = 0; side < 2; side++) events[side] = accounts_.standing(accounts_.find(accounts[side])).last_event;
  for (int side = 0; events[side] != store::transfer_event(position); side = 1 - side) {
    const Step step = step_at(transfers_, events[side], accounts[side]);
    const bool resolves = step.is_expiry ? transfers_.expiry(step.number).pending == position
                                         : step.transfer.flags & kResolving && step.transfer.pending_id == pending.id;
    if (resolves) return step.event;
    events[side] = step.before;
  }
  return store::kNoEvent;
}

Balances Engine::balances_at_time(u128 account_id, uint64_t time_ns) const {
  return balances_before(known_account(account_id), [&](const Step& step) { return step.time_ns > time_ns; });
}

Balances Engine::balances_at(u128 account_id, Position end, uint64_t height) const {
  return balances_before(known_account(account_id),
                         [&](const Step& step) { return step.is_expiry ? step.height > height : step.number >= end; });
}

}  // namespace pyledger::engine
