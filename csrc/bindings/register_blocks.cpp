// Blocks: their columns and leaf hashes from batches of records. Records travel as rows of bytes.
#include <algorithm>
#include <string_view>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "blocks/columns.h"
#include "merkle/digest.h"

namespace pyledger::bindings {
namespace {

using engine::Transfer;
using engine::U128;

const Transfer* require_records(const Array<uint8_t>& rows) {
  require_columns(rows, "records", sizeof(Transfer));
  return reinterpret_cast<const Transfer*>(rows.data());
}

const U128* require_effects(const Array<uint8_t>& rows, py::ssize_t count) {
  require_columns(rows, "effects", sizeof(U128));
  if (rows.shape(0) != count) {
    throw py::value_error("effects: expected " + std::to_string(count) + " rows, got " + shape_text(rows));
  }
  return reinterpret_cast<const U128*>(rows.data());
}

Array<uint8_t> transfer_leaf_hashes(const py::bytes& chain_id, const Array<uint8_t>& rows, unsigned threads) {
  const std::string_view id = chain_id;
  if (id.size() != blocks::kChainIdBytes) {
    throw py::value_error("chain_id: expected 16 bytes, got " + std::to_string(id.size()));
  }
  const Transfer* records = require_records(rows);
  Array<uint8_t> hashes = new_bytes_2d(rows.shape(0), merkle::kDigestBytes);
  uint8_t* out = hashes.mutable_data();
  const size_t count = rows.shape(0);
  const py::gil_scoped_release release;
  blocks::transfer_leaf_hashes(reinterpret_cast<const uint8_t*>(id.data()), records, count, threads, out);
  return hashes;
}

// What a signer may be: an index into the public keys.
void require_signers(const Array<uint32_t>& signers, py::ssize_t count, py::ssize_t keys) {
  require_vector(signers, "signers", count);
  const uint32_t* last = std::max_element(signers.data(), signers.data() + count);
  if (count > 0) require_below("signers", *last, static_cast<uint64_t>(keys));
}

Array<uint8_t> outcome_leaf_hashes(const Array<uint8_t>& rows, const Array<uint8_t>& effects, uint8_t kind,
                                   uint32_t institution, uint64_t sequence, const Array<uint8_t>& public_keys,
                                   const std::optional<Array<uint32_t>>& signers, unsigned threads) {
  const Transfer* records = require_records(rows);
  const py::ssize_t count = rows.shape(0);
  const U128* amounts = require_effects(effects, count);
  require_columns(public_keys, "public_keys", blocks::kPublicKeyBytes);
  if (signers) require_signers(*signers, count, public_keys.shape(0));
  if (!signers && count > 0) require_below("signer", 0, public_keys.shape(0));
  const blocks::Authority authority{kind, institution, sequence, public_keys.data(),
                                    signers ? signers->data() : nullptr};
  Array<uint8_t> hashes = new_bytes_2d(count, merkle::kDigestBytes);
  uint8_t* out = hashes.mutable_data();
  const py::gil_scoped_release release;
  blocks::outcome_leaf_hashes(records, amounts, static_cast<size_t>(count), authority, threads, out);
  return hashes;
}

Array<uint8_t> take_transfers(const Array<uint8_t>& rows, const Array<uint64_t>& times,
                              const Array<uint32_t>& results) {
  const Transfer* records = require_records(rows);
  const py::ssize_t count = rows.shape(0);
  require_vector(times, "timestamps", count);
  require_vector(results, "results", count);
  const auto size = std::count(results.data(), results.data() + count, 0u);
  Array<uint8_t> taken = new_bytes_2d(size, sizeof(Transfer));
  auto* out = reinterpret_cast<Transfer*>(taken.mutable_data());
  const py::gil_scoped_release release;
  blocks::take_records(records, times.data(), results.data(), static_cast<size_t>(count), out);
  return taken;
}

Array<uint8_t> take_rows(const Array<uint8_t>& rows, const Array<uint32_t>& results) {
  require_two_dimensions(rows, "rows");
  const py::ssize_t count = rows.shape(0);
  require_vector(results, "results", count);
  const auto size = std::count(results.data(), results.data() + count, 0u);
  if (size == count) return rows;
  Array<uint8_t> taken = new_bytes_2d(size, rows.shape(1));
  uint8_t* out = taken.mutable_data();
  const py::gil_scoped_release release;
  blocks::take_rows(rows.data(), rows.shape(1), results.data(), static_cast<size_t>(count), out);
  return taken;
}

bool amounts_equal(const Array<uint8_t>& rows, const Array<uint8_t>& effects) {
  const Transfer* records = require_records(rows);
  const U128* amounts = require_effects(effects, rows.shape(0));
  const size_t count = rows.shape(0);
  const py::gil_scoped_release release;
  return blocks::amounts_equal(records, amounts, count);
}

}  // namespace

void register_blocks(py::module_& module) {
  module.def("transfer_leaf_hashes", &transfer_leaf_hashes, py::arg("chain_id"), py::arg("records").noconvert(),
             py::arg("threads"));
  module.def("outcome_leaf_hashes", &outcome_leaf_hashes, py::arg("records").noconvert(),
             py::arg("effects").noconvert(), py::arg("kind"), py::arg("institution"), py::arg("sequence"),
             py::arg("public_keys").noconvert(), py::arg("signers").noconvert(), py::arg("threads"));
  module.def("take_transfers", &take_transfers, py::arg("records").noconvert(), py::arg("timestamps").noconvert(),
             py::arg("results").noconvert());
  module.def("take_rows", &take_rows, py::arg("rows").noconvert(), py::arg("results").noconvert());
  module.def("amounts_equal", &amounts_equal, py::arg("records").noconvert(), py::arg("effects").noconvert());
}

}  // namespace pyledger::bindings
