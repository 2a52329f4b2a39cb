// Engine: columns in and out of the posting state machine.
//
// Each call takes the engine's own lock after it has let go of the GIL, so threads may share an engine; calls then
// happen one after the other.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "engine/engine.h"

namespace pyledger::bindings {
namespace {

using engine::Account;
using engine::Engine;
using engine::Transfer;
using engine::U128;

constexpr uint32_t kStateFormat = 1;

struct SharedEngine {
  Engine engine;
  std::mutex mutex;
  std::mutex sealing;  // held by the one thread that seals or merges, which holds `mutex` only at both ends

  template <class F>
  auto run(F f) {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex);
    return f(engine);
  }
};

// The dtypes of pyledger/types.py.

struct Dtypes {
  py::dtype u128, account, transfer;
};

py::dtype record_dtype(const py::list& fields) { return py::dtype::from_args(fields); }

Dtypes make_dtypes() {
  const auto field = [](const char* name, const py::object& type) { return py::make_tuple(name, type); };
  const py::str u2("<u2"), u4("<u4"), u8("<u8");
  py::list pair, account, transfer;
  pair.append(field("lo", u8));
  pair.append(field("hi", u8));
  const py::dtype u128 = record_dtype(pair);
  for (const char* name :
       {"id", "debits_pending", "debits_posted", "credits_pending", "credits_posted", "user_data_128"}) {
    account.append(field(name, u128));
  }
  for (const char* name : {"id", "debit_account_id", "credit_account_id", "amount", "pending_id", "user_data_128"}) {
    transfer.append(field(name, u128));
  }
  for (auto [list, fourth] : {std::pair(&account, "reserved"), std::pair(&transfer, "timeout")}) {
    list->append(field("user_data_64", u8));
    list->append(field("user_data_32", u4));
    list->append(field(fourth, u4));
    list->append(field("ledger", u4));
    list->append(field("code", u2));
    list->append(field("flags", u2));
    list->append(field("timestamp", u8));
  }
  return {u128, record_dtype(account), record_dtype(transfer)};
}

const Dtypes& dtypes() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Dtypes> storage;
  return storage.call_once_and_store_result(make_dtypes).get_stored();
}

template <class T>
const py::dtype& dtype_of() {
  if constexpr (std::is_same_v<T, U128>) return dtypes().u128;
  if constexpr (std::is_same_v<T, Account>) return dtypes().account;
  if constexpr (std::is_same_v<T, Transfer>) return dtypes().transfer;
}

void require_length(py::ssize_t got, const char* name, py::ssize_t expected) {
  if (got == expected) return;
  throw py::value_error(std::string(name) + ": expected " + std::to_string(expected) + " rows, got " +
                        std::to_string(got));
}

void require_one_dimension(const py::array& array, const char* name) {
  if (array.ndim() == 1) return;
  throw py::value_error(std::string(name) + ": expected shape (n,), got " + std::to_string(array.ndim()) +
                        " dimensions");
}

// Records of exactly this dtype, one after the other.
template <class T>
const T* records(const py::array& array, const char* name) {
  if (!array.dtype().equal(dtype_of<T>())) {
    throw py::type_error(std::string(name) + ": expected dtype " + py::str(dtype_of<T>()).cast<std::string>() +
                         ", got " + py::str(array.dtype()).cast<std::string>());
  }
  require_one_dimension(array, name);
  if (!(array.flags() & py::array::c_style)) throw py::value_error(std::string(name) + ": expected a contiguous array");
  return static_cast<const T*>(array.data());
}

// A column beside n records.
template <class T>
const T* column(const Array<T>& array, const char* name, py::ssize_t n) {
  require_one_dimension(array, name);
  require_length(array.shape(0), name, n);
  if (reinterpret_cast<uintptr_t>(array.data()) % alignof(T)) {
    throw py::value_error(std::string(name) + ": expected an aligned array");
  }
  return array.data();
}

template <class T>
const T* optional_column(const std::optional<Array<T>>& array, const char* name, py::ssize_t n) {
  return array ? column(*array, name, n) : nullptr;
}

template <class T>
py::array new_records(size_t n) {
  py::array out(dtype_of<T>(), py::array::ShapeContainer{static_cast<py::ssize_t>(n)});
  std::memset(out.mutable_data(), 0, n * sizeof(T));
  return out;
}

template <class T>
T* records_out(py::array& array) {
  return static_cast<T*>(array.mutable_data());
}

template <class T>
py::array to_records(const std::vector<T>& items) {
  py::array out = new_records<T>(items.size());
  std::copy(items.begin(), items.end(), records_out<T>(out));
  return out;
}

template <class T>
Array<T> to_column(const std::vector<T>& items) {
  Array<T> out(static_cast<py::ssize_t>(items.size()));
  std::copy(items.begin(), items.end(), out.mutable_data());
  return out;
}

// Packed items as rows of bytes.
template <class T>
Array<uint8_t> to_rows(const std::vector<T>& items) {
  Array<uint8_t> out(py::array::ShapeContainer({static_cast<py::ssize_t>(items.size()), py::ssize_t{sizeof(T)}}));
  if (!items.empty()) std::memcpy(out.mutable_data(), items.data(), items.size() * sizeof(T));
  return out;
}

// Keys

uint32_t register_keys(SharedEngine& self, const Array<uint32_t>& institutions, uint64_t height,
                       const std::optional<Array<uint32_t>>& roles, const std::optional<Array<uint64_t>>& valid_until) {
  const py::ssize_t n = institutions.size();
  const uint32_t* institution = column(institutions, "institutions", n);
  const uint32_t* role = optional_column(roles, "roles", n);
  const uint64_t* until = optional_column(valid_until, "valid_until", n);
  std::vector<engine::Key> keys;
  for (py::ssize_t i = 0; i < n; i++) {
    keys.push_back({institution[i], role ? role[i] : uint32_t{engine::key_role::kHolder}, height,
                    until ? until[i] : engine::kNoEnd});
  }
  return self.run([&](Engine& engine) { return engine.register_keys(keys); });
}

template <uint32_t role>
uint32_t check_role(SharedEngine& self, uint32_t institution, uint32_t signer, bool signature_ok) {
  return self.run([&](Engine& engine) { return engine.keys().check_role(institution, signer, signature_ok, role); });
}

py::dict keys_dict(const std::vector<engine::Key>& keys) {
  std::vector<uint32_t> institutions, roles;
  std::vector<uint64_t> from, until;
  for (const engine::Key& key : keys) {
    institutions.push_back(key.institution);
    roles.push_back(key.roles);
    from.push_back(key.valid_from);
    until.push_back(key.valid_until);
  }
  py::dict out;
  out["key_institutions"] = to_column(institutions);
  out["key_roles"] = to_column(roles);
  out["key_valid_from"] = to_column(from);
  out["key_valid_until"] = to_column(until);
  return out;
}

// Batches

Array<uint32_t> create_accounts(SharedEngine& self, const py::array& accounts, const Array<uint32_t>& owners,
                                const Array<uint32_t>& institutions, uint64_t first_timestamp, uint32_t registrar,
                                const std::optional<Array<uint64_t>>& timestamps) {
  engine::AccountBatch batch{};
  batch.records = records<Account>(accounts, "records");
  const py::ssize_t n = accounts.shape(0);
  batch.owners = column(owners, "owners", n);
  batch.institutions = column(institutions, "institutions", n);
  batch.count = static_cast<size_t>(n);
  batch.times = {first_timestamp, optional_column(timestamps, "timestamps", n),
                 n > 0 && (batch.records[0].flags & engine::account_flag::kImported) != 0};
  batch.registrar = registrar;
  Array<uint32_t> results(n);
  uint32_t* out = results.mutable_data();
  self.run([&](Engine& engine) { engine.create_accounts(batch, out); });
  return results;
}

engine::TransferBatch transfer_batch(const py::array& transfers, uint64_t first_timestamp,
                                     const std::optional<Array<uint32_t>>& controllers,
                                     const std::optional<Array<uint64_t>>& timestamps) {
  engine::TransferBatch batch{};
  batch.records = records<Transfer>(transfers, "records");
  const py::ssize_t n = transfers.shape(0);
  batch.count = static_cast<size_t>(n);
  batch.controllers = optional_column(controllers, "controllers", n);
  batch.times = {first_timestamp, optional_column(timestamps, "timestamps", n),
                 n > 0 && (batch.records[0].flags & engine::transfer_flag::kImported) != 0};
  return batch;
}

py::tuple create_transfers(SharedEngine& self, const py::array& transfers, const Array<uint32_t>& signers,
                           const Array<bool>& signature_ok, uint64_t first_timestamp,
                           const std::optional<Array<uint32_t>>& controllers,
                           const std::optional<Array<uint64_t>>& timestamps) {
  engine::TransferBatch batch = transfer_batch(transfers, first_timestamp, controllers, timestamps);
  const py::ssize_t n = transfers.shape(0);
  batch.signers = column(signers, "signers", n);
  batch.signature_ok = column(signature_ok, "signature_ok", n);
  Array<uint32_t> results(n);
  py::array effects = new_records<U128>(batch.count);
  uint32_t* out = results.mutable_data();
  U128* amounts = records_out<U128>(effects);
  self.run([&](Engine& engine) { engine.create_transfers(batch, out, amounts); });
  return py::make_tuple(results, effects);
}

py::tuple create_transfers_attested(SharedEngine& self, const py::array& transfers, uint32_t institution,
                                    uint64_t sequence, bool ok, uint64_t first_timestamp, uint32_t signer,
                                    const std::optional<Array<uint32_t>>& controllers,
                                    const std::optional<Array<uint64_t>>& timestamps) {
  const engine::TransferBatch batch = transfer_batch(transfers, first_timestamp, controllers, timestamps);
  const engine::Attestation attestation{institution, sequence, signer, ok};
  Array<uint32_t> results(transfers.shape(0));
  py::array effects = new_records<U128>(batch.count);
  uint32_t* out = results.mutable_data();
  U128* amounts = records_out<U128>(effects);
  self.run([&](Engine& engine) { engine.create_transfers_attested(batch, attestation, out, amounts); });
  return py::make_tuple(results, effects);
}

py::tuple expire(SharedEngine& self, uint64_t now_ns, size_t limit) {
  std::vector<U128> ids, amounts;
  self.run([&](Engine& engine) {
    for (const engine::Position position : engine.expire(now_ns, limit)) {
      const Transfer transfer = engine.transfers()[position];
      ids.push_back({transfer.id});
      amounts.push_back({transfer.amount});
    }
  });
  return py::make_tuple(to_records(ids), to_records(amounts));
}

// Changes of authority

template <class Change>
Array<uint32_t> change_each(SharedEngine& self, const py::array& ids, const char* name, const Array<uint32_t>& keys,
                            const char* keys_name, Change change) {
  const U128* id = records<U128>(ids, name);
  const py::ssize_t n = ids.shape(0);
  const uint32_t* key = column(keys, keys_name, n);
  Array<uint32_t> results(n);
  uint32_t* out = results.mutable_data();
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) out[i] = change(engine, id[i].value, key[i]);
  });
  return results;
}

Array<uint32_t> set_mandates(SharedEngine& self, const py::array& accounts, const Array<uint32_t>& holders,
                             const py::array& amounts, const Array<uint64_t>& until_heights,
                             const Array<uint32_t>& signers, const Array<bool>& signature_ok) {
  const U128* account = records<U128>(accounts, "accounts");
  const py::ssize_t n = accounts.shape(0);
  const U128* amount = records<U128>(amounts, "amounts");
  require_length(amounts.shape(0), "amounts", n);
  const uint32_t* holder = column(holders, "holders", n);
  const uint64_t* until = column(until_heights, "until_heights", n);
  const uint32_t* signer = column(signers, "signers", n);
  const bool* ok = column(signature_ok, "signature_ok", n);
  Array<uint32_t> results(n);
  uint32_t* out = results.mutable_data();
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) {
      out[i] = engine.set_mandate({account[i].value, amount[i].value, until[i], holder[i], signer[i], ok[i]});
    }
  });
  return results;
}

Array<uint32_t> rotate_owners(SharedEngine& self, const py::array& ids, const Array<uint32_t>& new_owners,
                              const Array<uint32_t>& signers, const Array<bool>& signature_ok) {
  const py::ssize_t n = ids.shape(0);
  const uint32_t* signer = column(signers, "signers", n);
  const bool* ok = column(signature_ok, "signature_ok", n);
  return change_each(self, ids, "ids", new_owners, "new_owners",
                     [&, i = 0](Engine& engine, engine::u128 id, uint32_t key) mutable {
                       const uint32_t code = engine.rotate_owner({id, key, signer[i], ok[i]});
                       i++;
                       return code;
                     });
}

Array<uint32_t> revoke_keys(SharedEngine& self, const Array<uint32_t>& indexes, const Array<uint64_t>& heights,
                            uint32_t registrar) {
  const py::ssize_t n = indexes.size();
  const uint32_t* index = column(indexes, "indexes", n);
  const uint64_t* height = column(heights, "heights", n);
  Array<uint32_t> results(n);
  uint32_t* out = results.mutable_data();
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) out[i] = engine.revoke_key_of(registrar, index[i], height[i]);
  });
  return results;
}

// Look-ups

template <class T, class Find>
py::tuple look_up(SharedEngine& self, const py::array& ids, Find find) {
  const U128* id = records<U128>(ids, "ids");
  const py::ssize_t n = ids.shape(0);
  py::array found_records = new_records<T>(static_cast<size_t>(n));
  Array<bool> found(n);
  T* out = records_out<T>(found_records);
  bool* is_there = found.mutable_data();
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) {
      const std::optional<T> record = find(engine, id[i].value);
      is_there[i] = record.has_value();
      if (record) out[i] = *record;
    }
  });
  return py::make_tuple(found_records, found);
}

std::optional<Account> find_account(Engine& engine, engine::u128 id) {
  const uint32_t slot = engine.accounts().find(id);
  if (slot == engine::AccountStore::kNone) return std::nullopt;
  return engine.accounts()[slot];
}

std::optional<Transfer> find_transfer(Engine& engine, engine::u128 id) {
  const engine::Position position = engine.transfers().find(id);
  if (position >= engine.transfers().size()) return std::nullopt;
  return engine.transfers()[position];
}

py::tuple lookup_pendings(SharedEngine& self, const py::array& ids) {
  const U128* id = records<U128>(ids, "ids");
  const py::ssize_t n = ids.shape(0);
  Array<uint8_t> statuses(n);
  Array<uint32_t> controllers(n);
  uint8_t* status = statuses.mutable_data();
  uint32_t* controller = controllers.mutable_data();
  self.run([&](Engine& engine) {
    const engine::TransferStore& transfers = engine.transfers();
    for (py::ssize_t i = 0; i < n; i++) {
      const engine::Position position = transfers.find(id[i].value);
      engine::Pending pending{0, engine::kNoKey, engine::PendingStatus::kNone};
      if (position < transfers.size() && transfers[position].flags & engine::transfer_flag::kPending) {
        pending = transfers.pending(position);
      }
      status[i] = static_cast<uint8_t>(pending.status);
      controller[i] = pending.controller;
    }
  });
  return py::make_tuple(statuses, controllers);
}

// Waits for the lock with the GIL held: no call needs the GIL while it holds the lock.
py::array all_accounts(SharedEngine& self) {
  const std::lock_guard<std::mutex> lock(self.mutex);
  const engine::AccountStore& accounts = self.engine.accounts();
  py::array out = new_records<Account>(accounts.size());
  std::copy_n(accounts.records(), accounts.size(), records_out<Account>(out));
  return out;
}

py::array all_transfers(SharedEngine& self) {
  const std::lock_guard<std::mutex> lock(self.mutex);
  const engine::TransferStore& transfers = self.engine.transfers();
  py::array out = new_records<Transfer>(transfers.size());
  for (engine::Position at = 0; at < transfers.size(); at++) records_out<Transfer>(out)[at] = transfers[at];
  return out;
}

template <class Field>
Array<uint32_t> standings(SharedEngine& self, Field field) {
  std::vector<uint32_t> items;
  self.run([&](Engine& engine) {
    for (uint32_t slot = 0; slot < engine.accounts().size(); slot++) {
      items.push_back(field(engine.accounts().standing(slot)));
    }
  });
  return to_column(items);
}

Array<uint32_t> account_slots(SharedEngine& self, const py::array& ids) {
  const U128* id = records<U128>(ids, "ids");
  const py::ssize_t n = ids.shape(0);
  Array<uint32_t> slots(n);
  uint32_t* out = slots.mutable_data();
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) out[i] = engine.accounts().find(id[i].value);
  });
  return slots;
}

// Calls f(row, slot) for each slot; throws if one has no account.
template <class F>
void for_each_slot(SharedEngine& self, const Array<uint32_t>& slots, F f) {
  const py::ssize_t n = slots.size();
  const uint32_t* slot = column(slots, "slots", n);
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) {
      if (slot[i] >= engine.accounts().size()) {
        throw std::out_of_range("slots: no account at " + std::to_string(slot[i]));
      }
      f(engine, i, slot[i]);
    }
  });
}

py::array records_at(SharedEngine& self, const Array<uint32_t>& slots) {
  py::array out = new_records<Account>(static_cast<size_t>(slots.size()));
  Account* records = records_out<Account>(out);
  for_each_slot(self, slots,
                [&](Engine& engine, py::ssize_t i, uint32_t slot) { records[i] = engine.accounts()[slot]; });
  return out;
}

// What stands in the state tree's leaves: records, owner keys and institutions, as rows of bytes.
Array<uint8_t> payloads_at(SharedEngine& self, const Array<uint32_t>& slots,
                           const std::optional<Array<uint8_t>>& into) {
  constexpr size_t kAhead = 16;
  const py::ssize_t n = slots.size();
  const uint32_t* slot = column(slots, "slots", n);
  Array<uint8_t> rows = output_array(into, n, sizeof(Account) + 2 * sizeof(uint32_t), slots);
  uint8_t* out = rows.mutable_data();
  for_each_slot(self, slots, [&](Engine& engine, py::ssize_t i, uint32_t place) {
    const engine::AccountStore& accounts = engine.accounts();
    if (i + py::ssize_t{kAhead} < n && slot[i + kAhead] < accounts.size()) accounts.prefetch_slot(slot[i + kAhead]);
    const engine::Standing& standing = accounts.standing(place);
    std::memcpy(out, &accounts[place], sizeof(Account));
    std::memcpy(out + sizeof(Account), &standing.owner, sizeof standing.owner);
    std::memcpy(out + sizeof(Account) + sizeof standing.owner, &standing.institution, sizeof standing.institution);
    out += rows.shape(1);
  });
  return rows;
}

py::tuple standings_at(SharedEngine& self, const Array<uint32_t>& slots) {
  Array<uint32_t> owners(slots.size()), institutions(slots.size());
  uint32_t* owner = owners.mutable_data();
  uint32_t* institution = institutions.mutable_data();
  for_each_slot(self, slots, [&](Engine& engine, py::ssize_t i, uint32_t slot) {
    owner[i] = engine.accounts().standing(slot).owner;
    institution[i] = engine.accounts().standing(slot).institution;
  });
  return py::make_tuple(owners, institutions);
}

py::array failed_ids(SharedEngine& self, size_t start) {
  return to_records(self.run([&](Engine& engine) {
    const engine::TransferStore& transfers = engine.transfers();
    if (start < transfers.failed_first()) {
      throw std::invalid_argument("start: expected at least " + std::to_string(transfers.failed_first()) +
                                  ", the ids before it are sealed");
    }
    std::vector<U128> ids;
    for (uint64_t at = start; at < transfers.failed_count(); at++) ids.push_back({transfers.failed_id(at)});
    return ids;
  }));
}

py::object to_int(const engine::U192& value) {
  const py::object from_bytes = py::module_::import("builtins").attr("int").attr("from_bytes");
  std::string bytes(24, '\0');
  std::memcpy(bytes.data(), &value.low, 16);
  std::memcpy(bytes.data() + 16, &value.high, 8);
  return from_bytes(py::bytes(bytes), "little");
}

py::dict totals(SharedEngine& self) {
  py::dict out;
  for (const auto& [ledger, sum] : self.run([](Engine& engine) { return engine.totals(); })) {
    out[py::int_(ledger)] = py::make_tuple(to_int(sum.debits_pending), to_int(sum.debits_posted),
                                           to_int(sum.credits_pending), to_int(sum.credits_posted));
  }
  return out;
}

// History

engine::u128 one_id(const py::array& id, const char* name) {
  const U128* value = records<U128>(id, name);
  require_length(id.shape(0), name, 1);
  return value->value;
}

// (transfers newest first, their positions, the event to go on below; 0 at the end).
py::tuple history(SharedEngine& self, const py::array& account, uint64_t first_time, uint64_t last_time, uint64_t below,
                  size_t limit) {
  const engine::u128 id = one_id(account, "account");
  if (limit == 0) throw py::value_error("limit: expected at least 1");
  const Engine::History found =
      self.run([&](Engine& engine) { return engine.history({id, first_time, last_time, below, limit}); });
  return py::make_tuple(to_records(found.transfers), to_column(found.positions), found.below);
}

// Columns of an account's events, newest first: (transfers, numbers, times, heights of expiries or 0, amounts released,
// the four balances after each).
py::tuple statement(SharedEngine& self, const py::array& account, uint64_t first_time, uint64_t last_time,
                    size_t limit) {
  const engine::u128 id = one_id(account, "account");
  const std::vector<Engine::Entry> entries =
      self.run([&](Engine& engine) { return engine.statement(id, first_time, last_time, limit); });
  const auto n = static_cast<py::ssize_t>(entries.size());
  py::array transfers = new_records<Transfer>(entries.size()), released = new_records<U128>(entries.size());
  py::array after(dtype_of<U128>(), py::array::ShapeContainer({n, py::ssize_t{4}}));
  Array<uint64_t> numbers(n), times(n), heights(n);
  for (py::ssize_t i = 0; i < n; i++) {
    const Engine::Entry& entry = entries[static_cast<size_t>(i)];
    records_out<Transfer>(transfers)[i] = entry.transfer;
    numbers.mutable_data()[i] = entry.number;
    times.mutable_data()[i] = entry.time_ns;
    heights.mutable_data()[i] = entry.height;
    records_out<U128>(released)[i] = {entry.released};
    std::memcpy(static_cast<engine::Balances*>(after.mutable_data()) + i, &entry.after, sizeof entry.after);
  }
  return py::make_tuple(transfers, numbers, times, heights, released, after);
}

constexpr uint64_t kNowhere = ~uint64_t{0};

// Positions of transfers; kNowhere where there is none.
Array<uint64_t> transfer_positions(SharedEngine& self, const py::array& ids) {
  const U128* id = records<U128>(ids, "ids");
  const py::ssize_t n = ids.shape(0);
  Array<uint64_t> positions(n);
  uint64_t* out = positions.mutable_data();
  self.run([&](Engine& engine) {
    const engine::TransferStore& transfers = engine.transfers();
    for (py::ssize_t i = 0; i < n; i++) {
      const engine::Position position = transfers.find(id[i].value);
      out[i] = position < transfers.size() ? position : kNowhere;
    }
  });
  return positions;
}

// What became of pending transfers: (ids of those that posted or voided them, or 0; heights at which they expired, or
// 0).
py::tuple resolutions(SharedEngine& self, const py::array& ids) {
  const U128* id = records<U128>(ids, "ids");
  const py::ssize_t n = ids.shape(0);
  py::array resolvers = new_records<U128>(static_cast<size_t>(n));
  Array<uint64_t> heights(n);
  U128* resolver = records_out<U128>(resolvers);
  uint64_t* height = heights.mutable_data();
  self.run([&](Engine& engine) {
    const engine::TransferStore& transfers = engine.transfers();
    for (py::ssize_t i = 0; i < n; i++) {
      height[i] = 0;
      const engine::Position position = transfers.find(id[i].value);
      if (position >= transfers.size() || !(transfers[position].flags & engine::transfer_flag::kPending)) continue;
      const store::Event event = engine.resolution(position);
      if (event == store::kNoEvent) continue;
      if (store::is_expiry(event)) {
        height[i] = transfers.expiry(store::number_of(event)).height;
      } else {
        resolver[i] = {transfers[store::number_of(event)].id};
      }
    }
  });
  return py::make_tuple(resolvers, heights);
}

// Pending transfers that ended by themselves at heights in [first, last], in order: (transfers, times, heights).
py::tuple expiries(SharedEngine& self, uint64_t first, uint64_t last) {
  std::vector<Transfer> pending;
  std::vector<uint64_t> times, heights;
  self.run([&](Engine& engine) {
    const engine::TransferStore& transfers = engine.transfers();
    uint64_t low = 0, high = transfers.expiry_count();
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      if (transfers.expiry(middle).height < first) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    for (; low < transfers.expiry_count(); low++) {
      const store::Expiry expiry = transfers.expiry(low);
      if (expiry.height > last) break;
      pending.push_back(transfers[expiry.pending]);
      times.push_back(expiry.time_ns);
      heights.push_back(expiry.height);
    }
  });
  return py::make_tuple(to_records(pending), to_column(times), to_column(heights));
}

// A row of four balances an account.
template <class Get>
py::array balances_of(SharedEngine& self, const py::array& ids, Get get) {
  const U128* id = records<U128>(ids, "ids");
  const py::ssize_t n = ids.shape(0);
  py::array out(dtype_of<U128>(), py::array::ShapeContainer({n, py::ssize_t{4}}));
  auto* balances = static_cast<engine::Balances*>(out.mutable_data());
  self.run([&](Engine& engine) {
    for (py::ssize_t i = 0; i < n; i++) {
      const engine::Balances found = get(engine, id[i].value);
      std::memcpy(reinterpret_cast<char*>(balances + i), &found, sizeof found);
    }
  });
  return out;
}

void register_history(py::class_<SharedEngine>& engine_class) {
  engine_class.def("begin_block", [](SharedEngine& self) { self.run([](Engine& engine) { engine.begin_block(); }); })
      .def("commit_block", [](SharedEngine& self) { self.run([](Engine& engine) { engine.commit_block(); }); })
      .def("roll_back_block", [](SharedEngine& self) { self.run([](Engine& engine) { engine.roll_back_block(); }); })
      .def_property_readonly(
          "open_blocks",
          [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.open_blocks(); }); })
      .def("history", &history, py::arg("account").noconvert(), py::arg("first_time"), py::arg("last_time"),
           py::arg("below"), py::arg("limit"))
      .def("statement", &statement, py::arg("account").noconvert(), py::arg("first_time"), py::arg("last_time"),
           py::arg("limit"))
      .def("transfer_positions", &transfer_positions, py::arg("ids").noconvert())
      .def("resolutions", &resolutions, py::arg("ids").noconvert())
      .def("expiries", &expiries, py::arg("first"), py::arg("last"))
      .def(
          "balances_at_time",
          [](SharedEngine& self, const py::array& ids, uint64_t time_ns) {
            return balances_of(self, ids,
                               [&](Engine& engine, engine::u128 id) { return engine.balances_at_time(id, time_ns); });
          },
          py::arg("ids").noconvert(), py::arg("time_ns"))
      .def(
          "balances_at",
          [](SharedEngine& self, const py::array& ids, uint64_t end, uint64_t height) {
            return balances_of(self, ids,
                               [&](Engine& engine, engine::u128 id) { return engine.balances_at(id, end, height); });
          },
          py::arg("ids").noconvert(), py::arg("end"), py::arg("height"));
}

// Sealing

// The number of transfers that were sealed: count, or 0 if too few would stay.
uint64_t seal(SharedEngine& self, uint64_t keep, uint64_t count, uint64_t failed_end) {
  py::gil_scoped_release release;
  const std::lock_guard<std::mutex> sealing(self.sealing);
  std::optional<store::SegmentContent> content;
  std::string folder;
  uint64_t hash_check = 0;
  {
    const std::lock_guard<std::mutex> lock(self.mutex);
    content = self.engine.content_to_seal(keep, count, failed_end);
    if (!content) return 0;
    folder = self.engine.transfers().sealed_store()->folder();
    hash_check = self.engine.transfers().sealed_store()->hash_check();
  }
  store::SegmentPointer segment = store::Segment::write(folder, hash_check, *content);
  const std::lock_guard<std::mutex> lock(self.mutex);
  self.engine.seal(std::move(segment), *content);
  return count;
}

// Does one piece of work that is due in the store; whether there was any.
bool tidy_store(SharedEngine& self) {
  py::gil_scoped_release release;
  const std::lock_guard<std::mutex> sealing(self.sealing);
  std::optional<store::SealedStore::Work> work;
  {
    const std::lock_guard<std::mutex> lock(self.mutex);
    work = self.engine.store_work_due();
  }
  if (!work) return false;
  store::SealedStore::do_work(*work);
  const std::lock_guard<std::mutex> lock(self.mutex);
  self.engine.install_store_work(std::move(*work));
  return true;
}

void register_sealing(py::class_<SharedEngine>& engine_class) {
  engine_class
      .def(
          "open_store",
          [](SharedEngine& self, std::string folder) {
            self.run([&](Engine& engine) { engine.open_store(std::move(folder)); });
          },
          py::arg("folder"))
      .def(
          "add_block_file",
          [](SharedEngine& self, std::string path) {
            return self.run([&](Engine& engine) { return engine.add_block_file(std::move(path)); });
          },
          py::arg("path"))
      .def(
          "add_block",
          [](SharedEngine& self, uint32_t file, uint64_t records_offset, uint64_t effects_offset, uint32_t count) {
            self.run([&](Engine& engine) { engine.add_block(file, records_offset, effects_offset, count); });
          },
          py::arg("file"), py::arg("records_offset"), py::arg("effects_offset"), py::arg("count"))
      .def("seal", &seal, py::arg("keep"), py::arg("count"), py::arg("failed_end") = ~uint64_t{0})
      .def("tidy_store", &tidy_store)
      .def("segment_files",
           [](SharedEngine& self) {
             return self.run([](Engine& engine) {
               std::vector<std::string> names;
               const store::SealedStore* store = engine.transfers().sealed_store();
               if (store) {
                 for (const store::SegmentName& name : store->names()) names.push_back(name.file_name());
               }
               return names;
             });
           })
      .def("block_files",
           [](SharedEngine& self) {
             return self.run([](Engine& engine) {
               const store::SealedStore* store = engine.transfers().sealed_store();
               return store ? store->blocks().paths() : std::vector<std::string>();
             });
           })
      .def_property_readonly(
          "transfer_count",
          [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.transfers().size(); }); })
      .def_property_readonly(
          "sealed_count",
          [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.transfers().window_first(); }); })
      .def_property_readonly("failed_ids_sealed", [](SharedEngine& self) {
        return self.run([](Engine& engine) { return engine.transfers().failed_first(); });
      });
}

// The whole state, sealed transfers too: for comparing engines, and for moving a small one.

void put_sequences(py::dict& out, const std::map<uint32_t, uint64_t>& sequences) {
  std::vector<uint32_t> institutions;
  std::vector<uint64_t> next;
  for (const auto& [institution, sequence] : sequences) {
    institutions.push_back(institution);
    next.push_back(sequence);
  }
  out["sequence_institutions"] = to_column(institutions);
  out["sequence_next"] = to_column(next);
}

void put_mandates(py::dict& out, const std::vector<std::pair<uint32_t, engine::Mandate>>& mandates) {
  std::vector<uint32_t> slots, holders;
  std::vector<uint64_t> until;
  std::vector<U128> remaining;
  for (const auto& [slot, mandate] : mandates) {
    slots.push_back(slot);
    holders.push_back(mandate.holder);
    remaining.push_back({mandate.remaining});
    until.push_back(mandate.until_height);
  }
  out["mandate_slots"] = to_column(slots);
  out["mandate_holders"] = to_column(holders);
  out["mandate_amounts"] = to_records(remaining);
  out["mandate_until"] = to_column(until);
}

py::dict dump(SharedEngine& self) {
  const engine::State state = self.run([](Engine& engine) { return engine.state(); });
  std::vector<uint8_t> statuses;
  for (const engine::PendingStatus status : state.statuses) statuses.push_back(static_cast<uint8_t>(status));
  py::dict out = keys_dict(state.keys);
  out["format"] = to_column(std::vector<uint32_t>{kStateFormat});
  out["height"] = to_column(std::vector<uint64_t>{state.height});
  put_sequences(out, state.sequences);
  put_mandates(out, state.mandates);
  out["accounts"] = to_records(state.accounts);
  out["owners"] = to_column(state.owners);
  out["touched"] = to_column(state.touched);
  out["last_events"] = to_column(state.last_events);
  out["links"] = to_rows(state.links);
  out["expiries"] = to_rows(state.expiries);
  out["transfers"] = to_records(state.transfers);
  out["pending_controllers"] = to_column(state.controllers);
  out["pending_statuses"] = to_column(statuses);
  out["failed_ids"] = to_records(state.failed_ids);
  return out;
}

py::object entry(const py::dict& state, const char* name) {
  if (!state.contains(name)) throw py::value_error(std::string("state: '") + name + "' is missing");
  return state[name];
}

template <class T>
std::vector<T> column_of(const py::dict& state, const char* name) {
  const py::object value = entry(state, name);
  if (!py::isinstance<Array<T>>(value)) {
    throw py::type_error(std::string("state: '") + name + "': expected a contiguous array of " +
                         py::str(py::dtype::of<T>()).cast<std::string>());
  }
  const Array<T> array = py::reinterpret_borrow<Array<T>>(value);
  const T* items = column(array, name, array.size());
  return {items, items + array.size()};
}

template <class T>
std::vector<T> records_of(const py::dict& state, const char* name) {
  const py::object value = entry(state, name);
  if (!py::isinstance<py::array>(value)) throw py::type_error(std::string("state: '") + name + "': expected an array");
  const py::array array = py::reinterpret_borrow<py::array>(value);
  const T* items = records<T>(array, name);
  return {items, items + array.size()};
}

template <class T>
std::vector<T> rows_of(const py::dict& state, const char* name) {
  const py::object value = entry(state, name);
  if (!py::isinstance<Array<uint8_t>>(value)) {
    throw py::type_error(std::string("state: '") + name + "': expected a contiguous array of uint8");
  }
  const Array<uint8_t> array = py::reinterpret_borrow<Array<uint8_t>>(value);
  require_columns(array, name, sizeof(T));
  std::vector<T> items(static_cast<size_t>(array.shape(0)));
  if (!items.empty()) std::memcpy(items.data(), array.data(), items.size() * sizeof(T));
  return items;
}

// A column as long as another one.
template <class T>
std::vector<T> beside(std::vector<T> column, size_t n, const char* name) {
  require_length(static_cast<py::ssize_t>(column.size()), name, static_cast<py::ssize_t>(n));
  return column;
}

void load_authority(engine::State& state, const py::dict& from) {
  const auto institutions = column_of<uint32_t>(from, "key_institutions");
  const auto roles = beside(column_of<uint32_t>(from, "key_roles"), institutions.size(), "key_roles");
  const auto valid_from = beside(column_of<uint64_t>(from, "key_valid_from"), institutions.size(), "key_valid_from");
  const auto until = beside(column_of<uint64_t>(from, "key_valid_until"), institutions.size(), "key_valid_until");
  for (size_t i = 0; i < institutions.size(); i++) {
    state.keys.push_back({institutions[i], roles[i], valid_from[i], until[i]});
  }
  const auto attesters = column_of<uint32_t>(from, "sequence_institutions");
  const auto next = beside(column_of<uint64_t>(from, "sequence_next"), attesters.size(), "sequence_next");
  for (size_t i = 0; i < attesters.size(); i++) state.sequences[attesters[i]] = next[i];
  const auto slots = column_of<uint32_t>(from, "mandate_slots");
  const auto holders = beside(column_of<uint32_t>(from, "mandate_holders"), slots.size(), "mandate_holders");
  const auto amounts = beside(records_of<U128>(from, "mandate_amounts"), slots.size(), "mandate_amounts");
  const auto ends = beside(column_of<uint64_t>(from, "mandate_until"), slots.size(), "mandate_until");
  for (size_t i = 0; i < slots.size(); i++) {
    state.mandates.push_back({slots[i], {holders[i], ends[i], amounts[i].value}});
  }
}

std::unique_ptr<SharedEngine> load(const py::dict& from) {
  if (beside(column_of<uint32_t>(from, "format"), 1, "format")[0] != kStateFormat) {
    throw py::value_error("state: 'format': expected " + std::to_string(kStateFormat));
  }
  engine::State state;
  state.height = beside(column_of<uint64_t>(from, "height"), 1, "height")[0];
  load_authority(state, from);
  state.accounts = records_of<Account>(from, "accounts");
  state.owners = column_of<uint32_t>(from, "owners");
  state.touched = column_of<uint32_t>(from, "touched");
  state.last_events = column_of<uint64_t>(from, "last_events");
  state.links = rows_of<store::Links>(from, "links");
  state.expiries = rows_of<store::Expiry>(from, "expiries");
  state.transfers = records_of<Transfer>(from, "transfers");
  state.controllers = column_of<uint32_t>(from, "pending_controllers");
  for (const uint8_t status : column_of<uint8_t>(from, "pending_statuses")) {
    state.statuses.push_back(static_cast<engine::PendingStatus>(status));
  }
  state.failed_ids = records_of<U128>(from, "failed_ids");
  py::gil_scoped_release release;
  auto loaded = std::make_unique<SharedEngine>();
  loaded->engine = Engine::from_state(state);
  return loaded;
}

// Snapshots of an engine with a store: named arrays, the accounts apart.

struct [[gnu::packed]] SavedMoved {
  uint32_t ledger;
  engine::u128 pending_low;
  uint64_t pending_high;
  engine::u128 posted_low;
  uint64_t posted_high;
};

struct [[gnu::packed]] SavedPending {
  uint64_t position;
  uint32_t controller;
  uint8_t status;
};

struct [[gnu::packed]] SavedSegment {
  uint64_t first, count, identity;
  uint32_t level;
};

struct [[gnu::packed]] SavedSpan {
  uint64_t records_offset, effects_offset;
  uint32_t count, file;
};

SavedPending saved_pending(const engine::Pending& pending) {
  return {pending.position, pending.controller, static_cast<uint8_t>(pending.status)};
}

engine::Pending loaded_pending(const SavedPending& pending) {
  return {pending.position, pending.controller, static_cast<engine::PendingStatus>(pending.status)};
}

void put_transfers(py::dict& out, const engine::TransferStore::Saved& saved) {
  std::vector<SavedPending> pendings, old_pendings;
  std::vector<Transfer> old_records;
  std::vector<SavedSegment> segments;
  std::vector<SavedSpan> spans;
  std::string paths;
  for (const engine::Pending& pending : saved.pendings) pendings.push_back(saved_pending(pending));
  for (const engine::OldPending& old : saved.old_pendings) {
    old_pendings.push_back(saved_pending(old.state));
    old_records.push_back(old.transfer);
  }
  for (const auto& name : saved.segments) segments.push_back({name.first, name.count, name.identity, name.level});
  for (const auto& span : saved.spans) {
    spans.push_back({span.records_offset, span.effects_offset, span.count, span.file});
  }
  for (const std::string& path : saved.block_files) paths += path + '\0';
  out["hash_key"] = to_column(std::vector<uint64_t>(saved.hash_key.begin(), saved.hash_key.end()));
  out["counts"] =
      to_column(std::vector<uint64_t>{saved.size, saved.last_timestamp, saved.failed_first, saved.expired_first});
  out["failed_ids"] = to_records(saved.failed);
  out["expiries"] = to_rows(saved.expired);
  out["links"] = to_rows(saved.links);
  out["pendings"] = to_rows(pendings);
  out["old_pendings"] = to_rows(old_pendings);
  out["old_pending_records"] = to_records(old_records);
  out["segments"] = to_rows(segments);
  out["spans"] = to_rows(spans);
  out["block_files"] = to_column(std::vector<uint8_t>(paths.begin(), paths.end()));
}

engine::TransferStore::Saved get_transfers(const py::dict& from) {
  engine::TransferStore::Saved saved;
  const auto key = beside(column_of<uint64_t>(from, "hash_key"), saved.hash_key.size(), "hash_key");
  std::copy(key.begin(), key.end(), saved.hash_key.begin());
  const auto counts = beside(column_of<uint64_t>(from, "counts"), 4, "counts");
  saved.size = counts[0];
  saved.last_timestamp = counts[1];
  saved.failed_first = counts[2];
  saved.expired_first = counts[3];
  saved.failed = records_of<U128>(from, "failed_ids");
  saved.expired = rows_of<store::Expiry>(from, "expiries");
  saved.links = rows_of<store::Links>(from, "links");
  for (const auto& pending : rows_of<SavedPending>(from, "pendings")) saved.pendings.push_back(loaded_pending(pending));
  const auto old = rows_of<SavedPending>(from, "old_pendings");
  const auto old_records = beside(records_of<Transfer>(from, "old_pending_records"), old.size(), "old_pending_records");
  for (size_t i = 0; i < old.size(); i++) saved.old_pendings.push_back({old_records[i], loaded_pending(old[i])});
  for (const auto& name : rows_of<SavedSegment>(from, "segments")) {
    saved.segments.push_back({name.first, name.count, name.identity, name.level});
  }
  for (const auto& span : rows_of<SavedSpan>(from, "spans")) {
    saved.spans.push_back({0, span.records_offset, span.effects_offset, span.count, span.file});
  }
  std::string path;
  for (const uint8_t byte : column_of<uint8_t>(from, "block_files")) {
    if (byte) {
      path += static_cast<char>(byte);
    } else {
      saved.block_files.push_back(std::exchange(path, {}));
    }
  }
  return saved;
}

py::dict begin_snapshot(SharedEngine& self) {
  const Engine::Snapshot snapshot = self.run([](Engine& engine) { return engine.begin_snapshot(); });
  std::vector<SavedMoved> moved;
  for (const engine::Moved& item : snapshot.moved) {
    moved.push_back({item.ledger, item.pending.low, item.pending.high, item.posted.low, item.posted.high});
  }
  py::dict out = keys_dict(snapshot.keys);
  out["format"] = to_column(std::vector<uint32_t>{kStateFormat});
  out["height"] = to_column(std::vector<uint64_t>{snapshot.height});
  out["account_count"] = to_column(std::vector<uint64_t>{snapshot.account_count});
  out["touched"] = to_column(snapshot.touched);
  out["moved"] = to_rows(moved);
  put_sequences(out, snapshot.sequences);
  put_mandates(out, snapshot.mandates);
  put_transfers(out, snapshot.transfers);
  return out;
}

template <class T>
T* writeable(py::array& array, const T* items, const char* name) {
  if (!array.writeable()) throw py::value_error(std::string(name) + ": expected a writeable array");
  return const_cast<T*>(items);
}

void copy_accounts(SharedEngine& self, py::array records_array, Array<uint32_t> owners_array,
                   Array<uint64_t> last_events_array) {
  Account* record = writeable(records_array, records<Account>(records_array, "records"), "records");
  const py::ssize_t n = records_array.shape(0);
  uint32_t* owner = writeable(owners_array, column(owners_array, "owners", n), "owners");
  uint64_t* last = writeable(last_events_array, column(last_events_array, "last_events", n), "last_events");
  self.run([&](Engine& engine) { engine.copy_accounts(static_cast<size_t>(n), record, owner, last); });
}

std::unique_ptr<SharedEngine> restore(const py::dict& from, std::string folder) {
  if (beside(column_of<uint32_t>(from, "format"), 1, "format")[0] != kStateFormat) {
    throw py::value_error("state: 'format': expected " + std::to_string(kStateFormat));
  }
  engine::State authority;
  load_authority(authority, from);
  Engine::Snapshot snapshot;
  snapshot.height = beside(column_of<uint64_t>(from, "height"), 1, "height")[0];
  snapshot.keys = std::move(authority.keys);
  snapshot.sequences = std::move(authority.sequences);
  snapshot.mandates = std::move(authority.mandates);
  for (const auto& item : rows_of<SavedMoved>(from, "moved")) {
    snapshot.moved.push_back({item.ledger, {item.pending_low, item.pending_high}, {item.posted_low, item.posted_high}});
  }
  snapshot.touched = column_of<uint32_t>(from, "touched");
  snapshot.account_count = beside(column_of<uint64_t>(from, "account_count"), 1, "account_count")[0];
  snapshot.transfers = get_transfers(from);
  const py::array records_array = py::array::ensure(entry(from, "accounts"));
  if (!records_array) throw py::type_error("state: 'accounts': expected an array");
  const auto owners = py::cast<Array<uint32_t>>(entry(from, "owners"));
  const auto last_events = py::cast<Array<uint64_t>>(entry(from, "last_events"));
  const auto n = static_cast<py::ssize_t>(snapshot.account_count);
  const Engine::SnapshotAccounts accounts{records<Account>(records_array, "accounts"), column(owners, "owners", n),
                                          column(last_events, "last_events", n)};
  require_length(records_array.shape(0), "accounts", n);
  py::gil_scoped_release release;
  auto restored = std::make_unique<SharedEngine>();
  restored->engine = Engine::restore(snapshot, accounts, std::move(folder));
  return restored;
}

void register_snapshots(py::class_<SharedEngine>& engine_class) {
  engine_class.def("begin_snapshot", &begin_snapshot)
      .def("copy_accounts", &copy_accounts, py::arg("records").noconvert(), py::arg("owners").noconvert(),
           py::arg("last_events").noconvert())
      .def("end_snapshot", [](SharedEngine& self) { self.run([](Engine& engine) { engine.end_snapshot(); }); })
      .def_static("restore", &restore, py::arg("state"), py::arg("folder"));
}

void register_lookups(py::class_<SharedEngine>& engine_class) {
  engine_class
      .def(
          "lookup_accounts",
          [](SharedEngine& self, const py::array& ids) { return look_up<Account>(self, ids, find_account); },
          py::arg("ids").noconvert())
      .def(
          "lookup_transfers",
          [](SharedEngine& self, const py::array& ids) { return look_up<Transfer>(self, ids, find_transfer); },
          py::arg("ids").noconvert())
      .def("lookup_pendings", &lookup_pendings, py::arg("ids").noconvert())
      .def("accounts", &all_accounts)
      .def("transfers", &all_transfers)
      .def("owners",
           [](SharedEngine& self) { return standings(self, [](const engine::Standing& s) { return s.owner; }); })
      .def("institutions",
           [](SharedEngine& self) { return standings(self, [](const engine::Standing& s) { return s.institution; }); })
      .def("slots_touched",
           [](SharedEngine& self) { return to_column(self.run([](Engine& engine) { return engine.take_touched(); })); })
      .def("account_slots", &account_slots, py::arg("ids").noconvert())
      .def("records_at", &records_at, py::arg("slots").noconvert())
      .def("payloads_at", &payloads_at, py::arg("slots").noconvert(), py::arg("out").noconvert() = py::none())
      .def("standings_at", &standings_at, py::arg("slots").noconvert())
      .def("failed_ids", &failed_ids, py::arg("start") = 0)
      .def("totals", &totals)
      .def(
          "prepare",
          [](SharedEngine& self, size_t accounts, size_t transfers) {
            self.run([&](Engine& engine) { engine.prepare(accounts, transfers); });
          },
          py::arg("accounts"), py::arg("transfers"))
      .def("check_invariants",
           [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.check_invariants(); }); })
      .def("dump", &dump)
      .def_static("load", &load, py::arg("state"));
}

void register_authority(py::class_<SharedEngine>& engine_class) {
  engine_class
      .def_property_readonly(
          "height", [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.height(); }); })
      .def("register_keys", &register_keys, py::arg("institutions").noconvert(), py::arg("height"),
           py::arg("roles").noconvert() = py::none(), py::arg("valid_until").noconvert() = py::none())
      .def(
          "revoke_key",
          [](SharedEngine& self, uint32_t index, uint64_t height) {
            self.run([&](Engine& engine) { engine.revoke_key(index, height); });
          },
          py::arg("index"), py::arg("height"))
      .def(
          "set_height",
          [](SharedEngine& self, uint64_t height) { self.run([&](Engine& engine) { engine.set_height(height); }); },
          py::arg("height"))
      .def(
          "attestation_sequence",
          [](SharedEngine& self, uint32_t institution) {
            return self.run([&](Engine& engine) { return engine.attestation_sequence(institution); });
          },
          py::arg("institution"))
      .def(
          "change_owners",
          [](SharedEngine& self, const py::array& ids, const Array<uint32_t>& owners, uint32_t registrar) {
            return change_each(
                self, ids, "ids", owners, "new_owners",
                [&](Engine& engine, engine::u128 id, uint32_t key) { return engine.change_owner(id, key, registrar); });
          },
          py::arg("ids").noconvert(), py::arg("new_owners").noconvert(), py::arg("registrar"))
      .def(
          "change_controllers",
          [](SharedEngine& self, const py::array& ids, const Array<uint32_t>& controllers, uint32_t registrar) {
            return change_each(self, ids, "pending_ids", controllers, "controllers",
                               [&](Engine& engine, engine::u128 id, uint32_t key) {
                                 return engine.change_controller(id, key, registrar);
                               });
          },
          py::arg("pending_ids").noconvert(), py::arg("controllers").noconvert(), py::arg("registrar"))
      .def("rotate_owners", &rotate_owners, py::arg("ids").noconvert(), py::arg("new_owners").noconvert(),
           py::arg("signers").noconvert(), py::arg("signature_ok").noconvert())
      .def("revoke_keys", &revoke_keys, py::arg("indexes").noconvert(), py::arg("heights").noconvert(),
           py::arg("registrar"))
      .def("check_attester", &check_role<engine::key_role::kAttester>, py::arg("institution"), py::arg("signer"),
           py::arg("signature_ok"))
      .def("check_governor", &check_role<engine::key_role::kGovernor>, py::arg("institution"), py::arg("signer"),
           py::arg("signature_ok"))
      .def("keys",
           [](SharedEngine& self) { return keys_dict(self.run([](Engine& engine) { return engine.keys().keys(); })); })
      .def("set_mandates", &set_mandates, py::arg("accounts").noconvert(), py::arg("holders").noconvert(),
           py::arg("amounts").noconvert(), py::arg("until_heights").noconvert(), py::arg("signers").noconvert(),
           py::arg("signature_ok").noconvert());
}

}  // namespace

void register_engine(py::module_& module) {
  py::class_<SharedEngine> engine_class(module, "Engine");
  engine_class.def(py::init<>())
      .def("create_accounts", &create_accounts, py::arg("records").noconvert(), py::arg("owners").noconvert(),
           py::arg("institutions").noconvert(), py::arg("first_timestamp"), py::arg("registrar"),
           py::arg("timestamps").noconvert() = py::none())
      .def("create_transfers", &create_transfers, py::arg("records").noconvert(), py::arg("signers").noconvert(),
           py::arg("signature_ok").noconvert(), py::arg("first_timestamp"),
           py::arg("controllers").noconvert() = py::none(), py::arg("timestamps").noconvert() = py::none())
      .def("create_transfers_attested", &create_transfers_attested, py::arg("records").noconvert(),
           py::arg("institution"), py::arg("sequence"), py::arg("ok"), py::arg("first_timestamp"), py::kw_only(),
           py::arg("signer"), py::arg("controllers").noconvert() = py::none(),
           py::arg("timestamps").noconvert() = py::none())
      .def("expire", &expire, py::arg("now_ns"), py::arg("limit"))
      .def(
          "add_failed_ids",
          [](SharedEngine& self, const py::array& ids) {
            const U128* id = records<U128>(ids, "ids");
            const size_t n = static_cast<size_t>(ids.shape(0));
            self.run([&](Engine& engine) { engine.add_failed_ids(id, n); });
          },
          py::arg("ids").noconvert());
  register_authority(engine_class);
  register_history(engine_class);
  register_sealing(engine_class);
  register_snapshots(engine_class);
  register_lookups(engine_class);
}

}  // namespace pyledger::bindings
