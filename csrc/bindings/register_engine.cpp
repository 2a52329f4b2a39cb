// Batches of accounts and transfers into the posting engine.
#include "bindings/engine_columns.h"

#include <utility>

namespace pyledger::bindings {
namespace {

using engine::Account;
using engine::Engine;
using engine::Transfer;
using engine::U128;

py::dtype record_dtype(const py::list& fields) { return py::dtype::from_args(fields); }

EngineDtypes make_dtypes() {
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

}  // namespace

const EngineDtypes& engine_dtypes() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<EngineDtypes> storage;
  return storage.call_once_and_store_result(make_dtypes).get_stored();
}

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
      .def("expire", &expire, py::arg("now_ns"), py::arg("limit"));
  register_engine_authority(engine_class);
  register_engine_history(engine_class);
  register_engine_sealing(engine_class);
  register_engine_snapshots(engine_class);
  register_engine_lookups(engine_class);
}

}  // namespace pyledger::bindings
