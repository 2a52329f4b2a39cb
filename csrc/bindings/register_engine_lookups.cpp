// What the engine holds: accounts, transfers, pending ones, sums.
#include "bindings/arguments.h"
#include "bindings/engine_columns.h"
#include "bindings/shared_state_tree.h"

namespace pyledger::bindings {
namespace {

using engine::Account;
using engine::Engine;
using engine::Transfer;
using engine::U128;

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

void require_accounts(const Engine& engine, const std::vector<uint32_t>& slots) {
  for (const uint32_t slot : slots) {
    if (slot >= engine.accounts().size()) throw std::out_of_range("slots: no account at " + std::to_string(slot));
  }
}

// Calls f(row, slot) for each slot; throws if one has no account.
template <class F>
void for_each_slot(SharedEngine& self, const Array<uint32_t>& slots, F f) {
  const std::vector<uint32_t> places = copy_vector(slots, "slots");
  self.run([&](Engine& engine) {
    require_accounts(engine, places);
    for (size_t i = 0; i < places.size(); i++) f(engine, static_cast<py::ssize_t>(i), places[i]);
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
  const std::vector<uint32_t> places = copy_vector(slots, "slots");
  Array<uint8_t> rows = output_array(into, slots.size(), engine::AccountStore::kPayloadBytes, slots);
  uint8_t* out = rows.mutable_data();
  self.run([&](Engine& engine) {
    require_accounts(engine, places);
    for (size_t i = 0; i < places.size(); i++, out += engine::AccountStore::kPayloadBytes) {
      if (i + kAhead < places.size()) engine.accounts().prefetch_slot(places[i + kAhead]);
      engine.accounts().copy_payload(places[i], out);
    }
  });
  return rows;
}

size_t take_touched_into(SharedEngine& self, SharedStateTree& tree, unsigned threads) {
  return self.run([&](Engine& engine) {
    const std::lock_guard<std::mutex> lock(tree.mutex);
    return engine.take_touched_into(tree.tree, threads);
  });
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

}  // namespace

void register_engine_lookups(EngineClass& engine_class) {
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
      .def("take_touched_into", &take_touched_into, py::arg("tree"), py::arg("threads"))
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
      .def("check_accounts_and_totals",
           [](SharedEngine& self) {
             return self.run([](Engine& engine) { return engine.check_accounts_and_totals(); });
           })
      .def("check_invariants",
           [](SharedEngine& self) { return self.run([](Engine& engine) { return engine.check_invariants(); }); });
}

}  // namespace pyledger::bindings
