// One transfer: who may, what the fields say, what the balances allow, and what it does to them.
//
// The order of the checks is the contract: see pyledger/reference/engine.py.
#include <algorithm>

#include "engine/batch.h"
#include "engine/engine.h"
#include "engine/resolving.h"

namespace pyledger::engine {

using namespace transfer_result;  // NOLINT: this file is about these codes

namespace {

bool has(const Transfer& transfer, uint16_t flags) { return transfer.flags & flags; }

bool sum_overflows(u128 a, u128 b) { return a > kU128Max - b; }

u128 room(u128 have, u128 used) { return have > used ? have - used : 0; }

bool is_transient(uint32_t code) {
  switch (code) {
    case kDebitAccountNotFound:
    case kCreditAccountNotFound:
    case kPendingTransferNotFound:
    case kExceedsCredits:
    case kExceedsDebits:
    case kDebitAccountAlreadyClosed:
    case kCreditAccountAlreadyClosed:
      return true;
    default:
      return false;
  }
}

uint32_t check_fields(const Transfer& transfer) {
  if (transfer.debit_account_id == 0) return kDebitAccountIdMustNotBeZero;
  if (transfer.debit_account_id == kU128Max) return kDebitAccountIdMustNotBeIntMax;
  if (transfer.credit_account_id == 0) return kCreditAccountIdMustNotBeZero;
  if (transfer.credit_account_id == kU128Max) return kCreditAccountIdMustNotBeIntMax;
  if (transfer.credit_account_id == transfer.debit_account_id) return kAccountsMustBeDifferent;
  if (transfer.pending_id != 0) return kPendingIdMustBeZero;
  if (!has(transfer, transfer_flag::kPending)) {
    if (transfer.timeout_s != 0) return kTimeoutReservedForPendingTransfer;
    if (has(transfer, transfer_flag::kClosingDebit | transfer_flag::kClosingCredit)) {
      return kClosingTransferMustBePending;
    }
  }
  if (transfer.ledger == 0) return kLedgerMustNotBeZero;
  if (transfer.code == 0) return kCodeMustNotBeZero;
  return 0;
}

// Balancing flags lower the amount to what the limit leaves.
u128 balanced_amount(const Transfer& transfer, const Account& debit, const Account& credit) {
  u128 amount = transfer.amount;
  if (has(transfer, transfer_flag::kBalancingDebit)) {
    amount = std::min(amount, room(debit.credits_posted, debit.debits_posted + debit.debits_pending));
  }
  if (has(transfer, transfer_flag::kBalancingCredit)) {
    amount = std::min(amount, room(credit.debits_posted, credit.credits_posted + credit.credits_pending));
  }
  return amount;
}

uint32_t check_overflows(const Transfer& transfer, u128 amount, uint64_t time, const Account& debit,
                         const Account& credit) {
  if (has(transfer, transfer_flag::kPending)) {
    if (sum_overflows(amount, debit.debits_pending)) return kOverflowsDebitsPending;
    if (sum_overflows(amount, credit.credits_pending)) return kOverflowsCreditsPending;
  }
  if (sum_overflows(amount, debit.debits_posted)) return kOverflowsDebitsPosted;
  if (sum_overflows(amount, credit.credits_posted)) return kOverflowsCreditsPosted;
  // Pending plus posted of one side never overflows: that is what these two checks keep true.
  if (sum_overflows(amount, debit.debits_pending + debit.debits_posted)) return kOverflowsDebits;
  if (sum_overflows(amount, credit.credits_pending + credit.credits_posted)) return kOverflowsCredits;
  if (time + transfer.timeout_s * kNanosecondsPerSecond > kTimestampMax) return kOverflowsTimeout;
  return 0;
}

uint32_t check_limits(u128 amount, const Account& debit, const Account& credit) {
  if (debit.flags & account_flag::kDebitsMustNotExceedCredits &&
      debit.debits_pending + debit.debits_posted + amount > debit.credits_posted) {
    return kExceedsCredits;
  }
  if (credit.flags & account_flag::kCreditsMustNotExceedDebits &&
      credit.credits_pending + credit.credits_posted + amount > credit.debits_posted) {
    return kExceedsDebits;
  }
  return 0;
}

uint32_t check_resolving_fields(const Transfer& transfer) {
  constexpr uint16_t kBoth = transfer_flag::kPost | transfer_flag::kVoid;
  constexpr uint16_t kNotHere = transfer_flag::kPending | transfer_flag::kBalancingDebit |
                                transfer_flag::kBalancingCredit | transfer_flag::kClosingDebit |
                                transfer_flag::kClosingCredit;
  if ((transfer.flags & kBoth) == kBoth || has(transfer, kNotHere)) return kFlagsAreMutuallyExclusive;
  if (transfer.pending_id == 0) return kPendingIdMustNotBeZero;
  if (transfer.pending_id == kU128Max) return kPendingIdMustNotBeIntMax;
  if (transfer.pending_id == transfer.id) return kPendingIdMustBeDifferent;
  if (transfer.timeout_s != 0) return kTimeoutReservedForPendingTransfer;
  return 0;
}

uint32_t check_against_pending(const Transfer& filled, const Transfer& pending) {
  if (filled.debit_account_id != pending.debit_account_id) return kPendingTransferHasDifferentDebitAccountId;
  if (filled.credit_account_id != pending.credit_account_id) return kPendingTransferHasDifferentCreditAccountId;
  if (filled.ledger != pending.ledger) return kPendingTransferHasDifferentLedger;
  if (filled.code != pending.code) return kPendingTransferHasDifferentCode;
  if (filled.amount > pending.amount) return kExceedsPendingTransferAmount;
  if (has(filled, transfer_flag::kVoid) && filled.amount < pending.amount) return kPendingTransferHasDifferentAmount;
  return 0;
}

void set_closed(Account& account, bool closed) {
  account.flags = closed ? account.flags | account_flag::kClosed : account.flags & ~account_flag::kClosed;
}

}  // namespace

// One submitted transfer with what came beside it.
struct Engine::Event {
  const Transfer& transfer;
  uint64_t time;
  uint64_t id_hash;
  uint64_t debit_hash;
  uint64_t credit_hash;
  uint32_t signer;
  uint32_t controller;
  uint32_t attester;
  bool attested;
  bool signature_ok;
};

struct Engine::TransferRules {
  static constexpr uint32_t kLinkedFailed = kLinkedEventFailed;
  static constexpr uint32_t kChainOpen = kLinkedEventChainOpen;

  Engine& engine;
  const TransferBatch& batch;
  U128* effects;

  TransferRules(Engine& engine_in, const TransferBatch& batch_in, U128* effects_in)
      : engine(engine_in), batch(batch_in), effects(effects_in) {}

  // A transfer touches six or more cache lines at random places. So each is met three times: kDistance * 2 events ahead
  // its index entries are fetched, kDistance ahead the records that they name, and then it is executed.
  void prefetch(size_t i) {
    if (i == 0) {
      for (size_t k = 0; k < 2 * kDistance; k++) fetch_index(k);
      for (size_t k = 0; k < kDistance; k++) fetch_records(k);
    }
    fetch_index(i + 2 * kDistance);
    fetch_records(i + kDistance);
  }
  bool linked(size_t i) const { return has(batch.records[i], transfer_flag::kLinked); }
  uint32_t create(size_t i) {
    static constexpr PlaceCodes kCodes = {kImportedEventExpected, kImportedEventNotExpected, kTimestampMustBeZero,
                                          kImportedEventTimestampOutOfRange, kImportedEventTimestampMustNotAdvance};
    const Transfer& transfer = batch.records[i];
    const bool imported = has(transfer, transfer_flag::kImported);
    if (const uint32_t code = check_place(imported, batch.times.imported, transfer.timestamp, batch.times[i], kCodes)) {
      return code;
    }
    u128 amount = 0;
    const uint32_t code = engine.create_transfer(event(i), amount);
    effects[i].value = amount;
    return code;
  }
  void refused(size_t i, uint32_t code) {
    effects[i].value = 0;
    const u128 id = batch.records[i].id;
    if (is_transient(code)) engine.transfers_.add_failed(id, engine.transfers_.hash(id));
  }

 private:
  static constexpr size_t kDistance = 12;
  static constexpr size_t kRing = 32;
  static_assert(kRing > 2 * kDistance && (kRing & (kRing - 1)) == 0);

  struct Hashes {
    uint64_t id, debit, credit;
    uint64_t pending;  // of what it resolves, if it does
  };
  Hashes ring[kRing];

  [[gnu::always_inline]] void fetch_index(size_t i) {
    if (i >= batch.count) return;
    const Transfer& transfer = batch.records[i];
    Hashes& hashes = ring[i % kRing];
    hashes.id = engine.transfers_.hash(transfer.id);
    engine.transfers_.prefetch_index(hashes.id);
    if (has(transfer, transfer_flag::kPost | transfer_flag::kVoid)) {
      hashes.pending = engine.transfers_.hash(transfer.pending_id);
      engine.transfers_.prefetch_index(hashes.pending);
    }
    hashes.debit = engine.accounts_.hash(transfer.debit_account_id);
    hashes.credit = engine.accounts_.hash(transfer.credit_account_id);
    engine.accounts_.prefetch_index(hashes.debit);
    engine.accounts_.prefetch_index(hashes.credit);
  }
  [[gnu::always_inline]] void fetch_records(size_t i) {
    if (i >= batch.count) return;
    const Hashes& hashes = ring[i % kRing];
    if (has(batch.records[i], transfer_flag::kPost | transfer_flag::kVoid)) {
      engine.transfers_.prefetch_record(hashes.pending);
    }
    engine.accounts_.prefetch_record(hashes.debit);
    engine.accounts_.prefetch_record(hashes.credit);
  }

  Event event(size_t i) const {
    const Transfer& transfer = batch.records[i];
    const Hashes& hashes = ring[i % kRing];
    return {.transfer = transfer,
            .time = batch.times[i],
            .id_hash = hashes.id,
            .debit_hash = hashes.debit,
            .credit_hash = hashes.credit,
            .signer = batch.signers ? batch.signers[i] : kNoKey,
            .controller = batch.controllers ? batch.controllers[i] : kNoKey,
            .attester = batch.institution,
            .attested = batch.signers == nullptr,
            .signature_ok = batch.signers && batch.signature_ok[i]};
  }
};

void Engine::create_transfers(const TransferBatch& batch, uint32_t* results, U128* effects) {
  InProgress call(*this);
  require_times(batch.times, batch.count);
  transfers_.reserve_more(batch.count);
  TransferRules rules(*this, batch, effects);
  call.begin();
  run_batch(rules, batch.count, results);
  call.end();
}

void Engine::create_transfers_attested(const TransferBatch& batch, const Attestation& attestation, uint32_t* results,
                                       U128* effects) {
  InProgress call(*this);
  require_times(batch.times, batch.count);
  const uint32_t code = keys_.check_attestation(attestation, sequences_.next(attestation.institution));
  if (code != 0) {
    std::fill_n(results, batch.count, code);
    std::fill_n(effects, batch.count, U128{0});
    return;
  }
  TransferBatch attested = batch;
  attested.signers = nullptr;
  attested.institution = attestation.institution;
  create_transfers(attested, results, effects);
  sequences_.set_next(attestation.institution, attestation.sequence + 1);
}

uint32_t Engine::create_transfer(const Event& event, u128& amount) {
  const Transfer& transfer = event.transfer;
  if (!event.attested) {
    if (const uint32_t code = keys_.check_signature(event.signer, event.signature_ok)) return code;
  }
  if (transfer.flags & ~transfer_flag::kAll) return kReservedFlag;
  if (transfer.id == 0) return kIdMustNotBeZero;
  if (transfer.id == kU128Max) return kIdMustNotBeIntMax;
  const Position position = transfers_.find(transfer.id, event.id_hash);
  if (position == TransferStore::kFailed) return kIdAlreadyFailed;
  if (position != TransferStore::kNone) return check_existing_transfer(event, position);
  if (!event.attested) {
    if (const uint32_t code = keys_.check_key(event.signer)) return code;
  }
  if (has(transfer, transfer_flag::kPost | transfer_flag::kVoid)) return resolve(event, amount);
  return move(event, amount);
}

uint32_t Engine::check_existing_transfer(const Event& event, Position position) const {
  const Transfer existing = transfers_[position];
  Transfer transfer = event.transfer;
  if (transfer.flags != existing.flags) return kExistsWithDifferentFlags;
  if (transfer.pending_id != existing.pending_id) return kExistsWithDifferentPendingId;
  if (transfer.timeout_s != existing.timeout_s) return kExistsWithDifferentTimeout;
  if (has(transfer, transfer_flag::kPost | transfer_flag::kVoid)) {
    transfer = filled_from(transfer, transfers_[transfers_.find(transfer.pending_id)]);
  }
  if (transfer.debit_account_id != existing.debit_account_id) return kExistsWithDifferentDebitAccountId;
  if (transfer.credit_account_id != existing.credit_account_id) return kExistsWithDifferentCreditAccountId;
  // A balancing transfer names the most it may move, and moved at most that.
  const bool balancing = has(transfer, transfer_flag::kBalancingDebit | transfer_flag::kBalancingCredit);
  if (balancing ? transfer.amount < existing.amount : transfer.amount != existing.amount) {
    return kExistsWithDifferentAmount;
  }
  if (transfer.user_data_128 != existing.user_data_128) return kExistsWithDifferentUserData128;
  if (transfer.user_data_64 != existing.user_data_64) return kExistsWithDifferentUserData64;
  if (transfer.user_data_32 != existing.user_data_32) return kExistsWithDifferentUserData32;
  if (transfer.ledger != existing.ledger) return kExistsWithDifferentLedger;
  if (transfer.code != existing.code) return kExistsWithDifferentCode;
  const uint32_t controller = has(existing, transfer_flag::kPending) ? transfers_.pending(position).controller : kNoKey;
  return event.controller == controller ? kExists : kExistsWithDifferentController;
}

// Single-phase and pending transfers

uint32_t Engine::move(const Event& event, u128& amount) {
  const Transfer& transfer = event.transfer;
  if (const uint32_t code = check_fields(transfer)) return code;
  const uint32_t debit_slot = accounts_.find(transfer.debit_account_id, event.debit_hash);
  if (debit_slot == AccountStore::kNone) return kDebitAccountNotFound;
  Mandate* mandate = nullptr;
  if (const uint32_t code = check_debit_authority(event, debit_slot, mandate)) return code;
  if (const uint32_t code = check_controller(event)) return code;
  const uint32_t credit_slot = accounts_.find(transfer.credit_account_id, event.credit_hash);
  if (credit_slot == AccountStore::kNone) return kCreditAccountNotFound;
  if (const uint32_t code = check_closing_authority(event, credit_slot, mandate)) return code;

  const Account& debit = accounts_[debit_slot];
  const Account& credit = accounts_[credit_slot];
  if (debit.ledger != credit.ledger) return kAccountsMustHaveTheSameLedger;
  if (transfer.ledger != debit.ledger) return kTransferMustHaveTheSameLedgerAsAccounts;
  const bool imported = has(transfer, transfer_flag::kImported);
  if (imported) {
    if (const uint32_t code = check_imported(transfer, debit, credit)) return code;
  }
  if (debit.flags & account_flag::kClosed) return kDebitAccountAlreadyClosed;
  if (credit.flags & account_flag::kClosed) return kCreditAccountAlreadyClosed;

  const uint64_t time = imported ? transfer.timestamp : event.time;
  const u128 balanced = balanced_amount(transfer, debit, credit);
  if (mandate && balanced > mandate->remaining) return kMandateExceeded;
  if (const uint32_t code = check_overflows(transfer, balanced, time, debit, credit)) return code;
  if (const uint32_t code = check_limits(balanced, debit, credit)) return code;

  if (mandate) {
    if (chain_.open) chain_.mandates.emplace_back(debit_slot, *mandate);
    log_mandate(debit_slot, mandate->holder);
    mandate->remaining -= balanced;
  }
  amount = balanced;
  apply(event, debit_slot, credit_slot, balanced, time);
  return kCreated;
}

uint32_t Engine::check_debit_authority(const Event& event, uint32_t debit, Mandate*& mandate) {
  const Standing& standing = accounts_.standing(debit);
  if (event.attested) return standing.institution == event.attester ? 0 : kAttestationForeignAccount;
  if (event.signer == standing.owner) return 0;
  mandate = mandates_.find(debit, event.signer);
  if (mandate == nullptr) return kSignerNotAuthorised;
  return keys_.height() < mandate->until_height ? 0 : kMandateExpired;
}

uint32_t Engine::check_controller(const Event& event) const {
  if (event.controller == kNoKey) return 0;
  if (!has(event.transfer, transfer_flag::kPending)) return kControllerReservedForPendingTransfer;
  return keys_.usable(event.controller) ? 0 : kControllerNotValid;
}

// An account is closed by its owner only: not by a mandate's holder, not by one who pays into it.
uint32_t Engine::check_closing_authority(const Event& event, uint32_t credit, const Mandate* mandate) const {
  if (has(event.transfer, transfer_flag::kClosingDebit) && mandate) return kClosingNotAuthorised;
  if (!has(event.transfer, transfer_flag::kClosingCredit)) return 0;
  const Standing& standing = accounts_.standing(credit);
  const bool mine = event.attested ? standing.institution == event.attester : standing.owner == event.signer;
  return mine ? 0 : kClosingNotAuthorised;
}

bool Engine::time_regresses(const Transfer& transfer) const {
  return transfer.timestamp <= transfers_.last_timestamp() || accounts_.has_timestamp(transfer.timestamp);
}

uint32_t Engine::check_imported(const Transfer& transfer, const Account& debit, const Account& credit) const {
  if (time_regresses(transfer)) return kImportedEventTimestampMustNotRegress;
  if (transfer.timestamp <= debit.timestamp) return kImportedEventTimestampMustPostdateDebitAccount;
  if (transfer.timestamp <= credit.timestamp) return kImportedEventTimestampMustPostdateCreditAccount;
  return transfer.timeout_s != 0 ? kImportedEventTimeoutMustBeZero : 0;
}

// Events of two accounts: each links to the event before it of either account.
Transfer& Engine::append_transfer(const Transfer& transfer, uint64_t time, uint64_t hash, uint32_t debit_slot,
                                  uint32_t credit_slot) {
  if (snapshot_) [[unlikely]] {
    keep_for_snapshot(debit_slot);
    keep_for_snapshot(credit_slot);
  }
  Standing& debit = accounts_.standing(debit_slot);
  Standing& credit = accounts_.standing(credit_slot);
  const store::Links before{debit.last_event, credit.last_event};
  debit.last_event = credit.last_event = store::transfer_event(transfers_.size());
  return transfers_.append(transfer, time, hash, before);
}

void Engine::append_expiry(Position pending, uint64_t time_ns) {
  const Transfer transfer = transfers_[pending];
  const uint32_t debit_slot = accounts_.find(transfer.debit_account_id);
  const uint32_t credit_slot = accounts_.find(transfer.credit_account_id);
  if (snapshot_) {
    keep_for_snapshot(debit_slot);
    keep_for_snapshot(credit_slot);
  }
  Standing& debit = accounts_.standing(debit_slot);
  Standing& credit = accounts_.standing(credit_slot);
  const store::Links before{debit.last_event, credit.last_event};
  debit.last_event = credit.last_event = store::expiry_event(transfers_.expiry_count());
  transfers_.append_expiry({pending, time_ns, keys_.height(), before});
}

void Engine::apply(const Event& event, uint32_t debit_slot, uint32_t credit_slot, u128 amount, uint64_t time) {
  const Transfer& transfer = event.transfer;
  append_transfer(transfer, time, event.id_hash, debit_slot, credit_slot).amount = amount;
  const bool pending = has(transfer, transfer_flag::kPending);
  if (pending) transfers_.append_pending(event.controller);

  if (amount != 0) {
    Moved& moved = change_moved(accounts_.standing(debit_slot).ledger_number);
    (pending ? moved.pending : moved.posted).add(amount);
  }
  if (amount != 0 || has(transfer, transfer_flag::kClosingDebit)) {
    Account& debit = change(debit_slot);
    if (pending)
      debit.debits_pending += amount;
    else
      debit.debits_posted += amount;
    if (has(transfer, transfer_flag::kClosingDebit)) set_closed(debit, true);
  }
  if (amount != 0 || has(transfer, transfer_flag::kClosingCredit)) {
    Account& credit = change(credit_slot);
    if (pending)
      credit.credits_pending += amount;
    else
      credit.credits_posted += amount;
    if (has(transfer, transfer_flag::kClosingCredit)) set_closed(credit, true);
  }
}

// Posting and voiding what is pending

uint32_t Engine::resolve(const Event& event, u128& amount) {
  const Transfer& transfer = event.transfer;
  if (const uint32_t code = check_resolving_fields(transfer)) return code;
  const Position position = transfers_.find(transfer.pending_id);
  if (position >= transfers_.size()) return kPendingTransferNotFound;
  const Transfer pending = transfers_[position];
  if (!has(pending, transfer_flag::kPending)) return kPendingTransferNotPending;
  const Pending state = transfers_.pending(position);
  if (const uint32_t code = check_pending_authority(event, pending, state.controller)) return code;

  Transfer filled = filled_from(transfer, pending);
  if (const uint32_t code = check_against_pending(filled, pending)) return code;
  if (const uint32_t code = check_unresolved(event, pending, state.status)) return code;
  const bool imported = has(transfer, transfer_flag::kImported);
  if (imported && time_regresses(transfer)) return kImportedEventTimestampMustNotRegress;
  const uint32_t debit = accounts_.find(pending.debit_account_id), credit = accounts_.find(pending.credit_account_id);
  const bool posts = has(transfer, transfer_flag::kPost);
  if (posts && accounts_[debit].flags & account_flag::kClosed) return kDebitAccountAlreadyClosed;
  if (posts && accounts_[credit].flags & account_flag::kClosed) return kCreditAccountAlreadyClosed;

  append_transfer(filled, imported ? transfer.timestamp : event.time, event.id_hash, debit, credit);
  const PendingStatus status = posts ? PendingStatus::kPosted : PendingStatus::kVoided;
  change_status(position, status);
  release(pending, debit, credit, status, posts ? filled.amount : 0);
  amount = filled.amount;
  return kCreated;
}

uint32_t Engine::check_pending_authority(const Event& event, const Transfer& pending, uint32_t controller) const {
  if (controller == kNoKey) controller = accounts_.standing(accounts_.find(pending.debit_account_id)).owner;
  if (event.attested) {
    if (keys_.institution(controller) != event.attester) return kAttestationForeignAccount;
  } else if (event.signer != controller) {
    return kSignerNotAuthorised;
  }
  return check_controller(event);
}

uint32_t Engine::check_unresolved(const Event& event, const Transfer& pending, PendingStatus status) const {
  switch (status) {
    case PendingStatus::kPosted:
      return kPendingTransferAlreadyPosted;
    case PendingStatus::kVoided:
      return kPendingTransferAlreadyVoided;
    case PendingStatus::kExpired:
      return kPendingTransferExpired;
    default:
      return pending.timeout_s != 0 && pending.expires_at() <= event.time ? kPendingTransferExpired : 0;
  }
}

// Takes the reserved amount back, posts a part of it, and opens again what the pending transfer had closed.
void Engine::release(const Transfer& pending, uint32_t debit_slot, uint32_t credit_slot, PendingStatus status,
                     u128 posted) {
  if (pending.amount != 0) {
    Moved& moved = change_moved(accounts_.standing(debit_slot).ledger_number);
    moved.pending.subtract(pending.amount);
    moved.posted.add(posted);
  }
  const bool reopens = status != PendingStatus::kPosted;
  const bool reopens_debit = reopens && has(pending, transfer_flag::kClosingDebit);
  const bool reopens_credit = reopens && has(pending, transfer_flag::kClosingCredit);
  if (pending.amount != 0 || reopens_debit) {
    Account& debit = change(debit_slot);
    debit.debits_pending -= pending.amount;
    debit.debits_posted += posted;
    if (reopens_debit) set_closed(debit, false);
  }
  if (pending.amount != 0 || reopens_credit) {
    Account& credit = change(credit_slot);
    credit.credits_pending -= pending.amount;
    credit.credits_posted += posted;
    if (reopens_credit) set_closed(credit, false);
  }
}

std::vector<Position> Engine::expire(uint64_t now_ns, size_t limit) {
  InProgress call(*this);
  std::vector<Position> expired;
  call.begin();
  while (expired.size() < limit) {
    const Position position = transfers_.next_expired(now_ns);
    if (position == TransferStore::kNone) break;
    expired.push_back(position);
    const Transfer pending = transfers_[position];
    change_status(position, PendingStatus::kExpired);
    append_expiry(position, now_ns);
    release(pending, accounts_.find(pending.debit_account_id), accounts_.find(pending.credit_account_id),
            PendingStatus::kExpired, 0);
  }
  call.end();
  return expired;
}

}  // namespace pyledger::engine
