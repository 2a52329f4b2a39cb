// The engine's state out as named arrays and back.
#include "bindings/engine_columns.h"

#include <map>
#include <memory>
#include <utility>

namespace pyledger::bindings {
namespace {

using engine::Account;
using engine::Engine;
using engine::Transfer;
using engine::U128;

constexpr uint32_t kStateFormat = 1;

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

}  // namespace

void register_engine_snapshots(EngineClass& engine_class) {
  engine_class.def("dump", &dump)
      .def_static("load", &load, py::arg("state"))
      .def("begin_snapshot", &begin_snapshot)
      .def("copy_accounts", &copy_accounts, py::arg("records").noconvert(), py::arg("owners").noconvert(),
           py::arg("last_events").noconvert())
      .def("end_snapshot", [](SharedEngine& self) { self.run([](Engine& engine) { engine.end_snapshot(); }); })
      .def_static("restore", &restore, py::arg("state"), py::arg("folder"));
}

}  // namespace pyledger::bindings
