// Batches: the walk over events, linked chains and their roll-back, accounts. Transfers are in posting.cpp.
#include "engine/engine.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "engine/batch.h"

namespace pyledger::engine {

Engine::InProgress::InProgress(Engine& engine) : engine_(engine) {
  if (engine.broken_) throw std::logic_error("the engine stopped in the middle of a call and can't go on");
}

uint32_t Engine::register_keys(const std::vector<Key>& keys) {
  for (const Key& key : keys) KeyRegistry::require_addable(key);  // all or none
  const uint32_t first = static_cast<uint32_t>(keys_.keys().size());
  for (const Key& key : keys) keys_.add(key);
  return first;
}

void Engine::revoke_key(uint32_t index, uint64_t height) {
  if (logging_ && keys_.known(index)) open_blocks_.back().keys.emplace_back(index, keys_.keys()[index]);
  keys_.revoke(index, height);
}

uint64_t Engine::last_timestamp() const { return std::max(accounts_.last_timestamp(), transfers_.last_timestamp()); }

void Engine::require_times(const EventTimes& times, size_t count) const {
  if (count == 0) return;
  if (times.imported) {
    if (times.first > kTimestampMax) throw std::invalid_argument("first_timestamp: expected less than 2**63");
    return;
  }
  if (times.given) {
    for (size_t i = 1; i < count; i++) {
      if (times[i] <= times[i - 1]) throw std::invalid_argument("timestamps: expected strictly rising values");
    }
  }
  const uint64_t last = last_timestamp();
  if (times[0] <= last || times[0] > kTimestampMax || times[count - 1] > kTimestampMax) {
    throw std::invalid_argument("first_timestamp: expected more than " + std::to_string(last) +
                                " and, for the last event, less than 2**63");
  }
}

// Linked chains

void Engine::open_chain() {
  chain_.open = true;
  chain_.account_count = accounts_.size();
  chain_.transfer_count = transfers_.size();
}

void Engine::keep_chain() {
  for (const auto& [slot, before] : chain_.accounts) {
    accounts_.touch(slot);
    if (logging_) log_account(slot, before);
  }
  for (size_t slot = chain_.account_count; slot < accounts_.size(); slot++)
    accounts_.touch(static_cast<uint32_t>(slot));
  close_chain();
}

void Engine::roll_back_chain() {
  const auto latest_first = [](const auto& items, auto restore) {
    std::for_each(items.rbegin(), items.rend(), restore);
  };
  latest_first(chain_.accounts, [&](const auto& item) { accounts_[item.first] = item.second; });
  latest_first(chain_.statuses, [&](const auto& item) { transfers_.set_status(item.first, item.second); });
  latest_first(chain_.mandates, [&](const auto& item) { mandates_.set(item.first, item.second); });
  latest_first(chain_.moved, [&](const auto& item) { moved_[item.first] = item.second; });
  take_back_transfers(chain_.transfer_count);
  accounts_.truncate(chain_.account_count);
  close_chain();
}

void Engine::close_chain() {
  chain_.accounts.clear();
  chain_.statuses.clear();
  chain_.mandates.clear();
  chain_.moved.clear();
  chain_.open = false;
}

// Takes out the newest transfers, and their accounts' histories end where they did before.
void Engine::take_back_transfers(Position size) {
  for (Position position = transfers_.size(); position-- > size;) {
    const Transfer& transfer = transfers_.recent(position);
    const store::Links links = transfers_.links(position);
    accounts_.standing(accounts_.find(transfer.debit_account_id)).last_event = links.debit;
    accounts_.standing(accounts_.find(transfer.credit_account_id)).last_event = links.credit;
  }
  transfers_.truncate(size);
}

Account& Engine::change(uint32_t slot) {
  if (chain_.open) {
    chain_.accounts.emplace_back(slot, accounts_[slot]);
  } else {
    accounts_.touch(slot);
    if (logging_) log_account(slot, accounts_[slot]);
  }
  return accounts_[slot];
}

Moved& Engine::change_moved(uint32_t ledger_number) {
  if (chain_.open) chain_.moved.emplace_back(ledger_number, moved_[ledger_number]);
  if (logging_) log_moved(ledger_number);
  return moved_[ledger_number];
}

void Engine::change_status(Position pending, PendingStatus status) {
  if (chain_.open) chain_.statuses.emplace_back(pending, transfers_.pending(pending).status);
  if (logging_) open_blocks_.back().pendings.push_back(transfers_.pending(pending));
  transfers_.set_status(pending, status);
}

// Accounts

struct Engine::AccountRules {
  static constexpr uint32_t kLinkedFailed = account_result::kLinkedEventFailed;
  static constexpr uint32_t kChainOpen = account_result::kLinkedEventChainOpen;

  Engine& engine;
  const AccountBatch& batch;

  void prefetch(size_t) {}
  bool linked(size_t i) const { return batch.records[i].flags & account_flag::kLinked; }
  uint32_t create(size_t i) {
    using namespace account_result;
    static constexpr PlaceCodes kCodes = {kImportedEventExpected, kImportedEventNotExpected, kTimestampMustBeZero,
                                          kImportedEventTimestampOutOfRange, kImportedEventTimestampMustNotAdvance};
    const Account& account = batch.records[i];
    const bool imported = account.flags & account_flag::kImported;
    const uint64_t time = batch.times[i];
    if (const uint32_t code = check_place(imported, batch.times.imported, account.timestamp, time, kCodes)) return code;
    if (batch.institutions[i] != batch.registrar) return kRegistrarOfOtherInstitution;
    return engine.create_account(account, {batch.owners[i], batch.institutions[i], 0, store::kNoEvent}, time);
  }
  void refused(size_t, uint32_t) {}
};

void Engine::create_accounts(const AccountBatch& batch, uint32_t* results) {
  InProgress call(*this);
  require_times(batch.times, batch.count);
  if (accounts_.size() + batch.count >= AccountStore::kNone) throw std::length_error("accounts: the engine is full");
  accounts_.reserve(accounts_.size() + batch.count);
  AccountRules rules{*this, batch};
  call.begin();
  run_batch(rules, batch.count, results);
  call.end();
}

uint32_t Engine::create_account(const Account& account, const Standing& standing, uint64_t time) {
  using namespace account_result;
  if (account.reserved != 0) return kReservedField;
  if (account.flags & ~account_flag::kAll) return kReservedFlag;
  if (account.id == 0) return kIdMustNotBeZero;
  if (account.id == kU128Max) return kIdMustNotBeIntMax;
  const uint32_t slot = accounts_.find(account.id);
  if (slot != AccountStore::kNone) return check_existing_account(account, standing, slot);

  if (!keys_.known(standing.owner)) return kOwnerUnknown;
  if (keys_.institution(standing.owner) != standing.institution) return kOwnerOfOtherInstitution;
  if (!keys_.valid(standing.owner)) return kKeyNotValidAtHeight;

  constexpr uint16_t kLimits = account_flag::kDebitsMustNotExceedCredits | account_flag::kCreditsMustNotExceedDebits;
  if ((account.flags & kLimits) == kLimits) return kFlagsAreMutuallyExclusive;
  if (account.debits_pending != 0) return kDebitsPendingMustBeZero;
  if (account.debits_posted != 0) return kDebitsPostedMustBeZero;
  if (account.credits_pending != 0) return kCreditsPendingMustBeZero;
  if (account.credits_posted != 0) return kCreditsPostedMustBeZero;
  if (account.ledger == 0) return kLedgerMustNotBeZero;
  if (account.code == 0) return kCodeMustNotBeZero;
  if (account.flags & account_flag::kImported) {
    time = account.timestamp;
    if (time <= accounts_.last_timestamp() || transfers_.has_timestamp(time)) {
      return kImportedEventTimestampMustNotRegress;
    }
  }

  Standing stored = standing;
  stored.ledger_number = moved_.number(account.ledger);
  const uint32_t created = accounts_.append(account, stored);
  accounts_[created].timestamp = time;
  if (!chain_.open) accounts_.touch(created);
  return kCreated;
}

uint32_t Engine::check_existing_account(const Account& account, const Standing& standing, uint32_t slot) const {
  using namespace account_result;
  const Account& existing = accounts_[slot];
  if (account.flags != existing.flags) return kExistsWithDifferentFlags;
  if (account.user_data_128 != existing.user_data_128) return kExistsWithDifferentUserData128;
  if (account.user_data_64 != existing.user_data_64) return kExistsWithDifferentUserData64;
  if (account.user_data_32 != existing.user_data_32) return kExistsWithDifferentUserData32;
  if (account.ledger != existing.ledger) return kExistsWithDifferentLedger;
  if (account.code != existing.code) return kExistsWithDifferentCode;
  if (standing.institution != accounts_.standing(slot).institution) return kExistsWithDifferentInstitution;
  if (standing.owner != accounts_.standing(slot).owner) return kExistsWithDifferentOwner;
  return kExists;
}

void Engine::prepare(size_t accounts, size_t transfers) {
  InProgress call(*this);
  if (accounts >= AccountStore::kNone) throw std::invalid_argument("accounts: expected less than 2**32 - 1");
  if (transfers >= TransferStore::kWindowMax) throw std::invalid_argument("transfers: expected less than 2**31");
  accounts_.prepare(accounts);
  transfers_.prepare(transfers);
}

std::vector<uint32_t> Engine::take_touched() {
  std::vector<uint32_t> slots = accounts_.touched();
  accounts_.clear_touched();
  return slots;
}

size_t Engine::take_touched_into(merkle::StateTree& tree, unsigned threads) {
  InProgress call(*this);
  if (tree.payload_bytes() != AccountStore::kPayloadBytes || tree.size() != accounts_.size() + 1) {
    throw std::invalid_argument("tree: expected " + std::to_string(accounts_.size()) + " accounts of " +
                                std::to_string(AccountStore::kPayloadBytes) + " bytes each, got " +
                                std::to_string(tree.size() - 1) + " of " + std::to_string(tree.payload_bytes()));
  }
  const merkle::StateTree::Payloads payloads{
      &accounts_,
      [](const void* accounts, uint32_t slot) { static_cast<const AccountStore*>(accounts)->prefetch_slot(slot - 1); },
      [](const void* holder, uint32_t slot, uint8_t* payload) {
        const auto& accounts = *static_cast<const AccountStore*>(holder);
        if (std::memcmp(payload, &accounts[slot - 1].id, sizeof(u128)) != 0) return false;
        accounts.copy_payload(slot - 1, payload);
        return true;
      }};
  call.begin();
  std::vector<uint32_t> slots = take_touched();
  for (uint32_t& slot : slots) slot++;
  const merkle::StateTree::Outcome outcome = tree.update_from(payloads, slots.data(), slots.size(), threads);
  if (outcome.problem != merkle::StateTree::Problem::kNone) {
    throw std::logic_error("tree: slot " + std::to_string(slots[outcome.row]) + " is of another account");
  }
  call.end();
  return slots.size();
}

// Changes of authority

uint32_t Engine::revoke_key_of(uint32_t registrar, uint32_t index, uint64_t height) {
  const uint32_t code = keys_.check_revocation(index, registrar);
  if (code == authority_result::kOk) revoke_key(index, std::max(height, keys_.height()));
  return code;
}

uint32_t Engine::change_owner(u128 account_id, uint32_t owner, uint32_t registrar) {
  using namespace authority_result;
  const uint32_t slot = accounts_.find(account_id);
  if (slot == AccountStore::kNone) return kAccountNotFound;
  if (accounts_.standing(slot).institution != registrar) return kRegistrarOfOtherInstitution;
  return replace_owner(slot, owner);
}

uint32_t Engine::rotate_owner(const OwnerChange& change) {
  using namespace authority_result;
  if (const uint32_t code = keys_.check_signature(change.signer, change.signature_ok)) return code;
  if (const uint32_t code = keys_.check_key(change.signer)) return code;
  const uint32_t slot = accounts_.find(change.account_id);
  if (slot == AccountStore::kNone) return kAccountNotFound;
  if (accounts_.standing(slot).owner != change.signer) return kSignerNotAuthorised;
  return replace_owner(slot, change.owner);
}

uint32_t Engine::replace_owner(uint32_t slot, uint32_t owner) {
  using namespace authority_result;
  Standing& standing = accounts_.standing(slot);
  if (!keys_.known(owner)) return kOwnerUnknown;
  if (keys_.institution(owner) != standing.institution) return kOwnerOfOtherInstitution;
  if (!keys_.valid(owner)) return kKeyNotValidAtHeight;
  if (owner != standing.owner) {
    if (logging_) {
      open_blocks_.back().owners.emplace_back(slot, standing.owner);
      for (const Mandate& mandate : mandates_.of(slot)) log_mandate(slot, mandate.holder);
    }
    if (snapshot_) keep_for_snapshot(slot);
    standing.owner = owner;
    accounts_.touch(slot);
    mandates_.remove_all(slot);  // a key that is replaced may have been stolen, and then so may its mandates
  }
  return kOk;
}

uint32_t Engine::change_controller(u128 pending_id, uint32_t controller, uint32_t registrar) {
  using namespace authority_result;
  const Position position = transfers_.find(pending_id);
  if (position >= transfers_.size() || !(transfers_[position].flags & transfer_flag::kPending)) {
    return kPendingTransferNotLive;
  }
  const Pending pending = transfers_.pending(position);
  if (pending.status != PendingStatus::kPending) return kPendingTransferNotLive;
  if (pending.controller == kNoKey) return kPendingTransferHasNoController;
  if (keys_.institution(pending.controller) != registrar) return kRegistrarOfOtherInstitution;
  if (!keys_.usable(controller) || keys_.institution(controller) != registrar) return kControllerNotValid;
  if (logging_) open_blocks_.back().pendings.push_back(pending);
  transfers_.set_controller(position, controller);
  return kOk;
}

uint32_t Engine::set_mandate(const MandateChange& change) {
  using namespace authority_result;
  if (const uint32_t code = keys_.check_signature(change.signer, change.signature_ok)) return code;
  if (const uint32_t code = keys_.check_key(change.signer)) return code;
  const uint32_t slot = accounts_.find(change.account_id);
  if (slot == AccountStore::kNone) return kAccountNotFound;
  if (accounts_.standing(slot).owner != change.signer) return kSignerNotAuthorised;
  if (!keys_.known(change.holder)) return kHolderUnknown;
  log_mandate(slot, change.holder);
  if (change.amount == 0) {
    mandates_.remove(slot, change.holder);
  } else {
    mandates_.set(slot, {change.holder, change.until_height, change.amount});
  }
  return kOk;
}

}  // namespace pyledger::engine
