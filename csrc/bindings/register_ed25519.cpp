// Ed25519 verification. Refusals come back as positions; pyledger/crypto/ed25519.py turns them into its errors.
#include <optional>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "ed25519/verify.h"

namespace pyledger::bindings {
namespace {

using ed25519::Batch;
using ed25519::KeyRegistry;

// Messages as rows of `messages`, or, if there are offsets, as slices of the buffer `messages`. The offsets' copy goes
// to `copied_offsets`, which must outlive the batch.
Batch make_batch(const Array<uint8_t>& messages, const std::optional<Array<uint64_t>>& offsets,
                 const Array<uint8_t>& signatures, std::vector<uint64_t>& copied_offsets) {
  require_columns(signatures, "signatures", 64);
  Batch batch{};
  batch.count = static_cast<size_t>(signatures.shape(0));
  batch.signatures = signatures.data();
  batch.messages = messages.data();
  if (offsets) {
    copied_offsets = copy_message_offsets(messages, *offsets);
    require_vector(*offsets, "offsets", signatures.shape(0) + 1);
    batch.offsets = copied_offsets.data();
    return batch;
  }
  if (messages.ndim() != 2 || messages.shape(0) != signatures.shape(0)) {
    throw py::value_error("messages: expected shape (" + std::to_string(batch.count) + ", m), one row a signature");
  }
  batch.width_bytes = static_cast<size_t>(messages.shape(1));
  return batch;
}

void require_rows(const py::array& array, const char* name, size_t rows) {
  if (static_cast<size_t>(array.shape(0)) != rows) {
    throw py::value_error(std::string(name) + ": expected " + std::to_string(rows) + " rows, one a signature, got " +
                          std::to_string(array.shape(0)));
  }
}

uint8_t* bytes_of(Array<bool>& array) { return reinterpret_cast<uint8_t*>(array.mutable_data()); }

Array<bool> verify_many(const Array<uint8_t>& public_keys, const Array<uint8_t>& messages,
                        const std::optional<Array<uint64_t>>& offsets, const Array<uint8_t>& signatures,
                        unsigned threads) {
  require_columns(public_keys, "public_keys", 32);
  std::vector<uint64_t> copied_offsets;
  const Batch batch = make_batch(messages, offsets, signatures, copied_offsets);
  require_rows(public_keys, "public_keys", batch.count);
  Array<bool> valid(static_cast<py::ssize_t>(batch.count));
  uint8_t* out = bytes_of(valid);
  const uint8_t* keys = public_keys.data();
  const py::gil_scoped_release release;
  ed25519::verify_many(keys, batch, threads, out);
  return valid;
}

using Fault = std::pair<size_t, bool>;  // position, and whether the key is a point (of small order) at all

std::optional<Fault> to_fault(const std::optional<ed25519::KeyFault>& fault) {
  if (!fault) return std::nullopt;
  return Fault{fault->position, fault->status == ed25519::kSmallOrder};
}

std::optional<Fault> find_key_fault(const Array<uint8_t>& public_keys, unsigned threads) {
  require_columns(public_keys, "public_keys", 32);
  const py::gil_scoped_release release;
  return to_fault(ed25519::find_key_fault(public_keys.data(), static_cast<size_t>(public_keys.shape(0)), threads));
}

std::pair<Array<uint32_t>, std::optional<Fault>> add_keys(KeyRegistry& registry, const Array<uint8_t>& public_keys,
                                                          unsigned threads) {
  require_columns(public_keys, "public_keys", 32);
  Array<uint32_t> indices(public_keys.shape(0));
  uint32_t* out = indices.mutable_data();
  const auto count = static_cast<size_t>(public_keys.shape(0));
  const std::vector<uint8_t> keys(public_keys.data(), public_keys.data() + 32 * count);  // checked, then kept
  const py::gil_scoped_release release;
  auto fault = to_fault(registry.add(keys.data(), count, threads, out));
  return {std::move(indices), fault};
}

Array<bool> verify_registered(const KeyRegistry& registry, const Array<uint32_t>& indices,
                              const Array<uint8_t>& messages, const std::optional<Array<uint64_t>>& offsets,
                              const Array<uint8_t>& signatures, unsigned threads) {
  std::vector<uint64_t> copied_offsets;
  const Batch batch = make_batch(messages, offsets, signatures, copied_offsets);
  const std::vector<uint32_t> keys = copy_vector(indices, "indices");
  require_rows(indices, "indices", batch.count);
  Array<bool> valid(static_cast<py::ssize_t>(batch.count));
  uint8_t* out = bytes_of(valid);
  std::optional<size_t> wrong;
  {
    const py::gil_scoped_release release;
    wrong = registry.verify_many(keys.data(), batch, threads, out);
  }
  if (wrong) {
    throw py::index_error("indices[" + std::to_string(*wrong) + "]: expected less than " +
                          std::to_string(registry.size()) + ", the number of keys, got " +
                          std::to_string(keys[*wrong]));
  }
  return valid;
}

py::bytes public_key(const KeyRegistry& registry, size_t index) {
  if (index >= registry.size()) {
    throw py::index_error("index: expected less than " + std::to_string(registry.size()) +
                          ", the number of keys, got " + std::to_string(index));
  }
  uint8_t key[32];
  registry.public_key(index, key);
  return py::bytes(reinterpret_cast<const char*>(key), sizeof key);
}

}  // namespace

void register_ed25519(py::module_& module) {
  module.def("ed25519_row", [] { return std::string(ed25519::row_name()); });
  module.def("ed25519_verify_many", &verify_many, py::arg("public_keys").noconvert(), py::arg("messages").noconvert(),
             py::arg("offsets").noconvert(), py::arg("signatures").noconvert(), py::arg("threads"));
  module.def("ed25519_find_key_fault", &find_key_fault, py::arg("public_keys").noconvert(), py::arg("threads"));
  py::class_<KeyRegistry>(module, "Ed25519Registry")
      .def(py::init<size_t>(), py::arg("table_bytes_max"))
      .def("add", &add_keys, py::arg("public_keys").noconvert(), py::arg("threads"))
      .def("verify_many", &verify_registered, py::arg("indices").noconvert(), py::arg("messages").noconvert(),
           py::arg("offsets").noconvert(), py::arg("signatures").noconvert(), py::arg("threads"))
      .def("public_key", &public_key, py::arg("index"))
      .def("tables", &KeyRegistry::tables)
      .def("__len__", &KeyRegistry::size);
}

}  // namespace pyledger::bindings
