// The posting state machine: batches of records in, one result code a record out, balances in memory.
//
// Meaning is sequential: the outcome of a batch is that of its events one after the other. The fields, flags, codes and
// order of checks are TigerBeetle's, with the checks of authority between them; pyledger/reference/engine.py tells the
// whole order and is the slow twin of this class.
//
// Not thread-safe: one call at a time. A call that throws std::invalid_argument changed nothing. Any other exception in
// the middle of a call leaves the engine unusable: each later call throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/accounts.h"
#include "engine/authority.h"
#include "engine/block_log.h"
#include "engine/records.h"
#include "engine/totals.h"
#include "engine/transfers.h"
#include "merkle/state_tree.h"

namespace pyledger::engine {

// Times of a batch's events: first + i, or given one by one (a replay of what took effect). Imported events bring their
// own and are measured against first.
struct EventTimes {
  uint64_t first;
  const uint64_t* given;
  bool imported;
  uint64_t operator[](size_t i) const { return imported ? first : given ? given[i] : first + i; }
};

struct AccountBatch {
  const Account* records;
  const uint32_t* owners;
  const uint32_t* institutions;
  size_t count;
  EventTimes times;
  uint32_t registrar;
};

struct TransferBatch {
  const Transfer* records;
  const uint32_t* signers;      // nullptr: attested by the institution
  const bool* signature_ok;     // beside signers
  const uint32_t* controllers;  // nullptr: none
  size_t count;
  EventTimes times;
  uint32_t institution;
};

struct MandateChange {
  u128 account_id;
  u128 amount;
  uint64_t until_height;
  uint32_t holder;
  uint32_t signer;
  bool signature_ok;
};

struct OwnerChange {
  u128 account_id;
  uint32_t owner;
  uint32_t signer;
  bool signature_ok;
};

struct Balances {
  u128 debits_pending, debits_posted, credits_pending, credits_posted;
};

// Everything that a snapshot holds; the columns of one kind have one length.
struct State {
  uint64_t height = 0;
  std::vector<Key> keys;
  std::map<uint32_t, uint64_t> sequences;
  std::vector<Account> accounts;
  std::vector<uint32_t> owners;
  std::vector<uint32_t> touched;
  std::vector<Transfer> transfers;
  std::vector<uint32_t> controllers;    // one a transfer with flag pending, in order
  std::vector<PendingStatus> statuses;  // beside controllers
  std::vector<uint64_t> last_events;    // one an account: the newest event of its history
  std::vector<store::Links> links;      // one a transfer
  std::vector<store::Expiry> expiries;
  std::vector<U128> failed_ids;
  std::vector<std::pair<uint32_t, Mandate>> mandates;  // with the account's slot, sorted by (slot, holder)
};

class Engine {
 public:
  // Keys

  uint64_t height() const { return keys_.height(); }
  const KeyRegistry& keys() const { return keys_; }
  uint32_t register_keys(const std::vector<Key>& keys);
  void revoke_key(uint32_t index, uint64_t height);
  void set_height(uint64_t height) { keys_.set_height(height); }
  uint64_t attestation_sequence(uint32_t institution) const { return sequences_.next(institution); }
  const Mandates& mandates() const { return mandates_; }

  // Batches. Results has one code a record; effects the amount that took effect, 0 for a refused one.

  void create_accounts(const AccountBatch& batch, uint32_t* results);
  void create_transfers(const TransferBatch& batch, uint32_t* results, U128* effects);
  void create_transfers_attested(const TransferBatch& batch, const Attestation& attestation, uint32_t* results,
                                 U128* effects);
  // Ends at most limit pending transfers whose time has come; their positions by (time of expiry, position).
  std::vector<Position> expire(uint64_t now_ns, size_t limit);

  // Changes of authority; a code of authority_result each.

  // Ends a key of the registrar's at a height, or at once if the height has passed.
  uint32_t revoke_key_of(uint32_t registrar, uint32_t index, uint64_t height);
  uint32_t change_owner(u128 account_id, uint32_t owner, uint32_t registrar);
  uint32_t rotate_owner(const OwnerChange& change);
  uint32_t change_controller(u128 pending_id, uint32_t controller, uint32_t registrar);
  uint32_t set_mandate(const MandateChange& change);

  // Blocks that may be taken back, newest first, until they are committed, oldest first. What happens while no block is
  // open can't be taken back.

  void begin_block();
  void commit_block();
  void roll_back_block();
  size_t open_blocks() const { return open_blocks_.size(); }

  // Memory for so many accounts and transfers in all is provided now, so that no batch waits for it.
  void prepare(size_t accounts, size_t transfers);

  // Look-ups

  const AccountStore& accounts() const { return accounts_; }
  const TransferStore& transfers() const { return transfers_; }
  std::vector<uint32_t> take_touched();
  // Takes what was touched into the tree, which holds account i in slot i + 1; returns how many. Throws
  // std::invalid_argument, with nothing changed, if the tree is of another number of accounts or size of payload.
  size_t take_touched_into(merkle::StateTree& tree, unsigned threads);
  uint64_t last_timestamp() const;

  // History. An account's events are walked from its newest one; the events of the walk tell where to go on.

  struct HistoryQuery {
    u128 account_id;
    uint64_t first_time;  // of transfers wanted
    uint64_t last_time;
    store::Event below;  // the walk goes on before this event of the account; kNoEvent: from the newest one
    size_t limit;
  };
  struct History {
    std::vector<Transfer> transfers;  // newest first
    std::vector<Position> positions;  // beside them
    store::Event below;               // to go on with; kNoEvent: nothing older is wanted
  };
  // Throws std::invalid_argument if there is no such account or event.
  History history(const HistoryQuery& query) const;
  // The four balances as they were after all transfers with timestamps and all expiries with block times up to time_ns.
  Balances balances_at_time(u128 account_id, uint64_t time_ns) const;
  // The same after the first `end` transfers and the expiries of all heights up to `height`.
  Balances balances_at(u128 account_id, Position end, uint64_t height) const;

  // One event of an account and what it came to.
  struct Entry {
    Transfer transfer;  // as it took effect; of an expiry: the pending one
    bool is_expiry;
    uint64_t number;  // position of the transfer, or number of the expiry
    uint64_t time_ns;
    uint64_t height;  // of an expiry
    u128 released;    // what it took out of the pending balances
    Balances after;
  };
  // The events with times in [first_time, last_time], newest first, at most limit of them.
  std::vector<Entry> statement(u128 account_id, uint64_t first_time, uint64_t last_time, size_t limit) const;
  // The event that posted, voided or expired a pending transfer; kNoEvent if it is still pending. The time it takes
  // grows with the events since then of whichever account has fewer.
  store::Event resolution(Position pending) const;

  // Sealing: what is old goes from memory to disk. The middle step changes nothing and may run beside other calls.

  void open_store(std::string folder);
  uint32_t add_block_file(std::string path);
  // Where the next block's transfers lie; effects_offset is 0 where each amount is that of its record.
  void add_block(uint32_t file, uint64_t records_offset, uint64_t effects_offset, uint32_t count);
  // The oldest count transfers of the window, if at least keep newer ones stay there and their blocks are known.
  std::optional<store::SegmentContent> content_to_seal(uint64_t keep, uint64_t count) const;
  void seal(store::SegmentPointer segment, const store::SegmentContent& content);
  std::optional<store::SealedStore::Work> store_work_due() const;
  void install_store_work(store::SealedStore::Work work);

  // Sums over all accounts, by ledger.
  std::map<uint32_t, LedgerTotals> totals() const;
  // Scans the accounts; what is wrong first, or nothing.
  std::optional<std::string> check_accounts_and_totals() const;
  // Scans everything, transfers on disk, too.
  std::optional<std::string> check_invariants() const;

  // Snapshots. Everything but the accounts is small and is given at once; accounts are copied piece by piece while the
  // engine goes on: from begin_snapshot() to end_snapshot() it keeps the old values of those that change before they
  // are copied.

  struct Snapshot {
    uint64_t height = 0;
    std::vector<Key> keys;
    std::map<uint32_t, uint64_t> sequences;
    std::vector<std::pair<uint32_t, Mandate>> mandates;
    std::vector<Moved> moved;
    std::vector<uint32_t> touched;
    size_t account_count = 0;
    TransferStore::Saved transfers;
  };
  Snapshot begin_snapshot();
  // Copies accounts [copied, copied + count), where copied is the number of those copied before.
  void copy_accounts(size_t count, Account* records, uint32_t* owners, uint64_t* last_events);
  void end_snapshot();
  struct SnapshotAccounts {
    const Account* records;
    const uint32_t* owners;
    const uint64_t* last_events;
  };
  // An engine that goes on as the one that gave the snapshot, over the same folder.
  static Engine restore(const Snapshot& snapshot, const SnapshotAccounts& accounts, std::string folder);

  State state() const;
  // An engine that goes on as the one that gave the state. Throws std::invalid_argument if the state can't be one.
  static Engine from_state(const State& state);

 private:
  struct Event;
  struct AccountRules;
  struct TransferRules;
  class InProgress;

  // What a broken chain of linked events puts back.
  struct Chain {
    bool open = false;
    size_t account_count = 0;
    Position transfer_count = 0;
    std::vector<std::pair<uint32_t, Account>> accounts;
    std::vector<std::pair<Position, PendingStatus>> statuses;
    std::vector<std::pair<uint32_t, Mandate>> mandates;
    std::vector<std::pair<uint32_t, Moved>> moved;
  };

  void require_times(const EventTimes& times, size_t count) const;
  template <class Rules>
  void run_batch(Rules& rules, size_t count, uint32_t* results);
  void open_chain();
  void keep_chain();
  void roll_back_chain();
  void close_chain();

  void take_back_events(const BlockLog& log);
  void forget_logged();
  void log_account(uint32_t slot, const Account& before);
  void log_moved(uint32_t ledger_number);
  void log_mandate(uint32_t slot, uint32_t holder);

  Account& change(uint32_t slot);
  Moved& change_moved(uint32_t ledger_number);
  void change_status(Position pending, PendingStatus status);

  uint32_t create_account(const Account& account, const Standing& standing, uint64_t time);
  uint32_t check_existing_account(const Account& account, const Standing& standing, uint32_t slot) const;

  uint32_t create_transfer(const Event& event, u128& amount);
  uint32_t check_existing_transfer(const Event& event, Position position) const;
  uint32_t move(const Event& event, u128& amount);
  uint32_t check_debit_authority(const Event& event, uint32_t debit, Mandate*& mandate);
  uint32_t check_controller(const Event& event) const;
  uint32_t check_closing_authority(const Event& event, uint32_t credit, const Mandate* mandate) const;
  uint32_t check_imported(const Transfer& transfer, const Account& debit, const Account& credit) const;
  bool time_regresses(const Transfer& transfer) const;
  Transfer& append_transfer(const Transfer& transfer, uint64_t time, uint64_t hash, uint32_t debit, uint32_t credit);
  void append_expiry(Position pending, uint64_t time_ns);
  void take_back_transfers(Position size);
  uint32_t known_account(u128 id) const;
  void keep_for_snapshot(uint32_t slot);
  std::vector<std::pair<uint32_t, Mandate>> sorted_mandates() const;
  void restore_accounts(const Snapshot& snapshot, const SnapshotAccounts& accounts);
  template <class IsAfter>
  Balances balances_before(uint32_t slot, IsAfter is_after) const;
  void apply(const Event& event, uint32_t debit, uint32_t credit, u128 amount, uint64_t time);
  uint32_t resolve(const Event& event, u128& amount);
  uint32_t check_pending_authority(const Event& event, const Transfer& pending, uint32_t controller) const;
  uint32_t check_unresolved(const Event& event, const Transfer& pending, PendingStatus status) const;
  void release(const Transfer& pending, uint32_t debit, uint32_t credit, PendingStatus status, u128 posted);

  store::SealedStore& opened_store();
  uint32_t replace_owner(uint32_t slot, uint32_t owner);
  void load_accounts(const State& state);
  void load_transfers(const State& state);
  void check_resolutions() const;
  std::optional<std::string> check_histories() const;
  std::optional<std::string> check_totals() const;

  KeyRegistry keys_;
  AttestationSequences sequences_;
  Mandates mandates_;
  AccountStore accounts_;
  TransferStore transfers_;
  MovedByLedger moved_;
  Chain chain_;
  std::deque<BlockLog> open_blocks_;
  bool logging_ = false;
  std::vector<bool> logged_accounts_, logged_moved_;  // those that the newest open block's log holds
  // A snapshot under way: accounts below `copied` are done; those that changed before are kept as they were, in groups
  // of neighbours.
  struct KeptAccount {
    uint32_t slot;
    Standing standing;
    Account record;
  };
  struct AccountsCopy {
    static constexpr size_t kGroup = 4096;
    explicit AccountsCopy(size_t count) : count(count), is_kept(count), kept((count + kGroup - 1) / kGroup) {}

    size_t count, copied = 0;
    std::vector<bool> is_kept;
    std::vector<std::vector<KeptAccount>> kept;
  };
  std::optional<AccountsCopy> snapshot_;
  bool broken_ = false;
};

}  // namespace pyledger::engine
