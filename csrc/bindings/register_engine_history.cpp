// Blocks that may be taken back, and the past of an account.
#include "bindings/engine_columns.h"

namespace pyledger::bindings {
namespace {

using engine::Engine;
using engine::Transfer;
using engine::U128;

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

}  // namespace

void register_engine_history(EngineClass& engine_class) {
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

}  // namespace pyledger::bindings
