// A state tree that several Python threads may use at once: one call at a time, the others wait without the GIL.
#pragma once

#include <mutex>

#include "bindings/bindings.h"
#include "merkle/state_tree.h"

namespace pyledger::bindings {

struct SharedStateTree {
  merkle::StateTree tree;
  std::mutex mutex;

  SharedStateTree(size_t payload_bytes, bool key_in_payload) : tree(payload_bytes, key_in_payload) {}

  template <class F>
  auto run(const F& f) {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex);
    return f(tree);
  }
};

}  // namespace pyledger::bindings
