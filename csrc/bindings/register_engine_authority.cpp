// Keys, owners, controllers and mandates in the engine.
#include "bindings/engine_columns.h"

namespace pyledger::bindings {
namespace {

using engine::Engine;
using engine::U128;

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

// Changes of authority

template <uint32_t role>
uint32_t check_role(SharedEngine& self, uint32_t institution, uint32_t signer, bool signature_ok) {
  return self.run([&](Engine& engine) { return engine.keys().check_role(institution, signer, signature_ok, role); });
}

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

}  // namespace

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

void register_engine_authority(EngineClass& engine_class) {
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

}  // namespace pyledger::bindings
