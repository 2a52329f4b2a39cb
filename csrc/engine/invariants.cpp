// What must always hold, checked by scanning everything.
#include <algorithm>

#include "engine/engine.h"

namespace pyledger::engine {
namespace {

using Violation = std::optional<std::string>;

std::string text(u128 value) {
  std::string digits;
  do digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
  while (value /= 10);
  return digits;
}

std::string account_name(const Account& account) { return "account " + text(account.id); }

Violation check_record(const Account& account) {
  u128 debits, credits;
  if (__builtin_add_overflow(account.debits_pending, account.debits_posted, &debits) ||
      __builtin_add_overflow(account.credits_pending, account.credits_posted, &credits)) {
    return account_name(account) + ": pending plus posted overflows 128 bits";
  }
  if (account.flags & account_flag::kDebitsMustNotExceedCredits && debits > account.credits_posted) {
    return account_name(account) + ": debits exceed credits";
  }
  if (account.flags & account_flag::kCreditsMustNotExceedDebits && credits > account.debits_posted) {
    return account_name(account) + ": credits exceed debits";
  }
  if (account.ledger == 0 || account.code == 0 || account.reserved != 0 || account.flags & ~account_flag::kAll) {
    return account_name(account) + ": ledger, code, reserved or flags are not those of an account";
  }
  return std::nullopt;
}

// The four balances of each account as the transfers in memory make them.
std::vector<Account> replayed_balances(const AccountStore& accounts, const TransferStore& transfers) {
  std::vector<Account> balances(accounts.size());
  for (Position position = 0; position < transfers.size(); position++) {
    const Transfer transfer = transfers[position];
    Account& debit = balances[accounts.find(transfer.debit_account_id)];
    Account& credit = balances[accounts.find(transfer.credit_account_id)];
    if (transfer.flags & transfer_flag::kPending) {
      if (transfers.pending(position).status != PendingStatus::kPending) continue;
      debit.debits_pending += transfer.amount;
      credit.credits_pending += transfer.amount;
    } else if (!(transfer.flags & transfer_flag::kVoid)) {
      debit.debits_posted += transfer.amount;
      credit.credits_posted += transfer.amount;
    }
  }
  return balances;
}

bool same_balances(const Account& a, const Account& b) {
  return a.debits_pending == b.debits_pending && a.debits_posted == b.debits_posted &&
         a.credits_pending == b.credits_pending && a.credits_posted == b.credits_posted;
}

Violation check_accounts(const AccountStore& accounts, const KeyRegistry& keys) {
  for (uint32_t slot = 0; slot < accounts.size(); slot++) {
    const Account& account = accounts[slot];
    if (Violation violation = check_record(account)) return violation;
    if (accounts.find(account.id) != slot) return account_name(account) + ": the index does not find it";
    if (slot && account.timestamp <= accounts[slot - 1].timestamp) {
      return account_name(account) + ": timestamp does not rise";
    }
    const Standing& standing = accounts.standing(slot);
    if (!keys.known(standing.owner) || keys.institution(standing.owner) != standing.institution) {
      return account_name(account) + ": its institution is not its owner's";
    }
  }
  return std::nullopt;
}

Violation check_replayed(const AccountStore& accounts, const TransferStore& transfers) {
  const std::vector<Account> expected = replayed_balances(accounts, transfers);
  for (uint32_t slot = 0; slot < accounts.size(); slot++) {
    if (same_balances(accounts[slot], expected[slot])) continue;
    return account_name(accounts[slot]) + ": balances differ from what its transfers make";
  }
  return std::nullopt;
}

Violation check_transfers(const TransferStore& transfers) {
  uint64_t last_timestamp = 0;
  for (Position position = 0; position < transfers.size(); position++) {
    const Transfer transfer = transfers[position];
    if (transfers.find(transfer.id) != position)
      return "transfer " + text(transfer.id) + ": the index does not find it";
    if (transfer.timestamp <= last_timestamp) return "transfer " + text(transfer.id) + ": timestamp does not rise";
    last_timestamp = transfer.timestamp;
  }
  if (!transfers.expiries_complete()) return "a pending transfer with a timeout would never expire";
  return std::nullopt;
}

}  // namespace

std::map<uint32_t, LedgerTotals> Engine::totals() const {
  std::map<uint32_t, LedgerTotals> totals;
  for (uint32_t slot = 0; slot < accounts_.size(); slot++) {
    const Account& account = accounts_[slot];
    LedgerTotals& ledger = totals[account.ledger];
    ledger.debits_pending.add(account.debits_pending);
    ledger.debits_posted.add(account.debits_posted);
    ledger.credits_pending.add(account.credits_pending);
    ledger.credits_posted.add(account.credits_posted);
  }
  return totals;
}

// Each event stands in the histories of its two accounts, once in each.
std::optional<std::string> Engine::check_histories() const {
  const auto known = [&](store::Event event) {
    const uint64_t count = store::is_expiry(event) ? transfers_.expiry_count() : transfers_.size();
    return store::number_of(event) < count;
  };
  uint64_t events = 2 * (transfers_.size() + transfers_.expiry_count());
  for (uint32_t slot = 0; slot < accounts_.size(); slot++) {
    const Account& account = accounts_[slot];
    for (store::Event event = accounts_.standing(slot).last_event; event != store::kNoEvent; events--) {
      if (events == 0 || !known(event)) return account_name(account) + ": its history does not end";
      const uint64_t number = store::number_of(event);
      const bool expiry = store::is_expiry(event);
      const Transfer transfer = transfers_[expiry ? transfers_.expiry(number).pending : number];
      const store::Links links = expiry ? transfers_.expiry(number).before : transfers_.links(number);
      const bool debit = transfer.debit_account_id == account.id;
      if (!debit && transfer.credit_account_id != account.id) {
        return account_name(account) + ": its history holds a transfer of others";
      }
      event = debit ? links.debit : links.credit;
    }
  }
  if (events != 0) return "an event is missing in the history of its account";
  return std::nullopt;
}

std::optional<std::string> Engine::check_totals() const {
  const std::map<uint32_t, LedgerTotals> sums = totals();
  for (const Moved& moved : moved_.all()) {
    const auto found = sums.find(moved.ledger);
    const LedgerTotals sum = found == sums.end() ? LedgerTotals{} : found->second;
    const std::string ledger = "ledger " + std::to_string(moved.ledger);
    if (sum.debits_posted != sum.credits_posted || sum.debits_pending != sum.credits_pending) {
      return ledger + ": debits differ from credits";
    }
    if (sum.debits_posted != moved.posted || sum.debits_pending != moved.pending) {
      return ledger + ": balances differ from what transfers moved";
    }
  }
  return std::nullopt;
}

std::optional<std::string> Engine::check_accounts_and_totals() const {
  if (broken_) return "the engine stopped in the middle of a call";
  if (Violation violation = check_accounts(accounts_, keys_)) return violation;
  return check_totals();
}

std::optional<std::string> Engine::check_invariants() const {
  if (broken_) return "the engine stopped in the middle of a call";
  if (Violation violation = check_accounts(accounts_, keys_)) return violation;
  if (Violation violation = check_replayed(accounts_, transfers_)) return violation;
  if (Violation violation = check_transfers(transfers_)) return violation;
  if (Violation violation = check_histories()) return violation;
  return check_totals();
}

}  // namespace pyledger::engine
