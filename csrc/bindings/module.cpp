// pyledger._core: the natives. Private: the safe interface stands in pyledger/ beside the names' own topics.
#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  using namespace pyledger::bindings;
  register_dispatch(module);
  register_engine(module);
  register_blocks(module);
  register_bls(module);
  register_hash(module);
  register_journal(module);
  register_merkle(module);
  register_state_tree(module);
  register_ed25519(module);
}
